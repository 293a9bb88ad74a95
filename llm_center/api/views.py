"""Thin views for staff: parse, call one service or selector, answer in the legacy shapes."""

from decimal import Decimal
from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, PolymorphicProxySerializer, extend_schema
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.etags import ETagView
from kamioi_site.api.views import ApiView, keyset_page, page_limit
from kamioi_site.cache.namespaces import CacheNamespace
from llm_center.api import serializers as shapes
from llm_center.api.rows import asset_row, assets_summary, mapping_row, page_of, schedule_row
from llm_center.cache import LLM
from llm_center.models import AssetEvent, LlmDataAsset, LlmMapping
from llm_center.services.amortization import amortization_reference, amortize_month, asset_schedule
from llm_center.services.mapping_decisions import (
    MappingDecisionResult,
    approve_mapping,
    decide_mappings,
    delete_mapping,
    edit_mapping,
    reconsider_mapping,
    reject_mapping,
    request_pending_approval,
    request_queue_run,
    submit_mapping,
)
from llm_center.services.matching import propose_owner
from transactions.api.base import IdempotentView, accepted, current_user, validated
from transactions.api.staff import BODY_ERRORS, StaffView, errors
from transactions.rules.merchant_key import normalise


def _mapping(mapping_id: int) -> LlmMapping:
    found = LlmMapping.objects.select_related("user").filter(pk=mapping_id).first()
    if found is None:
        raise Http404
    return found


MAPPINGS = CacheNamespace("llm:mappings:{status}:{page}", ttl=300, generation=LLM)


# --- The log ----------------------------------------------------------------------------------------------------
STATUSES = ("all", "pending", "approved", "rejected")


class MappingListView(StaffView, ETagView):
    """The log of proposals."""

    @extend_schema(
        parameters=[
            OpenApiParameter("cursor", OpenApiTypes.STR, description="`next_cursor` of the page before."),
            OpenApiParameter("limit", OpenApiTypes.INT, description="Rows of a page, 1 to 500; 100 when absent."),
            OpenApiParameter("status", OpenApiTypes.STR, enum=STATUSES),
            OpenApiParameter("search", OpenApiTypes.STR, description="The whole name, as the statement wrote it."),
            OpenApiParameter("page", OpenApiTypes.INT, description="The legacy shape: pages by number, to row 10,000."),
        ],
        responses={
            200: PolymorphicProxySerializer(
                "MappingPageOrLegacy",
                [shapes.MappingPageOutput, shapes.LegacyPageOutput],
                resource_type_field_name=None,
            )
        }
        | errors(400),
        tags=["llm center"],
    )
    def get(self, request: Request) -> Response:
        """Newest first. With `page` the legacy shape, else pages by cursor that cost the same however deep."""
        wanted = request.query_params.get("status") or "all"
        if wanted not in STATUSES:
            raise ValidationError({"status": [f"One of {', '.join(STATUSES)} is needed."]})
        rows: QuerySet[LlmMapping, LlmMapping] = LlmMapping.objects.select_related("user")
        if wanted != "all":
            rows = rows.filter(status=wanted)
        search = (request.query_params.get("search") or "").strip()
        if search:
            rows = rows.filter(merchant_name=search)
        limit = page_limit(request)
        cursor, number = request.query_params.get("cursor"), request.query_params.get("page")

        def read() -> dict[str, Any]:
            if number is not None:
                return {"success": True, "data": page_of(rows, number, limit)}
            page = keyset_page(
                rows, time_field="created_at", cursor=cursor, limit=limit, scope=f"mappings:{wanted}:{search}"
            )
            return {
                "data": [mapping_row(row) for row in page.rows],
                "next_cursor": page.next_cursor,
                "has_more": page.has_more,
            }

        if search:  # as many lists as names: not worth keeping
            return Response(read())
        place = f"{limit}/{number}" if number is not None else f"{limit}/after {cursor or 'nothing'}"
        return Response(MAPPINGS.get(read, status=wanted, page=place))


