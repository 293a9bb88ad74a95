"""The result of comparing one table: counts, differences, and totals by month. Free of Django."""

import zlib
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_MAX_DIFFERENCES: Final = 200  # stored per table; all are counted


@dataclass(frozen=True, slots=True)
class Difference:
    """One cell, or one whole row (`column` is empty), that is not what it should be."""

    table: str
    legacy_id: str
    column: str
    expected: str
    found: str

    def __str__(self) -> str:
        place = f"{self.table} {self.legacy_id}" + (f", {self.column}" if self.column else "")
        return f"{place}: expected {self.expected}; found {self.found}"


@dataclass(slots=True)
class MonthTotals:
    """The totals of one month: rows, cents by column, and a checksum over every column of every row."""

    rows: int = 0
    cents: Counter[str] = field(default_factory=Counter)
    checksum: int = 0

    def add(self, cells: tuple[Any, ...], money: Mapping[str, int]) -> None:
        """Count a row; `money` has the position of each money column."""
        self.rows += 1
        for name, position in money.items():
            self.cents[name] += cells[position]
        self.checksum = (self.checksum + zlib.crc32(repr(cells).encode())) & 0xFFFFFFFFFFFFFFFF

    def merge(self, other: "MonthTotals") -> None:
        self.rows += other.rows
        self.cents.update(other.cents)
        self.checksum = (self.checksum + other.checksum) & 0xFFFFFFFFFFFFFFFF


@dataclass(slots=True)
class TableComparison:
    """The comparison of one table; source = migrated + rejected when nothing was lost.

    `pending` counts rows that changed since the last sync, `ids` holds the legacy ids of all rows that differ.
    """

    name: str
    source: int = 0
    migrated: int = 0
    rejected: int = 0
    pending: int = 0
    different: int = 0
    differences: list[Difference] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    expected_months: dict[str, MonthTotals] = field(default_factory=lambda: defaultdict(MonthTotals))
    found_months: dict[str, MonthTotals] = field(default_factory=lambda: defaultdict(MonthTotals))

    @property
    def clean(self) -> bool:
        """Whether every compared row is what it should be, and none is missing."""
        return not self.different and (bool(self.pending) or self.source == self.migrated + self.rejected)

    def add_difference(self, legacy_id: object, column: str, expected: object, found: object) -> None:
        self.different += 1
        self.ids.add(str(legacy_id))
        if len(self.differences) < _MAX_DIFFERENCES:
            self.differences.append(
                Difference(self.name, str(legacy_id), column, _shortened(expected), _shortened(found))
            )

    def merge(self, other: "TableComparison") -> None:
        self.source += other.source
        self.migrated += other.migrated
        self.rejected += other.rejected
        self.pending += other.pending
        self.different += other.different
        self.ids |= other.ids
        self.differences += other.differences[: _MAX_DIFFERENCES - len(self.differences)]
        for mine, theirs in ((self.expected_months, other.expected_months), (self.found_months, other.found_months)):
            for month, totals in theirs.items():
                mine[month].merge(totals)

    def as_json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "migrated": self.migrated,
            "rejected": self.rejected,
            "changing": self.pending,
            "different": self.different,
            "differences": [str(difference) for difference in self.differences[:50]],
            "months": {
                month: {
                    "rows": totals.rows,
                    "cents": dict(totals.cents),
                    "checksum": f"{totals.checksum:016x}",
                    "same": totals == self.found_months.get(month),
                }
                for month, totals in sorted(self.expected_months.items())
            },
        }


def _shortened(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
