"""`copy`: everything of one snapshot into PostgreSQL, in ranges that are carried over whole or not at all.

The order: people, the two big tables, whatever belongs to people, the rest; then indexes, directory and review queue.
Reading and converting (this thread) run beside writing (another one), so two processors and the server are busy.

Killed anywhere and started again, `copy` goes on behind the last committed range. The snapshot of the second run is a newer
one: what the legacy system changed meanwhile in rows that were carried over already is not seen (`validate` lists it).
"""

import json
import logging
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from django.apps import apps
from django.db import connection
from django.utils import timezone

from kamioi_site.db.partitions import MonthlyPartitionedModel
from transactions.legacy.convert import rules
from transactions.legacy.convert.arrow_columns import Batch, Layout, months_of, read_batch
from transactions.legacy.convert.bulk_converters import (
    MAPPINGS,
    TRANSACTIONS,
    Ids,
    MerchantKeys,
    mappings_convert,
    transactions_convert,
)
from transactions.legacy.convert.row_converters import RowConverter, legacy_id_of, row_converter
from transactions.legacy.load.bulk_loader import (
    KeptRow,
    Loader,
    Month,
    Progress,
    RejectedRow,
    attach_staged_months,
    get_progress,
    staged_months,
)
from transactions.legacy.load.migration_lock import LegacyCopyError, migration_lock
from transactions.legacy.merchant_directory import build_merchant_directory
from transactions.legacy.source.change_log import change_log_position
from transactions.legacy.source.snapshot import LegacyTable, Snapshot, quoted
from transactions.models import MigrationRun, Transaction

logger = logging.getLogger(__name__)

RANGE: Final = 65_536
"""Row numbers in one range of a big table."""
ROW_RANGE: Final = 2_000
"""Rows in one range of the tables that are read row by row."""
OWN_IDS_FROM: Final = 1_000_000_000
"""Kamioi numbers its own rows from here on while legacy ids still grow below."""

# Earlier tables are needed by later ones; all others follow in order of their names.
FIRST: Final = ("users", "admins", "transactions", "llm_mappings", "chart_of_accounts")
REPORT_SECONDS: Final = 1.0

Report = Callable[[str, int, int], None]
"""(table, rows done, rows in all)."""


@dataclass(slots=True)
class CopyResult:
    """What a run of `copy` carried over."""

    tables: dict[str, Progress] = field(default_factory=dict)
    directory: dict[str, int] = field(default_factory=dict)
    source_moved: bool = False

    @property
    def rejected(self) -> int:
        """Rows put aside."""
        return sum(progress.rows_rejected for progress in self.tables.values())


def copy_legacy_database(*, path: Path, run: MigrationRun, on_progress: Report | None = None) -> CopyResult:
    """Carry the legacy database over. Raises LegacySourceError and LegacyCopyError.

    `run` is kept up to date while it works (at most once a second): rows done, rows in all, and per table what was
    loaded, repaired and rejected.
    """
    with migration_lock(), Snapshot(path) as snapshot:
        result = CopyResult(source_moved=_claim_target(snapshot))
        work = _Copy(snapshot, run, on_progress, result)
        with Loader(run.pk) as loader:
            for name in ordered_tables(snapshot):
                work.table(loader, name)
        work.finish()
        return result


def ordered_tables(snapshot: Snapshot) -> list[str]:
    """The tables of the source in the order they are carried over."""
    names = [name for name in FIRST if name in snapshot.tables]
    return names + sorted(set(snapshot.tables) - set(names) - set(rules.LEFT_BEHIND))


def mapping_model() -> type[MonthlyPartitionedModel]:
    """The mapping log; it lives in a room that this one does not import."""
    model: type[MonthlyPartitionedModel] = apps.get_model("llm_center", "LlmMapping")
    return model


