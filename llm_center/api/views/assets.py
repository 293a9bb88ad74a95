"""Data assets and their amortization."""

from typing import Any

from django.http import Http404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.etags import ETagView
from kamioi_site.api.payloads import Data
from kamioi_site.formatting import money
from llm_center.api.rows import asset_rows, assets_summary, schedule_row
from llm_center.api.serializers import AmortizeInput
from llm_center.models import AssetEvent, LlmDataAsset
from llm_center.services.amortization import amortization_reference, amortize_month, asset_schedule
from transactions.api.base import validated
from transactions.api.idempotency import idempotent
from transactions.api.staff.base import StaffView


class AssetListView(StaffView, ETagView):
    required_permissions = ("llm_center.view_llmdataasset",)

    @extend_schema(responses={200: Data[dict[str, Any]]}, tags=["data assets"])
    def get(self, request: Request) -> Response:
        """Return the assets and their sums. What was never measured is null."""
        assets = asset_rows()
        return Response({"success": True, "data": {"assets": assets, "summary": assets_summary(assets)}})


class AssetCostView(StaffView):
    required_permissions = ("llm_center.view_llmdataasset",)

    @extend_schema(responses={200: Data[dict[str, Any]]}, tags=["data assets"])
    def get(self, request: Request, asset_id: int) -> Response:
        """Return the components of the cost."""
        asset = _asset(asset_id)
        costs = asset.events.filter(kind=AssetEvent.Kind.COST).order_by("dated_on", "pk")
        breakdown = [
            {
                "cost_type": cost.component,
                "amount": cost.amount,
                "date": cost.dated_on,
                "gl_account": asset.gl_account,
                "note": cost.note,
            }
            for cost in costs
        ]
        return Response({"success": True, "data": {"cost_breakdown": breakdown}})


class AssetScheduleView(StaffView):
    required_permissions = ("llm_center.view_llmdataasset",)

    @extend_schema(responses={200: Data[dict[str, Any]]}, tags=["data assets"])
    def get(self, request: Request, asset_id: int) -> Response:
        """Return the schedule by month."""
        schedule = [schedule_row(month) for month in asset_schedule(_asset(asset_id))]
        return Response({"success": True, "data": {"schedule": schedule}})


class AmortizeView(StaffView):
    required_permissions = ("llm_center.add_amortizationentry",)

    @extend_schema(request=AmortizeInput, responses={200: Data[dict[str, Any]]}, tags=["data assets"])
    @idempotent
    def post(self, request: Request) -> Response:
        """Book each due charge once; 400 if nothing is due."""
        day = validated(AmortizeInput(data=request.data)).get("entry_date") or timezone.now().date()
        result = amortize_month(month=day)
        if not result.charges:
            raise ValidationError({"entry_date": ["Nothing is due: every month up to this one is booked."]})
        data = {
            "journal_entry_ids": [
                f"{amortization_reference(charge.period)}-{charge.asset.pk}" for charge in result.charges
            ],
            "entry_date": day,
            "message": f"{len(result.charges)} charges booked, {money(result.total)} in total.",
        }
        return Response({"success": True, "data": data})


def _asset(asset_id: int) -> LlmDataAsset:
    asset = LlmDataAsset.objects.prefetch_related("amortization__reversal", "events").filter(pk=asset_id).first()
    if asset is None:
        raise Http404
    return asset
