"""What every report shares: its two files, its month, and one snapshot of the database.

Each report is read in one snapshot, so its parts agree whatever is written meanwhile. Amounts are the ledger's own
decimals, never floats. Long lists are read in pages by key and written as they are read, so memory use does not grow
with their length.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import IO, Any

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from kamioi_site.db.replica import primary_reads
from kamioi_site.http.downloads import csv_line

ProgressCallback = Callable[[int], None]  # gets the number of rows written so far


@dataclass(frozen=True, slots=True)
class Files:
    """The files that a report is written to."""

    pdf: IO[bytes]
    csv: IO[str]

    def line(self, *cells: Any) -> None:
        """Write a line of the CSV; text that a spreadsheet would run as a formula is escaped."""
        self.csv.write(csv_line(cells))


def long_date(day: date) -> str:
    return f"{day:%B} {day.day}, {day.year}"


@contextmanager
def snapshot() -> Iterator[CursorWrapper]:
    """Read everything in the block from one snapshot of the primary."""
    is_nested = connection.in_atomic_block  # then the caller's transaction decides
    with primary_reads(), transaction.atomic(), connection.cursor() as cursor:
        if not is_nested:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield cursor
