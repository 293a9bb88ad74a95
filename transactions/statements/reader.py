"""Bank statements as banks write them, read row by row: CSV of any spelling, Excel, OFX and QFX. Pure: no database, no Django.

Rules that hold:

- **Rows are independent.** A bad row becomes a `RowError` that names the field and the reason; good rows go on. Only a
  file that cannot be read at all raises `StatementError`.
- **Memory is flat** for a CSV of any length. OFX and Excel are read whole, so they are refused above `OFX_MAX_BYTES` and
  `EXCEL_MAX_BYTES` (`transactions.statements.excel`).
- **Nothing is guessed that costs money.** An unreadable date is never today, a third decimal is never rounded, a
  foreign currency is never taken for dollars.
- **Positive is money spent**, negative is a refund or other money in. Who decides, in this order: separate debit and
  credit columns; a column of words such as DEBIT and CREDIT; a `DR` or `CR` beside the amount; else the sign that most
  of the first `SAMPLE_ROWS` rows carry is spending (checking accounts write purchases negative, card issuers such as
  Amex positive; on a tie, negative is spending). In OFX a negative TRNAMT is spending.
- **Dates** without a time are midnight UTC, times without a zone are UTC. 03/04/2025 is American, March 4th, unless the
  first rows prove that the day comes first.
- **Text** is trimmed (a reference also of the apostrophes that keep Excel from reading it as a number), NUL characters
  are dropped, a line break inside a field becomes a blank, and what is longer than the database column is cut: merchant
  255, description 500, category 100, reference 100 characters.
- **Row numbers** count as a spreadsheet does: from 1, with the header and all above it. In OFX: the n-th STMTTRN.
"""

import codecs
import csv
import io
import itertools
import logging
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from operator import itemgetter
from typing import TYPE_CHECKING, BinaryIO, Literal
from xml.etree import ElementTree as ET  # only for the type: ofxtools builds the elements, no XML parser runs
from xml.sax.saxutils import unescape  # replaces entities in a string, parses nothing

from ofxtools.Parser import TreeBuilder
from ofxtools.Types import DateTime as OFXDateTime

from transactions.errors import StatementError
from transactions.statements.excel import is_workbook, sheets_as_csv

if TYPE_CHECKING:
    import _csv

# One line per STMTTRN at INFO is not news.
logging.getLogger("ofxtools.Parser").setLevel(logging.WARNING)

MERCHANT_LENGTH, DESCRIPTION_LENGTH, CATEGORY_LENGTH, REFERENCE_LENGTH = 255, 500, 100, 100
RAW_LENGTH = 2_000
HEADER_ROWS = 20  # banks put account numbers and balances above the header
SAMPLE_ROWS = 200  # rows that decide the date order, the decimal mark and the sign of spending
FIRST_DATE = date(1990, 1, 1)
FUTURE_DAYS = 7
AMOUNT_DIGITS = 12  # cents included: amount + round-up + fee still fits numeric(14,2)
OFX_MAX_BYTES = 50_000_000

_CHUNK = 1 << 18
_MAX_LINE = 1_000_000  # characters; a longer line is no statement
_MAX_SAMPLE = 1_000_000
_MAX_COLUMNS = 200  # a row with more is not looked at as a header: a line of commas must not cost minutes
_MAX_OFX_RECORD = 20_000  # characters of one STMTTRN
_MAX_RECORD_LINES = 30  # a quoted field over more lines is a quotation mark that is never closed
_CACHE = 20_000  # remembered dates and amounts; bounded so that memory stays flat


@dataclass(frozen=True, slots=True)
class StatementRow:
    """One line of a statement. `amount` in US dollars to the cent: positive is money spent, negative money in."""

    row_number: int
    date: datetime
    merchant: str
    amount: Decimal
    category: str
    description: str
    reference: str


@dataclass(frozen=True, slots=True)
class RowError:
    """A row that could not be read: which field, why, and the row itself as CSV (at most 2,000 characters)."""

    row_number: int
    field: str
    reason: str
    raw: str


@dataclass(frozen=True, slots=True)
class StatementPreview:
    """How a file was understood, and its first rows.

    `columns` maps our field (date, merchant, amount, debit, credit, type …) to the bank's heading. `date_order` is
    "month first", "day first" or "year first". `spending` says in words what counts as money spent.
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
    """Read a bank statement, CSV or OFX/QFX, one row at a time.

    `file` is binary and seekable; it is read from its start and left open. `today` (UTC) bounds future dates. Raises
    `StatementError` at once when the file cannot be understood, and while reading only when a line has no end.
    """
    return _open(file, filename, today or datetime.now(UTC).date()).rows()


def preview(file: BinaryIO, *, filename: str = "", limit: int = 20, today: date | None = None) -> StatementPreview:
    """How `parse_statement` understands the file, and its first `limit` rows, good and bad. Raises `StatementError`."""
    statement = _open(file, filename, today or datetime.now(UTC).date())
    found = list(itertools.islice(statement.rows(), limit))
    return StatementPreview(
        columns=statement.columns,
        encoding=statement.encoding,
        delimiter=statement.delimiter,
        date_order=statement.date_order,
        spending=statement.spending,
        rows=[row for row in found if isinstance(row, StatementRow)],
        errors=[row for row in found if isinstance(row, RowError)],
    )


class _UnreadableError(Exception):
    """A field of a row cannot be read."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


