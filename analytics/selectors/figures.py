"""Every figure of the dashboards, of the reports' overviews and of the admin's API, as typed functions.

Figures of a period come from the rollups (`analytics.models`, `migrations/sql/0001_views.sql`), whose size follows days,
not rows. Those of all time count in what writes changed since the rollups were brought up to date (`*_deltas`). What is not
in a rollup is looked at through an index, and no further than a bound that the function names. Everything goes over
`kamioi_site.db.replica` and is given up after `STATEMENT_MILLISECONDS`: a slow answer is an error that
says so, never a page that hangs. Dollars are `Decimal`, days UTC.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.utils import timezone

from kamioi_site.db import replica
from llm_center.services.review.queue import queue_totals_cached
from transactions.models import Transaction
from transactions.rules.money import ZERO

Status = Transaction.Status

STATEMENT_MILLISECONDS: Final = 3_000


@dataclass(frozen=True, slots=True)
class Period:
    """Days from `first` to `last`, both included."""

    first: date
    last: date

    @classmethod
    def of_days(cls, days: int, *, today: date | None = None) -> "Period":
        """The last `days` days, today included."""
        last = today or utc_today()
        return cls(last - timedelta(days=days - 1), last)

    @property
    def days(self) -> int:
        """How many."""
        return (self.last - self.first).days + 1

    @property
    def before(self) -> "Period":
        """As many days, right before."""
        return Period(self.first - timedelta(days=self.days), self.first - timedelta(days=1))


def months_before(day: date, months: int) -> date:
    """The first day of the month that many months before."""
    years, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    return date(years, month + 1, 1)


@contextmanager
def reading() -> Iterator[replica.TimeoutCursor]:
    """A cursor for figures, bounded in time."""
    with replica.read_cursor(milliseconds=STATEMENT_MILLISECONDS) as cursor:
        yield cursor


def rows_read(sql: str, **values: Any) -> list[tuple[Any, ...]]:
    """The rows of a statement, bounded in time."""
    with reading() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall()


def utc_today() -> date:
    """The day in UTC."""
    return timezone.now().date()


def rollups_counted_at() -> datetime | None:
    """When the rollups of transactions and mappings were last brought up to date; None before the first time."""
    return rows_read("SELECT max(looked_at) FROM rollup_partitions")[0][0]


def ledger_counted_at() -> datetime | None:
    """The moment before which every booking is in the days of the ledger; None before the first count."""
    found = rows_read("SELECT counted_at FROM ledger_marks WHERE id = 1")
    return found[0][0] if found else None


# --- LLM center -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class ProposalDay:
    """Proposals made on a day that have this status now; confidence 0 to 1."""

    date: date
    status: str
    count: int
    average_confidence: Decimal


@dataclass(frozen=True, slots=True)
class ProposalTotals:
    """Proposals of a period. `automatic` were approved without a person."""

    pending: int
    approved: int
    rejected: int
    automatic: int
    average_confidence: Decimal | None

    @property
    def count(self) -> int:
        """All of them."""
        return self.pending + self.approved + self.rejected

    @property
    def automatic_rate(self) -> Decimal | None:
        """Share of the decided ones that needed no person, 0 to 1; None while nothing is decided."""
        decided = self.approved + self.rejected
        return Decimal(self.automatic) / decided if decided else None


@dataclass(frozen=True, slots=True)
class PendingAge:
    """Undecided proposals that were made from `first` to `last` (None: whenever before)."""

    words: str
    first: date | None
    last: date
    count: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """The review queue: merchants, the transactions and dollars that wait for them, and since when the oldest waits."""

    merchants: int
    transactions: int
    amount: Decimal
    oldest: date | None


@dataclass(frozen=True, slots=True)
class ReviewDay:
    """Decisions of a day by people and without one, and how many of each were taken back since.

    `overturned`: decisions of people that ended an approval no person had made. `median_seconds`: how long the merchants
    that people decided had waited, the middle one of them.
    """

    date: date
    people: int
    automatic: int
    people_reversed: int
    automatic_reversed: int
    released: int
    overturned: int = 0
    median_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class LlmCostDay:
    """Calls to language models on a day, merchants that they asked for, dollars."""

    date: date
    calls: int
    merchants: int
    cost: Decimal


@dataclass(frozen=True, slots=True)
class Categories:
    """Merchants of the directory by category, the most frequent first. `sampled`: estimated from this many of them."""

    rows: list[tuple[str, int]]
    sampled: int | None


def proposals_by_day(period: Period) -> list[ProposalDay]:
    """By day and status, in order of the days."""
    return [
        ProposalDay(*row)
        for row in rows_read(
            "SELECT date, status, count, avg_confidence FROM llm_analytics_summary "
            "WHERE date BETWEEN %(first)s AND %(last)s ORDER BY date, status",
            first=period.first,
            last=period.last,
        )
    ]


_PROPOSALS = """
    SELECT coalesce(sum(rows) FILTER (WHERE status = 'pending'), 0), coalesce(sum(rows) FILTER (WHERE status = 'approved'), 0),
           coalesce(sum(rows) FILTER (WHERE status = 'rejected'), 0),
           coalesce(sum(rows) FILTER (WHERE status = 'approved' AND automatic), 0), sum(confidence) / nullif(sum(rows), 0)
    FROM mapping_days WHERE day BETWEEN %(first)s AND %(last)s
