"""What every legacy row must have become, worked out anew, and the comparison with what PostgreSQL holds.

The proof of `copy` uses nothing of it: no Arrow, no `columns`, `tables`, `rows` or `load`. A row is read with `sqlite3`,
the rules are followed as `rules.REPAIRED` says them in words, with other means (`Decimal`, `datetime.fromisoformat`), and
PostgreSQL is asked for what it holds. Only the lists of words (statuses, pseudo-tickers) are shared.

Free of Django: ranges are compared in processes of their own.
"""

import re
import sqlite3
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import psycopg2

from transactions.legacy.convert import rules
from transactions.legacy.source.snapshot import BUSY_SECONDS, quoted
from transactions.rules.merchant_key import MAX_KEY_LENGTH, normalise_uncached

LISTED: Final = 200
"""Differences kept of each table; all are counted."""

Row = Mapping[str, Any]
Cells = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """One cell, or one whole row (`column` is empty), that is not what it should be."""

    table: str
    legacy_id: str
    column: str
    expected: str
    found: str

    def __str__(self) -> str:
        where = f"{self.table} {self.legacy_id}" + (f", {self.column}" if self.column else "")
        return f"{where}: expected {self.expected}; found {self.found}"


@dataclass(slots=True)
class Month:
    """What one month of a table adds up to: rows, cents by column, and a checksum over every column of every row."""

    rows: int = 0
    cents: Counter[str] = field(default_factory=Counter)
    checksum: int = 0

    def add(self, cells: Cells, money: Mapping[str, int]) -> None:
        """Count a row. `money` is the place of each money column."""
        self.rows += 1
        for name, place in money.items():
            self.cents[name] += cells[place]
        self.checksum = (self.checksum + zlib.crc32(repr(cells).encode())) & 0xFFFFFFFFFFFFFFFF

    def merge(self, other: "Month") -> None:
        """Add what another range of the table made of the same month."""
        self.rows += other.rows
        self.cents.update(other.cents)
        self.checksum = (self.checksum + other.checksum) & 0xFFFFFFFFFFFFFFFF


@dataclass(slots=True)
class TableComparison:
    """What became of one table. Source rows = migrated + rejected when nothing was lost."""

    name: str
    source: int = 0
    migrated: int = 0
    rejected: int = 0
    moving: int = 0
    different: int = 0
    differences: list[Difference] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    """Legacy ids of all rows that differ."""
    expected_months: dict[str, Month] = field(default_factory=lambda: defaultdict(Month))
    found_months: dict[str, Month] = field(default_factory=lambda: defaultdict(Month))

    @property
    def clean(self) -> bool:
        """Whether every row that was judged is what it should be, and none is missing."""
        return not self.different and (bool(self.moving) or self.source == self.migrated + self.rejected)

    def differs(self, legacy_id: object, column: str, expected: object, found: object) -> None:
        """Note a difference."""
        self.different += 1
        self.ids.add(str(legacy_id))
        if len(self.differences) < LISTED:
            self.differences.append(Difference(self.name, str(legacy_id), column, _shown(expected), _shown(found)))

    def merge(self, other: "TableComparison") -> None:
        """Add what another range of the table gave."""
        self.source += other.source
        self.migrated += other.migrated
        self.rejected += other.rejected
        self.moving += other.moving
        self.different += other.different
        self.ids |= other.ids
        self.differences += other.differences[: LISTED - len(self.differences)]
        for mine, theirs in ((self.expected_months, other.expected_months), (self.found_months, other.found_months)):
            for month, sums in theirs.items():
                mine[month].merge(sums)


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def source_open(path: Path) -> sqlite3.Connection:
    opened = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS, isolation_level=None)
    opened.text_factory = bytes
    opened.execute("PRAGMA cache_size = -8000")
    return opened


