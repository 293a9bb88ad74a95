"""What is done with each kind of dirt: one rule a kind, and the functions that read single values.

A rule either repairs, and is counted, or rejects the whole row to `migration_rejects` with the reason. What a repair
would lose (a user id that nobody has, text behind the width of a column) stays as JSON in `legacy_rows`.

The functions take what SQLite holds (None, int, float, bytes or str) and raise `Unreadable` with a reason in words.
`columns` does the same for whole columns at once and comes here for what it cannot read.
"""

import base64
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final

EARLIEST: Final = datetime(1990, 1, 1, tzinfo=UTC)
LATEST_AHEAD: Final = timedelta(days=366)
MAX_CENTS: Final = 10**14 - 1
"""What numeric(14,2) holds, in cents."""

REPAIRED: Final[dict[str, str]] = {
    "timestamp": (
        "A time in another format than 'YYYY-MM-DD HH:MM:SS' (ISO with T, Z, offset or fractions, a date alone, MM/DD/YYYY, "
        "a Unix number) is read as what it says. Without a zone it is UTC: nothing in the file tells which rows the legacy "
        "system wrote in US Eastern time. MM/DD wins over DD/MM, as it did there. A date alone is midnight UTC."
    ),
    "time missing": "A row without a readable time of its own takes its other one (created_at, the decision's); the original stays in legacy_rows.",
    "confidence": "A confidence above 1 is a percentage and is divided by 100; '95%' is read; below 0 or above 100 becomes 0.",
    "boolean": "0/1, true/false, yes/no in any case are read; NULL and anything else is false.",
    "money": "Money as text ('$12.50', '1,234.50', '(3.00)') is read; binary noise is rounded half-even to cents.",
    "number": "Other numbers kept as text are read; text in an optional number becomes NULL, the original stays in legacy_rows.",
    "text": "NUL characters are taken out; PostgreSQL cannot store them.",
    "encoding": "Bytes that are not UTF-8 are read as Windows-1252, else Latin-1.",
    "too long": "Text longer than its column is cut; the whole text stays in legacy_rows.",
    "status": "Statuses are read without regard to case and blanks. An unknown one of a transaction becomes 'failed' with the word as reason; of a mapping, 'pending'.",
    "approval": "Where admin_approved and status contradict each other: rejected by either is rejected, else approved by either is approved, else pending.",
    "user_id": "A user id in a mapping that is no number (blank, 'anonymous') is nobody's; the original stays in legacy_rows.",
    "user gone": "A mapping of a user that does not exist is kept as nobody's; the original id stays in legacy_rows.",
    "transaction gone": "A mapping of a transaction that does not exist loses the link; the original id stays in legacy_rows.",
    "bulk": "transaction_id 'bulk_…' marks an administrator's upload: source 'bulk', no user and no transaction; the mark stays in legacy_rows.",
    "ticker": "Tickers are read in capitals without blanks; RETAIL, FOOD, ENERGY, HOTEL, AIRLINE and blank are no ticker. Delisted ones stay in the history and are never approved.",
    "sign": "A negative amount whose total_debit is |amount| + round-up + fee is a purchase of a business upload and becomes positive; other negative amounts are refunds.",
    "simulated purchase": "Shares at a price of exactly 1.00 were never bought: the row stays as history, shares and price become NULL (kept in legacy_rows).",
    "total": "An open transaction whose total_debit is not amount + round-up + fee gets that sum; the original stays in legacy_rows.",
    "negative part": "A negative round-up, fee or investable amount becomes 0; the original stays in legacy_rows.",
    "duplicate e-mail": "Of users whose e-mails differ only in case, the one in lower case (else the first) keeps the address; the others get '+legacy<id>' before the @ and keep their money and password.",
    "known e-mail": "A user or administrator whose e-mail already has an account in Kamioi becomes that account.",
    "user number": "A legacy id that another account of Kamioi already has gets a new one; legacy_ids says which.",
    "password: plain text": "Hashed on the way; the text is written nowhere.",
    "password: SHA-256": "The unsalted hash is wrapped in a strong one and replaced at the next log-in.",
    "password: none": "No password: the account cannot log in until one is set.",
    "password: unknown": "A hash of an unknown kind counts as no password.",
    "account type": "'user' and 'admin' seeds and anything unknown become 'individual'.",
    "round-up amount": "The user's round-up amount is made a whole number of dollars between 1 and 100.",
    "account number": "An account number that another user has is left out; the original stays in legacy_rows.",
    "padded account": "Blanks around account numbers of the books are taken off.",
    "setting": "A setting that Kamioi knows is set to the legacy value; a value it cannot use leaves Kamioi's own.",
}

