"""What only the old admin's LLM Center, ML Dashboard and API Tracking call."""

from datetime import timedelta
from typing import Any, Final

from django.db.models import QuerySet
from django.http import HttpResponseBase
from django.utils import timezone
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.fields import MoneyField, TextField, TickerField
from kamioi_site.api.legacy.views import renamed
from kamioi_site.api.pagination import page_limit, page_number, pagination
from kamioi_site.api.views import FileView
from kamioi_site.errors import error_body
from kamioi_site.formatting import money
from kamioi_site.http.downloads import csv_download
from kamioi_site.pagination import NUMBERED_ROWS_MAX, numbered_rows
from llm_center.models import LlmCall, MappingDecision
from llm_center.selectors import llm_call_totals, llm_calls, llm_calls_csv
from llm_center.services.budget import llm_budget, set_daily_llm_budget
from llm_center.services.mapping_decisions import teach_mapping
from llm_center.services.matching import propose_owner
from transactions.api.base import current_user, validated
from transactions.api.idempotency import idempotent
from transactions.api.legacy.base import LegacyStaffView, staff_reply
from transactions.api.staff.transactions import waiting_limits
from transactions.rules.merchant_key import normalise
from transactions.services.manual_processing import limits

_VIEW_CALLS: Final = "llm_center.view_llmcall"


@staff_reply("transactions.view_transaction")
def limits_at_once(_: Request) -> dict[str, Any]:
    return {"limits": waiting_limits(limits())}


# --- The ML Dashboard -------------------------------------------------------------------------------------------------
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
def export_decisions(_: Request) -> dict[str, Any]:
    """Return the latest thousand decisions, without the people who made them."""
    rows = MappingDecision.objects.order_by("-pk")[:1_000]
    decisions = [renamed("decision", row) | {"ticker": row.after.get("ticker")} for row in rows]
    return {"data": {"export_file": "mapping-decisions.json", "decisions": decisions}}


# --- API Tracking: the calls to language models, and their monthly budget by the day ----------------------------------
@staff_reply(_VIEW_CALLS)
def call_totals(request: Request) -> dict[str, Any]:
    """Return the totals of the period."""
    days = _days(request)
    totals = llm_call_totals(timezone.now() - timedelta(days=days))
    return {"data": {"period_days": days} | renamed("calls", totals)}


@staff_reply(_VIEW_CALLS)
def call_records(request: Request) -> dict[str, Any]:
    """Return a numbered page; the total counts up to 10,000."""
    limit = page_limit(request)
    page = page_number(request, limit)
    rows, total = numbered_rows(_calls(request), page=page, limit=limit)
    position = pagination(page=page, limit=limit, total=total, capped=total == NUMBERED_ROWS_MAX)
    return {"data": {"records": [_record(row) for row in rows], **position}}


class ExportCallsView(LegacyStaffView, FileView):
    required_permissions = (_VIEW_CALLS,)
    media_type = "text/csv"

    def get(self, request: Request) -> HttpResponseBase:
        """Download the latest 10,000 calls of the period as CSV."""
        return csv_download(request._request, llm_calls_csv(_calls(request)), filename="llm-calls.csv")


@staff_reply(
    _VIEW_CALLS,
    refused="Kamioi keeps no balance of the provider's account. The monthly budget is the setting llm_monthly_budget.",
)
def balance(_: Request) -> dict[str, Any]:
    """Return the budget of the month and what is left of it; null without a budget, which hides the panel."""
    budget = llm_budget()
    return {"data": budget and renamed("balance", budget)}


class DailyLimitInput(serializers.Serializer[Any]):
    limit = MoneyField(error_messages={"min_value": "Must be above 0. The setting llm_monthly_budget lifts the limit."})


class DailyLimitView(LegacyStaffView):
    required_permissions = (_VIEW_CALLS,)
    write_permissions = ("transactions.change_setting",)

    def get(self, request: Request) -> Response:
        """Return a day's share of the budget; null without a budget. Calls end with that of the month."""
        budget = llm_budget()
        return Response({"success": True, "data": budget and renamed("daily limit", budget)})

    @idempotent
    def post(self, request: Request) -> Response:
        """Store thirty times the limit as the monthly budget."""
        dollars = validated(DailyLimitInput(data=request.data))["limit"]
        month = set_daily_llm_budget(dollars=dollars, actor=current_user(request))
        return Response({"success": True, "message": f"The budget is {money(month)} a month."})


def _days(request: Request) -> int:
    text = request.query_params.get("days") or ""
    return min(max(int(text), 1), 365) if text.isascii() and text.isdigit() and len(text) < 5 else 30


def _calls(request: Request) -> "QuerySet[LlmCall, LlmCall]":
    """Return the calls that the page filters; the queue makes all of them, for no user or page."""
    query = request.query_params
    rows = llm_calls(
        since=timezone.now() - timedelta(days=_days(request)),
        failed={"success": False, "failed": True}.get(query.get("status", "")),
        model=query.get("endpoint", ""),
    )
    return rows.none() if query.get("user_id") or query.get("page_tab") else rows


def _record(row: LlmCall) -> dict[str, Any]:
    return renamed("call", row) | {
        "endpoint": row.model or row.provider,
        "message": f"{row.merchants} merchants",
        "success": not row.error,
        "stored": True,
        "page_tab": "LLM queue",
        "user_id": "none",
    }
