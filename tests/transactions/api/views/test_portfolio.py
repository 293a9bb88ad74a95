"""Portfolio and notifications."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.factories import api_client, make_company, make_price, make_user
from transactions.models import Holding, Notification, Order
from transactions.selectors.customer import NotificationRow
from transactions.selectors.portfolio import HoldingRow, Portfolio

pytestmark = pytest.mark.django_db


def test_holdings_are_valued_at_the_latest_quote() -> None:
    user = make_user()
    make_company("SBUX", "80.00", name="Starbucks")
    make_price("SBUX", "95.00", age=timedelta(seconds=1))
    Holding.objects.create(user=user, ticker="SBUX", shares=Decimal("2.00000000"), cost_basis=Decimal("170.00"))
    Holding.objects.create(user=make_user(), ticker="SBUX", shares=Decimal(9), cost_basis=Decimal(9))
    data = api_client(user).get("/api/user/portfolio").json()["data"]
    (holding,) = data["holdings"]
    assert holding.pop("price_as_of") == data.pop("last_updated")
    assert holding == {
        "symbol": "SBUX",
        "name": "Starbucks",
        "shares": 2.0,
        "current_price": 95.0,
        "purchase_price": 85.0,
        "total_value": 190.0,
        "gain_loss": 20.0,
        "gain_loss_percent": 11.76,
    }
    assert data == {
        "total_value": 190.0,
        "total_invested": 170.0,
        "total_gain_loss": 20.0,
        "total_gain_loss_percent": 11.76,
        "holdings": [holding],
        "unpriced": 0,
        "cash_balance": 0.0,
    }


def test_a_holding_without_a_quote_has_no_value() -> None:
    user = make_user()
    make_company("SBUX", "100.00")
    Holding.objects.create(user=user, ticker="SBUX", shares=Decimal(1), cost_basis=Decimal("90.00"))
    Holding.objects.create(user=user, ticker="XYZ", shares=Decimal(1), cost_basis=Decimal("50.00"))
    data = api_client(user).get("/api/user/portfolio").json()["data"]
    unpriced = data["holdings"][1]
    assert (unpriced["symbol"], unpriced["name"], unpriced["total_value"], unpriced["gain_loss"]) == (
        "XYZ",
        "XYZ",
        None,
        None,
    )
    assert (data["unpriced"], data["total_value"], data["total_invested"], data["total_gain_loss"]) == (
        1,
        100.0,
        140.0,
        10.0,
    )
    assert set(HoldingRow.__annotations__) == set(unpriced)
    assert set(Portfolio.__annotations__) == set(data)


def test_the_cash_balance_is_the_money_of_waiting_orders() -> None:
    user = make_user()
    for number, status in enumerate(["queued", "queued", "cancelled"]):
        Order.objects.create(
            user=user,
            transaction_id=number,
            transaction_date=timezone.now(),
            ticker="SBUX",
            amount=Decimal("1.50"),
            status=status,
            execute_after=timezone.now(),
        )
    assert api_client(user).get("/api/business/portfolio").json()["data"]["cash_balance"] == 3.0


def test_an_empty_portfolio_is_zero() -> None:
    data = api_client(make_user()).get("/api/user/portfolio").json()["data"]
    assert (data["total_value"], data["holdings"], data["last_updated"]) == (0.0, [], None)


def test_a_portfolio_takes_three_queries_whatever_its_size() -> None:
    user = make_user()
    for number in range(20):
        make_company(f"T{number}")
        Holding.objects.create(user=user, ticker=f"T{number}", shares=Decimal(1), cost_basis=Decimal(1))
    client = api_client(user)
    client.get("/api/user/portfolio")  # flags are cached from here on
    with CaptureQueriesContext(connection) as queries:
        client.get("/api/user/portfolio")
    assert len(queries) == 3


def test_notifications_are_the_callers_latest_hundred() -> None:
    user = make_user()
    Notification.objects.bulk_create(
        Notification(user=user, title=f"No. {number}", message="Bought", type="success") for number in range(101)
    )
    Notification.objects.create(user=make_user(), title="not yours", message="x")
    reply = api_client(user).get("/api/family/notifications").json()
    assert reply["success"] is True
    assert [row["title"] for row in reply["data"]] == [f"No. {number}" for number in range(100, 0, -1)]
    assert set(reply["data"][0]) == set(NotificationRow.__annotations__)
    assert reply["data"][0]["read"] is False
