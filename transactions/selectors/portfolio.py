"""What a customer owns, at the latest quotes. Amounts are dollars."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import TypedDict

from django.db import connection
from django.db.models import Sum
from django.db.models.functions import Coalesce

from transactions.migration_phase import KAMIOI, ReadSource
from transactions.models import Order, Transaction, User
from transactions.rules.money import CENT, ZERO, rounded


class HoldingRow(TypedDict):
    """A customer's shares of one company at the latest quote; value and gain are None without a quote."""

    symbol: str
    name: str
    shares: Decimal
    current_price: Decimal | None
    price_as_of: datetime | None
    purchase_price: Decimal
    total_value: Decimal | None
    gain_loss: Decimal | None
    gain_loss_percent: Decimal | None


class Portfolio(TypedDict):
    """All holdings of a customer. Value and gain cover the holdings with a quote; `unpriced` counts the others.

    `cash_balance` is money set aside for orders that wait for the market to open.
    """

    total_value: Decimal
    total_invested: Decimal
    total_gain_loss: Decimal
    total_gain_loss_percent: Decimal
    holdings: list[HoldingRow]
    unpriced: int
    cash_balance: Decimal
    last_updated: datetime | None


# The unique index of `stock_prices` finds the latest quote of each holding in one step.
_HOLDINGS = """
    SELECT h.ticker, coalesce(nullif(c.name, ''), h.ticker), h.shares, h.cost_basis, p.price, p.as_of
    FROM {holdings} h
    LEFT JOIN companies c ON c.ticker = h.ticker
    LEFT JOIN LATERAL (
        SELECT price, as_of FROM stock_prices s WHERE s.ticker = h.ticker ORDER BY as_of DESC LIMIT 1
    ) p ON true
    WHERE h.user_id = %s AND h.shares > 0
    ORDER BY h.ticker
"""


_LEGACY_HOLDINGS = """(
    SELECT %s::bigint AS user_id, legacy.*
    FROM unnest(%s::text[], %s::numeric[], %s::numeric[]) AS legacy (ticker, shares, cost_basis)
)"""


def portfolio(user: User, source: ReadSource = KAMIOI) -> Portfolio:
    """Return the customer's holdings at the latest quotes, in two queries."""
    legacy_holdings = source.legacy.holdings() if source.legacy else None
    with connection.cursor() as cursor:
        if legacy_holdings is None:
            cursor.execute(_HOLDINGS.format(holdings="holdings"), [user.pk])
        else:
            columns = [list(column) for column in zip(*legacy_holdings, strict=True)] or [[], [], []]
            cursor.execute(_HOLDINGS.format(holdings=_LEGACY_HOLDINGS), [user.pk, *columns, user.pk])
        rows = cursor.fetchall()
    cost_of = {row[0]: row[3] for row in rows}
    holdings = [_holding(row) for row in rows]
    value = sum((row["total_value"] for row in holdings if row["total_value"] is not None), ZERO)
    priced_cost = sum((cost_of[row["symbol"]] for row in holdings if row["total_value"] is not None), ZERO)
    queued = Order.objects.filter(user=user, status=Order.Status.QUEUED).aggregate(amount=Coalesce(Sum("amount"), ZERO))
    return {
        "total_value": value,
        "total_invested": sum(cost_of.values(), ZERO),
        "total_gain_loss": value - priced_cost,
        "total_gain_loss_percent": percent(value - priced_cost, priced_cost),
        "holdings": holdings,
        "unpriced": sum(row["total_value"] is None for row in holdings),
        "cash_balance": queued["amount"],
        "last_updated": max((row["price_as_of"] for row in holdings if row["price_as_of"] is not None), default=None),
    }


def _holding(row: tuple[str, str, Decimal, Decimal, Decimal | None, datetime | None]) -> HoldingRow:
    ticker, name, shares, cost, price, as_of = row
    value = None if price is None else rounded(shares * price, CENT)
    return {
        "symbol": ticker,
        "name": name,
        "shares": shares,
        "current_price": price,
        "price_as_of": as_of,
        "purchase_price": rounded(cost / shares, CENT),
        "total_value": value,
        "gain_loss": None if value is None else value - cost,
        "gain_loss_percent": None if value is None else percent(value - cost, cost),
    }


class Quote(TypedDict):
    """The latest quote of a company."""

    price: Decimal
    as_of: datetime


_QUOTES = """
    SELECT asked.ticker, p.price, p.as_of
    FROM unnest(%s::text[]) AS asked (ticker)
    CROSS JOIN LATERAL (
        SELECT price, as_of FROM stock_prices s WHERE s.ticker = asked.ticker ORDER BY as_of DESC LIMIT 1
    ) p
"""


def latest_quotes(tickers: Sequence[str]) -> dict[str, Quote]:
    """Return the latest quotes of these companies, one index lookup each; those without a quote are missing."""
    with connection.cursor() as cursor:
        cursor.execute(_QUOTES, [list(tickers)])
        return {ticker: {"price": price, "as_of": as_of} for ticker, price, as_of in cursor.fetchall()}


def percent(part: Decimal, whole: Decimal) -> Decimal:
    return rounded(part * 100 / whole, CENT) if whole else ZERO


_VALUES = """
    SELECT h.user_id, h.shares, p.price
    FROM holdings h
    JOIN LATERAL (
        SELECT price FROM stock_prices s WHERE s.ticker = h.ticker ORDER BY as_of DESC LIMIT 1
    ) p ON true
    WHERE h.user_id = ANY(%s) AND h.shares > 0
"""


def holding_values(user_ids: Sequence[int]) -> dict[int, Decimal]:
    """Return the `total_value` of the portfolio of each customer who has any, in one query."""
    values: dict[int, Decimal] = {}
    if not user_ids:
        return values
    with connection.cursor() as cursor:
        cursor.execute(_VALUES, [list(user_ids)])
        for user_id, shares, price in cursor.fetchall():
            values[user_id] = values.get(user_id, ZERO) + rounded(shares * price, CENT)
    return values


def round_up_totals(user_ids: Sequence[int]) -> dict[int, Decimal]:
    """Return the round-ups of all completed purchases of each customer who has any, in one query."""
    completed = Transaction.objects.filter(user_id__in=user_ids, status=Transaction.Status.COMPLETED)
    return dict(completed.values_list("user_id").annotate(total=Sum("round_up")))