# --- Amounts ----------------------------------------------------------------------------------------------------------

_PLAIN_AMOUNT = re.compile(r"-?[0-9]{1,10}\.[0-9]{2}")
_US_NUMBER = re.compile(r"([0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)?(?:\.([0-9]*))?")
_EUROPEAN_NUMBER = re.compile(r"([0-9]{1,3}(?:\.[0-9]{3})+|[0-9]+)?(?:,([0-9]*))?")
_EUROPEAN_EVIDENCE = re.compile(r"[0-9],[0-9]{1,2}(?![0-9])|[0-9]\.[0-9]{3}[.,]")
_US_EVIDENCE = re.compile(r"\.[0-9]{1,2}(?![0-9])|[0-9],[0-9]{3}[.,]")
_MINUS_AND_BLANKS = str.maketrans({"−": "-", "–": "-", "\u00a0": None, "\u202f": None, " ": None, "\t": None})
_CENT = Decimal("0.01")
_NOUGHT = Decimal("0.00")

_Marker = Literal["", "DR", "CR"]


def _read_amount(text: str, *, european: bool) -> tuple[Decimal, _Marker]:
    """The signed amount to the cent, zero for an empty cell, and the `DR` or `CR` that stood beside it."""
    if not european and _PLAIN_AMOUNT.fullmatch(text):
        return Decimal(text), ""
    number = text.translate(_MINUS_AND_BLANKS).upper()
    if not number:
        return _NOUGHT, ""
    marker: _Marker = ""
    if number.endswith(("DR", "CR")):
        marker, number = ("DR" if number.endswith("DR") else "CR"), number[:-2]
    elif number.startswith(("DR", "CR")):
        marker, number = ("DR" if number.startswith("DR") else "CR"), number[2:]
    number = number.replace("USD", "", 1).replace("US$", "$", 1).replace("$", "", 1)
    signs = 0
    if number.startswith("(") and number.endswith(")"):
        number, signs = number[1:-1], 1
    if number.startswith("-"):
        number, signs = number[1:], signs + 1
    elif number.startswith("+"):
        number = number[1:]
    if number.endswith("-"):
        number, signs = number[:-1], signs + 1
    match = (_EUROPEAN_NUMBER if european else _US_NUMBER).fullmatch(number)
    if match is None or signs > 1 or not (match[1] or match[2]):
        raise _UnreadableError("amount", f"“{_short(text)}” is not an amount")
    whole, decimals = (match[1] or "").replace("." if european else ",", "").lstrip("0"), match[2] or ""
    if decimals[2:].strip("0"):
        raise _UnreadableError("amount", f"“{_short(text)}” has fractions of a cent")
    if len(whole) + 2 > AMOUNT_DIGITS:
        raise _UnreadableError("amount", f"the amount has more than {AMOUNT_DIGITS} digits")
    value = Decimal(f"{whole or 0}.{decimals[:2]:0<2}")
    return (-value if signs else value), marker


def _is_european(amounts: Iterable[str]) -> bool:
    """Whether the column proves that the comma is the decimal mark: some value says so and none says the opposite."""
    seen = list(amounts)
    return any(map(_EUROPEAN_EVIDENCE.search, seen)) and not any(map(_US_EVIDENCE.search, seen))


# --- Dates ------------------------------------------------------------------------------------------------------------

_MONTHS = {
    "jan": 1,
    "feb": 2,
    "mar": 3,
    "apr": 4,
    "may": 5,
    "jun": 6,
    "jul": 7,
    "aug": 8,
    "sep": 9,
    "oct": 10,
    "nov": 11,
    "dec": 12,
}
_MONTH_NAME = (
    r"(?P<name>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_DAY_PATTERNS = [
    r"(?P<year>[0-9]{4})(?P<sep>[-/.])(?P<month>[0-9]{1,2})(?P=sep)(?P<day>[0-9]{1,2})",
    r"(?P<year>[0-9]{4})(?P<month>[0-9]{2})(?P<day>[0-9]{2})",
    r"(?P<first>[0-9]{1,2})(?P<sep>[-/.])(?P<second>[0-9]{1,2})(?P=sep)(?P<year>[0-9]{4}|[0-9]{2})",
    rf"(?P<day>[0-9]{{1,2}})[-/ ]{_MONTH_NAME}[-/, ]\s*(?P<year>[0-9]{{4}}|[0-9]{{2}})",
    rf"{_MONTH_NAME}[- ](?P<day>[0-9]{{1,2}})(?:, ?|[- ])(?P<year>[0-9]{{4}}|[0-9]{{2}})",
    rf"(?P<year>[0-9]{{4}})-{_MONTH_NAME}-(?P<day>[0-9]{{1,2}})",
]
_CLOCK = (
    r"(?:[T ,]+(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second_>[0-9]{2})(?:[.,][0-9]{1,9})?)?"
    r"\s*(?P<half>[ap]m)?\s*(?P<zone>z|[a-z]{2,4}|[-+][0-9]{2}:?(?:[0-9]{2})?)?)?"
)
_WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*,? )?"
_DATES = [re.compile(_WEEKDAY + day + _CLOCK, re.ASCII | re.IGNORECASE) for day in _DAY_PATTERNS]
_NUMERIC_DAY = re.compile(r"\s*([0-9]{1,2})([-/.])([0-9]{1,2})\2[0-9]{2}")
_ZONE_HOURS = {
    "Z": 0,
    "UTC": 0,
    "GMT": 0,
    "EST": -5,
    "EDT": -4,
    "CST": -6,
    "CDT": -5,
    "MST": -7,
    "MDT": -6,
    "PST": -8,
    "PDT": -7,
    "AKST": -9,
    "AKDT": -8,
    "HST": -10,
}