"""


def proposal_totals(period: Period) -> ProposalTotals:
    """All proposals made in the period, by what became of them."""
    pending, approved, rejected, automatic, confidence = rows_read(_PROPOSALS, first=period.first, last=period.last)[0]
    return ProposalTotals(int(pending), int(approved), int(rejected), int(automatic), confidence)


_AGES: Final = (
    ("today", 0, 0),
    ("1 to 2 days", 1, 2),
    ("3 to 7 days", 3, 7),
    ("8 to 30 days", 8, 30),
    ("31 to 90 days", 31, 90),
)


def pending_by_age(*, today: date | None = None) -> list[PendingAge]:
    """Proposals that nobody decided, by how long ago they were made; all of them, whatever the period."""
    today = today or utc_today()
    by_day = dict(rows_read("SELECT day, sum(rows) FROM mapping_days WHERE status = 'pending' GROUP BY day"))
    ages = []
    for words, youngest, oldest in _AGES:
        first, last = today - timedelta(days=oldest), today - timedelta(days=youngest)
        ages.append(PendingAge(words, first, last, int(sum(n for day, n in by_day.items() if first <= day <= last))))
    before = today - timedelta(days=_AGES[-1][2] + 1)
    older = int(sum(count for day, count in by_day.items() if day <= before))
    return [*ages, PendingAge("older", None, before, older)]


# A look into the index on (status, created_at): one row of each month.
_OLDEST = """
    SELECT (created_at AT TIME ZONE 'UTC')::date FROM llm_mappings WHERE status = 'pending' ORDER BY created_at LIMIT 1
"""


def review_backlog() -> Backlog:
    """What waits for reviewers now."""
    merchants, count, amount = queue_totals_cached()
    oldest = rows_read(_OLDEST)
    return Backlog(merchants, count, amount, oldest[0][0] if oldest else None)


_REVIEW = """
    SELECT date, coalesce(sum(decisions) FILTER (WHERE NOT automatic), 0)::bigint,
           coalesce(sum(decisions) FILTER (WHERE automatic), 0)::bigint,
           coalesce(sum(reversed) FILTER (WHERE NOT automatic), 0)::bigint,
           coalesce(sum(reversed) FILTER (WHERE automatic), 0)::bigint,
           sum(released)::bigint, sum(overturned)::bigint,
           sum(median_seconds * waited) FILTER (WHERE NOT automatic)
             / nullif(sum(waited) FILTER (WHERE NOT automatic AND median_seconds IS NOT NULL), 0)
    FROM analytics_review WHERE date BETWEEN %(first)s AND %(last)s AND action <> 'undo' GROUP BY date ORDER BY date
