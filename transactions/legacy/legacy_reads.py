"""Reads of customers whom the legacy system still serves: their rows of its file, converted as `copy` does it."""

import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, TypeVar

from django.db import connection
from django.utils import timezone

from kamioi_site.errors import KamioiError
from transactions.legacy.convert import values
from transactions.legacy.source.sqlite_file import LegacyTable, open_read_only
from transactions.migration_phase import MigrationState, install_legacy_reads
from transactions.models import Notification, Transaction, User

logger = logging.getLogger(__name__)

T = TypeVar("T")
Rows = list[tuple[int, dict[str, Any]]]

_BUSY_SECONDS: Final = 1


def install() -> None:
    install_legacy_reads(open_legacy_reads)


def open_legacy_reads(user: User, state: MigrationState) -> "LegacyFileReads | None":
    """Return the customer's rows in the legacy file; None for a customer who is not in it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT legacy_id FROM legacy_ids WHERE source_table = 'users' AND user_id = %s", [user.pk])
        row = cursor.fetchone()
    return LegacyFileReads(user, row[0], state) if row else None


class LegacyFileReads:
    """The customer's rows in the legacy file. Implements `LegacyReads`.

    Each method returns None when the file cannot be read: Kamioi's copy is at most seconds behind.
    """

    def __init__(self, user: User, legacy_id: int, state: MigrationState) -> None:
        self._user, self._legacy_id, self._path = user, legacy_id, state.path

    def _read(self, sql: str, convert: Callable[[Rows], T], *parameters: Any) -> T | None:
        try:
            with closing(open_read_only(self._path, timeout=_BUSY_SECONDS)) as source:
                cursor = source.execute(sql, [self._legacy_id, *parameters])
                names = [column[0] for column in cursor.description]
                rows = [(row[0], dict(zip(names[1:], row[1:], strict=True))) for row in cursor.fetchall()]
            return convert(rows)
        except (sqlite3.Error, KamioiError) as error:
            logger.warning("the legacy file cannot be read, Kamioi's copy is used: %s", error)
            return None

    def transactions(self, limit: int) -> list[Transaction] | None:
        sql = "SELECT rowid, * FROM transactions WHERE user_id = ? ORDER BY date DESC, rowid DESC LIMIT ?"
        return self._read(sql, self._transactions, limit)

    def _transactions(self, rows: Rows) -> list[Transaction]:
        # These import Arrow, which only the legacy system's customers need.
        from transactions.legacy.convert.arrow_columns import batch_of_rows  # noqa: PLC0415
        from transactions.legacy.convert.bulk_converters import ConversionContext, IdMap, MerchantKeys  # noqa: PLC0415
        from transactions.legacy.convert.transactions import TRANSACTIONS  # noqa: PLC0415

        if not rows:
            return []
        names = tuple(rows[0][1])
        table = LegacyTable("transactions", names, ("",) * len(names), ("id",), has_rowid=True)
        users = IdMap([(self._legacy_id, self._user.pk)])
        context = ConversionContext(users, lambda _: IdMap([]), MerchantKeys(), timezone.now())
        converted = TRANSACTIONS.convert(batch_of_rows(table, TRANSACTIONS.layout, rows), context)
        purchases = [Transaction(**row) for row in converted.to_pylist()]
        return sorted(purchases, key=lambda row: (row.date, row.pk), reverse=True)

    def notifications(self, limit: int) -> list[Notification] | None:
        sql = "SELECT rowid, * FROM notifications WHERE user_id = ? ORDER BY rowid DESC LIMIT ?"
        return self._read(sql, lambda rows: [self._notification(rowid, row) for rowid, row in rows], limit)

    def _notification(self, rowid: int, row: dict[str, Any]) -> Notification:
        title, message, kind = (values.text(row.get(name))[0] for name in ("title", "message", "type"))
        return Notification(
            id=rowid,
            user=self._user,
            title=(title or "")[:120],
            message=message or "",
            type=kind or "info",
            read=_is_true(row.get("read")),
            created_at=_time(row.get("created_at")),
        )

    def holdings(self) -> list[tuple[str, Decimal, Decimal]] | None:
        return self._read("SELECT rowid, * FROM portfolios WHERE user_id = ?", _holdings)


def _holdings(rows: Rows) -> list[tuple[str, Decimal, Decimal]]:
    from transactions.legacy.convert.books import holding_of  # noqa: PLC0415  # imports Arrow

    owned: dict[str, tuple[Decimal, Decimal]] = {}
    for _, row in rows:
        ticker = values.ticker(row.get("ticker"))
        try:
            shares, cost = holding_of(row)
        except values.UnreadableError:
            continue
        if ticker and shares > 0 and cost > 0:
            other_shares, other_cost = owned.get(ticker, (Decimal(0), Decimal(0)))
            owned[ticker] = (other_shares + shares, other_cost + cost)
    return [(ticker, shares, cost) for ticker, (shares, cost) in sorted(owned.items())]


def _is_true(value: Any) -> bool:
    try:
        return values.boolean(value) == 1
    except values.UnreadableError:
        return False


def _time(value: Any) -> datetime:
    try:
        return values.timestamp(value) or timezone.now()
    except values.UnreadableError:
        return timezone.now()
