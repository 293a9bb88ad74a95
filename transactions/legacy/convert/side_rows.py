"""What a conversion stores beside the converted rows: rejected rows, and cells that have no column in Kamioi."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transactions.legacy.convert import values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transactions.legacy.convert.arrow_columns import Batch


@dataclass(frozen=True, slots=True)
class KeptRow:
    """Cells for `legacy_rows`: a whole row (kind 'row'), or the cells that Kamioi has no column for ('rest')."""

    table: str
    legacy_id: str
    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row for `migration_rejects`."""

    table: str
    legacy_id: str
    reason: str
    row: Mapping[str, Any]


def side_rows(batch: Batch, rows: Mapping[int, Mapping[str, Any]]) -> tuple[list[RejectedRow], list[KeptRow]]:
    """Return what a converted batch rejects and keeps, from whole rows by position."""
    name = batch.table.name
    rejected = [
        RejectedRow(name, str(batch.rowids[position]), reason, values.row_as_json(rows[position]))
        for position, reason in sorted(batch.rejects.items())
    ]
    kept = []
    for position in sorted(set(batch.keep) - set(batch.rejects)):
        row = rows[position]
        cells = {column: row[column] for column in batch.keep[position] if row[column] is not None}
        if cells:
            kept.append(KeptRow(name, str(batch.rowids[position]), "rest", values.row_as_json(cells)))
    return rejected, kept
