"""Single rows of the legacy system into Kamioi, over whatever was carried of them before: for `sync` and mended rejects.

What an earlier version of a row left behind is taken back and the row as it is now is converted like `copy` does it, in
one transaction with the note of how far the log was read. Purchases that Kamioi booked itself stay as they are.
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

from kamioi_site.db.partitions import MonthlyPartitionedModel, ensure_partitions
from kamioi_site.errors import KamioiError
from transactions.legacy.convert import rules
from transactions.legacy.convert.arrow_columns import Batch, batch_of_rows, months_of
from transactions.legacy.convert.bulk_converters import (
    MAPPINGS,
    TRANSACTIONS,
    Ids,
    MerchantKeys,
    mappings_convert,
    transactions_convert,
)
from transactions.legacy.convert.row_converters import FORGET, ConversionResult, row_converter
from transactions.legacy.load.bulk_loader import ADD_KEPT, ADD_REJECTS, KeptRow, RejectedRow, as_json, kept_row_items
from transactions.legacy.load.copy import mapping_model, ordered_tables
from transactions.legacy.source.snapshot import LegacyTable, Snapshot, quoted
from transactions.models import MigrationReject, MigrationRun, Transaction

CHUNK: Final = 2_000
"""Rows written by one round of statements."""

_COUNT_TRANSACTIONS: Final = """
    INSERT INTO transaction_deltas (day, status, ticker, user_id, rows, amount, round_up, fee, investable, writes)
    SELECT (date AT TIME ZONE 'UTC')::date, status, ticker, user_id, {sign} count(*), {sign} sum(amount), {sign} sum(round_up),
           {sign} sum(fee), {sign} sum(investable), count(*)
    FROM written GROUP BY 1, 2, 3, 4
"""
_COUNT_MAPPINGS: Final = """
    INSERT INTO mapping_deltas (day, status, source, automatic, rows, confidence, writes)
    SELECT (created_at AT TIME ZONE 'UTC')::date, status, source, ai_auto_approved, {sign} count(*), {sign} sum(confidence),
           count(*)
    FROM written GROUP BY 1, 2, 3, 4
