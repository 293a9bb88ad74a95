"""Writes to the log of proposals, `llm_mappings`: each is counted into the figures of its day as it is made.

Nothing else writes to the log. Rows change and go by one statement that counts what it did, from values that it checks
again when it writes: of two writers of the same rows the second leaves alone what the first one moved.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connection, transaction
from django.db.models import QuerySet

from llm_center.cache import invalidate_mappings
from llm_center.models import LlmMapping, MappingDelta

# (day, status, source, automatic) of a row.
Key = tuple[date, str, str, bool]
# The column keeps four places; what is summed must be what is stored.
_AS_STORED = Decimal("0.0001")


def create_log_row(**values: Any) -> LlmMapping:
    """One row into the log."""
    with transaction.atomic():
        mapping: LlmMapping = LlmMapping.objects.create(**values)
        record_log_deltas(
            [
                (
                    mapping.created_at,
                    mapping.status,
                    mapping.source,
                    mapping.ai_auto_approved,
                    Decimal(mapping.confidence),
                )
            ]
        )
    return mapping


def record_log_deltas(rows: Iterable[tuple[datetime, str, str, bool, Decimal]]) -> None:
    """Count rows that were just added by a statement: (created_at, status, source, ai_auto_approved, confidence) each.

    In the transaction of that statement.
    """
    added: Counter[Key] = Counter()
    confidence: defaultdict[Key, Decimal] = defaultdict(Decimal)
    for created_at, status, source, automatic, stated in rows:
        key = (created_at.astimezone(UTC).date(), str(status), str(source), automatic)
        added[key] += 1
        confidence[key] += stated.quantize(_AS_STORED, ROUND_HALF_UP)
    MappingDelta.objects.bulk_create(
        MappingDelta(
            day=day,
            status=status,
            source=source,
            automatic=automatic,
            rows=count,
            confidence=confidence[day, status, source, automatic],
            writes=count,
        )
        for (day, status, source, automatic), count in added.items()
    )
    invalidate_mappings()


def update_log_row(rows: QuerySet[LlmMapping], **values: Any) -> int:
    """Write these values into the rows, their status, source and confidence among them. Returns how many rows."""
    assignments, parameters = [], []
    for name, value in values.items():
        field = LlmMapping._meta.get_field(name)
        plain = value.prepare_database_save(field) if hasattr(value, "prepare_database_save") else value
        assignments.append(f"{field.column} = %s")  # type: ignore[union-attr]  # the names are of columns
        parameters.append(field.get_db_prep_save(plain, connection))  # type: ignore[union-attr]
    return _write_and_count(
        rows,
        f"UPDATE llm_mappings SET {', '.join(assignments)} FROM was",  # noqa: S608
        parameters,
        "(-1, written.status, written.source, written.confidence, 0), (1, now_status, now_source, now_confidence, 1)",
    )


def delete_log_row(rows: QuerySet[LlmMapping]) -> int:
    """Take rows out of the log. Returns how many."""
    return _write_and_count(
        rows, "DELETE FROM llm_mappings USING was", [], "(-1, written.status, written.source, written.confidence, 1)"
    )


def _write_and_count(rows: QuerySet[LlmMapping], write: str, parameters: list[Any], sides: str) -> int:
    """Write to these rows and count what each adds to its `sides`: (sign, status, source, confidence, writes)."""
    try:
        chosen, chosen_parameters = (
            rows.order_by()
            .values_list("pk", "created_at", "status", "source", "ai_auto_approved", "confidence")
            .query.sql_with_params()
        )
    except EmptyResultSet:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH was (id, created_at, status, source, automatic, confidence) AS MATERIALIZED ({chosen}),
            written AS (
                {write}
                WHERE llm_mappings.id = was.id AND llm_mappings.created_at = was.created_at
                  AND llm_mappings.status = was.status AND llm_mappings.source = was.source
                  AND llm_mappings.confidence = was.confidence
                RETURNING was.*, llm_mappings.status AS now_status, llm_mappings.source AS now_source,
                          llm_mappings.confidence AS now_confidence
            ),
            counted AS (
                INSERT INTO mapping_deltas (day, status, source, automatic, rows, confidence, writes)
                SELECT (created_at AT TIME ZONE 'UTC')::date, side.status, side.source, automatic, sum(side.n),
                       sum(side.n * side.confidence), sum(side.writes)
                FROM written CROSS JOIN LATERAL (VALUES {sides}) AS side (n, status, source, confidence, writes)
                GROUP BY 1, 2, 3, 4
            )
            SELECT count(*) FROM written
            """,  # noqa: S608
            [*chosen_parameters, *parameters],
        )
        count = int(cursor.fetchone()[0])
    if count:
        invalidate_mappings()
    return count
