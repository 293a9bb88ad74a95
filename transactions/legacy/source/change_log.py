"""The legacy file's log of changes, and `sync`: what it names is carried over anew.

The log is a side table `kamioi_changes` in the legacy file, filled by triggers; both are put there on request
(`sync FILE --install`) and taken away at the end. An entry names a row and nothing of what happened to it: `sync` looks
the row up as it is now and makes Kamioi's side the same, so doing it twice, or again after a kill -9, changes nothing.
"""

import json
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kamioi_site.errors import KamioiError
from transactions.legacy.convert import rules
from transactions.legacy.source.snapshot import BUSY_SECONDS, LegacyTable, Snapshot, check_file, quoted, source_errors
from transactions.migration_phase import get_migration_state

LOG: Final = "kamioi_changes"
_TRIGGER: Final = "kamioi_log_"
# Seconds since 1970 with fractions, in every version of SQLite.
_NOW: Final = "(julianday('now') - 2440587.5) * 86400.0"


class SyncError(KamioiError):
    """The changes of the legacy system cannot be carried over as things stand."""


@dataclass(slots=True)
class Changes:
    """Rows that changed, by table, up to the log's entry `last`. `oldest` is when the first was noted (Unix time)."""

    rows: dict[str, set[str]] = field(default_factory=dict)
    last: int = 0
    entries: int = 0
    oldest: float | None = None


@contextmanager
def writable(path: Path) -> Iterator[sqlite3.Connection]:
    """The legacy file, to be written in one transaction; waits for the legacy system's locks. Never creates it."""
    check_file(path)
    uri = f"{path.resolve().as_uri()}?mode=rw"
    with (
        source_errors(path),
        closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)) as source,
    ):
        source.execute("BEGIN IMMEDIATE")
        try:
            yield source
        except BaseException:
            source.execute("ROLLBACK")
            raise
        source.execute("COMMIT")


def install_change_log(path: Path) -> int:
    """Put the log and its triggers into the legacy file. Returns how many tables are watched; again is harmless."""
    with Snapshot(path) as snapshot:
        tables = [table for name, table in snapshot.tables.items() if name not in rules.LEFT_BEHIND]
    with writable(path) as source:
        source.execute(
            f"CREATE TABLE IF NOT EXISTS {LOG} (seq INTEGER PRIMARY KEY AUTOINCREMENT, table_name TEXT NOT NULL, "
            "row_key TEXT NOT NULL, at REAL NOT NULL)"
        )
        for table in tables:
            for event, versions in (("INSERT", ("NEW",)), ("UPDATE", ("OLD", "NEW")), ("DELETE", ("OLD",))):
                body = " ".join(
                    f"INSERT INTO {LOG} (table_name, row_key, at) VALUES ({_literal(table.name)}, {_key(table, version)}, {_NOW});"
                    for version in versions
                )
                source.execute(
                    f"CREATE TRIGGER IF NOT EXISTS {quoted(f'{_TRIGGER}{table.name}_{event.lower()}')} "
                    f"AFTER {event} ON {quoted(table.name)} BEGIN {body} END"
                )
    return len(tables)


def remove_change_log(path: Path) -> None:
    """Take the log and its triggers away again."""
    with writable(path) as source:
        found = source.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in found:
            if name.startswith(_TRIGGER):
                source.execute(f"DROP TRIGGER {quoted(name)}")
        source.execute(f"DROP TABLE IF EXISTS {LOG}")


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _key(table: LegacyTable, version: str) -> str:
    """The row's legacy id as the log writes it: its key, or its row number where it has none."""
    if not table.key:
        return f"{version}.rowid"
    parts = [f"CAST({version}.{quoted(name)} AS TEXT)" for name in table.key]
    return parts[0] if len(parts) == 1 else f"json_array({', '.join(parts)})"


def change_log_position(snapshot: Snapshot) -> int | None:
    """The last entry of the log in this snapshot; None when the file has no log."""
    if not snapshot.rows(f"SELECT 1 FROM sqlite_master WHERE name = '{LOG}'"):
        return None
    found = snapshot.rows("SELECT seq FROM sqlite_sequence WHERE name = ?", [LOG])
    return int(found[0][0]) if found else 0


def read_change_log(snapshot: Snapshot, after: int, limit: int) -> Changes:
    """The rows that the entries behind `after` name, at most `most` entries."""
    changes, rows = Changes(last=after), defaultdict(set)
    for seq, table, key, at in snapshot.rows(
        f"SELECT seq, table_name, row_key, at FROM {LOG} WHERE seq > ? ORDER BY seq LIMIT ?", [after, limit]
    ):
        name = table.decode()
        legacy_table = snapshot.tables.get(name)
        if legacy_table is not None:
            rows[name].add(_as_id(legacy_table, (rules.text(key)[0] or "")))
        changes.last, changes.entries = seq, changes.entries + 1
        changes.oldest = at if changes.oldest is None else changes.oldest
    changes.rows = dict(rows)
    return changes


def _as_id(table: LegacyTable, key: str) -> str:
    # SQLite writes a list without blanks, Python with them.
    return json.dumps(json.loads(key)) if len(table.key) > 1 else key


def pending_changes(path: Path) -> dict[str, set[str]]:
    """Rows of the log that are not carried over yet; nothing when there is no log."""
    state = get_migration_state()
    if state is None or state.position is None:
        return {}
    with Snapshot(path) as snapshot:
        if change_log_position(snapshot) is None:
            return {}
        return read_change_log(snapshot, state.position, 10**9).rows


def sync_lag(path: Path) -> tuple[int, float]:
    """(entries of the log that are not carried over, seconds since the first of them was noted).

    Raises SyncError when the changes since the copy are not known.
    """
    state = get_migration_state()
    if state is None:
        raise SyncError("Nothing was carried over yet: run `copy` first.")
    with Snapshot(path) as snapshot:
        position = change_log_position(snapshot)
        if position is None or state.position is None:
            raise SyncError("The legacy file has no log of changes: run `sync FILE --install`, then `sync FILE --all`.")
        waiting = read_change_log(snapshot, state.position, 10**9)
    return waiting.entries, max(0.0, time.time() - waiting.oldest) if waiting.oldest else 0.0


Report = Callable[[int, float], None]
