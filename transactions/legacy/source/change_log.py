"""The legacy file's change log: a side table `kamioi_changes`, filled by triggers.

`sync FILE --install` creates both in the legacy file; `finish` removes them. An entry names a row, not what happened to
it: `sync` reads the row as it is now and makes Kamioi's side the same, so applying an entry twice changes nothing.
"""

import json
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kamioi_site.errors import KamioiError
from transactions.legacy.convert import rules, values
from transactions.legacy.source.snapshot import Snapshot
from transactions.legacy.source.sqlite_file import LegacyTable, quoted, writable
from transactions.migration_phase import get_migration_state

CHANGE_LOG: Final = "kamioi_changes"
_TRIGGER: Final = "kamioi_log_"
# Seconds since 1970 with fractions, in every version of SQLite.
_NOW: Final = "(julianday('now') - 2440587.5) * 86400.0"
_ALL: Final = 10**9


class SyncError(KamioiError):
    """The changes of the legacy system cannot be applied in the present state."""


@dataclass(slots=True)
class LoggedChanges:
    """Rows that changed, by table, up to the entry `last`; `oldest` is the Unix time of the first entry."""

    rows: dict[str, set[str]] = field(default_factory=dict)
    last: int = 0
    entries: int = 0
    oldest: float | None = None


def install_change_log(path: Path) -> int:
    """Create the log and its triggers in the legacy file; safe to repeat. Returns the number of logged tables."""
    with Snapshot(path) as snapshot:
        tables = [table for name, table in snapshot.tables.items() if name not in rules.LEFT_BEHIND]
    with writable(path) as source:
        source.execute(
            f"CREATE TABLE IF NOT EXISTS {CHANGE_LOG} (seq INTEGER PRIMARY KEY AUTOINCREMENT, "
            "table_name TEXT NOT NULL, row_key TEXT NOT NULL, at REAL NOT NULL)"
        )
        for table in tables:
            for event, versions in (("INSERT", ("NEW",)), ("UPDATE", ("OLD", "NEW")), ("DELETE", ("OLD",))):
                body = " ".join(
                    f"INSERT INTO {CHANGE_LOG} (table_name, row_key, at) "
                    f"VALUES ({_literal(table.name)}, {_key(table, version)}, {_NOW});"
                    for version in versions
                )
                source.execute(
                    f"CREATE TRIGGER IF NOT EXISTS {quoted(f'{_TRIGGER}{table.name}_{event.lower()}')} "
                    f"AFTER {event} ON {quoted(table.name)} BEGIN {body} END"
                )
    return len(tables)


def remove_change_log(path: Path) -> None:
    with writable(path) as source:
        triggers = source.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in triggers:
            if name.startswith(_TRIGGER):
                source.execute(f"DROP TRIGGER {quoted(name)}")
        source.execute(f"DROP TABLE IF EXISTS {CHANGE_LOG}")


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _key(table: LegacyTable, version: str) -> str:
    """Return the SQL of a row's legacy id: its key, or its row number where it has none."""
    if not table.key:
        return f"{version}.rowid"
    parts = [f"CAST({version}.{quoted(name)} AS TEXT)" for name in table.key]
    return parts[0] if len(parts) == 1 else f"json_array({', '.join(parts)})"


def change_log_position(snapshot: Snapshot) -> int | None:
    """Return the last entry of the log in this snapshot; None when the file has no log."""
    if not snapshot.rows("SELECT 1 FROM sqlite_master WHERE name = ?", [CHANGE_LOG]):
        return None
    rows = snapshot.rows("SELECT seq FROM sqlite_sequence WHERE name = ?", [CHANGE_LOG])
    return int(rows[0][0]) if rows else 0


def read_change_log(snapshot: Snapshot, after: int, limit: int) -> LoggedChanges:
    """Return the rows that the next `limit` entries after `after` name."""
    changes, rows = LoggedChanges(last=after), defaultdict(set)
    for seq, name, key, at in snapshot.rows(
        f"SELECT seq, table_name, row_key, at FROM {CHANGE_LOG} WHERE seq > ? ORDER BY seq LIMIT ?", [after, limit]
    ):
        table = snapshot.tables.get(name.decode())
        if table is not None:
            legacy_id = values.text(key)[0] or ""
            # SQLite writes a JSON list without blanks, Python with them.
            rows[table.name].add(json.dumps(json.loads(legacy_id)) if len(table.key) > 1 else legacy_id)
        changes.last, changes.entries = seq, changes.entries + 1
        changes.oldest = at if changes.oldest is None else changes.oldest
    changes.rows = dict(rows)
    return changes


def pending_changes(path: Path) -> dict[str, set[str]]:
    """Return the logged rows that are not applied yet; nothing when there is no log."""
    state = get_migration_state()
    if state is None or state.position is None:
        return {}
    with Snapshot(path) as snapshot:
        if change_log_position(snapshot) is None:
            return {}
        return read_change_log(snapshot, state.position, _ALL).rows


def sync_lag(path: Path) -> tuple[int, float]:
    """Return the entries that are not applied yet, and the age of the oldest in seconds.

    Raises:
        SyncError: the changes since the copy are not logged.
    """
    state = get_migration_state()
    if state is None:
        raise SyncError("Nothing was copied yet: run `copy` first.")
    with Snapshot(path) as snapshot:
        if change_log_position(snapshot) is None or state.position is None:
            raise SyncError("The legacy file has no change log: run `sync FILE --install`, then `sync FILE --all`.")
        pending = read_change_log(snapshot, state.position, _ALL)
    return pending.entries, max(0.0, time.time() - pending.oldest) if pending.oldest else 0.0
