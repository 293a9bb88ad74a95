"""Single rows of the legacy system applied to Kamioi, over what was copied of them before: for `sync` and retries.

What an earlier version of a row left is removed, and the present row is converted as `copy` does it, in one transaction
with the position in the change log. Purchases that Kamioi posted itself are not changed.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa
from django.db import connection, transaction
from django.utils import timezone

from kamioi_site.db.partitions import ensure_partitions
from kamioi_site.errors import KamioiError
from transactions.legacy import registry
from transactions.legacy.convert import values
from transactions.legacy.convert.arrow_columns import Batch, batch_of_rows, months_of
from transactions.legacy.convert.bulk_converters import BulkTable, ConversionContext, IdMap, MerchantKeys
from transactions.legacy.convert.row_converters import ConversionResult, RowConverter, migrated_users
from transactions.legacy.convert.side_rows import side_rows
from transactions.legacy.load.copy import make_converter, ordered_tables
from transactions.legacy.load.progress import as_parameter, side_statements
from transactions.legacy.source.snapshot import Snapshot
from transactions.legacy.source.sqlite_file import LegacyTable, quoted
from transactions.models import MigrationReject, MigrationRun

_CHUNK: Final = 2_000
# Rows of the first table change what rows of the third become, which their column names.
_DEPENDENT: Final = (
    ("user_settings", "user_id", "users"),
    ("journal_entry_lines", "journal_entry_id", "journal_entries"),
)

Rows = Sequence[tuple[str, dict[str, Any]]]


class RetryRejectError(KamioiError):
    """The corrected row still cannot be migrated."""


@dataclass(slots=True)
class ApplyResult:
    """How many rows were written, rejected, and found deleted in the legacy system."""

    written: int = 0
    rejected: int = 0
    gone: int = 0


class ChangeApplier:
    """Applies single rows; `snapshot` is where they, and the rows they depend on, are read."""

    def __init__(self, snapshot: Snapshot, run: MigrationRun) -> None:
        self._snapshot = snapshot
        self._run = run
        self._now = timezone.now()
        self._keys = MerchantKeys()

    def apply(self, changed: Mapping[str, set[str]]) -> ApplyResult:
        """Make these rows (legacy ids by table) the same as in the snapshot, in one transaction."""
        result = ApplyResult()
        tables = self._snapshot.tables
        ids = {name: set(changed_ids) for name, changed_ids in changed.items() if name in tables}
        with transaction.atomic():
            self._add_dependents(ids)
            users = ids.get("users", set())
            for name in ordered_tables(self._snapshot):
                # New users allow rows that were rejected because their user was missing.
                if name not in ("users", "admins") and users:
                    self._add_rejected_of(users, ids)
                    users = set()
                for chunk in _chunks(sorted(ids.get(name, ()))):
                    rows = list(self._look_up(tables[name], chunk))
                    result.gone += len(chunk) - len(rows)
                    self._replace(tables[name], chunk, rows, result)
        return result

    def retry(self, reject: MigrationReject, cells: Mapping[str, Any]) -> None:
        """Migrate a rejected row with corrected cells.

        Raises:
            RetryRejectError: it is still rejected; nothing was written.
        """
        table = self._snapshot.tables.get(reject.table_name)
        if table is None:
            raise RetryRejectError(f"The legacy file has no table {reject.table_name}.")
        row = {name: values.from_json(cells.get(name)) for name in table.columns}
        result = ApplyResult()
        with transaction.atomic():
            self._replace(table, [reject.legacy_id], [(reject.legacy_id, row)], result, keep_rejects=True)
            if result.rejected:
                again = MigrationReject.objects.filter(table_name=reject.table_name, legacy_id=reject.legacy_id)
                raise RetryRejectError(f"Still rejected: {again.exclude(pk=reject.pk).latest('id').reason}.")

    # --- which rows -------------------------------------------------------------------------------------------------

    def _add_dependents(self, ids: dict[str, set[str]]) -> None:
        """Add the rows that changes in other tables affect."""
        tables = self._snapshot.tables
        for name, column, owner in _DEPENDENT:
            if not ids.get(name) or owner not in tables:
                continue
            owners = {values.text(row.get(column))[0] for _, row in self._look_up(tables[name], ids[name])}
            with connection.cursor() as cursor:  # those of rows that are deleted now
                cursor.execute(
                    "SELECT data->>%s FROM legacy_rows WHERE source_table = %s AND legacy_id = ANY (%s)",
                    [column, name, sorted(ids[name])],
                )
                owners |= {row[0] for row in cursor.fetchall()}
            ids.setdefault(owner, set()).update(owner_id for owner_id in owners if owner_id)
        if not (gone := self._gone("transactions", ids.get("transactions", set()))):
            return
        for name, bulk_table in registry.bulk_tables().items():
            if bulk_table.links and name in tables:
                linked = self._snapshot.rows(
                    f"SELECT rowid FROM {quoted(name)} WHERE {bulk_table.links} IN (SELECT value FROM json_each(?))",
                    [json.dumps([int(legacy_id) for legacy_id in gone])],
                )
                ids.setdefault(name, set()).update(str(row[0]) for row in linked)

    def _gone(self, name: str, ids: set[str]) -> set[str]:
        if not ids or name not in self._snapshot.tables:
            return set()
        table, present = self._snapshot.tables[name], set()
        for chunk in _chunks(sorted(ids)):
            present |= {legacy_id for legacy_id, _ in self._look_up(table, chunk)}
        return ids - present

    def _add_rejected_of(self, user_ids: set[str], ids: dict[str, set[str]]) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT table_name, legacy_id FROM migration_rejects "
                "WHERE reason = 'user gone' AND row->>'user_id' = ANY (%s)",
                [sorted(user_ids)],
            )
            for name, legacy_id in cursor.fetchall():
                ids.setdefault(name, set()).add(legacy_id)

    def _look_up(self, table: LegacyTable, ids: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (legacy id, row) of the rows that exist."""
        names, ids = ", ".join(quoted(name) for name in table.columns), list(ids)
        if len(table.key) > 1:
            condition = " AND ".join(f"CAST({quoted(name)} AS TEXT) = ?" for name in table.key)
            for legacy_id in ids:
                for row in self._snapshot.rows(
                    f"SELECT {names} FROM {quoted(table.name)} WHERE {condition}", json.loads(legacy_id)
                ):
                    yield legacy_id, dict(zip(table.columns, row, strict=True))
            return
        by_rowid = not table.key or table.id_is_rowid
        key = "rowid" if by_rowid else quoted(table.key[0])
        for legacy_id, *cells in self._snapshot.rows(
            f"SELECT {key}, {names} FROM {quoted(table.name)} WHERE {key} IN (SELECT value FROM json_each(?))",
            [json.dumps([int(legacy_id) for legacy_id in ids] if by_rowid else ids)],
        ):
            yield values.text(legacy_id)[0] or "", dict(zip(table.columns, cells, strict=True))

    # --- writing ----------------------------------------------------------------------------------------------------

    def _replace(
        self, table: LegacyTable, ids: Sequence[str], rows: Rows, result: ApplyResult, *, keep_rejects: bool = False
    ) -> None:
        """Remove what was copied of `ids`, and write `rows`."""
        bulk_table = registry.bulk_tables().get(table.name)
        with connection.cursor() as cursor:
            if bulk_table:
                cursor.execute(_counted(bulk_table, bulk_table.delete_sql, "-"), [list(ids)])
            for sql in registry.row_converters().get(table.name, RowConverter).undo_sql:
                cursor.execute(sql, {"table": table.name, "ids": list(ids)})
            cleared = [("legacy_rows", "source_table")]
            if not keep_rejects:
                cleared.append(("migration_rejects", "table_name"))
            for name, column in cleared:
                cursor.execute(
                    f"DELETE FROM {name} WHERE {column} = %s AND legacy_id = ANY (%s)", [table.name, list(ids)]
                )
            if not rows:
                return
            converted = (
                self._write_bulk(cursor, bulk_table, table, rows)
                if bulk_table
                else make_converter(self._snapshot, table).convert(rows)
            )
            side = side_statements(self._run.pk, converted.rejected, converted.kept)
            for sql, parameters in (*converted.statements.items(), *side):
                cursor.execute(sql.replace("$1", "%s"), [as_parameter(parameters)])
        result.written += converted.loaded
        result.rejected += len(converted.rejected)

    def _write_bulk(self, cursor: Any, bulk_table: BulkTable, table: LegacyTable, rows: Rows) -> ConversionResult:
        """Write rows of a bulk table, and return what was rejected and kept."""
        batch = batch_of_rows(table, bulk_table.layout, [(int(legacy_id), row) for legacy_id, row in rows])
        context = ConversionContext(IdMap(migrated_users()), self._linked_transactions, self._keys, self._now)
        converted = bulk_table.convert(batch, context)
        dates = converted.column(bulk_table.model.partition_column).cast(pa.int64()).to_numpy()
        months = {datetime(year, month, 1, tzinfo=UTC) for year, month in months_of(dates)}
        ensure_partitions(bulk_table.model, months)
        columns = ", ".join(converted.column_names)
        cursor.execute(
            _counted(
                bulk_table,
                f"INSERT INTO {table.name} ({columns}) SELECT {columns} "
                f"FROM jsonb_populate_recordset(NULL::{table.name}, %s::jsonb) AS item "
                f"WHERE NOT EXISTS (SELECT FROM {table.name} AS existing WHERE existing.id = item.id) RETURNING *",
                "+",
            ),
            [json.dumps(converted.to_pylist(), default=_as_text)],
        )
        rejected, kept = side_rows(batch, dict(enumerate(row for _, row in rows)))
        return ConversionResult(rejected=rejected, kept=kept, loaded=converted.num_rows)

    def _linked_transactions(self, batch: Batch) -> IdMap:
        """Return the existing transactions that the batch links to."""
        links, null = batch.integers("transaction_id")
        if "transactions" not in self._snapshot.tables:
            return IdMap([])
        rows = self._snapshot.rows(
            "SELECT t.rowid FROM json_each(?) AS ids JOIN transactions AS t ON t.rowid = ids.value ORDER BY 1",
            [json.dumps(sorted(set(links[~null].tolist())))],
        )
        return IdMap.identity(np.array([row[0] for row in rows], np.int64))


def _counted(bulk_table: BulkTable, write_sql: str, sign: str) -> str:
    """Return the statement with the keys and the rollup's deltas of the rows that it writes."""
    keys_sql = bulk_table.keys_sql.get(sign)
    keys = f", keys AS ({keys_sql})" if keys_sql else ""
    return f"WITH written AS ({write_sql}){keys} {bulk_table.count_sql.format(sign=sign)}"


def _as_text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _CHUNK):
        yield ids[start : start + _CHUNK]
