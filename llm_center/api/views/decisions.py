"""Approving and rejecting mappings, one or many, and running the LLM queue."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NotRequired, TypedDict
from uuid import UUID

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.payloads import Data, ErrorOutput, MessageOutput
from kamioi_site.formatting import percent
from llm_center.api.serializers import (
    ApprovePendingInput,
    DecideInput,
    ManyInput,
    NotesInput,
    VersionedManyInput,
    VersionInput,
)
from llm_center.models import LlmMapping
from llm_center.services.mapping_decisions import (
    MappingDecisionResult,
    approve_mapping,
    correction_of_mapping,
    decide_mappings,
    reject_mapping,
    request_pending_approval,
    request_queue_run,
)
from transactions.api.base import QueuedMessageOutput, QueuedOutput, accepted, current_user, validated
from transactions.api.idempotency import idempotent
from transactions.api.staff.base import StaffView


class DecidedOutput(MessageOutput):
    """The decision; `task_id` is that of the release of waiting transactions."""

    mapping_id: int
    status: str
    task_id: UUID | None
    investment_details: NotRequired[dict[str, Any]]


class DecidedManyOutput(MessageOutput):
    """The number of decided mappings, and the refused ones."""

    approved_count: NotRequired[int]
    rejected_count: NotRequired[int]
    refused: list[dict[str, Any]]


class ApprovePendingOutput(QueuedMessageOutput):
    """The work continues in the background; `approved_count` is null, the task's `result` has it as `decided`."""

    approved_count: int | None


class DecideView(StaffView):
    """Decides without a version, as the legacy front end does; never replaces a different decision."""

    required_permissions = ("llm_center.change_reviewmerchant",)
    approve = True

    @extend_schema(request=DecideInput, responses={200: DecidedOutput, 404: ErrorOutput}, tags=["llm center"])
    @idempotent
    def post(self, request: Request) -> Response:
        """Decide the mapping's merchant; its waiting transactions are released in the background."""
        return self.decide(request, **validated(DecideInput(data=request.data)))

    def decide(
        self,
        request: Request,
        *,
        mapping_id: int,
        notes: str,
        merchant_version: str | None = None,
        include_booked: bool = False,
    ) -> Response:
        """Decide, and return the response."""
        decide = approve_mapping if self.approve else reject_mapping
        try:
            result = decide(
                mapping_id=mapping_id,
                actor=current_user(request),
                notes=notes,
                version=merchant_version,
                include_booked=include_booked,
            )
        except LlmMapping.DoesNotExist as error:
            raise Http404 from error
        return Response(_decided(result, approved=self.approve))


class DecideOneView(DecideView):
    """The same, with the mapping in the URL."""

    @extend_schema(request=NotesInput, responses={200: DecidedOutput}, tags=["llm center"])
    @idempotent
    def post(self, request: Request, mapping_id: int) -> Response:  # type: ignore[override]
        """Decide the mapping's merchant; its waiting transactions are released in the background."""
        return self.decide(request, mapping_id=mapping_id, **validated(NotesInput(data=request.data)))


class DecideVersionView(DecideView):
    """The same, for the version of the merchant that the reviewer saw."""

    @extend_schema(request=VersionInput, responses={200: DecidedOutput}, tags=["llm center"])
    @idempotent
    def post(self, request: Request, mapping_id: int) -> Response:  # type: ignore[override]
        """Decide the mapping's merchant unless it has changed (409)."""
        return self.decide(request, mapping_id=mapping_id, **validated(VersionInput(data=request.data)))


def _decided(result: MappingDecisionResult, *, approved: bool) -> DecidedOutput:
    mapping, decided = result.mapping, result.decided
    message = (
        f"{mapping.merchant_name} is {mapping.ticker}." if approved else f"{mapping.ticker or 'Mapping'} rejected."
    )
    if decided is not None and decided.pending is not None:
        message = "Another reviewer has to agree."
    body = DecidedOutput(
        success=True,
        message=message,
        mapping_id=mapping.pk,
        status=mapping.status,
        task_id=decided.task.pk if decided and decided.task else None,
    )
    if approved:
        body["investment_details"] = {
            "ticker": mapping.ticker,
            "amount_invested": result.merchant.waiting_amount,
            "platform_fee": None,
            "total_cost": None,
            "order_id": None,
        }
    return body


