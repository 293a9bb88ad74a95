"""The delimiter, the header and the columns of a CSV file, from its first rows."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING, Final

from transactions.errors import StatementError
from transactions.statements.layout import (
    Layout,
    best_date_column,
    guess_layout,
    is_header,
    lists_securities,
    match_headings,
    rivals_of,
)
from transactions.statements.values import shorten

if TYPE_CHECKING:
    import _csv

HEADER_ROWS: Final = 40  # banks put account numbers and balances above the header
SAMPLE_ROWS: Final = 200  # rows that show the columns of a file without a header
CHUNK_ROWS: Final = 1_000
_MAX_SAMPLE: Final = 1_000_000  # characters
DELIMITERS: Final = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe", "^": "caret"}


def find_layout(sample: list[str], today: date) -> Layout:
    """Choose the delimiter and the header that fit the first rows best. Raises StatementError."""
    best, nearest = _find_header(sample)
    if best is not None:
        return best
    for delimiter in DELIMITERS:
        rows = [cells for _, cells in sample_records(sample, delimiter)[:SAMPLE_ROWS]]
        if layout := guess_layout(rows, delimiter, today):
            return layout
    seen = match_headings(nearest)
    if "date" in seen:
        raise StatementError(f"No amount, debit or credit column. Columns seen: {_join(nearest)}.")
    if seen:
        raise StatementError(f"No date column. Columns seen: {_join(nearest)}.")
    first = shorten(next(filter(None, map(str.strip, sample))))
    raise StatementError(f"No header found in the first {HEADER_ROWS} rows. First line: “{first}”.")


def _find_header(sample: list[str]) -> tuple[Layout | None, list[str]]:
    """Return the layout of the best header, and the row that is most like one. Raises StatementError."""
    best: Layout | None = None
    nearest: list[str] = []
    nearest_roles: dict[str, int] = {}
    for delimiter in DELIMITERS:
        records = sample_records(sample, delimiter)[:HEADER_ROWS]
        for number, (lines, cells) in enumerate(records, start=1):
            roles = match_headings(cells)
            if len(roles) > len(nearest_roles):
                nearest, nearest_roles = cells, roles
            if is_header(roles):
                if best is None or len(roles) > len(best.roles):
                    above = [above for _, above in records[: number - 1]]
                    best = Layout(delimiter, cells, roles, number, lines, above)
                break
    if best is not None:
        if lists_securities(best.headings):
            raise StatementError(
                "This file lists securities, not purchases. Download the statement of a bank account or card."
            )
        if not {"merchant", "description", "memo"} & best.roles.keys():
            raise StatementError(f"No merchant or description column. Columns seen: {_join(best.headings)}.")
        if "amount" in best.roles:
            best.rivals = rivals_of(best.headings, best.roles["amount"])
        rows = [cells for _, cells in sample_records(sample[best.header_lines :], best.delimiter)]
        best.roles["date"] = best_date_column(best, rows)
    return best, nearest


def sample_lines(lines: Iterator[str]) -> list[str]:
    """Return the first lines, enough to understand the file."""
    sample: list[str] = []
    size = 0
    for line in lines:
        sample.append(line)
        size += len(line)
        if len(sample) >= 2 * (HEADER_ROWS + SAMPLE_ROWS) or size > _MAX_SAMPLE:
            break
    return sample


def csv_reader(lines: Iterable[str], delimiter: str) -> "_csv.Reader":
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=True)


def sample_records(lines: list[str], delimiter: str) -> list[tuple[int, list[str]]]:
    """Return (lines read so far, cells) for each record of the sample, up to one that csv cannot read."""
    reader = csv_reader(lines, delimiter)
    records: list[tuple[int, list[str]]] = []
    try:
        for cells in reader:
            records.append((reader.line_num, [cell.strip() for cell in cells]))
    except csv.Error:
        pass
    return records


def record_chunks(records: "_csv.Reader") -> Iterator[list[list[str]]]:
    """Yield the records in lists; a record that csv cannot read is left out."""
    chunk: list[list[str]] = []
    while True:
        try:
            chunk = []
            for record in records:
                chunk.append(record)
                if len(chunk) == CHUNK_ROWS:
                    yield chunk
                    chunk = []
        except csv.Error:
            yield chunk
        else:
            yield chunk
            return


def _join(headings: Sequence[str]) -> str:
    names = [heading for heading in headings if heading]
    shown = ", ".join(shorten(name) for name in names[:20])
    return shown + (f" and {len(names) - 20} more" if len(names) > 20 else "")
