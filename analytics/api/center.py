"""The LLM Center's screens that show whole-table figures: dashboard, queue, statistics, automation."""

from decimal import Decimal
from typing import Any

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from analytics.api import shapes
from analytics.selectors import llm_center, operations, periods, review_stats
from analytics.selectors.transactions import transaction_totals
from kamioi_site.cache.namespaces import clear_caches, namespaces
from llm_center.api.rows import asset_row, assets_summary, mapping_row
from llm_center.models import LlmDataAsset, LlmMapping
from llm_center.services.review.queue import queue_totals_cached
from llm_center.services.staff_maintenance import set_queue_enabled
from transactions.api.base import accepted, current_user
from transactions.api.staff import StaffView, errors
from transactions.models import Transaction
from transactions.rules.market_hours import market_is_open
from transactions.services.background_tasks import get_or_create_task

Status = Transaction.Status
_ROWS = 20
SEES_WORK = ("transactions.view_backgroundtask",)
RUNS_WORK = ("transactions.change_backgroundtask",)


# --- Figures that several screens show --------------------------------------------------------------------------
def analytics_data() -> dict[str, Any]:
    """The cards of the LLM Center."""
    mappings, works = llm_center.mapping_totals(), operations.system_status()
    return {
        "totalMappings": mappings.total,
        "dailyProcessed": mappings.today,
        "accuracyRate": review_stats.proposal_accuracy().accuracy,
        "autoApprovalRate": mappings.automatic_rate,
        "systemStatus": "operational" if works.redis else "degraded",
        "databaseStatus": "connected",
        "aiModelStatus": "active" if works.queue_enabled else "stopped",
        "lastUpdated": timezone.now(),
    }


def performance_data(mappings: llm_center.MappingTotals) -> dict[str, Any]:
    """How the models and this process do."""
    calls = llm_center.llm_call_stats()
    return {
        "processing_speed": calls.merchants_per_second,
        "avg_confidence": mappings.confidence,
        "error_rate": calls.error_rate,
        "uptime": operations.process_uptime(),
        "memory_usage": operations.process_memory_mb(),
    }


def _newest(status: str) -> list[dict[str, Any]]:
    rows = LlmMapping.objects.select_related("user").filter(status=status).order_by("-created_at", "-pk")
    return [mapping_row(row) for row in rows[:_ROWS]]


def dashboard_data() -> dict[str, Any]:
    """Everything that the dashboard shows."""
    mappings = llm_center.mapping_totals()
    assets = [asset_row(row) for row in LlmDataAsset.objects.prefetch_related("amortization", "events").order_by("pk")]
    return {
        "analytics": analytics_data(),
        "mappings": {
            "pending": _newest(LlmMapping.Status.PENDING),
            "approved": _newest(LlmMapping.Status.APPROVED),
            "rejected": _newest(LlmMapping.Status.REJECTED),
            "counts": {"pending": mappings.pending, "approved": mappings.approved, "rejected": mappings.rejected},
        },
        "llm_data_assets": {"assets": assets, "summary": assets_summary(assets)},
        "performance_metrics": performance_data(mappings),
        "category_distribution": llm_center.recent_proposal_categories(),
    }


class DashboardView(StaffView):
    """The LLM Center at a glance."""

    rate_scope = "dashboard"

    @extend_schema(responses={200: shapes.DashboardOutput} | errors(), tags=["llm center"])
    def get(self, request: Request) -> Response:
        """Cached fifteen minutes, void as soon as a proposal or a decision is written; ten a minute."""
        return Response(
            {
                "success": True,
                "data": review_stats.DASHBOARD_CACHE.get(dashboard_data, user_id=current_user(request).pk),
            }
        )


class AnalyticsView(StaffView):
    """The figures of the LLM Center by themselves."""

    @extend_schema(
        parameters=[
            OpenApiParameter("date", OpenApiTypes.DATE, description="Must be today, UTC: the figures are of now.")
        ],
        responses={200: shapes.AnalyticsOutput} | errors(400),
        tags=["llm center"],
    )
    def get(self, request: Request) -> Response:
        """Cached an hour, void as soon as a proposal or a decision is written."""
        day = periods.utc_today()
        wanted = request.query_params.get("date")
        if wanted and wanted != day.isoformat():
            raise ValidationError({"date": [f"Only {day} can be asked for: days before stand in the dashboards."]})
        return Response({"success": True, "data": review_stats.ANALYTICS_CACHE.get(_analytics, date=day.isoformat())})


def _analytics() -> dict[str, Any]:
    return analytics_data() | {
        "performanceMetrics": performance_data(llm_center.mapping_totals()),
        "categoryDistribution": llm_center.recent_proposal_categories(),
    }


