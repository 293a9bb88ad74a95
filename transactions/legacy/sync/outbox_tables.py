"""The tables whose changes dual-write writes to the legacy file, and how their rows look there."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.db import connection

from transactions.legacy.convert.passwords import legacy_password
from transactions.legacy.source.sqlite_file import quoted

Row = dict[str, Any]
# Kamioi's orders get ids beyond the legacy system's own.
_ORDER_IDS_FROM: Final = 1_000_000_000


class LegacyFileWriter:
    """Writes rows into the tables of the legacy file, into the columns that they have there."""

    def __init__(self, source: sqlite3.Connection) -> None:
        self.source = source
        self._columns: dict[str, set[str]] = {}

    def columns(self, table: str) -> set[str]:
        """Return the columns of a table; none when the file does not have it."""
        if table not in self._columns:
            self._columns[table] = {row[1] for row in self.source.execute(f"PRAGMA table_info({quoted(table)})")}
        return self._columns[table]

    def replace(self, table: str, key_column: str, key: Any, row: Row | None) -> None:
        """Update or insert the row with this key; None deletes it."""
        if row is None:
            self.source.execute(f"DELETE FROM {quoted(table)} WHERE {quoted(key_column)} = ?", [key])
            return
        cells = {name: value for name, value in row.items() if name in self.columns(table)}
        changes = {name: value for name, value in cells.items() if name != key_column}
        updated = self.source.execute(
            f"UPDATE {quoted(table)} SET {', '.join(f'{quoted(name)} = ?' for name in changes)} "
            f"WHERE {quoted(key_column)} = ?",
            [*changes.values(), key],
        )
        if not updated.rowcount:
            self.source.execute(
                f"INSERT INTO {quoted(table)} ({', '.join(map(quoted, cells))}) VALUES ({', '.join('?' * len(cells))})",
                list(cells.values()),
            )


def write_by_id(writer: LegacyFileWriter, table: "OutboxTable", key: str, row: Row | None) -> None:
    writer.replace(table.legacy, "id", int(key), row)


@dataclass(frozen=True, slots=True)
class OutboxTable:
    """A table whose changes are written to the legacy file.

    Args:
        name: the table in PostgreSQL.
        legacy: the table in the legacy file.
        sql: selects the rows with the given keys (one or more parameters), the key as `row_key`, in the legacy format.
        key: the SQL of the key that the outbox notes, over the columns of the table.
        write: writes one row to the file; the row is None when it was deleted.
    """

    name: str
    legacy: str
    sql: str
    key: str = "id"
    write: Callable[[LegacyFileWriter, "OutboxTable", str, Row | None], None] = write_by_id


def legacy_time(column: str) -> str:
    """Return the SQL of a time as the legacy system writes it."""
    return f"to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')"


def legacy_user(column: str) -> str:
    """Return the SQL of a user's id in the legacy system."""
    return (
        "coalesce((SELECT legacy_id FROM legacy_ids WHERE source_table = 'users' "
        f"AND legacy_ids.user_id = {column} ORDER BY was_here LIMIT 1), {column})"
    )


def _write_user(writer: LegacyFileWriter, table: OutboxTable, key: str, row: Row | None) -> None:
    if row is None:
        writer.replace(table.legacy, "id", int(key), None)
        return
    round_up, is_active = row.pop("round_up_enabled"), row.pop("is_active")
    password = legacy_password(row.pop("password"))
    if password is not None and is_active:
        row["password"] = password
    elif not is_active:
        row["password"] = None
    writer.replace(table.legacy, "id", row["id"], row)
    if {"user_id", "setting_key", "setting_value"} <= writer.columns("user_settings"):
        value = "true" if round_up else "false"
        updated = writer.source.execute(
            "UPDATE user_settings SET setting_value = ? WHERE user_id = ? AND setting_key = 'round_up_enabled'",
            [value, row["id"]],
        )
        if not updated.rowcount and not round_up:
            writer.source.execute(
                "INSERT INTO user_settings (user_id, setting_key, setting_value) VALUES (?, 'round_up_enabled', ?)",
                [row["id"], value],
            )


