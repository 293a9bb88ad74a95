"""What runs automatically, for the staff API. Null means: not measured."""

from datetime import datetime
from decimal import Decimal
from typing import Any, TypedDict

from analytics.selectors import llm_center, operations, review_stats
from analytics.selectors.transactions import transaction_totals
from llm_center.services.review.queue import queue_totals_cached
from transactions.models import Transaction

Status = Transaction.Status
CONSENSUS = "cascade"  # each model is asked only for what the one before it does not know


class AutomationRealtime(TypedDict):
    isConnected: bool
    processingQueue: int
    mappedPending: int
    investmentReady: int
    totalProcessed: int
    processedToday: int
    totalTransactions: int
    activeProcesses: int
    throughput: float | None
    lastProcessed: datetime | None


class AutomationBatch(TypedDict):
    enabled: bool
    queueSize: int
    totalProcessed: int
    processingRate: float | None
    lastBatchTime: datetime | None


class AutomationLearning(TypedDict):
    """The accuracy of proposals by the decisions of reviewers, in percent."""

    enabled: bool
    trainingDataPoints: int
    lastTrainingTime: datetime | None
    modelVersion: str
    accuracy: float | None


class AutomationMerchants(TypedDict):
    """The merchants; `estimated` from a sample of a large table."""

    totalMerchants: int
    cacheHitRate: float | None
    lastUpdate: datetime | None
    estimated: bool


class AutomationThresholds(TypedDict):
    confidenceThreshold: float | None
    autoApprovalEnabled: bool
    highConfidence: Decimal
    mediumConfidence: Decimal


class AutomationMultiModel(TypedDict):
    """The models, in the order in which they are asked."""

    enabled: bool
    activeModels: list[str]
    consensusMethod: str
    agreementRate: float | None


class RealtimePart(TypedDict):
    status: str
    processing_rate: float | None
    queue_size: int
    pending_transactions: int
    last_processed: datetime | None


class BatchPart(TypedDict):
    status: str
    last_run: datetime | None
    processed_count: int
    pending_count: int


class LearningPart(TypedDict):
    accuracy: float | None
    training_samples: int
    model_version: str
    last_trained: datetime | None


class MerchantsPart(TypedDict):
    total_merchants: int
    verified_merchants: int
    pending_verification: int
    rejected: int
    estimated: bool


class ThresholdsPart(TypedDict):
    auto_approve: Decimal | None
    manual_review: Decimal
    auto_reject: Decimal | None
    current_avg: Decimal | None


class MultiModelPart(TypedDict):
    enabled: bool
    models: list[str]
    voting_strategy: str
    agreement_rate: float | None


class Automation(TypedDict):
    realtime: RealtimePart
    batch: BatchPart
    learning: LearningPart
    merchants: MerchantsPart
    thresholds: ThresholdsPart
    multiModel: MultiModelPart


def realtime() -> AutomationRealtime:
    """Return the state; nothing is processed by it."""
    totals, system = transaction_totals(), operations.system_status()
    return {
        "isConnected": system.redis,
        "processingQueue": totals.count(Status.PENDING),
        "mappedPending": totals.count(Status.AWAITING_PRICE),
        "investmentReady": totals.count(Status.MAPPED),
        "totalProcessed": totals.total - totals.count(Status.PENDING),
        "processedToday": totals.today - totals.today_pending,
        "totalTransactions": totals.total,
        "activeProcesses": system.open_tasks,
        "throughput": None,
        "lastProcessed": system.last_booking,
    }


def batch() -> AutomationBatch:
    """Return the state of the queue."""
    system = operations.system_status()
    return {
        "enabled": system.queue_enabled,
        "queueSize": queue_totals_cached()[0],
        "totalProcessed": llm_center.mapping_totals().total,
        "processingRate": llm_center.llm_call_stats().merchants_per_second,
        "lastBatchTime": system.queue_last_run,
    }


