"""`validate`: both sides read row by row and compared, cell by cell; `expected` says what a row must have become.

Each row of the source is found again or stands in `migration_rejects`, and nothing else came along. The source may be
written to meanwhile: rows that its log of changes names since the last sync are not judged.
"""

import base64
import json
import random
import re
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import psycopg2

from transactions.legacy.convert import rules
from transactions.legacy.load.migration_lock import connection_string
from transactions.legacy.source.change_log import pending_changes
from transactions.legacy.source.snapshot import check_file, quoted, source_errors
from transactions.legacy.validate.oracle import (
    BIG,
    CENTS,
    Month,
    Row,
    TableComparison,
    Task,
    Worker,
    read_cents,
    read_flag,
    read_number,
    read_text,
    read_ticker,
    read_units,
    read_whole,
    source_open,
    worker_compare,
    worker_start,
)

RANGE: Final = 20_000
"""Row numbers compared at once."""
PROCESSES: Final = 2
# Below this a second process costs more than it saves.
_WORTH_PROCESSES: Final = 200_000

Report = Callable[[str, int, int], None]


@dataclass(slots=True)
class Validation:
    """The whole comparison."""

    tables: list[TableComparison] = field(default_factory=list)
    samples: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether both sides say the same."""
        return all(table.clean for table in self.tables)

    def lines(self) -> Iterator[str]:
        """For people: counts, sums by month, samples, differences, and the verdict at the end."""
        yield from self.samples
        yield f"{'table':<24}{'source':>12}{'migrated':>12}{'rejected':>10}{'changing':>10}{'different':>11}"
        for table in self.tables:
            yield (
                f"{table.name:<24}{table.source:>12,}{table.migrated:>12,}{table.rejected:>10,}"
                f"{table.moving:>10,}{table.different:>11,}"
            )
        for table in self.tables:
            yield from _month_lines(table)
        for table in self.tables:
            for difference in table.differences:
                yield f"! {difference}"
            if table.different > len(table.differences):
                yield f"! {table.name}: {table.different - len(table.differences):,} more"
            if not table.clean and not table.different:
                lost = table.source - table.migrated - table.rejected
                yield f"! {table.name}: {abs(lost):,} rows are {'missing' if lost > 0 else 'too many'}"
        moving = sum(table.moving for table in self.tables)
        if moving:
            yield f"{moving:,} rows changed since the last sync and were not judged."
        yield "Both sides agree." if self.clean else "The two sides differ."

    def as_json(self) -> dict[str, Any]:
        """For `migration_runs`."""
        return {
            "clean": self.clean,
            "tables": {
                table.name: {
                    "source": table.source,
                    "migrated": table.migrated,
                    "rejected": table.rejected,
                    "changing": table.moving,
                    "different": table.different,
                    "differences": [str(difference) for difference in table.differences[:50]],
                    "months": {
                        month: {
                            "rows": sums.rows,
                            "cents": dict(sums.cents),
                            "checksum": f"{sums.checksum:016x}",
                            "same": sums == table.found_months.get(month),
                        }
                        for month, sums in sorted(table.expected_months.items())
                    },
                }
                for table in self.tables
            },
        }


def _month_lines(table: TableComparison) -> Iterator[str]:
    months = sorted(set(table.expected_months) | set(table.found_months))
    if not months:
        return
    names = sorted({name for sums in table.expected_months.values() for name in sums.cents})
    yield f"\n{table.name} by month: rows, checksum, {', '.join(names) or 'no money'}"
    for month in months:
        mine, theirs = table.expected_months[month], table.found_months[month]
        sign = " " if mine == theirs else "!"
        yield f"{sign} {month} {_sums(mine, names)}"
        if mine != theirs:
            yield f"!  found {_sums(theirs, names)}"


def _sums(month: Month, names: Sequence[str]) -> str:
    money = "".join(f" {Decimal(month.cents[name]).scaleb(-2):>15,}" for name in names)
    return f"{month.rows:>11,}  {month.checksum:016x}{money}"


def validate(path: Path, *, samples: int = 5, on_progress: Report | None = None, excuse: bool = True) -> Validation:
    """Compare the legacy file with what PostgreSQL holds of it. Raises LegacySourceError.

    `excuse` takes differences of rows that wait for `sync` for what they are.
    """
    check_file(path)
    result = Validation()
    with (
        source_errors(path),
        closing(source_open(path)) as source,
        closing(psycopg2.connect(connection_string())) as target,
    ):
        source.execute("BEGIN")
        tables = {name: columns for name, columns in _tables(source) if name not in rules.LEFT_BEHIND}
        for name in [name for name in BIG if name in tables]:
            result.tables.append(_big(path, source, name, tables[name], on_progress))
            result.samples += _samples(source, target, name, tables[name], samples)
        for name in sorted(set(tables) - set(BIG)):
            result.tables.append(_small(source, target, name, tables[name], on_progress))
    if excuse:
        _excuse(result, pending_changes(path))
    return result


def _excuse(result: Validation, changed: Mapping[str, set[str]]) -> None:
    """Take out the differences of rows that the legacy system changed since the last sync, or during the comparison."""
    for table in result.tables:
        waiting = changed.get(table.name, set())
        table.moving = len(waiting)
        if table.ids and table.ids <= waiting:
            table.differences, table.different = [], 0
        elif waiting:
            table.differences = [one for one in table.differences if one.legacy_id not in waiting]


def _tables(source: sqlite3.Connection) -> list[tuple[str, list[str]]]:
    found = source.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' "
        "AND name NOT LIKE 'kamioi\\_%' ESCAPE '\\' ORDER BY 1"
    ).fetchall()
    return [
        (name.decode(), [row[1].decode() for row in source.execute(f"PRAGMA table_info({quoted(name.decode())})")])
        for (name,) in found
    ]


# --- the big tables ---------------------------------------------------------------------------------------------------


def _big(
    path: Path, source: sqlite3.Connection, name: str, columns: list[str], on_progress: Report | None
) -> TableComparison:
    total = source.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
    lowest, highest = source.execute(f"SELECT coalesce(min(rowid), 1), coalesce(max(rowid), 0) FROM {name}").fetchone()
    check, done = TableComparison(name), 0
    has_transactions = bool(
        source.execute("SELECT count(*) FROM sqlite_master WHERE name = 'transactions'").fetchone()[0]
    )
    task = Task(str(path), connection_string(), name, tuple(columns), has_transactions)
    ranges = [(low, min(low + RANGE, highest)) for low in range(lowest - 1, highest, RANGE)]
    for part in _parts(task, ranges, inline=total < _WORTH_PROCESSES):
        check.merge(part)
        done += part.source
        if on_progress:
            on_progress(f"compare {name}", done, total)
    with closing(psycopg2.connect(task.dsn)) as target, target.cursor() as cursor:
        cursor.execute(
            f"SELECT id FROM {name} WHERE source IN ('legacy', 'legacy_open', 'bulk') AND (id <= %s OR id > %s) "
            "ORDER BY id LIMIT 100",
            [lowest - 1, highest],
        )
        for (extra,) in cursor.fetchall():
            check.migrated += 1
            check.differs(extra, "", "no such row", "a row")
    return check


def _parts(task: Task, ranges: list[tuple[int, int]], *, inline: bool) -> Iterator[TableComparison]:
    if inline:
        worker = Worker(task)
        for low, high in ranges:
            yield worker.compare(low, high)
        worker.close()
        return
    # New processes and not forked ones: they must not share connections.
    with ProcessPoolExecutor(PROCESSES, get_context("spawn"), worker_start, (task,)) as pool:
        waiting = iter(ranges)
        running = {pool.submit(worker_compare, *span) for _, span in zip(range(PROCESSES * 2), waiting, strict=False)}
        while running:
            done = next(as_completed(running))
            running.discard(done)
            if (span := next(waiting, None)) is not None:
                running.add(pool.submit(worker_compare, *span))
            yield done.result()


def _samples(source: sqlite3.Connection, target: Any, name: str, columns: list[str], count: int) -> list[str]:
    """A few rows side by side."""
    highest = source.execute(f"SELECT coalesce(max(rowid), 0) FROM {name}").fetchone()[0]
    lines: list[str] = []
    for _ in range(count if highest else 0):
        row = source.execute(
            f"SELECT rowid, * FROM {name} WHERE rowid >= ? ORDER BY rowid LIMIT 1", [random.randint(1, highest)]
        ).fetchone()
        if row is None:
            continue
        with target.cursor() as cursor:
            cursor.execute(f"SELECT to_jsonb({name}) FROM {name} WHERE id = %s", [row[0]])
            there = (cursor.fetchone() or [{}])[0]
        here = {column: read_text(cell) for column, cell in zip(columns, row[1:], strict=True)}
        lines.append(f"\n{name} {row[0]:<12} {'legacy':<40} Kamioi")
        for column in [*here, *(column for column in there if column not in here)]:
            left, right = here.get(column), there.get(column)
            if left is not None or right is not None:
                lines.append(f"  {column:<22} {_cut(left):<40} {_cut(right)}")
    return [*lines, ""] if lines else []


def _cut(value: object) -> str:
    text = "" if value is None else str(value).replace("\n", "⏎")
    return text if len(text) <= 38 else text[:37] + "…"


# --- the other tables -------------------------------------------------------------------------------------------------

_Reader = Callable[[Any, Sequence[tuple[str, Row]]], dict[str, dict[str, Any]]]


def _small(
    source: sqlite3.Connection, target: Any, name: str, columns: list[str], on_progress: Report | None
) -> TableComparison:
    """A table that was carried over row by row, in ranges."""
    check = TableComparison(name)
    total = source.execute(f"SELECT count(*) FROM {quoted(name)}").fetchone()[0]
    key = [row[1].decode() for row in source.execute(f"PRAGMA table_info({quoted(name)})") if row[5]]
    number = "rowid" if not key else "0"
    rows = source.execute(f"SELECT {number}, * FROM {quoted(name)}")
    with target.cursor() as cursor:
        cursor.execute("SELECT legacy_id, user_id FROM legacy_ids WHERE source_table = 'users'")
        users = dict(cursor.fetchall())
        cursor.execute(
            "SELECT legacy_id, reason, resolved_at IS NOT NULL, row FROM migration_rejects WHERE table_name = %s",
            [name],
        )
        rejects = {row[0]: row[1:] for row in cursor}
    judge = _SMALL.get(name, _kept_whole)
    while some := rows.fetchmany(2_000):
        batch: list[tuple[str, Row]] = []
        for rowid, *cells in some:
            check.source += 1
            row = dict(zip(columns, cells, strict=True))
            legacy_id = _id_of(key, rowid, row)
            reject = rejects.get(legacy_id)
            if reject and not reject[1]:
                check.rejected += 1
                continue
            batch.append((legacy_id, row | reject[2] if reject else row))
        judge(check, target, source, batch, users)
        if on_progress:
            on_progress(f"compare {name}", check.source, total)
    return check


def _id_of(key: Sequence[str], rowid: int, row: Row) -> str:
    if not key:
        return str(rowid)
    parts = [read_text(row[name]) or "" for name in key]
    return parts[0] if len(parts) == 1 else json.dumps(parts)


def _ask(target: Any, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with target.cursor() as cursor:
        cursor.execute(sql, parameters)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


def _compare_cells(
    check: TableComparison, legacy_id: str, expected: Mapping[str, Any], found: Mapping[str, Any] | None
) -> None:
    if found is None:
        check.differs(legacy_id, "", "a row", "no row")
        return
    check.migrated += 1
    for name, wanted in expected.items():
        if found.get(name) != wanted:
            check.differs(legacy_id, name, wanted, found.get(name))


def _kept_whole(
    check: TableComparison, target: Any, source: sqlite3.Connection, rows: Sequence[tuple[str, Row]], users: Any
) -> None:
    """Every cell of the row stands in `legacy_rows`; secrets are hidden there."""
    found = dict(
        _ask(
            target,
            "SELECT legacy_id, data FROM legacy_rows WHERE source_table = %s AND kind = 'row' AND legacy_id = ANY (%s)",
            check.name,
            [legacy_id for legacy_id, _ in rows],
        )
    )
    for legacy_id, row in rows:
        expected = {name: _as_json(name, value) for name, value in row.items()}
        if check.name == "admin_settings" and re.search(
            "passw|secret|token|api_key", read_text(row.get("setting_key")) or "", re.I
        ):
            expected["setting_value"] = "[hidden]"
        _compare_cells(check, legacy_id, expected, found.get(legacy_id))


def _as_json(name: str, value: Any) -> Any:
    if value is not None and re.search("passw|secret|token|api_key", name, re.I):
        return "[hidden]"
    if isinstance(value, bytes):
        try:
            return value.decode().replace("\0", "\\u0000")
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(value).decode()}
    return value


def _people(
    check: TableComparison, target: Any, source: sqlite3.Connection, rows: Sequence[tuple[str, Row]], users: Any
) -> None:
    """Each person has an account; what was theirs is theirs, and no password is readable."""
    found = {
        str(row[0]): dict(
            zip(
                ("email", "name", "city", "state", "zip_code", "phone", "password", "staff", "own"),
                row[1:],
                strict=True,
            )
        )
        for row in _ask(
            target,
            "SELECT legacy_id, email, name, city, state, zip_code, phone, password, is_staff, user_id = legacy_id "
            "FROM legacy_ids JOIN users ON users.id = legacy_ids.user_id WHERE source_table = %s AND legacy_id = ANY (%s)",
            check.name,
            [int(legacy_id) for legacy_id, _ in rows],
        )
    }
    widths = {"name": 150, "city": 100, "state": 50, "zip_code": 20, "phone": 40}
    for legacy_id, row in rows:
        there = found.get(legacy_id)
        expected: dict[str, Any] = {}
        if there and check.name == "users" and there["own"]:
            expected = {name: (read_text(row.get(name)) or "")[:width] for name, width in widths.items()}
            said = (read_text(row.get("email")) or "").strip()
            name, _, domain = said.rpartition("@")
            expected["email"] = said if there["email"] == said else f"{name}+legacy{legacy_id}@{domain}"
        _compare_cells(check, legacy_id, expected, there)
        plain = read_text(row.get("password"))
        if there and plain and plain in there["password"] and not there["password"].startswith("werkzeug$"):
            check.differs(legacy_id, "password", "a strong hash", "what the legacy system stored")


def _holdings(
    check: TableComparison, target: Any, source: sqlite3.Connection, rows: Sequence[tuple[str, Row]], users: Any
) -> None:
    """Each holding is an opening balance: shares at 8 places, cost to the cent."""
    found = {
        row[0].removeprefix("portfolio "): dict(zip(("user", "ticker", "shares", "cents"), row[1:], strict=True))
        for row in _ask(
            target,
            "SELECT reference, user_id, ticker, (shares * 100000000)::bigint, (amount * 100)::bigint "
            "FROM ledger_transfers WHERE kind = 'opening' AND reference = ANY (%s)",
            [f"portfolio {legacy_id}" for legacy_id, _ in rows],
        )
    }
    for legacy_id, row in rows:
        shares = read_units(row.get("shares"), 8, 10**20) or 0
        price = read_number(row.get("average_price")) or Decimal(0)
        cost = (Decimal(shares).scaleb(-8) * price).quantize(CENTS, ROUND_HALF_EVEN)
        expected = {
            "user": users.get(read_whole(row.get("user_id")) or 0),
            "ticker": read_ticker(row.get("ticker")),
            "shares": shares,
            "cents": int(cost.scaleb(2)),
        }
        _compare_cells(check, legacy_id, expected, found.get(legacy_id))
        month = check.expected_months["all"]
        month.rows, month.cents = month.rows + 1, month.cents + Counter(cost=expected["cents"])
        if there := found.get(legacy_id):
            month = check.found_months["all"]
            month.rows, month.cents = month.rows + 1, month.cents + Counter(cost=there["cents"])


def _messages(
    check: TableComparison, target: Any, source: sqlite3.Connection, rows: Sequence[tuple[str, Row]], users: Any
) -> None:
    found = {
        str(row[0]): dict(zip(("user", "title", "message", "type", "read"), row[1:], strict=True))
        for row in _ask(
            target,
            "SELECT id, user_id, title, message, type, read FROM notifications WHERE id = ANY (%s)",
            [int(legacy_id) for legacy_id, _ in rows],
        )
    }
    for legacy_id, row in rows:
        expected = {
            "user": users.get(read_whole(row.get("user_id")) or 0),
            "title": (read_text(row.get("title")) or "")[:120],
            "message": read_text(row.get("message")) or "",
            "type": (read_text(row.get("type")) or "info")[:30],
            "read": read_flag(row.get("read")) == 1,
        }
        _compare_cells(check, legacy_id, expected, found.get(legacy_id))


def _journal(
    check: TableComparison, target: Any, source: sqlite3.Connection, rows: Sequence[tuple[str, Row]], users: Any
) -> None:
    """A posted entry moved the same cents on each account; the entry itself is kept whole."""
    _kept_whole(check, target, source, rows, users)
    moved: dict[str, Counter[str]] = defaultdict(Counter)
    for reference, debit, credit, cents in _ask(
        target,
        "SELECT reference, debit_account, credit_account, (amount * 100)::bigint FROM ledger_transfers "
        "WHERE kind = 'journal' AND reference = ANY (%s)",
        [legacy_id for legacy_id, _ in rows],
    ):
        moved[reference][debit] += cents
        moved[reference][credit] -= cents
    columns = [row[1].decode() for row in source.execute("PRAGMA table_info(journal_entry_lines)")]
    account = next((name for name in ("account_code", "account_number") if name in columns), None)
    for legacy_id, row in rows:
        expected: Counter[str] = Counter()
        if (read_text(row.get("status")) or "").strip().lower() in ("posted", ""):
            lines = (
                source.execute(
                    f"SELECT {account}, debit, credit FROM journal_entry_lines WHERE CAST(journal_entry_id AS TEXT) = ?",
                    [legacy_id],
                ).fetchall()
                if account
                else []
            ) or [(row.get("to_account"), row.get("amount"), 0), (row.get("from_account"), 0, row.get("amount"))]
            for code, debit, credit in lines:
                expected[(read_text(code) or "").strip()] += (read_cents(debit) or 0) - (read_cents(credit) or 0)
        wanted, there = ({a: c for a, c in side.items() if c} for side in (expected, moved[legacy_id]))
        if wanted != there:
            check.differs(legacy_id, "cents by account", wanted, there)


def _chart(
    check: TableComparison, target: Any, source: sqlite3.Connection, rows: Sequence[tuple[str, Row]], users: Any
) -> None:
    numbers = {legacy_id: (read_text(row.get("account_number")) or "").strip() for legacy_id, row in rows}
    there = {
        number
        for (number,) in _ask(
            target, "SELECT number FROM ledger_accounts WHERE number = ANY (%s)", list(numbers.values())
        )
    }
    for legacy_id, number in numbers.items():
        _compare_cells(check, legacy_id, {}, {} if number in there else None)


_SMALL: Final[dict[str, Callable[..., None]]] = {
    "users": _people,
    "admins": _people,
    "portfolios": _holdings,
    "notifications": _messages,
    "journal_entries": _journal,
    "chart_of_accounts": _chart,
}
