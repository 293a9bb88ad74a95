"""API Tracking: the calls to language models, and their monthly budget by the day."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from django.db.models import QuerySet
from django.http import HttpResponseBase
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.fields import MoneyField
from kamioi_site.api.pagination import page_limit, page_number
from kamioi_site.api.views import FileView
from kamioi_site.formatting import money
from kamioi_site.http.downloads import csv_download, csv_line
from kamioi_site.pagination import NUMBERED_ROWS_MAX
from llm_center.live_settings import MONTHLY_BUDGET
from llm_center.models import LlmCall
from llm_center.providers import llm_spent_this_month
from llm_center.selectors import llm_call_totals, llm_calls
from transactions.api.base import current_user, validated
from transactions.api.idempotency import idempotent
from transactions.api.legacy.base import LegacyStaffView, NotOfferedError
from transactions.services.settings import save_settings

_MONTH_DAYS: Final = 30
_NO_BALANCE: Final = (
    "Kamioi keeps no balance of the provider's account. The monthly budget is the setting llm_monthly_budget."
)
_COLUMNS: Final = ("started_at", "provider", "model", "merchants", "prompt_tokens", "completion_tokens", "cost")


class UsageView(LegacyStaffView):
    required_permissions = ("llm_center.view_llmcall",)

    def calls(self, request: Request) -> "QuerySet[LlmCall, LlmCall]":
        """Return the calls that the page filters; the queue makes all of them, for no user or page."""
        query = request.query_params
        rows = llm_calls(
            since=timezone.now() - timedelta(days=_days(request)),
            failed={"success": False, "failed": True}.get(query.get("status", "")),
            model=query.get("endpoint", ""),
        )
        return rows.none() if query.get("user_id") or query.get("page_tab") else rows


class StatsView(UsageView):
    def get(self, request: Request) -> Response:
        days = _days(request)
        totals = llm_call_totals(timezone.now() - timedelta(days=days))
        data = {
            "period_days": days,
            "total_calls": totals.calls,
            "successful_calls": totals.calls - totals.failed,
            "failed_calls": totals.failed,
            "success_rate": round((totals.calls - totals.failed) * 100 / totals.calls, 2) if totals.calls else None,
            "total_cost": totals.cost,
            "total_tokens": totals.tokens,
            "average_processing_time_ms": totals.average_ms,
        }
        return Response({"success": True, "data": data})


class RecordsView(UsageView):
    def get(self, request: Request) -> Response:
        """Return a numbered page; the total counts up to 10,000."""
        limit = page_limit(request)
        page, calls = page_number(request, limit), self.calls(request)
        total = calls.values("pk")[:NUMBERED_ROWS_MAX].count()
        rows = calls[(page - 1) * limit : page * limit]
        data = {"records": [_record(row) for row in rows], "total": total, "total_pages": max(1, -(-total // limit))}
        return Response({"success": True, "data": data})


class BalanceView(UsageView):
    def get(self, request: Request) -> Response:
        """Return the budget of the month and what is left of it; null without a budget, which hides the panel."""
        budget, spent = MONTHLY_BUDGET.get(), llm_spent_this_month()
        data = {"current_balance": budget, "total_spent": spent, "remaining_balance": budget - spent}
        return Response({"success": True, "data": data if budget else None})

    def post(self, request: Request) -> Response:
        """Refuse: the balance is the provider's."""
        raise NotOfferedError(_NO_BALANCE)


class DailyLimitInput(serializers.Serializer[Any]):
    limit = MoneyField(error_messages={"min_value": "Must be above 0. The setting llm_monthly_budget lifts the limit."})


class DailyLimitView(UsageView):
    write_permissions = ("transactions.change_setting",)

    def get(self, request: Request) -> Response:
        """Return a day's share of the budget; null without a budget. Calls end with that of the month."""
        budget, spent = MONTHLY_BUDGET.get(), llm_spent_this_month()
        if not budget:
            return Response({"success": True, "data": None})
        today = llm_call_totals(timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)).cost
        daily = (budget / _MONTH_DAYS).quantize(Decimal("0.01"))
        used = round(today * 100 / daily, 1) if daily else None
        data = {"daily_limit": daily, "today_cost": today, "percentage_used": used, "limit_exceeded": spent >= budget}
        return Response({"success": True, "data": data})

    @idempotent
    def post(self, request: Request) -> Response:
        """Store thirty times the limit as the monthly budget."""
        budget = validated(DailyLimitInput(data=request.data))["limit"] * _MONTH_DAYS
        save_settings(values={MONTHLY_BUDGET.key: str(budget)}, actor=current_user(request))
        return Response({"success": True, "message": f"The budget is {money(budget)} a month."})


class ExportView(UsageView, FileView):
    media_type = "text/csv"

    def get(self, request: Request) -> HttpResponseBase:
        """Download the latest 10,000 calls of the period as CSV."""
        return csv_download(request._request, _lines(self.calls(request)), filename="llm-calls.csv")


def _days(request: Request) -> int:
    text = request.query_params.get("days") or ""
    return min(max(int(text), 1), 365) if text.isascii() and text.isdigit() and len(text) < 5 else _MONTH_DAYS


def _record(row: LlmCall) -> dict[str, Any]:
    return {
        "id": row.pk,
        "date": row.started_at,
        "endpoint": row.model or row.provider,
        "model": row.model,
        "message": f"{row.merchants} merchants",
        "prompt_tokens": row.prompt_tokens,
        "completion_tokens": row.completion_tokens,
        "total_tokens": row.prompt_tokens + row.completion_tokens,
        "processing_time_ms": row.duration_ms,
        "cost": row.cost,
        "stored": True,
        "page_tab": "LLM queue",
        "user_id": "none",
        "success": not row.error,
        "error_message": row.error,
    }


def _lines(calls: "QuerySet[LlmCall, LlmCall]") -> Iterator[str]:
    columns = (*_COLUMNS, "duration_ms", "retries", "error")
    yield csv_line(columns)
    for row in calls.values_list(*columns)[:NUMBERED_ROWS_MAX]:
        yield csv_line([row[0].isoformat(), *row[1:]])
