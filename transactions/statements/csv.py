"""CSV statements of any spelling."""

import csv
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cache, partial
from operator import itemgetter
from typing import BinaryIO, Final

from kamioi_site.imports.rows import RowError
from transactions.errors import StatementError
from transactions.statements.accounts import AccountHint
from transactions.statements.csv_layout import DELIMITERS, csv_reader, find_layout, sample_lines
from transactions.statements.date_orders import DATE_ORDERS
from transactions.statements.evidence import Question
from transactions.statements.layout import (
    UNIQUE_REFERENCE_KEYS,
    direction_of,
    find_heading,
    fit_width,
    heading_key,
    is_header,
    match_headings,
    shifted_cell,
)
from transactions.statements.row_classes import (
    GENERIC_MERCHANTS,
    excluded_class,
    is_balance_line,
    is_unposted,
    unposted_reason,
)
from transactions.statements.survey import interpret
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
    clean_text,
    is_dollars,
    parse_amount,
    parse_date,
    shorten,
)

_MAX_RECORD_LINES: Final = 30  # a quoted field over more lines is a quotation mark that is never closed
_CACHE_SIZE: Final = 20_000  # parsed dates and amounts; bounded, so that memory stays flat
_TYPE_KEYS: Final = {"type", "transactiontype", "transtype", "trantype"}
ROLES: Final = (
    "date",
    "amount",
    "debit",
    "credit",
    "direction",
    "balance",
    "merchant",
    "description",
    "memo",
    "category",
    "reference",
    "currency",
    "status",
    "account",
)


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


