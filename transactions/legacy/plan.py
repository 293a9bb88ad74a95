"""`plan` and `status`: what is in the file and what becomes of it; where the migration stands, in words."""

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from django.db import connection
from django.utils import timezone
from waffle import get_waffle_flag_model

from kamioi_site.errors import KamioiError
from transactions.legacy.convert import rules
from transactions.legacy.convert.arrow_columns import read_batch
from transactions.legacy.convert.bulk_converters import (
    MAPPINGS,
    TRANSACTIONS,
    Ids,
    MerchantKeys,
    mappings_convert,
    transactions_convert,
)
from transactions.legacy.convert.row_converters import USER_HOME
from transactions.legacy.load.bulk_loader import Progress, get_progress
from transactions.legacy.load.copy import RANGE
from transactions.legacy.source.change_log import sync_lag
from transactions.legacy.source.snapshot import LegacyTable, Snapshot
from transactions.legacy.sync.outbox import get_outbox_status
from transactions.migration_phase import READS_FLAG, get_migration_state
from transactions.models import MigrationRun

BECOMES: Final[dict[str, str]] = {
    "users": "users",
    "admins": "users (staff)",
    "transactions": "transactions; finished ones as history, open ones to be processed",
    "llm_mappings": "llm_mappings, and the directory `merchants`",
    "portfolios": "opening balances in ledger_transfers, and holdings",
    "notifications": "notifications",
    "admin_settings": "admin_settings, and legacy_rows",
    "chart_of_accounts": "ledger_accounts",
    "journal_entries": "ledger_transfers of kind journal, and legacy_rows",
    "llm_data_assets": "llm_data_assets, and legacy_rows",
    "llm_assets": "llm_data_assets, and legacy_rows",
    "user_settings": "users.round_up_enabled, and legacy_rows",
}
KNOWN_AS_ROWS: Final = frozenset(
    "goals market_queue roundup_ledger statements subscription_plans user_subscriptions renewal_queue renewal_history "
    "subscription_analytics subscription_changes promo_codes promo_code_usage journal_entry_lines account_balances "
    "llm_cost_mapping ai_processing_analytics ai_responses api_usage api_balance user_settings".split()
)
# Measured on two cores: rows a second of the big tables, and of the others.
_BIG_RATE, _ROW_RATE = 100_000, 15_000
# PostgreSQL with its indexes, per byte of SQLite.
_DISK_FACTOR = 2.6

Report = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class PlannedTable:
    """One table: how many rows, and what becomes of it."""

    name: str
    rows: int
    becomes: str
    unknown: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


@dataclass(slots=True)
class Plan:
    """What `copy` would find and need. `disk` in bytes."""

    path: Path
    size: int
    disk: int
    seconds: float
    tables: list[PlannedTable] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    dirt: list[tuple[str, int, str]] = field(default_factory=list)
    rejects: list[tuple[str, int]] = field(default_factory=list)


def plan(path: Path, *, quick: bool = False, on_progress: Report | None = None) -> Plan:
    """Read the file and judge it. `quick` leaves out what needs every row. Raises LegacySourceError."""
    with Snapshot(path) as snapshot:
        size = path.stat().st_size
        found = Plan(path=path, size=size, disk=int(size * _DISK_FACTOR), seconds=0)
        for name in sorted(snapshot.tables):
            found.tables.append(_planned(snapshot, snapshot.tables[name]))
        for table in found.tables:
            rate = _BIG_RATE if table.name in ("transactions", "llm_mappings") else _ROW_RATE
            found.seconds += table.rows / rate
        _note(snapshot, found)
        if not quick:
            if (fault := snapshot.fault()) is not None:
                found.notes.append(f"SQLite's check of the file says: {fault}")
            _judge(snapshot, found, on_progress)
        return found


def _planned(snapshot: Snapshot, table: LegacyTable) -> PlannedTable:
    rows = snapshot.count(table.name)
    if table.name in rules.LEFT_BEHIND:
        return PlannedTable(table.name, rows, f"nothing: {rules.LEFT_BEHIND[table.name]}")
    becomes = BECOMES.get(table.name)
    if becomes is None:
        becomes = "legacy_rows" if table.name in KNOWN_AS_ROWS else "legacy_rows (an unknown table, kept as JSON)"
    known: set[str] | None = None
    if table.name in ("transactions", "llm_mappings"):
        known = set((TRANSACTIONS if table.name == "transactions" else MAPPINGS).kinds)
    elif table.name == "users":
        known = set(USER_HOME)
    unknown = tuple(name for name in table.columns if known is not None and name not in known)
    left = tuple(name for name in table.columns if table.name == "users" and name in rules.PERSONAL)
    return PlannedTable(table.name, rows, becomes, unknown, left)


def _note(snapshot: Snapshot, found: Plan) -> None:
    if not snapshot.is_wal:
        found.notes.append(
            "The file is not in WAL mode: while it is read, the legacy system cannot write. Copy a backup instead."
        )
    for name in ("users", "transactions", "llm_mappings"):
        if name not in snapshot.tables:
            found.notes.append(f"There is no table {name}.")
        elif not snapshot.tables[name].id_is_rowid:
            found.notes.append(f"The table {name} has no INTEGER PRIMARY KEY id; copy will refuse it.")
    free = shutil.disk_usage(found.path.resolve().parent).free
    if free < found.disk:
        found.notes.append(f"Only {free / 1e6:,.0f} MB are free beside the file.")


