"""Every figure of the dashboards, of the reports' overviews and of the admin's API, as typed functions.

Figures of a period come from the rollups (`analytics.models`, `migrations/sql/0001_views.sql`), whose size follows days,
not rows. What is not in a rollup is looked at through an index, and no further than a bound that the function names.
Everything goes over `kamioi_site.db.replica` and is given up after `STATEMENT_MILLISECONDS`: a slow answer is an error that
says so, never a page that hangs. Dollars are `Decimal`, days UTC.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from celery import current_app
from django.db import transaction
from django.utils import timezone
from kombu.exceptions import ChannelError

from kamioi_site.cache import FamilyFigures, family_figures
from kamioi_site.db import replica
from kamioi_site.db.partitions import PartitionStatus, partitions_status
from llm_center.services.review import queue_totals_lately
from transactions.legacy.state import state_read
from transactions.money import ZERO

STATEMENT_MILLISECONDS: Final = 3_000


@dataclass(frozen=True, slots=True)
class Period:
    """Days from `first` to `last`, both included."""

    first: date
    last: date

    @classmethod
    def of_days(cls, days: int, *, today: date | None = None) -> "Period":
        """The last `days` days, today included."""
        last = today or timezone.now().date()
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
def reading() -> Iterator[replica.BoundedCursor]:
    """A cursor for figures, bounded in time."""
    with replica.reading(milliseconds=STATEMENT_MILLISECONDS) as cursor:
        yield cursor


def _rows(sql: str, **values: Any) -> list[tuple[Any, ...]]:
    with reading() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall()


def rollups_counted_at() -> datetime | None:
    """When the rollups of transactions and mappings were last brought up to date; None before the first time."""
    return _rows("SELECT max(looked_at) FROM rollup_partitions")[0][0]


def ledger_counted_at() -> datetime | None:
    """The moment before which every booking is in the days of the ledger; None before the first count."""
    found = _rows("SELECT counted_at FROM ledger_marks WHERE id = 1")
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
        for row in _rows(
            "SELECT date, status, count, avg_confidence FROM llm_analytics_summary "
            "WHERE date BETWEEN %(first)s AND %(last)s ORDER BY date, status",
            first=period.first, last=period.last,
        )
    ]  # fmt: skip


_PROPOSALS = """
    SELECT coalesce(sum(rows) FILTER (WHERE status = 'pending'), 0), coalesce(sum(rows) FILTER (WHERE status = 'approved'), 0),
           coalesce(sum(rows) FILTER (WHERE status = 'rejected'), 0),
           coalesce(sum(rows) FILTER (WHERE status = 'approved' AND automatic), 0), sum(confidence) / nullif(sum(rows), 0)
    FROM mapping_days WHERE day BETWEEN %(first)s AND %(last)s