def _write_holding(writer: LegacyFileWriter, table: OutboxTable, key: str, row: Row | None) -> None:
    """Write one row per holding: the first takes all shares, other rows of the same company are deleted."""
    user_id, _, ticker = key.partition(":")
    owner = row["user_id"] if row else _legacy_user_id(int(user_id))
    rowids = [
        rowid
        for (rowid,) in writer.source.execute(
            "SELECT rowid FROM portfolios WHERE user_id = ? AND upper(trim(ticker)) = ? AND shares > 0 ORDER BY rowid",
            [owner, ticker],
        )
    ]
    if row is not None and row["shares"]:
        key_column = "id" if "id" in writer.columns("portfolios") or not rowids else "rowid"
        writer.replace("portfolios", key_column, rowids[0] if rowids else None, row)
        rowids = rowids[1:]
    writer.source.executemany("DELETE FROM portfolios WHERE rowid = ?", [[rowid] for rowid in rowids])


def _legacy_user_id(user_id: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {legacy_user('own.id')} FROM (SELECT %s::bigint AS id) AS own", [user_id])
        return int(cursor.fetchone()[0])


def _write_order(writer: LegacyFileWriter, table: OutboxTable, key: str, row: Row | None) -> None:
    writer.replace(table.legacy, "id", int(key) + _ORDER_IDS_FROM, row)


def _write_setting(writer: LegacyFileWriter, table: OutboxTable, key: str, row: Row | None) -> None:
    writer.replace(table.legacy, "setting_key", key, row)


# Statuses are those that the legacy system's pages know.
OUTBOX_TABLES: Final = [
    OutboxTable(
        name="users",
        legacy="users",
        write=_write_user,
        sql=f"""
            SELECT id::text AS row_key, {legacy_user("users.id")} AS id, email, name, account_type, account_number,
                   user_guid, password, city, state, zip_code, phone, round_up_amount::float8, round_up_enabled,
                   is_active, {legacy_time("created_at")} AS created_at, {legacy_time("updated_at")} AS updated_at
            FROM users WHERE id = ANY (%s::bigint[])""",
    ),
    OutboxTable(
        name="transactions",
        legacy="transactions",
        sql=f"""
            SELECT id::text AS row_key, id, {legacy_user("transactions.user_id")} AS user_id,
                   {legacy_time("date")} AS date, merchant, amount::float8, category, description, investable::float8,
                   round_up::float8, total_debit::float8, ticker, shares::float8, price_per_share::float8,
                   price_per_share::float8 AS stock_price,
                   CASE status WHEN 'needs_review' THEN 'needs-recognition' WHEN 'awaiting_price' THEN 'mapped'
                        WHEN 'not_listed' THEN 'rejected' WHEN 'refunded' THEN 'cancelled'
                        WHEN 'excluded' THEN 'cancelled' WHEN 'undone' THEN 'cancelled'
                        WHEN 'on_hold' THEN 'pending' ELSE status END AS status,
                   fee::float8, transaction_type, {legacy_time("created_at")} AS created_at,
                   {legacy_time("updated_at")} AS updated_at
            FROM transactions WHERE id = ANY (%s::bigint[])""",
    ),
    OutboxTable(
        name="notifications",
        legacy="notifications",
        sql=f"""
            SELECT id::text AS row_key, id, {legacy_user("notifications.user_id")} AS user_id, title, message, type,
                   read::int, {legacy_time("created_at")} AS created_at
            FROM notifications WHERE id = ANY (%s::bigint[])""",
    ),
    OutboxTable(
        name="holdings",
        legacy="portfolios",
        key="user_id || ':' || ticker",
        write=_write_holding,
        sql=f"""
            SELECT user_id || ':' || ticker AS row_key, {legacy_user("holdings.user_id")} AS user_id, ticker,
                   shares::float8, CASE WHEN shares > 0 THEN cost_basis / shares ELSE 0 END::float8 AS average_price,
                   cost_basis::float8 AS total_value, {legacy_time("updated_at")} AS updated_at
            FROM holdings WHERE user_id || ':' || ticker = ANY (%s)
                  AND user_id = ANY (SELECT split_part(key, ':', 1)::bigint FROM unnest(%s) AS keys (key))""",
    ),
    OutboxTable(
        name="orders",
        legacy="market_queue",
        write=_write_order,
        sql=f"""
            SELECT id::text AS row_key, id + {_ORDER_IDS_FROM} AS id, transaction_id,
                   {legacy_user("orders.user_id")} AS user_id, ticker, amount::float8, status,
                   {legacy_time("created_at")} AS created_at
            FROM orders WHERE id = ANY (%s::bigint[])""",
    ),
    OutboxTable(
        name="admin_settings",
        legacy="admin_settings",
        key="key",
        write=_write_setting,
        sql="""
            SELECT key AS row_key, key AS setting_key, value AS setting_value FROM admin_settings
            WHERE key = ANY (%s)""",
    ),
]
