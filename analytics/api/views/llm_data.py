"""`/api/llm-data/…`: the legacy system's page on its data system."""

from collections.abc import Callable
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from analytics.api.serializers import SearchInput
from analytics.selectors import llm_data_api
from analytics.selectors.llm_data_api import (
    LlmDataEventStats,
    LlmDataFeatureStore,
    LlmDataSystemStatus,
    LlmDataVectorEmbeddings,
    Passage,
)
from analytics.selectors.review_stats import STAFF_STATS_CACHE
from kamioi_site.api.payloads import SuccessOutput
from transactions.api.base import validated
from transactions.api.idempotency import idempotent
from transactions.api.staff.base import StaffView


class SystemStatusOutput(SuccessOutput, LlmDataSystemStatus):
    """The state of the system; `data` repeats the other fields."""

    data: LlmDataSystemStatus


class EventStatsOutput(SuccessOutput, LlmDataEventStats):
    """Purchases as events; `data` repeats the other fields."""

    data: LlmDataEventStats


class VectorEmbeddingsOutput(SuccessOutput, LlmDataVectorEmbeddings):
    """Vectors; `data` repeats the other fields."""

    data: LlmDataVectorEmbeddings


class FeatureStoreOutput(SuccessOutput, LlmDataFeatureStore):
    """The merchants and the cache; `data` repeats the other fields."""

    data: LlmDataFeatureStore


class SearchOutput(SuccessOutput):
    passages: list[Passage]
    total: int


class _LlmDataView(StaffView):
    required_permissions = ("transactions.view_backgroundtask",)

    @staticmethod
    def cached(name: str, read: Callable[[], Any]) -> Response:
        """Return the figures, at most half a minute old, beside `success` and under `data`."""
        data = STAFF_STATS_CACHE.get(read, name=f"llm-data-{name}")
        return Response({"success": True, **data, "data": data})


class SystemStatusView(_LlmDataView):
    @extend_schema(responses={200: SystemStatusOutput}, tags=["llm data"])
    def get(self, request: Request) -> Response:
        """Return the state; uptime is that of the responding process, in seconds."""
        return self.cached("system-status", llm_data_api.system_status)


class EventStatsView(_LlmDataView):
    @extend_schema(responses={200: EventStatsOutput}, tags=["llm data"])
    def get(self, request: Request) -> Response:
        """Return counts of all purchases; times are not measured and null."""
        return self.cached("event-stats", llm_data_api.event_stats)


class VectorEmbeddingsView(_LlmDataView):
    @extend_schema(responses={200: VectorEmbeddingsOutput}, tags=["llm data"])
    def get(self, request: Request) -> Response:
        """Return zeros: there are no vectors."""
        return self.cached("vector-embeddings", llm_data_api.vector_embeddings)


class FeatureStoreView(_LlmDataView):
    @extend_schema(responses={200: FeatureStoreOutput}, tags=["llm data"])
    def get(self, request: Request) -> Response:
        """Return what is measured; the rest is null."""
        return self.cached("feature-store", llm_data_api.feature_store)


class SearchView(_LlmDataView):
    @extend_schema(request=SearchInput, responses={200: SearchOutput}, tags=["llm data"])
    @idempotent
    def post(self, request: Request) -> Response:
        """Return at most twenty results."""
        passages = llm_data_api.search_passages(validated(SearchInput(data=request.data))["query"])
        return Response({"success": True, "passages": passages, "total": len(passages)})