"""


def proposal_totals(period: Period) -> ProposalTotals:
    """All proposals made in the period, by what became of them."""
    pending, approved, rejected, automatic, confidence = _rows(_PROPOSALS, first=period.first, last=period.last)[0]
    return ProposalTotals(int(pending), int(approved), int(rejected), int(automatic), confidence)


_AGES: Final = (
    ("today", 0, 0), ("1 to 2 days", 1, 2), ("3 to 7 days", 3, 7), ("8 to 30 days", 8, 30), ("31 to 90 days", 31, 90),
)  # fmt: skip


def pending_by_age(*, today: date | None = None) -> list[PendingAge]:
    """Proposals that nobody decided, by how long ago they were made; all of them, whatever the period."""
    today = today or timezone.now().date()
    by_day = dict(_rows("SELECT day, sum(rows) FROM mapping_days WHERE status = 'pending' GROUP BY day"))
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
    merchants, count, amount = queue_totals_lately()
    oldest = _rows(_OLDEST)
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
    return [ReviewDay(*row) for row in _rows(_REVIEW, first=period.first, last=period.last)]


def llm_cost_by_day(period: Period) -> list[LlmCostDay]:
    """What asking language models took, by day."""
    return [
        LlmCostDay(*row)
        for row in _rows(
            "SELECT date, calls, merchants, cost FROM analytics_llm_cost WHERE date BETWEEN %(first)s AND %(last)s ORDER BY date",
            first=period.first, last=period.last,
        )
    ]  # fmt: skip


_PAGES_LOOKED_AT: Final = 2_000  # of 8 kB: some fifty thousand merchants
_SIZE = "SELECT pg_relation_size('merchants') / current_setting('block_size')::int"
_CATEGORIES = (
    "SELECT coalesce(nullif(category, ''), 'none'), count(*) FROM merchants {sample} GROUP BY 1 ORDER BY 2 DESC, 1"
)


def categories() -> Categories:
    """How the directory divides into categories: counted where it is small, estimated from a sample of its pages where not."""
    with reading() as cursor:
        cursor.execute(_SIZE)
        pages = cursor.fetchone()[0]
        if pages <= _PAGES_LOOKED_AT:
            cursor.execute(_CATEGORIES.format(sample=""))
            return Categories(cursor.fetchall(), None)
        share = _PAGES_LOOKED_AT / pages
        # REPEATABLE: looking again shows the same figures.
        cursor.execute(
            _CATEGORIES.format(sample="TABLESAMPLE SYSTEM (%(percent)s) REPEATABLE (1)"), {"percent": share * 100}
        )
        rows = cursor.fetchall()
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
        for row in _rows(
            "SELECT date, status, transactions, amount, round_up, fee, investable FROM analytics_volume "
            "WHERE date BETWEEN %(first)s AND %(last)s ORDER BY date, status",
            first=period.first, last=period.last,
        )
    ]  # fmt: skip


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


def top_tickers(period: Period, *, most: int = 10) -> list[TickerTotal]:
    """The companies that most was invested in."""
    return [TickerTotal(*row) for row in _rows(_TICKERS, first=period.first, last=period.last, most=most)]


def active_users_by_month(period: Period) -> list[UserMonth]:
    """For each month that the period touches: customers with a purchase in it."""
    return [
        UserMonth(*row)
        for row in _rows(
            "SELECT month, account_type, active_users, transactions FROM analytics_users "
            "WHERE month BETWEEN %(first)s AND %(last)s ORDER BY month, account_type",
            first=period.first.replace(day=1), last=period.last,
        )
    ]  # fmt: skip


# --- Finance ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class RevenueDay:
    """Fees of what was invested on a day of purchase."""

    date: date
    transactions: int
    fees: Decimal
    invested: Decimal


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


def revenue_by_day(period: Period) -> list[RevenueDay]:
    """Fees by day."""
    return [
        RevenueDay(*row)
        for row in _rows(
            "SELECT date, transactions, fees, invested FROM analytics_revenue WHERE date BETWEEN %(first)s AND %(last)s ORDER BY date",
            first=period.first, last=period.last,
        )
    ]  # fmt: skip


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
    return [AccountMovement(*row) for row in _rows(_ACCOUNTS, first=period.first, last=period.last)]


_LEDGER = """
    SELECT day, CASE WHEN starts_with(kind, 'undo_') THEN 'undone' ELSE rtrim(kind, '_23456789') END, sum(rows)::bigint, sum(amount)
    FROM ledger_days WHERE day BETWEEN %(first)s AND %(last)s GROUP BY 1, 2 ORDER BY 1, 2
