"""Refresh of stock prices: quotes are stored, and transactions that waited for a price become pending.

A quote is rejected when its company is not listed, its time is in the future, or it differs from the latest quote by
more than `PRICE_MAX_JUMP`: a misplaced decimal point would buy a customer a hundred times the shares.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from django.conf import settings
from django.db import connection
from django.utils import timezone

from transactions.errors import PriceProviderError
from transactions.market.price_providers import PriceProvider, Quote, QuoteError, price_provider
from transactions.rules.market_hours import oldest_execution_price
from transactions.services.processing.buckets import move_to_pending
from transactions.sql import load_sql

# Quotes stored by one statement.
BATCH = 1000


@dataclass(slots=True)
class PriceRefreshResult:
    """Quotes stored, quotes rejected, transactions released, and the error that ended the refresh."""

    stored: int = 0
    rejected: list[QuoteError] = field(default_factory=list)
    released: int = 0
    error: str = ""


def refresh_stock_prices(
    *,
    provider: PriceProvider | None = None,
    accept_jumps: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> PriceRefreshResult:
    """Fetch the quotes of all tickers in use, store them, and release the transactions that waited for them.

    If the provider fails, the quotes before the failure are stored and `error` is set.

    Args:
        accept_jumps: store quotes whatever their distance from the previous ones; after a split.
        on_progress: called with the number of quotes received so far.
    """
    now = timezone.now()
    result, received = PriceRefreshResult(), 0
    batch: list[Quote] = []
    try:
        for quote in (provider or price_provider()).quotes(tickers_in_use()):
            received += 1
            if isinstance(quote, QuoteError):
                result.rejected.append(quote)
                continue
            batch.append(quote)
            if len(batch) >= BATCH:
                _store_quotes(batch, result, provider, now=now, accept_jumps=accept_jumps)
                batch = []
                if on_progress:
                    on_progress(received)
    except PriceProviderError as error:
        result.error = str(error)
    if batch:
        _store_quotes(batch, result, provider, now=now, accept_jumps=accept_jumps)
    if on_progress:
        on_progress(received)
    result.released = release_priced_transactions(now=now)
    return result


def tickers_in_use() -> list[str]:
    """Return the listed companies that a merchant maps to or that have a price already."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT ticker FROM companies WHERE is_listed AND ("
            "EXISTS (SELECT FROM merchants WHERE merchants.ticker = companies.ticker)"
            " OR EXISTS (SELECT FROM stock_prices WHERE stock_prices.ticker = companies.ticker)) ORDER BY ticker"
        )
        return [row[0] for row in cursor.fetchall()]


def _store_quotes(
    quotes: Sequence[Quote],
    result: PriceRefreshResult,
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
        for ticker, rejection, stored in cursor.fetchall():
            result.stored += stored
            if rejection is not None:
                result.rejected.append(QuoteError(ticker, rejection))


def release_priced_transactions(*, now: datetime) -> int:
    """Make transactions pending whose ticker has a current price now. Returns how many."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT waiting.ticker"
            " FROM (SELECT DISTINCT ticker FROM transactions WHERE status = 'awaiting_price') AS waiting"
            " CROSS JOIN LATERAL (SELECT as_of FROM stock_prices WHERE stock_prices.ticker = waiting.ticker"
            " AND as_of <= %s ORDER BY as_of DESC LIMIT 1) AS newest WHERE newest.as_of >= %s",
            [now, oldest_execution_price(now)],
        )
        priced = [row[0] for row in cursor.fetchall()]
    released, *_ = move_to_pending("release_priced", {"now": now, "priced": priced})
    return released