def _claim_target(snapshot: Snapshot) -> bool:
    """Make this database the one that the file goes to. Returns whether the file changed since an earlier run.

    Kamioi's own rows get numbers far beyond the legacy ones, so that ids stay what they were.
    """
    state = snapshot.state()
    with connection.cursor() as cursor:
        cursor.execute("SELECT path, state->'file' FROM legacy_source")
        known = cursor.fetchone()
        if known:
            if known[0] != str(snapshot.path.resolve()):
                raise LegacyCopyError(
                    f"This database is being filled from {known[0]}. "
                    "If the file was moved, put it back; another legacy database needs a database of its own."
                )
            before = known[1] if isinstance(known[1], dict) else json.loads(known[1])
            return bool(before != state)
        for table in ("transactions", "llm_mappings", "notifications"):
            last = snapshot.last_rowid(table) if table in snapshot.tables else 0
            cursor.execute(f"SELECT EXISTS (SELECT FROM {table} WHERE id <= %s)", [last])
            if cursor.fetchone()[0]:
                raise LegacyCopyError(
                    f"The target has rows in {table} with ids that the legacy database uses too. "
                    "Copy into a database that was only migrated, not used."
                )
        for table in ("users", "transactions", "llm_mappings", "notifications"):
            cursor.execute(
                f"SELECT setval(pg_get_serial_sequence(%s, 'id'), greatest(%s, (SELECT max(id) FROM {table})))",
                [table, OWN_IDS_FROM],
            )
        cursor.execute(
            "INSERT INTO legacy_source (path, state) VALUES (%s, %s::jsonb)",
            [
                str(snapshot.path.resolve()),
                # A later run reads a later snapshot, but its earlier ranges are of this one: the log counts from here.
                json.dumps({"file": state, "phase": "legacy", "position": change_log_position(snapshot)}),
            ],
        )
    return False


