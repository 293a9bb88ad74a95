"""CSV statements of any spelling."""

import csv
import itertools
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from operator import itemgetter
from typing import TYPE_CHECKING, BinaryIO, Final, Literal

from kamioi_site.imports.rows import RowError
from transactions.errors import StatementError
from transactions.statements.columns import (
    CREDIT_WORDS,
    DEBIT_WORDS,
    TYPE_HEADINGS,
    guess_columns,
    has_money,
    heading_key,
    match_headings,
)
from transactions.statements.text import reject_binary, text_lines
from transactions.statements.values import (
    CATEGORY_LENGTH,
    DESCRIPTION_LENGTH,
    MERCHANT_LENGTH,
    RAW_LENGTH,
    REFERENCE_LENGTH,
    StatementRow,
    UnreadableFieldError,
    as_csv,
    is_day_first,
    parse_amount,
    parse_date,
    shorten,
    uses_decimal_comma,
)

if TYPE_CHECKING:
    import _csv

HEADER_ROWS: Final = 20  # banks put account numbers and balances above the header
SAMPLE_ROWS: Final = 200  # rows that decide the date order, the decimal mark and the sign of spending
_MAX_SAMPLE: Final = 1_000_000  # characters
_MAX_RECORD_LINES: Final = 30  # a quoted field over more lines is a quotation mark that is never closed
_CACHE_SIZE: Final = 20_000  # parsed dates and amounts; bounded, so that memory stays flat
_DELIMITERS: Final = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
_DOLLARS: Final = {"", "USD", "US$", "$", "US DOLLAR", "US DOLLARS"}


class _UnclosedQuoteError(Exception):
    """A record runs over more lines than a quoted field does."""


class _RecordLines:
    """Feeds the csv module line by line and keeps the lines of the current record, so that they can be read again."""

    def __init__(self, source: Iterator[str]) -> None:
        self.source = source
        self.again: deque[str] = deque()
        self.record: list[str] = []

    def __iter__(self) -> Iterator[str]:
        record, again = self.record, self.again
        while again:
            record.append(again.popleft())
            if len(record) > _MAX_RECORD_LINES:
                raise _UnclosedQuoteError
            yield record[-1]
        for line in self.source:
            record.append(line)
            if len(record) > _MAX_RECORD_LINES:
                raise _UnclosedQuoteError
            yield line

    def give_back(self) -> str:
        """Remove and return the first line of the record; the next reader reads the other lines again."""
        first, *others = self.record
        self.again.extendleft(reversed(others))
        self.record.clear()
        return first


@dataclass(frozen=True, slots=True)
class _SpendingRule:
    """Which amounts are money spent. Signs are +1 or -1 as in the sample, 0 where it shows none.

    `by` is "columns" (separate debit and credit), "type" (a word in each row) or "sign" (`debit` is the sign of
    spending).
    """

    by: Literal["columns", "type", "sign"]
    debit: int
    credit: int

    def of_debit(self, value: Decimal) -> Decimal:
        return value * self.debit if self.debit else abs(value)

    def of_credit(self, value: Decimal) -> Decimal:
        return -value * self.credit if self.credit else -abs(value)


