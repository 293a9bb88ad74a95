"""The documented shapes of the figures for staff. Null is: not measured. Rates are percent, confidence is 0 to 1."""

from typing import Any

from drf_spectacular.utils import inline_serializer
from rest_framework import serializers

from llm_center.api.serializers import MappingRowOutput

Field = serializers.Field[Any, Any, Any, Any]


def _number(*, null: bool = False) -> serializers.FloatField:
    return serializers.FloatField(allow_null=null)


def _count(*, null: bool = False) -> serializers.IntegerField:
    return serializers.IntegerField(allow_null=null)


def _text(*, null: bool = False) -> serializers.CharField:
    return serializers.CharField(allow_null=null)


def _moment() -> serializers.DateTimeField:
    return serializers.DateTimeField(allow_null=True)


def _flag() -> serializers.BooleanField:
    return serializers.BooleanField()


def _part(name: str, **fields: Any) -> Any:
    return inline_serializer(name, fields)


def _data(name: str, **fields: Any) -> Any:
    """`{success, data: {fields}}`."""
    return inline_serializer(
        f"{name}Output", {"success": serializers.BooleanField(), "data": inline_serializer(f"{name}Data", fields)}
    )


def _cards() -> dict[str, Any]:
    return {
        "totalMappings": _count(),
        "dailyProcessed": _count(),
        "accuracyRate": _number(null=True),
        "autoApprovalRate": _number(null=True),
        "systemStatus": _text(),
        "databaseStatus": _text(),
        "aiModelStatus": _text(),
        "lastUpdated": serializers.DateTimeField(),
    }


def _performance(name: str) -> Any:
    return _part(
        name,
        processing_speed=_number(null=True),
        avg_confidence=_number(null=True),
        error_rate=_number(null=True),
        uptime=_number(),
        memory_usage=_number(),
    )


def _by_category() -> serializers.DictField:
    return serializers.DictField(child=serializers.IntegerField())


DashboardOutput = _data(
    "LlmDashboard",
    analytics=_part("LlmDashboardCards", **_cards()),
    mappings=_part(
        "LlmDashboardMappings",
        pending=MappingRowOutput(many=True),
        approved=MappingRowOutput(many=True),
        rejected=MappingRowOutput(many=True),
        counts=_part("LlmDashboardCounts", pending=_count(), approved=_count(), rejected=_count()),
    ),
    llm_data_assets=_part(
        "LlmDashboardAssets",
        assets=serializers.ListField(child=serializers.DictField()),
        summary=serializers.DictField(),
    ),
    performance_metrics=_performance("LlmDashboardPerformance"),
    category_distribution=_by_category(),
)
AnalyticsOutput = _data(
    "LlmAnalytics",
    **_cards(),
    performanceMetrics=_performance("LlmAnalyticsPerformance"),
    categoryDistribution=_by_category(),
)
QueueOutput = _data(
    "LlmQueue",
    queue_status=_part(
        "LlmQueueStatus",
        total_entries=_count(),
        total_mappings=_count(),
        auto_applied=_count(),
        approved=_count(),
        pending=_count(),
        rejected=_count(),
        pending_mappings=_count(),
        waiting_transactions=_count(),
        waiting_amount=_number(),
    ),
    pending_reviews=MappingRowOutput(many=True),
    all_entries=MappingRowOutput(many=True),
)


def _short(name: str) -> Any:
    return inline_serializer(
        name,
        {
            "id": _count(),
            "merchant": _text(),
            "amount": _number(),
            "ticker": _text(null=True),
            "category": _text(),
            "status": _text(),
            "date": serializers.DateTimeField(),
            "user_id": _count(),
        },
        many=True,
    )


TransactionStatsOutput = _data(
    "TransactionStats",
    stats=_part(
        "TransactionStatsCounts",
        pending=_count(),
        needs_review=_count(),
        mapped=_count(),
        invested=_count(),
        total=_count(),
    ),
    queue=_part("TransactionStatsQueue", size=_count(), transactions=_short("TransactionStatsQueued")),
    recent_mapped=_short("TransactionStatsMapped"),
    processing=_part(
        "TransactionStatsProcessing", is_active=_flag(), queue_size=_count(), ready_for_investment=_count()
    ),
)
ProcessingStatsOutput = inline_serializer(
    "ProcessingStatsOutput",
    {
        "success": _flag(),
        "data": _part(
            "ProcessingStatsData",
            pending_transactions=_count(),
            mapped_transactions=_count(),
            review_queue=_count(),
            market_queue=_count(),
            is_running=_flag(),
            market_open=_flag(),
        ),
        "stats": _part(
            "ProcessingStatsTotals",
            total_transactions=_count(),
            mapped_transactions=_count(),
            mapping_rate=_number(null=True),
        ),
    },
)


def _realtime(name: str) -> Any:
    return _part(
        name,
        isConnected=_flag(),
        processingQueue=_count(),
        mappedPending=_count(),
        investmentReady=_count(),
        totalProcessed=_count(),
        processedToday=_count(),
        totalTransactions=_count(),
        activeProcesses=_count(),
        throughput=_number(null=True),
        lastProcessed=_moment(),
    )


