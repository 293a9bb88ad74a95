"""The loaded months of a bulk table get their indexes and become partitions of the real table."""

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, Final

import psycopg2
from django.db import connection

from kamioi_site.db.locks import connection_string
from kamioi_site.db.partitions import MonthlyPartitionedModel
from transactions.legacy.load.migration_lock import MIGRATION_LOCK
from transactions.models import Transaction

_INDEX_WORKERS: Final = 2
_ATTACH_LOCK: Final = MIGRATION_LOCK + 1


def stage_name(model: type[MonthlyPartitionedModel]) -> str:
    return f"legacy_load_{model._meta.db_table}"


def list_staged_months(model: type[MonthlyPartitionedModel]) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid "
            "WHERE inhparent = to_regclass(%s) ORDER BY 1",
            [stage_name(model)],
        )
        return [row[0] for row in cursor.fetchall()]


def attach_staged_months(model: type[MonthlyPartitionedModel], on_progress: Callable[[int, int], None]) -> None:
    """Attach every staged month, each in one transaction: a killed run continues with the months that are left.

    Args:
        model: the bulk table.
        on_progress: called with the months done and the months in all.
    """
    months = list_staged_months(model)
    progress_lock, done = threading.Lock(), 0

    def attach(staged: str) -> None:
        nonlocal done
        with closing(psycopg2.connect(connection_string())) as target:
            _attach_month(target, model, staged)
        with progress_lock:
            done += 1
            on_progress(done, len(months))

    with ThreadPoolExecutor(_INDEX_WORKERS) as pool:
        list(pool.map(attach, months))
    if months:
        table = model._meta.db_table
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE {stage_name(model)}")
            cursor.execute("SELECT pg_get_serial_sequence(%s, 'id')", [table])
            sequence = cursor.fetchone()[0]
            cursor.execute(
                f"SELECT setval(%s, greatest((SELECT max(id) FROM {table}), (SELECT last_value FROM {sequence})))",
                [sequence],
            )


def _attach_month(target: Any, model: type[MonthlyPartitionedModel], staged: str) -> None:
    table = model._meta.db_table
    name = table + staged.removeprefix(stage_name(model))
    with target, target.cursor() as cursor:
        cursor.execute("SET LOCAL maintenance_work_mem = '128MB'; SET LOCAL max_parallel_maintenance_workers = 0")
        # A month that already has rows takes the new ones in with its own indexes; any other is indexed first.
        if not _exists(cursor, name) or _is_empty(cursor, name):
            _build_indexes(cursor, table, staged)
    with target, target.cursor() as cursor:
        # One month after the other: detaching locks the whole stage.
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_ATTACH_LOCK])
        cursor.execute("SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE oid = %s::regclass", [staged])
        bounds = cursor.fetchone()[0]
        cursor.execute(f"ALTER TABLE {stage_name(model)} DETACH PARTITION {staged}")
        if model is Transaction:
            cursor.execute(
                f"INSERT INTO transaction_keys (transaction_id, user_id, date) SELECT id, user_id, date FROM {staged}"
            )
        if not _is_empty(cursor, f"{table}_default"):
            # Rows of the month may be in it, which would prevent attaching the month.
            cursor.execute(
                "SELECT kamioi_create_partition(%s, split_part(%s, '''', 2)::timestamptz::date)", [table, bounds]
            )
        if _exists(cursor, name):
            cursor.execute(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE")
            if not _is_empty(cursor, name):
                columns = ", ".join(str(field.column) for field in model._meta.concrete_fields)
                cursor.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {staged}")
                cursor.execute(f"DROP TABLE {staged}")
                return
            cursor.execute(f"DROP TABLE {name}")
        _rename_indexes(cursor, staged, name)
        cursor.execute(f"ALTER TABLE {staged} RENAME TO {name}")
        cursor.execute(f"ALTER TABLE {table} ATTACH PARTITION {name} {bounds}")


def _exists(cursor: Any, table: str) -> bool:
    cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [table])
    return bool(cursor.fetchone()[0])


def _is_empty(cursor: Any, table: str) -> bool:
    cursor.execute(f"SELECT NOT EXISTS (SELECT 1 FROM {table})")
    return bool(cursor.fetchone()[0])


def _rename_indexes(cursor: Any, staged: str, name: str) -> None:
    """Name the indexes after the month; the empty month that had the names was dropped."""
    cursor.execute(
        "SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE indrelid = %s::regclass",
        [staged],
    )
    for (index,) in cursor.fetchall():
        if index.startswith(staged):
            cursor.execute(f"ALTER INDEX {index} RENAME TO {name}{index.removeprefix(staged)}")


def _build_indexes(cursor: Any, table: str, staged: str) -> None:
    cursor.execute("SELECT count(*) FROM pg_index WHERE indrelid = %s::regclass", [staged])
    if cursor.fetchone()[0]:
        return  # built by a run that was killed afterwards: all of them, in one transaction
    cursor.execute(
        "SELECT relname, pg_get_indexdef(indexrelid), pg_get_constraintdef(pg_constraint.oid) FROM pg_index "
        "JOIN pg_class ON pg_class.oid = indexrelid LEFT JOIN pg_constraint ON conindid = indexrelid "
        "AND contype IN ('p', 'u') AND conrelid = indrelid WHERE indrelid = %s::regclass ORDER BY indexrelid",
        [table],
    )
    for parent, definition, constraint in cursor.fetchall():
        if constraint:
            cursor.execute(f"ALTER TABLE {staged} ADD {constraint}")
            continue
        name = f"{staged}_{parent.removeprefix(f'idx_{table}_')}_idx"
        cursor.execute(re.sub(r"INDEX \S+ ON (ONLY )?\S+ ", f"INDEX {name} ON {staged} ", definition, count=1))