REJECTED: Final[dict[str, str]] = {
    "user gone": "A transaction, holding or notification of a user that was not migrated.",
    "no readable amount": "A transaction without a number as its amount, or beyond 999,999,999,999.99.",
    "no readable date": "A row that needs a date (transactions, mappings) and has none, or one before 1990 or more than a year ahead.",
    "no merchant": "A mapping without a merchant.",
    "no e-mail": "A user or administrator without an e-mail address.",
    "not a holding": "A portfolio row without a ticker, with no shares, or with a cost of less than a cent.",
    "unbalanced": "A journal entry whose debits and credits differ, or that has an account missing: it cannot stand in the books.",
    "unreadable": "A row that SQLite cannot read or PostgreSQL refuses.",
}

LEFT_BEHIND: Final[dict[str, str]] = {
    "password_reset_tokens": "keys to accounts; people ask for new ones",
    "llm_mappings_summary": "counters derived from llm_mappings",
    "sqlite_sequence": "SQLite's own",
}
"""Tables that are not carried over on purpose."""

PERSONAL: Final = ("ssn_last4", "date_of_birth", "dob")
"""Columns of users that are not carried over on purpose: Kamioi has no use for them, and what is not stored cannot leak."""

_SECRET = re.compile(r"passw|secret|token|api_key", re.IGNORECASE)
HIDDEN: Final = "[hidden]"

PSEUDO_TICKERS: Final = frozenset({"RETAIL", "FOOD", "ENERGY", "HOTEL", "AIRLINE", "NONE", "NULL", "N/A", "UNKNOWN"})

# Ours, and the reason where the status says that nothing was bought and nothing will be.
TRANSACTION_STATUS: Final[dict[str, str]] = {
    "pending": "pending",
    "mapped": "pending",  # ours, "mapped", has an order waiting at the market; processing decides that anew
    "staged": "pending",
    "queued": "pending",
    "processing": "pending",
    "pending-mapping": "needs_review",
    "pending-approval": "needs_review",
    "needs-recognition": "needs_review",
    "needs_review": "needs_review",
    "completed": "completed",
    "fulfilled": "completed",
    "failed": "failed",
    "rejected": "failed",
    "cancelled": "failed",
    "canceled": "failed",
}
OPEN_STATUSES: Final = frozenset({"pending", "needs_review"})
MAPPING_APPROVED: Final = frozenset({"approved", "auto-approved", "applied"})
MAPPING_KNOWN: Final = MAPPING_APPROVED | {"pending", "pending-approval", "rejected"}


class UnreadableError(ValueError):
    """A value that its rule cannot read."""


def text(value: Any) -> tuple[str | None, list[str]]:
    """Text as PostgreSQL can store it, and the kinds of repair that it took."""
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


_ISO = re.compile(
    r"(\d{4})-(\d\d?)-(\d\d?)(?:[T ]+(\d\d?):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?)? ?(Z|UTC|GMT|[+-]\d\d:?\d\d|[+-]\d\d)?",
    re.IGNORECASE,
)
_AMERICAN = re.compile(r"(\d\d?)[/.-](\d\d?)[/.-](\d{4})(?:[T ]+(\d\d?):(\d\d)(?::(\d\d))?)?")


def moment(value: Any) -> datetime | None:
    """The UTC time that the value means; None when it is empty. Raises Unreadable."""
    if isinstance(value, int | float):
        return _unix(float(value))
    said = (text(value)[0] or "").strip()
    if not said:
        return None
    try:
        if match := _ISO.fullmatch(said):
            year, month, day, hour, minute, second, fraction, zone = match.groups()
            at = datetime(
                int(year),
                int(month),
                int(day),
                int(hour or 0),
                int(minute or 0),
                int(second or 0),
                int((fraction or "0").ljust(6, "0")[:6]),
                tzinfo=UTC,
            )
            return at - _offset(zone)
        if match := _AMERICAN.fullmatch(said):
            first, other, year, hour, minute, second = match.groups()
            month, day = (first, other) if int(first) <= 12 else (other, first)
            return datetime(
                int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=UTC
            )
        return _unix(float(said))
    except (ValueError, OverflowError) as error:
        raise UnreadableError(f"no time: {said[:40]!r}") from error


