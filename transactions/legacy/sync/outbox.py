"""Dual-write: what Kamioi writes goes to the legacy file too, so that going back loses nothing.

While it is on, triggers note the key of every row that a statement touched in `legacy_outbox`, in the transaction of that
statement. `outbox_send` looks the rows up as they are by then and writes them to SQLite in one transaction there; only
then are the notes deleted. So a lock on the file, or a file that is away, slows no request and loses nothing, and a kill -9
between the two commits writes the same rows once more.

The triggers stand only while dual-write is on: a sharded database (`manage.py distribute`) does without them.
"""

import json
import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from django.db import connection, transaction
from django.utils import timezone

from kamioi_site.errors import KamioiError
from transactions.legacy.convert.passwords import legacy_password
from transactions.legacy.source.change_log import writable
from transactions.legacy.source.snapshot import quoted
from transactions.migration_phase import get_migration_state, update_migration_state
from transactions.models import MigrationReject

MOST: Final = 2_000
"""Notes taken up at once."""
_SEND_LOCK: Final = 7_203_004
_DRAIN_SECONDS: Final = 60.0
_TRIGGER: Final = "legacy_outbox_note_"

# What stands for the row's key in the outbox: an expression over the columns of the table.
WATCHED: Final[dict[str, str]] = {
    "users": "id",
    "transactions": "id",
    "llm_mappings": "id",
    "notifications": "id",
    "holdings": "user_id || ':' || ticker",
    "orders": "id",
    "admin_settings": "key",
}
_AT = "to_char({0} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS {0}"
_OWNER = (
    "coalesce((SELECT legacy_id FROM legacy_ids WHERE source_table = 'users' AND legacy_ids.user_id = {0} "
    "ORDER BY was_here LIMIT 1), {0})"
)
OUR_ORDERS_FROM: Final = 1_000_000_000

# Legacy table, and the rows with these keys under its names. Statuses are those that its screens know.
_ROWS: Final[dict[str, tuple[str, str]]] = {
    "users": (
        "users",
        f"""
        SELECT id::text AS row_key, {_OWNER.format("users.id")} AS id, email, name, account_type, account_number, user_guid, password,
               city, state, zip_code, phone, round_up_amount::float8, round_up_enabled, is_active,
               {_AT.format("created_at")}, {_AT.format("updated_at")}
        FROM users WHERE id = ANY (%s::bigint[])""",
    ),
    "transactions": (
        "transactions",
        f"""
        SELECT id::text AS row_key, id, {_OWNER.format("transactions.user_id")} AS user_id, {_AT.format("date")}, merchant,
               amount::float8, category, description, investable::float8, round_up::float8, total_debit::float8, ticker,
               shares::float8, price_per_share::float8, price_per_share::float8 AS stock_price,
               CASE status WHEN 'needs_review' THEN 'needs-recognition' WHEN 'awaiting_price' THEN 'mapped'
                    WHEN 'not_listed' THEN 'rejected' WHEN 'refunded' THEN 'cancelled' ELSE status END AS status,
               fee::float8, transaction_type, {_AT.format("created_at")}, {_AT.format("updated_at")}
        FROM transactions WHERE id = ANY (%s::bigint[])""",
    ),
    "llm_mappings": (
        "llm_mappings",
        f"""
        SELECT id::text AS row_key, id, transaction_id, merchant_name, ticker, category, confidence::float8, status,
               CASE WHEN status = 'rejected' THEN -1 WHEN admin_approved THEN 1 ELSE 0 END AS admin_approved,
               ai_processed::int, company_name, {_OWNER.format("llm_mappings.user_id")}::text AS user_id,
               {_AT.format("created_at")}, ai_model_version, ai_reasoning, ai_auto_approved::int,
               ai_processing_ms AS ai_processing_duration,
               to_char(ai_decided_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS ai_decision_timestamp, source
        FROM llm_mappings WHERE id = ANY (%s::bigint[])""",
    ),
    "notifications": (
        "notifications",
        f"""
        SELECT id::text AS row_key, id, {_OWNER.format("notifications.user_id")} AS user_id, title, message, type, read::int,
               {_AT.format("created_at")}
        FROM notifications WHERE id = ANY (%s::bigint[])""",
    ),
    "holdings": (
        "portfolios",
        f"""
        SELECT user_id || ':' || ticker AS row_key, {_OWNER.format("holdings.user_id")} AS user_id, ticker, shares::float8,
               CASE WHEN shares > 0 THEN cost_basis / shares ELSE 0 END::float8 AS average_price,
               cost_basis::float8 AS total_value, {_AT.format("updated_at")}
        FROM holdings WHERE user_id || ':' || ticker = ANY (%s)
              AND user_id = ANY (SELECT split_part(key, ':', 1)::bigint FROM unnest(%s) AS keys (key))""",
    ),
    "orders": (
        "market_queue",
        f"""
        SELECT id::text AS row_key, id + {OUR_ORDERS_FROM} AS id, transaction_id, {_OWNER.format("orders.user_id")} AS user_id, ticker,
               amount::float8, status, {_AT.format("created_at")}
        FROM orders WHERE id = ANY (%s::bigint[])""",
    ),
    "admin_settings": (
        "admin_settings",
        """
        SELECT key AS row_key, key AS setting_key, value AS setting_value FROM admin_settings WHERE key = ANY (%s)""",
    ),
}


