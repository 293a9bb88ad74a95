"""The rollups: figures of each day under the views of analytics, brought up to date at the cost of what changed.

Who writes `transactions` or `llm_mappings` writes in the same transaction what that changes (`transaction_deltas`,
`mapping_deltas`). A refresh takes those up: it deletes them and adds them to the figures in one statement, so a refresh
killed at any moment has taken up a delta wholly or not at all, and nothing counts twice.

Writes that nobody counted (by hand, by a restore, by COPY) are noticed: PostgreSQL's statistics say how many rows were ever
written to a partition, and the deltas say how many of those were counted. When there are more, the partition is `stale` and
its months are counted anew from their rows. Rows of a transaction that was rolled back are in the statistics too; the recount
that they cost finds everything right. Statistics come up to ten seconds after the commit, hence `ahead`: what was counted
before the statistics showed it. They are lost in a crash of the server, and a sharded database has none: for that,
`recheck` counts anew what was not looked at for longest.

The figures of a month whose partition was detached stay as they are.
"""

import json
import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from dateutil.relativedelta import relativedelta
from django.db import connection, transaction
from django.db.models import F, Max
from django.utils import timezone

from analytics.models import CustomerMonth, DecisionDay, MappingDay, RollupPartition, TransactionDay
from analytics.sql import load_sql
from kamioi_site.cache.namespaces import invalidate_cache
from kamioi_site.db.replica import primary_reads
from kamioi_site.errors import KamioiError

logger = logging.getLogger(__name__)

BATCH: Final = 100_000
"""Deltas taken up in one transaction."""
GENERATION: Final = "llm"
"""Cached reads of the figures stand under this generation (`kamioi_site.cache.namespaces`); every refresh voids them."""
FLUSHED: Final = timedelta(seconds=60)
"""After this time the statistics show what was committed."""
# One refresh at a time; who writes transactions or mappings never waits for it.
_LOCK: Final = 7_203_006
_BOUNDS: Final = re.compile(r"FROM \('([^' ]+)[^']*'\) TO \('([^' ]+)[^']*'\)")

ProgressCallback = Callable[[str, int, int], None]
"""(what is being done, how far, of how many)."""


class RollupError(KamioiError):
    """The figures cannot be brought up to date as things stand."""


@dataclass(frozen=True, slots=True)
class _Table:
    """A big table, the column of its months, and its figures by day."""

    name: str
    column: str
    kind: str
    days: type[TransactionDay] | type[MappingDay]


_TABLES: Final = (
    _Table("transactions", "date", "transactions", TransactionDay),
    _Table("llm_mappings", "created_at", "mappings", MappingDay),
)
_BY_NAME: Final = {table.name: table for table in _TABLES}


@dataclass(frozen=True, slots=True)
class _Partition:
    """A partition as the catalogue and the statistics have it; the default one is without bounds."""

    table: str
    name: str
    relation: int
    low: date | None
    high: date | None
    written: int

    def holds(self, month: date) -> bool:
        """Whether rows of this month are in it; never said of the default one."""
        return self.low is not None and self.high is not None and self.low <= month < self.high


@dataclass(slots=True)
class RollupRefreshResult:
    """What a refresh did: deltas taken up, partitions counted anew with how many figures that changed, and seconds."""

    deltas: int = 0
    recounted: list[str] = field(default_factory=list)
    corrected: int = 0
    seconds: float = 0.0
    # Writes that this run counted, by partition.
    counted: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class RollupDifference:
    """A figure that is not what the rows say."""

    what: str
    counted: str
    actual: str

    def __str__(self) -> str:
        return f"{self.what}: the figures say {self.counted}, the rows {self.actual}"


@dataclass(frozen=True, slots=True)
class RollupState:
    """How far the figures are: when a refresh last finished looking, deltas that wait (no more than `most`), stale partitions."""

    refreshed_at: datetime | None
    waiting: int
    stale: int


