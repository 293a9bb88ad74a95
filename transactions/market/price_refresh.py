"""Quotes into `stock_prices`, and the transactions that waited for one back to work.

A quote is refused when its company is not listed, its time lies ahead, or it jumps further from the newest quote than
any market does (`PRICE_MAX_JUMP`): a slipped decimal point would buy a customer a hundred times the shares.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from transactions.cache import invalidate_customers
from transactions.errors import PriceProviderError
from transactions.market.price_providers import PriceProvider, Quote, QuoteError, price_provider
from transactions.models import Transaction
from transactions.services.processing import notify_workers
from transactions.services.processing.buckets import RELEASE_BATCH
from transactions.sql import load_sql

# Quotes stored by one statement.
BATCH = 1000


@dataclass(slots=True)
class PriceRefreshResult:
    """What a refresh came to: quotes stored, quotes refused, transactions put back to work, how it ended."""

    stored: int = 0
    refused: list[QuoteError] = field(default_factory=list)
    released: int = 0
    error: str = ""


def refresh_stock_prices(
    *,
    provider: PriceProvider | None = None,
    now: datetime | None = None,
    accept_jumps: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> PriceRefreshResult:
    """Ask for the quotes of every ticker that matters, store them, and release what waited for them.

    What came before a provider broke down is stored; the break-down stands in `error`.

    Args:
        accept_jumps: store quotes however far they are from the one before; after a split.
        on_progress: called with the number of quotes seen so far.
    """
    now = now or timezone.now()
    done, seen = PriceRefreshResult(), 0
    batch: list[Quote] = []
    try:
        for found in (provider or price_provider()).quotes(tickers_wanted()):
            seen += 1
            if isinstance(found, QuoteError):
                done.refused.append(found)
                continue
            batch.append(found)
            if len(batch) >= BATCH:
                _store(batch, done, provider, now=now, accept_jumps=accept_jumps)
                batch = []
                if on_progress:
                    on_progress(seen)
    except PriceProviderError as error:
        done.error = str(error)
    if batch:
        _store(batch, done, provider, now=now, accept_jumps=accept_jumps)
    if on_progress:
        on_progress(seen)
    done.released = priced_release(now=now)
    return done


def tickers_wanted() -> list[str]:
    """Listed companies that a merchant leads to, or that have been bought before."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT ticker FROM companies WHERE is_listed AND ("
            "EXISTS (SELECT FROM merchants WHERE merchants.ticker = companies.ticker)"
            " OR EXISTS (SELECT FROM stock_prices WHERE stock_prices.ticker = companies.ticker)) ORDER BY ticker"
        )
        return [row[0] for row in cursor.fetchall()]


def _store(
    quotes: Sequence[Quote],
    done: PriceRefreshResult,
    provider: PriceProvider | None,
    *,
    now: datetime,
    accept_jumps: bool,
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            load_sql("store_quotes"),
            {
                "tickers": [quote.ticker for quote in quotes],
                "prices": [quote.price for quote in quotes],
                "times": [quote.as_of for quote in quotes],
                "now": now,
                "max_jump": Decimal(0) if accept_jumps else settings.PRICE_MAX_JUMP,
                "source": provider.name if provider else settings.PRICE_PROVIDER,
            },
        )
        for ticker, refusal, stored in cursor.fetchall():
            done.stored += stored
            if refusal is not None:
                done.refused.append(QuoteError(ticker, refusal))


def priced_release(*, now: datetime | None = None) -> int:
    """Put transactions that waited for a price that is fresh now back to work. Returns how many."""
    now = now or timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT waiting.ticker FROM (SELECT DISTINCT ticker FROM transactions WHERE status = 'awaiting_price') AS waiting"
            " CROSS JOIN LATERAL (SELECT as_of FROM stock_prices WHERE stock_prices.ticker = waiting.ticker"
            " AND as_of <= %s ORDER BY as_of DESC LIMIT 1) AS newest WHERE newest.as_of >= %s",
            [now, now - settings.PRICE_MAX_AGE],
        )
        priced = [row[0] for row in cursor.fetchall()]
    released = 0
    while True:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(load_sql("release_priced"), {"now": now, "limit": RELEASE_BATCH, "priced": priced})
            moved, user_ids = cursor.fetchone()
        invalidate_customers(user_ids)
        released += moved
        if moved < RELEASE_BATCH:
            break
    if released:
        notify_workers(priority=Transaction.Priority.RELEASE)
    return released