class QueueView(StaffView):
    """What waits for a decision."""

    @extend_schema(responses={200: shapes.QueueOutput} | errors(), tags=["llm center"])
    def get(self, request: Request) -> Response:
        """Counts of the review queue and of the log, and the newest open rows of the log."""
        merchants, transactions, amount = queue_totals_cached()
        log = llm_center.mapping_totals()
        pending = LlmMapping.objects.select_related("user").filter(status=LlmMapping.Status.PENDING)
        rows = [mapping_row(row) for row in pending.order_by("-created_at", "-pk")[:50]]
        data = {
            "queue_status": {
                "total_entries": merchants,
                "total_mappings": log.total,
                "auto_applied": log.automatic,
                "approved": log.approved,
                "pending": merchants,
                "rejected": log.rejected,
                "pending_mappings": log.pending,
                "waiting_transactions": transactions,
                "waiting_amount": amount,
            },
            "pending_reviews": rows,
            "all_entries": rows,
        }
        return Response({"success": True, "data": data})


class TransactionStatsView(StaffView):
    """Transactions as the LLM Center sees them."""

    needs = ("llm_center.view_llmmapping", "transactions.view_transaction")

    @extend_schema(responses={200: shapes.TransactionStatsOutput} | errors(), tags=["llm center"])
    def get(self, request: Request) -> Response:
        """Counts of all, the newest that wait and the newest whose company was found."""
        return Response(
            {"success": True, "data": review_stats.STAFF_STATS_CACHE.get(_transaction_stats, name="transaction-stats")}
        )


def _transaction_stats() -> dict[str, Any]:
    totals, works = transaction_totals(), operations.system_status()
    ready = totals.count(Status.MAPPED, Status.AWAITING_PRICE)
    size = totals.count(Status.PENDING, Status.NEEDS_REVIEW)
    return {
        "stats": {
            "pending": totals.count(Status.PENDING),
            "needs_review": totals.count(Status.NEEDS_REVIEW),
            "mapped": totals.matched,
            "invested": totals.count(Status.COMPLETED),
            "total": totals.total,
        },
        "queue": {"size": size, "transactions": _short([Status.PENDING, Status.NEEDS_REVIEW])},
        "recent_mapped": _short([Status.COMPLETED, Status.MAPPED, Status.AWAITING_PRICE]),
        "processing": {"is_active": works.queue_enabled, "queue_size": size, "ready_for_investment": ready},
    }


_LOOK_AT = 2_000


def _short(statuses: list[Status]) -> list[dict[str, Any]]:
    """The newest ten of these statuses among the newest two thousand transactions."""
    newest = Transaction.objects.order_by("-created_at", "-pk").values(
        "id", "merchant", "amount", "ticker", "category", "status", "date", "user_id"
    )[:_LOOK_AT]
    return [dict(row) for row in newest if row["status"] in statuses][:10]


class ProcessingStatsView(StaffView):
    """How processing stands."""

    needs = SEES_WORK

    @extend_schema(responses={200: shapes.ProcessingStatsOutput} | errors(), tags=["automation"])
    def get(self, request: Request) -> Response:
        """Both shapes that the front ends know."""
        return Response(
            {"success": True} | review_stats.STAFF_STATS_CACHE.get(_processing_stats, name="processing-stats")
        )


def _processing_stats() -> dict[str, Any]:
    totals, works = transaction_totals(), operations.system_status()
    return {
        "data": {
            "pending_transactions": totals.count(Status.PENDING),
            "mapped_transactions": totals.matched,
            "review_queue": queue_totals_cached()[0],
            "market_queue": totals.count(Status.MAPPED),
            "is_running": works.queue_enabled,
            "market_open": market_is_open(timezone.now()),
        },
        "stats": {
            "total_transactions": totals.total,
            "mapped_transactions": totals.matched,
            "mapping_rate": _percent(totals.matched, totals.total),
        },
    }


def _percent(part: int, whole: int) -> float | None:
    return round(part * 100 / whole, 2) if whole else None


# --- Automation -------------------------------------------------------------------------------------------------
def _realtime() -> dict[str, Any]:
    totals, works = transaction_totals(), operations.system_status()
    return {
        "isConnected": works.redis,
        "processingQueue": totals.count(Status.PENDING),
        "mappedPending": totals.count(Status.AWAITING_PRICE),
        "investmentReady": totals.count(Status.MAPPED),
        "totalProcessed": totals.total - totals.count(Status.PENDING),
        "processedToday": totals.today - totals.today_pending,
        "totalTransactions": totals.total,
        "activeProcesses": works.open_tasks,
        "throughput": None,
        "lastProcessed": works.last_booking,
    }