@primary_reads()
def refresh_rollups(*, recheck: int = 0, on_progress: ProgressCallback | None = None) -> RollupRefreshResult:
    """Bring the figures and `llm_analytics_summary` up to date.

    Several at once do the work of one; killed anywhere, the next one goes on.

    Args:
        recheck: so many partitions of each table, those not looked at for longest, are counted anew in any case.
        on_progress: told how far it is.
    """
    started = time.monotonic()
    done = RollupRefreshResult()
    tell = on_progress or _silent
    while (taken := _take_up(done)) >= BATCH:
        tell("changes", done.deltas, done.deltas + taken)
    tell("changes", done.deltas, done.deltas)
    _look(done, recheck=recheck)
    _recount_stale(done, tell)
    _decisions_count()
    summary_refresh()
    done.seconds = time.monotonic() - started
    return done


@primary_reads()
def rebuild_rollups(
    *, months: Iterable[date] | None = None, on_progress: ProgressCallback | None = None
) -> RollupRefreshResult:
    """Count the figures of these months anew from their rows, whatever is known of them; without months, of all of them.

    The figures of months whose partitions were detached are only touched when they are named, and are gone then.
    """
    started = time.monotonic()
    done = RollupRefreshResult()
    tell = on_progress or _silent
    if months is None:
        with _alone():
            RollupPartition.objects.filter(archived=False).update(stale=True)
        _look(done)
        _recount_stale(done, tell)
        _decisions_count(since=date.min)
    else:
        wanted = sorted({month.replace(day=1) for month in months})
        for position, month in enumerate(wanted):
            tell("months", position, len(wanted))
            for table in _TABLES:
                with _alone():
                    _count_ahead(table, {month: _recount(table, month, done)}, _partitions())
            done.recounted.append(f"{month:%Y-%m}")
        tell("months", len(wanted), len(wanted))
        _decisions_count(since=min(wanted, default=timezone.now().date()))
    summary_refresh()
    done.seconds = time.monotonic() - started
    return done


def verify_rollups(
    *, months: Iterable[date] | None = None, on_progress: ProgressCallback | None = None
) -> Iterator[RollupDifference]:
    """Compare the figures, with what was counted and not taken up yet, with a full recount, month by month.

    What is being written meanwhile makes no difference: a month is compared in one snapshot.
    """
    chosen = None if months is None else {month.replace(day=1) for month in months}
    tell = on_progress or _silent
    partitions = _partitions()
    for table in _TABLES:
        found = sorted(_months(table, partitions) if chosen is None else chosen)
        for position, month in enumerate(found):
            tell(f"months of {table.name}", position, len(found))
            with connection.cursor() as cursor:
                cursor.execute(load_sql(f"verify_{table.kind}"), _bounds(month))
                differences = [RollupDifference(*row) for row in cursor.fetchall()]
            yield from differences
        tell(f"months of {table.name}", len(found), len(found))


def rollup_state(*, limit: int = 10_000) -> RollupState:
    """How far the figures are; cheap, for pages and metrics."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM (SELECT FROM transaction_deltas UNION ALL SELECT FROM mapping_deltas LIMIT %s) AS waiting",
            [limit],
        )
        waiting = cursor.fetchone()[0]
    looked = RollupPartition.objects.aggregate(at=Max("looked_at"))["at"]
    return RollupState(looked, waiting, RollupPartition.objects.filter(stale=True).count())


def summary_refresh() -> None:
    """Refresh the materialized view without keeping its readers waiting, and void what was cached of the figures."""
    with connection.cursor() as cursor:
        # A dump restored without its data leaves it unpopulated, and then nobody can read it anyway.
        cursor.execute("SELECT ispopulated FROM pg_matviews WHERE matviewname = 'llm_analytics_summary'")
        populated = cursor.fetchone()
        if populated is None:
            raise RollupError("llm_analytics_summary is missing: run `manage.py migrate`.")
        cursor.execute(f"REFRESH MATERIALIZED VIEW {'CONCURRENTLY' if populated[0] else ''} llm_analytics_summary")
    invalidate_cache(GENERATION)


# --- what was counted -------------------------------------------------------------------------------------------


@contextmanager
def _alone() -> Iterator[None]:
    """A transaction that no other refresh runs beside. The statements in it see what the others committed."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            # Sums over few groups; compiling would cost more than it saves.
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            cursor.execute("SET LOCAL jit = off")
        yield


def _take_up(done: RollupRefreshResult) -> int:
    """Take up one batch of each table's deltas. Returns the larger number."""
    with _alone():
        return max(_take(table, BATCH, done, _partitions()) for table in _TABLES)