class MappingDetailView(StaffView):
    """One row of the log."""

    @extend_schema(responses={200: shapes.MappingOutput} | errors(404), tags=["llm center"])
    def get(self, request: Request, mapping_id: int) -> Response:
        """The row."""
        return Response({"success": True, "data": mapping_row(_mapping(mapping_id))})


class MappingUpdateView(StaffView):
    """Change a proposal that nobody decided."""

    needs = ("llm_center.change_reviewmerchant",)

    @extend_schema(
        request=shapes.EditInput,
        responses={200: shapes.MessageOutput} | errors(*BODY_ERRORS, 404, 409),
        tags=["llm center"],
    )
    def put(self, request: Request, mapping_id: int) -> Response:
        """It goes on waiting. Rows of uploaded files are 403, decided ones (they are history) 409."""
        data = validated(shapes.EditInput(data=request.data))
        try:
            mapping = edit_mapping(
                mapping_id=mapping_id,
                merchant_name=data["merchant_name"],
                ticker=data["ticker"].strip().upper().replace("-", "."),
                category=data["category"],
                company_name=data["company_name"],
                actor=current_user(request),
            )
        except LlmMapping.DoesNotExist as error:
            raise Http404 from error
        return Response({"success": True, "message": f"It says now: {mapping}."})


class MappingDeleteView(StaffView):
    """Take a proposal that nobody decided out of the log."""

    needs = ("llm_center.change_reviewmerchant",)

    @extend_schema(responses={200: shapes.MessageOutput} | errors(404, 409), tags=["llm center"])
    def delete(self, request: Request, mapping_id: int) -> Response:
        """Rows of uploaded files are 403, decided ones (they are history) 409."""
        try:
            delete_mapping(mapping_id=mapping_id, actor=current_user(request))
        except LlmMapping.DoesNotExist as error:
            raise Http404 from error
        return Response({"success": True, "message": "The proposal is gone."})


class ReconsiderView(StaffView):
    """Look a mapping up anew."""

    needs = ("llm_center.change_reviewmerchant",)

    @extend_schema(request=None, responses={200: shapes.ReconsideredOutput} | errors(404), tags=["llm center"])
    def post(self, request: Request, mapping_id: int) -> Response:
        """What the matcher makes of it now; nothing is approved. An open proposal of a machine takes the answer over."""
        try:
            found = reconsider_mapping(mapping_id=mapping_id)
        except LlmMapping.DoesNotExist as error:
            raise Http404 from error
        data = {
            "mapping_id": found.mapping.pk,
            "ai_status": found.verdict,
            "ai_confidence": found.confidence,
            "ai_reasoning": found.reason,
            "ai_auto_approved": False,
            "processing_time": found.milliseconds,
            "model_version": "matcher",
            "ai_model_version": "matcher",
            "suggested_ticker": found.ticker,
            "ai_processing_duration": found.milliseconds,
            "stored": found.stored,
        }
        return Response({"success": True, "data": data})


class ApprovePendingView(StaffView):
    """Approve what waits and is sure enough."""

    needs = ("llm_center.change_reviewmerchant",)

    @extend_schema(
        request=shapes.ApprovePendingInput,
        responses={202: shapes.ApprovePendingOutput} | errors(*BODY_ERRORS),
        tags=["llm center"],
    )
    def post(self, request: Request) -> Response:
        """In the background, with everything that holds for one approval: the task's `result` says how many and what was refused."""
        least = validated(shapes.ApprovePendingInput(data=request.data))["min_confidence"]
        task = request_pending_approval(min_confidence=least, actor=current_user(request))
        return accepted(
            task, message=f"Proposals that are at least {least:.0%} sure are being approved.", approved_count=None
        )