def _read_date(text: str, *, day_first: bool, today: date) -> datetime:
    """The moment in UTC. Raises `_UnreadableError` for what is no date, before 1990, or over a week ahead."""
    cleaned = text.strip()
    if not cleaned:
        raise _UnreadableError("date", "the date is missing")
    match = next((found for pattern in _DATES if (found := pattern.fullmatch(cleaned))), None)
    try:
        moment = _moment(match.groupdict(), day_first=day_first, today=today) if match else None
    except (ValueError, OverflowError):  # February 30th, 25 o'clock, a zone that leaves the calendar
        moment = None
    if moment is None:
        raise _UnreadableError("date", f"“{_short(cleaned)}” is not a date")
    return _in_range(moment, today)


def _in_range(moment: datetime, today: date) -> datetime:
    if moment.date() < FIRST_DATE:
        raise _UnreadableError("date", f"{moment.date()} is before {FIRST_DATE.year}")
    if moment.date() > today + timedelta(days=FUTURE_DAYS):
        raise _UnreadableError("date", f"{moment.date()} is more than {FUTURE_DAYS} days in the future")
    return moment


def _moment(part: dict[str, str | None], *, day_first: bool, today: date) -> datetime:
    year_text = part["year"] or ""
    year = int(year_text)
    if len(year_text) == 2:
        year += 2000 if 2000 + year <= today.year + 1 else 1900
    if "first" in part:
        month, day = int(part["first"] or 0), int(part["second"] or 0)
        if day_first:
            month, day = day, month
    else:
        name = part.get("name")
        month, day = (_MONTHS[name[:3].lower()] if name else int(part["month"] or 0)), int(part["day"] or 0)
    hour = int(part["hour"] or 0)
    if part["half"]:
        if not 1 <= hour <= 12:
            raise ValueError(hour)
        hour = hour % 12 + (12 if part["half"].lower() == "pm" else 0)
    minute, second = int(part["minute"] or 0), int(part["second_"] or 0)
    return datetime(year, month, day, hour, minute, second, tzinfo=_zone(part["zone"])).astimezone(UTC)


def _zone(name: str | None) -> timezone:
    if not name:
        return UTC
    if name[0] in "+-":
        digits = name[1:].replace(":", "")
        offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:] or 0))
        return timezone(-offset if name[0] == "-" else offset)
    if name.upper() not in _ZONE_HOURS:
        raise ValueError(name)
    return timezone(timedelta(hours=_ZONE_HOURS[name.upper()]))


def _is_day_first(dates: Iterable[str]) -> bool:
    """Whether the column proves that the day comes first: a first number above 12, and no second one above 12."""
    numeric = [(int(found[1]), int(found[3])) for text in dates if (found := _NUMERIC_DAY.match(text))]
    return any(first > 12 for first, _ in numeric) and not any(second > 12 for _, second in numeric)


# --- Columns ----------------------------------------------------------------------------------------------------------

# Headings by what they mean, best first, as letters and digits only: "Trans. Date" is "transdate". "Amount (USD)" and
# "Amount in USD" are "amount".
_HEADINGS: dict[str, tuple[str, ...]] = {
    "date": (
        "transactiondate",
        "transdate",
        "dateoftransaction",
        "purchasedate",
        "date",
        "datetime",
        "postingdate",
        "posteddate",
        "postdate",
        "dateposted",
        "clearingdate",
        "bookingdate",
        "valuedate",
        "effectivedate",
        "processeddate",
        "settlementdate",
        "activitydate",
        "timestamp",
        "createdat",
    ),
    "debit": (
        "debit",
        "debits",
        "debitamount",
        "amountdebit",
        "withdrawal",
        "withdrawals",
        "withdrawalamount",
        "withdrawalamt",
        "moneyout",
        "paidout",
        "outflow",
        "spent",
        "charges",
    ),
    "credit": (
        "credit",
        "credits",
        "creditamount",
        "amountcredit",
        "deposit",
        "deposits",
        "depositamount",
        "depositamt",
        "moneyin",
        "paidin",
        "inflow",
        "received",
    ),
    "amount": (
        "amount",
        "transactionamount",
        "transamount",
        "amounttotal",
        "billingamount",
        "chargeamount",
        "paymentamount",
        "amt",
        "gross",
        "net",
        "value",
        "total",
    ),
    "merchant": (
        "merchant",
        "merchantname",
        "vendor",
        "vendorname",
        "payee",
        "payeename",
        "name",
        "counterparty",
        "counterpartyname",
        "store",
    ),
    "description": (
        "description",
        "transactiondescription",
        "transdescription",
        "originaldescription",
        "desc",
        "narrative",
        "particulars",
        "memo",
        "details",
        "transactiondetails",
        "itemtitle",
        "subject",
        "extendeddetails",
        "additionalinformation",
        "note",
        "notes",
        "transaction",
    ),
    "category": ("category", "transactioncategory", "merchantcategory", "businesstype", "categoryname"),
    "reference": (
        "reference",
        "referencenumber",
        "referenceno",
        "referenceid",
        "ref",
        "refnumber",
        "transactionid",
        "transactionreference",
        "transactionnumber",
        "transid",
        "fitid",
        "confirmationnumber",
        "id",
    ),
    "currency": ("currency", "currencycode", "transactioncurrency"),
}
# Where banks write DEBIT and CREDIT; such a column that holds other words is the category (as the legacy importer did).
_TYPE_HEADINGS = (
    "debitcredit",
    "creditdebit",
    "drcr",
    "crdr",
    "debitorcredit",
    "creditordebit",
    "creditdebitindicator",
    "debitcreditindicator",
    "balanceimpact",
    "direction",
    "transactiontype",
    "transtype",
    "type",
    "details",
    "transaction",
)
_DEBIT_WORDS = {
    "debit",
    "dr",
    "db",
    "d",
    "withdrawal",
    "withdraw",
    "purchase",
    "sale",
    "charge",
    "check",
    "expense",
    "money out",
    "out",
    "debit card",
    "pos",
    "debit card purchase",
}
_CREDIT_WORDS = {
    "credit",
    "cr",
    "c",
    "deposit",
    "refund",
    "return",
    "dslip",
    "income",
    "money in",
    "in",
    "direct deposit",
}
_DOLLARS = {"", "USD", "US$", "$", "US DOLLAR", "US DOLLARS"}
_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}