def _batch() -> dict[str, Any]:
    works, mappings = operations.system_status(), llm_center.mapping_totals()
    return {
        "enabled": works.queue_enabled,
        "queueSize": queue_totals_cached()[0],
        "totalProcessed": mappings.total,
        "processingRate": llm_center.llm_call_stats().merchants_per_second,
        "lastBatchTime": works.queue_last_run,
    }


def _learning() -> dict[str, Any]:
    found = review_stats.proposal_accuracy()
    return {
        "enabled": True,
        "trainingDataPoints": found.judged,
        "lastTrainingTime": found.last_fit,
        "modelVersion": review_stats.models_in_use()[-1],
        "accuracy": found.accuracy,
    }


def _merchants() -> dict[str, Any]:
    counts = llm_center.merchant_counts()
    return {
        "totalMerchants": counts.total,
        "cacheHitRate": operations.cache_hit_percent(),
        "lastUpdate": llm_center.last_decision_at(),
        "estimated": counts.estimated,
    }


def _thresholds() -> dict[str, Any]:
    found = review_stats.thresholds()
    return {
        "confidenceThreshold": float(found.configured) if _is_number(found.configured) else None,
        "autoApprovalEnabled": found.enabled,
        "highConfidence": found.high,
        "mediumConfidence": found.medium,
    }


def _is_number(text: str) -> bool:
    try:
        return Decimal(text).is_finite()
    except ArithmeticError:
        return False


def _multi_model() -> dict[str, Any]:
    models = review_stats.models_in_use()
    return {
        "enabled": len(models) > 1,
        "activeModels": models,
        "consensusMethod": "each asks the next one for what it does not know",
        "agreementRate": None,
    }


def _automation() -> dict[str, Any]:
    realtime, batch, learning = _realtime(), _batch(), _learning()
    counts, limits, models = llm_center.merchant_counts(), review_stats.thresholds(), review_stats.models_in_use()
    running = "running" if batch["enabled"] else "stopped"
    return {
        "realtime": {
            "status": "running" if realtime["isConnected"] else "degraded",
            "processing_rate": realtime["throughput"],
            "queue_size": realtime["processingQueue"],
            "pending_transactions": realtime["processingQueue"],
            "last_processed": realtime["lastProcessed"],
        },
        "batch": {
            "status": running,
            "last_run": batch["lastBatchTime"],
            "processed_count": batch["totalProcessed"],
            "pending_count": batch["queueSize"],
        },
        "learning": {
            "accuracy": learning["accuracy"],
            "training_samples": learning["trainingDataPoints"],
            "model_version": learning["modelVersion"],
            "last_trained": learning["lastTrainingTime"],
        },
        "merchants": {
            "total_merchants": counts.total,
            "verified_merchants": counts.by_status.get("approved", 0) + counts.by_status.get("not_listed", 0),
            "pending_verification": counts.by_status.get("proposed", 0),
            "rejected": counts.by_status.get("rejected", 0),
            "estimated": counts.estimated,
        },
        "thresholds": {
            "auto_approve": limits.auto_approve,
            "manual_review": Decimal(0),
            "auto_reject": None,
            "current_avg": llm_center.mapping_totals().confidence,
        },
        "multiModel": {
            "enabled": len(models) > 1,
            "models": models,
            "voting_strategy": "each asks the next one for what it does not know",
            "agreement_rate": None,
        },
    }


class AutomationView(StaffView):
    """What runs by itself."""

    needs = SEES_WORK

    @extend_schema(responses={200: shapes.AutomationOutput} | errors(), tags=["automation"])
    def get(self, request: Request) -> Response:
        """Every part at once; what is not measured is null. At most half a minute old."""
        return Response({"success": True, "data": review_stats.STAFF_STATS_CACHE.get(_automation, name="automation")})


class RealtimeView(StaffView):
    """Purchases as they come in."""

    needs = SEES_WORK

    @extend_schema(responses={200: shapes.RealtimeOutput} | errors(), tags=["automation"])
    def get(self, request: Request) -> Response:
        """Only looks: nothing is mapped by it."""
        data = review_stats.STAFF_STATS_CACHE.get(_realtime, name="realtime")
        return Response({"success": True, "data": data, "status": data})


class BatchView(StaffView):
    """The LLM queue."""

    needs = SEES_WORK

    @extend_schema(responses={200: shapes.BatchOutput} | errors(), tags=["automation"])
    def get(self, request: Request) -> Response:
        """How it stands."""
        return Response({"success": True, "data": review_stats.STAFF_STATS_CACHE.get(_batch, name="batch")})


