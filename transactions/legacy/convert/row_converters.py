"""Tables that are copied row by row: the base of their converters, which keeps every row as JSON in `legacy_rows`.

A converter turns rows of one legacy table into the parameters of set-based SQL statements; the loader runs them in the
transaction that records the progress.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar

from django.db import connection

from kamioi_site.db.partitions import ensure_partitions
from transactions.legacy.convert import values
from transactions.legacy.convert.side_rows import KeptRow, RejectedRow
from transactions.legacy.source.snapshot import Snapshot
from transactions.legacy.source.sqlite_file import LegacyTable
from transactions.models import LedgerTransfer

Row = Mapping[str, Any]


class RowRejectedError(Exception):
    """The row cannot be migrated; `cells` are stored with it."""

    def __init__(self, reason: str, **cells: Any) -> None:
        super().__init__(reason)
        self.reason, self.cells = reason, cells


@dataclass(slots=True)
class ConversionResult:
    """What becomes of a range of rows: parameters by SQL statement, and rows to reject or keep."""

    statements: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    rejected: list[RejectedRow] = field(default_factory=list)
    kept: list[KeptRow] = field(default_factory=list)
    repairs: Counter[str] = field(default_factory=Counter)
    loaded: int = 0


class RowConverter:
    """Converts the rows of one legacy table; this base only keeps them.

    `placed` names the columns that have a counterpart in Kamioi: the others are kept. Without it the whole row is kept.
    `undo_sql` removes rows that were copied before; its parameters are `table` and the legacy `ids`.
    """

    becomes: ClassVar[str] = "legacy_rows"
    undo_sql: ClassVar[tuple[str, ...]] = ()
    placed: ClassVar[tuple[str, ...] | None] = None

    def __init__(self, snapshot: Snapshot, table: LegacyTable, now: datetime) -> None:
        self.snapshot, self.table, self.now = snapshot, table, now
        self.out = ConversionResult()

    def convert(self, rows: Sequence[tuple[str, Row]]) -> ConversionResult:
        """Return what becomes of these (legacy id, row)."""
        self.out = out = ConversionResult()
        self.prepare(rows)
        for legacy_id, row in rows:
            try:
                self.convert_row(legacy_id, row)
            except RowRejectedError as error:
                cells = values.row_as_json(row) | error.cells
                out.rejected.append(RejectedRow(self.table.name, legacy_id, error.reason, cells))
                continue
            if kept := self.cells_to_keep(row):
                self.keep(legacy_id, kept, "row" if self.placed is None else "rest")
            out.loaded += 1
        self.finish()
        return out

    def prepare(self, rows: Sequence[tuple[str, Row]]) -> None:
        """Look up what the conversion of these rows needs."""

    def convert_row(self, legacy_id: str, row: Row) -> None:
        """Add the row to the statements; raises RowRejectedError."""

    def finish(self) -> None:
        """Prepare the database for the statements."""

    def cells_to_keep(self, row: Row) -> dict[str, Any]:
        """Return the cells without a counterpart, as JSON."""
        placed = {*(self.placed or ()), *self.table.key}
        return values.row_as_json(
            row
            if self.placed is None
            else {name: cell for name, cell in row.items() if name not in placed and cell not in (None, b"", "")}
        )

    def keep(self, legacy_id: str, cells: Mapping[str, Any], kind: str = "rest") -> None:
        self.out.kept.append(KeptRow(self.table.name, legacy_id, kind, cells))

    def add(self, sql: str, **parameters: Any) -> None:
        self.out.statements.setdefault(sql, []).append(parameters)

    def repaired(self, kind: str) -> None:
        self.out.repairs[kind] += 1

    # --- cells ------------------------------------------------------------------------------------------------------

    def text(self, row: Row, name: str, width: int, default: str = "") -> str:
        """Return text cut to `width` characters."""
        text, repairs = values.text(row.get(name))
        self.out.repairs.update(repairs)
        text = text or default
        if len(text) > width:
            self.repaired("too long")
        return text[:width]

    def timestamp(self, row: Row, *names: str) -> datetime | None:
        """Return the first valid time of these columns."""
        for name in names:
            try:
                at = values.timestamp(row.get(name))
            except values.UnreadableError:
                continue
            if at is not None and values.in_range(at, self.now):
                if name != names[0]:
                    self.repaired("time missing")
                text = values.text(row.get(name))[0] or ""
                if not (len(text) == 19 and text[10] == " "):
                    self.repaired("timestamp")
                return at
        return None

    def flag(self, value: Any, *, default: bool) -> bool:
        try:
            result = values.boolean(value) == 1
        except values.UnreadableError:
            self.repaired("boolean")
            return default
        if not isinstance(value, int):
            self.repaired("boolean")
        return result

    def cents(self, value: Any) -> int:
        """Return money in cents, 0 for NULL; raises UnreadableError."""
        cents = values.cents(value)
        if isinstance(value, bytes | str) and cents is not None:
            self.repaired("money")
        return cents or 0


class CustomerRowConverter(RowConverter):
    """Rows that belong to a user."""

    _user_ids: dict[int, int]

    def prepare(self, rows: Sequence[tuple[str, Row]]) -> None:
        """Look up the users once."""
        if not hasattr(self, "_user_ids"):
            self._user_ids = dict(migrated_users())

    def owner(self, row: Row) -> int:
        """Return the Kamioi id of the row's user; rejects a row whose user was not migrated."""
        try:
            return self._user_ids[values.integer(row.get("user_id")) or 0]
        except (values.UnreadableError, KeyError) as error:
            raise RowRejectedError("user gone") from error


def migrated_users() -> list[tuple[int, int]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT legacy_id, user_id FROM legacy_ids WHERE source_table = 'users'")
        pairs: list[tuple[int, int]] = cursor.fetchall()
    return pairs


def ensure_ledger_months(out: ConversionResult, sql: str) -> None:
    """Create the partitions for the transfers of a statement."""
    dates = {datetime.fromisoformat(item["date"]) for item in out.statements.get(sql, ())}
    ensure_partitions(LedgerTransfer, {datetime(at.year, at.month, 1, tzinfo=UTC) for at in dates})


def record_set(columns: str) -> str:
    """Return the FROM clause that reads the JSON parameter `$1` as rows, from "name type, name type …"."""
    return f"FROM jsonb_to_recordset(($1::text)::jsonb) AS item ({columns})"


def insert_sql(table: str, columns: str) -> str:
    """Return an INSERT of the rows in the JSON parameter, from "name type, name type …"."""
    names = ", ".join(column.split()[0] for column in columns.split(", "))
    return f"INSERT INTO {table} ({names}) SELECT {names} {record_set(columns)}"