class DualWriteError(KamioiError):
    """The legacy file cannot be kept up to date as things stand."""


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    """Whether dual-write is on, how many notes wait, since when (seconds), and what went wrong last."""

    on: bool
    waiting: int
    seconds: float
    error: str


def enable_dual_write() -> None:
    """From now on every row that Kamioi writes is noted. In the transaction of the caller."""
    if get_migration_state() is None:
        raise DualWriteError("There is no legacy file to write to: run `copy` first.")
    with transaction.atomic(), connection.cursor() as cursor:
        for table, key in WATCHED.items():
            for event, version in (("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD")):
                cursor.execute(
                    f"CREATE OR REPLACE TRIGGER {_TRIGGER}{event.lower()} AFTER {event} ON {table} "
                    f"REFERENCING {version} TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION legacy_outbox_note(%s)",
                    [key],
                )
        _beat(enabled=True)
        update_migration_state(dual_write=True)


def disable_dual_write() -> None:
    """Note nothing any more; what waits stays. In the transaction of the caller."""
    with transaction.atomic(), connection.cursor() as cursor:
        for table in WATCHED:
            for event in ("insert", "update", "delete"):
                cursor.execute(f"DROP TRIGGER IF EXISTS {_TRIGGER}{event} ON {table}")
        _beat(enabled=False)
        update_migration_state(dual_write=False)


def _beat(*, enabled: bool) -> None:
    from django_celery_beat.models import PeriodicTask  # noqa: PLC0415

    task = PeriodicTask.objects.filter(name="legacy_dual_write").first()
    if task is not None and task.enabled != enabled:
        task.enabled = enabled
        task.save()


def get_outbox_status() -> OutboxStatus:
    """How far behind the legacy file is."""
    state = get_migration_state()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*), extract(epoch FROM clock_timestamp() - min(noted_at)) FROM legacy_outbox")
        waiting, seconds = cursor.fetchone()
    return OutboxStatus(bool(state and state.dual_write), waiting, float(seconds or 0), state.error if state else "")


def send_outbox(*, limit: int = MOST) -> int:
    """Write what waits to the legacy file, one set. Returns how many notes it was; 0 when there was none.

    Raises LegacySourceError when the file cannot be written to now; everything waits then.
    """
    state = get_migration_state()
    if state is None:
        return 0
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_SEND_LOCK])
            if not cursor.fetchone()[0]:
                return 0
            cursor.execute(
                "DELETE FROM legacy_outbox WHERE seq IN (SELECT seq FROM legacy_outbox ORDER BY seq LIMIT %s) "
                "RETURNING table_name, row_key",
                [limit],
            )
            notes = cursor.fetchall()
            if not notes:
                return 0
            keys: dict[str, set[str]] = defaultdict(set)
            for table, key in notes:
                keys[table].add(key)
            found = {table: _look_up(table, sorted(wanted)) for table, wanted in keys.items()}
            with writable(state.path) as source:
                writer = _Writer(source)
                for table in (name for name in WATCHED if name in keys):
                    writer.write(table, keys[table], found[table])
    except KamioiError as error:
        update_migration_state(error=f"{timezone.now():%Y-%m-%d %H:%M} UTC: {error}")
        raise
    if state.error:
        update_migration_state(error="")
    return len(notes)


def drain_outbox(path: Path) -> int:
    """Write everything that waits, with whatever another process is writing now.

    Raises LegacySourceError when the file is away, DualWriteError when rows still wait after a minute.
    """
    total, deadline = 0, time.monotonic() + _DRAIN_SECONDS
    while True:
        while sent := send_outbox():
            total += sent
        if not get_outbox_status().waiting:
            return total
        if time.monotonic() > deadline:  # the other process holds the lock, or rows are noted without a pause
            raise DualWriteError(f"{path}: rows are still waiting to be written; try again in a moment.")
        time.sleep(0.05)


