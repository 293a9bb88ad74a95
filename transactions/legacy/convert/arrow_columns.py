"""The rules for whole columns: a range of rows as Arrow columns in, columns as PostgreSQL wants them out.

Clean cells never become Python objects. What SQLite keeps under another type than the rest of its column (text in a
number, a number in a text) comes as an odd row through `sqlite3` and is put right cell by cell with `rules`; so does a
cell that the column's own reading leaves over. Counts of repairs, cells to keep and rows to reject gather in the `Batch`.
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

from transactions.legacy.convert import rules
from transactions.legacy.source.snapshot import LegacyTable, Snapshot, quoted

type_of = {"text": pa.string(), "time": pa.string(), "real": pa.float64(), "int": pa.int64(), "bool": pa.int64()}
Kind = Literal["text", "time", "real", "int", "bool"]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_ALLOWED: Final[dict[str, str]] = {
    "text": "('text', 'null')",
    "time": "('text', 'null')",
    "real": "('real', 'integer', 'null')",
    "int": "('integer', 'null')",
    "bool": "('integer', 'null')",
}
# What fits 64 bits, with room to round.
_LARGEST: Final = 9 * 10**18


@dataclass(frozen=True, slots=True)
class Layout:
    """What is known of a table that is read by columns: the kind of each column, and those that have no home of their own.

    `rest` maps a column without a home to the question (over the Arrow columns) whether it says more than the others.
    Every column that stands in neither is unknown: whatever is in it is kept.
    """

    name: str
    kinds: Mapping[str, Kind]
    rest: Mapping[str, Callable[["Batch"], Mask]]


@dataclass(slots=True)
class Batch:
    """A range of rows on its way: columns by name, and what was found out about single rows (by position)."""

    table: LegacyTable
    data: pa.Table
    rowids: Ints
    repairs: Counter[str] = field(default_factory=Counter)
    rejects: dict[int, str] = field(default_factory=dict)
    keep: defaultdict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    unread: defaultdict[str, dict[int, Any]] = field(default_factory=lambda: defaultdict(dict))
    """Cells that are NULL in `data` because their column could not hold them: {column: {position: original}}."""

    def __len__(self) -> int:
        return len(self.rowids)

    def repaired(self, kind: str, where: Mask, *keep: str) -> None:
        """Count a repair of these rows, and keep the originals of the named columns."""
        positions = np.flatnonzero(where)
        if not len(positions):
            return
        self.repairs[kind] += len(positions)
        for column in keep:
            if column in self.table.columns:
                for position in positions.tolist():
                    self.keep[position].add(column)

    def reject(self, reason: str, where: Mask) -> None:
        """Reject these rows; the first reason stands."""
        for position in np.flatnonzero(where).tolist():
            self.rejects.setdefault(position, reason)

    def column(self, name: str) -> pa.Array:
        """A source column as it was read."""
        chunks = self.data.column(name)
        return chunks.combine_chunks() if isinstance(chunks, pa.ChunkedArray) else chunks

    def none(self, name: str) -> Mask:
        """Where the column is NULL."""
        return self.column(name).is_null().to_numpy(zero_copy_only=False)

    # --- one reading per kind ---------------------------------------------------------------------------------------

    def texts(self, name: str, width: int | None = None) -> pa.Array:
        """Text as PostgreSQL can store it, NULL where the source has NULL, cut to `width` characters."""
        column = self._clean(name)
        if width is None:
            return column
        long = pc.fill_null(pc.greater(pc.utf8_length(column), width), False)
        if pc.any(long).as_py():
            self.repaired("too long", _mask(long), name)
            column = pc.utf8_slice_codeunits(column, 0, width)
        return column

    def _clean(self, name: str) -> pa.Array:
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
            bad |= set(np.flatnonzero(_mask(nul)).tolist())
        if not bad:
            return column
        cells = raw.to_pylist()
        for i in bad:
            cells[i], kinds = rules.text(cells[i])
            self.repairs.update(kinds)
        fixed = pa.array([c.decode() if isinstance(c, bytes) else c for c in cells], pa.string())
        self.data = self.data.set_column(self.data.column_names.index(name), name, fixed)
        return fixed

    def filled(self, name: str, width: int, default: str = "") -> pa.Array:
        """Text that may not be NULL."""
        return pc.fill_null(self.texts(name, width), default)

    def words(self, name: str, read: Callable[[str | None], Any]) -> list[Any]:
        """`read` of each cell's text, worked out once per distinct text. For columns with few distinct ones."""
        encoded = self._clean(name).dictionary_encode()
        readings = [read(word) for word in encoded.dictionary.to_pylist()]
        nothing = read(None)
        return [nothing if i is None else readings[i] for i in encoded.indices.to_pylist()]

    def cents(self, name: str) -> tuple[Ints, Mask]:
        """(cents, where there is none). Binary noise is rounded half-even."""
        return self._scaled(name, 2, rules.MAX_CENTS, "money")

    def _scaled(self, name: str, places: int, limit: int, kind: str) -> tuple[Ints, Mask]:
        column = self.column(name)
        none = _mask(column.is_null())
        values = pc.fill_null(column, 0.0).to_numpy(zero_copy_only=False)
        with np.errstate(invalid="ignore", over="ignore"):
            beyond = ~(np.abs(values) * 10.0**places <= limit) & ~none
        values = np.where(beyond, 0.0, values)
        whole = half_even(values, places)
        if kind == "money":
            noisy = np.abs(values * 10.0**places - whole) > 1e-9 * np.maximum(10.0**places, np.abs(values))
            self.repaired("money", noisy & ~none & ~beyond)
        self.repaired("number", beyond, name)
        return whole, none | beyond

    def scaled(self, name: str, places: int) -> tuple[Ints, Mask]:
        """(units of 10^-places, where there is none)."""
        return self._scaled(name, places, _LARGEST if places > 4 else rules.MAX_CENTS, "number")

    def integers(self, name: str) -> tuple[Ints, Mask]:
        """(whole numbers, where there is none)."""
        column = self.column(name)
        return pc.fill_null(column, 0).to_numpy(zero_copy_only=False), _mask(column.is_null())

    def booleans(self, name: str) -> Ints:
        """1, 0 or -1; NULL and nonsense are 0 and counted."""
        if name not in self.table.columns:
            return np.zeros(len(self), np.int64)
        values, none = self.integers(name)
        odd = none | (np.abs(values) > 1)
        # What was text has been read and counted already.
        for position in self.unread[name]:
            odd[position] = False
        self.repaired("boolean", odd)
        return np.where(odd, 0, values)

    def moments(self, name: str) -> tuple[Ints, Mask]:
        """(microseconds since 1970, where there is none or none that can be read)."""
        column = self._clean(name)
        if column.null_count == len(column):
            return np.zeros(len(self), np.int64), np.ones(len(self), np.bool_)
        read = pc.strptime(column, format="%Y-%m-%d %H:%M:%S", unit="us", error_is_null=True)
        none = _mask(read.is_null())
        values = np.array(pc.fill_null(read.cast(pa.int64()), 0).to_numpy(zero_copy_only=False))
        left = none & ~_mask(column.is_null())
        if left.any():
            self._moments_left(name, column, values, none, left)
        return values, none

    def _moments_left(self, name: str, column: pa.Array, values: Ints, none: Mask, left: Mask) -> None:
        positions = np.flatnonzero(left)
        seen: dict[str, int | None] = {}
        read_count = 0
        unreadable = np.zeros(len(self), np.bool_)
        for position, cell in zip(positions.tolist(), column.take(pa.array(positions)).to_pylist(), strict=True):
            if cell not in seen:
                seen[cell] = _micros(cell)
            if (micros := seen[cell]) is None:
                unreadable[position] = bool(cell.strip())
            else:
                values[position], none[position] = micros, False
                read_count += 1
        self.repairs["timestamp"] += read_count
        self.repaired("time missing", unreadable, name)