class CsvStatement:
    """A CSV file, understood from its first rows: where the columns are and how dates and amounts are written."""

    def __init__(self, file: BinaryIO, encoding: str, today: date) -> None:
        self.file = file
        self.encoding = encoding
        self.today = today
        sample = _sample_lines(text_lines(file, encoding))
        reject_binary("".join(sample))
        if not any(map(str.strip, sample)):
            raise StatementError("The file is empty.")
        self._find_columns(sample)
        rows = [cells for _, cells in _sample_records(sample[self.header_lines :], self._delimiter) if any(cells)]
        self._learn_format([self._fit_width(row) for row in rows[:SAMPLE_ROWS] if not any(row[self.width :])])

    # For the preview.

    @property
    def columns(self) -> dict[str, str]:
        return {field: self.headings[position] for field, position in self.positions.items()}

    @property
    def delimiter(self) -> str:
        return _DELIMITERS[self._delimiter]

    @property
    def spending(self) -> str:
        if self._spending.by == "columns":
            return "the debit column is money spent, the credit column money in"
        if self._spending.by == "type":
            return f"“{self.headings[self.positions['type']]}” shows what is money spent"
        return f"{'positive' if self._spending.debit > 0 else 'negative'} amounts are money spent"

    # Understanding the file.

    def _find_columns(self, sample: list[str]) -> None:
        """Choose the delimiter and the header that fit the first rows best."""
        best: tuple[int, str, int, int, list[str], dict[str, int]] | None = None
        nearest: list[str] = []
        nearest_columns: dict[str, int] = {}
        for delimiter in _DELIMITERS:
            records = _sample_records(sample, delimiter)[:HEADER_ROWS]
            for number, (lines, cells) in enumerate(records, start=1):
                columns = match_headings(cells)
                if len(columns) > len(nearest_columns):
                    nearest, nearest_columns = cells, columns
                if "date" in columns and has_money(columns):
                    if best is None or len(columns) > best[0]:
                        best = (len(columns), delimiter, lines, number, cells, columns)
                    break
        if best is not None:
            _, self._delimiter, self.header_lines, self.header_row, self.headings, self.positions = best
            self.width = len(self.headings)
            if not {"merchant", "description"} & self.positions.keys():
                raise StatementError(f"No merchant or description column. Columns seen: {_join(self.headings)}.")
            return
        for delimiter in _DELIMITERS:
            rows = [cells for _, cells in _sample_records(sample, delimiter)[:HEADER_ROWS]]
            if positions := guess_columns(rows, self.today):
                self._delimiter, self.header_lines, self.header_row, self.positions = delimiter, 0, 0, positions
                self.width = max(map(len, rows))
                self.headings = [f"column {number}" for number in range(1, self.width + 1)]
                return
        if "date" in nearest_columns:
            raise StatementError(f"No amount, debit or credit column. Columns seen: {_join(nearest)}.")
        if nearest_columns:
            raise StatementError(f"No date column. Columns seen: {_join(nearest)}.")
        first = shorten(next(filter(None, map(str.strip, sample))))
        raise StatementError(f"No header found in the first {HEADER_ROWS} rows. First line: “{first}”.")

    def _learn_format(self, rows: list[list[str]]) -> None:
        """Determine the date order, the decimal mark and the sign of spending from the first rows."""
        dates = [row[self.positions["date"]] for row in rows]
        self.day_first = is_day_first(dates)
        iso = sum(re.match(r"[0-9]{4}", text) is not None for text in dates)
        self.date_order = "day first" if self.day_first else "year first" if 2 * iso > len(dates) else "month first"
        money = [self.positions[field] for field in ("amount", "debit", "credit") if field in self.positions]
        self.european = uses_decimal_comma(row[position] for row in rows for position in money)
        if "amount" not in self.positions:
            self._spending = _SpendingRule("columns", self._majority(rows, "debit"), self._majority(rows, "credit"))
            return
        self._spending = self._learn_from_type(rows) or _SpendingRule("sign", self._majority(rows, "amount") or -1, 0)
        if "category" not in self.positions and "type" not in self.positions:
            for position, heading in enumerate(self.headings):
                if heading_key(heading) in ("type", "transactiontype") and position not in self.positions.values():
                    self.positions["category"] = position
                    break

    def _learn_from_type(self, rows: list[list[str]]) -> _SpendingRule | None:
        """Use a column of words such as DEBIT and CREDIT, if there is one.

        Where the amounts are signed, the words only decide which sign is spending (so a reversed debit stays money in);
        where they are not, each row needs its word.
        """
        free = {
            heading_key(heading): position
            for position, heading in enumerate(self.headings)
            if position not in self.positions.values()
        }
        for heading in TYPE_HEADINGS:
            if heading not in free:
                continue
            position = free[heading]
            words = [row[position].lower() for row in rows if row[position]]
            known = [word for word in words if word in DEBIT_WORDS or word in CREDIT_WORDS]
            if not known or 2 * len(known) < len(words):
                continue
            debit = self._majority([row for row in rows if row[position].lower() in DEBIT_WORDS], "amount")
            credit = self._majority([row for row in rows if row[position].lower() in CREDIT_WORDS], "amount")
            if debit and credit and debit != credit:
                return _SpendingRule("sign", debit, 0)
            self.positions["type"] = position
            return _SpendingRule("type", debit, credit)
        return None

    def _majority(self, rows: list[list[str]], field: str) -> int:
        """Return the sign of most readable amounts without DR or CR, -1 on a tie, 0 without any amount."""
        signs: list[int] = []
        for row in rows if field in self.positions else ():
            try:
                value, marker = parse_amount(row[self.positions[field]], european=self.european)
            except UnreadableFieldError:
                continue
            if value and not marker:
                signs.append(1 if value > 0 else -1)
        if not signs:
            return 0
        return 1 if sum(signs) > 0 else -1

    # Reading the rows.

    def rows(self) -> Iterator[StatementRow | RowError]:
        """Yield every row of the file that is not blank."""
        lines = _RecordLines(itertools.islice(text_lines(self.file, self.encoding), self.header_lines, None))
        row_number = self.header_row
        record, width = lines.record, self.width
        read = self._row_reader()
        reader = _csv_reader(lines, self._delimiter)
        while True:
            try:
                for cells in reader:
                    row_number += 1
                    if len(record) > 1:
                        if self._contains_row(record, read):
                            raise _UnclosedQuoteError
                        cells = [" ".join(cell.split()) for cell in cells]  # noqa: PLW2901
                    record.clear()
                    if len(cells) != width:
                        if not any(cells):
                            continue
                        if any(cells[width:]):
                            reason = f"the row has {len(cells)} columns, the header {width}"
                            yield RowError(row_number, "row", reason, as_csv(cells))
                            continue
                        cells = self._fit_width(cells)  # noqa: PLW2901
                    try:
                        yield read(row_number, cells)
                    except UnreadableFieldError as error:
                        if any(map(str.strip, cells)):
                            yield RowError(row_number, error.field, error.reason, as_csv(cells))
            except (_UnclosedQuoteError, csv.Error) as error:
                # csv yields no record that it could not finish; a record that contains a row is counted already.
                if isinstance(error, csv.Error) or len(record) > _MAX_RECORD_LINES:
                    row_number += 1
                reason = (
                    "a quotation mark is opened and never closed"
                    if isinstance(error, _UnclosedQuoteError)
                    else f"the row cannot be split into columns: {error}"
                )
                yield RowError(row_number, "row", reason, lines.give_back().rstrip("\n")[:RAW_LENGTH])
                reader = _csv_reader(lines, self._delimiter)
            else:
                return

    def _fit_width(self, cells: list[str]) -> list[str]:
        """Return as many cells as the header has: banks omit empty ones at the end, or add a delimiter."""
        return cells[: self.width] + [""] * (self.width - len(cells))

    def _contains_row(self, record: list[str], read: Callable[[int, list[str]], StatementRow]) -> bool:
        """Whether a record over several lines contains a good row, so that its quotation mark is a stray one."""
        # Also without its quotation marks: the inner line may have a stray one itself.
        for line in itertools.chain.from_iterable((line, line.replace('"', "")) for line in record[1:]):
            try:
                cells: list[str] = next(_csv_reader([line], self._delimiter), [])
                if len(cells) == self.width:
                    read(0, cells)
                    return True
            except (UnreadableFieldError, csv.Error):
                continue
        return False

    def _row_reader(self) -> Callable[[int, list[str]], StatementRow]:
        """Return the function that parses one row, or raises UnreadableFieldError. A closure, for speed."""
        positions = self.positions
        date_at = positions["date"]
        merchant_at, description_at = positions.get("merchant", -1), positions.get("description", -1)
        category_at, reference_at = positions.get("category", -1), positions.get("reference", -1)
        currency_at = positions.get("currency", -1)
        money_cells, amount_from = self._money_reader()
        day_first, today = self.day_first, self.today
        dates: dict[str, datetime] = {}
        amounts: dict[str | tuple[str, ...], Decimal] = {}

        def read(row_number: int, cells: list[str]) -> StatementRow:
            text = cells[date_at]
            when = dates.get(text)
            if when is None:
                when = parse_date(text, day_first=day_first, today=today)
                if len(dates) >= _CACHE_SIZE:
                    dates.clear()
                dates[text] = when
            money = money_cells(cells)
            amount = amounts.get(money)
            if amount is None:
                amount = amount_from(money)
                if len(amounts) >= _CACHE_SIZE:
                    amounts.clear()
                amounts[money] = amount
            if currency_at >= 0 and cells[currency_at].strip().upper() not in _DOLLARS:
                raise UnreadableFieldError("currency", f"“{shorten(cells[currency_at].strip())}” is not US dollars")
            description = cells[description_at].strip() if description_at >= 0 else ""
            merchant = (cells[merchant_at].strip() if merchant_at >= 0 else "") or description
            if not merchant:
                raise UnreadableFieldError("merchant", "the merchant and the description are missing")
            return StatementRow(
                row_number,
                when,
                merchant[:MERCHANT_LENGTH],
                amount,
                cells[category_at].strip()[:CATEGORY_LENGTH] if category_at >= 0 else "",
                description[:DESCRIPTION_LENGTH],
                cells[reference_at].strip("' \t\n")[:REFERENCE_LENGTH] if reference_at >= 0 else "",
            )

        return read

    def _money_reader(
        self,
    ) -> tuple[Callable[[list[str]], str | tuple[str, ...]], Callable[[str | tuple[str, ...]], Decimal]]:
        """Return two functions: the cells that hold the money, and their amount, called once per distinct cells."""
        relevant = {"columns": ("debit", "credit"), "type": ("amount", "type"), "sign": ("amount",)}
        fields = [field for field in relevant[self._spending.by] if field in self.positions]

        def amount_from(cells: str | tuple[str, ...]) -> Decimal:
            texts = (cells,) if isinstance(cells, str) else cells
            money = dict(zip(fields, (text.strip() for text in texts), strict=True))
            if not any(money[field] for field in fields if field != "type"):
                raise UnreadableFieldError("amount", "the amount is missing")
            amount = self._from_columns(money) if self._spending.by == "columns" else self._from_amount(money)
            if not amount:
                raise UnreadableFieldError("amount", "the amount is zero")
            return amount

        return itemgetter(*(self.positions[field] for field in fields)), amount_from

    def _from_columns(self, money: dict[str, str]) -> Decimal:
        debit, _ = parse_amount(money.get("debit", ""), european=self.european)
        credit, _ = parse_amount(money.get("credit", ""), european=self.european)
        if debit and credit:
            raise UnreadableFieldError("amount", "both a debit and a credit")
        return self._spending.of_debit(debit) if debit else self._spending.of_credit(credit)

    def _from_amount(self, money: dict[str, str]) -> Decimal:
        value, marker = parse_amount(money["amount"], european=self.european)
        if marker:
            return abs(value) if marker == "DR" else -abs(value)
        if self._spending.by == "sign":
            return value * self._spending.debit
        word = money["type"].lower()
        if word in DEBIT_WORDS:
            return self._spending.of_debit(value)
        if word in CREDIT_WORDS:
            return self._spending.of_credit(value)
        # An unknown word. If spending is negative, the amounts are signed; if it is positive, only a minus is
        # conclusive.
        if self._spending.debit < 0:
            return -value
        if value < 0 <= self._spending.credit:
            return value
        reason = f"“{shorten(money['type'])}” does not say whether money was spent or received"
        raise UnreadableFieldError("type", reason)


def _sample_lines(lines: Iterator[str]) -> list[str]:
    """Return the first lines, enough to understand the file."""
    sample: list[str] = []
    size = 0
    for line in lines:
        sample.append(line)
        size += len(line)
        if len(sample) >= 2 * (HEADER_ROWS + SAMPLE_ROWS) or size > _MAX_SAMPLE:
            break
    return sample


def _csv_reader(lines: Iterable[str], delimiter: str) -> "_csv.Reader":
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=True)


def _sample_records(lines: list[str], delimiter: str) -> list[tuple[int, list[str]]]:
    """Return (lines read so far, cells) for each record of the sample, up to one that csv cannot read."""
    reader = _csv_reader(lines, delimiter)
    records: list[tuple[int, list[str]]] = []
    try:
        for cells in reader:
            records.append((reader.line_num, [cell.strip() for cell in cells]))
    except csv.Error:
        pass
    return records


def _join(headings: Sequence[str]) -> str:
    names = [heading for heading in headings if heading]
    shown = ", ".join(shorten(name) for name in names[:20])
    return shown + (f" and {len(names) - 20} more" if len(names) > 20 else "")
