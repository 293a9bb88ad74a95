"""What runs automatically: its state."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from analytics.selectors import automation_api
from analytics.selectors.automation_api import (
    Automation,
    AutomationBatch,
    AutomationLearning,
    AutomationMerchants,
    AutomationMultiModel,
    AutomationRealtime,
    AutomationThresholds,
)
from analytics.selectors.review_stats import STAFF_STATS_CACHE
from kamioi_site.api.payloads import Data, SuccessOutput
from transactions.api.staff.base import StaffView


class RealtimeOutput(SuccessOutput):
    """Incoming purchases; `data` and `status` are the same."""

    data: AutomationRealtime
    status: AutomationRealtime


class _AutomationView(StaffView):
    required_permissions = ("transactions.view_backgroundtask",)


class AutomationView(_AutomationView):
    @extend_schema(responses={200: Data[Automation]}, tags=["automation"])
    def get(self, request: Request) -> Response:
        """Return all parts, at most half a minute old. What is not measured is null."""
        data = STAFF_STATS_CACHE.get(automation_api.automation, name="automation")
        return Response({"success": True, "data": data})


class RealtimeView(_AutomationView):
    @extend_schema(responses={200: RealtimeOutput}, tags=["automation"])
    def get(self, request: Request) -> Response:
        """Return the state; nothing is processed by it."""
        data = STAFF_STATS_CACHE.get(automation_api.realtime, name="realtime")
        return Response({"success": True, "data": data, "status": data})


class BatchView(_AutomationView):
    @extend_schema(responses={200: Data[AutomationBatch]}, tags=["automation"])
    def get(self, request: Request) -> Response:
        """Return the state of the queue."""
        data = STAFF_STATS_CACHE.get(automation_api.batch, name="batch")
        return Response({"success": True, "data": data})


class LearningView(_AutomationView):
    @extend_schema(responses={200: Data[AutomationLearning]}, tags=["automation"])
    def get(self, request: Request) -> Response:
        """Return how often reviewers agreed with proposals, in percent."""
        data = STAFF_STATS_CACHE.get(automation_api.learning, name="learning")
        return Response({"success": True, "data": data})


class MerchantsView(_AutomationView):
    @extend_schema(responses={200: Data[AutomationMerchants]}, tags=["automation"])
    def get(self, request: Request) -> Response:
        """Return the number of merchants, `estimated` for a large table."""
        data = STAFF_STATS_CACHE.get(automation_api.merchants, name="merchants")
        return Response({"success": True, "data": data})


class ThresholdsView(_AutomationView):
    @extend_schema(responses={200: Data[AutomationThresholds]}, tags=["automation"])
    def get(self, request: Request) -> Response:
        """Return the thresholds, 0 to 1; they are changed in the settings."""
        return Response({"success": True, "data": automation_api.thresholds()})


class MultiModelView(_AutomationView):
    @extend_schema(responses={200: Data[AutomationMultiModel]}, tags=["automation"])
    def get(self, request: Request) -> Response:
        """Return the models in the order in which they are asked."""
        return Response({"success": True, "data": automation_api.multi_model()})