"""


def ledger_by_day(period: Period) -> list[LedgerKindDay]:
    """Bookings by day and kind."""
    return [LedgerKindDay(*row) for row in _rows(_LEDGER, first=period.first, last=period.last)]


def amortization_by_month(*, last: date, months: int = 12) -> list[AmortizationMonth]:
    """Charges of the last months up to the one of `last`."""
    return [
        AmortizationMonth(*row)
        for row in _rows(
            "SELECT period, count(*), sum(amount) FROM amortization_entries "
            "WHERE reversed_at IS NULL AND period BETWEEN %(first)s AND %(last)s GROUP BY period ORDER BY period",
            first=months_before(last, months - 1), last=last,
        )
    ]  # fmt: skip


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


def asset_values(*, most: int = 50) -> list[AssetValue]:
    """The data assets, the dearest first."""
    return [AssetValue(*row) for row in _rows(_ASSETS, most=most)]


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
        for row in _rows(
            "SELECT month, transactions, active_users, llm_cost, infrastructure_cost, cost, cost_per_transaction, cost_per_user "
            "FROM analytics_cost WHERE month BETWEEN %(first)s AND %(last)s ORDER BY month",
            first=months_before(last, months - 1), last=last,
        )
    ]  # fmt: skip


# --- Operations -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class QueueDepth:
    """Messages that wait in a queue of the broker."""

    queue: str
    waiting: int


@dataclass(frozen=True, slots=True)
class WorkerState:
    """A worker that answered: its queues, processes, tasks it has in work, tasks it has done."""

    name: str
    queues: tuple[str, ...]
    processes: int
    active: int
    done: int


@dataclass(frozen=True, slots=True)
class FailedTask:
    """A background task that failed."""

    id: str
    name: str
    who: str
    error: str
    attempts: int
    failed_at: datetime | None


@dataclass(frozen=True, slots=True)
class SlowQuery:
    """A statement as `pg_stat_statements` sums it up; milliseconds."""

    query: str
    calls: int
    mean_ms: float
    total_ms: float
    rows: int


@dataclass(frozen=True, slots=True)
class RunningQuery:
    """A statement that has been running for a while."""

    query: str
    state: str
    seconds: float
    waits_for: str


@dataclass(frozen=True, slots=True)
class Connections:
    """Connections to the database by state, of how many there may be; and how often a block was found in its cache."""

    by_state: dict[str, int]
    maximum: int
    cache_hit_rate: Decimal | None

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.by_state.values())


@dataclass(frozen=True, slots=True)
class StandbyState:
    """A standby as the primary sees it."""

    name: str
    state: str
    bytes_behind: int | None
    seconds_behind: float | None


@dataclass(frozen=True, slots=True)
class MigrationStand:
    """Where the migration from the legacy system stands; `runs` are (command, status, rows, started), the newest first."""

    phase: str
    dual_write: bool
    error: str
    runs: list[tuple[str, str, int, datetime]]


_BROKER_SECONDS: Final = 1.0


def queue_depths() -> list[QueueDepth]:
    """What waits in each queue. Raises the broker's error when it does not answer within a second or so."""
    names = [queue.name for queue in current_app.conf.task_queues]
    depths = []
    with _broker() as connection:
        channel = connection.default_channel
        for name in names:
            try:
                waiting = channel.queue_declare(name, passive=True).message_count
            except ChannelError:  # nothing was ever sent there
                waiting, channel = 0, connection.channel()
            except connection.channel_errors:
                waiting, channel = 0, connection.channel()
            depths.append(QueueDepth(name, waiting))
    return depths


@contextmanager
def _broker() -> Iterator[Any]:
    options = dict(current_app.conf.broker_transport_options or {})
    connection = current_app.connection_for_read()
    connection.transport_options = options | {
        "socket_timeout": _BROKER_SECONDS,
        "socket_connect_timeout": _BROKER_SECONDS,
    }
    connection.connect_timeout = _BROKER_SECONDS
    with connection:
        connection.ensure_connection(max_retries=1, timeout=_BROKER_SECONDS, interval_start=0, interval_step=0)
        yield connection


def workers(*, wait: float = 1.0) -> list[WorkerState]:
    """Workers that answer within `wait` seconds (which is how long this takes), by name."""
    with _broker() as connection:
        stats = current_app.control.inspect(timeout=wait, connection=connection).stats() or {}
        # As many answers as there are workers: nothing more to wait for.
        asked = current_app.control.inspect(timeout=wait, connection=connection, limit=len(stats))
        queues, active = (asked.active_queues() or {}, asked.active() or {}) if stats else ({}, {})
    return [
        WorkerState(
            name=name,
            queues=tuple(sorted(queue["name"] for queue in queues.get(name) or ())),
            processes=len((state.get("pool") or {}).get("processes") or ()),
            active=len(active.get(name) or ()),
            done=sum((state.get("total") or {}).values()),
        )
        for name, state in sorted(stats.items())
    ]


_TASKS_LOOKED_AT: Final = 20_000
_FAILED = """
    SELECT task.id::text, task.name, coalesce(users.email, ''), task.error, task.attempts, task.finished_at
    FROM (SELECT * FROM background_tasks ORDER BY created_at DESC LIMIT %(look_at)s) AS task
    LEFT JOIN users ON users.id = task.user_id
    WHERE task.status = 'failed' ORDER BY task.created_at DESC LIMIT %(most)s
"""


