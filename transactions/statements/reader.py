"""Bank statements as banks write them, read row by row: CSV of any spelling, Excel, OFX and QFX.

This package uses neither the database nor Django. Its rules:

- **Rows are independent.** A bad row becomes a `RowError` that names the field and the reason; the other rows are read.
  Only a file that cannot be read at all raises `StatementError`.
- **Memory is flat** for a CSV of any length. OFX and Excel files are read whole and therefore limited to
  `OFX_MAX_BYTES` and `EXCEL_MAX_BYTES`.
- **Nothing that costs money is guessed.** The file is interpreted as a whole before a row is read (`survey`), by
  evidence (`evidence`). What stays ambiguous is a question, and no row is read until it is answered. An unreadable date
  never becomes today, a third decimal is never rounded, a foreign currency is never taken for dollars.
- **Positive is money spent**, negative is a refund or other money in.
- **Dates** are the bank's calendar days: a time keeps its day whatever its zone.
- **Text** is trimmed (a reference also of the apostrophes that keep Excel from reading it as a number), NUL characters
  are dropped, a line break within a field becomes a blank, and text longer than the database column is cut: merchant
  255, description 500, category 100, reference 100 characters.
- **Row numbers** count as in a spreadsheet: from 1, including the header and everything above it. In OFX: the n-th
  STMTTRN.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import BinaryIO

from kamioi_site.imports.rows import RowError
from transactions.errors import StatementError, StatementQuestionsError
from transactions.statements.csv import CsvStatement
from transactions.statements.evidence import Question
from transactions.statements.excel import is_workbook, sheets_as_csv
from transactions.statements.ofx import OfxStatement, is_ofx
from transactions.statements.survey import account_kind
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
    evidence: dict[str, list[str]]
    questions: list[Question]
    rows: list[StatementRow]
    errors: list[RowError]


def parse_statement(
    file: BinaryIO, *, filename: str = "", today: date | None = None, answers: Mapping[str, str] | None = None
) -> Iterator[StatementRow | RowError]:
    """Read a bank statement one row at a time.

    Args:
        file: binary and seekable; it is read from its start and left open.
        today: the UTC date that bounds future dates.
        answers: to questions that the file leaves open, by their keys.

    Raises:
        StatementQuestionsError: the file can be read in more than one way.
        StatementError: at once when the file cannot be understood; while reading only when a line has no end.
    """
    statement = _open(file, filename, today or datetime.now(UTC).date(), answers or {})
    if statement.questions:
        raise StatementQuestionsError(statement.questions, filename)
    return statement.rows()


def check_questions(file: BinaryIO, *, filename: str, answers: Mapping[str, str]) -> None:
    """Raise StatementQuestionsError for what the file leaves open, StatementError for a file that cannot be read."""
    questions = _open(file, filename, datetime.now(UTC).date(), answers).questions
    if questions:
        raise StatementQuestionsError(questions, filename)


def preview(
    file: BinaryIO,
    *,
    filename: str = "",
    limit: int = 20,
    today: date | None = None,
    answers: Mapping[str, str] | None = None,
) -> StatementPreview:
    """Return how `parse_statement` understands the file, and its first rows. Raises StatementError."""
    statement = _open(file, filename, today or datetime.now(UTC).date(), answers or {})
    items = list(itertools.islice(statement.rows(), limit))
    return StatementPreview(
        columns=statement.columns,
        encoding=statement.encoding,
        delimiter=statement.delimiter,
        date_order=statement.date_order,
        spending=statement.spending,
        evidence=statement.evidence,
        questions=statement.questions,
        rows=[item for item in items if isinstance(item, StatementRow)],
        errors=[item for item in items if isinstance(item, RowError)],
    )


class _Workbook:
    """The sheets of a workbook that are statements, read one after the other."""

    def __init__(self, sheets: list[CsvStatement]) -> None:
        first = sheets[0]
        self.sheets = sheets
        self.columns, self.encoding, self.delimiter = first.columns, first.encoding, first.delimiter
        self.date_order, self.spending, self.evidence = first.date_order, first.spending, first.evidence
        self.questions = list({question.key: question for sheet in sheets for question in sheet.questions}.values())

    def rows(self) -> Iterator[StatementRow | RowError]:
        """Yield every row of every sheet."""
        return itertools.chain.from_iterable(sheet.rows() for sheet in self.sheets)


def _open(
    file: BinaryIO, filename: str, today: date, answers: Mapping[str, str]
) -> CsvStatement | OfxStatement | _Workbook:
    """Detect the format by the content; the name only makes errors clearer."""
    try:
        if is_workbook(file):
            return _open_workbook(file, filename, today, answers)
        encoding = encoding_of(file)
        if is_ofx(next(text_chunks(file, encoding))):
            return OfxStatement(file, encoding, today)
        return CsvStatement(file, encoding, today, answers=answers, kind=account_kind(filename))
    except StatementError as error:
        if filename:
            raise StatementError(f"{filename}: {error}") from None
        raise


def _open_workbook(file: BinaryIO, filename: str, today: date, answers: Mapping[str, str]) -> _Workbook:
    """Return the sheets that are statements. Raises the error of the first sheet when none is."""
    first_error: StatementError | None = None
    statements = []
    for sheet in sheets_as_csv(file):
        try:
            statements.append(
                CsvStatement(sheet, "utf-8", today, answers=answers, kind=account_kind(filename), is_sheet=True)
            )
        except StatementError as error:
            first_error = first_error or error
    if not statements:
        raise first_error or StatementError("The file is empty.")
    return _Workbook(statements)
