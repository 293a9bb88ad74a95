"""Figures for staff: a view for each selector, whose return type and docstring are the schema."""

from collections.abc import Callable, Mapping
from typing import Any, Final, get_type_hints

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from analytics.selectors.automation_api import AutomationRealtime
from analytics.selectors.llm_center_api import ProcessingStatsData, ProcessingStatsTotals
from analytics.selectors.llm_data_api import (
    LlmDataEventStats,
    LlmDataFeatureStore,
    LlmDataSystemStatus,
    LlmDataVectorEmbeddings,
)
from analytics.selectors.review_stats import STAFF_STATS_CACHE
from kamioi_site.api.payloads import Data, SuccessOutput
from kamioi_site.formatting import duration
from transactions.api.staff.base import StaffView

# What is never measured, where the page shows a blank tile or a zero.
_UNMEASURED: Final = {"dimensions": "none"} | dict.fromkeys(
    ("user_behavior", "transaction_features", "avg_processing_time", "processing_rate"), "not measured"
)


class RealtimeOutput(SuccessOutput):
    """Incoming purchases; `data` and `status` are the same."""

    data: AutomationRealtime
    status: AutomationRealtime


class ProcessingStatsOutput(SuccessOutput):
    """The state of processing in the two formats of the front ends."""

    data: ProcessingStatsData
    stats: ProcessingStatsTotals


class SystemStatusOutput(SuccessOutput, LlmDataSystemStatus):
    """The state of the system; `data` has the other fields as the page shows them."""

    data: dict[str, Any]


class EventStatsOutput(SuccessOutput, LlmDataEventStats):
    """Purchases as events; `data` has the other fields as the page shows them."""

    data: dict[str, Any]


class VectorEmbeddingsOutput(SuccessOutput, LlmDataVectorEmbeddings):
    """Vectors; `data` has the other fields as the page shows them."""

    data: dict[str, Any]


class FeatureStoreOutput(SuccessOutput, LlmDataFeatureStore):
    """The merchants and the cache; `data` has the other fields as the page shows them."""

    data: dict[str, Any]


def figures_view(
    read: Callable[[], Any],
    cache_name: str = "",
    *,
    tag: str = "automation",
    permissions: tuple[str, ...] = ("transactions.view_backgroundtask",),
    output: Any = None,
    arrange: Callable[[Any], Mapping[str, Any]] = lambda figures: {"data": figures},
) -> Callable[..., Any]:
    """Return a view of what `read` returns, at most half a minute old if it has a `cache_name`.

    Args:
        output: type of the response, if it is not the figures under `data`.
        arrange: returns the response's fields beside `success`.
    """

    response: Any = output or Data[get_type_hints(read)["return"]]  # type: ignore[misc]  # a type of this view

    class FiguresView(StaffView):
        required_permissions = permissions

        @extend_schema(responses={200: response}, tags=[tag], description=read.__doc__)
        def get(self, request: Request) -> Response:
            figures = STAFF_STATS_CACHE.get(read, name=cache_name) if cache_name else read()
            return Response({"success": True, **arrange(figures)})

    return FiguresView.as_view()


def page_figures(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page on the data system shows: a tile for each figure, so none for what is null."""
    shown = {name: _UNMEASURED.get(name) if value is None else value for name, value in figures.items()}
    if "uptime" in shown:
        shown["uptime"] = duration(figures["uptime"])
    return {name: value for name, value in shown.items() if value is not None}


def llm_data_view(read: Callable[[], Any], cache_name: str, output: Any) -> Callable[..., Any]:
    """Return a view with the figures beside `success`, and as the legacy front end shows them under `data`."""
    return figures_view(
        read,
        cache_name,
        tag="llm data",
        output=output,
        arrange=lambda figures: {**figures, "data": page_figures(figures)},
    )
