"""Figures of the API for staff: whole-table sums from the rollups, the rest bounded, whatever is not measured None.

A sum over the rollups counts in what writes changed since they were last brought up to date (`*_deltas`), so that it is the
sum of now. What is looked at row by row is looked at no further than a bound that its name says. Rates are percent.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import psutil
from django.conf import settings
from django.utils import timezone
from django_celery_beat.models import PeriodicTask
from redis import RedisError

from kamioi_site.cache import CacheFamily, family_figures
from kamioi_site.db import replica
from kamioi_site.redis import redis_client
from llm_center import matcher
from llm_center.cache import LLM
from llm_center.models import CalibrationFit
from llm_center.services.learning import learning
from llm_center.services.maintenance import queue_is_on
from llm_center.services.proposals import auto_approval_threshold
from transactions.errors import SettingError
from transactions.models import BackgroundTask, Setting, Transaction
from transactions.money import ZERO

Status = Transaction.Status

DASHBOARD: Final = CacheFamily("llm:dashboard:{user_id}", ttl=900, generation=LLM)
ANALYTICS: Final = CacheFamily("llm:analytics:{date}", ttl=3600, generation=LLM)
STAFF: Final = CacheFamily("staff:figures:{name}", ttl=30)
ACCOUNT_TYPES: Final = CacheFamily("staff:account_types", ttl=3600)

STATEMENT_SECONDS: Final = 3
# Pages of 8 kB that a count of the directory reads; a larger one is estimated from a sample of so many.
_PAGES: Final = 2_000
# Sums by account type join every customer's months; beyond so many rows nobody waits for them.
_MONTHS_MOST: Final = 2_000_000
_NEWEST: Final = 10_000


@contextmanager
def _reading() -> Iterator[replica.BoundedCursor]:
    with replica.reading(milliseconds=STATEMENT_SECONDS * 1000) as cursor:
        yield cursor


def _rows(sql: str, **values: Any) -> list[tuple[Any, ...]]:
    with _reading() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall()


# --- Proposals --------------------------------------------------------------------------------------------------
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
    row = _rows(_MAPPINGS, today=today())[0]
    pending, approved, rejected, automatic, bulk, made_today = (int(count) for count in row[:6])
    mean = None if row[6] is None else row[6].quantize(Decimal("0.0001"))
    return MappingTotals(pending, approved, rejected, automatic, bulk, made_today, mean)


_CATEGORIES = """
    SELECT coalesce(nullif(category, ''), 'none'), count(*) FROM (
        SELECT category FROM llm_mappings ORDER BY created_at DESC LIMIT %(most)s
    ) AS newest GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 100
"""


def categories_of_newest() -> dict[str, int]:
    """How the newest ten thousand proposals divide into categories, the most frequent first."""
    return dict(_rows(_CATEGORIES, most=_NEWEST))


# --- Transactions -----------------------------------------------------------------------------------------------
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
    rows = _rows(_TRANSACTIONS, today=today())
    return TransactionTotals(
        by_status={status: int(count) for status, count, *_ in rows},
        today=sum(int(row[2]) for row in rows),
        today_open=sum(int(row[2]) for row in rows if row[0] == Status.PENDING),
        round_ups=sum((row[3] for row in rows), ZERO),
        waiting=sum((row[3] for row in rows if row[0] in _OPEN), ZERO),
        invested=sum((row[4] for row in rows if row[0] == Status.COMPLETED), ZERO),
        fees=sum((row[5] for row in rows if row[0] == Status.COMPLETED), ZERO),
    )


_SIZE = "SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = 'customer_months'::regclass"
_BY_TYPE = """
    SELECT users.account_type, sum(months.rows) FROM (
        SELECT user_id, rows FROM customer_months
        UNION ALL
        SELECT user_id, rows FROM transaction_deltas WHERE user_id IS NOT NULL
    ) AS months JOIN users ON users.id = months.user_id GROUP BY 1