class _Copy:
    """One run: what has been carried over already, and how to carry on."""

    def __init__(self, snapshot: Snapshot, run: MigrationRun, on_progress: Report | None, result: CopyResult) -> None:
        self._snapshot = snapshot
        self._run = run
        self._report = on_progress
        self._result = result
        self._now = timezone.now()
        self._known = get_progress()
        self._totals = {name: snapshot.count(name) for name in ordered_tables(snapshot)}
        self._saved_at = 0.0
        self._keys = MerchantKeys()
        self._people: Ids | None = None
        run.rows_total = sum(self._totals.values())
        run.save(update_fields=["rows_total"])

    # --- one table --------------------------------------------------------------------------------------------------

    def table(self, loader: Loader, name: str) -> None:
        """Carry one table over, from where it stands."""
        table = self._snapshot.tables[name]
        progress = self._known.get(name) or Progress(name)
        self._result.tables[name] = progress
        self._tell(progress)
        if name in ("transactions", "llm_mappings"):
            self._big(loader, table, progress)
        elif table.has_rowid:
            self._rows(loader, table, progress)
        else:
            self._rowless(loader, table, progress)
        if not progress.complete:
            progress.complete = True
            loader.write(progress)
        self._tell(progress, now=True)

    def _users(self) -> Ids:
        if self._people is None:
            with connection.cursor() as cursor:
                cursor.execute("SELECT legacy_id, user_id FROM legacy_ids WHERE source_table = 'users'")
                self._people = Ids(cursor.fetchall())
        return self._people

    def _ranges(self, table: str, after: int, size: int) -> Iterator[tuple[int, int]]:
        """(low, high] of row numbers with rows in them; gaps cost one look-up."""
        last = self._snapshot.last_rowid(table)
        low = after
        while low < last:
            first = self._snapshot.next_rowid(table, low)
            if first is None:
                return
            # Never past the last row: a later run goes on from here, and new rows get the next numbers.
            low = min(first - 1 + size, last)
            yield first - 1, low

    def _rows(self, loader: Loader, table: LegacyTable, progress: Progress) -> None:
        reader: RowConverter | None = None
        selected = ", ".join(quoted(name) for name in table.columns)
        while True:
            found = self._snapshot.rows(
                f"SELECT rowid, {selected} FROM {quoted(table.name)} WHERE rowid > ? ORDER BY rowid LIMIT {ROW_RANGE}",
                [progress.last_rowid],
            )
            if not found:
                return
            reader = reader or row_converter(self._snapshot, table, self._now, self._users)
            self._write_rows(loader, table, progress, reader, found)
            self._tell(progress)

    def _rowless(self, loader: Loader, table: LegacyTable, progress: Progress) -> None:
        """A table without row numbers has no ranges: it is carried over in one."""
        if progress.complete:
            return
        selected = ", ".join(quoted(name) for name in table.columns)
        found = [(0, *row) for row in self._snapshot.rows(f"SELECT {selected} FROM {quoted(table.name)}")]
        if found:
            self._write_rows(
                loader, table, progress, row_converter(self._snapshot, table, self._now, self._users), found
            )

    def _write_rows(
        self,
        loader: Loader,
        table: LegacyTable,
        progress: Progress,
        reader: RowConverter,
        found: Sequence[tuple[Any, ...]],
    ) -> None:
        rows = []
        for rowid, *cells in found:
            row = dict(zip(table.columns, cells, strict=True))
            rows.append((legacy_id_of(table, rowid, row), row))
        outcome = reader.convert(rows)
        progress.last_rowid = found[-1][0]
        progress.rows_read += len(rows)
        progress.rows_loaded += outcome.loaded
        progress.rows_rejected += len(outcome.rejected)
        progress.repairs += outcome.repairs
        progress.complete = False
        loader.write(
            progress, statements=list(outcome.statements.items()), rejected=outcome.rejected, kept=outcome.kept
        )

    # --- the big ones -----------------------------------------------------------------------------------------------

    def _big(self, loader: Loader, table: LegacyTable, progress: Progress) -> None:
        if not table.id_is_rowid:
            raise LegacyCopyError(
                f"The table {table.name} has no INTEGER PRIMARY KEY id; its rows cannot be told apart."
            )
        layout = TRANSACTIONS if table.name == "transactions" else MAPPINGS
        model: type[MonthlyPartitionedModel] = Transaction if table.name == "transactions" else mapping_model()
        convert = self._converter(table.name)
        writer = _Writer(self._snapshot, loader, model, table, progress)
        try:
            for low, high in self._ranges(table.name, progress.last_rowid, RANGE):
                writer.put(self._prepare(layout, convert, low, high))
                self._tell(progress)
        finally:
            writer.close()

    def _converter(self, name: str) -> Callable[[Batch], pa.Table]:
        users, keys, now = self._users(), self._keys, self._now
        if name == "transactions":
            return lambda batch: transactions_convert(batch, users=users, keys=keys, now=now)
        transaction_ids = Ids([])
        if "transactions" in self._snapshot.tables:
            ids = self._snapshot.columns("SELECT rowid AS id FROM transactions").column("id")
            transaction_ids = Ids.same(ids.to_numpy() if len(ids) else np.zeros(0, np.int64))
        return lambda batch: mappings_convert(batch, users=users, transaction_ids=transaction_ids, keys=keys, now=now)

    def _prepare(self, layout: Layout, convert: Callable[[Batch], pa.Table], low: int, high: int) -> "_Range":
        """Read and convert a range, and fetch whole rows for what is rejected or kept."""
        batch = read_batch(self._snapshot, layout, low, high)
        rows = convert(batch)
        dates = rows.column("date" if layout is TRANSACTIONS else "created_at").cast(pa.int64()).to_numpy()
        rejected = [
            RejectedRow(layout.name, str(rowid), batch.rejects[position], rules.row_as_json(row))
            for position, rowid, row in self._whole(batch, sorted(batch.rejects))
        ]
        wanted = [position for position in sorted(batch.keep) if position not in batch.rejects]
        kept = []
        for position, rowid, row in self._whole(batch, wanted):
            rest = {name: row[name] for name in batch.keep[position] if row[name] is not None}
            if rest:
                kept.append(KeptRow(layout.name, str(rowid), "rest", rules.row_as_json(rest)))
        return _Range(high, len(batch), rows, months_of(dates), rejected, kept, batch)

    def _whole(self, batch: Batch, positions: Sequence[int]) -> Iterator[tuple[int, int, dict[str, Any]]]:
        """(position, rowid, whole row) of these positions."""
        if not positions:
            return
        by_rowid = {int(batch.rowids[position]): position for position in positions}
        for rowid, row in self._snapshot.rows_by_id(batch.table, by_rowid):
            yield by_rowid[rowid], rowid, row

    # --- the end ----------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Indexes, partitions, directory. Each step is safe to run again."""
        for model in (Transaction, mapping_model()):
            total = len(staged_months(model))
            done = 0

            def told(_: str, total: int = total, table: str = model._meta.db_table) -> None:
                nonlocal done
                done += 1
                if self._report:
                    self._report(f"{table}: months with indexes", done, total)

            attach_staged_months(model, told)
        with connection.cursor() as cursor:
            # Autovacuum sees to the months, but never to the tables that they are months of.
            cursor.execute("SHOW server_version_num")
            only = "ONLY " if int(cursor.fetchone()[0]) >= 180_000 else ""
            cursor.execute(f"ANALYZE {only}transactions, {only}llm_mappings, {only}ledger_transfers, users, holdings")
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

    def _tell(self, progress: Progress, *, now: bool = False) -> None:
        if self._report:
            self._report(progress.table, progress.rows_read, self._totals[progress.table])
        clock = timezone.now().timestamp()
        if now or clock - self._saved_at >= REPORT_SECONDS:
            self._saved_at = clock
            self._run.rows_done = sum(table.rows_read for table in self._result.tables.values())
            self._run.details = self._details()
            self._run.save(update_fields=["rows_done", "details"])


