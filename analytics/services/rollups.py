"""The rollups: daily totals under the views of analytics, refreshed at the cost of what changed.

Every write to `transactions` or `llm_mappings` records, in the same transaction, what it changes (`transaction_deltas`,
`mapping_deltas`). A refresh consumes those: it deletes them and adds them to the totals in one statement, so a refresh
that is killed has consumed a delta completely or not at all, and nothing counts twice.

Writes without deltas (by hand, by a restore, by COPY) are detected: PostgreSQL's statistics say how many rows were ever
written to a partition, and the deltas say how many of those were counted. If there are more, the partition is `stale`,
and its months are recounted from their rows. The statistics include rows of transactions that were rolled back; the
recount that they cause finds everything correct. Statistics are reported up to ten seconds after the commit, hence
`unreported_writes`: counted, but not reported yet. They are lost in a crash of the server, and a sharded database has
none; for that, `recheck` recounts the partitions that were verified longest ago.

The totals of a month whose partition was detached stay as they are.
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

BATCH: Final = 100_000  # deltas per transaction
GENERATION: Final = "llm"  # of the cached reads of the totals, which every refresh invalidates
STATISTICS_DELAY: Final = timedelta(seconds=60)  # after which the statistics report every commit
# One refresh at a time; writers of transactions and mappings never wait for it.
_LOCK: Final = 7_203_006
_BOUNDS: Final = re.compile(r"FROM \('([^' ]+)[^']*'\) TO \('([^' ]+)[^']*'\)")

ProgressCallback = Callable[[str, int, int], None]  # gets (step, done, total)


class RollupError(KamioiError):
    """The rollups cannot be refreshed."""


@dataclass(frozen=True, slots=True)
class _Table:
    """A big table, its partition column, and its daily totals."""

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
    """A partition in the catalogue and in the statistics; the default one has no bounds."""

    table: str
    name: str
    relation: int
    low: date | None
    high: date | None
    written: int

    def contains(self, month: date) -> bool:
        """Return whether the bounds contain this month; never true of the default partition."""
        return self.low is not None and self.high is not None and self.low <= month < self.high


@dataclass(slots=True)
class RollupRefreshResult:
    """What a refresh did: deltas consumed, partitions recounted and how many totals that corrected."""

    deltas: int = 0
    recounted: list[str] = field(default_factory=list)
    corrected: int = 0
    seconds: float = 0.0
    counted_writes: Counter[str] = field(default_factory=Counter)  # by partition


@dataclass(frozen=True, slots=True)
class RollupDifference:
    """A total that does not match its rows."""

    what: str
    counted: str
    actual: str

    def __str__(self) -> str:
        return f"{self.what}: the rollups have {self.counted}, the table has {self.actual}"


@primary_reads()
def refresh_rollups(*, recheck: int = 0, on_progress: ProgressCallback | None = None) -> RollupRefreshResult:
    """Bring the rollups and `llm_analytics_summary` up to date.

    Concurrent refreshes share the work; after a kill, the next one continues.

    Args:
        recheck: recount this many partitions of each table in any case, those verified longest ago.
        on_progress: called between steps.
    """
    started = time.monotonic()
    result = RollupRefreshResult()
    on_progress = on_progress or _ignore_progress
    while (consumed := _consume_deltas(result)) >= BATCH:
        on_progress("changes", result.deltas, result.deltas + consumed)
    on_progress("changes", result.deltas, result.deltas)
    _inspect_partitions(result, recheck=recheck)
    _recount_stale(result, on_progress)
    _count_decisions()
    refresh_summary()
    result.seconds = time.monotonic() - started
    return result


@primary_reads()
def rebuild_rollups(
    *, months: Iterable[date] | None = None, on_progress: ProgressCallback | None = None
) -> RollupRefreshResult:
    """Recount these months, or all, from their rows.

    Months whose partitions were detached are only recounted if they are named, which deletes their totals.
    """
    started = time.monotonic()
    result = RollupRefreshResult()
    on_progress = on_progress or _ignore_progress
    if months is None:
        with _exclusive_transaction():
            RollupPartition.objects.filter(archived=False).update(stale=True)
        _inspect_partitions(result)
        _recount_stale(result, on_progress)
        _count_decisions(since=date.min)
    else:
        selected = sorted({month.replace(day=1) for month in months})
        for position, month in enumerate(selected):
            on_progress("months", position, len(selected))
            for table in _TABLES:
                with _exclusive_transaction():
                    _add_counted_writes(table, {month: _recount(table, month, result)}, _partitions())
            result.recounted.append(f"{month:%Y-%m}")
        on_progress("months", len(selected), len(selected))
        _count_decisions(since=min(selected, default=timezone.now().date()))
    refresh_summary()
    result.seconds = time.monotonic() - started
    return result


def verify_rollups(
    *, months: Iterable[date] | None = None, on_progress: ProgressCallback | None = None
) -> Iterator[RollupDifference]:
    """Compare the totals and the waiting deltas with a full recount, month by month.

    Concurrent writes make no difference: a month is compared in one snapshot.
    """
    requested = None if months is None else {month.replace(day=1) for month in months}
    on_progress = on_progress or _ignore_progress
    partitions = _partitions()
    for table in _TABLES:
        selected = sorted(_months(table, partitions) if requested is None else requested)
        for position, month in enumerate(selected):
            on_progress(f"months of {table.name}", position, len(selected))
            with connection.cursor() as cursor:
                cursor.execute(load_sql(f"verify_{table.kind}"), _bounds(month))
                differences = [RollupDifference(*row) for row in cursor.fetchall()]
            yield from differences
        on_progress(f"months of {table.name}", len(selected), len(selected))


def refresh_summary() -> None:
    """Refresh the materialized view without blocking its readers, and invalidate the cached reads."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('llm_analytics_summary') IS NULL")
        if cursor.fetchone()[0]:
            raise RollupError("llm_analytics_summary is missing: run `manage.py migrate`.")
        cursor.execute("SELECT kamioi_refresh_summary()")
    invalidate_cache(GENERATION)


