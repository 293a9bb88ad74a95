"""Purchases by day, company and month (see `analytics.selectors.queries` for the rules)."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Final

from analytics.selectors.periods import Period, utc_today
from analytics.selectors.queries import fetch_rows
from transactions.models import Transaction
from transactions.rules.money import ZERO

Status = Transaction.Status


# --- Of a period ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class VolumeDay:
    """Transactions of a purchase day with this status; dollars."""

    date: date
    status: str
    transactions: int
    amount: Decimal
    round_up: Decimal
    fee: Decimal
    investable: Decimal


@dataclass(frozen=True, slots=True)
class VolumeTotals:
    """Transactions of a period; `completed`, `invested` and `fees` count invested ones only."""

    transactions: int
    amount: Decimal
    completed: int
    invested: Decimal
    fees: Decimal

    @classmethod
    def of(cls, rows: Iterable[VolumeDay]) -> "VolumeTotals":
        """Sum up these days, without what was undone with its import."""
        rows = [row for row in rows if row.status != Status.UNDONE]
        completed = [row for row in rows if row.status == Status.COMPLETED]
        return cls(
            transactions=sum(row.transactions for row in rows),
            amount=sum((row.amount for row in rows), ZERO),
            completed=sum(row.transactions for row in completed),
            invested=sum((row.investable for row in completed), ZERO),
            fees=sum((row.fee for row in completed), ZERO),
        )


@dataclass(frozen=True, slots=True)
class TickerTotal:
    """Investments in one company during a period."""

    ticker: str
    name: str
    transactions: int
    invested: Decimal
    fees: Decimal


@dataclass(frozen=True, slots=True)
class UserMonth:
    """Customers of an account type with a purchase in a month (its first day), and their transactions."""

    month: date
    account_type: str
    active_users: int
    transactions: int


_VOLUME = """
    SELECT date, status, transactions, amount, round_up, fee, investable FROM analytics_volume
    WHERE date BETWEEN %(first)s AND %(last)s ORDER BY date, status
"""


def volume_by_day(period: Period) -> list[VolumeDay]:
    return [VolumeDay(*row) for row in fetch_rows(_VOLUME, first=period.first, last=period.last)]


_TICKERS = """
    SELECT top.ticker, coalesce(nullif(companies.name, ''), top.ticker), top.transactions, top.invested, top.fee
    FROM (
        SELECT ticker, sum(transactions)::bigint AS transactions, sum(invested) AS invested, sum(fee) AS fee
        FROM analytics_tickers WHERE date BETWEEN %(first)s AND %(last)s
        GROUP BY ticker ORDER BY invested DESC, ticker LIMIT %(limit)s
    ) AS top LEFT JOIN companies ON companies.ticker = top.ticker
    ORDER BY top.invested DESC, top.ticker
"""


def top_tickers(period: Period, *, limit: int = 10) -> list[TickerTotal]:
    """Return the companies with the largest investments of the period."""
    return [TickerTotal(*row) for row in fetch_rows(_TICKERS, first=period.first, last=period.last, limit=limit)]


_ACTIVE_USERS = """
    SELECT month, account_type, active_users, transactions FROM analytics_users
    WHERE month BETWEEN %(first)s AND %(last)s ORDER BY month, account_type
"""


def active_users_by_month(period: Period) -> list[UserMonth]:
    """Return the active users of every calendar month that the period touches."""
    return [UserMonth(*row) for row in fetch_rows(_ACTIVE_USERS, first=period.first.replace(day=1), last=period.last)]


# --- All time ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class TransactionTotals:
    """All transactions: rows by status, rows with today's purchase date, dollars."""

    by_status: dict[str, int] = field(default_factory=dict)
    today: int = 0
    today_pending: int = 0
    round_ups: Decimal = ZERO
    waiting: Decimal = ZERO  # round-ups that are not invested yet
    invested: Decimal = ZERO
    fees: Decimal = ZERO

    @property
    def total(self) -> int:
        return sum(self.by_status.values())

    def count(self, *statuses: str) -> int:
        return sum(self.by_status.get(status, 0) for status in statuses)

    @property
    def matched(self) -> int:
        """Rows matched to a company: invested, ordered, or waiting for a price."""
        return self.count(Status.COMPLETED, Status.MAPPED, Status.AWAITING_PRICE)


_TRANSACTION_TOTALS = """
    SELECT status, sum(rows)::bigint, coalesce(sum(rows) FILTER (WHERE day = %(today)s), 0)::bigint,
           sum(round_up), sum(investable), sum(fee)
    FROM (
        SELECT day, status, rows, round_up, investable, fee FROM transaction_days
        UNION ALL
        SELECT day, status, rows, round_up, investable, fee FROM transaction_deltas
    ) AS days GROUP BY status
"""
_OPEN_STATUSES: Final = {Status.PENDING, Status.NEEDS_REVIEW, Status.MAPPED, Status.AWAITING_PRICE, Status.ON_HOLD}


def transaction_totals() -> TransactionTotals:
    rows = fetch_rows(_TRANSACTION_TOTALS, today=utc_today())
    return TransactionTotals(
        by_status={row[0]: row[1] for row in rows},
        today=sum(row[2] for row in rows),
        today_pending=sum(row[2] for row in rows if row[0] == Status.PENDING),
        round_ups=sum((row[3] for row in rows), ZERO),
        waiting=sum((row[3] for row in rows if row[0] in _OPEN_STATUSES), ZERO),
        invested=sum((row[4] for row in rows if row[0] == Status.COMPLETED), ZERO),
        fees=sum((row[5] for row in rows if row[0] == Status.COMPLETED), ZERO),
    )


# Sums by account type join every customer's months: too slow for a request beyond this many rows.
_MAX_CUSTOMER_MONTHS: Final = 2_000_000
_CUSTOMER_MONTHS = "SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = 'customer_months'::regclass"
_BY_ACCOUNT_TYPE = """
    SELECT users.account_type, sum(months.rows)::bigint FROM (
        SELECT user_id, rows FROM customer_months
        UNION ALL
        SELECT user_id, rows FROM transaction_deltas WHERE user_id IS NOT NULL
    ) AS months JOIN users ON users.id = months.user_id GROUP BY 1
"""


def transactions_by_account_type() -> dict[str, int] | None:
    """Count all transactions by account type; None if there are too many customers for one request."""
    if fetch_rows(_CUSTOMER_MONTHS)[0][0] > _MAX_CUSTOMER_MONTHS:
        return None
    return dict(fetch_rows(_BY_ACCOUNT_TYPE))
