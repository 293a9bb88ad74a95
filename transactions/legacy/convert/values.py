"""Single legacy values, read by the rules.

The functions take what SQLite returns (None, int, float, bytes or str) and raise `UnreadableError` with the reason.
`arrow_columns` does the same for whole columns, and calls these functions for the cells it cannot convert.
"""

import base64
import hashlib
import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final

from transactions.legacy.convert.rules import EARLIEST, MAX_CENTS, MAX_FUTURE
from transactions.legacy.source.sqlite_file import LegacyTable

HIDDEN: Final = "[hidden]"
PSEUDO_TICKERS: Final = frozenset({"RETAIL", "FOOD", "ENERGY", "HOTEL", "AIRLINE", "NONE", "NULL", "N/A", "UNKNOWN"})
TRANSACTION_STATUSES: Final[dict[str, str]] = {
    # An order of the legacy system, "mapped", is decided again by Kamioi's processing.
    **dict.fromkeys(("pending", "mapped", "staged", "queued", "processing"), "pending"),
    **dict.fromkeys(("pending-mapping", "pending-approval", "needs-recognition", "needs-review"), "needs_review"),
    **dict.fromkeys(("completed", "fulfilled"), "completed"),
    **dict.fromkeys(("failed", "rejected", "cancelled", "canceled"), "failed"),
}
_SECRET: Final = re.compile(r"passw|secret|token|api_key", re.IGNORECASE)


class UnreadableError(ValueError):
    """The rule of a value cannot read it."""


def text(value: Any) -> tuple[str | None, list[str]]:
    """Return text that PostgreSQL can store, and the kinds of repairs it took."""
    if value is None:
        return None, []
    if isinstance(value, int | float):
        return str(value), []
    repairs = []
    if isinstance(value, bytes | bytearray | memoryview):
        raw = bytes(value)
        try:
            value = raw.decode("utf-8")
        except UnicodeDecodeError:
            repairs.append("encoding")
            try:
                value = raw.decode("cp1252")
            except UnicodeDecodeError:
                value = raw.decode("latin-1")
    if "\0" in value:
        repairs.append("text")
        value = value.replace("\0", "")
    return value, repairs


def stripped(value: Any) -> str:
    return (text(value)[0] or "").strip()


_ISO = re.compile(
    r"(\d{4})-(\d\d?)-(\d\d?)(?:[T ]+(\d\d?):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?)?"
    r" ?(Z|UTC|GMT|[+-]\d\d:?\d\d|[+-]\d\d)?",
    re.IGNORECASE,
)
_AMERICAN = re.compile(r"(\d\d?)[/.-](\d\d?)[/.-](\d{4})(?:[T ]+(\d\d?):(\d\d)(?::(\d\d))?)?")


def timestamp(value: Any) -> datetime | None:
    """Return the time in UTC; None when it is empty."""
    if isinstance(value, int | float):
        return _from_unix(float(value))
    cell = stripped(value)
    if not cell:
        return None
    try:
        if match := _ISO.fullmatch(cell):
            *parts, fraction, zone = match.groups()
            year, month, day, hour, minute, second = (int(part or 0) for part in parts)
            micros = int((fraction or "0").ljust(6, "0")[:6])
            return datetime(year, month, day, hour, minute, second, micros, tzinfo=UTC) - _offset(zone)
        if match := _AMERICAN.fullmatch(cell):
            first, other, year, hour, minute, second = (int(part or 0) for part in match.groups())
            month, day = (first, other) if first <= 12 else (other, first)
            return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        return _from_unix(float(cell))
    except (ValueError, OverflowError) as error:
        raise UnreadableError(f"not a time: {cell[:40]!r}") from error


