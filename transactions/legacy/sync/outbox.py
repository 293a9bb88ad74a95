"""Dual-write: what Kamioi writes goes to the legacy file too, so that a rollback loses nothing.

While it is on, triggers note the key of every changed row in `legacy_outbox`, in the transaction of the change.
`send_outbox` reads the rows as they are by then, writes them to SQLite in one transaction, and only then deletes the
notes. A locked or missing file therefore delays no request and loses nothing, and a kill between the two commits only
writes the same rows again.

The triggers exist only while dual-write is on: a sharded database (`manage.py distribute`) does without them.
"""

import json
import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from django.db import connection, transaction
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from kamioi_site.db.roles import as_owner
from kamioi_site.errors import KamioiError
from transactions.legacy import registry
from transactions.legacy.source.sqlite_file import writable
from transactions.legacy.sync.outbox_tables import LegacyFileWriter, OutboxTable, Row
from transactions.migration_phase import get_migration_state, update_migration_state
from transactions.models import MigrationReject

_BATCH: Final = 2_000
SEND_LOCK: Final = 7_203_004
_DRAIN_SECONDS: Final = 60.0
_TRIGGER: Final = "legacy_outbox_note_"


class DualWriteError(KamioiError):
    """The legacy file cannot be kept up to date in the present state."""


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    """Whether dual-write is on, how many rows are pending, the age of the oldest in seconds, and the last error."""

    on: bool
    pending: int
    seconds: float
    error: str


@as_owner()
def enable_dual_write() -> None:
    """Note every row that Kamioi writes from now on, in the caller's transaction."""
    if get_migration_state() is None:
        raise DualWriteError("There is no legacy file to write to: run `copy` first.")
    with transaction.atomic(), connection.cursor() as cursor:
        for table in registry.outbox_tables().values():
            for event, version in (("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD")):
                cursor.execute(
                    f"CREATE OR REPLACE TRIGGER {_TRIGGER}{event.lower()} AFTER {event} ON {table.name} "
                    f"REFERENCING {version} TABLE AS changed "
                    "FOR EACH STATEMENT EXECUTE FUNCTION legacy_outbox_note(%s)",
                    [table.key],
                )
        _set_schedule(enabled=True)
        update_migration_state(dual_write=True)


@as_owner()
def disable_dual_write() -> None:
    """Note nothing any more, in the caller's transaction; pending rows stay."""
    with transaction.atomic(), connection.cursor() as cursor:
        # Only those that exist: Citus refuses the command for a reference table.
        cursor.execute("SELECT tgname, tgrelid::regclass FROM pg_trigger WHERE starts_with(tgname, %s)", [_TRIGGER])
        for trigger, table in cursor.fetchall():
            cursor.execute(f"DROP TRIGGER {trigger} ON {table}")
        _set_schedule(enabled=False)
        update_migration_state(dual_write=False)


def _set_schedule(*, enabled: bool) -> None:
    task = PeriodicTask.objects.filter(name="legacy_dual_write").first()
    if task is not None and task.enabled != enabled:
        task.enabled = enabled
        task.save()


def get_outbox_status() -> OutboxStatus:
    """Return how far behind the legacy file is."""
    state = get_migration_state()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*), extract(epoch FROM clock_timestamp() - min(noted_at)) FROM legacy_outbox")
        pending, seconds = cursor.fetchone()
    return OutboxStatus(bool(state and state.dual_write), pending, float(seconds or 0), state.error if state else "")


def send_outbox() -> int:
    """Write one batch of pending rows to the legacy file; returns the number of notes, 0 when there are none.

    Raises:
        LegacySourceError: the file cannot be written to now; the rows stay pending.
    """
    state = get_migration_state()
    if state is None:
        return 0
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [SEND_LOCK])
            if not cursor.fetchone()[0]:
                return 0
            cursor.execute(
                "DELETE FROM legacy_outbox WHERE seq IN (SELECT seq FROM legacy_outbox ORDER BY seq LIMIT %s) "
                "RETURNING table_name, row_key",
                [_BATCH],
            )
            notes = cursor.fetchall()
            if not notes:
                return 0
            keys: dict[str, set[str]] = defaultdict(set)
            for name, key in notes:
                keys[name].add(key)
            tables = [table for name, table in registry.outbox_tables().items() if name in keys]
            rows = {table.name: _rows_of(table, sorted(keys[table.name])) for table in tables}
            with writable(state.path) as source:
                writer = LegacyFileWriter(source)
                for table in tables:
                    _write_rows(writer, table, keys[table.name], rows[table.name])
    except KamioiError as error:
        update_migration_state(error=f"{timezone.now():%Y-%m-%d %H:%M} UTC: {error}")
        raise
    if state.error:
        update_migration_state(error="")
    return len(notes)


def drain_outbox(path: Path) -> None:
    """Write everything that is pending, and wait for what another process is writing.

    Raises:
        LegacySourceError: the file cannot be written to.
        DualWriteError: rows are still pending after a minute.
    """
    deadline = time.monotonic() + _DRAIN_SECONDS
    while True:
        while send_outbox():
            pass
        if not get_outbox_status().pending:
            return
        if time.monotonic() > deadline:  # another process holds the lock, or rows are noted without a pause
            raise DualWriteError(f"{path}: rows are still waiting to be written; try again in a moment.")
        time.sleep(0.05)


def _rows_of(table: OutboxTable, keys: list[str]) -> dict[str, Row]:
    with connection.cursor() as cursor:
        cursor.execute(table.sql, [keys] * table.sql.count("%s"))
        names = [column.name for column in cursor.description]
        rows: list[dict[str, Any]] = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return {row.pop("row_key"): row for row in rows}


def _write_rows(writer: LegacyFileWriter, table: OutboxTable, keys: Iterable[str], rows: dict[str, Row]) -> None:
    """Write the rows with these keys; keys without a row were deleted."""
    if not writer.columns(table.legacy):
        return
    for key in sorted(keys):
        row = rows.get(key)
        try:
            table.write(writer, table, key, row)
        except sqlite3.IntegrityError as error:
            # One row that the legacy file refuses must not hold up the others.
            MigrationReject.objects.create(
                table_name=table.name,
                legacy_id=key[:100],
                row=json.loads(json.dumps(row or {}, default=str)) | {"password": None},
                reason=f"dual-write: SQLite reports: {error}"[:255],
            )