def _judge(snapshot: Snapshot, found: Plan, on_progress: Report | None) -> None:
    """Every row of the two big tables through the rules, without writing anything."""
    repairs: Counter[str] = Counter()
    rejects: Counter[str] = Counter()
    now, keys = timezone.now(), MerchantKeys()
    users = _all_ids(snapshot, "users")
    transaction_ids = _all_ids(snapshot, "transactions")
    for layout in (TRANSACTIONS, MAPPINGS):
        if layout.name not in snapshot.tables or not snapshot.tables[layout.name].id_is_rowid:
            continue
        total, low = snapshot.last_rowid(layout.name), 0
        while (first := snapshot.next_rowid(layout.name, low)) is not None:
            low = first - 1 + RANGE
            batch = read_batch(snapshot, layout, first - 1, low)
            if layout is TRANSACTIONS:
                transactions_convert(batch, users=users, keys=keys, now=now)
            else:
                mappings_convert(batch, users=users, transaction_ids=transaction_ids, keys=keys, now=now)
            repairs.update({f"{layout.name}: {kind}": count for kind, count in batch.repairs.items() if count > 0})
            rejects.update(f"{layout.name}: {reason}" for reason in batch.rejects.values())
            if on_progress:
                on_progress(layout.name, min(low, total), total)
    found.dirt = [(name, count, rules.REPAIRED[name.partition(": ")[2]]) for name, count in sorted(repairs.items())]
    found.rejects = sorted(rejects.items())


def _all_ids(snapshot: Snapshot, table: str) -> Ids:
    if table not in snapshot.tables or not snapshot.tables[table].has_rowid:
        return Ids([])
    ids = snapshot.columns(f"SELECT rowid AS id FROM {table}").column("id")
    return Ids.same(np.sort(ids.to_numpy()) if len(ids) else np.zeros(0, np.int64))


def status() -> list[str]:
    """Where the migration stands and what comes next, as lines of text."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT path, started_at FROM legacy_source")
        source = cursor.fetchone()
    runs = {run.command: run for run in MigrationRun.objects.order_by("id")}
    lines = [f"last {run.command}: {run.status}, {run.started_at:%Y-%m-%d %H:%M} UTC" for run in runs.values()]
    if source is None:
        first = "backup" if "backup" not in runs else "copy"
        return [*lines, f"Nothing is carried over yet. Next: `manage.py migrate_from_sqlite {first} FILE`."]
    progress = get_progress()
    lines.append(f"source: {source[0]}, first copied from {source[1]:%Y-%m-%d %H:%M} UTC")
    for name, table in sorted(progress.items()):
        state = "all of it" if table.complete else f"up to row {table.last_rowid:,}"
        lines.append(
            f"  {name}: {table.rows_loaded:,} loaded, {table.rows_rejected:,} rejected of {table.rows_read:,} read ({state})"
        )
    return [*lines, *_where(runs, progress)]


def _where(runs: dict[str, MigrationRun], progress: dict[str, Progress]) -> list[str]:
    """The phase, how far each side is behind, and the next step."""
    state = get_migration_state()
    if state is None:
        return []
    copied, checked = runs.get("copy"), runs.get("validate")
    if state.phase in ("kamioi", "finished", "rolled back"):
        outbox = get_outbox_status()
        lines = {
            "kamioi": ["Kamioi is in charge; what it writes goes to the legacy file too."],
            "finished": ["The migration is finished: Kamioi stands alone."],
            "rolled back": ["Rolled back: the legacy system is in charge. To try again, begin with an empty database."],
        }[state.phase]
        if state.phase == "kamioi":
            lines.append(f"waiting to be written there: {outbox.waiting:,} rows, for {outbox.seconds:,.0f} seconds")
            lines += [f"! the last attempt failed: {outbox.error}"] if outbox.error else []
            lines.append("Next: when nobody wants to go back any more, `finish`; else `rollback`.")
        return lines
    if copied is None or copied.status != "done" or not all(table.complete for table in progress.values()):
        return ["Next: run the same `copy` again; it goes on where it stood."]
    try:
        entries, seconds = sync_lag(state.path)
        lines = [f"behind the legacy system: {entries:,} changes, {seconds:,.1f} seconds"]
    except KamioiError as error:
        return [f"! {error}", "Next: `sync FILE --install` and `sync FILE --all`, so that later changes are known."]
    if checked is None or checked.started_at < copied.started_at:
        return [*lines, "Next: `validate FILE`."]
    if checked.status != "done":
        return [
            *lines,
            "`validate` found differences: see its run in the admin. Next: `sync FILE --all`, then `validate FILE`.",
        ]
    return [
        *lines,
        f"Kamioi answers {_percent()} of the users.",
        "Both sides agree. Next: `sync FILE --follow`, and beside it `cutover --percent 5`, more, and at last `cutover`.",
    ]


def _percent() -> str:
    flag = get_waffle_flag_model().objects.filter(name=READS_FLAG).first()
    return "all" if flag is None or flag.everyone else f"{(flag.percent or 0) if flag.everyone is None else 0:g} %"