# --- Writes with deltas -----------------------------------------------------------------------------------------------
@contextmanager
def _exclusive_transaction() -> Iterator[None]:
    """Open a transaction that excludes other refreshes and sees what they committed."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            # The statements sum up few groups; compiling them would cost more than it saves.
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            cursor.execute("SET LOCAL jit = off")
        yield


def _consume_deltas(result: RollupRefreshResult) -> int:
    """Consume one batch of each table's deltas; returns the size of the larger one."""
    with _exclusive_transaction():
        return max(_consume_batch(table, result, _partitions()) for table in _TABLES)


def _consume_batch(table: _Table, result: RollupRefreshResult, partitions: list[_Partition]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(load_sql(f"consume_{table.kind}"), {"limit": BATCH})
        consumed, writes, months, day_ids, customer_ids = cursor.fetchone()
    # Delete totals of zero rows, which a recount would not have either.
    if day_ids:
        table.days.objects.filter(pk__in=day_ids, rows=0).delete()
    if customer_ids:
        CustomerMonth.objects.filter(pk__in=customer_ids, rows=0).delete()
    _count_customers(months)
    by_month = {date.fromisoformat(month): int(count) for month, count in json.loads(writes).items()}
    result.counted_writes += _add_counted_writes(table, by_month, partitions)
    result.deltas += consumed
    return int(consumed)


def _add_counted_writes(table: _Table, by_month: dict[date, int], partitions: list[_Partition]) -> Counter[str]:
    """Record writes as counted but not reported by the statistics yet; returns them by partition."""
    by_partition: Counter[str] = Counter()
    for month, count in by_month.items():
        by_partition[_partition_of(table, month, partitions)] += count
    for name, count in by_partition.items():
        if count:
            RollupPartition.objects.filter(pk=name).update(unreported_writes=F("unreported_writes") + count)
    return by_partition


def _partition_of(table: _Table, month: date, partitions: list[_Partition]) -> str:
    for partition in partitions:
        if partition.table == table.name and partition.contains(month):
            return partition.name
    return f"{table.name}_default"


def _count_customers(months: Iterable[date]) -> None:
    if months := list(months):
        with connection.cursor() as cursor:
            cursor.execute(load_sql("count_customers"), {"months": months})


def _count_decisions(since: date | None = None) -> None:
    with _exclusive_transaction(), connection.cursor() as cursor:
        last = since or DecisionDay.objects.aggregate(last=Max("day"))["last"]
        from_day = last - timedelta(days=1) if last and last > date.min else date.min
        cursor.execute(load_sql("count_decisions"), {"since": max(from_day, date(1, 1, 2))})


# --- Writes without deltas --------------------------------------------------------------------------------------------
def _partitions() -> list[_Partition]:
    with connection.cursor() as cursor:
        # Read current statistics, not those that this transaction has read before.
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(load_sql("list_partitions"))
        rows = cursor.fetchall()
    partitions = []
    for table, name, relation, bounds, written in rows:
        match = _BOUNDS.match(bounds.removeprefix("FOR VALUES "))
        low, high = (date.fromisoformat(day) for day in match.groups()) if match else (None, None)
        partitions.append(_Partition(table, name, relation, low, high, written))
    return partitions


def _inspect_partitions(result: RollupRefreshResult, *, recheck: int = 0) -> None:
    """Compare the writes to each partition with those that were counted, and mark what must be recounted."""
    with _exclusive_transaction():
        # In this order: the statistics report a commit only after its deltas are visible.
        partitions, now = _partitions(), timezone.now()
        for table in _TABLES:
            while _consume_batch(table, result, partitions) >= BATCH:
                pass
        rows = {row.pk: row for row in RollupPartition.objects.all()}
        for partition in partitions:
            row = rows.setdefault(partition.name, RollupPartition(name=partition.name, stale=True))
            _update_partition(row, partition, just_counted=result.counted_writes[row.pk], now=now)
        attached = {partition.name for partition in partitions}
        for name, row in rows.items():
            row.archived = name not in attached
        if recheck:
            for table in _TABLES:
                candidates = [rows[partition.name] for partition in partitions if partition.table == table.name]
                candidates.sort(key=lambda row: (row.verified_at is not None, row.verified_at, row.pk))
                for row in candidates[:recheck]:
                    row.stale = True
        RollupPartition.objects.bulk_create(
            rows.values(),
            update_conflicts=True,
            unique_fields=["name"],
            update_fields=["relation", "written", "unreported_writes", "looked_at", "stale", "archived", "verified_at"],
        )


def _update_partition(row: RollupPartition, partition: _Partition, *, just_counted: int, now: datetime) -> None:
    """Apply the statistics of a partition, of which `just_counted` writes were counted a moment ago."""
    if row.relation != partition.relation or row.archived:
        row.stale, row.unreported_writes = True, 0
    elif partition.written < row.written:
        # The statistics were reset, by a crash or by hand: uncounted writes before it cannot be detected.
        logger.warning("the statistics of %s were reset; a recheck will recount it", row.pk)
        row.verified_at, row.unreported_writes = None, 0
    else:
        uncounted = partition.written - row.written - row.unreported_writes
        if uncounted > 0:
            row.stale, row.unreported_writes = True, 0
        elif row.looked_at is None or now - row.looked_at > STATISTICS_DELAY:
            # What was counted before the last inspection and is not reported by now never will be.
            row.unreported_writes = min(-uncounted, just_counted)
        else:
            row.unreported_writes = -uncounted
    row.relation, row.written, row.looked_at = partition.relation, partition.written, now


def _recount_stale(result: RollupRefreshResult, on_progress: ProgressCallback) -> None:
    stale = RollupPartition.objects.filter(stale=True, archived=False).order_by("-name")
    names = list(stale.values_list("pk", flat=True))
    for position, name in enumerate(names):
        on_progress("partitions recounted", position, len(names))
        with _exclusive_transaction():
            row = RollupPartition.objects.filter(pk=name, stale=True).first()
            partitions = _partitions()
            partition = next((candidate for candidate in partitions if candidate.name == name), None)
            if row is None or partition is None:
                continue  # another refresh has recounted it, or it was detached meanwhile
            table, counted = _BY_NAME[partition.table], 0
            for month in sorted(_months_of(table, partition, partitions)):
                counted += _recount(table, month, result)
            # The statistics were read first, so they may not report yet what was counted since.
            row.unreported_writes = max(0, row.unreported_writes + counted - (partition.written - row.written))
            row.relation, row.written, row.looked_at = partition.relation, partition.written, timezone.now()
            row.stale, row.verified_at = False, row.looked_at
            row.save()
        result.recounted.append(name)
    if names:
        on_progress("partitions recounted", len(names), len(names))


def _recount(table: _Table, month: date, result: RollupRefreshResult) -> int:
    """Recount a month; returns the number of writes whose deltas its rows include."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL work_mem = '128MB'")
        cursor.execute(load_sql(f"recount_{table.kind}"), _bounds(month))
        counted, corrected = cursor.fetchone()
    if table.days is TransactionDay:
        _count_customers([month])
    result.corrected += corrected
    return int(counted)


def _bounds(month: date) -> dict[str, Any]:
    next_month = month + relativedelta(months=1)
    return {
        "low": month,
        "high": next_month,
        "from": datetime(month.year, month.month, 1, tzinfo=UTC),
        "to": datetime(next_month.year, next_month.month, 1, tzinfo=UTC),
    }


def _months(table: _Table, partitions: list[_Partition]) -> set[date]:
    """Return every month of the table's rows and totals, except those of detached partitions."""
    own = [partition for partition in partitions if partition.table == table.name]
    return set().union(*(_months_of(table, partition, partitions) for partition in own))


def _months_of(table: _Table, partition: _Partition, partitions: list[_Partition]) -> set[date]:
    """Return the months that are in this partition, or have totals that belong to it."""
    if partition.low and partition.high and partition.low + relativedelta(months=1) == partition.high:
        return {partition.low}
    sources = [(f"{table.column} AT TIME ZONE 'UTC'", partition.name), ("day", table.days._meta.db_table)]
    if table.days is TransactionDay:
        sources.append(("month", CustomerMonth._meta.db_table))
    sql = " UNION ".join(f"SELECT date_trunc('month', {column})::date FROM {name}" for column, name in sources)  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(sql)
        months = {row[0] for row in cursor.fetchall()}
    return {month for month in months - _archived(table) if _partition_of(table, month, partitions) == partition.name}


def _archived(table: _Table) -> set[date]:
    """Return the months whose partitions were detached."""
    archived = RollupPartition.objects.filter(archived=True, name__startswith=f"{table.name}_y")
    matches = [re.fullmatch(r".*_y(\d{4})(?:m(\d{2}))?", name) for name in archived.values_list("pk", flat=True)]
    return {
        date(int(match[1]), month, 1)
        for match in matches
        if match
        for month in ([int(match[2])] if match[2] else range(1, 13))
    }


def _ignore_progress(step: str, done: int, total: int) -> None:
    pass
