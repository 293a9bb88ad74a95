"""What every legacy row must have become: the form in which each app describes its tables. Free of Django."""

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from transactions.legacy.validate.oracle_values import Row


@dataclass(frozen=True, slots=True)
class OracleContext:
    """What the expected rows depend on: Kamioi's user ids by legacy id, the last valid time, and the source."""

    users: Mapping[int, int]
    latest: int
    source: sqlite3.Connection


@dataclass(frozen=True, slots=True)
class OracleTable:
    """A bulk table.

    Args:
        name: the table, on both sides.
        expected: returns the expected cells by column, or the reason for which the row must be rejected.
        raw: columns that PostgreSQL returns as they are compared, separated by blanks.
        times: columns that are compared in microseconds since 1970.
        units: numeric columns by number of places, compared as whole units.
        month: the column that the totals are grouped by.
        extra: SQL over the source row `m` that `expected` finds as the cell `extra`.
        extra_table: the legacy table that `extra` reads; without it the cell is 0.
    """

    name: str
    expected: Callable[[Row, OracleContext], dict[str, Any] | str]
    raw: str
    times: str
    units: Mapping[int, str]
    month: str
    extra: str = "0"
    extra_table: str = ""

    @property
    def columns(self) -> dict[str, str]:
        """The SQL of each compared column."""
        columns = {name: name for name in self.raw.split()}
        columns |= {name: f"(extract(epoch FROM {name}) * 1000000)::bigint" for name in self.times.split()}
        for places, names in self.units.items():
            columns |= {name: f"({name} * {10**places})::bigint" for name in names.split()}
        return columns

    @property
    def money(self) -> dict[str, int]:
        """The position of each column in cents."""
        positions = {name: position for position, name in enumerate(self.columns)}
        return {name: positions[name] for name in self.units.get(2, "").split()}


@dataclass(frozen=True, slots=True)
class RowCheck:
    """One check of a table that is copied row by row.

    Args:
        sql: selects a key and the compared columns of the rows with the keys `%(keys)s`; `%(table)s` is the table.
        columns: the names of the columns after the key, separated by commas; empty for one JSON object.
        expected: returns the expected cells from the source row and the found cells, which are None for a missing row.
        key: returns the key from legacy id and row.
        total: a column in cents whose total is compared.
        counts: whether rows that this check finds are counted as migrated.
    """

    sql: str
    columns: str
    expected: Callable[[str, Row, dict[str, Any] | None, OracleContext], dict[str, Any]]
    key: Callable[[str, Row], Any] = lambda legacy_id, row: legacy_id
    total: str = ""
    counts: bool = True
