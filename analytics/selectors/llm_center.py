"""Proposals, reviews, merchants and model calls (see `analytics.selectors.queries` for the rules)."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from django.utils import timezone

from analytics.selectors.periods import Period, utc_today
from analytics.selectors.queries import fetch_rows, read_cursor
from llm_center.services.review.queue import queue_totals_cached


# --- Of a period ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class ProposalDay:
    """Proposals made on a day that have this status now; confidence from 0 to 1."""

    date: date
    status: str
    count: int
    average_confidence: Decimal


@dataclass(frozen=True, slots=True)
class ProposalTotals:
    """Proposals of a period by current status; `automatic` were approved without a reviewer."""

    pending: int
    approved: int
    rejected: int
    automatic: int
    average_confidence: Decimal | None

    @property
    def count(self) -> int:
        return self.pending + self.approved + self.rejected

    @property
    def automatic_rate(self) -> Decimal | None:
        """Share of the decided proposals that no reviewer decided, 0 to 1; None if none is decided."""
        decided = self.approved + self.rejected
        return Decimal(self.automatic) / decided if decided else None


@dataclass(frozen=True, slots=True)
class PendingAge:
    """Pending proposals made from `first` (None: no lower bound) to `last`."""

    label: str
    first: date | None
    last: date
    count: int


@dataclass(frozen=True, slots=True)
class ReviewBacklog:
    """The review queue: merchants, their waiting transactions and dollars, and the day of the oldest proposal."""

    merchants: int
    transactions: int
    amount: Decimal
    oldest: date | None


@dataclass(frozen=True, slots=True)
class ReviewDay:
    """Decisions of a day, and how many of them were undone later.

    `overturned`: decisions of reviewers that ended an automatic approval. `median_seconds`: the median time that
    the merchants decided by reviewers had waited.
    """

    date: date
    manual: int
    automatic: int
    manual_reversed: int
    automatic_reversed: int
    released: int
    overturned: int = 0
    median_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class LlmCostDay:
    """Calls to language models on a day, the merchants they covered, and dollars."""

    date: date
    calls: int
    merchants: int
    cost: Decimal


_PROPOSALS_BY_DAY = """
    SELECT date, status, count, avg_confidence FROM llm_analytics_summary
    WHERE date BETWEEN %(first)s AND %(last)s ORDER BY date, status
"""


def proposals_by_day(period: Period) -> list[ProposalDay]:
    return [ProposalDay(*row) for row in fetch_rows(_PROPOSALS_BY_DAY, first=period.first, last=period.last)]


_PROPOSAL_TOTALS = """
    SELECT coalesce(sum(rows) FILTER (WHERE status = 'pending'), 0)::bigint,
           coalesce(sum(rows) FILTER (WHERE status = 'approved'), 0)::bigint,
           coalesce(sum(rows) FILTER (WHERE status = 'rejected'), 0)::bigint,
           coalesce(sum(rows) FILTER (WHERE status = 'approved' AND automatic), 0)::bigint,
           sum(confidence) / nullif(sum(rows), 0)
    FROM mapping_days WHERE day BETWEEN %(first)s AND %(last)s
"""


def proposal_totals(period: Period) -> ProposalTotals:
    return ProposalTotals(*fetch_rows(_PROPOSAL_TOTALS, first=period.first, last=period.last)[0])


# (label, youngest, oldest) in days.
_AGE_BUCKETS: Final = (
    ("today", 0, 0),
    ("1 to 2 days", 1, 2),
    ("3 to 7 days", 3, 7),
    ("8 to 30 days", 8, 30),
    ("31 to 90 days", 31, 90),
)


def pending_by_age(*, today: date | None = None) -> list[PendingAge]:
    """Count all pending proposals by age."""
    today = today or utc_today()
    by_day = dict(fetch_rows("SELECT day, sum(rows) FROM mapping_days WHERE status = 'pending' GROUP BY day"))
    ages = []
    for label, youngest, oldest in _AGE_BUCKETS:
        first, last = today - timedelta(days=oldest), today - timedelta(days=youngest)
        ages.append(PendingAge(label, first, last, int(sum(n for day, n in by_day.items() if first <= day <= last))))
    last = today - timedelta(days=_AGE_BUCKETS[-1][2] + 1)
    return [*ages, PendingAge("older", None, last, int(sum(n for day, n in by_day.items() if day <= last)))]


# Uses the index on (status, created_at): one row of each partition.
_OLDEST = """
    SELECT (created_at AT TIME ZONE 'UTC')::date FROM llm_mappings WHERE status = 'pending' ORDER BY created_at LIMIT 1
"""


def review_backlog() -> ReviewBacklog:
    merchants, count, amount = queue_totals_cached()
    oldest = fetch_rows(_OLDEST)
    return ReviewBacklog(merchants, count, amount, oldest[0][0] if oldest else None)


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
    return [ReviewDay(*row) for row in fetch_rows(_REVIEW, first=period.first, last=period.last)]


_LLM_COST = """
    SELECT date, calls, merchants, cost FROM analytics_llm_cost
    WHERE date BETWEEN %(first)s AND %(last)s ORDER BY date
