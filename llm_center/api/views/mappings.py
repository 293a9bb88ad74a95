"""The mapping log: listing, correcting and deleting proposals."""

from decimal import Decimal
from typing import Annotated, Literal, TypedDict

from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.etags import ETagView
from kamioi_site.api.pagination import CURSOR, LIMIT, PAGE, page_limit, page_number
from kamioi_site.api.payloads import Data, ErrorOutput, MessageOutput
from kamioi_site.cache.namespaces import CacheNamespace
from kamioi_site.errors import error_body
from kamioi_site.pagination import keyset_page
from llm_center.api.rows import MappingRow, NumberedMappings, mapping_rows, numbered, numbered_page
from llm_center.api.serializers import EditInput
from llm_center.cache import LLM
from llm_center.errors import MappingAlreadyDecidedError
from llm_center.models import LlmMapping
from llm_center.selectors import search_mappings
from llm_center.services.mapping_decisions import (
    correct_decided_mapping,
    delete_mapping,
    edit_mapping,
    reconsider_mapping,
)
from transactions.api.base import current_user, validated
from transactions.api.idempotency import idempotent
from transactions.api.staff.base import StaffView

STATUSES = ("all", "pending", "approved", "rejected")
MAPPINGS = CacheNamespace("llm:mappings:{status}:{page}", ttl=300, generation=LLM)


class MappingPageOutput(TypedDict):
    data: list[MappingRow]
    next_cursor: str | None
    has_more: bool


class Reconsidered(TypedDict):
    """The matcher's current proposal; times are milliseconds, `stored` is true if the row was updated with it."""

    mapping_id: int
    ai_status: Annotated[str, Literal["approved", "review_required", "uncertain"]]
    ai_confidence: Decimal
    ai_reasoning: str
    ai_auto_approved: bool
    processing_time: float
    model_version: str
    ai_model_version: str
    suggested_ticker: str | None
    ai_processing_duration: float
    stored: bool


class MappingListView(StaffView, ETagView):
    required_permissions = ("llm_center.view_llmmapping",)

    @extend_schema(
        parameters=[
            CURSOR,
            LIMIT,
            OpenApiParameter("status", OpenApiTypes.STR, enum=STATUSES),
            OpenApiParameter("search", OpenApiTypes.STR, description="Part of merchant, ticker, company or category."),
            PAGE,
        ],
        responses={200: MappingPageOutput | Data[NumberedMappings]},
        tags=["llm center"],
    )
    def get(self, request: Request) -> Response:
        """Return a page, newest first: by cursor, or by number in the legacy format."""
        status = request.query_params.get("status") or "all"
        if status not in STATUSES:
            raise ValidationError({"status": [f"Must be one of {', '.join(STATUSES)}."]})
        search = (request.query_params.get("search") or "").strip()[:100]
        limit, cursor = page_limit(request), request.query_params.get("cursor")
        number = page_number(request, limit) if "page" in request.query_params else None

        def read() -> MappingPageOutput | Data[NumberedMappings]:
            return _page(status, search, cursor=cursor, number=number, limit=limit)

        if search:  # as many lists as names, so not worth caching
            return Response(read())
        page = f"{limit}/{number}" if number is not None else f"{limit}/after {cursor or 'nothing'}"
        return Response(MAPPINGS.get(read, status=status, page=page))


def _page(
    status: str, search: str, *, cursor: str | None, number: int | None, limit: int
) -> MappingPageOutput | Data[NumberedMappings]:
    if search:
        found = search_mappings(
            search,
            status=None if status == "all" else status,
            cursor=cursor if number is None else None,
            page=number or 1,
            limit=limit,
        )
        if number is not None:
            return {"success": True, "data": numbered(found.rows, found.total, page=number, limit=limit)}
        next_cursor = found.next_cursor
        return {"data": mapping_rows(found.rows), "next_cursor": next_cursor, "has_more": next_cursor is not None}
    rows = LlmMapping.objects.select_related("user")
    if status != "all":
        rows = rows.filter(status=status)
    if number is not None:
        return {"success": True, "data": numbered_page(rows, page=number, limit=limit)}
    page = keyset_page(rows, time_field="created_at", cursor=cursor, limit=limit, scope=f"mappings:{status}:")
    return {"data": mapping_rows(page.rows), "next_cursor": page.next_cursor, "has_more": page.has_more}


