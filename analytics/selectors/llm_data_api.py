"""The legacy system's page on its data system, for the staff API. What Kamioi does not have is null or zero."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import TypedDict

from django.utils import timezone

from analytics.selectors import llm_center, operations, transactions
from kamioi_site.cache.statistics import namespace_stats
from llm_center.selectors import merchants_by_prefix, search_companies
from llm_center.services.matching import propose_owner
from llm_center.services.review.queue import queue_totals_cached
from transactions.models import Transaction
from transactions.rules.merchant_key import normalise

Status = Transaction.Status
_PASSAGES = 20


class LlmDataSystemStatus(TypedDict):
    system_health: str
    active_processes: int
    queue_size: int
    uptime: float
    total_mappings: int
    approved_mappings: int
    pending_mappings: int
    last_updated: datetime | None


class LlmDataEventStats(TypedDict):
    events_today: int
    total_events: int
    success_rate: float | None
    avg_processing_time: float | None
    processing_rate: float | None
    queue_size: int
    events_processed: int
    last_processed: datetime | None


class LlmDataVectorEmbeddings(TypedDict):
    """Vectors: there are none, merchants are matched by spelling."""

    total_embeddings: int
    dimensions: int | None
    last_update: datetime | None
    indexed_count: int
    pending_indexing: int
    storage_size: int


class LlmDataFeatureStore(TypedDict):
    """The merchants as a store of patterns, and the cache."""

    merchant_patterns: int
    user_behavior: int | None
    transaction_features: int | None
    cache_hit_rate: float | None
    avg_compute_time: float | None
    storage_efficiency: float | None
    last_update: datetime | None


class PassageMetadata(TypedDict):
    category: str
    confidence: Decimal | None


class Passage(TypedDict):
    id: str
    content: str
    score: float | None
    source: str
    metadata: PassageMetadata


def system_status() -> LlmDataSystemStatus:
    """Return the state; uptime is that of the responding process, in seconds."""
    system, mappings = operations.system_status(), llm_center.mapping_totals()
    return {
        "system_health": "healthy"
        if system.redis and system.queue_enabled
        else "stopped"
        if system.redis
        else "degraded",
        "active_processes": system.open_tasks,
        "queue_size": queue_totals_cached()[0],
        "uptime": operations.process_uptime(),
        "total_mappings": mappings.total,
        "approved_mappings": mappings.approved,
        "pending_mappings": mappings.pending,
        "last_updated": timezone.now(),
    }


def event_stats() -> LlmDataEventStats:
    """Return counts of all purchases; times are not measured and null."""
    totals = transactions.transaction_totals()
    processed = totals.total - totals.count(Status.PENDING)
    failed = totals.count(Status.FAILED)
    return {
        "events_today": totals.today,
        "total_events": totals.total,
        "success_rate": round((processed - failed) * 100 / processed, 2) if processed else None,
        "avg_processing_time": None,
        "processing_rate": None,
        "queue_size": totals.count(Status.PENDING),
        "events_processed": processed,
        "last_processed": operations.system_status().last_booking,
    }


def vector_embeddings() -> LlmDataVectorEmbeddings:
    """Return zeros: there are no vectors."""
    return {
        "total_embeddings": 0,
        "dimensions": None,
        "last_update": None,
        "indexed_count": 0,
        "pending_indexing": 0,
        "storage_size": 0,
    }


def feature_store() -> LlmDataFeatureStore:
    """Return what is measured; the rest is null."""
    times = [stats.compute_ms for stats in namespace_stats().values() if stats.compute_ms is not None]
    return {
        "merchant_patterns": llm_center.merchant_counts().total,
        "user_behavior": None,
        "transaction_features": None,
        "cache_hit_rate": operations.cache_hit_percent(),
        "avg_compute_time": round(sum(times) / len(times), 3) if times else None,
        "storage_efficiency": None,
        "last_update": llm_center.last_decision_at(),
    }


def search_passages(query: str) -> list[Passage]:
    """Return what the merchants, the matcher and the list of companies have for the query, at most twenty."""
    return list(islice(_passages(query), _PASSAGES))


def _passages(query: str) -> Iterator[Passage]:
    key = normalise(query)
    if key:
        for row in merchants_by_prefix(key):
            company = f"{row.ticker} ({row.company_name})" if row.ticker else "no company"
            yield {
                "id": f"merchant-{row.pk}",
                "content": f"{row.display_name}: {row.get_status_display()}, {company}. {row.reason}",
                "score": 1.0 if row.merchant_key == key else None,
                "source": "directory",
                "metadata": {"category": row.category, "confidence": row.confidence},
            }
        proposal = propose_owner(key, query)
        if proposal.confidence:
            yield {
                "id": f"catalogue-{key}",
                "content": f"{query}: {proposal.ticker or 'no listed company'}. {proposal.reason}",
                "score": float(proposal.confidence),
                "source": "catalogue",
                "metadata": {"category": proposal.category, "confidence": proposal.confidence},
            }
    for company_row in search_companies(query):
        yield {
            "id": f"company-{company_row['ticker']}",
            "content": f"{company_row['ticker']}: {company_row['name']}, {company_row['exchange']}",
            "score": None,
            "source": "companies",
            "metadata": {"category": "", "confidence": None},
        }
