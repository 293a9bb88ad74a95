"""Customers: how many there are, and figures of a page of them (see `analytics.selectors.queries` for the rules)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from analytics.selectors.periods import months_before
from analytics.selectors.queries import fetch_rows
from transactions.models import Transaction, TransactionKey, User
from transactions.rules.money import ZERO
from transactions.selectors.portfolio import percent


@dataclass(frozen=True, slots=True)
class CustomerCounts:
    """Accounts of customers by account type, and those that are open; `estimated` for a large table."""

    by_type: dict[str, int]
    active: int
    estimated: bool

    @property
    def total(self) -> int:
        return sum(self.by_type.values())


# Beyond this many rows a count takes too long for a request, and the sample of ANALYZE has to do.
_MAX_COUNTED: Final = 100_000
_USERS: Final = "SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = 'users'::regclass"
_COUNTED: Final = """
    SELECT account_type, count(*), count(*) FILTER (WHERE is_active) FROM users WHERE NOT is_staff GROUP BY account_type
"""
_ESTIMATED: Final = """
    SELECT kinds.name, (kinds.share * %(users)s)::bigint, (kinds.share * %(users)s)::bigint
    FROM pg_stats, unnest(most_common_vals::text::text[], most_common_freqs) AS kinds (name, share)
    WHERE schemaname = current_schema AND tablename = 'users' AND attname = 'account_type'
"""
_CLOSED: Final = "SELECT count(*) FROM users WHERE NOT is_active"


def customer_counts() -> CustomerCounts:
    users = fetch_rows(_USERS)[0][0]
    estimated = users > _MAX_COUNTED
    rows = fetch_rows(_ESTIMATED, users=users) if estimated else fetch_rows(_COUNTED)
    closed = fetch_rows(_CLOSED)[0][0] if estimated else 0
    return CustomerCounts({row[0]: row[1] for row in rows}, sum(row[2] for row in rows) - closed, estimated)


_ACTIVE: Final = """
    SELECT month, sum(users)::bigint FROM customer_counts
    WHERE month BETWEEN %(first)s AND %(last)s GROUP BY month ORDER BY month
"""


def active_customers_by_month(*, last: date, months: int) -> list[tuple[date, int]]:
    """Return the customers with a purchase in each of these months, zero where there is none."""
    first = months_before(last, months - 1)
    counts = dict(fetch_rows(_ACTIVE, first=first, last=last))
    return [
        (month, counts.get(month, 0)) for month in (months_before(last, back) for back in range(months - 1, -1, -1))
    ]


@dataclass(slots=True)
class CustomerFigures:
    """What a customer has done; the balance is that of the holdings at the latest quotes, and its growth in percent.

    Sums are None for a customer with too many transactions to add up in a request.
    """

    transaction_count: int = 0
    active_months: int = 0
    mapping_count: int = 0
    total_balance: Decimal = ZERO
    growth_rate: Decimal = ZERO
    round_ups: Decimal | None = ZERO
    fees: Decimal | None = ZERO
    last_activity: datetime | None = None

    @property
    def monthly_transactions(self) -> float:
        """The mean of the months with any."""
        return round(self.transaction_count / max(self.active_months, 1), 1)


# The key of `customer_months` begins with the month: one index search for each month and customer.
_MONTHS: Final = """
    SELECT month::date FROM generate_series(
        (SELECT min(month) FROM customer_months), (SELECT max(month) FROM customer_months), interval '1 month'
    ) AS series (month)
"""
_TRANSACTIONS: Final = """
    SELECT user_id, sum(rows)::bigint, count(DISTINCT month) FILTER (WHERE rows > 0) FROM (
        SELECT user_id, rows, month FROM customer_months WHERE month = ANY (%(months)s) AND user_id = ANY (%(ids)s)
        UNION ALL
        SELECT user_id, rows, date_trunc('month', day)::date FROM transaction_deltas WHERE user_id = ANY (%(ids)s)
    ) AS counts GROUP BY user_id
"""
_MAX_SUMMED: Final = 2_000  # transactions of a customer
_SUMS: Final = """
    SELECT user_id, coalesce(sum(round_up) FILTER (WHERE status = 'completed'), 0.00),
           coalesce(sum(fee) FILTER (WHERE status = 'completed'), 0.00), max(date) FILTER (WHERE amount > 0)
    FROM transactions WHERE user_id = ANY (%(ids)s) GROUP BY user_id
"""
_VALUES: Final = """
    SELECT user_id, coalesce(sum(round(shares * price, 2)), 0.00),
           coalesce(sum(cost_basis) FILTER (WHERE price IS NOT NULL), 0.00)
    FROM holdings LEFT JOIN LATERAL (
        SELECT price FROM stock_prices WHERE stock_prices.ticker = holdings.ticker ORDER BY as_of DESC LIMIT 1
    ) AS newest ON true
    WHERE user_id = ANY (%(ids)s) AND shares > 0 GROUP BY user_id
"""
_MAPPINGS: Final = """
    SELECT user_id, count(*) FROM llm_mappings WHERE user_id = ANY (%(ids)s) AND source = 'user' GROUP BY user_id
"""


def customer_figures(ids: Sequence[int]) -> dict[int, CustomerFigures]:
    """Return the figures of these customers, in five queries."""
    page = {pk: CustomerFigures() for pk in ids}
    months = [row[0] for row in fetch_rows(_MONTHS)]
    for pk, transactions, active in fetch_rows(_TRANSACTIONS, ids=list(ids), months=months):
        page[pk].transaction_count, page[pk].active_months = transactions, active
    for pk, value, cost in fetch_rows(_VALUES, ids=list(ids)):
        page[pk].total_balance, page[pk].growth_rate = value, percent(value - cost, cost)
    for pk, mappings in fetch_rows(_MAPPINGS, ids=list(ids)):
        page[pk].mapping_count = mappings
    for figures in page.values():
        if figures.transaction_count > _MAX_SUMMED:
            figures.round_ups = figures.fees = None
    summed = [pk for pk, figures in page.items() if 0 < figures.transaction_count <= _MAX_SUMMED]
    for pk, round_ups, fees, last in fetch_rows(_SUMS, ids=summed):
        page[pk].round_ups, page[pk].fees, page[pk].last_activity = round_ups, fees, last
    return page


@dataclass(frozen=True, slots=True)
class Activity:
    """Something that happened: a new account (`user`) or a purchase (`transaction`)."""

    id: str
    type: str
    text: str
    at: datetime


def recent_activity(*, limit: int = 5) -> list[Activity]:
    """Return the newest accounts of customers and the newest transactions, latest first."""
    users = User.objects.filter(is_staff=False).order_by("-pk")[:limit]
    keys = TransactionKey.objects.order_by("-pk").values_list("pk", flat=True)[:limit]
    rows = [Activity(f"user-{user.pk}", "user", f"New {user.account_type} account", user.created_at) for user in users]
    for row in Transaction.objects.with_ids(*keys):
        rows.append(
            Activity(f"transaction-{row.pk}", "transaction", f"{row.merchant}: ${row.amount:,}", row.created_at)
        )
    return sorted(rows, key=lambda row: row.at, reverse=True)[:limit]