# --- reading single values, by the rules ------------------------------------------------------------------------------

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICRO = timedelta(microseconds=1)
_EARLIEST = (datetime(1990, 1, 1, tzinfo=UTC) - _EPOCH) // _MICRO
CENTS = Decimal("0.01")


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
    raise AssertionError("latin-1 reads anything")


@lru_cache(maxsize=100_000)
def read_time(value: Any) -> int | None:
    """Microseconds since 1970 UTC; None for nothing and for what is no time."""
    if value is None:
        return None
    said = (read_text(value) or "").strip()
    at: datetime | None = None
    try:
        at = datetime.fromisoformat(said) if len(said) >= 10 and said[4:5] == "-" else None
    except ValueError:
        at = _loose_iso(said)
    if at is None and "/" in said:
        at = _american(said)
    if at is None:
        try:
            number = float(said)
        except ValueError:
            return None
        if not 1e8 <= number < 1e15:
            return None
        seconds = number / 1000 if number > 1e11 else number
        return round(Decimal(repr(seconds)) * 1_000_000)
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return (at - _EPOCH) // _MICRO


def _loose_iso(said: str) -> datetime | None:
    for shape in ("%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d"):
        for zone in ("", "%z", " %z"):
            try:
                return datetime.strptime(said.replace("UTC", "+0000"), shape + zone)  # noqa: DTZ007
            except ValueError:
                continue
    return None


def _american(said: str) -> datetime | None:
    for day in ("%m/%d/%Y", "%d/%m/%Y"):
        for hour in ("", " %H:%M:%S", " %H:%M"):
            try:
                return datetime.strptime(said, day + hour)  # noqa: DTZ007
            except ValueError:
                continue
    return None


def read_number(value: Any) -> Decimal | None:
    """The number as it is written; None for nothing. Raises ValueError for what is no number."""
    if value is None:
        return None
    if isinstance(value, int | float):
        found = Decimal(repr(value))
    else:
        said = re.sub(r"[$,%\s]", "", read_text(value) or "")
        if not said:
            return None
        sign = -1 if said.startswith("(") and said.endswith(")") else 1
        try:
            found = sign * Decimal(said.strip("()"))
        except InvalidOperation as error:
            raise ValueError(said) from error
    if not found.is_finite():
        raise ValueError(str(found))
    return found


@lru_cache(maxsize=100_000)
def read_units(value: Any, places: int, limit: int) -> int | None:
    """Units of 10^-places, half-even; None for nothing, for no number, and beyond `most`."""
    try:
        found = read_number(value)
    except ValueError:
        return None
    if found is None:
        return None
    if not abs(found).scaleb(places) <= limit:
        return None
    return int(found.scaleb(places).to_integral_value(ROUND_HALF_EVEN))


def read_cents(value: Any) -> int | None:
    return read_units(value, 2, 10**14 - 1)


@lru_cache(maxsize=10_000)
def read_whole(value: Any) -> int | None:
    try:
        found = read_number(value)
    except ValueError:
        return None
    return int(found) if found is not None and found == int(found) else None


@lru_cache(maxsize=10_000)
def read_ticker(value: Any) -> str | None:
    said = (read_text(value) or "").strip().upper()
    return said if 0 < len(said) <= 12 and said not in rules.PSEUDO_TICKERS else None


@lru_cache(maxsize=1_000)
def read_flag(value: Any) -> int:
    said = (read_text(value) or "").strip().lower()
    if said in ("1", "1.0", "true", "t", "yes", "y", "on"):
        return 1
    return -1 if said in ("-1", "-1.0") else 0


@lru_cache(maxsize=100_000)
def _key(merchant: str) -> str:
    return normalise_uncached(merchant)[:MAX_KEY_LENGTH]


def _first_time(row: Row, names: Iterable[str], latest: int) -> int | None:
    for name in names:
        at = read_time(row.get(name))
        if at is not None and _EARLIEST <= at <= latest:
            return at
    return None


# --- what a row must have become --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Context:
    users: Mapping[int, int]
    latest: int