class DecideView(StaffView):
    """Approve or reject a mapping, and with it its merchant."""

    needs = ("llm_center.change_reviewmerchant",)
    approve = True

    @extend_schema(
        request=shapes.DecideInput,
        responses={200: shapes.DecidedOutput} | errors(*BODY_ERRORS, 404, 409),
        tags=["llm center"],
    )
    def post(self, request: Request, mapping_id: int | None = None) -> Response:
        """Settle the mapping's merchant; what waits there is released in the background."""
        if mapping_id is None:
            data = validated(shapes.DecideInput(data=request.data))
        else:
            data = {"mapping_id": mapping_id} | validated(shapes.NotesInput(data=request.data))
        decide = approve_mapping if self.approve else reject_mapping
        try:
            done = decide(mapping_id=data["mapping_id"], actor=current_user(request), notes=data["notes"])
        except LlmMapping.DoesNotExist as error:
            raise Http404 from error
        return Response(self._answer(done))

    def _answer(self, done: MappingDecisionResult) -> dict[str, Any]:
        mapping, decided = done.mapping, done.decided
        waits = decided is not None and decided.pending is not None
        message = (
            f"{mapping.merchant_name} is {mapping.ticker}."
            if self.approve
            else f"{mapping.ticker or 'The mapping'} is rejected."
        )
        body = {
            "success": True,
            "message": "Another reviewer has to agree." if waits else message,
            "mapping_id": mapping.pk,
            "status": mapping.status,
            "task_id": decided.task.pk if decided and decided.task else None,
        }
        if self.approve:
            body["investment_details"] = {
                "ticker": mapping.ticker,
                "amount_invested": done.merchant.waiting_amount,
                "platform_fee": None,
                "total_cost": None,
                "order_id": None,
            }
        return body


class DecideManyView(StaffView):
    """Approve or reject several mappings."""

    needs = ("llm_center.change_reviewmerchant",)
    approve = True

    @extend_schema(
        request=shapes.ManyInput, responses={200: shapes.ManyOutput} | errors(*BODY_ERRORS), tags=["llm center"]
    )
    def post(self, request: Request) -> Response:
        """Each by itself; what is refused is named, and the others go on."""
        data = validated(shapes.ManyInput(data=request.data))
        count, refused = decide_mappings(
            mapping_ids=data["mapping_ids"], approve=self.approve, actor=current_user(request)
        )
        word = "approved" if self.approve else "rejected"
        return Response(
            {"success": True, "message": f"{count} mappings {word}.", f"{word}_count": count, "refused": refused}
        )


class SubmitView(IdempotentView):
    """Propose an owner of a merchant."""

    source = LlmMapping.Source.USER

    @extend_schema(
        request=shapes.SubmitInput, responses={201: shapes.SubmittedOutput} | errors(*BODY_ERRORS), tags=["llm center"]
    )
    def post(self, request: Request) -> Response:
        """It waits for a reviewer."""
        data = validated(shapes.SubmitInput(data=request.data))
        confidence = Decimal(str(data["confidence"]))
        mapping = submit_mapping(
            merchant_name=data["merchant_name"],
            ticker=(data["ticker"] or data["ticker_symbol"]).strip().upper().replace("-", "."),
            category=data["category"],
            company_name=data["company_name"],
            confidence=(confidence / 100 if confidence > 1 else confidence).quantize(Decimal("0.0001")),
            notes=data["notes"],
            actor=current_user(request),
            source=self.source,
            transaction_id=data["transaction_id"],
        )
        return Response(
            {"success": True, "mapping_id": mapping.pk, "message": "Thank you: a reviewer will look at it."},
            status=status.HTTP_201_CREATED,
        )


class ManualSubmitView(SubmitView, StaffView):
    """The same for staff."""

    needs = ("llm_center.change_reviewmerchant",)
    source = LlmMapping.Source.ADMIN