def _take(table: _Table, limit: int, done: RollupRefreshResult, partitions: list[_Partition]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(load_sql(f"take_{table.kind}"), {"most": limit})
        taken, writes, months, days, customers = cursor.fetchone()
    # What came to nothing goes, so that the figures are no longer than a recount would make them.
    if days:
        table.days.objects.filter(pk__in=days, rows=0).delete()
    if customers:
        CustomerMonth.objects.filter(pk__in=customers, rows=0).delete()
    _customers_count(months)
    counted = {date.fromisoformat(month): int(count) for month, count in json.loads(writes).items()}
    done.counted += _count_ahead(table, counted, partitions)
    done.deltas += taken
    return int(taken)


def _count_ahead(table: _Table, writes: dict[date, int], partitions: list[_Partition]) -> Counter[str]:
    """Remember that these writes were counted, until the statistics show them. Returns them by partition."""
    ahead: Counter[str] = Counter()
    for month, count in writes.items():
        ahead[_partition_of(table, month, partitions)] += count
    for name, count in ahead.items():
        if count:
            RollupPartition.objects.filter(pk=name).update(ahead=F("ahead") + count)
    return ahead


def _partition_of(table: _Table, month: date, partitions: list[_Partition]) -> str:
    for partition in partitions:
        if partition.table == table.name and partition.holds(month):
            return partition.name
    return f"{table.name}_default"


def _customers_count(months: Iterable[date]) -> None:
    if wanted := list(months):
        with connection.cursor() as cursor:
            cursor.execute(load_sql("count_customers"), {"months": wanted})


def _decisions_count(since: date | None = None) -> None:
    with _alone(), connection.cursor() as cursor:
        last = since or DecisionDay.objects.aggregate(last=Max("day"))["last"]
        from_day = last - timedelta(days=1) if last and last > date.min else date.min
        cursor.execute(load_sql("count_decisions"), {"since": max(from_day, date(1, 1, 2))})


# --- what nobody counted ----------------------------------------------------------------------------------------


def _partitions() -> list[_Partition]:
    with connection.cursor() as cursor:
        # The statistics of now, not those that this transaction looked at before.
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(load_sql("look"))
        rows = cursor.fetchall()
    found = []
    for table, name, relation, bounds, written in rows:
        parts = _BOUNDS.match(bounds.removeprefix("FOR VALUES "))
        low, high = (date.fromisoformat(part) for part in parts.groups()) if parts else (None, None)
        found.append(_Partition(table, name, relation, low, high, written))
    return found


def _look(done: RollupRefreshResult, *, recheck: int = 0) -> None:
    """Compare what was written to each partition with what was counted, and note which ones must be counted anew."""
    with _alone():
        # In this order: what the statistics show was committed before its delta is looked for.
        partitions, now = _partitions(), timezone.now()
        for table in _TABLES:
            while _take(table, BATCH, done, partitions) >= BATCH:
                pass
        known = {row.pk: row for row in RollupPartition.objects.all()}
        for partition in partitions:
            row = known.get(partition.name)
            if row is None:
                known[partition.name] = row = RollupPartition(name=partition.name, stale=True)
            _judge(row, partition, fresh=done.counted[row.pk], now=now)
        there = {partition.name for partition in partitions}
        for name, row in known.items():
            row.archived = name not in there
        if recheck:
            for table in _TABLES:
                rows = [known[partition.name] for partition in partitions if partition.table == table.name]
                rows.sort(key=lambda row: (row.verified_at is not None, row.verified_at, row.pk))
                for row in rows[:recheck]:
                    row.stale = True
        RollupPartition.objects.bulk_create(
            known.values(),
            update_conflicts=True,
            unique_fields=["name"],
            update_fields=["relation", "written", "ahead", "looked_at", "stale", "archived", "verified_at"],
        )


def _judge(row: RollupPartition, partition: _Partition, *, fresh: int, now: datetime) -> None:
    """What the statistics say about a partition, of which `fresh` writes were counted a moment ago."""
    if row.relation != partition.relation or row.archived:
        row.stale, row.ahead = True, 0
    elif partition.written < row.written:
        # Reset, by a crash or by hand: what came before it cannot be told any more.
        logger.warning("the statistics of %s began anew; a recheck will count it", row.pk)
        row.verified_at, row.ahead = None, 0
    else:
        unknown = partition.written - row.written - row.ahead
        if unknown > 0:
            row.stale, row.ahead = True, 0
        elif row.looked_at is None or now - row.looked_at > FLUSHED:
            # What was counted before the last look and shows even now to nobody, never will.
            row.ahead = min(-unknown, fresh)
        else:
            row.ahead = -unknown
    row.relation, row.written, row.looked_at = partition.relation, partition.written, now


def _recount_stale(done: RollupRefreshResult, on_progress: ProgressCallback) -> None:
    names = list(
        RollupPartition.objects.filter(stale=True, archived=False).order_by("-name").values_list("pk", flat=True)
    )
    for position, name in enumerate(names):
        on_progress("partitions counted anew", position, len(names))
        with _alone():
            row = RollupPartition.objects.filter(pk=name, stale=True).first()
            partitions = _partitions()
            partition = next((found for found in partitions if found.name == name), None)
            if row is None or partition is None:
                continue  # another refresh was faster, or it was detached meanwhile
            table, counted = _BY_NAME[partition.table], 0
            for month in sorted(_months_of(table, partition, partitions)):
                counted += _recount(table, month, done)
            # The statistics were read first: what was counted since is ahead of them.
            row.ahead = max(0, row.ahead + counted - (partition.written - row.written))
            row.relation, row.written, row.looked_at = partition.relation, partition.written, timezone.now()
            row.stale, row.verified_at = False, row.looked_at
            row.save()
        done.recounted.append(name)
    if names:
        on_progress("partitions counted anew", len(names), len(names))


def _recount(table: _Table, month: date, done: RollupRefreshResult) -> int:
    """Count a month anew. Returns the writes of the deltas that are in its rows."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL work_mem = '128MB'")
        cursor.execute(load_sql(f"recount_{table.kind}"), _bounds(month))
        counted, corrected = cursor.fetchone()
    if table.days is TransactionDay:
        _customers_count([month])
    done.corrected += corrected
    return int(counted)


def _bounds(month: date) -> dict[str, Any]:
    following = month + relativedelta(months=1)
    return {
        "low": month,
        "high": following,
        "from": datetime(month.year, month.month, 1, tzinfo=UTC),
        "to": datetime(following.year, following.month, 1, tzinfo=UTC),
    }


def _months(table: _Table, partitions: list[_Partition]) -> set[date]:
    """Every month of the table's rows and figures but those of detached partitions."""
    found: set[date] = set()
    for partition in partitions:
        if partition.table == table.name:
            found |= _months_of(table, partition, partitions)
    return found


def _months_of(table: _Table, partition: _Partition, partitions: list[_Partition]) -> set[date]:
    """Months that are in this partition, or that figures say to be."""
    if partition.low and partition.high and partition.low + relativedelta(months=1) == partition.high:
        return {partition.low}
    with connection.cursor() as cursor:
        figures = [(table.days._meta.db_table, "day")]
        if table.days is TransactionDay:
            figures.append((CustomerMonth._meta.db_table, "month"))
        cursor.execute(
            f"SELECT DISTINCT date_trunc('month', {table.column} AT TIME ZONE 'UTC')::date FROM {partition.name}"  # noqa: S608
            + "".join(
                f" UNION SELECT DISTINCT date_trunc('month', {column})::date FROM {name}"  # noqa: S608
                for name, column in figures
            )
        )
        months = {row[0] for row in cursor.fetchall()}
    archived = _archived(table)
    return {month for month in months - archived if (_partition_of(table, month, partitions) == partition.name)}


def _archived(table: _Table) -> set[date]:
    """Months whose partitions were detached."""
    names = RollupPartition.objects.filter(archived=True, name__startswith=f"{table.name}_y").values_list(
        "pk", flat=True
    )
    parts = [re.fullmatch(r".*_y(\d{4})m(\d{2})", name) for name in names]
    return {date(int(part[1]), int(part[2]), 1) for part in parts if part}


def _silent(what: str, done: int, total: int) -> None:
    """Nobody looks."""