@dataclass(frozen=True, slots=True)
class _Big:
    """A big table: what a row becomes (or the reason of its rejection), and what PostgreSQL is asked for."""

    becomes: Callable[[Row, _Context], Cells | str]
    columns: tuple[str, ...]
    select: str
    money: Mapping[str, int]
    month: int
    more: str = ""


def _transaction(row: Row, context: _Context) -> Cells | str:
    user = context.users.get(read_whole(row["user_id"]) or 0)
    if user is None:
        return "user gone"
    at = _first_time(row, ("date", "created_at"), context.latest)
    if at is None:
        return "no readable date"
    amount = read_cents(row["amount"])
    if amount is None:
        return "no readable amount"
    created = read_time(row.get("created_at"))
    created = at if created is None else created
    updated = read_time(row.get("updated_at"))

    word = (read_text(row.get("status")) or "").strip().lower().replace("_", "-") or "pending"
    status = "needs_review" if word == "needs-review" else rules.TRANSACTION_STATUS.get(word)
    reason = (
        f"unknown legacy status: {word}"[:255]
        if status is None
        else f"legacy status: {word}"
        if status == "failed"
        else ""
    )
    status = status or "failed"

    investable, round_up, fee = (max(read_cents(row.get(name)) or 0, 0) for name in ("investable", "round_up", "fee"))
    total = read_cents(row.get("total_debit"))
    if amount < 0 and total == -amount + round_up + fee:
        amount = -amount
    if total is None:
        total = amount + round_up + fee
    if amount < 0 and status != "failed":
        status = "refunded"
    elif amount == 0 and status in ("pending", "needs_review"):
        status = "not_listed"
    waits = status in ("pending", "needs_review")
    if waits:
        total = amount + round_up + fee

    shares, price = read_units(row.get("shares"), 8, 9 * 10**18), read_units(row.get("price_per_share"), 4, 10**14 - 1)
    if shares is not None and price == 10_000:
        shares = price = None
    merchant = (read_text(row.get("merchant")) or "")[:255]
    kind = read_text(row.get("transaction_type"))
    return (
        user,
        at,
        merchant,
        _key(merchant),
        amount,
        investable,
        round_up,
        fee,
        total,
        (read_text(row.get("category")) or "")[:100],
        (read_text(row.get("description")) or "")[:500],
        read_ticker(row.get("ticker")),
        shares,
        price,
        status,
        reason,
        ("bank" if kind is None else kind)[:20],
        "legacy_open" if waits else "legacy",
        created,
        created if updated is None else updated,
    )


def _mapping(row: Row, context: _Context) -> Cells | str:
    merchant = (read_text(row["merchant_name"]) or "")[:255]
    if not merchant.strip():
        return "no merchant"
    at = _first_time(row, ("created_at", "ai_decision_timestamp", "processed_at", "ai_processing_time"), context.latest)
    if at is None:
        return "no readable date"
    mark = row.get("transaction_id")
    bulk = isinstance(mark, bytes) and mark.strip().lower().startswith(b"bulk_")
    link = read_whole(mark) if row["has transaction"] else None

    owner: int | None = None
    if not bulk:
        said = (read_text(row.get("user_id")) or "").strip().removesuffix(".0")
        owner = context.users.get(int(said)) if said.isascii() and said.isdigit() and len(said) < 19 else None

    word = (read_text(row.get("status")) or "").strip().lower().replace("_", "-")
    flag = read_flag(row.get("admin_approved"))
    if flag == -1 or word == "rejected":
        status = "rejected"
    elif flag == 1 or word in ("approved", "auto-approved", "applied"):
        status = "approved"
    else:
        status = "pending"

    took = read_whole(row.get("ai_processing_duration"))
    return (
        link,
        merchant,
        _key(merchant),
        read_ticker(row.get("ticker")),
        (read_text(row.get("category")) or "")[:100],
        _confidence(row.get("confidence")),
        status,
        status == "approved",
        read_flag(row.get("ai_processed")) == 1,
        (read_text(row.get("company_name")) or "")[:200],
        owner,
        "bulk" if bulk else "legacy",
        at,
        (read_text(row.get("ai_model_version")) or "")[:100],
        read_text(row.get("ai_reasoning")) or "",
        read_flag(row.get("ai_auto_approved")) == 1,
        took if took is not None and 0 <= took < 2**31 else None,
        read_time(row.get("ai_decision_timestamp")),
    )


