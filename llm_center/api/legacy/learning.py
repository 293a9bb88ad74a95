"""The ML Dashboard and the training of the LLM Center."""

from typing import Any, Final

from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.fields import TextField, TickerField
from kamioi_site.api.legacy.names import renamed
from kamioi_site.errors import error_body
from llm_center.models import MappingDecision
from llm_center.services.mapping_decisions import teach_mapping
from llm_center.services.matching import propose_owner
from transactions.api.base import current_user, validated
from transactions.api.idempotency import idempotent
from transactions.api.legacy.base import LegacyStaffView, staff_reply
from transactions.api.legacy.limits import trading_limits
from transactions.rules.merchant_key import normalise
from transactions.services.manual_processing import limits

_EXPORTED: Final = 1_000


@staff_reply("transactions.view_transaction")
def limits_at_once(_: Request) -> dict[str, Any]:
    return {"limits": trading_limits(limits())}


class RecognizeInput(serializers.Serializer[Any]):
    text = TextField(max_length=255)


@staff_reply("llm_center.view_llmmapping", method="post", changes_nothing=True)
def recognize(request: Request) -> dict[str, Any]:
    """Return the matcher's proposal."""
    text = validated(RecognizeInput(data=request.data))["text"]
    proposal = propose_owner(normalise(text), text)
    data = renamed("recognition", proposal) | {"ticker": proposal.ticker or "UNKNOWN", "source": "matcher"}
    return {"data": data}


class LearnInput(serializers.Serializer[Any]):
    merchant = TextField(max_length=255, source="merchant_name")
    ticker = TickerField()
    category = TextField(max_length=100, required=False, allow_blank=True, default="")


class LearnView(LegacyStaffView):
    """The page reports a learned pattern, so the merchant is decided, by the rules of any other approval."""

    required_permissions = ("llm_center.change_reviewmerchant",)

    @idempotent
    def post(self, request: Request) -> Response:
        result = teach_mapping(**validated(LearnInput(data=request.data)), actor=current_user(request))
        if result.decided is not None and result.decided.pending is not None:
            return Response(error_body("Another reviewer has to agree."), status=status.HTTP_409_CONFLICT)
        return Response({"success": True, "message": f"{result.mapping} is approved."})


@staff_reply("llm_center.view_mappingdecision")
def export(_: Request) -> dict[str, Any]:
    """Return the latest thousand decisions, without the people who made them."""
    rows = MappingDecision.objects.order_by("-pk")[:_EXPORTED]
    decisions = [renamed("decision", row) | {"ticker": row.after.get("ticker")} for row in rows]
    return {"data": {"export_file": "mapping-decisions.json", "decisions": decisions}}