class LookupView(ApiView):
    """Who owns a merchant."""

    @extend_schema(
        parameters=[OpenApiParameter("company", OpenApiTypes.STR, required=True)],
        responses={200: shapes.DataOutput} | dict.fromkeys((400, 401, 429), shapes.ErrorOutput),
        tags=["llm center"],
    )
    def get(self, request: Request) -> Response:
        """By `?company=`."""
        return self._answer(
            validated(shapes.LookupInput(data={"company_name": request.query_params.get("company", "")}))
        )

    @extend_schema(
        request=shapes.LookupInput,
        responses={200: shapes.DataOutput} | dict.fromkeys((*BODY_ERRORS, 401, 429), shapes.ErrorOutput),
        tags=["llm center"],
    )
    def post(self, request: Request) -> Response:
        """By `company_name`."""
        return self._answer(validated(shapes.LookupInput(data=request.data)))

    @staticmethod
    def _answer(data: dict[str, Any]) -> Response:
        said = data["company_name"]
        found = propose_owner(normalise(said), said)
        answer = {
            "ticker": found.ticker,
            "company_name": found.company_name,
            "category": found.category,
            "confidence": found.confidence,
            "reason": found.reason,
            "alternatives": [
                {"ticker": other.ticker, "company_name": other.company_name} for other in found.alternatives
            ],
        }
        return Response({"success": True, "data": answer, **answer})


# --- The queue --------------------------------------------------------------------------------------------------
class ProcessQueueView(StaffView):
    """Run the LLM queue now."""

    needs = ("llm_center.change_reviewmerchant",)

    @extend_schema(request=None, responses={202: shapes.QueuedOutput} | errors(), tags=["llm center"])
    def post(self, request: Request) -> Response:
        """202 at once; the task says what came of it."""
        return accepted(request_queue_run(actor=current_user(request)))


# --- Data assets ------------------------------------------------------------------------------------------------
class AssetListView(StaffView, ETagView):
    """The data assets in the books."""

    needs = ("llm_center.view_llmdataasset",)

    @extend_schema(responses={200: shapes.DataOutput} | errors(), tags=["data assets"])
    def get(self, request: Request) -> Response:
        """Assets and their sums. What was never measured is null."""
        assets = [
            asset_row(asset) for asset in LlmDataAsset.objects.prefetch_related("amortization", "events").order_by("pk")
        ]
        return Response({"success": True, "data": {"assets": assets, "summary": assets_summary(assets)}})


class AssetCostView(StaffView):
    """What an asset cost."""

    needs = ("llm_center.view_llmdataasset",)

    @extend_schema(responses={200: shapes.DataOutput} | errors(404), tags=["data assets"])
    def get(self, request: Request, asset_id: int) -> Response:
        """Its components."""
        asset = LlmDataAsset.objects.filter(pk=asset_id).first()
        if asset is None:
            raise Http404
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
    """An asset month by month."""

    needs = ("llm_center.view_llmdataasset",)

    @extend_schema(responses={200: shapes.DataOutput} | errors(404), tags=["data assets"])
    def get(self, request: Request, asset_id: int) -> Response:
        """Its schedule."""
        asset = LlmDataAsset.objects.prefetch_related("amortization", "events").filter(pk=asset_id).first()
        if asset is None:
            raise Http404
        return Response(
            {"success": True, "data": {"schedule": [schedule_row(month) for month in asset_schedule(asset)]}}
        )


class AmortizeView(StaffView):
    """Book a month's amortization."""

    needs = ("llm_center.add_amortizationentry",)

    @extend_schema(
        request=shapes.AmortizeInput, responses={200: shapes.DataOutput} | errors(*BODY_ERRORS), tags=["data assets"]
    )
    def post(self, request: Request) -> Response:
        """What is due is booked once; nothing due is 400, as it always was."""
        data = validated(shapes.AmortizeInput(data=request.data))
        day = data.get("entry_date") or timezone.now().date()
        done = amortize_month(month=day)
        if not done.charges:
            raise ValidationError({"entry_date": ["Nothing is due: every month up to this one is booked."]})
        return Response(
            {
                "success": True,
                "data": {
                    "journal_entry_ids": [
                        f"{amortization_reference(charge.period)}-{charge.asset.pk}" for charge in done.charges
                    ],
                    "entry_date": day,
                    "message": f"{len(done.charges)} charges, ${done.total:,} booked.",
                },
            }
        )