def _offset(zone: str | None) -> timedelta:
    if zone is None or zone[0] not in "+-":
        return timedelta()
    digits = zone[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return -offset if zone[0] == "-" else offset


def _unix(seconds: float) -> datetime:
    if not math.isfinite(seconds) or seconds < 1e8:
        raise UnreadableError(f"no time: {seconds!r}")
    try:
        return datetime.fromtimestamp(seconds / 1000 if seconds > 1e11 else seconds, tz=UTC)
    except (OverflowError, OSError, ValueError) as error:
        raise UnreadableError(f"no time: {seconds!r}") from error


def in_range(at: datetime, now: datetime) -> bool:
    """Whether a row may carry this date: from 1990 to a year ahead."""
    return EARLIEST <= at <= now + LATEST_AHEAD


_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?", re.IGNORECASE)


def number(value: Any) -> float | None:
    """The number that the value means: '$1,234.50' and '(3.00)' and '95%' are read; None when empty. Raises Unreadable."""
    if value is None or isinstance(value, int | float):
        if isinstance(value, float) and not math.isfinite(value):
            raise UnreadableError(f"no number: {value!r}")
        return None if value is None else float(value)
    said = (text(value)[0] or "").strip()
    if not said:
        return None
    plain = said.replace("$", "").replace(",", "").replace(" ", "").rstrip("%")
    negative = plain.startswith("(") and plain.endswith(")")
    plain = plain.strip("()")
    if not _NUMBER.fullmatch(plain):
        raise UnreadableError(f"no number: {said[:40]!r}")
    found = float(plain)
    if not math.isfinite(found):
        raise UnreadableError(f"no number: {said[:40]!r}")
    return -found if negative else found


def integer(value: Any) -> int | None:
    """The whole number that the value means; None when empty. Raises Unreadable."""
    if value is None or isinstance(value, int):
        return value
    found = number(value)
    if found is None:
        return None
    if found != int(found) or abs(found) >= 2**53:
        raise UnreadableError(f"no whole number: {found!r}")
    return int(found)


def cents(value: Any) -> int | None:
    """Money in cents, rounded half-even; None when empty. Raises Unreadable."""
    found = number(value)
    if found is None:
        return None
    rounded = int(Decimal(repr(found)).scaleb(2).to_integral_value(ROUND_HALF_EVEN))
    if abs(rounded) > MAX_CENTS:
        raise UnreadableError(f"beyond what the books hold: {found!r}")
    return rounded


_BOOLEANS: Final[dict[str, int]] = {
    "1": 1,
    "true": 1,
    "t": 1,
    "yes": 1,
    "y": 1,
    "on": 1,
    "1.0": 1,
    "0": 0,
    "false": 0,
    "f": 0,
    "no": 0,
    "n": 0,
    "off": 0,
    "0.0": 0,
    "-1": -1,
    "-1.0": -1,
}


def boolean(value: Any) -> int:
    """1, 0 or -1 (the legacy "rejected"). Raises Unreadable for anything else, NULL and blank included."""
    said = (text(value)[0] or "").strip().lower()
    if said not in _BOOLEANS:
        raise UnreadableError(f"neither true nor false: {said[:40]!r}")
    return _BOOLEANS[said]


def ticker(value: Any) -> str | None:
    """The ticker in capitals; None for none, blank and the legacy's pseudo-tickers."""
    said = (text(value)[0] or "").strip().upper()
    return None if not said or said in PSEUDO_TICKERS or len(said) > 12 else said


def mapping_status(status: str, admin_approved: int) -> str:
    """What was really decided about a mapping."""
    if admin_approved == -1 or status == "rejected":
        return "rejected"
    return "approved" if admin_approved == 1 or status in MAPPING_APPROVED else "pending"


def plain(value: Any) -> Any:
    """A value of SQLite as JSON: text without NUL, bytes that are no text as {"base64": …}, no NaN."""
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


def row_as_json(row: Mapping[str, Any], *, hide: bool = True) -> dict[str, Any]:
    """A whole row for `migration_rejects` or `legacy_rows`: nothing that opens an account is in it."""
    return {
        name: HIDDEN if hide and value is not None and _SECRET.search(name) else plain(value)
        for name, value in row.items()
    }