class LearningView(StaffView):
    """What decisions of people taught."""

    needs = SEES_WORK

    @extend_schema(responses={200: shapes.LearningOutput} | errors(), tags=["automation"])
    def get(self, request: Request) -> Response:
        """How often proposals were right, in percent."""
        return Response({"success": True, "data": review_stats.STAFF_STATS_CACHE.get(_learning, name="learning")})


class MerchantsView(StaffView):
    """The directory of merchants."""

    needs = SEES_WORK

    @extend_schema(responses={200: shapes.MerchantsOutput} | errors(), tags=["automation"])
    def get(self, request: Request) -> Response:
        """How large it is; `estimated` from a sample where it is large."""
        return Response({"success": True, "data": review_stats.STAFF_STATS_CACHE.get(_merchants, name="merchants")})


class ThresholdsView(StaffView):
    """Confidence that decides."""

    needs = SEES_WORK

    @extend_schema(responses={200: shapes.ThresholdsOutput} | errors(), tags=["automation"])
    def get(self, request: Request) -> Response:
        """0 to 1; changed in the settings."""
        return Response({"success": True, "data": _thresholds()})


class MultiModelView(StaffView):
    """Which models propose."""

    needs = SEES_WORK

    @extend_schema(responses={200: shapes.MultiModelOutput} | errors(), tags=["automation"])
    def get(self, request: Request) -> Response:
        """In the order in which they are asked."""
        return Response({"success": True, "data": _multi_model()})


# --- Actions ----------------------------------------------------------------------------------------------------
class SwitchView(StaffView):
    """The switch of the LLM queue."""

    needs = RUNS_WORK
    on = True

    @extend_schema(request=None, responses={200: shapes.SwitchedOutput} | errors(), tags=["automation"])
    def post(self, request: Request) -> Response:
        """Let the queue run by itself, or not. Purchases of known merchants go on in any case."""
        task = set_queue_enabled(on=self.on, actor=current_user(request))
        review_stats.STAFF_STATS_CACHE.clear()
        return Response(
            {
                "success": True,
                "message": "The LLM queue runs by itself again."
                if self.on
                else "The LLM queue no longer runs by itself.",
                "status": "started" if self.on else "stopped",
                "data": {"is_running": self.on, "task_id": task.pk if task else None},
            }
        )


_NOTHING_YET = {"processed": None, "mapped": None, "queued": None, "review": None, "errors": None}


class ProcessBacklogView(StaffView):
    """Process what is pending now."""

    needs = RUNS_WORK

    @extend_schema(request=None, responses={202: shapes.BatchQueuedOutput} | errors(), tags=["automation"])
    def post(self, request: Request) -> Response:
        """202 at once; the counts of `data` are null until the task's `result` has them."""
        task = get_or_create_task(name="process_backlog", actor=current_user(request))
        return accepted(task, message="What is pending is being processed.", data=_NOTHING_YET)


class ClearCacheView(StaffView):
    """Void what is cached."""

    needs = RUNS_WORK

    @extend_schema(request=None, responses={200: shapes.DoneOutput} | errors(), tags=["automation"])
    def post(self, request: Request) -> Response:
        """In constant time, whatever the number of keys."""
        clear_caches()
        names = [family.template for family in namespaces()]
        return Response(
            {
                "success": True,
                "message": f"{len(names)} kinds of cached figures are void.",
                "status": "cleared",
                "data": {"families": names},
            }
        )


class RebuildView(StaffView):
    """Mend indexes and reload the catalogue."""

    needs = RUNS_WORK

    @extend_schema(request=None, responses={202: shapes.QueuedMessageOutput} | errors(), tags=["automation"])
    def post(self, request: Request) -> Response:
        """Broken indexes are rebuilt without locking, the directory is analyzed; the task's `result` names both."""
        task = get_or_create_task(name="rebuild_indexes", actor=current_user(request))
        return accepted(task, message="Broken indexes are rebuilt, sound ones are left alone.")


class DuplicatesView(StaffView):
    """Exact duplicates of uploaded mappings."""

    needs = RUNS_WORK

    @extend_schema(request=None, responses={202: shapes.DuplicatesQueuedOutput} | errors(), tags=["llm center"])
    def post(self, request: Request) -> Response:
        """Takes them out of the log in the background; the task's `result` has the three counts."""
        task = get_or_create_task(name="remove_duplicates", actor=current_user(request))
        return accepted(
            task,
            message="Exact duplicates of uploaded rows are being removed; the oldest of each stays.",
            data={
                "duplicates_removed": None,
                "total_mappings": llm_center.mapping_totals().total,
                "unique_merchants": None,
            },
        )
