"""The rules for whole columns: a range of rows as Arrow columns in, columns for PostgreSQL out.

Clean cells never become Python objects. A row in which SQLite stores a cell under another type than its column (text in
a number, a number in a text) is read through `sqlite3` and converted cell by cell with `values`; so is a cell that
the column's own conversion leaves over. The `Batch` collects repair counts, cells to keep and rows to reject.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transactions.legacy.convert import rules, values
from transactions.legacy.source.snapshot import Snapshot
from transactions.legacy.source.sqlite_file import LegacyTable, quoted

Kind = Literal["text", "time", "real", "int", "bool"]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

ARROW_TYPES: Final = {
    "text": pa.string(),
    "time": pa.string(),
    "real": pa.float64(),
    "int": pa.int64(),
    "bool": pa.int64(),
}
# SQLite's storage classes that a column of each kind reads as they are.
_STORAGE_CLASSES: Final[dict[str, str]] = {
    "text": "('text', 'null')",
    "time": "('text', 'null')",
    "real": "('real', 'integer', 'null')",
    "int": "('integer', 'null')",
    "bool": "('integer', 'null')",
}
_MAX_UNITS: Final = 9 * 10**18  # fits 64 bits, with room to round


@dataclass(frozen=True, slots=True)
class Layout:
    """The known columns of a table that is read by columns, with their kinds.

    `extra` maps a column that has no counterpart in Kamioi to a function that finds the rows in which it holds more
    than the others. Any other column of the file is unknown: all its values are kept.
    """

    name: str
    kinds: Mapping[str, Kind]
    extra: Mapping[str, Callable[["Batch"], Mask]]

    @property
    def schema(self) -> pa.Schema:
        """The Arrow types of the known columns."""
        return pa.schema([(name, ARROW_TYPES[kind]) for name, kind in self.kinds.items()])

    def split(self, table: LegacyTable) -> tuple[dict[str, Kind], list[str]]:
        """Return the known columns that this file has, and the unknown ones."""
        known = {name: kind for name, kind in self.kinds.items() if name in table.columns}
        return known, [name for name in table.columns if name not in self.kinds]


def kinds(**names: str) -> dict[str, Kind]:
    """Return the kinds by column, from blank-separated names by kind."""
    return {name: kind for kind, listed in names.items() for name in listed.split()}  # type: ignore[misc]


@dataclass(slots=True)
class Batch:
    """A range of rows in conversion: columns by name, and what was noted about single rows, by position.

    `unread` holds the cells that are NULL in `data` because their column could not hold them.
    """

    table: LegacyTable
    data: pa.Table
    rowids: Ints
    repairs: Counter[str] = field(default_factory=Counter)
    rejects: dict[int, str] = field(default_factory=dict)
    keep: defaultdict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    unread: defaultdict[str, dict[int, Any]] = field(default_factory=lambda: defaultdict(dict))

    def __len__(self) -> int:
        return len(self.rowids)

    def repaired(self, kind: str, where: Mask, *keep: str) -> None:
        positions = np.flatnonzero(where)
        self.repairs[kind] += len(positions)
        self.keep_cells(positions, *keep)

    def keep_cells(self, positions: Ints, *columns: str) -> None:
        """Keep the originals of these columns, where the file has them."""
        names = set(columns) & set(self.table.columns)
        if names:
            for position in positions.tolist():
                self.keep[position] |= names

    def reject(self, reason: str, where: Mask) -> None:
        for position in np.flatnonzero(where).tolist():
            self.rejects.setdefault(position, reason)

    def accepted(self, columns: dict[str, pa.Array]) -> pa.Table:
        """Return the converted columns without the rejected rows."""
        table = pa.table(columns)
        if not self.rejects:
            return table
        mask = np.ones(len(self), np.bool_)
        mask[list(self.rejects)] = False
        return table.filter(pa.array(mask))

    def column(self, name: str) -> pa.Array:
        chunks = self.data.column(name)
        return chunks.combine_chunks() if isinstance(chunks, pa.ChunkedArray) else chunks

    # --- one conversion per kind ------------------------------------------------------------------------------------

    def texts(self, name: str, width: int | None = None) -> pa.Array:
        """Return text that PostgreSQL can store, NULL where the source is NULL, cut to `width` characters."""
        column = self._decoded(name)
        if width is None:
            return column
        long = pc.fill_null(pc.greater(pc.utf8_length(column), width), False)
        if pc.any(long).as_py():
            self.repaired("too long", as_mask(long), name)
            column = pc.utf8_slice_codeunits(column, 0, width)
        return column

    def _decoded(self, name: str) -> pa.Array:
        column = self.column(name)
        if column.null_count == len(column):
            return pa.nulls(len(column), pa.string())
        raw = column.cast(pa.binary())
        bad: set[int] = set()
        try:
            raw.cast(pa.string())
        except pa.ArrowInvalid:
            bad = {i for i, cell in enumerate(raw) if cell.is_valid and not _is_utf8(cell.as_py())}
        nul = pc.fill_null(pc.match_substring(raw, b"\0"), False)
        if pc.any(nul).as_py():
            bad |= set(np.flatnonzero(as_mask(nul)).tolist())
        if not bad:
            return column
        cells = raw.to_pylist()
        for i in bad:
            cells[i], repairs = values.text(cells[i])
            self.repairs.update(repairs)
        fixed = pa.array([c.decode() if isinstance(c, bytes) else c for c in cells], pa.string())
        self.data = self.data.set_column(self.data.column_names.index(name), name, fixed)
        return fixed

    def filled(self, name: str, width: int, default: str = "") -> pa.Array:
        """Return text for a column that is NOT NULL."""
        return pc.fill_null(self.texts(name, width), default)

    def mapped(self, name: str, read: Callable[[str | None], Any]) -> list[Any]:
        """Apply `read` to the text of each cell, once per distinct text: for columns with few distinct values."""
        encoded = self._decoded(name).dictionary_encode()
        results = [read(text) for text in encoded.dictionary.to_pylist()]
        null_result = read(None)
        return [null_result if i is None else results[i] for i in encoded.indices.to_pylist()]

    def cents(self, name: str) -> tuple[Ints, Mask]:
        """Return (cents, NULL mask); binary noise is rounded half-even."""
        return self._scaled(name, 2, rules.MAX_CENTS, "money")

    def scaled(self, name: str, places: int) -> tuple[Ints, Mask]:
        """Return (units of 10^-places, NULL mask)."""
        return self._scaled(name, places, _MAX_UNITS if places > 4 else rules.MAX_CENTS, "number")

    def _scaled(self, name: str, places: int, limit: int, kind: str) -> tuple[Ints, Mask]:
        column = self.column(name)
        null = as_mask(column.is_null())
        numbers = pc.fill_null(column, 0.0).to_numpy(zero_copy_only=False)
        with np.errstate(invalid="ignore", over="ignore"):
            beyond = ~(np.abs(numbers) * 10.0**places <= limit) & ~null
        numbers = np.where(beyond, 0.0, numbers)
        units = half_even(numbers, places)
        if kind == "money":
            noisy = np.abs(numbers * 10.0**places - units) > 1e-9 * np.maximum(10.0**places, np.abs(numbers))
            self.repaired("money", noisy & ~null & ~beyond)
        self.repaired("number", beyond, name)
        return units, null | beyond

    def integers(self, name: str) -> tuple[Ints, Mask]:
        column = self.column(name)
        return pc.fill_null(column, 0).to_numpy(zero_copy_only=False), as_mask(column.is_null())

    def booleans(self, name: str) -> Ints:
        """Return 1, 0 or -1; NULL and invalid values are 0 and counted."""
        if name not in self.table.columns:
            return np.zeros(len(self), np.int64)
        numbers, null = self.integers(name)
        invalid = null | (np.abs(numbers) > 1)
        for position in self.unread[name]:  # text, counted when it was read
            invalid[position] = False
        self.repaired("boolean", invalid)
        return np.where(invalid, 0, numbers)

    def timestamps(self, name: str) -> tuple[Ints, Mask]:
        """Return (microseconds since 1970, mask of NULL and unreadable times)."""
        column = self._decoded(name)
        if column.null_count == len(column):
            return np.zeros(len(self), np.int64), np.ones(len(self), np.bool_)
        read = pc.strptime(column, format="%Y-%m-%d %H:%M:%S", unit="us", error_is_null=True)
        null = as_mask(read.is_null())
        micros = np.array(pc.fill_null(read.cast(pa.int64()), 0).to_numpy(zero_copy_only=False))
        left = np.flatnonzero(null & ~as_mask(column.is_null()))
        if not len(left):
            return micros, null
        seen: dict[str, int | None] = {}
        unreadable = np.zeros(len(self), np.bool_)
        for position, cell in zip(left.tolist(), column.take(pa.array(left)).to_pylist(), strict=True):
            if cell not in seen:
                seen[cell] = _micros(cell)
            if (at := seen[cell]) is None:
                unreadable[position] = bool(cell.strip())
            else:
                micros[position], null[position] = at, False
                self.repairs["timestamp"] += 1
        self.repaired("time missing", unreadable, name)
        return micros, null


def half_even(numbers: npt.NDArray[np.float64], places: int) -> Ints:
    """Return units of 10^-places; a tie, as the number is written (1.015, not 1.01499999), goes to the even one."""
    scaled = numbers * 10.0**places
    size = np.abs(scaled)
    uncertain = (np.abs(size - np.floor(size) - 0.5) <= 1e-9 * np.maximum(1.0, size)) | (size > 2.0**50)
    units = np.rint(scaled).astype(np.int64)
    for position in np.flatnonzero(uncertain).tolist():
        written = Decimal(repr(float(numbers[position]))).scaleb(places)
        units[position] = int(written.to_integral_value(ROUND_HALF_EVEN))
    return units


def _micros(cell: str) -> int | None:
    try:
        at = values.timestamp(cell)
    except values.UnreadableError:
        return None
    if at is None:
        return None
    delta = at - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86400 + delta.seconds) * 1_000_000 + delta.microseconds


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def as_mask(array: Any) -> Mask:
    return array.to_numpy(zero_copy_only=False)


# --- reading --------------------------------------------------------------------------------------------------------


def batch_of_rows(table: LegacyTable, layout: Layout, rows: Sequence[tuple[int, dict[str, Any]]]) -> Batch:
    """Return a batch of (row number, cells by name), converted cell by cell: for few rows."""
    batch = Batch(table, layout.schema.empty_table(), np.zeros(0, np.int64))
    if rows:
        _append_rows(batch, layout, rows)
    return batch


def read_batch(snapshot: Snapshot, layout: Layout, low: int, high: int) -> Batch:
    """Return the rows with `low` < rowid ≤ `high`, in no particular order; columns that the source lacks are NULL."""
    table = snapshot.tables[layout.name]
    known, unknown = layout.split(table)
    columns = ", ".join(
        f"CAST({quoted(name)} AS REAL) AS {quoted(name)}" if kind == "real" else quoted(name)
        for name, kind in known.items()
    )
    has_more = " OR ".join(f"{quoted(name)} IS NOT NULL" for name in unknown) or "0"
    clean = " AND ".join(f"typeof({quoted(name)}) IN {_STORAGE_CLASSES[kind]}" for name, kind in known.items())
    data = snapshot.columns(
        f'SELECT rowid AS "row id", ({has_more}) AS "has more", {columns} FROM {quoted(table.name)} '
        f"WHERE rowid > {low:d} AND rowid <= {high:d} AND {clean}"
    )
    rowids = data.column("row id").to_numpy() if data.num_rows else np.zeros(0, np.int64)
    schema = layout.schema
    arrays = [
        _typed(data.column(name), schema.field(name).type)
        if name in known
        else pa.nulls(data.num_rows, schema.field(name).type)
        for name in schema.names
    ]
    batch = Batch(table, pa.Table.from_arrays(arrays, schema=schema), np.asarray(rowids, np.int64))
    if data.num_rows:
        batch.keep_cells(np.flatnonzero(pc.fill_null(data.column("has more"), 0).to_numpy()), *unknown)
    if len(batch) < high - low:
        absent = np.setdiff1d(np.arange(low + 1, high + 1), batch.rowids)
        if rows := snapshot.rows_by_id(table, absent.tolist()):
            _append_rows(batch, layout, rows)
    return batch


def _typed(column: pa.ChunkedArray, arrow_type: pa.DataType) -> pa.Array:
    array = column.combine_chunks()
    if array.type == arrow_type:
        return array
    # ADBC types a column without values as int64.
    return pa.nulls(len(array), arrow_type) if array.null_count == len(array) else array.cast(arrow_type)


def _append_rows(batch: Batch, layout: Layout, rows: Sequence[tuple[int, dict[str, Any]]]) -> None:
    """Convert single rows cell by cell and append them to the batch."""
    known, unknown = layout.split(batch.table)
    cells: dict[str, list[Any]] = {name: [] for name in layout.kinds}
    for position, (_, row) in enumerate(rows, len(batch)):
        for name in layout.kinds:
            cells[name].append(_cell(batch, position, name, known[name], row[name]) if name in known else None)
        if any(row[name] is not None for name in unknown):
            batch.keep[position].update(unknown)
    tail = pa.table({name: pa.array(cells[name], ARROW_TYPES[kind]) for name, kind in layout.kinds.items()})
    batch.data = pa.concat_tables([batch.data, tail]).combine_chunks()
    batch.rowids = np.concatenate([batch.rowids, np.array([rowid for rowid, _ in rows], np.int64)])


def _cell(batch: Batch, position: int, name: str, kind: Kind, value: Any) -> Any:
    """Return the cell as its column holds it; an unreadable one is None, counted and kept."""
    if value is None:
        return None
    if kind == "text" or (kind == "time" and isinstance(value, bytes)):
        text, repairs = values.text(value)
        batch.repairs.update(repairs)
        return text
    if kind == "time":
        return str(value)  # a Unix number, which `timestamps` converts
    if kind == "real" and not isinstance(value, bytes):
        return float(value)
    if kind in ("int", "bool") and isinstance(value, int):
        return value
    batch.unread[name][position] = value
    read: Callable[[Any], Any] = {"bool": values.boolean, "real": values.number}.get(kind, values.integer)
    try:
        result = read(value)
    except values.UnreadableError:
        batch.keep[position].add(name)
        batch.repairs["boolean" if kind == "bool" else "number"] += 1
        return None
    batch.repairs[{"bool": "boolean", "real": "money"}.get(kind, "number")] += 1
    return result


# --- writing --------------------------------------------------------------------------------------------------------


def decimals(units: Ints, null: Mask | None, places: int, precision: int = 14) -> pa.Array:
    """Return numeric(precision, places) from whole units of 10^-places."""
    wide = np.empty((len(units), 2), np.int64)
    wide[:, 0] = units
    wide[:, 1] = units >> 63  # the sign
    validity = None if null is None else pa.array(~null).buffers()[1]
    return pa.Array.from_buffers(pa.decimal128(precision, places), len(units), [validity, pa.py_buffer(wide.tobytes())])


def timestamps(micros: Ints, null: Mask | None = None) -> pa.Array:
    """Return timestamptz from microseconds since 1970."""
    return pa.array(micros, pa.int64(), mask=null).cast(pa.timestamp("us", tz="UTC"))


def months_of(micros: Ints) -> list[tuple[int, int]]:
    """Return (year, month) of all the times, in order."""
    months = np.unique(micros.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64))
    return [(1970 + int(month) // 12, int(month) % 12 + 1) for month in months]
