"""The apps whose tables the migration converts: each registers the modules that describe its tables.

`transactions` registers its own below; apps above it do so in `AppConfig.ready`. The modules import Arrow, so they are
named here and imported at first use.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from transactions.legacy.convert.bulk_converters import BulkTable
    from transactions.legacy.convert.row_converters import RowConverter
    from transactions.legacy.sync.outbox_tables import OutboxTable
    from transactions.legacy.validate.oracle import OracleTable, RowCheck


@dataclass(frozen=True, slots=True)
class LegacyTables:
    """The modules of one app, by dotted name.

    Args:
        converters: has `BULK_TABLES` and `ROW_CONVERTERS`, for `copy` and `sync`.
        oracle: has `BULK_TABLES` and `ROW_CHECKS`, for `validate`. It must not import Django or the converters.
        outbox: has `OUTBOX_TABLES`, for dual-write.
        directory: has `build_directory`, which derives merchants from the copied rows; optional.
    """

    converters: str
    oracle: str
    outbox: str
    directory: str = ""


_apps: list[LegacyTables] = [
    LegacyTables(
        converters="transactions.legacy.convert.tables",
        oracle="transactions.legacy.validate.tables",
        outbox="transactions.legacy.sync.outbox_tables",
    )
]


def register_legacy_tables(tables: LegacyTables) -> None:
    """Add the tables of an app."""
    if tables not in _apps:
        _apps.append(tables)


def _modules(kind: str) -> Iterator[ModuleType]:
    return (import_module(name) for name in (getattr(app, kind) for app in _apps) if name)


def _by_name(kind: str, attribute: str) -> dict[str, Any]:
    return {table.name: table for module in _modules(kind) for table in getattr(module, attribute)}


@cache
def bulk_tables() -> dict[str, BulkTable]:
    """Return the tables that are loaded by columns, by name."""
    return _by_name("converters", "BULK_TABLES")


@cache
def row_converters() -> dict[str, type[RowConverter]]:
    """Return the converters of tables that are copied row by row, by name."""
    return {name: converter for module in _modules("converters") for name, converter in module.ROW_CONVERTERS.items()}


@cache
def oracle_tables() -> dict[str, OracleTable]:
    """Return what rows of bulk tables must become, by name."""
    return _by_name("oracle", "BULK_TABLES")


@cache
def row_checks() -> dict[str, list[RowCheck]]:
    """Return the checks of tables that are copied row by row, by name."""
    return {name: checks for module in _modules("oracle") for name, checks in module.ROW_CHECKS.items()}


@cache
def outbox_tables() -> dict[str, OutboxTable]:
    """Return the tables whose changes are written to the legacy file, by name."""
    return _by_name("outbox", "OUTBOX_TABLES")


def directory_modules() -> list[ModuleType]:
    """Return the modules that derive merchants from the copied rows."""
    return list(_modules("directory"))
