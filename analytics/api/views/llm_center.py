"""The screens of the LLM Center: dashboard, figures, queue."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from analytics.selectors import llm_center_api
from analytics.selectors.llm_center_api import LlmAnalytics, LlmDashboard, LlmQueue
from analytics.selectors.periods import utc_today
from analytics.selectors.review_stats import ANALYTICS_CACHE, DASHBOARD_CACHE
from kamioi_site.api.payloads import Data
from transactions.api.base import current_user
from transactions.api.staff.base import StaffView


class DashboardView(StaffView):
    required_permissions = ("llm_center.view_llmmapping",)
    rate_scope = "dashboard"

    @extend_schema(responses={200: Data[LlmDashboard]}, tags=["llm center"])
    def get(self, request: Request) -> Response:
        """Return the dashboard, cached for fifteen minutes or until a proposal or decision is written."""
        data = DASHBOARD_CACHE.get(llm_center_api.dashboard, user_id=current_user(request).pk)
        return Response({"success": True, "data": self.payload(data)})

    def payload(self, data: LlmDashboard) -> Mapping[str, Any]:
        """Return the data as the client reads it."""
        return data


class AnalyticsView(StaffView):
    required_permissions = ("llm_center.view_llmmapping",)

    @extend_schema(
        parameters=[OpenApiParameter("date", OpenApiTypes.DATE, description="Must be today (UTC).")],
        responses={200: Data[LlmAnalytics]},
        tags=["llm center"],
    )
    def get(self, request: Request) -> Response:
        """Return the figures, cached for an hour or until a proposal or decision is written."""
        today = utc_today()
        date = request.query_params.get("date")
        if date and date != today.isoformat():
            raise ValidationError({"date": [f"Must be today, {today}; the dashboards have earlier days."]})
        data = ANALYTICS_CACHE.get(llm_center_api.analytics, date=today.isoformat())
        return Response({"success": True, "data": data})


class QueueView(StaffView):
    required_permissions = ("llm_center.view_llmmapping",)

    @extend_schema(responses={200: Data[LlmQueue]}, tags=["llm center"])
    def get(self, request: Request) -> Response:
        """Return counts of the review queue and the mapping log, and the latest pending mappings."""
        return Response({"success": True, "data": llm_center_api.review_queue()})