"""
# What the figures of a day lose or gain by the rows `written`.
_COUNT: Final = {"transactions": _COUNT_TRANSACTIONS, "llm_mappings": _COUNT_MAPPINGS}
_FORGET_BIG: Final[dict[str, str]] = {
    # What has bookings is Kamioi's own affair by now.
    "transactions": (
        "DELETE FROM transactions WHERE id = ANY (%s::bigint[]) AND source IN ('legacy', 'legacy_open') AND NOT EXISTS ("
        "SELECT FROM ledger_transfers WHERE ledger_transfers.user_id = transactions.user_id "
        "AND ledger_transfers.transaction_id = transactions.id AND ledger_transfers.date = transactions.date) RETURNING *"
    ),
    "llm_mappings": "DELETE FROM llm_mappings WHERE id = ANY (%s::bigint[]) AND source IN ('legacy', 'bulk') RETURNING *",
}

Change = Mapping[str, set[str]]
Rows = Sequence[tuple[str, dict[str, Any]]]


class RetryRejectError(KamioiError):
    """The mended row still cannot be carried over."""


@dataclass(slots=True)
class ApplyResult:
    """Rows that are now as the legacy system has them, those that were put aside, and those that are gone."""

    written: int = 0
    rejected: int = 0
    gone: int = 0


class ChangeApplier:
    """Carries single rows over. `snapshot` is where they, and what belongs to them, are looked up."""

    def __init__(self, snapshot: Snapshot, run: MigrationRun) -> None:
        self._snapshot = snapshot
        self._run = run
        self._now = timezone.now()
        self._keys = MerchantKeys()

    def apply(self, changed: Change) -> ApplyResult:
        """Make these rows (legacy ids by table) what they are in the snapshot. In the transaction of the caller, or its own."""
        done = ApplyResult()
        wanted = {name: set(ids) for name, ids in changed.items() if name in self._snapshot.tables}
        with transaction.atomic():
            self._add_dependents(wanted)
            people = wanted.get("users", set())
            for name in ordered_tables(self._snapshot):
                # New customers bring back what was rejected because they were missing.
                if name not in ("users", "admins") and people:
                    self._add_rejected_of(people, wanted)
                    people = set()
                table = self._snapshot.tables[name]
                for chunk in _chunks(sorted(wanted.get(name, ()))):
                    rows = list(self._look_up(table, chunk))
                    done.gone += len(chunk) - len(rows)
                    self._write(table, chunk, rows, done)
        return done

    def mend(self, reject: MigrationReject, row: Mapping[str, Any]) -> None:
        """Carry a rejected row over as `row` says it. Raises MendError, and then nothing was written."""
        table = self._snapshot.tables.get(reject.table_name)
        if table is None:
            raise RetryRejectError(f"The legacy file has no table {reject.table_name}.")
        mended = {name: row_value(row.get(name)) for name in table.columns}
        done = ApplyResult()
        with transaction.atomic():
            self._write(table, [reject.legacy_id], [(reject.legacy_id, mended)], done, keep_rejects=True)
            if done.rejected:
                again = MigrationReject.objects.filter(table_name=reject.table_name, legacy_id=reject.legacy_id)
                raise RetryRejectError(f"Still rejected: {again.exclude(pk=reject.pk).latest('id').reason}.")

    # --- what else changes ------------------------------------------------------------------------------------------

    def _add_dependents(self, wanted: dict[str, set[str]]) -> None:
        """Rows that must be looked at again because of others."""
        for name, column, owner in (
            ("user_settings", "user_id", "users"),
            ("journal_entry_lines", "journal_entry_id", "journal_entries"),
        ):
            if not wanted.get(name) or owner not in self._snapshot.tables:
                continue
            found = {
                rules.text(row.get(column))[0] for _, row in self._look_up(self._snapshot.tables[name], wanted[name])
            }
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT data->>%s FROM legacy_rows WHERE source_table = %s AND legacy_id = ANY (%s)",
                    [column, name, sorted(wanted[name])],
                )
                found |= {row[0] for row in cursor.fetchall()}
            wanted.setdefault(owner, set()).update(owner_id for owner_id in found if owner_id)
        gone = self._gone("transactions", wanted.get("transactions", set()))
        if gone and "llm_mappings" in self._snapshot.tables:
            linked = self._snapshot.rows(
                "SELECT rowid FROM llm_mappings WHERE transaction_id IN (SELECT value FROM json_each(?))",
                [json.dumps([int(legacy_id) for legacy_id in gone])],
            )
            wanted.setdefault("llm_mappings", set()).update(str(row[0]) for row in linked)

    def _gone(self, name: str, ids: set[str]) -> set[str]:
        if not ids or name not in self._snapshot.tables:
            return set()
        there: set[str] = set()
        for chunk in _chunks(sorted(ids)):
            there |= {legacy_id for legacy_id, _ in self._look_up(self._snapshot.tables[name], chunk)}
        return ids - there

    def _add_rejected_of(self, user_ids: set[str], wanted: dict[str, set[str]]) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT table_name, legacy_id FROM migration_rejects WHERE reason = 'user gone' AND row->>'user_id' = ANY (%s)",
                [sorted(user_ids)],
            )
            for name, legacy_id in cursor.fetchall():
                wanted.setdefault(name, set()).add(legacy_id)

    # --- rows -------------------------------------------------------------------------------------------------------

    def _look_up(self, table: LegacyTable, ids: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """(legacy id, row) of those that are there."""
        names, wanted = ", ".join(quoted(name) for name in table.columns), list(ids)
        if len(table.key) > 1:
            condition = " AND ".join(f"CAST({quoted(name)} AS TEXT) = ?" for name in table.key)
            for legacy_id in wanted:
                for row in self._snapshot.rows(
                    f"SELECT {names} FROM {quoted(table.name)} WHERE {condition}", json.loads(legacy_id)
                ):
                    yield legacy_id, dict(zip(table.columns, row, strict=True))
            return
        numbered = not table.key or table.id_is_rowid
        key = "rowid" if numbered else quoted(table.key[0])
        values: list[Any] = [int(legacy_id) for legacy_id in wanted] if numbered else wanted
        for legacy_id, *cells in self._snapshot.rows(
            f"SELECT {key}, {names} FROM {quoted(table.name)} WHERE {key} IN (SELECT value FROM json_each(?))",
            [json.dumps(values)],
        ):
            yield rules.text(legacy_id)[0] or "", dict(zip(table.columns, cells, strict=True))

    def _write(
        self, table: LegacyTable, ids: Sequence[str], rows: Rows, done: ApplyResult, *, keep_rejects: bool = False
    ) -> None:
        """Take back what there is of `ids`, and write `rows`."""
        with connection.cursor() as cursor:
            for statement in FORGET.get(table.name, ()):
                cursor.execute(statement, {"table": table.name, "ids": list(ids)})
            if table.name in _FORGET_BIG:
                counted = _COUNT[table.name].format(sign="-")
                cursor.execute(f"WITH written AS ({_FORGET_BIG[table.name]}) {counted}", [list(ids)])
            cursor.execute(
                "DELETE FROM legacy_rows WHERE source_table = %s AND legacy_id = ANY (%s)", [table.name, list(ids)]
            )
            if not keep_rejects:
                cursor.execute(
                    "DELETE FROM migration_rejects WHERE table_name = %s AND legacy_id = ANY (%s)",
                    [table.name, list(ids)],
                )
            if not rows:
                return
            if table.name in _FORGET_BIG:
                outcome = self._big(cursor, table, rows)
            else:
                reader = row_converter(self._snapshot, table, self._now, self._users)
                outcome = reader.convert(rows)
                for statement, parameters in outcome.statements.items():
                    cursor.execute(statement.replace("$1", "%s"), [as_json(parameters)])
            if outcome.rejected:
                cursor.execute(
                    ADD_REJECTS.replace("$1", "%s"), [as_json([r.as_item(self._run.pk) for r in outcome.rejected])]
                )
            if outcome.kept:
                cursor.execute(ADD_KEPT.replace("$1", "%s"), [as_json(kept_row_items(outcome.kept))])
        done.written += outcome.loaded
        done.rejected += len(outcome.rejected)

    def _users(self) -> Ids:
        with connection.cursor() as cursor:
            cursor.execute("SELECT legacy_id, user_id FROM legacy_ids WHERE source_table = 'users'")
            return Ids(cursor.fetchall())

    def _big(self, cursor: Any, table: LegacyTable, rows: Rows) -> ConversionResult:
        """Rows of a big table, by the same conversion as `copy`."""
        layout = TRANSACTIONS if table.name == "transactions" else MAPPINGS
        model: type[MonthlyPartitionedModel] = Transaction if table.name == "transactions" else mapping_model()
        cells = [(int(legacy_id), row) for legacy_id, row in rows]
        batch = batch_of_rows(table, layout, cells)
        users = self._users()
        if table.name == "transactions":
            converted = transactions_convert(batch, users=users, keys=self._keys, now=self._now)
        else:
            links = self._transactions_there(batch)
            converted = mappings_convert(batch, users=users, transaction_ids=links, keys=self._keys, now=self._now)
        dates = converted.column(model.partition_column).cast(pa.int64()).to_numpy()
        ensure_partitions(model, {datetime(year, month, 1, tzinfo=UTC) for year, month in months_of(dates)})
        columns = ", ".join(converted.column_names)
        cursor.execute(
            f"WITH written AS (INSERT INTO {table.name} ({columns}) SELECT {columns} "
            f"FROM jsonb_populate_recordset(NULL::{table.name}, %s::jsonb) AS item "
            f"WHERE NOT EXISTS (SELECT FROM {table.name} AS there WHERE there.id = item.id) RETURNING *) "
            + _COUNT[table.name].format(sign="+"),
            [json.dumps(converted.to_pylist(), default=_plain)],
        )
        outcome, by_position = ConversionResult(loaded=converted.num_rows), dict(enumerate(cells))
        for position, reason in sorted(batch.rejects.items()):
            rowid, row = by_position[position]
            outcome.rejected.append(RejectedRow(table.name, str(rowid), reason, rules.row_as_json(row)))
        for position, names in sorted(batch.keep.items()):
            rowid, row = by_position[position]
            rest = {name: row[name] for name in names if row[name] is not None}
            if rest and position not in batch.rejects:
                outcome.kept.append(KeptRow(table.name, str(rowid), "rest", rules.row_as_json(rest)))
        return outcome

    def _transactions_there(self, batch: Batch) -> Ids:
        links, none = batch.integers("transaction_id")
        if "transactions" not in self._snapshot.tables:
            return Ids([])
        found = self._snapshot.rows(
            "SELECT t.rowid FROM json_each(?) AS wanted JOIN transactions AS t ON t.rowid = wanted.value ORDER BY 1",
            [json.dumps(sorted(set(links[~none].tolist())))],
        )
        return Ids.same(np.array([row[0] for row in found], np.int64))


def row_value(value: Any) -> Any:
    """A cell of a row kept as JSON, as SQLite would give it."""
    if isinstance(value, dict) and set(value) == {"base64"}:
        import base64  # noqa: PLC0415

        return base64.b64decode(value["base64"])
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, dict | list):
        return json.dumps(value).encode()
    return value.replace("\\u0000", "\0").encode() if isinstance(value, str) else value


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), CHUNK):
        yield ids[start : start + CHUNK]
