"""`validate`: both databases read row by row and compared cell by cell.

Each row of the source is found in PostgreSQL or in `migration_rejects`, and nothing else was added. The source may be
written to meanwhile: rows that its change log names since the last sync are not compared.
"""

import json
import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import psycopg2

from kamioi_site.db.locks import connection_string
from transactions.legacy import registry
from transactions.legacy.convert import rules
from transactions.legacy.source.change_log import pending_changes
from transactions.legacy.source.sqlite_file import check_file, open_read_only, quoted, source_errors
from transactions.legacy.validate.bulk_comparison import Task, compare_ranges, migrated_users, rows_outside
from transactions.legacy.validate.comparison import MonthTotals, TableComparison
from transactions.legacy.validate.oracle import OracleContext, OracleTable, RowCheck
from transactions.legacy.validate.oracle_values import Row, latest_valid_time, read_text
from transactions.legacy.validate.tables import STORED_ROWS

_ROW_RANGE: Final = 2_000

ProgressCallback = Callable[[str, int, int], None]


@dataclass(slots=True)
class ValidationResult:
    """The comparison of all tables, and sample rows side by side."""

    tables: list[TableComparison] = field(default_factory=list)
    samples: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return all(table.clean for table in self.tables)

    def lines(self) -> Iterator[str]:
        """Yield the report: samples, counts, totals by month, differences, and the result."""
        yield from self.samples
        yield f"{'table':<24}{'source':>12}{'migrated':>12}{'rejected':>10}{'changing':>10}{'different':>11}"
        for table in self.tables:
            yield (
                f"{table.name:<24}{table.source:>12,}{table.migrated:>12,}{table.rejected:>10,}"
                f"{table.pending:>10,}{table.different:>11,}"
            )
        for table in self.tables:
            yield from _month_lines(table)
        for table in self.tables:
            for difference in table.differences:
                yield f"! {difference}"
            if table.different > len(table.differences):
                yield f"! {table.name}: {table.different - len(table.differences):,} more"
            if not table.clean and not table.different:
                missing = table.source - table.migrated - table.rejected
                yield f"! {table.name}: {abs(missing):,} rows are {'missing' if missing > 0 else 'too many'}"
        pending = sum(table.pending for table in self.tables)
        if pending:
            yield f"{pending:,} rows changed since the last sync and were not compared."
        yield "Both sides agree." if self.clean else "The two sides differ."

    def as_json(self) -> dict[str, Any]:
        return {"clean": self.clean, "tables": {table.name: table.as_json() for table in self.tables}}


def _month_lines(table: TableComparison) -> Iterator[str]:
    months = sorted(set(table.expected_months) | set(table.found_months))
    if not months:
        return
    names = sorted({name for totals in table.expected_months.values() for name in totals.cents})
    yield f"\n{table.name} by month: rows, checksum, {', '.join(names) or 'no money'}"
    for month in months:
        expected, found = table.expected_months[month], table.found_months[month]
        yield f"{' ' if expected == found else '!'} {month} {_totals_line(expected, names)}"
        if expected != found:
            yield f"!  found {_totals_line(found, names)}"


def _totals_line(month: MonthTotals, names: Sequence[str]) -> str:
    money = "".join(f" {Decimal(month.cents[name]).scaleb(-2):>15,}" for name in names)
    return f"{month.rows:>11,}  {month.checksum:016x}{money}"


def validate(
    path: Path, *, samples: int = 5, on_progress: ProgressCallback | None = None, ignore_pending: bool = True
) -> ValidationResult:
    """Compare the legacy file with what PostgreSQL has of it; `ignore_pending` leaves out rows that wait for `sync`.

    Raises:
        LegacySourceError: the file cannot be read.
    """
    check_file(path)
    result = ValidationResult()
    report: ProgressCallback = on_progress or (lambda name, done, total: None)
    with (
        source_errors(path),
        closing(open_read_only(path)) as source,
        closing(psycopg2.connect(connection_string())) as target,
    ):
        source.execute("BEGIN")
        tables = _source_tables(source)
        bulk_tables = {name: table for name, table in registry.oracle_tables().items() if name in tables}
        for name, table in bulk_tables.items():
            result.tables.append(_compare_bulk(path, source, table, tables[name], report))
            result.samples += _sample_lines(source, target, name, tables[name], samples)
        context = OracleContext(migrated_users(target), latest_valid_time(), source)
        for name in sorted(set(tables) - set(bulk_tables)):
            result.tables.append(_compare_rows(context, target, name, tables[name], report))
    if ignore_pending:
        _ignore_pending(result, pending_changes(path))
    return result


def _ignore_pending(result: ValidationResult, pending: Mapping[str, set[str]]) -> None:
    """Remove the differences of rows that the legacy system changed since the last sync or during the comparison."""
    for table in result.tables:
        ids = pending.get(table.name, set())
        table.pending = len(ids)
        if table.ids and table.ids <= ids:
            table.differences, table.different = [], 0
        elif ids:
            table.differences = [one for one in table.differences if one.legacy_id not in ids]


def _source_tables(source: sqlite3.Connection) -> dict[str, list[str]]:
    """Return the columns of the tables that were copied."""
    names = source.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
        "AND name NOT LIKE 'kamioi\\_%' ESCAPE '\\' ORDER BY 1"
    ).fetchall()
    return {
        name.decode(): [row[1].decode() for row in source.execute(f"PRAGMA table_info({quoted(name.decode())})")]
        for (name,) in names
        if name.decode() not in rules.LEFT_BEHIND
    }


