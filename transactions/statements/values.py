"""The rows of a statement, and how their amounts and dates are parsed."""

import csv
import html
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final, Literal

MERCHANT_LENGTH, DESCRIPTION_LENGTH, CATEGORY_LENGTH, REFERENCE_LENGTH = 255, 500, 100, 100
RAW_LENGTH: Final = 2_000
FIRST_DATE: Final = date(1990, 1, 1)
FUTURE_DAYS: Final = 7
AMOUNT_DIGITS: Final = 12  # cents included: amount + round-up + fee still fits numeric(14,2)


@dataclass(frozen=True, slots=True)
class Correction:
    """The record that a row replaces, or that the bank deletes; `is_in_file` when the same file contains it."""

    reference: str
    is_deletion: bool
    is_in_file: bool


@dataclass(frozen=True, slots=True)
class StatementRow:
    """One line of a statement. `amount` in US dollars to the cent: positive is money spent, negative money in.

    `account` is the bank's number of the account, where one file may hold several.
    """

    row_number: int
    date: datetime
    merchant: str
    amount: Decimal
    category: str
    description: str
    reference: str
    account: str = ""
    row_class: str = ""
    correction: Correction | None = None


class UnreadableFieldError(Exception):
    """A field of a row cannot be read."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field
        self.reason = reason


def shorten(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"


def clean_text(text: str) -> str:
    """Return a description without Excel's ="…", HTML entities and control characters."""
    text = text.strip()
    if text.startswith('="') and text.endswith('"'):
        text = text[2:-1].strip()
    if "&" in text and _ENTITY.search(text):
        text = html.unescape(text)
    return text if text.isprintable() else " ".join(_UNPRINTABLE.sub(" ", text).split())


def is_dollars(currency: str) -> bool:
    """Whether the cell of a currency column is US dollars or empty."""
    return currency.strip().upper() in _DOLLARS


def as_csv(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()[:RAW_LENGTH]


_DOLLARS: Final = {"", "USD", "US$", "$", "US DOLLAR", "US DOLLARS", "DOLLARS", "840"}
_ENTITY = re.compile(r"&(?:[a-zA-Z]{2,8}|#[0-9]{1,6}|#x[0-9a-fA-F]{1,5});")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f]")


# --- Amounts ----------------------------------------------------------------------------------------------------------

_PLAIN_AMOUNT = re.compile(r"-?[0-9]{1,10}\.[0-9]{2}")
_US_NUMBER = re.compile(r"([0-9]{1,3}(?:[,'’][0-9]{3})+|[0-9]+)?(?:\.([0-9]*))?")
_EUROPEAN_NUMBER = re.compile(r"([0-9]{1,3}(?:[.'’][0-9]{3})+|[0-9]+)?(?:,([0-9]*))?")
_EUROPEAN_EVIDENCE = re.compile(r"[0-9],[0-9]{1,2}(?![0-9])|[0-9]\.[0-9]{3}[.,]")
_US_EVIDENCE = re.compile(r"\.[0-9]{1,2}(?![0-9])|[0-9],[0-9]{3}[.,]")
_MINUS_AND_BLANKS = str.maketrans({"−": "-", "–": "-", "\u00a0": None, "\u202f": None, " ": None, "\t": None})

_Marker = Literal["", "DR", "CR"]


def parse_amount(text: str, *, european: bool) -> tuple[Decimal, _Marker]:
    """Return the signed amount to the cent, zero for an empty cell, and the `DR` or `CR` beside it.

    Raises UnreadableFieldError.
    """
    if not european and _PLAIN_AMOUNT.fullmatch(text):
        return Decimal(text), ""
    number = text.translate(_MINUS_AND_BLANKS).upper()
    if not number:
        return Decimal("0.00"), ""
    marker: _Marker = ""
    if number.endswith(("DR", "CR")):
        marker, number = ("DR" if number.endswith("DR") else "CR"), number[:-2]
    elif number.startswith(("DR", "CR")):
        marker, number = ("DR" if number.startswith("DR") else "CR"), number[2:]
    number = number.replace("USD", "", 1).replace("US$", "$", 1).replace("$", "", 1)
    signs = 0
    if number.startswith("(") and number.endswith(")"):
        number, signs = number[1:-1], 1
    if number.startswith(("-", "+")):
        number, signs = number[1:], signs + (number[0] == "-")
    elif number.endswith("+"):
        number = number[:-1]
    if number.endswith("-"):
        number, signs = number[:-1], signs + 1
    match = (_EUROPEAN_NUMBER if european else _US_NUMBER).fullmatch(number)
    if match is None or signs > 1 or not (match[1] or match[2]):
        raise UnreadableFieldError("amount", f"“{shorten(text)}” is not an amount")
    whole, decimals = re.sub("[^0-9]", "", match[1] or "").lstrip("0"), match[2] or ""
    if len(decimals) == 3 and 1 <= len(whole) <= 3 and match[1].isdigit():
        raise UnreadableFieldError("amount", f"“{shorten(text)}” may be thousands or fractions of a cent")
    if decimals[2:].strip("0"):
        raise UnreadableFieldError("amount", f"“{shorten(text)}” has fractions of a cent")
    if len(whole) + 2 > AMOUNT_DIGITS:
        raise UnreadableFieldError("amount", f"the amount has more than {AMOUNT_DIGITS} digits")
    value = Decimal(f"{whole or 0}.{decimals[:2]:0<2}")
    return (-value if signs else value), marker