def half_even(values: npt.NDArray[np.float64], places: int) -> Ints:
    """Units of 10^-places, ties to the even one as the numbers are written (1.015 is a tie, 1.0149999999999999 is not one)."""
    scaled = values * 10.0**places
    whole = np.rint(scaled)
    size = np.abs(scaled)
    unsure = (np.abs(size - np.floor(size) - 0.5) <= 1e-9 * np.maximum(1.0, size)) | (size > 2.0**50)
    found = whole.astype(np.int64)
    for position in np.flatnonzero(unsure).tolist():
        written = Decimal(repr(float(values[position]))).scaleb(places)
        found[position] = int(written.to_integral_value(ROUND_HALF_EVEN))
    return found


def _micros(cell: str) -> int | None:
    try:
        at = rules.moment(cell)
    except rules.UnreadableError:
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


def _mask(array: Any) -> Mask:
    return array.to_numpy(zero_copy_only=False)


def batch_of_rows(table: LegacyTable, layout: Layout, rows: Sequence[tuple[int, dict[str, Any]]]) -> Batch:
    """A batch of single rows (row number, cells by name), each cell put right by itself. For few rows."""
    known = {name: kind for name, kind in layout.kinds.items() if name in table.columns}
    unknown = [name for name in table.columns if name not in layout.kinds]
    schema = pa.schema([(name, type_of[kind]) for name, kind in layout.kinds.items()])
    batch = Batch(table, schema.empty_table(), np.zeros(0, np.int64))
    if rows:
        _append_odd(batch, layout, known, unknown, rows)
    return batch


# --- reading --------------------------------------------------------------------------------------------------------