def _look_up(table: str, keys: list[str]) -> dict[str, dict[str, Any]]:
    _, sql = _ROWS[table]
    with connection.cursor() as cursor:
        cursor.execute(sql, [keys] * sql.count("%s"))
        names = [column.name for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return {row.pop("row_key"): row for row in rows}


class _Writer:
    """Writes rows into the legacy file's tables, into those columns that they have."""

    def __init__(self, source: sqlite3.Connection) -> None:
        self._source = source
        self._columns: dict[str, set[str]] = {}

    def write(self, table: str, keys: Iterable[str], rows: Mapping[str, dict[str, Any]]) -> None:
        """Make the legacy rows of these keys what `rows` says; keys without a row are deleted there."""
        legacy = _ROWS[table][0]
        if not self._has(legacy):
            return
        for key in sorted(keys):
            row = rows.get(key)
            try:
                self._one(table, legacy, key, row)
            except sqlite3.IntegrityError as error:
                # One row that the legacy file refuses must not hold up all others.
                MigrationReject.objects.create(
                    table_name=table,
                    legacy_id=key[:100],
                    row=json.loads(json.dumps(row or {}, default=str)) | {"password": None},
                    reason=f"dual-write: SQLite says: {error}"[:255],
                )

    def _has(self, legacy: str) -> set[str]:
        if legacy not in self._columns:
            self._columns[legacy] = {row[1] for row in self._source.execute(f"PRAGMA table_info({quoted(legacy)})")}
        return self._columns[legacy]

    def _one(self, table: str, legacy: str, key: str, row: dict[str, Any] | None) -> None:
        match table:
            case "holdings":
                self._holding(key, row)
            case "admin_settings":
                self._by("setting_key", legacy, key, row)
            case "users" if row is not None:
                self._user(legacy, row)
            case "orders":
                self._by("id", legacy, int(key) + OUR_ORDERS_FROM, row)
            case _:
                if table == "llm_mappings" and row and row.pop("source") == "bulk":
                    # The mark of a bulk upload stands there already.
                    row = {name: value for name, value in row.items() if name not in ("transaction_id", "user_id")}
                self._by("id", legacy, int(key), row)

    def _by(self, key_column: str, legacy: str, key: Any, row: dict[str, Any] | None) -> None:
        if row is None:
            self._source.execute(f"DELETE FROM {quoted(legacy)} WHERE {quoted(key_column)} = ?", [key])
            return
        placed = {name: value for name, value in row.items() if name in self._has(legacy)}
        changed = {name: value for name, value in placed.items() if name != key_column}
        updated = self._source.execute(
            f"UPDATE {quoted(legacy)} SET {', '.join(f'{quoted(name)} = ?' for name in changed)} WHERE {quoted(key_column)} = ?",
            [*changed.values(), key],
        )
        if not updated.rowcount:
            self._source.execute(
                f"INSERT INTO {quoted(legacy)} ({', '.join(map(quoted, placed))}) VALUES ({', '.join('?' * len(placed))})",
                list(placed.values()),
            )

    def _user(self, legacy: str, row: dict[str, Any]) -> None:
        enabled, active = row.pop("round_up_enabled"), row.pop("is_active")
        password = legacy_password(row.pop("password"))
        if password is not None and active:
            row["password"] = password
        elif not active:
            row["password"] = None
        self._by("id", legacy, row["id"], row)
        if {"user_id", "setting_key", "setting_value"} <= self._has("user_settings"):
            said = "true" if enabled else "false"
            updated = self._source.execute(
                "UPDATE user_settings SET setting_value = ? WHERE user_id = ? AND setting_key = 'round_up_enabled'",
                [said, row["id"]],
            )
            if not updated.rowcount and not enabled:
                self._source.execute(
                    "INSERT INTO user_settings (user_id, setting_key, setting_value) VALUES (?, 'round_up_enabled', ?)",
                    [row["id"], said],
                )

    def _holding(self, key: str, row: dict[str, Any] | None) -> None:
        """One row a holding: the first takes the whole, others of the same company are merged into it."""
        user, _, ticker = key.partition(":")
        owner = row["user_id"] if row else _legacy_owner(int(user))
        there = [
            found[0]
            for found in self._source.execute(
                "SELECT rowid FROM portfolios WHERE user_id = ? AND upper(trim(ticker)) = ? AND shares > 0 ORDER BY rowid",
                [owner, ticker],
            )
        ]
        if row is not None and row["shares"]:
            if there:
                self._by("rowid" if "id" not in self._has("portfolios") else "id", "portfolios", there[0], row)
            else:
                self._by("id", "portfolios", None, row)
            there = there[1:]
        self._source.executemany("DELETE FROM portfolios WHERE rowid = ?", [[rowid] for rowid in there])


def _legacy_owner(user_id: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT legacy_id FROM legacy_ids WHERE source_table = 'users' AND user_id = %s ORDER BY was_here LIMIT 1",
            [user_id],
        )
        found = cursor.fetchone()
    return int(found[0]) if found else user_id


def source_is_there(path: Path) -> bool:
    """Whether the legacy file can be opened."""
    if not path.exists():
        return False
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as source:
        try:
            source.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error:
            return False
    return True
