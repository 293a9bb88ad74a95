"""Writes to the log of proposals, `llm_mappings`: each is counted into the figures of its day as it is made."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from django.db import transaction
from django.db.models import Count, QuerySet, Sum
from django.db.models.functions import TruncDate

from llm_center.models import LlmMapping, MappingDelta

# (day, status, source, automatic) of a row.
Key = tuple[date, str, str, bool]
_KEY = ("day", "status", "source", "ai_auto_approved")
# The column keeps four places; what is summed must be what is stored.
_AS_STORED = Decimal("0.0001")


def log_create(**values: Any) -> LlmMapping:
    """One row into the log."""
    with transaction.atomic():
        mapping: LlmMapping = LlmMapping.objects.create(**values)
        log_counted(
            [(mapping.created_at, mapping.status, mapping.source, mapping.ai_auto_approved, Decimal(mapping.confidence))]
        )
    return mapping


def log_counted(rows: Iterable[tuple[datetime, str, str, bool, Decimal]]) -> None:
    """Count rows that were just added by a statement: (created_at, status, source, ai_auto_approved, confidence) each."""
    added: Counter[Key] = Counter()
    confidence: defaultdict[Key, Decimal] = defaultdict(Decimal)
    for created_at, status, source, automatic, stated in rows:
        key = (created_at.astimezone(UTC).date(), str(status), str(source), automatic)
        added[key] += 1
        confidence[key] += stated.quantize(_AS_STORED, ROUND_HALF_UP)
    MappingDelta.objects.bulk_create(_delta(key, count, confidence[key], count) for key, count in added.items())


def log_update(rows: QuerySet[LlmMapping], *, status: str, **values: Any) -> int:
    """Move rows to another status, whatever else is written. Returns how many."""
    with transaction.atomic():
        keys, before = _locked(rows)
        if not keys:
            return 0
        LlmMapping.objects.filter(pk__in=keys).update(status=status, **values)
        MappingDelta.objects.bulk_create(
            delta
            for (day, was, source, automatic), count, confidence in before
            for delta in (
                _delta((day, was, source, automatic), -count, -confidence, 0),
                _delta((day, status, source, automatic), count, confidence, count),
            )
        )
    return len(keys)


def log_rewrite(rows: QuerySet[LlmMapping], *, source: str, confidence: Decimal, **values: Any) -> int:
    """Write a new proposal into rows that stay in their status. Returns how many."""
    with transaction.atomic():
        keys, before = _locked(rows)
        if not keys:
            return 0
        LlmMapping.objects.filter(pk__in=keys).update(source=source, confidence=confidence, **values)
        stated = confidence.quantize(_AS_STORED, ROUND_HALF_UP)
        MappingDelta.objects.bulk_create(
            delta
            for (day, status, was, automatic), count, summed in before
            for delta in (
                _delta((day, status, was, automatic), -count, -summed, 0),
                _delta((day, status, source, automatic), count, stated * count, count),
            )
        )
    return len(keys)


def log_delete(rows: QuerySet[LlmMapping]) -> int:
    """Take rows out of the log. Returns how many."""
    with transaction.atomic():
        keys, before = _locked(rows)
        if not keys:
            return 0
        LlmMapping.objects.filter(pk__in=keys).delete()
        MappingDelta.objects.bulk_create(_delta(key, -count, -confidence, count) for key, count, confidence in before)
    return len(keys)


def _locked(rows: QuerySet[LlmMapping]) -> tuple[list[int], list[tuple[Key, int, Decimal]]]:
    """The rows' ids, locked in order so that two writers cannot deadlock, and how they are counted now."""
    keys = list(rows.order_by("pk").select_for_update().values_list("pk", flat=True))
    counted = (
        LlmMapping.objects.filter(pk__in=keys)
        .annotate(day=TruncDate("created_at", tzinfo=UTC))
        .values_list(*_KEY)
        .annotate(Count("pk"), Sum("confidence"))
        .order_by()
    )
    return keys, [((row[0], row[1], row[2], row[3]), row[4], row[5]) for row in counted]


def _delta(key: Key, rows: int, confidence: Decimal, writes: int) -> MappingDelta:
    day, status, source, automatic = key
    return MappingDelta(
        day=day, status=status, source=source, automatic=automatic, rows=rows, confidence=confidence, writes=writes
    )
