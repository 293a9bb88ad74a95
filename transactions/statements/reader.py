"""Bank statements as banks write them, read row by row: CSV of any spelling, Excel, OFX and QFX.

This package uses neither the database nor Django. Its rules:

- **Rows are independent.** A bad row becomes a `RowError` that names the field and the reason; the other rows are read.
  Only a file that cannot be read at all raises `StatementError`.
- **Memory is flat** for a CSV of any length. OFX and Excel files are read whole and therefore limited to
  `OFX_MAX_BYTES` and `EXCEL_MAX_BYTES`.
- **Nothing that costs money is guessed.** An unreadable date never becomes today, a third decimal is never rounded, a
  foreign currency is never taken for dollars.
- **Positive is money spent**, negative is a refund or other money in. What decides, in this order: separate debit and
  credit columns; a column of words such as DEBIT and CREDIT; a `DR` or `CR` beside the amount; otherwise the sign of
  most of the first `SAMPLE_ROWS` rows is spending (checking accounts write purchases negative, card issuers such as
  Amex positive; on a tie, negative is spending). In OFX a negative TRNAMT is spending.
- **Dates** without a time are midnight UTC, times without a zone are UTC. 03/04/2025 is American, March 4th, unless the
  first rows prove that the day comes first. In OFX the day that the bank wrote counts.
- **Text** is trimmed (a reference also of the apostrophes that keep Excel from reading it as a number), NUL characters
  are dropped, a line break within a field becomes a blank, and text longer than the database column is cut: merchant
  255, description 500, category 100, reference 100 characters.
- **Row numbers** count as in a spreadsheet: from 1, including the header and everything above it. In OFX: the n-th
  STMTTRN.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import BinaryIO

from kamioi_site.imports.rows import RowError
from transactions.errors import StatementError
from transactions.statements.csv import CsvStatement
from transactions.statements.excel import is_workbook, sheets_as_csv
from transactions.statements.ofx import OfxStatement, is_ofx
from transactions.statements.text import encoding_of, text_chunks
from transactions.statements.values import StatementRow


@dataclass(frozen=True, slots=True)
class StatementPreview:
    """How a file was understood, and its first rows.

    `columns` maps our fields (date, merchant, amount, debit, credit, type …) to the bank's headings. `date_order` is
    "month first", "day first" or "year first". `spending` describes what counts as money spent.
    """

    columns: dict[str, str]
    encoding: str
    delimiter: str
    date_order: str
    spending: str
    rows: list[StatementRow]
    errors: list[RowError]


def parse_statement(
    file: BinaryIO, *, filename: str = "", today: date | None = None
) -> Iterator[StatementRow | RowError]:
    """Read a bank statement one row at a time.

    Args:
        file: binary and seekable; it is read from its start and left open.
        today: the UTC date that bounds future dates.

    Raises:
        StatementError: at once when the file cannot be understood; while reading only when a line has no end.
    """
    return _open(file, filename, today or datetime.now(UTC).date()).rows()


def preview(file: BinaryIO, *, filename: str = "", limit: int = 20, today: date | None = None) -> StatementPreview:
    """Return how `parse_statement` understands the file, and its first rows. Raises StatementError."""
    statement = _open(file, filename, today or datetime.now(UTC).date())
    items = list(itertools.islice(statement.rows(), limit))
    return StatementPreview(
        columns=statement.columns,
        encoding=statement.encoding,
        delimiter=statement.delimiter,
        date_order=statement.date_order,
        spending=statement.spending,
        rows=[item for item in items if isinstance(item, StatementRow)],
        errors=[item for item in items if isinstance(item, RowError)],
    )


def _open(file: BinaryIO, filename: str, today: date) -> CsvStatement | OfxStatement:
    """Detect the format by the content; the name only makes errors clearer."""
    try:
        if is_workbook(file):
            return _open_workbook(file, today)
        encoding = encoding_of(file)
        if is_ofx(next(text_chunks(file, encoding))):
            return OfxStatement(file, encoding, today)
        return CsvStatement(file, encoding, today)
    except StatementError as error:
        if filename:
            raise StatementError(f"{filename}: {error}") from None
        raise


def _open_workbook(file: BinaryIO, today: date) -> CsvStatement:
    """Return the first sheet that is a statement. Raises the error of the first sheet when none is."""
    first_error: StatementError | None = None
    for sheet in sheets_as_csv(file):
        try:
            return CsvStatement(sheet, "utf-8", today)
        except StatementError as error:
            first_error = first_error or error
    raise first_error or StatementError("The file is empty.")
