"""`copy`: everything of one snapshot into PostgreSQL, in ranges that are committed as a whole.

The order: users, the bulk tables, the rest; then indexes, merchant directory and review queue. One thread reads and
converts while another one writes, so that two processors and the server are busy.

After a kill, `copy` continues after the last committed range, from a newer snapshot: changes of the legacy system in
rows that were copied before are not seen (`validate` lists them).
"""

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from django.db import connection
from django.utils import timezone

from transactions.legacy import registry
from transactions.legacy.convert import rules, values
from transactions.legacy.convert.arrow_columns import Batch, months_of, read_batch
from transactions.legacy.convert.bulk_converters import BulkTable, ConversionContext, IdMap, MerchantKeys
from transactions.legacy.convert.row_converters import RowConverter, migrated_users
from transactions.legacy.convert.side_rows import KeptRow, RejectedRow, side_rows
from transactions.legacy.load.bulk_loader import BulkLoader, Month
from transactions.legacy.load.migration_lock import LegacyCopyError, migration_lock
from transactions.legacy.load.progress import Progress, get_progress
from transactions.legacy.load.staged_months import attach_staged_months
from transactions.legacy.merchant_directory import build_merchant_directory
from transactions.legacy.source.change_log import change_log_position
from transactions.legacy.source.snapshot import Snapshot
from transactions.legacy.source.sqlite_file import LegacyTable, quoted
from transactions.models import MigrationRun

BULK_RANGE: Final = 65_536  # row numbers in one range of a bulk table
_ROW_RANGE: Final = 2_000  # rows in one range of the other tables
# Kamioi's own rows are numbered from here on, while legacy ids still grow below.
OWN_IDS_FROM: Final = 1_000_000_000
_SAVE_SECONDS: Final = 1.0

ProgressCallback = Callable[[str, int, int], None]  # (table, rows done, rows in all)


@dataclass(slots=True)
class CopyResult:
    """What a run of `copy` did; `source_changed` when the file was written to since an earlier run."""

    tables: dict[str, Progress] = field(default_factory=dict)
    directory: dict[str, int] = field(default_factory=dict)
    source_changed: bool = False

    @property
    def rejected(self) -> int:
        return sum(progress.rows_rejected for progress in self.tables.values())


def copy_legacy_database(*, path: Path, run: MigrationRun, on_progress: ProgressCallback | None = None) -> CopyResult:
    """Copy the legacy database, and update `run` at most once a second.

    Raises:
        LegacySourceError: the file cannot be read.
        LegacyCopyError: this database cannot take the file.
    """
    with migration_lock(), Snapshot(path) as snapshot:
        result = CopyResult(source_changed=_claim_target(snapshot))
        copy = _Copy(snapshot, run, on_progress, result)
        with BulkLoader(run.pk) as loader:
            for name in ordered_tables(snapshot):
                copy.table(loader, name)
        copy.finish()
        return result


def ordered_tables(snapshot: Snapshot) -> list[str]:
    """Return the tables of the source in the order of their dependencies, the others by name."""
    first = ("users", "admins", *registry.bulk_tables(), "chart_of_accounts")
    names = [name for name in first if name in snapshot.tables]
    return names + sorted(set(snapshot.tables) - set(names) - set(rules.LEFT_BEHIND))


def make_converter(snapshot: Snapshot, table: LegacyTable) -> RowConverter:
    """Return the converter of a table that is copied row by row."""
    converter = registry.row_converters().get(table.name, RowConverter)
    return converter(snapshot, table, timezone.now())


def _claim_target(snapshot: Snapshot) -> bool:
    """Record that this database takes the file; returns whether the file changed since an earlier run.

    Kamioi's own rows get ids far beyond the legacy ones, so that legacy ids stay as they are.
    """
    path, file_state = str(snapshot.path.resolve()), snapshot.file_state()
    with connection.cursor() as cursor:
        cursor.execute("SELECT path, state->'file' FROM legacy_source")
        if row := cursor.fetchone():
            if row[0] != path:
                raise LegacyCopyError(
                    f"This database is being filled from {row[0]}. "
                    "If the file was moved, put it back; another legacy database needs a separate target database."
                )
            earlier = row[1] if isinstance(row[1], dict) else json.loads(row[1])
            return bool(earlier != file_state)
        kept_ids = [*registry.bulk_tables(), "notifications"]
        for table in kept_ids:
            last = snapshot.last_rowid(table) if table in snapshot.tables else 0
            cursor.execute(f"SELECT EXISTS (SELECT 1 FROM {table} WHERE id <= %s)", [last])
            if cursor.fetchone()[0]:
                raise LegacyCopyError(
                    f"The target has rows in {table} with ids that the legacy database uses too. "
                    "Copy into a newly migrated database."
                )
        for table in ("users", *kept_ids):
            cursor.execute(
                f"SELECT setval(pg_get_serial_sequence(%s, 'id'), greatest(%s, (SELECT max(id) FROM {table})))",
                [table, OWN_IDS_FROM],
            )
        # A later run reads a later snapshot, but its earlier ranges are of this one: the change log counts from here.
        state = {"file": file_state, "phase": "legacy", "position": change_log_position(snapshot)}
        cursor.execute("INSERT INTO legacy_source (path, state) VALUES (%s, %s::jsonb)", [path, json.dumps(state)])
    return False