"""


def review_by_day(period: Period) -> list[ReviewDay]:
    """Decisions on merchants by day."""
    return [ReviewDay(*row) for row in rows_read(_REVIEW, first=period.first, last=period.last)]


def llm_cost_by_day(period: Period) -> list[LlmCostDay]:
    """What asking language models took, by day."""
    return [
        LlmCostDay(*row)
        for row in rows_read(
            "SELECT date, calls, merchants, cost FROM analytics_llm_cost WHERE date BETWEEN %(first)s AND %(last)s ORDER BY date",
            first=period.first,
            last=period.last,
        )
    ]


_PAGES_LOOKED_AT: Final = 2_000  # of 8 kB: some fifty thousand merchants
_SIZE = "SELECT pg_relation_size('merchants') / current_setting('block_size')::int"


def _of_directory(counts: str) -> tuple[list[tuple[str, int]], float]:
    """What the statement counts of the directory, and of which share of it: all where it is small, else a sample of its pages."""
    with reading() as cursor:
        cursor.execute(_SIZE)
        share = min(1.0, _PAGES_LOOKED_AT / max(1, cursor.fetchone()[0]))
        if share == 1:
            cursor.execute(counts.format(sample=""))
        else:  # REPEATABLE: looking again shows the same figures.
            sample = "TABLESAMPLE SYSTEM (%(percent)s) REPEATABLE (1)"
            cursor.execute(counts.format(sample=sample), {"percent": share * 100})
        return cursor.fetchall(), share


_CATEGORIES = (
    "SELECT coalesce(nullif(category, ''), 'none'), count(*) FROM merchants {sample} GROUP BY 1 ORDER BY 2 DESC, 1"
)


def categories() -> Categories:
    """How the directory divides into categories: counted where it is small, estimated from a sample of its pages where not."""
    rows, share = _of_directory(_CATEGORIES)
    if share == 1:
        return Categories(rows, None)
    return Categories([(name, round(count / share)) for name, count in rows], sum(count for _, count in rows))


# --- Transactions -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class VolumeDay:
    """Transactions of a day of purchase by status; dollars."""

    date: date
    status: str
    transactions: int
    amount: Decimal
    round_up: Decimal
    fee: Decimal
    investable: Decimal


@dataclass(frozen=True, slots=True)
class VolumeTotals:
    """Transactions of a period. `completed`, `invested` and `fees` are of those that were invested."""

    transactions: int
    amount: Decimal
    completed: int
    invested: Decimal
    fees: Decimal

    @classmethod
    def of(cls, rows: Iterable[VolumeDay]) -> "VolumeTotals":
        """The sums of these days."""
        rows = list(rows)
        completed = [row for row in rows if row.status == "completed"]
        return cls(
            transactions=sum(row.transactions for row in rows),
            amount=sum((row.amount for row in rows), ZERO),
            completed=sum(row.transactions for row in completed),
            invested=sum((row.investable for row in completed), ZERO),
            fees=sum((row.fee for row in completed), ZERO),
        )


@dataclass(frozen=True, slots=True)
class TickerTotal:
    """What was bought of one company in a period."""

    ticker: str
    name: str
    transactions: int
    invested: Decimal
    fees: Decimal


@dataclass(frozen=True, slots=True)
class UserMonth:
    """Customers with a purchase in a month (its first day), and their transactions, by kind of account."""

    month: date
    account_type: str
    active_users: int
    transactions: int


def volume_by_day(period: Period) -> list[VolumeDay]:
    """By day and status, in order of the days."""
    return [
        VolumeDay(*row)
        for row in rows_read(
            "SELECT date, status, transactions, amount, round_up, fee, investable FROM analytics_volume "
            "WHERE date BETWEEN %(first)s AND %(last)s ORDER BY date, status",
            first=period.first,
            last=period.last,
        )
    ]


def volume_totals(period: Period) -> VolumeTotals:
    """All transactions of the period."""
    return VolumeTotals.of(volume_by_day(period))


_TICKERS = """
    SELECT top.ticker, coalesce(nullif(companies.name, ''), top.ticker), top.transactions, top.invested, top.fee
    FROM (
        SELECT ticker, sum(transactions)::bigint AS transactions, sum(invested) AS invested, sum(fee) AS fee
        FROM analytics_tickers WHERE date BETWEEN %(first)s AND %(last)s
        GROUP BY ticker ORDER BY invested DESC, ticker LIMIT %(most)s
    ) AS top LEFT JOIN companies ON companies.ticker = top.ticker
    ORDER BY top.invested DESC, top.ticker
