"""Factories of rows for tests, with explicit overrides and without random values."""

import itertools
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import randrange
from typing import Any

from django.utils import timezone
from rest_framework.test import APIClient

from transactions.cache import invalidate_customers
from transactions.models import ApiToken, Company, Merchant, StockPrice, Transaction, TransactionKey, User

_numbers = itertools.count(1)
PASSWORD = "correct horse battery"


def make_user(email: str = "", **fields: Any) -> User:
    """Create a customer who can log in with `PASSWORD`."""
    return User.objects.create_user(email or f"customer{next(_numbers)}@example.com", PASSWORD, **fields)


def make_staff(email: str = "", **fields: Any) -> User:
    """Create a superuser who can log in with `PASSWORD`."""
    return User.objects.create_superuser(email or f"staff{next(_numbers)}@example.com", PASSWORD, **fields)


def make_company(ticker: str = "SBUX", price: str | None = "95.00", **fields: Any) -> Company:
    """Create a listed company with a current price, or without one for `price=None`."""
    company = Company.objects.create(ticker=ticker, **{"name": f"{ticker} Inc.", "exchange": "Nasdaq"} | fields)
    if price is not None:
        make_price(ticker, price)
    return company


def make_price(ticker: str, price: str, *, age: timedelta = timedelta(minutes=1)) -> StockPrice:
    """Create a quote of `age` ago."""
    return StockPrice.objects.create(ticker=ticker, price=Decimal(price), as_of=timezone.now() - age, source="test")


def make_merchant(
    key: str = "STARBUCKS", ticker: str | None = "SBUX", status: str = "approved", **fields: Any
) -> Merchant:
    return Merchant.objects.create(merchant_key=key, display_name=key, ticker=ticker, status=status, **fields)


def make_transaction(user: User, merchant: str = "STARBUCKS", amount: str = "4.50", **fields: Any) -> Transaction:
    """Create a pending purchase."""
    values = {
        "date": datetime.now(UTC) - timedelta(days=1),
        "merchant_key": merchant,
        "total_debit": Decimal(amount),
    } | fields
    transaction = Transaction.objects.create(user=user, merchant=merchant, amount=Decimal(amount), **values)
    TransactionKey.objects.create(
        transaction_id=transaction.pk, user=user, date=transaction.date, idempotency_key=f"test:{transaction.pk}"
    )
    invalidate_customers([user.pk])
    return transaction


def api_client(user: User | None = None) -> APIClient:
    """Return a client of this user, or an anonymous one, with a random IP address because of rate limits."""
    client = APIClient(REMOTE_ADDR=f"10.{randrange(256)}.{randrange(256)}.{randrange(256)}")
    if user is not None:
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {ApiToken.issue(user=user)[1]}")
    return client
