"""How far each table is, and the statements that store it with the rows that are rejected or kept."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from django.db import connection

from transactions.legacy.convert.side_rows import KeptRow, RejectedRow


@dataclass(slots=True)
class Progress:
    """How far one table is copied; `repairs` counts by kind."""

    table: str
    last_rowid: int = 0
    rows_read: int = 0
    rows_loaded: int = 0
    rows_rejected: int = 0
    repairs: Counter[str] = field(default_factory=Counter)
    complete: bool = False


# Each takes one JSON parameter, made by the functions below.
SAVE_PROGRESS: Final = """
INSERT INTO legacy_progress (source_table, last_rowid, rows_read, rows_loaded, rows_rejected, rows_left, repairs,
                             complete)
SELECT "table", last_rowid, rows_read, rows_loaded, rows_rejected, 0, repairs, complete
FROM jsonb_to_record(($1::text)::jsonb) AS item ("table" text, last_rowid bigint, rows_read bigint, rows_loaded bigint,
                                                 rows_rejected bigint, repairs jsonb, complete boolean)
ON CONFLICT (source_table) DO UPDATE SET
    last_rowid = excluded.last_rowid, rows_read = excluded.rows_read, rows_loaded = excluded.rows_loaded,
    rows_rejected = excluded.rows_rejected, repairs = excluded.repairs, complete = excluded.complete, updated_at = now()
"""
INSERT_REJECTS: Final = """
INSERT INTO migration_rejects (run_id, table_name, legacy_id, row, reason, created_at)
SELECT run_id, "table", legacy_id, "row", reason, now() FROM jsonb_to_recordset(($1::text)::jsonb)
    AS item (run_id bigint, "table" text, legacy_id text, reason text, "row" jsonb)
"""
INSERT_KEPT: Final = """
INSERT INTO legacy_rows (source_table, legacy_id, kind, data)
SELECT "table", legacy_id, kind, data FROM jsonb_to_recordset(($1::text)::jsonb)
    AS item ("table" text, legacy_id text, kind text, data jsonb)
ON CONFLICT (source_table, legacy_id, kind) DO UPDATE SET data = legacy_rows.data || excluded.data
"""


def side_statements(
    run_id: int, rejected: Iterable[RejectedRow], kept: Iterable[KeptRow]
) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the statements, with their parameters, that store rejected and kept rows."""
    rejects = [
        {"run_id": run_id, "table": row.table, "legacy_id": row.legacy_id, "reason": row.reason, "row": row.row}
        for row in rejected
    ]
    merged: dict[tuple[str, str, str], dict[str, Any]] = {}
    for kept_row in kept:  # one statement cannot update a row twice
        key = (kept_row.table, kept_row.legacy_id, kept_row.kind)
        merged.setdefault(key, {}).update(kept_row.data)
    cells = [
        {"table": table, "legacy_id": legacy_id, "kind": kind, "data": data}
        for (table, legacy_id, kind), data in merged.items()
    ]
    statements: list[tuple[str, list[dict[str, Any]]]] = [(INSERT_REJECTS, rejects), (INSERT_KEPT, cells)]
    return [(sql, parameters) for sql, parameters in statements if parameters]


def as_parameter(value: Any) -> str:
    """Return the value as JSON that PostgreSQL's jsonb accepts: no NaN, no lone surrogates."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace").decode("utf-8")


def get_progress() -> dict[str, Progress]:
    """Return the committed progress by table."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT source_table, last_rowid, rows_read, rows_loaded, rows_rejected, repairs, complete "
            "FROM legacy_progress"
        )
        rows = cursor.fetchall()
    result = {}
    for table, last_rowid, read, loaded, rejected, repairs, complete in rows:
        by_kind = repairs if isinstance(repairs, dict) else json.loads(repairs)
        result[table] = Progress(table, last_rowid, read, loaded, rejected, Counter(by_kind), complete)
    return result


def copy_is_complete() -> bool:
    progress = get_progress()
    return bool(progress) and all(table.complete for table in progress.values())