"""


def llm_cost_by_day(period: Period) -> list[LlmCostDay]:
    return [LlmCostDay(*row) for row in fetch_rows(_LLM_COST, first=period.first, last=period.last)]


# --- The merchant directory -------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class MerchantCategories:
    """Merchants by category, the largest first; `sampled`: estimated from this many of them."""

    rows: list[tuple[str, int]]
    sampled: int | None


@dataclass(frozen=True, slots=True)
class MerchantCounts:
    """Merchants by status; `estimated` from a sample of the table where it is large."""

    by_status: dict[str, int]
    estimated: bool

    @property
    def total(self) -> int:
        return sum(self.by_status.values())


_SAMPLE_PAGES: Final = 2_000  # of 8 kB: some fifty thousand merchants
_MERCHANT_PAGES = "SELECT pg_relation_size('merchants') / current_setting('block_size')::int"


def _count_merchants(sql: str) -> tuple[list[tuple[str, int]], float]:
    """Run a count over the merchants; returns its rows and the share of the table it read (a sample if large)."""
    with read_cursor() as cursor:
        cursor.execute(_MERCHANT_PAGES)
        share = min(1.0, _SAMPLE_PAGES / max(1, cursor.fetchone()[0]))
        if share == 1:
            cursor.execute(sql.format(sample=""))
        else:  # REPEATABLE: reloading the page shows the same numbers.
            sample = "TABLESAMPLE SYSTEM (%(percent)s) REPEATABLE (1)"
            cursor.execute(sql.format(sample=sample), {"percent": share * 100})
        return cursor.fetchall(), share


_CATEGORIES = (
    "SELECT coalesce(nullif(category, ''), 'none'), count(*) FROM merchants {sample} GROUP BY 1 ORDER BY 2 DESC, 1"
)


def merchant_categories() -> MerchantCategories:
    rows, share = _count_merchants(_CATEGORIES)
    if share == 1:
        return MerchantCategories(rows, None)
    return MerchantCategories([(name, round(count / share)) for name, count in rows], sum(count for _, count in rows))


def merchant_counts() -> MerchantCounts:
    counts, share = _count_merchants("SELECT status, count(*) FROM merchants {sample} GROUP BY 1")
    return MerchantCounts({status: round(count / share) for status, count in counts}, estimated=share < 1)


def last_decision_at() -> datetime | None:
    """Return when a merchant was last decided on, by a reviewer or automatically."""
    rows = fetch_rows("SELECT decided_at FROM mapping_decisions ORDER BY id DESC LIMIT 1")
    return rows[0][0] if rows else None


# --- The whole mapping log, as of now ---------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class MappingTotals:
    """Rows of the mapping log: by status, auto-approved, from bulk files, made today; mean confidence from 0 to 1."""

    pending: int = 0
    approved: int = 0
    rejected: int = 0
    automatic: int = 0
    bulk: int = 0
    today: int = 0
    confidence: Decimal | None = None

    @property
    def total(self) -> int:
        return self.pending + self.approved + self.rejected

    @property
    def automatic_rate(self) -> float | None:
        """Percentage of the decided rows that no reviewer decided; None if none is decided."""
        decided = self.approved + self.rejected
        return round(self.automatic * 100 / decided, 2) if decided else None


_MAPPING_TOTALS = """
    SELECT coalesce(sum(rows) FILTER (WHERE status = 'pending'), 0)::bigint,
           coalesce(sum(rows) FILTER (WHERE status = 'approved'), 0)::bigint,
           coalesce(sum(rows) FILTER (WHERE status = 'rejected'), 0)::bigint,
           coalesce(sum(rows) FILTER (WHERE automatic), 0)::bigint,
           coalesce(sum(rows) FILTER (WHERE source = 'bulk'), 0)::bigint,
           coalesce(sum(rows) FILTER (WHERE day = %(today)s), 0)::bigint,
           round(sum(confidence) / nullif(sum(rows), 0), 4)
    FROM (
        SELECT day, status, source, automatic, rows, confidence FROM mapping_days
        UNION ALL
        SELECT day, status, source, automatic, rows, confidence FROM mapping_deltas
    ) AS days
"""


def mapping_totals() -> MappingTotals:
    return MappingTotals(*fetch_rows(_MAPPING_TOTALS, today=utc_today())[0])


_RECENT_CATEGORIES = """
    SELECT coalesce(nullif(category, ''), 'none'), count(*) FROM (
        SELECT category FROM llm_mappings ORDER BY created_at DESC LIMIT 10000
    ) AS newest GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 100
"""


def recent_proposal_categories() -> dict[str, int]:
    """Count the newest ten thousand proposals by category, the largest first."""
    return dict(fetch_rows(_RECENT_CATEGORIES))


# --- Model calls ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class LlmCallStats:
    """Calls to language models of the last 30 days."""

    calls: int
    failed: int
    merchants: int
    seconds: float

    @property
    def error_rate(self) -> float | None:
        """Percentage of failed calls; None without calls."""
        return round(self.failed * 100 / self.calls, 2) if self.calls else None

    @property
    def merchants_per_second(self) -> float | None:
        """Merchants processed per second of model time; None without calls."""
        return round(self.merchants / self.seconds, 2) if self.seconds else None


_CALLS = """
    SELECT count(*), count(*) FILTER (WHERE error <> ''), coalesce(sum(merchants), 0)::bigint,
           (coalesce(sum(duration_ms), 0) / 1000.0)::float
    FROM llm_calls WHERE started_at >= %(since)s
"""


def llm_call_stats() -> LlmCallStats:
    return LlmCallStats(*fetch_rows(_CALLS, since=timezone.now() - timedelta(days=30))[0])
