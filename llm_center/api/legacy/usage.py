"""API Tracking: the calls to language models, and their monthly budget by the day."""

from datetime import timedelta
from typing import Any, Final

from django.db.models import QuerySet
from django.http import HttpResponseBase
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.fields import MoneyField
from kamioi_site.api.legacy.names import renamed
from kamioi_site.api.pagination import page_limit, page_number, pagination
from kamioi_site.api.views import FileView
from kamioi_site.formatting import money
from kamioi_site.http.downloads import csv_download
from kamioi_site.pagination import NUMBERED_ROWS_MAX, numbered_rows
from llm_center.models import LlmCall
from llm_center.selectors import llm_call_totals, llm_calls, llm_calls_csv
from llm_center.services.budget import llm_budget, set_daily_llm_budget
from transactions.api.base import current_user, validated
from transactions.api.idempotency import idempotent
from transactions.api.legacy.base import LegacyStaffView, NotOfferedError, staff_reply

_VIEW_CALLS: Final = "llm_center.view_llmcall"


@staff_reply(_VIEW_CALLS)
def stats(request: Request) -> dict[str, Any]:
    """Return the totals of the period."""
    days = _days(request)
    totals = llm_call_totals(timezone.now() - timedelta(days=days))
    return {"data": {"period_days": days} | renamed("calls", totals)}


@staff_reply(_VIEW_CALLS)
def records(request: Request) -> dict[str, Any]:
    """Return a numbered page; the total counts up to 10,000."""
    limit = page_limit(request)
    page = page_number(request, limit)
    rows, total = numbered_rows(_calls(request), page=page, limit=limit)
    position = pagination(page=page, limit=limit, total=total, capped=total == NUMBERED_ROWS_MAX)
    return {"data": {"records": [_record(row) for row in rows], **position}}


class ExportView(LegacyStaffView, FileView):
    required_permissions = (_VIEW_CALLS,)
    media_type = "text/csv"

    def get(self, request: Request) -> HttpResponseBase:
        """Download the latest 10,000 calls of the period as CSV."""
        return csv_download(request._request, llm_calls_csv(_calls(request)), filename="llm-calls.csv")


class BalanceView(LegacyStaffView):
    required_permissions = (_VIEW_CALLS,)

    def get(self, request: Request) -> Response:
        """Return the budget of the month and what is left of it; null without a budget, which hides the panel."""
        budget = llm_budget()
        return Response({"success": True, "data": budget and renamed("balance", budget)})

    def post(self, request: Request) -> Response:
        """Refuse: the balance is the provider's."""
        raise NotOfferedError(
            "Kamioi keeps no balance of the provider's account. The monthly budget is the setting llm_monthly_budget."
        )


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