"""


def top_tickers(period: Period, *, limit: int = 10) -> list[TickerTotal]:
    """The companies that most was invested in."""
    return [TickerTotal(*row) for row in rows_read(_TICKERS, first=period.first, last=period.last, most=limit)]


def active_users_by_month(period: Period) -> list[UserMonth]:
    """For each month that the period touches: customers with a purchase in it."""
    return [
        UserMonth(*row)
        for row in rows_read(
            "SELECT month, account_type, active_users, transactions FROM analytics_users "
            "WHERE month BETWEEN %(first)s AND %(last)s ORDER BY month, account_type",
            first=period.first.replace(day=1),
            last=period.last,
        )
    ]


# --- Finance ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class AccountMovement:
    """An account over a period: dollars on each side, and its balance at the end on the side where it usually stands."""

    number: str
    name: str
    type: str
    debit: Decimal
    credit: Decimal
    balance: Decimal


@dataclass(frozen=True, slots=True)
class LedgerKindDay:
    """Bookings of a day of one kind: `round_up`, `fee`, `purchase`, `rounding`, their contra entries as `undone`, and others."""

    date: date
    kind: str
    bookings: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class AmortizationMonth:
    """Charges of a month that stand in the books."""

    month: date
    entries: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class AssetValue:
    """A data asset in the books: cost, what was written off, what it stands at."""

    id: int
    name: str
    status: str
    cost: Decimal
    written_off: Decimal

    @property
    def carrying(self) -> Decimal:
        """Nothing once it is disposed of."""
        return ZERO if self.status == "disposed" else self.cost - self.written_off


_ACCOUNTS = """
    WITH sides AS (
        SELECT day, debit_account AS number, amount AS debit, 0.00 AS credit FROM ledger_days WHERE day <= %(last)s
        UNION ALL
        SELECT day, credit_account, 0.00, amount FROM ledger_days WHERE day <= %(last)s
    ), sums AS (
        SELECT number, coalesce(sum(debit) FILTER (WHERE day >= %(first)s), 0.00) AS debit,
               coalesce(sum(credit) FILTER (WHERE day >= %(first)s), 0.00) AS credit, sum(debit) - sum(credit) AS balance
        FROM sides GROUP BY number
    )
    SELECT coalesce(chart.number, sums.number), coalesce(chart.name, 'not in the chart'), coalesce(chart.type, 'asset'),
           coalesce(sums.debit, 0.00), coalesce(sums.credit, 0.00),
           coalesce(CASE WHEN chart.type IN ('liability', 'equity', 'revenue') THEN -sums.balance ELSE sums.balance END, 0.00)
    FROM ledger_accounts AS chart FULL JOIN sums ON sums.number = chart.number ORDER BY 1
"""


def accounts(period: Period) -> list[AccountMovement]:
    """Every account of the chart: its movements in the period and its balance at the end of it."""
    return [AccountMovement(*row) for row in rows_read(_ACCOUNTS, first=period.first, last=period.last)]


_LEDGER = """
    SELECT day, CASE WHEN starts_with(kind, 'undo_') THEN 'undone' ELSE rtrim(kind, '_23456789') END, sum(rows)::bigint, sum(amount)
    FROM ledger_days WHERE day BETWEEN %(first)s AND %(last)s GROUP BY 1, 2 ORDER BY 1, 2
"""


def ledger_by_day(period: Period) -> list[LedgerKindDay]:
    """Bookings by day and kind."""
    return [LedgerKindDay(*row) for row in rows_read(_LEDGER, first=period.first, last=period.last)]


def amortization_by_month(*, last: date, months: int = 12) -> list[AmortizationMonth]:
    """Charges of the last months up to the one of `last`."""
    return [
        AmortizationMonth(*row)
        for row in rows_read(
            "SELECT period, count(*), sum(amount) FROM amortization_entries "
            "WHERE reversed_at IS NULL AND period BETWEEN %(first)s AND %(last)s GROUP BY period ORDER BY period",
            first=months_before(last, months - 1),
            last=last,
        )
    ]


_ASSETS = """
    SELECT asset.id, asset.asset_name, asset.status, asset.cost_basis, coalesce(charged.amount, 0) + coalesce(impaired.amount, 0)
    FROM llm_data_assets AS asset
    LEFT JOIN (
        SELECT asset_id, sum(amount) AS amount FROM amortization_entries WHERE reversed_at IS NULL GROUP BY asset_id
    ) AS charged ON charged.asset_id = asset.id
    LEFT JOIN (
        SELECT asset_id, sum(amount) AS amount FROM llm_asset_events WHERE kind = 'impairment' GROUP BY asset_id
    ) AS impaired ON impaired.asset_id = asset.id
    ORDER BY asset.cost_basis DESC, asset.id LIMIT %(most)s
