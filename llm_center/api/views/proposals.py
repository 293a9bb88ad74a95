"""Proposing a company for a merchant, and looking one up."""

from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.payloads import Data, MessageOutput
from kamioi_site.api.views import ApiView
from llm_center.api.serializers import LookupInput, LookupQuery, SubmitInput
from llm_center.models import LlmMapping
from llm_center.services.mapping_decisions import submit_mapping
from llm_center.services.matching import propose_owner
from transactions.api.base import current_user, validated
from transactions.api.idempotency import idempotent
from transactions.api.staff.base import StaffView
from transactions.rules.merchant_key import normalise


class SubmittedOutput(MessageOutput):
    """The proposal in the mapping log."""

    mapping_id: int


class SubmitView(ApiView):
    source = LlmMapping.Source.USER

    @extend_schema(request=SubmitInput, responses={201: SubmittedOutput}, tags=["llm center"])
    @idempotent
    def post(self, request: Request) -> Response:
        """Store the proposal for review."""
        data = validated(SubmitInput(data=request.data))
        confidence = Decimal(str(data["confidence"]))
        mapping = submit_mapping(
            merchant_name=data["merchant_name"],
            ticker=data["ticker"] or data["ticker_symbol"],
            category=data["category"],
            company_name=data["company_name"],
            confidence=(confidence / 100 if confidence > 1 else confidence).quantize(Decimal("0.0001")),
            notes=data["notes"],
            actor=current_user(request),
            source=self.source,
            transaction_id=data["transaction_id"],
        )
        body = SubmittedOutput(
            success=True, message="Thank you. A reviewer will check your proposal.", mapping_id=mapping.pk
        )
        return Response(body, status=status.HTTP_201_CREATED)


class ManualSubmitView(SubmitView, StaffView):
    """Propose a company for a merchant, as staff."""

    required_permissions = ("llm_center.change_reviewmerchant",)
    source = LlmMapping.Source.ADMIN


class LookupView(ApiView):
    @extend_schema(parameters=[LookupQuery], responses={200: Data[dict[str, Any]]}, tags=["llm center"])
    def get(self, request: Request) -> Response:
        """Look up `?company=`."""
        return _lookup(validated(LookupQuery(data=request.query_params))["company"])

    @extend_schema(request=LookupInput, responses={200: Data[dict[str, Any]]}, tags=["llm center"])
    def post(self, request: Request) -> Response:
        """Look up `company_name`."""
        return _lookup(validated(LookupInput(data=request.data))["company_name"])


def _lookup(name: str) -> Response:
    proposal = propose_owner(normalise(name), name)
    data = {
        "ticker": proposal.ticker,
        "company_name": proposal.company_name,
        "category": proposal.category,
        "confidence": proposal.confidence,
        "reason": proposal.reason,
        "alternatives": [
            {"ticker": other.ticker, "company_name": other.company_name} for other in proposal.alternatives
        ],
    }
    return Response({"success": True, "data": data, **data})
