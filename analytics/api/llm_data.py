"""`/api/llm-data/…`: the legacy's page on its data system. Where we have no such part, the figure is null or zero, and says so."""

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from analytics.api import shapes
from analytics.api.center import RUNS_WORK, SEES_WORK
from analytics.selectors import llm_center, operations, review_stats, transactions
from kamioi_site.cache.namespaces import clear_caches, namespaces
from kamioi_site.cache.statistics import namespace_stats
from llm_center.selectors import merchants_by_prefix, search_companies
from llm_center.services.matching import propose_owner
from llm_center.services.review.queue import queue_totals_cached
from transactions.api.base import accepted, current_user, validated
from transactions.api.staff import BODY_ERRORS, StaffView, errors
from transactions.models import Transaction
from transactions.rules.merchant_key import normalise
from transactions.services.background_tasks import get_or_create_task

Status = Transaction.Status
_PASSAGES = 20


def system_status() -> dict[str, Any]:
    """What runs, and how large the log is."""
    works, mappings = operations.system_status(), llm_center.mapping_totals()
    return {
        "system_health": "healthy" if works.redis and works.queue_enabled else "stopped" if works.redis else "degraded",
        "active_processes": works.open_tasks,
        "queue_size": queue_totals_cached()[0],
        "uptime": operations.process_uptime(),
        "total_mappings": mappings.total,
        "approved_mappings": mappings.approved,
        "pending_mappings": mappings.pending,
        "last_updated": timezone.now(),
    }


def event_stats() -> dict[str, Any]:
    """Purchases are the events: all of them, those of today, those that are done."""
    totals, works = transactions.transaction_totals(), operations.system_status()
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
        "last_processed": works.last_booking,
    }


def vector_embeddings() -> dict[str, Any]:
    """There are none: merchants are matched by spelling, not by vectors."""
    return {
        "total_embeddings": 0,
        "dimensions": None,
        "last_update": None,
        "indexed_count": 0,
        "pending_indexing": 0,
        "storage_size": 0,
    }


def feature_store() -> dict[str, Any]:
    """The directory is the store of patterns; nothing is kept of how customers behave."""
    read = [family.compute_ms for family in namespace_stats().values() if family.compute_ms is not None]
    return {
        "merchant_patterns": llm_center.merchant_counts().total,
        "user_behavior": None,
        "transaction_features": None,
        "cache_hit_rate": operations.cache_hit_percent(),
        "avg_compute_time": round(sum(read) / len(read), 3) if read else None,
        "storage_efficiency": None,
        "last_update": llm_center.last_decision_at(),
    }


class _FiguresView(StaffView):
    needs = SEES_WORK

    @staticmethod
    def both(name: str, compute: Any) -> Response:
        """The figures, cached half a minute, beside `success` and under `data`."""
        data = review_stats.STAFF_STATS_CACHE.get(compute, name=f"llm-data-{name}")
        return Response({"success": True, **data, "data": data})


class SystemStatusView(_FiguresView):
    """What runs."""

    @extend_schema(responses={200: shapes.SystemStatusOutput} | errors(), tags=["llm data"])
    def get(self, request: Request) -> Response:
        """Uptime is that of the process that answers, in seconds."""
        return self.both("system-status", system_status)


class EventStatsView(_FiguresView):
    """Purchases as events."""

    @extend_schema(responses={200: shapes.EventStatsOutput} | errors(), tags=["llm data"])
    def get(self, request: Request) -> Response:
        """Counts of all purchases; times are not measured here, and null."""
        return self.both("event-stats", event_stats)


class VectorEmbeddingsView(_FiguresView):
    """Vectors."""

    @extend_schema(responses={200: shapes.VectorEmbeddingsOutput} | errors(), tags=["llm data"])
    def get(self, request: Request) -> Response:
        """None are kept."""
        return self.both("vector-embeddings", vector_embeddings)


class FeatureStoreView(_FiguresView):
    """Patterns of merchants, and the cache."""

    @extend_schema(responses={200: shapes.FeatureStoreOutput} | errors(), tags=["llm data"])
    def get(self, request: Request) -> Response:
        """What there is; the rest is null."""
        return self.both("feature-store", feature_store)


