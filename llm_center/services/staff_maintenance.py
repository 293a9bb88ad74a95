"""Maintenance that staff start manually: the queue switch, duplicates of uploaded rows, invalid indexes.

Each long action is a background task that reports what it did.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.db import connection, transaction

from llm_center.live_settings import QUEUE_ENABLED
from llm_center.models import LlmMapping
from llm_center.services.brands import refresh_catalogue
from llm_center.services.mapping_log import delete_log_row
from llm_center.sql import load_sql
from transactions.models import BackgroundTask, Setting, User
from transactions.services.background_tasks import get_or_create_task
from transactions.services.settings import save_settings

# Rows of the log in one step, and rows deleted in one database transaction.
_STEP: Final = 20_000
_DELETE_BATCH: Final = 1_000
ANALYZED: Final = ("merchants", "companies", "catalogue_brands")

# The last merchant name of the next step; an index-only scan.
_STEP_END = """
    SELECT max(merchant_name), count(*) FROM (
        SELECT merchant_name FROM llm_mappings WHERE merchant_name > %(after)s ORDER BY merchant_name LIMIT %(step)s
    ) AS ahead
"""
# Indexes left invalid by an interrupted build; those of partitioned tables follow their partitions.
_INVALID_INDEXES = """
    SELECT format('%I.%I', namespace.nspname, class.relname)
    FROM pg_index
    JOIN pg_class AS class ON class.oid = pg_index.indexrelid
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE NOT pg_index.indisvalid AND class.relkind = 'i' AND namespace.nspname = 'public' ORDER BY 1
"""


def is_queue_enabled() -> bool:
    """Return whether the LLM queue runs automatically; runs on request are always allowed."""
    return QUEUE_ENABLED.get()


@transaction.atomic
def set_queue_enabled(*, on: bool, actor: User) -> BackgroundTask | None:
    """Enable or disable automatic runs of the queue. Enabling starts a run at once and returns its task."""
    Setting.objects.get_or_create(
        key=QUEUE_ENABLED.key,
        defaults={
            "value": "true",
            "type": Setting.Type.BOOLEAN,
            "description": "Whether the LLM queue runs automatically every few minutes.",
        },
    )
    save_settings(values={QUEUE_ENABLED.key: "true" if on else "false"}, actor=actor)
    return get_or_create_task(name="run_llm_queue", actor=actor) if on else None


@dataclass(slots=True)
class DeduplicationResult:
    """Rows checked, the merchants they name, and rows removed."""

    rows: int = 0
    merchants: int = 0
    removed: int = 0


def remove_duplicate_mappings(*, on_progress: Callable[[int], None] | None = None) -> DeduplicationResult:
    """Remove exact duplicates of uploaded rows from the log, which repeated uploads created.

    The log is history, so a row is removed only if its source is `bulk` and an older row with that source has the same
    values and status. Rows of users, models and the matcher are kept, as are all decisions. Works in steps by name; a
    run after a crash finds the rest.
    """
    result, after = DeduplicationResult(), ""
    while True:
        with connection.cursor() as cursor:
            cursor.execute(_STEP_END, {"after": after, "step": _STEP})
            upto, ahead = cursor.fetchone()
            if not ahead:
                return result
            cursor.execute(load_sql("duplicate_log_rows"), {"after": after, "upto": upto})
            rows, merchants, duplicates = cursor.fetchone()
        for start in range(0, len(duplicates), _DELETE_BATCH):
            batch = duplicates[start : start + _DELETE_BATCH]
            result.removed += delete_log_row(LlmMapping.objects.filter(pk__in=batch))
            if on_progress:
                on_progress(result.rows)
        result.rows += rows
        result.merchants += merchants
        after = upto
        if on_progress:
            on_progress(result.rows)


def rebuild_mapping_indexes(*, on_progress: Callable[[int], None] | None = None) -> dict[str, Any]:
    """Rebuild invalid indexes without blocking writes, refresh the planner's statistics, and reload the catalogue."""
    with connection.cursor() as cursor:
        cursor.execute(_INVALID_INDEXES)
        invalid = [row[0] for row in cursor.fetchall()]
        for number, name in enumerate(invalid, start=1):
            cursor.execute(f"REINDEX INDEX CONCURRENTLY {name}")  # the name is quoted by the query above
            if on_progress:
                on_progress(number)
        for table in ANALYZED:
            cursor.execute(f"ANALYZE {table}")
    return {"reindexed": invalid, "analyzed": list(ANALYZED), "catalogue_reloaded": refresh_catalogue()}