def _compare_bulk(
    path: Path, source: sqlite3.Connection, table: OracleTable, columns: list[str], report: ProgressCallback
) -> TableComparison:
    rows, lowest, highest = source.execute(
        f"SELECT count(*), coalesce(min(rowid), 1), coalesce(max(rowid), 0) FROM {table.name}"
    ).fetchone()
    task = Task(str(path), connection_string(), table, tuple(columns))
    comparison = TableComparison(table.name)
    for part in compare_ranges(task, lowest, highest, rows):
        comparison.merge(part)
        report(f"compare {table.name}", comparison.source, rows)
    for extra in rows_outside(task, lowest, highest):
        comparison.migrated += 1
        comparison.add_difference(extra, "", "no such row", "a row")
    return comparison


def _sample_lines(source: sqlite3.Connection, target: Any, name: str, columns: list[str], count: int) -> list[str]:
    """Return a few rows of a bulk table side by side."""
    highest = source.execute(f"SELECT coalesce(max(rowid), 0) FROM {name}").fetchone()[0]
    lines: list[str] = []
    for _ in range(count if highest else 0):
        row = source.execute(
            f"SELECT rowid, * FROM {name} WHERE rowid >= ? ORDER BY rowid LIMIT 1", [random.randint(1, highest)]
        ).fetchone()
        with target, target.cursor() as cursor:
            cursor.execute(f"SELECT to_jsonb({name}) FROM {name} WHERE id = %s", [row[0]])
            there = (cursor.fetchone() or [{}])[0]
        here = {column: read_text(cell) for column, cell in zip(columns, row[1:], strict=True)}
        lines.append(f"\n{name} {row[0]:<12} {'legacy':<40} Kamioi")
        for column in [*here, *(column for column in there if column not in here)]:
            left, right = here.get(column), there.get(column)
            if left is not None or right is not None:
                lines.append(f"  {column:<22} {_shortened(left):<40} {_shortened(right)}")
    return [*lines, ""] if lines else []


def _shortened(value: object) -> str:
    text = "" if value is None else str(value).replace("\n", "⏎")
    return text if len(text) <= 38 else text[:37] + "…"


# --- tables that are copied row by row --------------------------------------------------------------------------------


def _compare_rows(
    context: OracleContext, target: Any, name: str, columns: list[str], report: ProgressCallback
) -> TableComparison:
    comparison = TableComparison(name)
    total = context.source.execute(f"SELECT count(*) FROM {quoted(name)}").fetchone()[0]
    info = context.source.execute(f"PRAGMA table_info({quoted(name)})").fetchall()
    key = [row[1].decode() for row in info if row[5]]
    cursor = context.source.execute(f"SELECT {'0' if key else 'rowid'}, * FROM {quoted(name)}")
    rejects = {
        legacy_id: (resolved, corrected)
        for legacy_id, resolved, corrected in _query(
            target,
            "SELECT legacy_id, resolved_at IS NOT NULL, row FROM migration_rejects WHERE table_name = %(table)s",
            table=name,
        )
    }
    while chunk := cursor.fetchmany(_ROW_RANGE):
        rows: list[tuple[str, Row]] = []
        for rowid, *cells in chunk:
            comparison.source += 1
            row = dict(zip(columns, cells, strict=True))
            legacy_id = _legacy_id(key, rowid, row)
            resolved, corrected = rejects.get(legacy_id, (True, {}))
            if resolved:
                rows.append((legacy_id, row | corrected))
            else:
                comparison.rejected += 1
        for check in registry.row_checks().get(name, STORED_ROWS):
            _run_check(comparison, check, target, rows, context)
        report(f"compare {name}", comparison.source, total)
    return comparison


def _legacy_id(key: Sequence[str], rowid: int, row: Row) -> str:
    if not key:
        return str(rowid)
    parts = [read_text(row[name]) or "" for name in key]
    return parts[0] if len(parts) == 1 else json.dumps(parts)


def _run_check(
    comparison: TableComparison, check: RowCheck, target: Any, rows: Sequence[tuple[str, Row]], context: OracleContext
) -> None:
    keys = {legacy_id: check.key(legacy_id, row) for legacy_id, row in rows}
    found: dict[Any, dict[str, Any]] = {}
    for key, *cells in _query(target, check.sql, table=comparison.name, keys=list(keys.values())):
        if check.columns:
            found[key] = dict(zip(check.columns.split(", "), cells, strict=True))
        else:
            found[key] = cells[0] if cells else {}
    for legacy_id, row in rows:
        there = found.get(keys[legacy_id])
        expected = check.expected(legacy_id, row, there, context)
        if check.total:
            _count_total(comparison.expected_months, check.total, expected)
        if there is None:
            comparison.add_difference(legacy_id, "", "a row", "no row")
            continue
        if check.total:
            _count_total(comparison.found_months, check.total, there)
        comparison.migrated += check.counts
        for name, should_be in expected.items():
            if there.get(name) != should_be:
                comparison.add_difference(legacy_id, name, should_be, there.get(name))


def _count_total(months: dict[str, MonthTotals], column: str, cells: Mapping[str, Any]) -> None:
    months["all"].rows += 1
    months["all"].cents += Counter({column: cells[column]})


def _query(target: Any, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
    with target, target.cursor() as cursor:
        cursor.execute(sql, parameters)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows
