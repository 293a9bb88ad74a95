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
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import BinaryIO, Final

from kamioi_site.imports.rows import RowError
from transactions.errors import StatementError, StatementQuestionsError
from transactions.statements.accounts import account_kind, account_of_text
from transactions.statements.csv import CsvStatement
from transactions.statements.evidence import Question
from transactions.statements.excel import is_workbook, sheets_as_csv
from transactions.statements.ofx import OfxStatement, is_ofx
from transactions.statements.text import encoding_of, text_chunks
from transactions.statements.values import StatementRow

Recall = Callable[[str], Mapping[str, str]]
_MAX_REASONS: Final = 20
_MAX_ACCOUNTS: Final = 20


@dataclass(slots=True)
class StatementSummary:
    """What the rows of a file add up to: dollars out and in, the first and the last day, and what is not invested.

    `purchases` are the rows that may be invested, `spent` their dollars and `set_aside` their round-ups and fees.
    `not_booked` counts the others by their class or by the reason of the rejection. `is_complete` is false where only
    the first rows were read.
    """

    rows: int = 0
    purchases: int = 0
    spent: Decimal = Decimal("0.00")
    set_aside: Decimal = Decimal("0.00")
    money_out: Decimal = Decimal("0.00")
    money_in: Decimal = Decimal("0.00")
    first_day: date | None = None
    last_day: date | None = None
    accounts: list[str] = field(default_factory=list)
    not_booked: dict[str, int] = field(default_factory=dict)
    is_complete: bool = True

    def add(self, item: StatementRow | RowError, set_aside: Callable[[Decimal], Decimal]) -> None:
        """Count one row; `set_aside` gives the round-up and the fee of a purchase of so many dollars."""
        self.rows += 1
        if isinstance(item, RowError):
            reason = re.sub("“[^”]*”", "…", item.reason)
            known = reason in self.not_booked or len(self.not_booked) < _MAX_REASONS
            self._skip(f"{item.field}: {reason}" if known else "other reasons")
            return
        day = item.date.date()
        self.first_day, self.last_day = min(day, self.first_day or day), max(day, self.last_day or day)
        if item.amount > 0:
            self.money_out += item.amount
        else:
            self.money_in -= item.amount
        if item.row_class:
            self._skip(item.row_class)
        elif item.amount > 0:
            self.purchases += 1
            self.spent += item.amount
            self.set_aside += set_aside(item.amount)

    def _skip(self, reason: str) -> None:
        self.not_booked[reason] = self.not_booked.get(reason, 0) + 1


