"""Tables that grow without end, from legacy columns to Kamioi's: the specification of one, and what they share.

A converter is pure: a `Batch` in, an Arrow table with the columns of the PostgreSQL table out. Rejected rows and cells
to keep are noted in the batch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kamioi_site.db.partitions import MonthlyPartitionedModel
from transactions.legacy.convert import rules, values
from transactions.legacy.convert.arrow_columns import Batch, Ints, Layout, Mask, as_mask
from transactions.legacy.source.snapshot import Snapshot
from transactions.rules.merchant_key import MAX_KEY_LENGTH, normalise_uncached

# `source` of rows that are history: nothing of them is booked or processed.
HISTORY: Final = "legacy"


class IdMap:
    """Legacy ids and their counterparts in Kamioi, looked up for whole columns."""

    def __init__(self, pairs: Sequence[tuple[int, int]]) -> None:
        ordered = np.array(sorted(pairs), np.int64).reshape(-1, 2)
        self._legacy, self._kamioi = ordered[:, 0].copy(), ordered[:, 1].copy()

    @classmethod
    def identity(cls, ids: Ints) -> Self:
        """Return a map of ids that stay the same, from ids in ascending order."""
        id_map = cls([])
        id_map._legacy = id_map._kamioi = ids
        return id_map

    @classmethod
    def of_table(cls, snapshot: Snapshot, table: str) -> Self:
        """Return the identity map of all row numbers of a table."""
        if table not in snapshot.tables or not snapshot.tables[table].has_rowid:
            return cls([])
        ids = snapshot.columns(f"SELECT rowid AS id FROM {table}").column("id")
        return cls.identity(np.sort(ids.to_numpy()) if len(ids) else np.zeros(0, np.int64))

    def pairs(self) -> list[tuple[int, int]]:
        return list(zip(self._legacy.tolist(), self._kamioi.tolist(), strict=True))

    def translate(self, legacy: Ints) -> tuple[Ints, Mask]:
        """Return (Kamioi ids, mask of ids that have none)."""
        if not len(self._legacy):
            return np.zeros(len(legacy), np.int64), np.ones(len(legacy), np.bool_)
        at = np.searchsorted(self._legacy, legacy)
        at[at == len(self._legacy)] = 0
        return self._kamioi[at], self._legacy[at] != legacy


class MerchantKeys:
    """Merchant keys of distinct descriptors; recent ones are cached, in bounded memory."""

    CACHE_SIZE: Final = 300_000

    def __init__(self) -> None:
        self._keys: dict[str, str] = {}

    def of(self, merchants: pa.Array) -> pa.Array:
        """Return the key of each merchant; each distinct text is normalised once."""
        encoded = merchants.dictionary_encode()
        keys, cached = [], self._keys
        for merchant in encoded.dictionary.to_pylist():
            key = cached.get(merchant)
            if key is None:
                if len(cached) >= self.CACHE_SIZE:
                    cached.clear()
                key = cached[merchant] = normalise_uncached(merchant)[:MAX_KEY_LENGTH]
            keys.append(key)
        return pa.array(keys, pa.string()).take(encoded.indices)


@dataclass(slots=True)
class ConversionContext:
    """What converters look up: users by legacy id, transactions of the file, merchant keys, and the current time.

    `transactions_of` returns the transactions that a batch may link to.
    """

    users: IdMap
    transactions_of: Callable[[Batch], IdMap]
    keys: MerchantKeys
    now: datetime


@dataclass(frozen=True, slots=True)
class BulkTable:
    """A table that is loaded by columns into monthly partitions of the table with the same name.

    `delete_sql` removes rows that were copied before (parameter: their ids) and returns them; `count_sql` counts the
    rows of the CTE `written` in the rollup's deltas, with `{sign}` before each number. `keys_sql` adds ("+") or removes
    ("-") the keys of these rows.
    """

    layout: Layout
    model: type[MonthlyPartitionedModel]
    convert: Callable[[Batch, ConversionContext], pa.Table]
    delete_sql: str
    count_sql: str
    becomes: str
    keys_sql: Mapping[str, str] = field(default_factory=dict)
    links: str = ""  # the column that holds the id of a transaction

    @property
    def name(self) -> str:
        return self.layout.name


# --- columns that several tables have ---------------------------------------------------------------------------------


def first_timestamp(batch: Batch, names: Sequence[str], now: datetime) -> tuple[Ints, Mask]:
    """Return the first valid time of the columns (micros, NULL mask); every use of a later column is counted."""
    micros, null = batch.timestamps(names[0])
    null |= ~_in_range(micros, now)
    for name in names[1:]:
        if not null.any() or name not in batch.table.columns:
            continue
        other, other_null = batch.timestamps(name)
        use = null & ~other_null & _in_range(other, now)
        micros[use], null[use] = other[use], False
        batch.repaired("time missing", use, names[0])
    return micros, null


def _in_range(micros: Ints, now: datetime) -> Mask:
    low, high = (int(at.timestamp() * 1_000_000) for at in (rules.EARLIEST, now + rules.MAX_FUTURE))
    return (micros >= low) & (micros <= high)


def tickers(batch: Batch, name: str) -> pa.Array:
    """Return tickers in upper case; pseudo-tickers and blanks are NULL and counted."""
    encoded = batch.texts(name).dictionary_encode()
    cells = encoded.dictionary.to_pylist()
    read = [values.ticker(cell) for cell in cells]
    changed = np.array([new != old for new, old in zip(read, cells, strict=True)] or [False])
    if changed.any():
        indices = pc.fill_null(encoded.indices, 0).to_numpy()
        repaired = changed[indices] & ~as_mask(encoded.indices.is_null())
        blank = np.array([not (cell or "").strip() for cell in cells])
        batch.repaired("ticker", repaired)
        batch.keep_cells(np.flatnonzero(repaired & ~blank[indices]), name)
    return pa.array(read, pa.string()).take(encoded.indices)


# --- columns without a counterpart ------------------------------------------------------------------------------------


def keep_extra(batch: Batch, layout: Layout) -> None:
    """Keep cells of columns without a counterpart where they hold something that the other columns do not."""
    for name, holds_more in layout.extra.items():
        if name in batch.table.columns:
            batch.keep_cells(np.flatnonzero(holds_more(batch)), name)


def differs_from(
    name: str, other: str, read: Callable[[pa.Array], pa.Array] = lambda column: column
) -> Callable[[Batch], Mask]:
    """Return a test for rows in which column `name` differs from column `other`."""

    def differs(batch: Batch) -> Mask:
        mine, theirs = batch.column(name), batch.column(other)
        mine = read(pc.if_else(pc.is_valid(mine), mine, theirs))
        return as_mask(pc.coalesce(pc.not_equal(mine, read(theirs)), pc.is_valid(mine)))

    return differs


def other_than(name: str, *usual: str | float) -> Callable[[Batch], Mask]:
    """Return a test for rows in which the column is not NULL, blank or one of the usual values."""

    def differs(batch: Batch) -> Mask:
        column = batch.column(name)
        if pa.types.is_string(column.type):
            column = column.cast(pa.binary())
            known = pa.array([str(text).encode() for text in (*usual, "")], pa.binary())
        else:
            known = pa.array(usual, column.type)
        return as_mask(pc.and_(pc.is_valid(column), pc.invert(pc.is_in(column, known))))

    return differs


def not_blank(names: str) -> dict[str, Callable[[Batch], Mask]]:
    """Return tests for rows in which these columns are not NULL or blank, by column."""
    return {name: other_than(name) for name in names.split()}


def both(*tests: Callable[[Batch], Mask]) -> Callable[[Batch], Mask]:
    """Return a test for rows that pass every one of the tests."""
    return lambda batch: np.logical_and.reduce([test(batch) for test in tests])


def lowered(column: pa.Array) -> pa.Array:
    """Return text in lower case without blanks; a column with undecodable bytes as it is."""
    try:
        return pc.ascii_lower(pc.ascii_trim_whitespace(column))
    except pa.ArrowInvalid:
        return column
