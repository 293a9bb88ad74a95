"""Accounts, bookings, data assets and cost (see `analytics.selectors.queries` for the rules)."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Final

from analytics.selectors.periods import Period, months_before
from analytics.selectors.queries import fetch_rows
from transactions.rules.money import ZERO

# Upper limits of the monthly cost in dollars: per transaction, per active user.
COST_TARGETS: Final = (Decimal("0.001"), Decimal("0.10"))
CREDIT_TYPES: Final = ("liability", "equity", "revenue")
# The parts of the chart of accounts, in its order.
SECTIONS: Final = {
    "asset": "Assets", "liability": "Liabilities", "equity": "Equity", "revenue": "Revenue", "expense": "Expense"
}  # fmt: skip
_FIXED_ASSETS: Final = "15000"  # the first of their numbers


# --- The ledger -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class AccountMovement:
    """An account over a period in dollars; the closing balance is on the account's normal side."""

    number: str
    name: str
    type: str
    debit: Decimal
    credit: Decimal
    balance: Decimal

    @property
    def side(self) -> str:
        """The normal side: Debit or Credit."""
        return "Credit" if self.type in CREDIT_TYPES else "Debit"

    @property
    def kind(self) -> str:
        """The type as a title, as in Asset."""
        return self.type.title()

    @property
    def section(self) -> str:
        return SECTIONS[self.type]

    @property
    def subsection(self) -> str:
        """Current or fixed, with the type: `Fixed asset`."""
        fixed = self.type == "asset" and self.number >= _FIXED_ASSETS
        return f"{'Fixed' if fixed else 'Current'} {self.type}"


@dataclass(frozen=True, slots=True)
class LedgerKindDay:
    """Bookings of a day by kind (`round_up`, `fee`, `purchase`, `collection` …); contra entries are `undone`."""

    date: date
    kind: str
    bookings: int
    amount: Decimal


_ACCOUNT_MOVEMENTS = """
    WITH sides AS (
        SELECT day, debit_account AS number, amount AS debit, 0.00 AS credit FROM ledger_days WHERE day <= %(last)s
        UNION ALL
        SELECT day, credit_account, 0.00, amount FROM ledger_days WHERE day <= %(last)s
    ), sums AS (
        SELECT number, coalesce(sum(debit) FILTER (WHERE day >= %(first)s), 0.00) AS debit,
               coalesce(sum(credit) FILTER (WHERE day >= %(first)s), 0.00) AS credit,
               sum(debit) - sum(credit) AS balance
        FROM sides GROUP BY number
    )
    SELECT coalesce(chart.number, sums.number), coalesce(chart.name, 'not in the chart'),
           coalesce(chart.type, 'asset'), coalesce(sums.debit, 0.00), coalesce(sums.credit, 0.00),
           coalesce(sums.balance, 0.00) * CASE WHEN chart.type IN ('liability', 'equity', 'revenue') THEN -1 ELSE 1 END
    FROM ledger_accounts AS chart FULL JOIN sums ON sums.number = chart.number ORDER BY 1
"""


def account_movements(period: Period) -> list[AccountMovement]:
    """Return the movements and the closing balance of every account in the chart."""
    return [AccountMovement(*row) for row in fetch_rows(_ACCOUNT_MOVEMENTS, first=period.first, last=period.last)]


_LEDGER_DAYS = """
    SELECT day, CASE WHEN starts_with(kind, 'undo_') THEN 'undone' ELSE rtrim(kind, '_23456789') END,
           sum(rows)::bigint, sum(amount)
    FROM ledger_days WHERE day BETWEEN %(first)s AND %(last)s GROUP BY 1, 2 ORDER BY 1, 2
"""


def ledger_by_day(period: Period) -> list[LedgerKindDay]:
    return [LedgerKindDay(*row) for row in fetch_rows(_LEDGER_DAYS, first=period.first, last=period.last)]


@dataclass(frozen=True, slots=True)
class LedgerSum:
    """Bookings of a kind between two accounts: of a day of the running month, or of an earlier month (its last day)."""

    until: date
    kind: str
    debit_account: str
    credit_account: str
    bookings: int
    amount: Decimal


_LEDGER_SUMS = """
    SELECT CASE WHEN day >= %(month)s THEN day ELSE (date_trunc('month', day) + interval '1 month - 1 day')::date END,
           kind, debit_account, credit_account, sum(rows)::bigint, sum(amount)
    FROM ledger_days WHERE day <= %(today)s GROUP BY 1, 2, 3, 4 ORDER BY 1 DESC, 2, 3, 4
"""