def _offset(zone: str | None) -> timedelta:
    if zone is None or zone[0] not in "+-":
        return timedelta()
    digits = zone[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return -offset if zone[0] == "-" else offset


def _from_unix(seconds: float) -> datetime:
    if not math.isfinite(seconds) or seconds < 1e8:
        raise UnreadableError(f"not a time: {seconds!r}")
    try:
        return datetime.fromtimestamp(seconds / 1000 if seconds > 1e11 else seconds, tz=UTC)
    except (OverflowError, OSError, ValueError) as error:
        raise UnreadableError(f"not a time: {seconds!r}") from error


def in_range(at: datetime, now: datetime) -> bool:
    return EARLIEST <= at <= now + MAX_FUTURE


_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?", re.IGNORECASE)


def number(value: Any) -> float | None:
    """Return the number, also from '$1,234.50', '(3.00)' and '95%'; None when it is empty."""
    if value is None:
        return None
    if isinstance(value, int | float):
        result, negative = float(value), False
    else:
        cell = stripped(value)
        if not cell:
            return None
        digits = cell.replace("$", "").replace(",", "").replace(" ", "").rstrip("%")
        negative = digits.startswith("(") and digits.endswith(")")
        digits = digits.strip("()")
        if not _NUMBER.fullmatch(digits):
            raise UnreadableError(f"not a number: {cell[:40]!r}")
        result = float(digits)
    if not math.isfinite(result):
        raise UnreadableError(f"not a number: {str(value)[:40]!r}")
    return -result if negative else result


def integer(value: Any) -> int | None:
    """Return the whole number; None when it is empty."""
    if value is None or isinstance(value, int):
        return value
    result = number(value)
    if result is None:
        return None
    if result != int(result) or abs(result) >= 2**53:
        raise UnreadableError(f"not a whole number: {result!r}")
    return int(result)


def cents(value: Any) -> int | None:
    """Return money in cents, rounded half-even; None when it is empty."""
    result = number(value)
    if result is None:
        return None
    rounded = int(Decimal(repr(result)).scaleb(2).to_integral_value(ROUND_HALF_EVEN))
    if abs(rounded) > MAX_CENTS:
        raise UnreadableError(f"beyond the range of an amount: {result!r}")
    return rounded


_BOOLEANS: Final[dict[str, int]] = {
    **dict.fromkeys(("1", "true", "t", "yes", "y", "on", "1.0"), 1),
    **dict.fromkeys(("0", "false", "f", "no", "n", "off", "0.0"), 0),
    **dict.fromkeys(("-1", "-1.0"), -1),
}


def boolean(value: Any) -> int:
    """Return 1, 0 or -1 (the legacy "rejected"); NULL and blank are unreadable."""
    cell = stripped(value).lower()
    if cell not in _BOOLEANS:
        raise UnreadableError(f"neither true nor false: {cell[:40]!r}")
    return _BOOLEANS[cell]


def ticker(value: Any) -> str | None:
    """Return the ticker in upper case; None for blank and the legacy system's pseudo-tickers."""
    cell = stripped(value).upper()
    return None if not cell or cell in PSEUDO_TICKERS or len(cell) > 12 else cell


def as_json(value: Any) -> Any:
    """Return a value of SQLite for JSON: text without NUL, undecodable bytes as {"base64": …}, no NaN."""
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8").replace("\0", "\\u0000")
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, str):
        return value.replace("\0", "\\u0000")
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value


def from_json(value: Any) -> Any:
    """Return a cell that `as_json` stored, or staff edited, as SQLite would return it."""
    if isinstance(value, dict) and set(value) == {"base64"}:
        return base64.b64decode(value["base64"])
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, dict | list):
        return json.dumps(value).encode()
    return value.replace("\\u0000", "\0").encode() if isinstance(value, str) else value


def row_as_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row for `migration_rejects` or `legacy_rows`, with secrets hidden."""
    return {name: HIDDEN if value is not None and is_secret(name) else as_json(value) for name, value in row.items()}


def is_secret(name: str) -> bool:
    return _SECRET.search(name) is not None


def legacy_id_of(table: LegacyTable, rowid: int | None, row: Mapping[str, Any]) -> str:
    """Return a row's id in `legacy_rows` and `migration_rejects`: its key, or its row number without one."""
    if not table.key:
        return str(rowid)
    parts = [text(row[name])[0] or "" for name in table.key]
    legacy_id = parts[0] if len(parts) == 1 else json.dumps(parts)
    return legacy_id if len(legacy_id) <= 100 else hashlib.sha256(legacy_id.encode()).hexdigest()