@dataclass(frozen=True, slots=True)
class StatementPreview:
    """How a file was understood, what it adds up to, and its first rows.

    `columns` maps our fields (date, merchant, amount, debit, credit, type …) to the bank's headings. `date_order` is
    "month first", "day first" or "year first". `spending` describes what counts as money spent. With questions the
    summary is empty.
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
    summary: StatementSummary


def nothing_remembered(_layout: str) -> dict[str, str]:
    return {}


def open_statement(
    file: BinaryIO,
    *,
    filename: str = "",
    today: date | None = None,
    answers: Mapping[str, str] | None = None,
    recall: Recall = nothing_remembered,
) -> "Statement":
    """Interpret a bank statement; its `rows()` are read one at a time.

    Args:
        file: binary and seekable; it is read from its start and left open.
        today: the UTC date that bounds future dates.
        answers: to questions that the file leaves open, by their keys.
        recall: returns what was answered about earlier files with this layout.

    Raises:
        StatementQuestionsError: the file can be read in more than one way.
        StatementError: the file cannot be understood.
    """
    statement = _open(file, filename, today, answers, recall)
    if statement.questions:
        raise StatementQuestionsError(statement.questions, filename)
    return statement


def parse_statement(
    file: BinaryIO, *, filename: str = "", today: date | None = None, answers: Mapping[str, str] | None = None
) -> Iterator[StatementRow | RowError]:
    """Read a bank statement one row at a time, like `open_statement`.

    Raises StatementError at once, while reading only when a line has no end.
    """
    return open_statement(file, filename=filename, today=today, answers=answers).rows()


def preview(
    file: BinaryIO,
    *,
    filename: str = "",
    limit: int = 20,
    today: date | None = None,
    answers: Mapping[str, str] | None = None,
    recall: Recall = nothing_remembered,
    reject: Callable[[Iterable[StatementRow | RowError]], Iterator[StatementRow | RowError]] = iter,
    set_aside: Callable[[Decimal], Decimal] = lambda _: Decimal("0.00"),
    summary_rows: int | None = None,
) -> StatementPreview:
    """Return how the file is understood, its first rows, and what it adds up to.

    Args:
        reject: replaces rows that the import will not accept by their errors.
        set_aside: the round-up and the fee of a purchase of so many dollars.
        summary_rows: rows of the summary; all of them by default.

    Raises StatementError.
    """
    statement = _open(file, filename, today, answers, recall)
    items = reject(statement.rows())
    first = list(itertools.islice(items, limit))
    summary = StatementSummary()
    if not statement.questions:
        accounts = dict.fromkeys(map(str, statement.accounts.values()))
        for item in itertools.islice(itertools.chain(first, items), summary_rows):
            summary.add(item, set_aside)
            account = item.account if isinstance(item, StatementRow) else ""
            if account and account not in statement.accounts and len(accounts) < _MAX_ACCOUNTS:
                accounts[str(account_of_text(account))] = None
        summary.is_complete = next(items, None) is None
        summary.accounts = list(accounts)
    return StatementPreview(
        columns=statement.columns,
        encoding=statement.encoding,
        delimiter=statement.delimiter,
        date_order=statement.date_order,
        spending=statement.spending,
        evidence=statement.evidence,
        questions=statement.questions,
        rows=[item for item in first if isinstance(item, StatementRow)],
        errors=[item for item in first if isinstance(item, RowError)],
        summary=summary,
    )


class Workbook:
    """The sheets of a workbook that are statements, read one after the other."""

    has_unique_references = False

    def __init__(self, sheets: list[CsvStatement]) -> None:
        first = sheets[0]
        self.sheets = sheets
        self.columns, self.encoding, self.delimiter = first.columns, first.encoding, first.delimiter
        self.date_order, self.spending, self.evidence = first.date_order, first.spending, first.evidence
        self.layout_digest, self.accounts = first.layout_digest, first.accounts
        self.questions = list({question.key: question for sheet in sheets for question in sheet.questions}.values())

    def rows(self) -> Iterator[StatementRow | RowError]:
        """Yield every row of every sheet."""
        return itertools.chain.from_iterable(sheet.rows() for sheet in self.sheets)


Statement = CsvStatement | OfxStatement | Workbook


def _open(
    file: BinaryIO, filename: str, today: date | None, answers: Mapping[str, str] | None, recall: Recall
) -> Statement:
    """Detect the format by the content; the name only makes errors clearer."""
    today, answers = today or datetime.now(UTC).date(), answers or {}
    try:
        if is_workbook(file):
            return _open_workbook(file, filename, today, answers, recall)
        encoding = encoding_of(file)
        if is_ofx(next(text_chunks(file, encoding))):
            return OfxStatement(file, encoding, today)
        return CsvStatement(file, encoding, today, answers=answers, recall=recall, kind=account_kind(filename))
    except StatementError as error:
        if filename:
            raise StatementError(f"{filename}: {error}") from None
        raise


def _open_workbook(file: BinaryIO, filename: str, today: date, answers: Mapping[str, str], recall: Recall) -> Workbook:
    """Return the sheets that are statements. Raises the error of the first sheet when none is."""
    first_error: StatementError | None = None
    statements = []
    kind = account_kind(filename)
    for sheet in sheets_as_csv(file):
        try:
            statements.append(
                CsvStatement(sheet, "utf-8", today, answers=answers, recall=recall, kind=kind, is_sheet=True)
            )
        except StatementError as error:
            first_error = first_error or error
    if not statements:
        raise first_error or StatementError("The file is empty.")
    return Workbook(statements)