def ledger_sums(today: date) -> list[LedgerSum]:
    """Return the whole ledger as sums, latest first; together they are the balances of all accounts."""
    return [LedgerSum(*row) for row in fetch_rows(_LEDGER_SUMS, month=today.replace(day=1), today=today)]


_REVENUE_DAYS = """
    SELECT day, sum(CASE WHEN credit_account = chart.number THEN amount ELSE -amount END)
    FROM ledger_days
    JOIN ledger_accounts AS chart ON chart.type = 'revenue' AND chart.number IN (debit_account, credit_account)
    WHERE day BETWEEN %(first)s AND %(last)s GROUP BY day
"""


def revenue_by_day(first: date, last: date) -> dict[date, Decimal]:
    """Return the revenue of the days that have any, since the beginning for `date.min`."""
    return dict(fetch_rows(_REVENUE_DAYS, first=first, last=last))


def revenue_by_week(today: date) -> list[Decimal]:
    """Return the revenue of the four weeks up to yesterday, and of today."""
    starts = [today - timedelta(days=days) for days in (28, 21, 14, 7, 0, -1)]
    revenue = revenue_by_day(starts[0], today)
    return [
        sum((amount for day, amount in revenue.items() if first <= day < end), ZERO) for first, end in pairwise(starts)
    ]


def last_booking_at() -> datetime | None:
    """Return the time of the last booking for a customer."""
    rows = fetch_rows("SELECT created_at FROM ledger_transfers WHERE user_id > 0 ORDER BY date DESC, id DESC LIMIT 1")
    return rows[0][0] if rows else None


# --- Data assets ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class AmortizationMonth:
    """Amortization charges of a month that were not reversed."""

    month: date
    entries: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class AssetValue:
    """A data asset: its cost, and the sum of amortization and impairments."""

    id: int
    name: str
    status: str
    cost: Decimal
    written_off: Decimal

    @property
    def carrying_value(self) -> Decimal:
        return ZERO if self.status == "disposed" else self.cost - self.written_off


_AMORTIZATION = """
    SELECT period, count(*), sum(amount) FROM amortization_entries AS entry
    WHERE period BETWEEN %(first)s AND %(last)s
      AND NOT EXISTS (SELECT FROM amortization_reversals WHERE entry_id = entry.id)
    GROUP BY period ORDER BY period
"""


def amortization_by_month(*, last: date, months: int = 12) -> list[AmortizationMonth]:
    """Return the charges of this many months up to the month of `last`."""
    rows = fetch_rows(_AMORTIZATION, first=months_before(last, months - 1), last=last)
    return [AmortizationMonth(*row) for row in rows]


_ASSETS = """
    SELECT asset.id, asset.asset_name, asset.status, asset.cost_basis,
           coalesce(charged.amount, 0) + coalesce(impaired.amount, 0)
    FROM llm_data_assets AS asset
    LEFT JOIN (
        SELECT asset_id, sum(amount) AS amount FROM amortization_entries AS entry
        WHERE NOT EXISTS (SELECT FROM amortization_reversals WHERE entry_id = entry.id) GROUP BY asset_id
    ) AS charged ON charged.asset_id = asset.id
    LEFT JOIN (
        SELECT asset_id, sum(amount) AS amount FROM llm_asset_events WHERE kind = 'impairment' GROUP BY asset_id
    ) AS impaired ON impaired.asset_id = asset.id
    ORDER BY asset.cost_basis DESC, asset.id LIMIT %(limit)s
"""


def asset_values(*, limit: int = 50) -> list[AssetValue]:
    """Return the data assets, the most expensive first."""
    return [AssetValue(*row) for row in fetch_rows(_ASSETS, limit=limit)]


# --- Cost -------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class CostMonth:
    """Cost of a month in dollars.

    `infrastructure_cost` and what follows from it are None until the setting `infrastructure_monthly_cost` has a value.
    """

    month: date
    transactions: int
    active_users: int
    llm_cost: Decimal
    infrastructure_cost: Decimal | None
    cost: Decimal | None
    per_transaction: Decimal | None
    per_user: Decimal | None


_COST = """
    SELECT month, transactions, active_users, llm_cost, infrastructure_cost, cost, cost_per_transaction, cost_per_user
    FROM analytics_cost WHERE month BETWEEN %(first)s AND %(last)s ORDER BY month
"""


def cost_by_month(*, last: date, months: int = 12) -> list[CostMonth]:
    """Return this many months up to the month of `last`; the infrastructure of the running month is pro rata."""
    return [CostMonth(*row) for row in fetch_rows(_COST, first=months_before(last, months - 1), last=last)]