@lru_cache(maxsize=100_000)
def _confidence(value: Any) -> int:
    try:
        found = read_number(value) or Decimal(0)
    except ValueError:
        return 0
    if found > 1:
        found /= 100
    return int(found.scaleb(4).to_integral_value(ROUND_HALF_EVEN)) if 0 <= found <= 1 else 0


def _select(table: str, expressions: Mapping[str, str]) -> str:
    return (
        f"SELECT id, {', '.join(expressions.values())} FROM {table} WHERE id > %s AND id <= %s "
        "AND source IN ('legacy', 'legacy_open', 'bulk') ORDER BY id"
    )


def _micros(column: str) -> str:
    return f"(extract(epoch FROM {column}) * 1000000)::bigint"


_TRANSACTION_COLUMNS: Final[dict[str, str]] = {
    "user_id": "user_id",
    "date": _micros("date"),
    "merchant": "merchant",
    "merchant_key": "merchant_key",
    **{name: f"({name} * 100)::bigint" for name in ("amount", "investable", "round_up", "fee", "total_debit")},
    "category": "category",
    "description": "description",
    "ticker": "ticker",
    "shares": "(shares * 100000000)::bigint",
    "price_per_share": "(price_per_share * 10000)::bigint",
    "status": "status",
    "failure_reason": "failure_reason",
    "transaction_type": "transaction_type",
    "source": "source",
    "created_at": _micros("created_at"),
    "updated_at": _micros("updated_at"),
}
_MAPPING_COLUMNS: Final[dict[str, str]] = {
    **{name: name for name in ("transaction_id", "merchant_name", "merchant_key", "ticker", "category")},
    "confidence": "(confidence * 10000)::int",
    **{name: name for name in ("status", "admin_approved", "ai_processed", "company_name", "user_id", "source")},
    "created_at": _micros("created_at"),
    "ai_model_version": "ai_model_version",
    "ai_reasoning": "ai_reasoning",
    "ai_auto_approved": "ai_auto_approved",
    "ai_processing_ms": "ai_processing_ms",
    "ai_decided_at": _micros("ai_decided_at"),
}


def _big_of(name: str, expressions: dict[str, str], money: Sequence[str], month: str, **rest: Any) -> _Big:
    columns = tuple(expressions)
    return _Big(
        columns=columns,
        select=_select(name, expressions),
        money={column: columns.index(column) for column in money},
        month=columns.index(month),
        **rest,
    )


BIG: Final[dict[str, _Big]] = {
    "transactions": _big_of(
        "transactions",
        _TRANSACTION_COLUMNS,
        ("amount", "investable", "round_up", "fee", "total_debit"),
        "date",
        becomes=_transaction,
    ),
    "llm_mappings": _big_of(
        "llm_mappings",
        _MAPPING_COLUMNS,
        (),
        "created_at",
        becomes=_mapping,
        # SQLite says whether the transaction is there; a mark such as 'bulk_7' is no number of one.
        more="EXISTS (SELECT 1 FROM transactions AS t WHERE t.rowid = CAST(CAST(m.transaction_id AS TEXT) AS INTEGER) "
        "AND CAST(m.transaction_id AS TEXT) NOT LIKE 'bulk%')",
    ),
}


# --- ranges of the big tables ---


@dataclass(frozen=True, slots=True)
class Task:
    path: str
    dsn: str
    table: str
    columns: tuple[str, ...]
    has_transactions: bool


_worker: "Worker | None" = None


