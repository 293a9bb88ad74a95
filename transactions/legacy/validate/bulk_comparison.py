"""The comparison of a bulk table, in ranges, in this process or in several. Free of Django."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from multiprocessing import get_context
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, Self

import psycopg2

from transactions.legacy.source.sqlite_file import open_read_only, quoted
from transactions.legacy.validate.comparison import MonthTotals, TableComparison
from transactions.legacy.validate.oracle import OracleContext, OracleTable
from transactions.legacy.validate.oracle_values import EPOCH, latest_valid_time

_RANGE: Final = 20_000  # row numbers compared at once
_PROCESSES: Final = 2
_MIN_ROWS_FOR_PROCESSES: Final = 200_000  # below this a second process costs more than it saves

Cells = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Task:
    """What a process needs to compare ranges of a table; `columns` are those of the legacy table."""

    path: str
    dsn: str
    table: OracleTable
    columns: tuple[str, ...]


def compare_ranges(task: Task, lowest: int, highest: int, rows: int) -> Iterator[TableComparison]:
    """Compare the row numbers from `lowest` to `highest` on both sides; yields one comparison per range."""
    ranges = [(low, min(low + _RANGE, highest)) for low in range(lowest - 1, highest, _RANGE)]
    if rows < _MIN_ROWS_FOR_PROCESSES:
        with RangeComparer(task) as comparer:
            yield from (comparer.compare(low, high) for low, high in ranges)
        return
    # Spawned, not forked: forked processes would share connections.
    with ProcessPoolExecutor(_PROCESSES, get_context("spawn"), _start_process, (task,)) as pool:
        remaining = iter(ranges)
        running = {pool.submit(_compare, *span) for _, span in zip(range(_PROCESSES * 2), remaining, strict=False)}
        while running:
            done = next(as_completed(running))
            running.discard(done)
            if (span := next(remaining, None)) is not None:
                running.add(pool.submit(_compare, *span))
            yield done.result()


_comparer: "RangeComparer | None" = None


def _start_process(task: Task) -> None:
    global _comparer  # noqa: PLW0603
    _comparer = RangeComparer(task)


def _compare(low: int, high: int) -> TableComparison:
    if _comparer is None:
        raise RuntimeError("the process was not started by compare_ranges")
    return _comparer.compare(low, high)


class RangeComparer:
    """Compares ranges of one bulk table over its own connections."""

    def __init__(self, task: Task) -> None:
        self._columns = task.columns
        self._table = table = task.table
        self._source = open_read_only(Path(task.path))
        self._target = psycopg2.connect(task.dsn)
        self._context = OracleContext(migrated_users(self._target), latest_valid_time(), self._source)
        self._compared = table.columns
        self._cells = itemgetter(*self._compared)
        self._money, self._month = table.money, list(self._compared).index(table.month)
        columns = ", ".join(f"m.{quoted(column)}" for column in task.columns)
        has_extra = self._source.execute("SELECT 1 FROM sqlite_master WHERE name = ?", [table.extra_table]).fetchone()
        self._source_sql = (
            f"SELECT m.rowid, {table.extra if has_extra else '0'}, {columns} FROM {table.name} AS m "
            "WHERE m.rowid > ? AND m.rowid <= ? ORDER BY 1"
        )
        self._target_sql = (
            f"SELECT id, {', '.join(self._compared.values())} FROM {table.name} WHERE id > %s AND id <= %s "
            "AND source IN ('legacy', 'legacy_open', 'bulk') ORDER BY id"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._source.close()
        self._target.close()

    def compare(self, low: int, high: int) -> TableComparison:
        """Compare the rows with `low` < number ≤ `high` on both sides."""
        comparison = TableComparison(self._table.name)
        with self._target, self._target.cursor() as cursor:
            cursor.execute(self._target_sql, [low, high])
            found = {row[0]: row[1:] for row in cursor}
            cursor.execute(
                "SELECT legacy_id::bigint, reason, resolved_at IS NOT NULL, row FROM migration_rejects "
                "WHERE table_name = %s AND legacy_id ~ '^[0-9]+$' AND legacy_id::bigint > %s "
                "AND legacy_id::bigint <= %s",
                [self._table.name, low, high],
            )
            rejects = {row[0]: row[1:] for row in cursor}
        for rowid, *cells in self._source.execute(self._source_sql, (low, high)):
            comparison.source += 1
            row = dict(zip(("extra", *self._columns), cells, strict=True))
            reason, resolved, corrected = rejects.get(rowid, (None, False, None))
            if resolved:  # the corrected row was migrated
                row |= corrected
                reason = None
            self._compare_row(
                comparison, rowid, self._table.expected(row, self._context), found.pop(rowid, None), reason
            )
        for rowid, there in found.items():
            comparison.migrated += 1
            self._count(comparison.found_months, there)
            comparison.add_difference(rowid, "", "no such row", "a row")
        return comparison

    def _compare_row(
        self,
        comparison: TableComparison,
        rowid: int,
        expected: dict[str, Any] | str,
        found: Cells | None,
        reason: str | None,
    ) -> None:
        if found is not None:
            comparison.migrated += 1
            self._count(comparison.found_months, found)
        if reason is not None:
            comparison.rejected += 1
            if found is not None:
                comparison.add_difference(rowid, "", "rejected", "rejected, and migrated as well")
            elif isinstance(expected, str) and reason != expected:
                comparison.add_difference(rowid, "reason", expected, reason)
            elif not isinstance(expected, str) and not reason.startswith("unreadable"):
                comparison.add_difference(rowid, "", "a row", f"rejected: {reason}")
            return
        if isinstance(expected, str):
            comparison.add_difference(rowid, "", f"rejected: {expected}", "no row" if found is None else "a row")
            return
        cells: Cells = self._cells(expected)
        self._count(comparison.expected_months, cells)
        if found is None:
            comparison.add_difference(rowid, "", "a row", "no row")
        elif found != cells:
            for name, should_be, there in zip(self._compared, cells, found, strict=True):
                if should_be != there:
                    comparison.add_difference(rowid, name, should_be, there)

    def _count(self, months: dict[str, MonthTotals], cells: Cells) -> None:
        months[_month(cells[self._month] // 1_000_000 // 86_400)].add(cells, self._money)


@lru_cache(maxsize=10_000)
def _month(day: int) -> str:
    return f"{EPOCH + timedelta(days=day):%Y-%m}"


def migrated_users(target: Any) -> dict[int, int]:
    with target, target.cursor() as cursor:
        cursor.execute("SELECT legacy_id, user_id FROM legacy_ids WHERE source_table = 'users'")
        return dict(cursor.fetchall())


def rows_outside(task: Task, lowest: int, highest: int) -> list[int]:
    """Return the first hundred migrated rows with ids that the source does not have."""
    with closing(psycopg2.connect(task.dsn)) as target, target.cursor() as cursor:
        cursor.execute(
            f"SELECT id FROM {task.table.name} WHERE source IN ('legacy', 'legacy_open', 'bulk') "
            "AND (id < %s OR id > %s) ORDER BY id LIMIT 100",
            [lowest, highest],
        )
        return [row[0] for row in cursor.fetchall()]