class CsvStatement:
    """A CSV file, understood as a whole before a row is read: where the columns are and how they are written.

    Attributes:
        interpretation: how the rows are read, why, and the questions that have to be answered first.
    """

    def __init__(
        self,
        file: BinaryIO,
        encoding: str,
        today: date,
        *,
        answers: Mapping[str, str],
        recall: Callable[[str], Mapping[str, str]],
        kind: str = "",
        is_sheet: bool = False,
    ) -> None:
        self.is_sheet = is_sheet
        self.file = file
        self.encoding = encoding
        self.today = today
        sample = sample_lines(text_lines(file, encoding))
        reject_binary("".join(sample))
        if not any(map(str.strip, sample)):
            raise StatementError("The file is empty.")
        self.layout = find_layout(sample, today)
        self.layout_digest = self.layout.digest
        remembered = cache(partial(recall, self.layout_digest))  # most files leave nothing open
        is_open = bool(self.layout.rivals) or not self.layout.header_row
        self._answer_columns(
            answers.get("columns") or (self._remembered_columns(remembered().get("columns", "")) if is_open else "")
        )
        self.header_lines, self.header_row = self.layout.header_lines, self.layout.header_row
        self.headings, self.positions = self.layout.headings, self.layout.roles
        self.width, self._delimiter = self.layout.width, self.layout.delimiter
        records = csv_reader(itertools.islice(text_lines(file, encoding), self.header_lines, None), self._delimiter)
        self.interpretation = interpret(
            self.layout, records, today=today, answers=answers, remembered=remembered, kind=kind, is_sheet=is_sheet
        )
        self.european = self.interpretation.decimal_comma
        self._find_category()
        reference_at = self.positions.get("reference", -1)
        self.has_unique_references = (
            reference_at >= 0 and heading_key(self.headings[reference_at]) in UNIQUE_REFERENCE_KEYS
        )
        # Only the rows name their accounts.
        self.accounts: dict[str, AccountHint] = {}

    # For the preview.

    @property
    def questions(self) -> list[Question]:
        return self.interpretation.questions

    @property
    def evidence(self) -> dict[str, list[str]]:
        return self.interpretation.evidence

    @property
    def columns(self) -> dict[str, str]:
        return {field: self.headings[position] for field, position in self.positions.items()}

    @property
    def delimiter(self) -> str:
        return DELIMITERS[self._delimiter]

    @property
    def date_order(self) -> str:
        return DATE_ORDERS[self.interpretation.date_order]

    @property
    def spending(self) -> str:
        if self.interpretation.spending_by == "columns":
            return "the debit column is money spent, the credit column money in"
        if self.interpretation.spending_by == "direction":
            return f"“{self.headings[self.positions['direction']]}” shows what is money spent"
        return f"{self.interpretation.spending} amounts are money spent"

    # Understanding the file.

    def _remembered_columns(self, text: str) -> str:
        """Return the remembered columns unless the file proves another amount; then the columns are asked for again."""
        layout = self.layout
        amount = dict(part.split("=") for part in text.split(",") if part).get("amount")
        proven = layout.roles.get("amount") if not layout.header_row and not layout.rivals else None
        if amount and proven is not None and int(amount) - 1 not in (proven, *layout.rivals):
            layout.rivals = sorted({proven, int(amount) - 1})
            return ""
        return text

    def _answer_columns(self, text: str) -> None:
        """Apply `role=number` pairs such as `amount=4,date=1`. Raises StatementError."""
        for role, _, number in (part.strip().partition("=") for part in filter(None, text.split(","))):
            if (
                role not in ROLES
                or not number.isascii()
                or not number.isdigit()
                or not 1 <= int(number) <= self.layout.width
            ):
                raise StatementError(f"“{role}={number}” is no column: roles are {', '.join(ROLES)}.")
            if role in ("amount", "debit", "credit"):
                self.layout.rivals = []
            self.layout.roles[role] = int(number) - 1

    def _find_category(self) -> None:
        """Take a type column that says nothing about the direction for the category."""
        if "category" in self.positions or "direction" in self.positions:
            return
        for position, heading in enumerate(self.headings):
            if heading_key(heading) in ("type", "transactiontype") and position not in self.positions.values():
                self.positions["category"] = position
                return

    # Reading the rows.

    def rows(self) -> Iterator[StatementRow | RowError]:
        """Yield every row of the file that is not blank."""
        lines = _RecordLines(itertools.islice(text_lines(self.file, self.encoding), self.header_lines, None))
        row_number = self.header_row
        record, width = lines.record, self.width
        read = self._row_reader()
        reader = csv_reader(lines, self._delimiter)
        while True:
            try:
                for cells in reader:
                    row_number += 1
                    if len(record) > 1:
                        if self._contains_row(record, read):
                            raise _UnclosedQuoteError
                        cells = [" ".join(cell.split()) for cell in cells]  # noqa: PLW2901
                    record.clear()
                    if not any(cells):
                        continue
                    try:
                        yield read(row_number, cells if len(cells) == width else self._fit_width(cells))
                    except UnreadableFieldError as error:
                        if self._is_repeated_header(cells):
                            read = self._row_reader()
                        elif any(map(str.strip, cells)):
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
                reader = csv_reader(lines, self._delimiter)
            else:
                return

    def _fit_width(self, cells: list[str]) -> list[str]:
        """Return as many cells as the header has.

        Raises UnreadableFieldError for a cell beyond the header.
        """
        if any(cells[self.width :]):
            raise UnreadableFieldError("row", f"the row has {len(cells)} columns, the header {self.width}")
        return fit_width(cells, self.width)

    def _is_repeated_header(self, cells: list[str]) -> bool:
        """Whether the row is a header with the same columns; from here on they are where it says."""
        roles = match_headings([cell.strip() for cell in cells])
        known = {role: roles[role] for role in self.positions if role in roles}
        if not self.header_row or not is_header(roles) or known.keys() != self.positions.keys():
            return False
        self.positions.update(known)
        return True

    def _contains_row(self, record: list[str], read: Callable[[int, list[str]], StatementRow]) -> bool:
        """Whether a record over several lines contains a good row, so that its quotation mark is a stray one."""
        # Also without its quotation marks: the inner line may have a stray one itself.
        for line in itertools.chain.from_iterable((line, line.replace('"', "")) for line in record[1:]):
            try:
                cells: list[str] = next(csv_reader([line], self._delimiter), [])
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
        memo_at, account_at = positions.get("memo", -1), positions.get("account", -1)
        type_at = find_heading(self.headings, _TYPE_KEYS)
        # Payment services name both sides instead of a merchant.
        from_at, to_at = (find_heading(self.headings, (key,)) for key in ("from", "to"))
        names_both = merchant_at < 0 <= min(from_at, to_at)
        checks = self._row_checks()
        money_cells, amount_from = self._money_reader()
        order, today, is_sheet = self.interpretation.date_order, self.today, self.is_sheet
        dates: dict[str, datetime] = {}
        amounts: dict[str | tuple[str, ...], Decimal] = {}

        def read(row_number: int, cells: list[str]) -> StatementRow:
            for check in checks:
                check(cells)
            text = cells[date_at]
            when = dates.get(text)
            if when is None:
                serial = is_sheet and text.isascii() and text.isdigit() and len(text) == 5
                when = parse_date(excel_day(text) if serial else text, order=order, today=today)
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
            description = clean_text(cells[description_at]) if description_at >= 0 else ""
            merchant = (clean_text(cells[merchant_at]) if merchant_at >= 0 else "") or description
            if names_both:
                merchant = clean_text(cells[to_at if amount > 0 else from_at]) or merchant
            if memo_at >= 0 and (not merchant or merchant.upper() in GENERIC_MERCHANTS):
                merchant = clean_text(cells[memo_at]) or merchant
            row_type = cells[type_at] if type_at >= 0 else ""
            row_class = excluded_class(
                merchant if description in merchant else f"{merchant} {description}",
                row_type,
                cells[category_at] if category_at >= 0 else "",
                is_spending=amount > 0,
            )
            if names_both and row_class == "card_payment":
                row_class = "transfer"  # a "payment" between two people
            if not merchant and row_class:
                merchant = clean_text(row_type)
            if not merchant:
                raise UnreadableFieldError("merchant", "the merchant and the description are missing")
            return StatementRow(
                row_number,
                when,
                merchant[:MERCHANT_LENGTH],
                amount,
                clean_text(cells[category_at])[:CATEGORY_LENGTH] if category_at >= 0 else "",
                description[:DESCRIPTION_LENGTH],
                cells[reference_at].strip("' \t\n")[:REFERENCE_LENGTH] if reference_at >= 0 else "",
                cells[account_at].strip()[:REFERENCE_LENGTH] if account_at >= 0 else "",
                row_class,
            )

        return read

    def _row_checks(self) -> list[Callable[[list[str]], None]]:
        """Return the checks that keep a row from being a transaction, for the columns that the file has."""
        positions, checks = self.positions, list[Callable[[list[str]], None]]()
        if "status" in positions:
            status_at = positions["status"]

            def check_status(cells: list[str]) -> None:
                if reason := unposted_reason(cells[status_at]):
                    raise UnreadableFieldError("status", reason)

            checks.append(check_status)
        if "currency" in positions:
            currency_at = positions["currency"]

            def check_currency(cells: list[str]) -> None:
                if not is_dollars(cells[currency_at]):
                    reason = f"“{shorten(cells[currency_at].strip())}” is not US dollars"
                    raise UnreadableFieldError("currency", reason)

            checks.append(check_currency)
        if "reference" in positions:
            layout, headings = self.layout, self.headings

            def check_shift(cells: list[str]) -> None:
                if (at := shifted_cell(layout, cells)) is not None:
                    raise UnreadableFieldError("row", f"“{headings[at]}” contains an amount: cells are shifted")

            checks.append(check_shift)
        text_at = positions.get("merchant", positions.get("description", -1))

        def check_text(cells: list[str]) -> None:
            if is_balance_line(cells[text_at]):
                raise UnreadableFieldError("row", "a balance or total, not a transaction")
            if is_unposted(cells[text_at]):
                raise UnreadableFieldError("row", "the transaction is not posted yet")

        if text_at >= 0:
            checks.append(check_text)
        return checks

    def _money_reader(
        self,
    ) -> tuple[Callable[[list[str]], str | tuple[str, ...]], Callable[[str | tuple[str, ...]], Decimal]]:
        """Return two functions: the cells that hold the money, and their amount, called once per distinct cells."""
        relevant = {"columns": ("debit", "credit"), "direction": ("amount", "direction"), "sign": ("amount",)}
        fields = [field for field in relevant[self.interpretation.spending_by] if field in self.positions]

        def amount_from(cells: str | tuple[str, ...]) -> Decimal:
            texts = (cells,) if isinstance(cells, str) else cells
            money = dict(zip(fields, (text.strip() for text in texts), strict=True))
            if not any(money[field] for field in fields if field != "direction"):
                raise UnreadableFieldError("amount", "the amount is missing")
            by_columns = self.interpretation.spending_by == "columns"
            amount = self._from_columns(money) if by_columns else self._from_amount(money)
            if not amount:
                raise UnreadableFieldError("amount", "the amount is zero")
            return amount

        return itemgetter(*(self.positions[field] for field in fields)), amount_from

    def _from_columns(self, money: dict[str, str]) -> Decimal:
        debit, _ = parse_amount(money.get("debit", ""), european=self.european)
        credit, _ = parse_amount(money.get("credit", ""), european=self.european)
        if debit and credit:
            raise UnreadableFieldError("amount", "both a debit and a credit")
        if debit:
            return debit * self.interpretation.debit_sign
        return -credit * self.interpretation.credit_sign

    def _from_amount(self, money: dict[str, str]) -> Decimal:
        value, marker = parse_amount(money["amount"], european=self.european)
        if marker:
            return abs(value) if marker == "DR" else -abs(value)
        if self.interpretation.spending_by == "sign":
            return -value if self.interpretation.spending == "negative" else value
        direction = direction_of(money["direction"], self.interpretation.direction_pair)
        if not direction:
            reason = f"“{shorten(money['direction'])}” does not say whether money was spent or received"
            raise UnreadableFieldError("type", reason)
        return value if direction == "out" else -value


def excel_day(serial: str) -> str:
    """Return the day that Excel stores as this number."""
    return (date(1899, 12, 30) + timedelta(days=int(serial))).isoformat()