def worker_start(task: Task) -> None:
    global _worker  # noqa: PLW0603
    _worker = Worker(task)


def worker_compare(low: int, high: int) -> TableComparison:
    if _worker is None:
        raise RuntimeError("the process was not started by validate")
    return _worker.compare(low, high)


class Worker:
    """Compares ranges of one big table."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._big = BIG[task.table]
        self._source = source_open(Path(task.path))
        self._target = psycopg2.connect(task.dsn)
        with self._target.cursor() as cursor:
            cursor.execute("SELECT legacy_id, user_id FROM legacy_ids WHERE source_table = 'users'")
            users = dict(cursor.fetchall())
        now = datetime.now(UTC) + timedelta(days=366)
        self._context = _Context(users, (now - _EPOCH) // _MICRO)
        more = self._big.more if task.has_transactions else "0"
        selected = ", ".join(f"m.{quoted(column)}" for column in task.columns)
        self._sql = f"SELECT m.rowid, {more or '0'}, {selected} FROM {task.table} AS m WHERE m.rowid > ? AND m.rowid <= ? ORDER BY 1"

    def close(self) -> None:
        """Give the connections back."""
        self._source.close()
        self._target.close()

    def compare(self, low: int, high: int) -> TableComparison:
        """The rows with `low` < number ≤ `high`, on both sides."""
        check, big = TableComparison(self._task.table), self._big
        with self._target, self._target.cursor() as cursor:
            cursor.execute(big.select, [low, high])
            found = {row[0]: row[1:] for row in cursor}
            cursor.execute(
                "SELECT legacy_id::bigint, reason, resolved_at IS NOT NULL, row FROM migration_rejects "
                "WHERE table_name = %s AND legacy_id ~ '^[0-9]+$' AND legacy_id::bigint > %s AND legacy_id::bigint <= %s",
                [self._task.table, low, high],
            )
            rejects = {row[0]: row[1:] for row in cursor}
        names = ("has transaction", *self._task.columns)
        for rowid, *cells in self._source.execute(self._sql, (low, high)):
            check.source += 1
            row = dict(zip(names, cells, strict=True))
            reject = rejects.get(rowid)
            if reject and reject[1]:  # mended: what was migrated is the mended row
                row |= reject[2]
            self._judge(check, rowid, big.becomes(row, self._context), found.pop(rowid, None), reject)
        for rowid, there in found.items():
            check.migrated += 1
            self._count(check.found_months, there)
            check.differs(rowid, "", "no such row", "a row")
        return check

    def _judge(
        self,
        check: TableComparison,
        rowid: int,
        expected: Cells | str,
        found: Cells | None,
        reject: tuple[str, bool, Any] | None,
    ) -> None:
        if found is not None:
            check.migrated += 1
            self._count(check.found_months, found)
        if reject is not None and not reject[1]:
            check.rejected += 1
            if found is not None:
                check.differs(rowid, "", "rejected", "rejected, and migrated as well")
            elif isinstance(expected, str) and reject[0] != expected:
                check.differs(rowid, "reason", expected, reject[0])
            elif not isinstance(expected, str) and not reject[0].startswith("unreadable"):
                check.differs(rowid, "", "a row", f"rejected: {reject[0]}")
            return
        if isinstance(expected, str):
            check.differs(rowid, "", f"rejected: {expected}", "no row" if found is None else "a row")
            return
        self._count(check.expected_months, expected)
        if found is None:
            check.differs(rowid, "", "a row", "no row")
        elif found != expected:
            for name, wanted, there in zip(self._big.columns, expected, found, strict=True):
                if wanted != there:
                    check.differs(rowid, name, wanted, there)

    def _count(self, months: dict[str, Month], cells: Cells) -> None:
        months[_month(cells[self._big.month] // 1_000_000 // 86_400)].add(cells, self._big.money)


@lru_cache(maxsize=10_000)
def _month(day: int) -> str:
    return f"{_EPOCH + timedelta(days=day):%Y-%m}"
