"""What staff start by hand: the queue's switch, exact duplicates of uploaded rows, broken indexes, the matcher's catalogue.

Each long action is a background task that says what it did.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.db import connection, transaction

from llm_center.live_settings import QUEUE_ENABLED
from llm_center.models import LlmMapping
from llm_center.services.brands import refresh_catalogue
from llm_center.services.mapping_log import delete_log_row
from transactions.models import BackgroundTask, Setting, User
from transactions.services.background_tasks import get_or_create_task
from transactions.services.settings import save_settings

# Rows of the log that one step looks at, and rows that one database transaction deletes.
_STEP: Final = 20_000
_DELETE: Final = 1_000


def is_queue_enabled() -> bool:
    """Whether the LLM queue runs by itself. A run that somebody asks for goes on in any case."""
    return QUEUE_ENABLED.get()


@transaction.atomic
def set_queue_enabled(*, on: bool, actor: User) -> BackgroundTask | None:
    """Let the queue run by itself, or not. Switching on starts a run at once; its task is returned."""
    Setting.objects.get_or_create(
        key=QUEUE_ENABLED.key,
        defaults={
            "value": "true",
            "type": Setting.Type.BOOLEAN,
            "description": "Whether the LLM queue runs by itself every few minutes.",
        },
    )
    save_settings(values={QUEUE_ENABLED.key: "true" if on else "false"}, actor=actor)
    return get_or_create_task(name="run_llm_queue", actor=actor) if on else None


# --- Duplicates -------------------------------------------------------------------------------------------------
@dataclass(slots=True)
class DeduplicationResult:
    """Rows looked at, merchants they name, rows taken out."""

    rows: int = 0
    merchants: int = 0
    removed: int = 0


# The last name that a step of so many rows reaches; an index only scan.
_REACH = """
    SELECT max(merchant_name), count(*) FROM (
        SELECT merchant_name FROM llm_mappings WHERE merchant_name > %(after)s ORDER BY merchant_name LIMIT %(step)s
    ) AS ahead
"""
# What an uploaded row says, and whatever else could tell two apart; the oldest stays.
_DOUBLES = """
    SELECT count(*), count(DISTINCT merchant_name),
           coalesce(array_agg(id) FILTER (WHERE source = 'bulk' AND place > 1), '{}')
    FROM (
        SELECT id, merchant_name, source, row_number() OVER (
            PARTITION BY merchant_name, merchant_key, ticker, category, company_name, confidence, status, admin_approved,
                         ai_reasoning, transaction_id, user_id, source
            ORDER BY created_at, id
        ) AS place
        FROM llm_mappings WHERE merchant_name > %(after)s AND merchant_name <= %(upto)s
    ) AS named
"""


def remove_duplicate_mappings(*, on_progress: Callable[[int], None] | None = None) -> DeduplicationResult:
    """Take exact duplicates of uploaded rows out of the log: files were uploaded again and again.

    The log is history, so only rows of source `bulk` go, only where everything they say was said before by another uploaded row
    of the same status, and the oldest stays. What a person, a model or the matcher said stays, and so does every decision.
    Goes by name, in steps; running it again after a kill finds the rest.
    """
    done, after = DeduplicationResult(), ""
    while True:
        with connection.cursor() as cursor:
            cursor.execute(_REACH, {"after": after, "step": _STEP})
            upto, ahead = cursor.fetchone()
            if not ahead:
                return done
            cursor.execute(_DOUBLES, {"after": after, "upto": upto})
            rows, merchants, doubles = cursor.fetchone()
        for start in range(0, len(doubles), _DELETE):
            done.removed += delete_log_row(LlmMapping.objects.filter(pk__in=doubles[start : start + _DELETE]))
            if on_progress:
                on_progress(done.rows)
        done.rows += rows
        done.merchants += merchants
        after = upto
        if on_progress:
            on_progress(done.rows)


# --- Indexes ----------------------------------------------------------------------------------------------------
# Indexes that PostgreSQL does not use because building them was broken off; those of partitioned tables follow their parts.
_BROKEN = """
    SELECT format('%I.%I', namespace.nspname, class.relname)
    FROM pg_index
    JOIN pg_class AS class ON class.oid = pg_index.indexrelid
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE NOT pg_index.indisvalid AND class.relkind = 'i' AND namespace.nspname = 'public' ORDER BY 1
"""
ANALYZED: Final = ("merchants", "companies", "catalogue_brands")


def rebuild_mapping_indexes(*, on_progress: Callable[[int], None] | None = None) -> dict[str, Any]:
    """Rebuild broken indexes without locking anybody out, bring the planner's figures of the directory and the matcher up to date.

    A sound index is left alone: rebuilding it would only cost.
    """
    with connection.cursor() as cursor:
        cursor.execute(_BROKEN)
        broken = [row[0] for row in cursor.fetchall()]
        for number, name in enumerate(broken, start=1):
            cursor.execute(f"REINDEX INDEX CONCURRENTLY {name}")  # the name comes from the catalogue, quoted
            if on_progress:
                on_progress(number)
        for table in ANALYZED:
            cursor.execute(f"ANALYZE {table}")
    return {"reindexed": broken, "analyzed": list(ANALYZED), "catalogue_reloaded": refresh_catalogue()}