def failed_tasks(*, most: int = 20) -> list[FailedTask]:
    """The newest failed ones, among the newest twenty thousand tasks."""
    return [FailedTask(*row) for row in _rows(_FAILED, most=most, look_at=_TASKS_LOOKED_AT)]


_SLOW = """
    SELECT left(query, 500), calls, mean_exec_time, total_exec_time, rows FROM pg_stat_statements
    WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
    ORDER BY total_exec_time DESC LIMIT %(most)s
"""
_STATEMENTS_LOADED = """
    SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_stat_statements')
       AND current_setting('shared_preload_libraries') LIKE '%%pg_stat_statements%%'
"""


def slow_queries(*, most: int = 10) -> list[SlowQuery] | None:
    """The statements that took most time in all; None where `pg_stat_statements` is not loaded."""
    with reading() as cursor:
        cursor.execute(_STATEMENTS_LOADED, {})
        if not cursor.fetchone()[0]:
            return None
        cursor.execute(_SLOW, {"most": most})
        return [SlowQuery(*row) for row in cursor.fetchall()]


_RUNNING = """
    SELECT left(query, 300), state, extract(epoch FROM clock_timestamp() - query_start)::float, coalesce(wait_event_type, '')
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND state IN ('active', 'idle in transaction')
      AND query_start < clock_timestamp() - make_interval(secs => %(seconds)s)
    ORDER BY query_start LIMIT %(most)s
"""


def running_queries(*, seconds: float = 5, most: int = 10) -> list[RunningQuery]:
    """What has been running, or holding a transaction open, for at least this long; the longest first."""
    return [RunningQuery(*row) for row in _rows(_RUNNING, seconds=seconds, most=most)]


_CONNECTIONS = """
    SELECT coalesce(state, 'background'), count(*) FROM pg_stat_activity WHERE datname = current_database() GROUP BY 1 ORDER BY 1
"""
_BLOCKS = """
    SELECT current_setting('max_connections')::int, (blks_hit::numeric / nullif(blks_hit + blks_read, 0))
    FROM pg_stat_database WHERE datname = current_database()
"""


def connections_now() -> Connections:
    """Of the database that answers reads."""
    with reading() as cursor:
        cursor.execute(_CONNECTIONS)
        by_state = dict(cursor.fetchall())
        cursor.execute(_BLOCKS)
        maximum, rate = cursor.fetchone()
    return Connections(by_state, maximum, rate)


def cache_families() -> list[FamilyFigures]:
    """What the reads of today (UTC) met, by family of cached values; the busiest first, those without a read left out."""
    figures = [family for family in family_figures().values() if family.reads]
    return sorted(figures, key=lambda family: -family.reads)


def partitions() -> list[PartitionStatus]:
    """Months made ahead, and rows that lie in a default partition (ten thousand means that many or more)."""
    return partitions_status()


_REPLICAS = """
    SELECT coalesce(nullif(application_name, ''), client_addr::text, 'standby'), state,
           pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint, extract(epoch FROM replay_lag)::float
    FROM pg_stat_replication ORDER BY 1
"""


def replica_of_reads() -> replica.ReplicaState | None:
    """The replica that reads of analytics go to; None when none is set."""
    return replica.replica_state() if replica.replica_is_set() else None


def replicas() -> list[StandbyState]:
    """Standbys that stream from the primary; none where there are none."""
    # The primary knows them, so this is asked there.
    with transaction.atomic(), transaction.get_connection().cursor() as cursor:
        cursor.execute(_REPLICAS)
        return [StandbyState(*row) for row in cursor.fetchall()]


def migration_stand(*, most: int = 5) -> MigrationStand | None:
    """None when nothing was ever carried over."""
    state = state_read()
    if state is None:
        return None
    runs = _rows(
        "SELECT command, status, rows_done, started_at FROM migration_runs ORDER BY id DESC LIMIT %(most)s", most=most
    )
    return MigrationStand(
        state.phase, state.dual_write, state.error, [(command, status, rows, at) for command, status, rows, at in runs]
    )