@dataclass(frozen=True, slots=True)
class _Range:
    """A converted range on its way to PostgreSQL."""

    high: int
    read: int
    rows: pa.Table
    months: list[Month]
    rejected: list[RejectedRow]
    kept: list[KeptRow]
    batch: Batch


class _Writer:
    """Writes converted ranges in order on a thread of its own; `put` waits when two are on their way."""

    def __init__(
        self,
        snapshot: Snapshot,
        loader: Loader,
        model: type[MonthlyPartitionedModel],
        table: LegacyTable,
        progress: Progress,
    ) -> None:
        self._snapshot = snapshot
        self._loader, self._model, self._table, self._progress = loader, model, table, progress
        self._queue: queue.Queue[_Range | None] = queue.Queue(maxsize=2)
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name=f"legacy copy {table.name}", daemon=True)
        self._thread.start()

    def put(self, item: _Range) -> None:
        """Hand a range over. Raises what writing an earlier one raised."""
        self._raise()
        self._queue.put(item)

    def close(self) -> None:
        """Wait until everything is written. Raises what writing raised."""
        self._queue.put(None)
        self._thread.join()
        self._raise()

    def _raise(self) -> None:
        if self._failed:
            failed, self._failed = self._failed, None
            raise failed

    def _work(self) -> None:
        failed = False
        while (item := self._queue.get()) is not None:
            if failed:
                continue  # let `put` go on until it sees the failure
            try:
                self._write(item)
            except BaseException as error:
                self._failed, failed = error, True

    def _write(self, item: _Range) -> None:
        progress = self._progress
        progress.last_rowid = item.high
        progress.rows_read += item.read
        progress.rows_loaded += item.rows.num_rows
        progress.rows_rejected += len(item.rejected)
        progress.repairs += item.batch.repairs
        progress.complete = False
        self._loader.write(
            progress,
            rows=item.rows,
            months=item.months,
            model=self._model,
            rejected=item.rejected,
            kept=item.kept,
            refused=self._refused,
        )

    def _refused(self, refusals: Sequence[tuple[int, str]]) -> list[RejectedRow]:
        """The rows that PostgreSQL refused, whole, for `migration_rejects`."""
        reasons = dict(refusals)
        found = self._snapshot.rows_by_id(self._table, reasons)
        return [
            RejectedRow(self._table.name, str(rowid), f"unreadable: {reasons[rowid]}"[:255], rules.row_as_json(row))
            for rowid, row in found
        ]