def read_batch(snapshot: Snapshot, layout: Layout, low: int, high: int) -> Batch:
    """The rows with `low` < rowid ≤ `high`, in no particular order; columns that the source lacks are NULL."""
    table = snapshot.tables[layout.name]
    known = {name: kind for name, kind in layout.kinds.items() if name in table.columns}
    unknown = [name for name in table.columns if name not in layout.kinds]
    selected = ", ".join(
        f"CAST({quoted(name)} AS REAL) AS {quoted(name)}" if kind == "real" else quoted(name)
        for name, kind in known.items()
    )
    more = " OR ".join(f"{quoted(name)} IS NOT NULL" for name in unknown) or "0"
    even = " AND ".join(f"typeof({quoted(name)}) IN {_ALLOWED[kind]}" for name, kind in known.items())
    data = snapshot.columns(
        f'SELECT rowid AS "row id", ({more}) AS "has more", {selected} FROM {quoted(table.name)} '
        f"WHERE rowid > {low:d} AND rowid <= {high:d} AND {even}"
    )
    rowids = data.column("row id").to_numpy() if data.num_rows else np.zeros(0, np.int64)
    schema = pa.schema([(name, type_of[kind]) for name, kind in layout.kinds.items()])
    arrays = [
        _typed(data.column(name), schema.field(name).type)
        if name in known
        else pa.nulls(data.num_rows, schema.field(name).type)
        for name in schema.names
    ]
    batch = Batch(table, pa.Table.from_arrays(arrays, schema=schema), np.asarray(rowids, np.int64))
    has_more: Any = np.flatnonzero(pc.fill_null(data.column("has more"), 0).to_numpy()) if data.num_rows else []
    for position in has_more:
        batch.keep[int(position)].update(unknown)
    if len(batch) < high - low:
        absent = np.setdiff1d(np.arange(low + 1, high + 1), batch.rowids)
        odd = snapshot.rows_by_id(table, absent.tolist())
        if odd:
            _append_odd(batch, layout, known, unknown, odd)
    return batch


def _typed(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.Array:
    array = column.combine_chunks()
    if array.type == wanted:
        return array
    # ADBC calls a column without values int64.
    return pa.nulls(len(array), wanted) if array.null_count == len(array) else array.cast(wanted)


def _append_odd(
    batch: Batch,
    layout: Layout,
    known: Mapping[str, Kind],
    unknown: Sequence[str],
    odd: Sequence[tuple[int, dict[str, Any]]],
) -> None:
    """Put odd rows right, cell by cell, and add them to the batch."""
    start = len(batch)
    cells: dict[str, list[Any]] = {name: [] for name in layout.kinds}
    for position, (_, row) in enumerate(odd, start):
        for name in layout.kinds:
            cells[name].append(_even(batch, position, name, known[name], row[name]) if name in known else None)
        if any(row[name] is not None for name in unknown):
            batch.keep[position].update(unknown)
    tail = pa.table({name: pa.array(cells[name], type_of[kind]) for name, kind in layout.kinds.items()})
    batch.data = pa.concat_tables([batch.data, tail]).combine_chunks()
    batch.rowids = np.concatenate([batch.rowids, np.array([rowid for rowid, _ in odd], np.int64)])


def _even(batch: Batch, position: int, name: str, kind: Kind, value: Any) -> Any:
    """The cell as its column holds it; what cannot be read is None, counted and kept."""
    if value is None:
        return None
    match kind:
        case "text":
            said, kinds = rules.text(value)
            batch.repairs.update(kinds)
            return said
        case "time":
            if isinstance(value, bytes):
                said, kinds = rules.text(value)
                batch.repairs.update(kinds)
                return said
            return str(value)  # a Unix number: `moments` reads it
        case "real" if not isinstance(value, bytes):
            return float(value)
        case "int" | "bool" if isinstance(value, int):
            return value
    batch.unread[name][position] = value
    try:
        if kind == "bool":
            found: Any = rules.boolean(value)
        else:
            found = rules.number(value) if kind == "real" else rules.integer(value)
    except rules.UnreadableError:
        batch.keep[position].add(name)
        batch.repairs["boolean" if kind == "bool" else "number"] += 1
        return None
    batch.repairs[{"bool": "boolean", "real": "money"}.get(kind, "number")] += 1
    return found


# --- writing --------------------------------------------------------------------------------------------------------


def decimals(units: Ints, none: Mask | None, places: int, precision: int = 14) -> pa.Array:
    """numeric(precision, places) from whole units of 10^-places."""
    wide = np.empty((len(units), 2), np.int64)
    wide[:, 0] = units
    wide[:, 1] = units >> 63  # the sign
    validity = None if none is None else pa.array(~none).buffers()[1]
    return pa.Array.from_buffers(pa.decimal128(precision, places), len(units), [validity, pa.py_buffer(wide.tobytes())])


def timestamps(micros: Ints, none: Mask | None = None) -> pa.Array:
    """timestamptz from microseconds since 1970."""
    return pa.array(micros, pa.int64(), mask=none).cast(pa.timestamp("us", tz="UTC"))


def months_of(micros: Ints) -> list[tuple[int, int]]:
    """(year, month) of all the times, in order."""
    months = np.unique(micros.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64))
    return [(1970 + int(month) // 12, int(month) % 12 + 1) for month in months]