class _Copy:
    """One run: what is copied already, and how to continue."""

    def __init__(
        self, snapshot: Snapshot, run: MigrationRun, on_progress: ProgressCallback | None, result: CopyResult
    ) -> None:
        self._snapshot = snapshot
        self._run = run
        self._on_progress = on_progress
        self._result = result
        self._progress = get_progress()
        self._totals = {name: snapshot.count(name) for name in ordered_tables(snapshot)}
        self._saved_at = 0.0
        self._context: ConversionContext | None = None
        run.rows_total = sum(self._totals.values())
        run.save(update_fields=["rows_total"])

    def table(self, loader: BulkLoader, name: str) -> None:
        """Copy one table from where its progress is."""
        table = self._snapshot.tables[name]
        progress = self._progress.get(name) or Progress(name)
        self._result.tables[name] = progress
        self._report(progress)
        if name in registry.bulk_tables():
            self._copy_bulk(loader, table, progress)
        elif table.has_rowid:
            self._copy_rows(loader, table, progress)
        elif not progress.complete:  # without row numbers there are no ranges
            columns = ", ".join(quoted(column) for column in table.columns)
            rows = [(0, *row) for row in self._snapshot.rows(f"SELECT {columns} FROM {quoted(name)}")]
            if rows:
                self._write_rows(loader, table, progress, make_converter(self._snapshot, table), rows)
        if not progress.complete:
            progress.complete = True
            loader.write(progress)
        self._report(progress, save=True)

    def _copy_rows(self, loader: BulkLoader, table: LegacyTable, progress: Progress) -> None:
        converter: RowConverter | None = None
        columns = ", ".join(quoted(name) for name in table.columns)
        sql = f"SELECT rowid, {columns} FROM {quoted(table.name)} WHERE rowid > ? ORDER BY rowid LIMIT {_ROW_RANGE}"
        while rows := self._snapshot.rows(sql, [progress.last_rowid]):
            converter = converter or make_converter(self._snapshot, table)
            self._write_rows(loader, table, progress, converter, rows)
            self._report(progress)

    def _write_rows(
        self,
        loader: BulkLoader,
        table: LegacyTable,
        progress: Progress,
        converter: RowConverter,
        found: Sequence[tuple[Any, ...]],
    ) -> None:
        rows = []
        for rowid, *cells in found:
            row = dict(zip(table.columns, cells, strict=True))
            rows.append((values.legacy_id_of(table, rowid, row), row))
        result = converter.convert(rows)
        progress.last_rowid = found[-1][0]
        progress.rows_read += len(rows)
        progress.rows_loaded += result.loaded
        progress.rows_rejected += len(result.rejected)
        progress.repairs += result.repairs
        progress.complete = False
        loader.write(progress, statements=result.statements.items(), rejected=result.rejected, kept=result.kept)

    # --- bulk tables ------------------------------------------------------------------------------------------------

    def _copy_bulk(self, loader: BulkLoader, table: LegacyTable, progress: Progress) -> None:
        if not table.id_is_rowid:
            raise LegacyCopyError(
                f"The table {table.name} has no INTEGER PRIMARY KEY id; its rows cannot be identified."
            )
        if self._context is None:
            transactions = IdMap.of_table(self._snapshot, "transactions")
            self._context = ConversionContext(
                IdMap(migrated_users()), lambda _: transactions, MerchantKeys(), timezone.now()
            )
        bulk_table = registry.bulk_tables()[table.name]
        with ThreadPoolExecutor(1) as pool:
            writing: Future[None] | None = None
            for low, high in self._snapshot.ranges(table.name, progress.last_rowid, BULK_RANGE):
                converted = _convert_range(self._snapshot, bulk_table, self._context, low, high)
                if writing:
                    writing.result()
                # Submitted only when the range before is committed: progress never skips a failed range.
                writing = pool.submit(self._write_range, loader, bulk_table, progress, converted)
                self._report(progress)
            if writing:
                writing.result()

    def _write_range(self, loader: BulkLoader, bulk_table: BulkTable, progress: Progress, converted: "_Range") -> None:
        progress.last_rowid = converted.high
        progress.rows_read += len(converted.batch)
        progress.rows_loaded += converted.rows.num_rows
        progress.rows_rejected += len(converted.rejected)
        progress.repairs += converted.batch.repairs
        progress.complete = False
        loader.write_bulk(
            progress,
            bulk_table.model,
            converted.rows,
            months=converted.months,
            rejected=converted.rejected,
            kept=converted.kept,
            reject=lambda refused: self._rejected_by_postgres(bulk_table.name, refused),
        )

    def _rejected_by_postgres(self, name: str, refused: Sequence[tuple[int, str]]) -> list[RejectedRow]:
        reasons = dict(refused)
        rows = self._snapshot.rows_by_id(self._snapshot.tables[name], reasons) if reasons else []
        return [
            RejectedRow(name, str(rowid), f"unreadable: {reasons[rowid]}"[:255], values.row_as_json(row))
            for rowid, row in rows
        ]

    # --- the end ----------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Build indexes, attach partitions, build the directory; every step can be repeated."""
        bulk_tables = registry.bulk_tables()
        for name, bulk_table in bulk_tables.items():

            def report_months(done: int, total: int, label: str = f"{name}: months with indexes") -> None:
                if self._on_progress:
                    self._on_progress(label, done, total)

            attach_staged_months(bulk_table.model, report_months)
        with connection.cursor() as cursor:
            # Autovacuum analyzes partitions, but never their parents.
            cursor.execute("SHOW server_version_num")
            only = "ONLY " if int(cursor.fetchone()[0]) >= 180_000 else ""
            parents = ", ".join(f"{only}{name}" for name in (*bulk_tables, "ledger_transfers"))
            cursor.execute(f"ANALYZE {parents}, users, holdings")
        self._result.directory = build_merchant_directory()
        self._run.details = self._details() | {"directory": self._result.directory}
        self._run.save(update_fields=["details"])

    def _details(self) -> dict[str, Any]:
        return {
            "tables": {
                name: {
                    "read": progress.rows_read,
                    "loaded": progress.rows_loaded,
                    "rejected": progress.rows_rejected,
                    "repairs": {kind: count for kind, count in sorted(progress.repairs.items()) if count},
                }
                for name, progress in self._result.tables.items()
            }
        }

    def _report(self, progress: Progress, *, save: bool = False) -> None:
        if self._on_progress:
            self._on_progress(progress.table, progress.rows_read, self._totals[progress.table])
        now = timezone.now().timestamp()
        if save or now - self._saved_at >= _SAVE_SECONDS:
            self._saved_at = now
            self._run.rows_done = sum(table.rows_read for table in self._result.tables.values())
            self._run.details = self._details()
            self._run.save(update_fields=["rows_done", "details"])


@dataclass(frozen=True, slots=True)
class _Range:
    """A converted range to be written."""

    high: int
    batch: Batch
    rows: pa.Table
    months: list[Month]
    rejected: list[RejectedRow]
    kept: list[KeptRow]


def _convert_range(
    snapshot: Snapshot, bulk_table: BulkTable, context: ConversionContext, low: int, high: int
) -> _Range:
    """Read and convert a range, and read whole rows for what is rejected or kept."""
    batch = read_batch(snapshot, bulk_table.layout, low, high)
    rows = bulk_table.convert(batch, context)
    dates = rows.column(bulk_table.model.partition_column).cast(pa.int64()).to_numpy()
    rejected, kept = side_rows(batch, _whole_rows(snapshot, batch, {*batch.rejects, *batch.keep}))
    return _Range(high, batch, rows, months_of(dates), rejected, kept)


def _whole_rows(snapshot: Snapshot, batch: Batch, positions: Iterable[int]) -> dict[int, dict[str, Any]]:
    by_rowid = {int(batch.rowids[position]): position for position in positions}
    rows = snapshot.rows_by_id(batch.table, by_rowid) if by_rowid else []
    return {by_rowid[rowid]: row for rowid, row in rows}