class MappingDetailView(StaffView):
    required_permissions = ("llm_center.view_llmmapping",)

    @extend_schema(responses={200: Data[MappingRow]}, tags=["llm center"])
    def get(self, request: Request, mapping_id: int) -> Response:
        """Return the row."""
        mapping = LlmMapping.objects.select_related("user").filter(pk=mapping_id).first()
        if mapping is None:
            raise Http404
        return Response({"success": True, "data": mapping_rows([mapping])[0]})


class MappingUpdateView(StaffView):
    required_permissions = ("llm_center.change_reviewmerchant",)

    @extend_schema(request=EditInput, responses={200: MessageOutput, 409: ErrorOutput}, tags=["llm center"])
    def put(self, request: Request, mapping_id: int) -> Response:
        """Change a pending proposal, or the ticker of the merchant from now on if the row is its approval.

        409 if the row is no longer the decision on the merchant, or if a second reviewer has to make the same
        correction; 403 for rows of uploaded files.
        """
        data, actor = validated(EditInput(data=request.data)), current_user(request)
        values = {name: data[name] for name in ("merchant_name", "ticker", "category")}
        try:
            mapping = edit_mapping(mapping_id=mapping_id, company_name=data["company_name"], actor=actor, **values)
        except LlmMapping.DoesNotExist as error:
            raise Http404 from error
        except MappingAlreadyDecidedError:
            result = correct_decided_mapping(mapping_id=mapping_id, actor=actor, **values)
        else:
            return Response({"success": True, "message": f"Mapping updated: {mapping}."})
        if result.decision is None:
            error_text = f"The correction to {data['ticker']} waits for another reviewer, who has to make the same one."
            return Response(error_body(error_text), status=status.HTTP_409_CONFLICT)
        return Response({"success": True, "message": f"{data['merchant_name']} is {data['ticker']} from now on."})


class MappingDeleteView(StaffView):
    required_permissions = ("llm_center.change_reviewmerchant",)

    @extend_schema(responses={200: MessageOutput, 409: ErrorOutput}, tags=["llm center"])
    def delete(self, request: Request, mapping_id: int) -> Response:
        """Delete the proposal. Rows of uploaded files are 403, decided rows 409."""
        try:
            delete_mapping(mapping_id=mapping_id, actor=current_user(request))
        except LlmMapping.DoesNotExist as error:
            raise Http404 from error
        return Response({"success": True, "message": "Proposal deleted."})


class ReconsiderView(StaffView):
    required_permissions = ("llm_center.change_reviewmerchant",)

    @extend_schema(request=None, responses={200: Data[Reconsidered]}, tags=["llm center"])
    @idempotent
    def post(self, request: Request, mapping_id: int) -> Response:
        """Return the matcher's current proposal. It replaces a pending proposal of a machine; nothing is approved."""
        try:
            result = reconsider_mapping(mapping_id=mapping_id)
        except LlmMapping.DoesNotExist as error:
            raise Http404 from error
        data = Reconsidered(
            mapping_id=result.mapping.pk,
            ai_status=result.verdict,
            ai_confidence=result.confidence,
            ai_reasoning=result.reason,
            ai_auto_approved=False,
            processing_time=result.milliseconds,
            model_version="matcher",
            ai_model_version="matcher",
            suggested_ticker=result.ticker,
            ai_processing_duration=result.milliseconds,
            stored=result.stored,
        )
        return Response({"success": True, "data": data})