def learning() -> AutomationLearning:
    """Return how often reviewers agreed with proposals, in percent."""
    accuracy = review_stats.proposal_accuracy()
    return {
        "enabled": True,
        "trainingDataPoints": accuracy.reviewed,
        "lastTrainingTime": accuracy.last_fit,
        "modelVersion": review_stats.models_in_use()[-1],
        "accuracy": accuracy.accuracy,
    }


def merchants() -> AutomationMerchants:
    """Return the number of merchants, `estimated` for a large table."""
    counts = llm_center.merchant_counts()
    return {
        "totalMerchants": counts.total,
        "cacheHitRate": operations.cache_hit_percent(),
        "lastUpdate": llm_center.last_decision_at(),
        "estimated": counts.estimated,
    }


def thresholds() -> AutomationThresholds:
    """Return the thresholds, 0 to 1; they are changed in the settings."""
    in_effect = review_stats.thresholds()
    return {
        "confidenceThreshold": _number(in_effect.configured),
        "autoApprovalEnabled": in_effect.enabled,
        "highConfidence": in_effect.high,
        "mediumConfidence": in_effect.medium,
    }


def _number(text: str) -> float | None:
    try:
        return float(text) if Decimal(text).is_finite() else None
    except ArithmeticError:
        return None


def multi_model() -> AutomationMultiModel:
    """Return the models in the order in which they are asked."""
    models = review_stats.models_in_use()
    return {"enabled": len(models) > 1, "activeModels": models, "consensusMethod": CONSENSUS, "agreementRate": None}


def automation() -> Automation:
    """Return all parts, at most half a minute old. What is not measured is null."""
    now, queue, proposals = realtime(), batch(), learning()
    counts, models = llm_center.merchant_counts(), review_stats.models_in_use()
    return {
        "realtime": {
            "status": "running" if now["isConnected"] else "degraded",
            "processing_rate": now["throughput"],
            "queue_size": now["processingQueue"],
            "pending_transactions": now["processingQueue"],
            "last_processed": now["lastProcessed"],
        },
        "batch": {
            "status": "running" if queue["enabled"] else "stopped",
            "last_run": queue["lastBatchTime"],
            "processed_count": queue["totalProcessed"],
            "pending_count": queue["queueSize"],
        },
        "learning": {
            "accuracy": proposals["accuracy"],
            "training_samples": proposals["trainingDataPoints"],
            "model_version": proposals["modelVersion"],
            "last_trained": proposals["lastTrainingTime"],
        },
        "merchants": {
            "total_merchants": counts.total,
            "verified_merchants": counts.by_status.get("approved", 0) + counts.by_status.get("not_listed", 0),
            "pending_verification": counts.by_status.get("proposed", 0),
            "rejected": counts.by_status.get("rejected", 0),
            "estimated": counts.estimated,
        },
        "thresholds": {
            "auto_approve": review_stats.thresholds().auto_approve,
            "manual_review": Decimal(0),
            "auto_reject": None,
            "current_avg": llm_center.mapping_totals().confidence,
        },
        "multiModel": {
            "enabled": len(models) > 1,
            "models": models,
            "voting_strategy": CONSENSUS,
            "agreement_rate": None,
        },
    }


def learning_dashboard() -> dict[str, Any]:
    """Return the figures of the ML Dashboard: rates from 0 to 1, and texts where the page would make something up."""
    accuracy, mappings = review_stats.proposal_accuracy(), llm_center.mapping_totals()
    decided = mappings.approved + mappings.rejected
    return {
        "modelVersion": review_stats.models_in_use()[-1],
        "totalPatterns": llm_center.merchant_counts().total,
        "totalPredictions": mappings.total,
        "accuracyRate": None if accuracy.accuracy is None else accuracy.accuracy / 100,
        "successRate": round(mappings.approved / decided, 4) if decided else None,
        "learningHistorySize": accuracy.reviewed,
        "lastTraining": accuracy.last_fit,
        "avgResponseTime": "not measured: –",
        "dataQuality": "Unrated",
        "topPatterns": [],
    }
