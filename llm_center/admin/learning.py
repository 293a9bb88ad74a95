"""Admin pages of calibration and of calls to language models."""

from dataclasses import asdict
from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from kamioi_site.admin.history import HistoryAdmin
from kamioi_site.admin.pages import CHART_OPTIONS, line_chart
from llm_center.models import CalibrationFit, LlmCall, ProposalClaim
from llm_center.providers import llm_spent_this_month
from llm_center.services.learning_stats import get_learning_stats
from llm_center.services.proposal_queue import auto_approval_threshold


@admin.register(CalibrationFit)
class CalibrationFitAdmin(HistoryAdmin):
    """The accuracy of proposals by the decisions of reviewers, and the calibrations fitted to it."""

    list_display = ("id", "source", "observations", "brier_before", "brier_after", "fitted_at")
    list_before_template = "admin/llm_center/learning.html"

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Add charts and the threshold simulation."""
        stats = get_learning_stats()
        threshold = auto_approval_threshold()
        extra = {
            "title": "Learning",
            "learning": stats,
            "accuracy_chart": line_chart(
                [month for month, _, _ in stats.months],
                **{"correct, %": [round(100 * right / count, 1) for _, count, right in stats.months]},
            ),
            "calibration_chart": line_chart(
                [f"{low:.0%}–{low + 0.1:.0%}" for low, *_ in stats.bins],
                **{
                    "stated, %": [round(100 * stated, 1) for _, _, stated, _ in stats.bins],
                    "actual, %": [round(100 * right, 1) for *_, right in stats.bins],
                },
            ),
            "chart_options": CHART_OPTIONS,
            "what_if": [asdict(outcome) for outcome in stats.thresholds],
            "threshold": float(threshold) if threshold is not None else None,
        }
        return super().changelist_view(request, {**(extra_context or {}), **extra})


@admin.register(LlmCall)
class LlmCallAdmin(HistoryAdmin):
    """Calls to language models, with tokens, duration and cost."""

    list_display = (
        "id",
        "started_at",
        "provider",
        "model",
        "merchants",
        "prompt_tokens",
        "completion_tokens",
        "cost",
        "duration_ms",
        "retries",
        "error",
    )
    list_before_template = "admin/llm_center/calls_summary.html"

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return super().changelist_view(request, (extra_context or {}) | {"spent": llm_spent_this_month()})


@admin.register(ProposalClaim)
class ProposalClaimAdmin(HistoryAdmin):
    """Merchants for which a worker is requesting a proposal."""

    keyset = ("-merchant_id",)
    list_display = ("merchant", "claimed_at")
    list_select_related = ("merchant",)
