"""Proposing a company for a merchant, and looking one up."""

from collections.abc import Sequence
from decimal import Decimal
from hashlib import blake2s
from typing import Any, Final

from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.permissions import SAFE_METHODS, AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.payloads import Data, MessageOutput
from kamioi_site.api.views import ApiView
from kamioi_site.cache.namespaces import CacheNamespace
from llm_center.api.serializers import LookupInput, LookupQuery, SubmitInput
from llm_center.models import LlmMapping
from llm_center.services.mapping_decisions import submit_mapping
from llm_center.services.matching import propose_owner
from transactions.api.base import current_user, validated
from transactions.api.idempotency import idempotent
from transactions.api.staff.base import StaffView
from transactions.rules.merchant_key import normalise

LOOKUPS: Final = CacheNamespace("lookup:{name}", ttl=300, single_flight=False)


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
    """Open to all for reading: it knows the catalogue and listed companies, and nothing of customers."""

    @property
    def rate_scope(self) -> str | None:  # type: ignore[override]
        """Return the rate of those without a token, whose form looks up every keystroke."""
        return None if self.request.user.is_authenticated else "lookup"

    def get_permissions(self) -> Sequence[Any]:
        """Require a token to write."""
        return [AllowAny()] if self.request.method in SAFE_METHODS else super().get_permissions()

    @extend_schema(parameters=[LookupQuery], responses={200: Data[dict[str, Any]]}, tags=["llm center"])
    def get(self, request: Request) -> Response:
        """Look up `?company=`."""
        return _lookup(validated(LookupQuery(data=request.query_params))["company"])

    @extend_schema(request=LookupInput, responses={200: Data[dict[str, Any]]}, tags=["llm center"])
    def post(self, request: Request) -> Response:
        """Look up `company_name`."""
        return _lookup(validated(LookupInput(data=request.data))["company_name"])


def _lookup(name: str) -> Response:
    key = blake2s(name.casefold().encode()).hexdigest()
    data = LOOKUPS.get(lambda: _proposal(name), name=key)
    return Response({"success": True, "data": data, **data})


def _proposal(name: str) -> dict[str, Any]:
    proposal = propose_owner(normalise(name), name)
    return {
        "ticker": proposal.ticker,
        "company_name": proposal.company_name,
        "category": proposal.category,
        "confidence": proposal.confidence,
        "reason": proposal.reason,
        "alternatives": [
            {"ticker": other.ticker, "company_name": other.company_name} for other in proposal.alternatives
        ],
    }
