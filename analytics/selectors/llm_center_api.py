"""The screens of the LLM Center for the staff API, in the format of the legacy front end.

Null means: not measured. Rates are percentages, confidence is 0 to 1.
"""

from datetime import datetime
from decimal import Decimal
from typing import Any, TypedDict, cast

from django.utils import timezone

from analytics.selectors import llm_center, operations, review_stats
from analytics.selectors.transactions import transaction_totals
from llm_center.api.rows import MappingRow, asset_rows, assets_summary, newest_mappings
from llm_center.models import LlmMapping
from llm_center.services.review.queue import queue_totals_cached
from transactions.models import Transaction
from transactions.rules.market_hours import market_is_open

Status = Transaction.Status
_DASHBOARD_ROWS = 20
_QUEUE_ROWS = 50
_RECENT_ROWS = 10
_RECENT_SCAN_ROWS = 2_000


# --- Dashboard and analytics ------------------------------------------------------------------------------------------
class Performance(TypedDict):
    """The performance of the models and of this process."""

    processing_speed: float | None
    avg_confidence: Decimal | None
    error_rate: float | None
    uptime: float
    memory_usage: float


class LlmDashboardCards(TypedDict):
    totalMappings: int
    dailyProcessed: int
    accuracyRate: float | None
    autoApprovalRate: float | None
    systemStatus: str
    databaseStatus: str
    aiModelStatus: str
    lastUpdated: datetime


class LlmAnalytics(LlmDashboardCards):
    """The cards of the LLM Center, with performance and categories."""

    performanceMetrics: Performance
    categoryDistribution: dict[str, int]


class MappingCounts(TypedDict):
    pending: int
    approved: int
    rejected: int


class DashboardMappings(TypedDict):
    """The latest mappings and the number of all by status."""

    pending: list[MappingRow]
    approved: list[MappingRow]
    rejected: list[MappingRow]
    counts: MappingCounts


class DashboardAssets(TypedDict):
    assets: list[dict[str, Any]]
    summary: dict[str, Any]


class LlmDashboard(TypedDict):
    analytics: LlmDashboardCards
    mappings: DashboardMappings
    llm_data_assets: DashboardAssets
    performance_metrics: Performance
    category_distribution: dict[str, int]


def _cards() -> LlmDashboardCards:
    mappings, system = llm_center.mapping_totals(), operations.system_status()
    return {
        "totalMappings": mappings.total,
        "dailyProcessed": mappings.today,
        "accuracyRate": review_stats.proposal_accuracy().accuracy,
        "autoApprovalRate": mappings.automatic_rate,
        "systemStatus": "operational" if system.redis else "degraded",
        "databaseStatus": "connected",
        "aiModelStatus": "active" if system.queue_enabled else "stopped",
        "lastUpdated": timezone.now(),
    }


def _performance() -> Performance:
    calls = llm_center.llm_call_stats()
    return {
        "processing_speed": calls.merchants_per_second,
        "avg_confidence": llm_center.mapping_totals().confidence,
        "error_rate": calls.error_rate,
        "uptime": operations.process_uptime(),
        "memory_usage": operations.process_memory_mb(),
    }


def dashboard() -> LlmDashboard:
    mappings, assets = llm_center.mapping_totals(), asset_rows()
    return {
        "analytics": _cards(),
        "mappings": {
            "pending": newest_mappings(LlmMapping.Status.PENDING, limit=_DASHBOARD_ROWS),
            "approved": newest_mappings(LlmMapping.Status.APPROVED, limit=_DASHBOARD_ROWS),
            "rejected": newest_mappings(LlmMapping.Status.REJECTED, limit=_DASHBOARD_ROWS),
            "counts": {"pending": mappings.pending, "approved": mappings.approved, "rejected": mappings.rejected},
        },
        "llm_data_assets": {"assets": assets, "summary": assets_summary(assets)},
        "performance_metrics": _performance(),
        "category_distribution": llm_center.recent_proposal_categories(),
    }


def analytics() -> LlmAnalytics:
    return {
        **_cards(),
        "performanceMetrics": _performance(),
        "categoryDistribution": llm_center.recent_proposal_categories(),
    }


# --- Queue ------------------------------------------------------------------------------------------------------------
class QueueStatus(TypedDict):
    """Counts of the review queue and of the mapping log."""

    total_entries: int
    total_mappings: int
    auto_applied: int
    approved: int
    pending: int
    rejected: int
    pending_mappings: int
    waiting_transactions: int
    waiting_amount: Decimal


