"""Single legacy values read by the rules a second time, with other means than `convert`: the proof shares no code.

Only the lists of words (statuses, pseudo-tickers) are shared. Free of Django: ranges are compared in processes of their
own.
"""

import base64
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Final

from transactions.legacy.convert.values import PSEUDO_TICKERS
from transactions.rules.merchant_key import MAX_KEY_LENGTH, normalise_uncached

Row = Mapping[str, Any]

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_EARLIEST: Final = (datetime(1990, 1, 1, tzinfo=UTC) - EPOCH) // _MICROSECOND
_ISO_FORMATS: Final = ("%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d")
_OTHER_FORMATS: Final = (
    *(date + zone for date in _ISO_FORMATS for zone in ("", "%z", " %z")),
    *(date + clock for date in ("%m/%d/%Y", "%d/%m/%Y") for clock in ("", " %H:%M:%S", " %H:%M")),
)


def read_text(value: Any) -> str | None:
    if value is None or value.__class__ is str:
        return value
    if not isinstance(value, bytes):
        return str(value)
    for encoding in ("utf-8", "cp1252", "latin-1"):
        try:
            return value.decode(encoding).replace("\0", "")
        except UnicodeDecodeError:
            continue
    raise AssertionError("latin-1 decodes anything")


def read_word(value: Any) -> str:
    """Return the text in lower case without blanks; empty for NULL."""
    return (read_text(value) or "").strip().lower()


@lru_cache(maxsize=100_000)
def read_time(value: Any) -> int | None:
    """Return microseconds since 1970 UTC; None for NULL and for what is not a time."""
    if value is None:
        return None
    text = (read_text(value) or "").strip()
    at = _parse_time(text)
    if at is None:
        try:
            number = float(text)
        except ValueError:
            return None
        if not 1e8 <= number < 1e15:
            return None
        seconds = number / 1000 if number > 1e11 else number
        return round(Decimal(repr(seconds)) * 1_000_000)
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return (at - EPOCH) // _MICROSECOND


def _parse_time(text: str) -> datetime | None:
    try:
        if len(text) >= 10 and text[4:5] == "-":
            return datetime.fromisoformat(text)
    except ValueError:
        pass
    for time_format in _OTHER_FORMATS:
        try:
            return datetime.strptime(text.replace("UTC", "+0000"), time_format)  # noqa: DTZ007
        except ValueError:
            continue
    return None


def latest_valid_time() -> int:
    return (datetime.now(UTC) + timedelta(days=366) - EPOCH) // _MICROSECOND


def first_time(row: Row, names: Iterable[str], latest: int) -> int | None:
    """Return the first valid time of these columns."""
    for name in names:
        at = read_time(row.get(name))
        if at is not None and _EARLIEST <= at <= latest:
            return at
    return None


def read_number(value: Any) -> Decimal | None:
    """Return the number as it is written; None for NULL. Raises ValueError for what is not a number."""
    if value is None:
        return None
    if isinstance(value, int | float):
        number = Decimal(repr(value))
    else:
        text = re.sub(r"[$,%\s]", "", read_text(value) or "")
        if not text:
            return None
        sign = -1 if text.startswith("(") and text.endswith(")") else 1
        try:
            number = sign * Decimal(text.strip("()"))
        except InvalidOperation as error:
            raise ValueError(text) from error
    if not number.is_finite():
        raise ValueError(str(number))
    return number


@lru_cache(maxsize=100_000)
def read_units(value: Any, places: int, limit: int) -> int | None:
    """Return units of 10^-places, half-even; None for NULL, for what is not a number, and beyond `limit`."""
    try:
        number = read_number(value)
    except ValueError:
        return None
    if number is None or not abs(number).scaleb(places) <= limit:
        return None
    return int(number.scaleb(places).to_integral_value(ROUND_HALF_EVEN))


def read_cents(value: Any) -> int | None:
    return read_units(value, 2, 10**14 - 1)


@lru_cache(maxsize=10_000)
def read_whole(value: Any) -> int | None:
    """Return the whole number; None for anything else."""
    try:
        number = read_number(value)
    except ValueError:
        return None
    return int(number) if number is not None and number == int(number) else None


@lru_cache(maxsize=10_000)
def read_ticker(value: Any) -> str | None:
    text = (read_text(value) or "").strip().upper()
    return text if 0 < len(text) <= 12 and text not in PSEUDO_TICKERS else None


@lru_cache(maxsize=1_000)
def read_flag(value: Any) -> int:
    word = read_word(value)
    if word in ("1", "1.0", "true", "t", "yes", "y", "on"):
        return 1
    return -1 if word in ("-1", "-1.0") else 0


@lru_cache(maxsize=100_000)
def merchant_key(merchant: str) -> str:
    return normalise_uncached(merchant)[:MAX_KEY_LENGTH]


_SECRET: Final = re.compile("passw|secret|token|api_key", re.IGNORECASE)


def is_secret(name: str) -> bool:
    return _SECRET.search(name) is not None


def stored_json(name: str, value: Any) -> Any:
    """Return a cell as `legacy_rows` must hold it."""
    if value is not None and is_secret(name):
        return "[hidden]"
    if isinstance(value, bytes):
        try:
            return value.decode().replace("\0", "\\u0000")
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(value).decode()}
    return value