"""


def asset_values(*, limit: int = 50) -> list[AssetValue]:
    """The data assets, the dearest first."""
    return [AssetValue(*row) for row in rows_read(_ASSETS, most=limit)]


@dataclass(frozen=True, slots=True)
class CostMonth:
    """What a month cost: models and infrastructure, for each completed transaction and for each active user; dollars.

    The costs are None while nobody has said what the infrastructure costs (setting `infrastructure_monthly_cost`).
    """

    month: date
    transactions: int
    active_users: int
    llm_cost: Decimal
    infrastructure_cost: Decimal | None
    cost: Decimal | None
    per_transaction: Decimal | None
    per_user: Decimal | None


COST_TARGETS: Final = (Decimal("0.001"), Decimal("0.10"))
"""Dollars a transaction, and dollars a user and month, that a month should stay under."""


def cost_by_month(*, last: date, months: int = 12) -> list[CostMonth]:
    """The last months up to the one of `last`, which bears the part of the infrastructure that it has run for."""
    return [
        CostMonth(*row)
        for row in rows_read(
            "SELECT month, transactions, active_users, llm_cost, infrastructure_cost, cost, cost_per_transaction, cost_per_user "
            "FROM analytics_cost WHERE month BETWEEN %(first)s AND %(last)s ORDER BY month",
            first=months_before(last, months - 1),
            last=last,
        )
    ]


# --- All of it, as of now --------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class MappingTotals:
    """The whole log: rows by status, approved without a person, uploaded in files, made today; mean confidence 0 to 1."""

    pending: int = 0
    approved: int = 0
    rejected: int = 0
    automatic: int = 0
    bulk: int = 0
    today: int = 0
    confidence: Decimal | None = None

    @property
    def total(self) -> int:
        """All rows."""
        return self.pending + self.approved + self.rejected

    @property
    def automatic_rate(self) -> float | None:
        """Percent of the decided rows that no person decided; None while nothing is decided."""
        decided = self.approved + self.rejected
        return round(self.automatic * 100 / decided, 2) if decided else None


_MAPPINGS = """
    SELECT coalesce(sum(rows) FILTER (WHERE status = 'pending'), 0), coalesce(sum(rows) FILTER (WHERE status = 'approved'), 0),
           coalesce(sum(rows) FILTER (WHERE status = 'rejected'), 0), coalesce(sum(rows) FILTER (WHERE automatic), 0),
           coalesce(sum(rows) FILTER (WHERE source = 'bulk'), 0), coalesce(sum(rows) FILTER (WHERE day = %(today)s), 0),
           sum(confidence) / nullif(sum(rows), 0)
    FROM (
        SELECT day, status, source, automatic, rows, confidence FROM mapping_days
        UNION ALL
        SELECT day, status, source, automatic, rows, confidence FROM mapping_deltas
    ) AS days
"""


def mapping_totals() -> MappingTotals:
    """The log of proposals as it is now."""
    row = rows_read(_MAPPINGS, today=utc_today())[0]
    pending, approved, rejected, automatic, bulk, made_today = (int(count) for count in row[:6])
    mean = None if row[6] is None else row[6].quantize(Decimal("0.0001"))
    return MappingTotals(pending, approved, rejected, automatic, bulk, made_today, mean)


_NEWEST: Final = 10_000
_NEWEST_CATEGORIES = """
    SELECT coalesce(nullif(category, ''), 'none'), count(*) FROM (
        SELECT category FROM llm_mappings ORDER BY created_at DESC LIMIT %(most)s
    ) AS newest GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 100
"""


def categories_of_newest() -> dict[str, int]:
    """How the newest ten thousand proposals divide into categories, the most frequent first."""
    return dict(rows_read(_NEWEST_CATEGORIES, most=_NEWEST))


@dataclass(frozen=True, slots=True)
class TransactionTotals:
    """All transactions: rows by status, rows of today (by day of purchase), dollars."""

    by_status: dict[str, int] = field(default_factory=dict)
    today: int = 0
    today_open: int = 0
    round_ups: Decimal = ZERO
    waiting: Decimal = ZERO
    invested: Decimal = ZERO
    fees: Decimal = ZERO

    @property
    def total(self) -> int:
        """All rows."""
        return sum(self.by_status.values())

    def count(self, *statuses: str) -> int:
        """Rows of these statuses."""
        return sum(self.by_status.get(status, 0) for status in statuses)

    @property
    def known(self) -> int:
        """Rows whose company is known: invested, ordered, or waiting for a price."""
        return self.count(Status.COMPLETED, Status.MAPPED, Status.AWAITING_PRICE)


_TRANSACTIONS = """
    SELECT status, sum(rows), coalesce(sum(rows) FILTER (WHERE day = %(today)s), 0), sum(round_up), sum(investable), sum(fee)
    FROM (
        SELECT day, status, rows, round_up, investable, fee FROM transaction_days
        UNION ALL
        SELECT day, status, rows, round_up, investable, fee FROM transaction_deltas
    ) AS days GROUP BY status