def _heading_key(heading: str) -> str:
    key = re.sub(r"[^a-z0-9]", "", heading.lower())
    return re.sub(r"(?<=[a-z])(?:inusd|usd|usdollars)$", "", key)


def _columns(headings: Sequence[str]) -> dict[str, int]:
    """Field → position, for the headings we know. A column serves one field, the first of the table above."""
    if len(headings) > _MAX_COLUMNS:
        return {}
    places: dict[str, int] = {}
    for place, heading in enumerate(headings):
        places.setdefault(_heading_key(heading), place)
    places.pop("", None)
    found: dict[str, int] = {}
    for field, keys in _HEADINGS.items():
        for key in keys:
            if key in places and places[key] not in found.values():
                found[field] = places[key]
                break
    if "debit" in found or "credit" in found:
        found.pop("amount", None)
    return found


def _has_money(columns: dict[str, int]) -> bool:
    return "amount" in columns or "debit" in columns or "credit" in columns


def _guess_columns(rows: list[list[str]], today: date) -> dict[str, int]:
    """Positions for a file without a header (Wells Fargo: date, amount, *, blank, description): the first column where
    four cells in five are dates, the first other one of amounts, and the one with most letters. Empty when unclear."""
    rows = [row for row in rows if any(row)]
    width = max(map(len, rows), default=0)
    if width > _MAX_COLUMNS:
        return {}
    columns = [[row[place] if place < len(row) else "" for row in rows] for place in range(width)]

    def is_date(text: str, *, day_first: bool) -> bool:
        try:
            _read_date(text, day_first=day_first, today=today)
        except _UnreadableError:
            return False
        return True

    def is_amount(text: str) -> bool:
        try:
            return bool(text and _read_amount(text, european=_is_european([text])))
        except _UnreadableError:
            return False

    dates: list[int] = []
    amounts: list[int] = []
    letters: dict[int, int] = {}
    for place, cells in enumerate(columns):
        day_first = _is_day_first(cells)
        if 5 * sum(is_date(text, day_first=day_first) for text in cells) >= 4 * len(rows):
            dates.append(place)
        elif 5 * sum(map(is_amount, cells)) >= 4 * len(rows):
            amounts.append(place)
        else:
            letters[place] = sum(sum(map(str.isalpha, text)) for text in cells)
    if not dates or not amounts or not any(letters.values()):
        return {}
    return {"date": dates[0], "amount": amounts[0], "description": max(letters, key=lambda place: letters[place])}


# --- Text -------------------------------------------------------------------------------------------------------------

_BINARY = {
    b"PK\x03\x04": "a ZIP archive",
    b"\xd0\xcf\x11\xe0": "an old Office file",
    b"%PDF": "a PDF",
    b"\x1f\x8b": "a compressed file",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"SQLite format": "a database",
}
_CONTROL = re.compile(r"[\x01-\x08\x0e-\x1f\x7f\ufffd]")
_NOT_CP1252 = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")


def encoding_of(file: BinaryIO) -> str:
    """utf-8, utf-16 (with a byte order mark), cp1252 or latin-1: the whole file is looked at, as the one byte that
    decides may be in the last row."""
    file.seek(0)
    head = file.read(_CHUNK)
    if not head.strip(b"\0 \t\r\n\xef\xbb\xbf"):
        raise StatementError("The file is empty.")
    for magic, what in _BINARY.items():
        if head.startswith(magic):
            raise StatementError(f"This is {what}, not a statement. Download the statement as CSV, Excel, OFX or QFX.")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    decoder = codecs.getincrementaldecoder("utf-8")()
    is_utf8, is_cp1252, chunk = True, True, head
    while chunk and (is_utf8 or is_cp1252):
        if is_utf8:
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError:
                is_utf8 = False
        is_cp1252 = is_cp1252 and _NOT_CP1252.search(chunk) is None
        chunk = file.read(_CHUNK)
    if is_utf8:
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            is_utf8 = False
    if is_utf8:
        return "utf-8-sig" if head.startswith(codecs.BOM_UTF8) else "utf-8"
    return "cp1252" if is_cp1252 else "latin-1"