"""


def transactions_by_account_type() -> dict[str, int] | None:
    """Transactions by kind of account; None where there are too many customers to count them while somebody waits."""
    return ACCOUNT_TYPES.get(_transactions_by_account_type)


def _transactions_by_account_type() -> dict[str, int] | None:
    if _rows(_SIZE)[0][0] > _MONTHS_MOST:
        return None
    return {kind: int(count) for kind, count in _rows(_BY_TYPE)}


# --- The directory ----------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class MerchantCounts:
    """Merchants of the directory by status; `estimated` from a sample of its pages where it is large."""

    by_status: dict[str, int]
    estimated: bool

    @property
    def total(self) -> int:
        """All merchants."""
        return sum(self.by_status.values())


_MERCHANT_PAGES = "SELECT pg_relation_size('merchants') / current_setting('block_size')::int"
_MERCHANTS = "SELECT status, count(*) FROM merchants {sample} GROUP BY 1"


def merchant_counts() -> MerchantCounts:
    """The directory by status."""
    with _reading() as cursor:
        cursor.execute(_MERCHANT_PAGES)
        pages = cursor.fetchone()[0]
        if pages <= _PAGES:
            cursor.execute(_MERCHANTS.format(sample=""))
            return MerchantCounts(dict(cursor.fetchall()), estimated=False)
        share = _PAGES / pages
        # REPEATABLE: looking again shows the same figures.
        cursor.execute(_MERCHANTS.format(sample=f"TABLESAMPLE SYSTEM ({share * 100:.6f}) REPEATABLE (1)"))
        return MerchantCounts({status: round(count / share) for status, count in cursor.fetchall()}, estimated=True)


_DIRECTORY_CHANGED = (
    "SELECT max(decided_at) FROM (SELECT decided_at FROM mapping_decisions ORDER BY id DESC LIMIT 1) AS newest"
)


def directory_changed_at() -> datetime | None:
    """When somebody or the matcher last decided on a merchant."""
    return _rows(_DIRECTORY_CHANGED)[0][0]


# --- The machinery ----------------------------------------------------------------------------------------------
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
    calls, failed, merchants, seconds = _rows(_CALLS, since=timezone.now() - timedelta(days=30))[0]
    return ModelCalls(calls, failed, int(merchants), float(seconds))


@dataclass(frozen=True, slots=True)
class Machinery:
    """What runs: whether Redis answers, whether the queue is on, runs of its schedule, open background tasks."""

    redis: bool
    queue_on: bool
    queue_last_run: datetime | None
    open_tasks: int
    last_booking: datetime | None


_LAST_BOOKING = "SELECT created_at FROM ledger_transfers WHERE user_id > 0 ORDER BY id DESC LIMIT 1"


def machinery() -> Machinery:
    """What runs now."""
    try:
        redis = bool(redis_client().ping())
    except RedisError:
        redis = False
    beat = PeriodicTask.objects.filter(name="process_llm_queue").first()
    open_tasks = BackgroundTask.objects.filter(
        status__in=[BackgroundTask.Status.QUEUED, BackgroundTask.Status.RUNNING]
    ).count()
    booked = _rows(_LAST_BOOKING)
    return Machinery(
        redis=redis, queue_on=queue_is_on(), queue_last_run=beat.last_run_at if beat else None, open_tasks=open_tasks,
        last_booking=booked[0][0] if booked else None,
    )  # fmt: skip


def process_uptime() -> float:
    """Seconds since this process began."""
    return round(timezone.now().timestamp() - psutil.Process(os.getpid()).create_time(), 1)


def process_memory_mb() -> float:
    """Megabytes that this process holds."""
    return round(psutil.Process(os.getpid()).memory_info().rss / 1024**2, 1)


def cache_hit_rate() -> float | None:
    """Percent of today's cached reads that computed nothing; None before the first."""
    figures = family_figures().values()
    reads = sum(family.reads for family in figures)
    served = sum(family.hit + family.stale + family.shared for family in figures)
    return round(served * 100 / reads, 2) if reads else None


# --- Learning and thresholds ------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Taught:
    """What people made of proposals, among the newest fifty thousand decisions; accuracy in percent."""

    judged: int
    accuracy: float | None
    last_fit: datetime | None


def taught() -> Taught:
    """How often proposals were right."""
    found = learning()
    fit = CalibrationFit.objects.order_by("-id").values_list("fitted_at", flat=True).first()
    return Taught(found.count, round(found.right * 100 / found.count, 2) if found.count else None, fit)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Confidence, 0 to 1, from which proposals are decided without a person (None: none is), and whether they may be."""

    auto_approve: Decimal | None
    configured: str
    enabled: bool
    high: Decimal = matcher.PREFIX
    medium: Decimal = matcher.DOUBTFUL


def thresholds() -> Thresholds:
    """The thresholds in force; None where a setting cannot be read."""
    configured = Setting.objects.filter(key="confidence_threshold").values_list("value", flat=True).first() or "0.90"
    try:
        limit = auto_approval_threshold()
    except SettingError:
        limit = None
    return Thresholds(limit, configured, limit is not None)


def models_in_use() -> list[str]:
    """What proposes owners, in the order in which it is asked."""
    name = Setting.objects.filter(key="llm_provider").values_list("value", flat=True).first() or settings.LLM_PROVIDER
    return ["matcher"] if name == "matcher" else ["matcher", settings.LLM_MODEL or name]


def today() -> date:
    """The day in UTC."""
    return timezone.now().astimezone(UTC).date()