class SearchView(StaffView):
    """Look for a merchant or a company."""

    needs = SEES_WORK

    @extend_schema(
        request=shapes.SearchInput, responses={200: shapes.SearchOutput} | errors(*BODY_ERRORS), tags=["llm data"]
    )
    def post(self, request: Request) -> Response:
        """What the directory, the catalogue and the list of companies know of it, at most twenty."""
        query = validated(shapes.SearchInput(data=request.data))["query"]
        passages = list(_passages(query))[:_PASSAGES]
        return Response({"success": True, "passages": passages, "total": len(passages)})


def _passages(query: str) -> Any:
    key = normalise(query)
    if key:
        for row in merchants_by_prefix(key):
            owner = f"{row.ticker} ({row.company_name})" if row.ticker else "nobody"
            yield _passage(
                f"merchant-{row.pk}",
                f"{row.display_name}: {row.get_status_display()}, {owner}. {row.reason}",
                1.0 if row.merchant_key == key else None,
                "directory",
                row.category,
                row.confidence,
            )
        found = propose_owner(key, query)
        if found.confidence:
            yield _passage(
                f"catalogue-{key}",
                f"{query}: {found.ticker or 'nobody to invest in'}. {found.reason}",
                float(found.confidence),
                "catalogue",
                found.category,
                found.confidence,
            )
    for company in search_companies(query):
        yield _passage(
            f"company-{company['ticker']}",
            f"{company['ticker']}: {company['name']}, {company['exchange']}",
            None,
            "companies",
            "",
            None,
        )


def _passage(  # noqa: PLR0917  # the keys of the shape, in order
    name: str, content: str, score: float | None, source: str, category: str, confidence: Any
) -> dict[str, Any]:
    return {
        "id": name,
        "content": content,
        "score": score,
        "source": source,
        "metadata": {"category": category, "confidence": confidence},
    }


class InitializeView(StaffView):
    """Nothing has to be set up."""

    needs = RUNS_WORK

    @extend_schema(request=None, responses={200: shapes.DoneOutput} | errors(), tags=["llm data"])
    def post(self, request: Request) -> Response:
        """Says so, and how the system stands."""
        return Response(
            {
                "success": True,
                "message": "Nothing has to be set up: tables, indexes and catalogue come with the migrations.",
                "status": "ready",
                "data": system_status(),
            }
        )


class RefreshFeaturesView(StaffView):
    """Reload the catalogue and the planner's figures."""

    needs = RUNS_WORK

    @extend_schema(request=None, responses={202: shapes.QueuedMessageOutput} | errors(), tags=["llm data"])
    def post(self, request: Request) -> Response:
        """In the background; the task's `result` says what was done."""
        task = get_or_create_task(name="rebuild_indexes", actor=current_user(request))
        return accepted(task, message="The catalogue is reloaded and the directory analyzed.", data={})


class RebuildCacheView(StaffView):
    """Void what is cached; it fills as it is read."""

    needs = RUNS_WORK

    @extend_schema(request=None, responses={200: shapes.DoneOutput} | errors(), tags=["llm data"])
    def post(self, request: Request) -> Response:
        """In constant time."""
        clear_caches()
        names = [family.template for family in namespaces()]
        message = f"{len(names)} kinds of cached figures are void; they fill as they are read."
        return Response({"success": True, "message": message, "status": "cleared", "data": {"families": names}})


class ConfigureFeaturesView(StaffView):
    """There is nothing to configure here."""

    needs = RUNS_WORK

    @extend_schema(request=None, responses={200: shapes.DoneOutput} | errors(), tags=["llm data"])
    def post(self, request: Request) -> Response:
        """Says so: what the queue does is set under `/api/admin/settings`. Nothing of the body is read."""
        return Response(
            {
                "success": True,
                "message": "There are no features to configure; what the LLM queue does is set under /api/admin/settings.",
                "status": "unchanged",
                "data": {},
            }
        )