def _text(file: BinaryIO, encoding: str) -> Iterator[str]:
    """The text in pieces, line ends as \\n, without NUL characters. Only broken UTF-16 has anything to replace."""
    file.seek(0)
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)(errors="replace"), translate=True)
    while chunk := file.read(_CHUNK):
        yield decoder.decode(chunk).replace("\0", "")
    yield decoder.decode(b"", final=True).replace("\0", "")


def text_lines(file: BinaryIO, encoding: str) -> Iterator[str]:
    """The lines, with their \\n. Split on \\n alone: str.splitlines also breaks at characters that are plain text."""
    tail = ""
    for piece in _text(file, encoding):
        text = tail + piece
        cut = text.rfind("\n") + 1
        tail = text[cut:]
        if len(tail) > _MAX_LINE:
            raise StatementError(f"A line has more than {_MAX_LINE:,} characters: this is not a statement.")
        yield from io.StringIO(text[:cut])
    if tail:
        yield tail


def _sample(lines: Iterator[str]) -> list[str]:
    """The first lines, enough to understand the file."""
    taken: list[str] = []
    size = 0
    for line in lines:
        taken.append(line)
        size += len(line)
        if len(taken) >= 2 * (HEADER_ROWS + SAMPLE_ROWS) or size > _MAX_SAMPLE:
            break
    return taken


def _reader(lines: Iterable[str], delimiter: str) -> "_csv.Reader":
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=True)


def _sample_records(lines: list[str], delimiter: str) -> list[tuple[int, list[str]]]:
    """(lines read so far, cells) for each record of the sample, up to one that csv refuses."""
    reader = _reader(lines, delimiter)
    records: list[tuple[int, list[str]]] = []
    try:
        for cells in reader:
            records.append((reader.line_num, [cell.strip() for cell in cells]))
    except csv.Error:
        pass
    return records


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"