def cents_of(text: str, *, european: bool | None = None) -> int | None:
    """Return an amount in cents; None for an empty cell and for text. Without `european` the marks in it decide."""
    try:
        value, marker = parse_amount(
            text.strip(), european=uses_decimal_comma([text]) if european is None else european
        )
    except UnreadableFieldError:
        return None
    return int(value * 100) * (-1 if marker == "DR" else 1) if text.strip() else None


def looks_like_amount(text: str) -> bool:
    return cents_of(text) is not None


def uses_decimal_comma(amounts: Iterable[str]) -> bool:
    """Whether the column proves a decimal comma: some value shows it and none contradicts it."""
    values = list(amounts)
    return any(map(_EUROPEAN_EVIDENCE.search, values)) and not any(map(_US_EVIDENCE.search, values))


# --- Dates ------------------------------------------------------------------------------------------------------------

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_MONTH_NAME = (
    r"(?P<name>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_DAY_PATTERNS = [
    r"(?P<year>[0-9]{4})(?P<sep>[-/.])(?P<month>[0-9]{1,2})(?P=sep)(?P<day>[0-9]{1,2})\.?",
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
_ZONES = {"Z", "UTC", "GMT", "HST"} | {f"{zone}{kind}T" for zone in ("E", "C", "M", "P", "AK") for kind in "SD"}


def parse_date(text: str, *, order: str, today: date) -> datetime:
    """Return the day and time as the bank writes them, marked UTC: a zone never moves a purchase to another day.

    `order` ("mdy", "dmy", "ymd") counts for days in numbers whose year is not written with four digits in front.

    Raises UnreadableFieldError for what is no date, before 1990, or more than a week ahead.
    """
    cleaned = text.strip()
    if not cleaned:
        raise UnreadableFieldError("date", "the date is missing")
    match = next((match for pattern in _DATES if (match := pattern.fullmatch(cleaned))), None)
    try:
        parsed = _to_datetime(match.groupdict(), order=order, today=today) if match else None
    except (ValueError, OverflowError):  # February 30th, 25 o'clock, a zone that leaves the calendar
        parsed = None
    if parsed is None:
        raise UnreadableFieldError("date", f"“{shorten(cleaned)}” is not a date")
    return check_date_range(parsed, today)


def check_date_range(value: datetime, today: date) -> datetime:
    """Return the value. Raises UnreadableFieldError when it is outside the accepted dates."""
    if value.date() < FIRST_DATE:
        raise UnreadableFieldError("date", f"{value.date()} is before {FIRST_DATE.year}")
    if value.date() > today + timedelta(days=FUTURE_DAYS):
        raise UnreadableFieldError("date", f"{value.date()} is more than {FUTURE_DAYS} days in the future")
    return value


def _to_datetime(part: dict[str, str | None], *, order: str, today: date) -> datetime:
    if "first" in part:
        numbers = dict(zip(order, (part["first"], part["second"], part["year"]), strict=True))
        part = part | {"year": numbers["y"], "month": numbers["m"], "day": numbers["d"]}
        if len(numbers["d"] or "") > 2:
            raise ValueError(numbers)
    year_text = part["year"] or ""
    year = int(year_text)
    if len(year_text) == 2:
        year += 2000 if 2000 + year <= today.year + 1 else 1900
    name = part.get("name")
    month, day = (_MONTHS.index(name[:3].lower()) + 1 if name else int(part["month"] or 0)), int(part["day"] or 0)
    hour = int(part["hour"] or 0)
    if part["half"]:
        if not 1 <= hour <= 12:
            raise ValueError(hour)
        hour = hour % 12 + (12 if part["half"].lower() == "pm" else 0)
    minute, second = int(part["minute"] or 0), int(part["second_"] or 0)
    if part["zone"] and part["zone"][0] not in "+-" and part["zone"].upper() not in _ZONES:
        raise ValueError(part["zone"])
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