class LlmQueue(TypedDict):
    """The review queue and the latest pending mappings; `pending_reviews` and `all_entries` are the same."""

    queue_status: QueueStatus
    pending_reviews: list[MappingRow]
    all_entries: list[MappingRow]


def review_queue() -> LlmQueue:
    merchants, transactions, amount = queue_totals_cached()
    mappings = llm_center.mapping_totals()
    rows = newest_mappings(LlmMapping.Status.PENDING, limit=_QUEUE_ROWS)
    return {
        "queue_status": {
            "total_entries": merchants,
            "total_mappings": mappings.total,
            "auto_applied": mappings.automatic,
            "approved": mappings.approved,
            "pending": merchants,
            "rejected": mappings.rejected,
            "pending_mappings": mappings.pending,
            "waiting_transactions": transactions,
            "waiting_amount": amount,
        },
        "pending_reviews": rows,
        "all_entries": rows,
    }


# --- Transactions -----------------------------------------------------------------------------------------------------
class RecentTransaction(TypedDict):
    id: int
    merchant: str
    amount: Decimal
    ticker: str | None
    category: str
    status: str
    date: datetime
    user_id: int


class TransactionStatsCounts(TypedDict):
    """Each transaction counts once: `mapped` ones are not invested yet."""

    pending: int
    needs_review: int
    mapped: int
    invested: int
    total: int


class TransactionStatsQueue(TypedDict):
    size: int
    transactions: list[RecentTransaction]


class TransactionStatsProcessing(TypedDict):
    is_active: bool
    queue_size: int
    ready_for_investment: int


class TransactionStats(TypedDict):
    stats: TransactionStatsCounts
    queue: TransactionStatsQueue
    recent_mapped: list[RecentTransaction]
    processing: TransactionStatsProcessing


class ProcessingStatsData(TypedDict):
    """The backlog of processing."""

    pending_transactions: int
    mapped_transactions: int
    review_queue: int
    market_queue: int
    is_running: bool
    market_open: bool


class ProcessingStatsTotals(TypedDict):
    total_transactions: int
    mapped_transactions: int
    mapping_rate: float | None


class ProcessingStats(TypedDict):
    """The state of processing in the two formats of the front ends."""

    data: ProcessingStatsData
    stats: ProcessingStatsTotals


def transaction_stats() -> TransactionStats:
    """Return counts of all transactions, and the latest waiting and mapped ones."""
    totals = transaction_totals()
    waiting = totals.count(Status.PENDING, Status.NEEDS_REVIEW)
    return {
        "stats": {
            "pending": totals.count(Status.PENDING),
            "needs_review": totals.count(Status.NEEDS_REVIEW),
            "mapped": totals.count(Status.MAPPED, Status.AWAITING_PRICE),
            "invested": totals.count(Status.COMPLETED),
            "total": totals.total,
        },
        "queue": {"size": waiting, "transactions": _recent(Status.PENDING, Status.NEEDS_REVIEW)},
        "recent_mapped": _recent(Status.COMPLETED, Status.MAPPED, Status.AWAITING_PRICE),
        "processing": {
            "is_active": operations.system_status().queue_enabled,
            "queue_size": waiting,
            "ready_for_investment": totals.count(Status.MAPPED, Status.AWAITING_PRICE),
        },
    }


def _recent(*statuses: Status) -> list[RecentTransaction]:
    """Return the latest ten with these statuses among the latest two thousand transactions."""
    latest = Transaction.objects.order_by("-created_at", "-pk").values(*RecentTransaction.__annotations__)
    rows = [row for row in latest[:_RECENT_SCAN_ROWS] if row["status"] in statuses]
    return cast("list[RecentTransaction]", rows[:_RECENT_ROWS])


def processing_stats() -> ProcessingStats:
    """Return the two formats of the front ends."""
    totals = transaction_totals()
    return {
        "data": {
            "pending_transactions": totals.count(Status.PENDING),
            "mapped_transactions": totals.matched,
            "review_queue": queue_totals_cached()[0],
            "market_queue": totals.count(Status.MAPPED),
            "is_running": operations.system_status().queue_enabled,
            "market_open": market_is_open(timezone.now()),
        },
        "stats": {
            "total_transactions": totals.total,
            "mapped_transactions": totals.matched,
            "mapping_rate": round(totals.matched * 100 / totals.total, 2) if totals.total else None,
        },
    }