RealtimeOutput = inline_serializer(
    "AutomationRealtimeOutput",
    {"success": _flag(), "data": _realtime("AutomationRealtimeData"), "status": _realtime("AutomationRealtimeStatus")},
)
BatchOutput = _data(
    "AutomationBatch",
    enabled=_flag(),
    queueSize=_count(),
    totalProcessed=_count(),
    processingRate=_number(null=True),
    lastBatchTime=_moment(),
)
LearningOutput = _data(
    "AutomationLearning",
    enabled=_flag(),
    trainingDataPoints=_count(),
    lastTrainingTime=_moment(),
    modelVersion=_text(),
    accuracy=_number(null=True),
)
MerchantsOutput = _data(
    "AutomationMerchants",
    totalMerchants=_count(),
    cacheHitRate=_number(null=True),
    lastUpdate=_moment(),
    estimated=_flag(),
)
ThresholdsOutput = _data(
    "AutomationThresholds",
    confidenceThreshold=_number(null=True),
    autoApprovalEnabled=_flag(),
    highConfidence=_number(),
    mediumConfidence=_number(),
)
MultiModelOutput = _data(
    "AutomationMultiModel",
    enabled=_flag(),
    activeModels=serializers.ListField(child=serializers.CharField()),
    consensusMethod=_text(),
    agreementRate=_number(null=True),
)
AutomationOutput = _data(
    "Automation",
    realtime=_part(
        "AutomationRealtimePart",
        status=_text(),
        processing_rate=_number(null=True),
        queue_size=_count(),
        pending_transactions=_count(),
        last_processed=_moment(),
    ),
    batch=_part(
        "AutomationBatchPart", status=_text(), last_run=_moment(), processed_count=_count(), pending_count=_count()
    ),
    learning=_part(
        "AutomationLearningPart",
        accuracy=_number(null=True),
        training_samples=_count(),
        model_version=_text(),
        last_trained=_moment(),
    ),
    merchants=_part(
        "AutomationMerchantsPart",
        total_merchants=_count(),
        verified_merchants=_count(),
        pending_verification=_count(),
        rejected=_count(),
        estimated=_flag(),
    ),
    thresholds=_part(
        "AutomationThresholdsPart",
        auto_approve=_number(null=True),
        manual_review=_number(),
        auto_reject=_number(null=True),
        current_avg=_number(null=True),
    ),
    multiModel=_part(
        "AutomationMultiModelPart",
        enabled=_flag(),
        models=serializers.ListField(child=serializers.CharField()),
        voting_strategy=_text(),
        agreement_rate=_number(null=True),
    ),
)
SwitchedOutput = inline_serializer(
    "AutomationSwitchedOutput",
    {
        "success": _flag(),
        "message": _text(),
        "status": serializers.ChoiceField(choices=["started", "stopped"]),
        "data": _part("AutomationSwitchedData", is_running=_flag(), task_id=serializers.UUIDField(allow_null=True)),
    },
)
DoneOutput = inline_serializer(
    "StaffActionDoneOutput",
    {"success": _flag(), "message": _text(), "status": _text(), "data": serializers.DictField()},
)


def _queued(name: str, **data: Any) -> Any:
    fields: dict[str, Any] = {
        "success": _flag(),
        "message": _text(),
        "task_id": serializers.UUIDField(),
        "status": _text(),
        "status_url": _text(),
    }
    if data:
        fields["data"] = _part(f"{name}Data", **data)
    return inline_serializer(f"{name}Output", fields)


QueuedMessageOutput = _queued("StaffActionQueued")
BatchQueuedOutput = _queued(
    "BacklogQueued",
    processed=_count(null=True),
    mapped=_count(null=True),
    queued=_count(null=True),
    review=_count(null=True),
    errors=_count(null=True),
)
DuplicatesQueuedOutput = _queued(
    "DuplicatesQueued",
    duplicates_removed=_count(null=True),
    total_mappings=_count(),
    unique_merchants=_count(null=True),
)

# --- LLM data ---------------------------------------------------------------------------------------------------


def llm_data(name: str, **fields: Any) -> Any:
    """The fields beside `success` and once more under `data`: the front ends read either."""
    both = {key: make() for key, make in fields.items()}
    return inline_serializer(
        f"{name}Output",
        {
            "success": _flag(),
            **both,
            "data": inline_serializer(f"{name}Data", {key: make() for key, make in fields.items()}),
        },
    )


def _maybe_count() -> Any:
    return _count(null=True)


def _maybe_number() -> Any:
    return _number(null=True)


SystemStatusOutput = llm_data(
    "LlmDataSystemStatus",
    system_health=_text,
    active_processes=_count,
    queue_size=_count,
    uptime=_number,
    total_mappings=_count,
    approved_mappings=_count,
    pending_mappings=_count,
    last_updated=_moment,
)
EventStatsOutput = llm_data(
    "LlmDataEventStats",
    events_today=_count,
    total_events=_count,
    success_rate=_maybe_number,
    avg_processing_time=_maybe_number,
    processing_rate=_maybe_number,
    queue_size=_count,
    events_processed=_count,
    last_processed=_moment,
)
VectorEmbeddingsOutput = llm_data(
    "LlmDataVectorEmbeddings",
    total_embeddings=_count,
    dimensions=_maybe_count,
    last_update=_moment,
    indexed_count=_count,
    pending_indexing=_count,
    storage_size=_count,
)
FeatureStoreOutput = llm_data(
    "LlmDataFeatureStore",
    merchant_patterns=_count,
    user_behavior=_maybe_count,
    transaction_features=_maybe_count,
    cache_hit_rate=_maybe_number,
    avg_compute_time=_maybe_number,
    storage_efficiency=_maybe_number,
    last_update=_moment,
)


class SearchInput(serializers.Serializer[Any]):
    """What is looked for: a merchant as a statement writes it, a company, or a ticker."""

    query = serializers.CharField(max_length=255)


SearchOutput = inline_serializer(
    "LlmDataSearchOutput",
    {
        "success": _flag(),
        "passages": inline_serializer(
            "LlmDataPassage",
            {
                "id": _text(),
                "content": _text(),
                "score": _number(null=True),
                "source": _text(),
                "metadata": _part("LlmDataPassageAbout", category=_text(), confidence=_number(null=True)),
            },
            many=True,
        ),
        "total": _count(),
    },
)
