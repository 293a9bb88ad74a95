"""`plan`: what is in the legacy file and what becomes of it, without writing anything."""

import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from django.utils import timezone

from transactions.legacy import registry
from transactions.legacy.convert import rules
from transactions.legacy.convert.arrow_columns import read_batch
from transactions.legacy.convert.bulk_converters import ConversionContext, IdMap, MerchantKeys
from transactions.legacy.convert.row_converters import RowConverter
from transactions.legacy.load.copy import BULK_RANGE
from transactions.legacy.source.snapshot import Snapshot
from transactions.legacy.source.sqlite_file import LegacyTable

_KNOWN_TABLES: Final = frozenset(
    "goals market_queue roundup_ledger statements subscription_plans user_subscriptions renewal_queue renewal_history "
    "subscription_analytics subscription_changes promo_codes promo_code_usage journal_entry_lines account_balances "
    "llm_cost_mapping ai_processing_analytics ai_responses api_usage api_balance".split()
)
# Rows a second, measured on two cores.
_BULK_RATE, _ROW_RATE = 100_000, 15_000
# PostgreSQL with its indexes, per byte of SQLite.
_DISK_FACTOR: Final = 2.6

ProgressCallback = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class PlannedTable:
    """One table: its rows, and what becomes of it; `left` are columns that are not copied on purpose."""

    name: str
    rows: int
    becomes: str
    unknown: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


@dataclass(slots=True)
class Plan:
    """What `copy` would find and need; `disk` in bytes, `repairs` as (kind, rows, rule)."""

    path: Path
    size: int
    disk: int
    seconds: float
    tables: list[PlannedTable] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    repairs: list[tuple[str, int, str]] = field(default_factory=list)
    rejects: list[tuple[str, int]] = field(default_factory=list)


def make_plan(path: Path, *, quick: bool = False, on_progress: ProgressCallback | None = None) -> Plan:
    """Read the file and apply the rules; `quick` leaves out what reads every row.

    Raises:
        LegacySourceError: the file cannot be read.
    """
    with Snapshot(path) as snapshot:
        size = path.stat().st_size
        tables = [_planned_table(snapshot, table) for _, table in sorted(snapshot.tables.items())]
        bulk_tables = registry.bulk_tables()
        seconds = sum(table.rows / (_BULK_RATE if table.name in bulk_tables else _ROW_RATE) for table in tables)
        plan = Plan(path=path, size=size, disk=int(size * _DISK_FACTOR), seconds=seconds, tables=tables)
        _add_notes(snapshot, plan)
        if not quick:
            if (problem := snapshot.integrity_error()) is not None:
                plan.notes.append(f"SQLite's check of the file reports: {problem}")
            _apply_rules(snapshot, plan, on_progress)
        return plan


def _planned_table(snapshot: Snapshot, table: LegacyTable) -> PlannedTable:
    name, rows = table.name, snapshot.count(table.name)
    if name in rules.LEFT_BEHIND:
        return PlannedTable(name, rows, f"nothing: {rules.LEFT_BEHIND[name]}")
    if bulk_table := registry.bulk_tables().get(name):
        return PlannedTable(name, rows, bulk_table.becomes, tuple(bulk_table.layout.split(table)[1]))
    converter = registry.row_converters().get(name)
    if name == "users" and converter and converter.placed is not None:
        unknown = tuple(column for column in table.columns if column not in converter.placed)
        left = tuple(column for column in table.columns if column in rules.PERSONAL)
        return PlannedTable(name, rows, converter.becomes, unknown, left)
    if converter:
        return PlannedTable(name, rows, converter.becomes)
    if name == "user_settings":
        return PlannedTable(name, rows, "users.round_up_enabled, and legacy_rows")
    unknown_table = "" if name in _KNOWN_TABLES else " (an unknown table, kept as JSON)"
    return PlannedTable(name, rows, RowConverter.becomes + unknown_table)


def _add_notes(snapshot: Snapshot, plan: Plan) -> None:
    if not snapshot.is_wal:
        plan.notes.append(
            "The file is not in WAL mode: the legacy system cannot write while it is read. Copy a backup instead."
        )
    for name in ("users", *registry.bulk_tables()):
        if name not in snapshot.tables:
            plan.notes.append(f"There is no table {name}.")
        elif not snapshot.tables[name].id_is_rowid:
            plan.notes.append(f"The table {name} has no INTEGER PRIMARY KEY id; `copy` will refuse it.")
    free = shutil.disk_usage(plan.path.resolve().parent).free
    if free < plan.disk:
        plan.notes.append(f"Only {free / 1e6:,.0f} MB are free beside the file.")


def _apply_rules(snapshot: Snapshot, plan: Plan, on_progress: ProgressCallback | None) -> None:
    """Convert every row of the bulk tables, and count repairs and rejects."""
    repairs: Counter[str] = Counter()
    rejects: Counter[str] = Counter()
    transactions = IdMap.of_table(snapshot, "transactions")
    context = ConversionContext(
        IdMap.of_table(snapshot, "users"), lambda _: transactions, MerchantKeys(), timezone.now()
    )
    for name, bulk_table in registry.bulk_tables().items():
        if name not in snapshot.tables or not snapshot.tables[name].id_is_rowid:
            continue
        total = snapshot.last_rowid(name)
        for low, high in snapshot.ranges(name, 0, BULK_RANGE):
            batch = read_batch(snapshot, bulk_table.layout, low, high)
            bulk_table.convert(batch, context)
            repairs.update({f"{name}: {kind}": count for kind, count in batch.repairs.items() if count > 0})
            rejects.update(f"{name}: {reason}" for reason in batch.rejects.values())
            if on_progress:
                on_progress(name, high, total)
    plan.repairs = [(name, count, rules.REPAIRED[name.partition(": ")[2]]) for name, count in sorted(repairs.items())]
    plan.rejects = sorted(rejects.items())
