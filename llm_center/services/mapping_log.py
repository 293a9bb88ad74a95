"""Writes to the log of proposals, `llm_mappings`; each also updates the counters of its day.

Nothing else writes to the log. Updates and deletes run in one statement that counts what it changed and compares the
rows with the values it has read: of two concurrent writers of a row, the second one skips it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, NamedTuple

from django.core.exceptions import EmptyResultSet
from django.db import connection, transaction
from django.db.models import QuerySet
from psycopg2.extras import execute_values

from llm_center.cache import invalidate_mappings
from llm_center.models import LlmMapping, MappingDelta
from llm_center.sql import load_sql

# (day, status, source, automatic) of a row.
Key = tuple[date, str, str, bool]
# The column has four decimal places; the counters must sum what is stored.
_AS_STORED = Decimal("0.0001")


class LogRow(NamedTuple):
    """A row to insert. Creating and compiling model instances would take longer than the rest of a batch."""

    merchant_name: str
    merchant_key: str
    ticker: str | None
    category: str
    confidence: Decimal
    status: str
    company_name: str
    source: str
    created_at: datetime
    admin_approved: bool
    ai_reasoning: str
    ai_model_version: str = ""
    ai_auto_approved: bool = False
    ai_processing_ms: int | None = None
    ai_decided_at: datetime | None = None
    decided_by_id: int | None = None
    ai_processed: bool = True


_INSERT = f"INSERT INTO llm_mappings ({', '.join(LogRow._fields)}) VALUES %s"  # noqa: S608


def insert_log_rows(rows: Sequence[LogRow]) -> None:
    """Insert many rows; call it in a transaction."""
    with connection.cursor() as cursor:
        execute_values(cursor.cursor, _INSERT, rows, page_size=2_000)
    record_log_deltas((row.created_at, row.status, row.source, row.ai_auto_approved, row.confidence) for row in rows)


@transaction.atomic
def create_log_row(**values: Any) -> LlmMapping:
    """Insert one row."""
    mapping: LlmMapping = LlmMapping.objects.create(**values)
    record_log_deltas(
        [(mapping.created_at, mapping.status, mapping.source, mapping.ai_auto_approved, Decimal(mapping.confidence))]
    )
    return mapping


def record_log_deltas(rows: Iterable[tuple[datetime, str, str, bool, Decimal]]) -> None:
    """Count inserted rows, in their transaction.

    Args:
        rows: (created_at, status, source, ai_auto_approved, confidence) of each.
    """
    added: Counter[Key] = Counter()
    confidence: defaultdict[Key, Decimal] = defaultdict(Decimal)
    for created_at, status, source, automatic, stated in rows:
        key = (created_at.astimezone(UTC).date(), str(status), str(source), automatic)
        added[key] += 1
        confidence[key] += stated.quantize(_AS_STORED, ROUND_HALF_UP)
    MappingDelta.objects.bulk_create(
        MappingDelta(
            day=key[0],
            status=key[1],
            source=key[2],
            automatic=key[3],
            rows=count,
            confidence=confidence[key],
            writes=count,
        )
        for key, count in added.items()
    )
    invalidate_mappings()


def update_log_row(rows: QuerySet[LlmMapping], **values: Any) -> int:
    """Set these columns, status, source and confidence included; return the number of rows updated."""
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
    """Delete rows; return their number."""
    return _write_and_count(
        rows, "DELETE FROM llm_mappings USING was", [], "(-1, written.status, written.source, written.confidence, 1)"
    )


def _write_and_count(rows: QuerySet[LlmMapping], write: str, parameters: list[Any], sides: str) -> int:
    """Write to the rows; `sides` lists what each adds to the counters: (sign, status, source, confidence, writes)."""
    columns = ("pk", "created_at", "status", "source", "ai_auto_approved", "confidence")
    try:
        selection, selection_parameters = rows.order_by().values_list(*columns).query.sql_with_params()
    except EmptyResultSet:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(
            load_sql("write_log_rows").format(selection=selection, write=write, sides=sides),
            [*selection_parameters, *parameters],
        )
        count = int(cursor.fetchone()[0])
    if count:
        invalidate_mappings()
    return count