class ReturnedOutput(TypedDict):
    """What customers give back of one company, at the newest quote."""

    ticker: str
    price: str
    quoted_at: str
    purchases: int
    shares: str
    cost: str
    fees: str
    value: str
    difference: str


class CorrectionOutput(TypedDict):
    """What approving a mapping with `include_booked` would do; `left` is what cannot be moved, by reason."""

    ticker: str
    purchases: int
    customers: int
    round_ups: Decimal
    returned: list[ReturnedOutput]
    shares_bought: Decimal
    difference: Decimal
    held: int
    left: dict[str, Any]


class CorrectionView(StaffView):
    required_permissions = ("llm_center.change_reviewmerchant",)

    @extend_schema(responses={200: Data[CorrectionOutput], 404: ErrorOutput, 409: ErrorOutput}, tags=["llm center"])
    def get(self, request: Request, mapping_id: int) -> Response:
        """Show what approving the mapping with `include_booked` would do at the newest quotes."""
        try:
            effect = correction_of_mapping(mapping_id=mapping_id, actor=current_user(request))
        except LlmMapping.DoesNotExist as error:
            raise Http404 from error
        return Response({"success": True, "data": effect.as_json()})


class DecideManyView(StaffView):
    required_permissions = ("llm_center.change_reviewmerchant",)
    approve = True

    @extend_schema(request=ManyInput, responses={200: DecidedManyOutput}, tags=["llm center"])
    @idempotent
    def post(self, request: Request) -> Response:
        """Decide each mapping separately; a refused one is listed and does not stop the others."""
        ids = validated(ManyInput(data=request.data))["mapping_ids"]
        return self.decide(request, dict.fromkeys(ids))

    def decide(self, request: Request, versions: Mapping[int, str | None]) -> Response:
        """Decide, and return the response."""
        count, refused = decide_mappings(versions=versions, approve=self.approve, actor=current_user(request))
        verb = "approved" if self.approve else "rejected"
        return Response(
            {"success": True, "message": f"{count} mappings {verb}.", f"{verb}_count": count, "refused": refused}
        )


class DecideManyVersionsView(DecideManyView):
    """The same, for the versions of the merchants that the reviewer saw."""

    @extend_schema(request=VersionedManyInput, responses={200: DecidedManyOutput}, tags=["llm center"])
    @idempotent
    def post(self, request: Request) -> Response:
        """Decide each mapping separately; refused ones, whose merchant has changed too, are listed."""
        mappings = validated(VersionedManyInput(data=request.data))["mappings"]
        return self.decide(request, {row["mapping_id"]: row["merchant_version"] for row in mappings})


class ApprovePendingView(StaffView):
    required_permissions = ("llm_center.change_reviewmerchant",)

    @extend_schema(request=ApprovePendingInput, responses={202: ApprovePendingOutput}, tags=["llm center"])
    @idempotent
    def post(self, request: Request) -> Response:
        """Approve in the background by the rules of a single approval; the task's `result` has counts and refusals."""
        confidence = validated(ApprovePendingInput(data=request.data))["min_confidence"]
        task = request_pending_approval(min_confidence=confidence, actor=current_user(request))
        message = f"Proposals with a confidence of at least {percent(confidence)} are being approved."
        return accepted(task, message=message, approved_count=None)


class ProcessQueueView(StaffView):
    required_permissions = ("llm_center.change_reviewmerchant",)

    @extend_schema(request=None, responses={202: QueuedOutput}, tags=["llm center"])
    @idempotent
    def post(self, request: Request) -> Response:
        """Start a run in the background; the task has the result."""
        return accepted(request_queue_run(actor=current_user(request)))