"""
_OPEN: Final = {Status.PENDING, Status.NEEDS_REVIEW, Status.MAPPED, Status.AWAITING_PRICE}


def transaction_totals() -> TransactionTotals:
    """All transactions as they are now. `waiting` are round-ups that are not invested yet."""
    rows = rows_read(_TRANSACTIONS, today=utc_today())
    return TransactionTotals(
        by_status={status: int(count) for status, count, *_ in rows},
        today=sum(int(row[2]) for row in rows),
        today_open=sum(int(row[2]) for row in rows if row[0] == Status.PENDING),
        round_ups=sum((row[3] for row in rows), ZERO),
        waiting=sum((row[3] for row in rows if row[0] in _OPEN), ZERO),
        invested=sum((row[4] for row in rows if row[0] == Status.COMPLETED), ZERO),
        fees=sum((row[5] for row in rows if row[0] == Status.COMPLETED), ZERO),
    )


# Sums by account type join every customer's months; beyond so many rows nobody waits for them.
_MONTHS_MOST: Final = 2_000_000
_MONTHS = "SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = 'customer_months'::regclass"
_BY_TYPE = """
    SELECT users.account_type, sum(months.rows) FROM (
        SELECT user_id, rows FROM customer_months
        UNION ALL
        SELECT user_id, rows FROM transaction_deltas WHERE user_id IS NOT NULL
    ) AS months JOIN users ON users.id = months.user_id GROUP BY 1
"""


def transactions_by_account_type() -> dict[str, int] | None:
    """Transactions by kind of account; None where there are too many customers to count them while somebody waits."""
    if rows_read(_MONTHS)[0][0] > _MONTHS_MOST:
        return None
    return {kind: int(count) for kind, count in rows_read(_BY_TYPE)}


@dataclass(frozen=True, slots=True)
class MerchantCounts:
    """Merchants of the directory by status; `estimated` from a sample of its pages where it is large."""

    by_status: dict[str, int]
    estimated: bool

    @property
    def total(self) -> int:
        """All merchants."""
        return sum(self.by_status.values())


_MERCHANTS = "SELECT status, count(*) FROM merchants {sample} GROUP BY 1"


def merchant_counts() -> MerchantCounts:
    """The directory by status."""
    counts, share = _of_directory(_MERCHANTS)
    return MerchantCounts({status: round(count / share) for status, count in counts}, estimated=share < 1)


_DIRECTORY_CHANGED = (
    "SELECT max(decided_at) FROM (SELECT decided_at FROM mapping_decisions ORDER BY id DESC LIMIT 1) AS newest"
)


def directory_changed_at() -> datetime | None:
    """When somebody or the matcher last decided on a merchant."""
    return rows_read(_DIRECTORY_CHANGED)[0][0]


@dataclass(frozen=True, slots=True)
class ModelCalls:
    """Calls to language models of the last thirty days."""

    calls: int
    failed: int
    merchants: int
    seconds: float

    @property
    def error_rate(self) -> float | None:
        """Percent that failed; None without calls."""
        return round(self.failed * 100 / self.calls, 2) if self.calls else None

    @property
    def merchants_a_second(self) -> float | None:
        """Merchants asked for in a second of asking; None without calls."""
        return round(self.merchants / self.seconds, 2) if self.seconds else None


_CALLS = """
    SELECT count(*), count(*) FILTER (WHERE error <> ''), coalesce(sum(merchants), 0), coalesce(sum(duration_ms), 0) / 1000.0
    FROM llm_calls WHERE started_at >= %(since)s
"""


def model_calls() -> ModelCalls:
    """What asking models came to lately."""
    calls, failed, merchants, seconds = rows_read(_CALLS, since=timezone.now() - timedelta(days=30))[0]
    return ModelCalls(calls, failed, int(merchants), float(seconds))


_LAST_BOOKING = "SELECT created_at FROM ledger_transfers WHERE user_id > 0 ORDER BY id DESC LIMIT 1"


def last_booking() -> datetime | None:
    """When something was last booked for a customer."""
    booked = rows_read(_LAST_BOOKING)
    return booked[0][0] if booked else None