def _as_csv(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()[:RAW_LENGTH]


# --- CSV --------------------------------------------------------------------------------------------------------------


class _UnclosedQuoteError(Exception):
    """A record has run over more lines than a quoted field does."""


class _RecordLines:
    """Feeds csv line by line and remembers the lines of the record in hand, so that they can be read again."""

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
        """Take the first line out of the record, keep the others for the next reader, return that first line."""
        first, *others = self.record
        self.again.extendleft(reversed(others))
        self.record.clear()
        return first


@dataclass(frozen=True, slots=True)
class _Spending:
    """Which amounts are money spent. Signs are +1 or -1 as the sample shows them, 0 where it shows none.

    `by` is "columns" (debit and credit apart), "type" (a word says which) or "sign" (`debit` is the sign of spending).
    """

    by: Literal["columns", "type", "sign"]
    debit: int
    credit: int

    def of_debit(self, value: Decimal) -> Decimal:
        return value * self.debit if self.debit else abs(value)

    def of_credit(self, value: Decimal) -> Decimal:
        return -value * self.credit if self.credit else -abs(value)


def _majority(values: Iterable[Decimal]) -> int:
    """The sign most values carry, -1 on a tie, 0 without any value."""
    signs = [1 if value > 0 else -1 for value in values if value]
    if not signs:
        return 0
    return 1 if sum(signs) > 0 else -1


class _CsvStatement:
    """A CSV file, understood from its first rows: where the columns are and how dates and amounts are written."""

    def __init__(self, file: BinaryIO, encoding: str, today: date) -> None:
        self.file = file
        self.encoding = encoding
        self.today = today
        sample = _sample(text_lines(file, encoding))
        _refuse_binary("".join(sample))
        if not any(map(str.strip, sample)):
            raise StatementError("The file is empty.")
        self._find_columns(sample)
        rows = [cells for _, cells in _sample_records(sample[self.header_lines :], self._delimiter) if any(cells)]
        self._learn([self._fitted(row) for row in rows[:SAMPLE_ROWS] if not any(row[self.width :])])

    # What the preview shows.

    @property
    def columns(self) -> dict[str, str]:
        return {field: self.headings[place] for field, place in self.places.items()}

    @property
    def delimiter(self) -> str:
        return _DELIMITERS[self._delimiter]

    # Understanding the file.

    def _find_columns(self, sample: list[str]) -> None:
        """Choose the delimiter and the header that make most sense of the first rows."""
        best: tuple[int, str, int, int, list[str], dict[str, int]] | None = None
        nearest: list[str] = []
        nearest_columns: dict[str, int] = {}
        for delimiter in _DELIMITERS:
            records = _sample_records(sample, delimiter)[:HEADER_ROWS]
            for number, (lines, cells) in enumerate(records, start=1):
                columns = _columns(cells)
                if len(columns) > len(nearest_columns):
                    nearest, nearest_columns = cells, columns
                if "date" in columns and _has_money(columns):
                    if best is None or len(columns) > best[0]:
                        best = (len(columns), delimiter, lines, number, cells, columns)
                    break
        if best is not None:
            _, self._delimiter, self.header_lines, self.header_row, self.headings, self.places = best
            self.width = len(self.headings)
            if not {"merchant", "description"} & self.places.keys():
                raise StatementError(f"No merchant or description column. Columns seen: {_listed(self.headings)}.")
            return
        for delimiter in _DELIMITERS:
            rows = [cells for _, cells in _sample_records(sample, delimiter)[:HEADER_ROWS]]
            if places := _guess_columns(rows, self.today):
                self._delimiter, self.header_lines, self.header_row, self.places = delimiter, 0, 0, places
                self.width = max(map(len, rows))
                self.headings = [f"column {place}" for place in range(1, self.width + 1)]
                return
        if "date" in nearest_columns:
            raise StatementError(f"No amount, debit or credit column. Columns seen: {_listed(nearest)}.")
        if nearest_columns:
            raise StatementError(f"No date column. Columns seen: {_listed(nearest)}.")
        first = _short(next(filter(None, map(str.strip, sample))))
        raise StatementError(f"No header found in the first {HEADER_ROWS} rows. First line: “{first}”.")

    def _learn(self, rows: list[list[str]]) -> None:
        """The date order, the decimal mark and the sign of spending, as the first rows show them."""
        dates = [row[self.places["date"]] for row in rows]
        self.day_first = _is_day_first(dates)
        iso = sum(re.match(r"[0-9]{4}", text) is not None for text in dates)
        self.date_order = "day first" if self.day_first else "year first" if 2 * iso > len(dates) else "month first"
        money = [self.places[field] for field in ("amount", "debit", "credit") if field in self.places]
        self.european = _is_european(row[place] for row in rows for place in money)
        if "amount" not in self.places:
            debits = _majority(self._sampled(rows, "debit"))
            credits_ = _majority(self._sampled(rows, "credit"))
            self._spending = _Spending("columns", debits, credits_)
            return
        self._spending = self._learn_from_type(rows) or _Spending(
            "sign", _majority(self._sampled(rows, "amount")) or -1, 0
        )
        if "category" not in self.places and "type" not in self.places:
            self._use_type_as_category()

    def _use_type_as_category(self) -> None:
        for place, heading in enumerate(self.headings):
            if _heading_key(heading) in ("type", "transactiontype") and place not in self.places.values():
                self.places["category"] = place
                return

    def _sampled(self, rows: list[list[str]], field: str) -> Iterator[Decimal]:
        """The readable amounts of a column that carry no DR or CR."""
        if field not in self.places:
            return
        for row in rows:
            try:
                value, marker = _read_amount(row[self.places[field]], european=self.european)
            except _UnreadableError:
                continue
            if not marker:
                yield value

    def _learn_from_type(self, rows: list[list[str]]) -> _Spending | None:
        """What a column of DEBIT and CREDIT says, if there is one. Where the amounts are signed it only tells which
        sign is spending (so a reversed debit stays money in); where they are not, each row needs its word."""
        free = {
            _heading_key(heading): place
            for place, heading in enumerate(self.headings)
            if place not in self.places.values()
        }
        for heading in _TYPE_HEADINGS:
            if heading not in free:
                continue
            words = [row[free[heading]].lower() for row in rows if row[free[heading]]]
            known = [word for word in words if word in _DEBIT_WORDS or word in _CREDIT_WORDS]
            if not known or 2 * len(known) < len(words):
                continue
            place = free[heading]
            debit = _majority(self._sampled([row for row in rows if row[place].lower() in _DEBIT_WORDS], "amount"))
            credit = _majority(self._sampled([row for row in rows if row[place].lower() in _CREDIT_WORDS], "amount"))
            if debit and credit and debit != credit:
                return _Spending("sign", debit, 0)
            self.places["type"] = place
            return _Spending("type", debit, credit)
        return None

    @property
    def spending(self) -> str:
        """In words, for the preview: what counts as money spent."""
        if self._spending.by == "columns":
            return "the debit column is money spent, the credit column money in"
        if self._spending.by == "type":
            return f"“{self.headings[self.places['type']]}” says what is money spent"
        return f"{'positive' if self._spending.debit > 0 else 'negative'} amounts are money spent"

    # Reading the rows.

    def rows(self) -> Iterator[StatementRow | RowError]:
        """Every row of the file that is not blank."""
        lines = _RecordLines(itertools.islice(text_lines(self.file, self.encoding), self.header_lines, None))
        row_number = self.header_row
        record, width = lines.record, self.width
        read = self._row_reader()
        reader = _reader(lines, self._delimiter)
        while True:
            try:
                for cells in reader:
                    row_number += 1
                    if len(record) > 1:
                        if self._swallowed(record, read):
                            raise _UnclosedQuoteError
                        cells = [" ".join(cell.split()) for cell in cells]  # noqa: PLW2901
                    record.clear()
                    if len(cells) != width:
                        if not any(cells):
                            continue
                        if any(cells[width:]):
                            reason = f"the row has {len(cells)} columns, the header {width}"
                            yield RowError(row_number, "row", reason, _as_csv(cells))
                            continue
                        cells = self._fitted(cells)  # noqa: PLW2901
                    try:
                        yield read(row_number, cells)
                    except _UnreadableError as error:
                        if any(map(str.strip, cells)):
                            yield RowError(row_number, error.field, error.reason, _as_csv(cells))
            except (_UnclosedQuoteError, csv.Error) as error:
                # csv counts no record for what it could not finish; a swallowed row was counted already.
                if isinstance(error, csv.Error) or len(record) > _MAX_RECORD_LINES:
                    row_number += 1
                reason = (
                    "a quotation mark is opened and never closed"
                    if isinstance(error, _UnclosedQuoteError)
                    else f"the row cannot be split into columns: {error}"
                )
                yield RowError(row_number, "row", reason, lines.give_back().rstrip("\n")[:RAW_LENGTH])
                reader = _reader(lines, self._delimiter)
            else:
                return

    def _fitted(self, cells: list[str]) -> list[str]:
        """The row with as many cells as the header: banks leave out empty ones at the end, or add a delimiter."""
        return cells[: self.width] + [""] * (self.width - len(cells))

    def _swallowed(self, record: list[str], read: Callable[[int, list[str]], StatementRow]) -> bool:
        """Whether a record over several lines has a good row inside: then its quotation mark is a stray one."""
        # Without its quotation marks too: the line inside may have a stray one of its own.
        for line in itertools.chain.from_iterable((line, line.replace('"', "")) for line in record[1:]):
            try:
                cells: list[str] = next(_reader([line], self._delimiter), [])
                if len(cells) == self.width:
                    read(0, cells)
                    return True
            except (_UnreadableError, csv.Error):
                continue
        return False

    def _row_reader(self) -> Callable[[int, list[str]], StatementRow]:
        """The function that reads one row or raises `_UnreadableError`. A closure, as it runs a million times."""
        place = self.places
        date_at = place["date"]
        merchant_at, description_at = place.get("merchant", -1), place.get("description", -1)
        category_at, reference_at = place.get("category", -1), place.get("reference", -1)
        currency_at = place.get("currency", -1)
        money_cells, money_of = self._money_reader()
        day_first, today = self.day_first, self.today
        dates: dict[str, datetime] = {}
        amounts: dict[str | tuple[str, ...], Decimal] = {}

        def read(row_number: int, cells: list[str]) -> StatementRow:
            text = cells[date_at]
            when = dates.get(text)
            if when is None:
                when = _read_date(text, day_first=day_first, today=today)
                if len(dates) >= _CACHE:
                    dates.clear()
                dates[text] = when
            money = money_cells(cells)
            amount = amounts.get(money)
            if amount is None:
                amount = money_of(money)
                if len(amounts) >= _CACHE:
                    amounts.clear()
                amounts[money] = amount
            if currency_at >= 0 and cells[currency_at].strip().upper() not in _DOLLARS:
                raise _UnreadableError("currency", f"“{_short(cells[currency_at].strip())}” is not US dollars")
            description = cells[description_at].strip() if description_at >= 0 else ""
            merchant = (cells[merchant_at].strip() if merchant_at >= 0 else "") or description
            if not merchant:
                raise _UnreadableError("merchant", "the merchant and the description are missing")
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
        """(which cells hold the money, what they are worth): the second is asked once per distinct first."""
        place = self.places
        wanted = {"columns": ("debit", "credit"), "type": ("amount", "type"), "sign": ("amount",)}[self._spending.by]
        fields = [field for field in wanted if field in place]

        def money_of(cells: str | tuple[str, ...]) -> Decimal:
            texts = (cells,) if isinstance(cells, str) else cells
            named = dict(zip(fields, (text.strip() for text in texts), strict=True))
            if not any(named[field] for field in fields if field != "type"):
                raise _UnreadableError("amount", "the amount is missing")
            amount = self._from_columns(named) if self._spending.by == "columns" else self._from_amount(named)
            if not amount:
                raise _UnreadableError("amount", "the amount is zero")
            return amount

        return itemgetter(*(place[field] for field in fields)), money_of

    def _from_columns(self, named: dict[str, str]) -> Decimal:
        debit, _ = _read_amount(named.get("debit", ""), european=self.european)
        credit, _ = _read_amount(named.get("credit", ""), european=self.european)
        if debit and credit:
            raise _UnreadableError("amount", "both a debit and a credit")
        return self._spending.of_debit(debit) if debit else self._spending.of_credit(credit)

    def _from_amount(self, named: dict[str, str]) -> Decimal:
        value, marker = _read_amount(named["amount"], european=self.european)
        if marker:
            return abs(value) if marker == "DR" else -abs(value)
        if self._spending.by == "sign":
            return value * self._spending.debit
        word = named["type"].lower()
        if word in _DEBIT_WORDS:
            return self._spending.of_debit(value)
        if word in _CREDIT_WORDS:
            return self._spending.of_credit(value)
        # A word we don't know. If spending is negative, the amounts are signed; if positive, only a minus tells.
        if self._spending.debit < 0:
            return -value
        if value < 0 <= self._spending.credit:
            return value
        raise _UnreadableError("type", f"“{_short(named['type'])}” does not say whether money was spent or received")


def _listed(headings: Sequence[str]) -> str:
    names = [heading for heading in headings if heading]
    shown = ", ".join(_short(name) for name in names[:20])
    return shown + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _refuse_binary(text: str) -> None:
    """Raise for text that no bank wrote: more than one control or broken character in twenty."""
    if 20 * len(_CONTROL.findall(text[:_CHUNK])) > len(text[:_CHUNK]):
        raise StatementError("This is not a text file. Download the statement as CSV, OFX or QFX.")


# --- OFX --------------------------------------------------------------------------------------------------------------

_OFX_START = re.compile(
    r"\s*(?:<\?xml\b[^>]*>\s*)?(?:<!--.*?-->\s*)?(?:OFXHEADER\b|<\?OFX\b|<OFX>)", re.DOTALL | re.IGNORECASE
)
_OFX_RECORD = re.compile(r"<STMTTRN>(.*?)(?=</STMTTRN>|<STMTTRN>|</BANKTRANLIST>|</OFX>|\Z)", re.DOTALL)
_OFX_CURRENCY = re.compile(r"<CURDEF>\s*([A-Za-z]{3})")
_OFX_ENTITIES = {"&nbsp;": " ", "&apos;": "'", "&quot;": '"'}


class _OfxStatement:
    """An OFX or QFX file, version 1 (SGML) or 2 (XML). Each STMTTRN is read by itself, so that one bad record, which
    makes ofxtools refuse the document, costs one row."""

    columns: dict[str, str] = {
        "date": "DTPOSTED",
        "merchant": "NAME",
        "amount": "TRNAMT",
        "description": "MEMO",
        "reference": "FITID",
    }
    delimiter = ""
    date_order = "year first"
    spending = "negative amounts are money spent"

    def __init__(self, file: BinaryIO, encoding: str, today: date) -> None:
        self.encoding = encoding
        self.today = today
        if file.seek(0, io.SEEK_END) > OFX_MAX_BYTES:
            raise StatementError(f"An OFX file may have at most {OFX_MAX_BYTES // 1_000_000} MB; use CSV for more.")
        self.text = "".join(_text(file, encoding))
        currency = _OFX_CURRENCY.search(self.text)
        if currency and currency[1].upper() != "USD":
            raise StatementError(f"The statement is in {currency[1].upper()}, not US dollars.")
        if "<STMTTRN>" not in self.text and "<BANKTRANLIST" not in self.text:
            raise StatementError("The OFX file has no list of transactions.")

    def rows(self) -> Iterator[StatementRow | RowError]:
        """Every STMTTRN of the file."""
        for row_number, record in enumerate(_OFX_RECORD.finditer(self.text), start=1):
            fields: dict[str, str] = {}
            try:
                fields = _ofx_fields(record[1])
                yield self._row(row_number, fields)
            except _UnreadableError as error:
                raw = [fields.get(name, "") for name in self.columns.values()] if fields else [record[1].strip()]
                yield RowError(row_number, error.field, error.reason, _as_csv(raw))

    def _row(self, row_number: int, fields: dict[str, str]) -> StatementRow:
        name, memo = fields.get("NAME", ""), fields.get("MEMO", "")
        if not fields.get("TRNAMT"):
            raise _UnreadableError("amount", "the amount is missing")
        # OFX allows a decimal comma and no thousands separators.
        value, _ = _read_amount(fields["TRNAMT"], european="," in fields["TRNAMT"])
        when = self._date(fields.get("DTPOSTED", ""))
        if not value:
            raise _UnreadableError("amount", "the amount is zero")
        if fields.get("CURSYM", "USD").upper() != "USD":
            raise _UnreadableError("currency", f"“{_short(fields['CURSYM'])}” is not US dollars")
        if not (name or memo):
            raise _UnreadableError("merchant", "the name and the memo are missing")
        return StatementRow(
            row_number,
            when,
            (name or memo)[:MERCHANT_LENGTH],
            -value,
            "",
            (memo or name)[:DESCRIPTION_LENGTH],
            fields.get("FITID", "")[:REFERENCE_LENGTH],
        )

    def _date(self, text: str) -> datetime:
        if not text:
            raise _UnreadableError("date", "the date is missing")
        try:
            moment = OFXDateTime().convert(text)
        except (ValueError, OverflowError) as error:  # OFXSpecError is a ValueError
            raise _UnreadableError("date", f"“{_short(text)}” is not a date") from error
        return _in_range(datetime.combine(moment.date(), moment.time(), UTC), self.today)


def _ofx_fields(record: str) -> dict[str, str]:
    """Tag → text of one STMTTRN. PAYEE's NAME counts as NAME; what ORIGCURRENCY says is for information only."""
    if len(record) > _MAX_OFX_RECORD:
        raise _UnreadableError("row", f"the record has more than {_MAX_OFX_RECORD:,} characters")
    builder = TreeBuilder()
    try:
        builder.feed(f"<STMTTRN>{record}</STMTTRN>")
        root: ET.Element = builder.close()
    except (SyntaxError, ValueError, AssertionError, IndexError, TypeError) as error:
        raise _UnreadableError("row", "the record is not well-formed OFX") from error
    fields: dict[str, str] = {}
    for element in root.iter():
        if element.tag == "CURSYM" and root.find(".//ORIGCURRENCY/CURSYM") is element:
            continue
        if element.text:
            text = " ".join(unescape(element.text, _OFX_ENTITIES).split())
            fields.setdefault(element.tag, text)
    return fields


def _open(file: BinaryIO, filename: str, today: date) -> _CsvStatement | _OfxStatement:
    """The statement, understood. The name only makes an error clearer: what a file is, its content says."""
    try:
        if is_workbook(file):
            return _workbook(file, today)
        encoding = encoding_of(file)
        if _OFX_START.match(next(_text(file, encoding))):
            return _OfxStatement(file, encoding, today)
        return _CsvStatement(file, encoding, today)
    except StatementError as error:
        if filename:
            raise StatementError(f"{filename}: {error}") from None
        raise


def _workbook(file: BinaryIO, today: date) -> _CsvStatement:
    """The first sheet that is a statement; what is wrong with the first one when none is."""
    trouble: StatementError | None = None
    for sheet in sheets_as_csv(file):
        try:
            return _CsvStatement(sheet, "utf-8", today)
        except StatementError as error:
            trouble = trouble or error
    raise trouble or StatementError("The file is empty.")
