"""The ML Dashboard and the training of the LLM Center."""

from typing import Any, Final

from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.fields import TextField, TickerField
from llm_center.models import MappingDecision
from llm_center.services.mapping_decisions import teach_mapping
from llm_center.services.matching import propose_owner
from transactions.api.base import current_user, validated
from transactions.api.idempotency import idempotent
from transactions.api.legacy.base import LegacyStaffView
from transactions.api.legacy.limits import trading_limits
from transactions.rules.merchant_key import normalise
from transactions.services.manual_processing import limits

_EXPORTED: Final = 1_000


class TradingLimitsView(LegacyStaffView):
    required_permissions = ("transactions.view_transaction",)

    def get(self, request: Request) -> Response:
        return Response({"success": True, "limits": trading_limits(limits())})


class RecognizeInput(serializers.Serializer[Any]):
    text = TextField(max_length=255)


class RecognizeView(LegacyStaffView):
    required_permissions = ("llm_center.view_llmmapping",)
    changes_nothing = True

    def post(self, request: Request) -> Response:
        """Return the matcher's proposal."""
        text = validated(RecognizeInput(data=request.data))["text"]
        proposal = propose_owner(normalise(text), text)
        data = {
            "ticker": proposal.ticker or "UNKNOWN",
            "company_name": proposal.company_name,
            "category": proposal.category,
            "confidence": proposal.confidence,
            "source": "matcher",
            "reasoning": proposal.reason,
        }
        return Response({"success": True, "data": data})


class LearnInput(serializers.Serializer[Any]):
    merchant = TextField(max_length=255)
    ticker = TickerField()
    category = TextField(max_length=100, required=False, allow_blank=True, default="")


class LearnView(LegacyStaffView):
    """The page reports a learned pattern, so the merchant is decided, by the rules of any other approval."""

    required_permissions = ("llm_center.change_reviewmerchant",)

    @idempotent
    def post(self, request: Request) -> Response:
        data = validated(LearnInput(data=request.data))
        result = teach_mapping(
            merchant_name=data["merchant"],
            ticker=data["ticker"],
            category=data["category"],
            actor=current_user(request),
        )
        if result.decided is not None and result.decided.pending is not None:
            body = {"success": False, "error": "Another reviewer has to agree."}
            return Response(body, status=status.HTTP_409_CONFLICT)
        return Response({"success": True, "message": f"{result.mapping} is approved."})


class ExportView(LegacyStaffView):
    required_permissions = ("llm_center.view_mappingdecision",)

    def get(self, request: Request) -> Response:
        """Return the latest thousand decisions, without the people who made them."""
        decisions = [
            {
                "merchant": decision.merchant_key,
                "action": decision.action,
                "ticker": decision.after.get("ticker"),
                "automatic": decision.automatic,
                "reason": decision.reason,
                "decided_at": decision.decided_at,
            }
            for decision in MappingDecision.objects.order_by("-pk")[:_EXPORTED]
        ]
        return Response({"success": True, "data": {"export_file": "mapping-decisions.json", "decisions": decisions}})
