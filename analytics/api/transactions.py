"""Everybody's transactions for staff, with the sums over all of them."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from analytics.selectors import review_stats
from analytics.selectors.periods import utc_today
from analytics.selectors.transactions import transaction_totals, transactions_by_account_type
from kamioi_site.api.views import PAGE_SIZE_MAX, page_limit
from transactions.api import staff_serializers as shapes
from transactions.api.staff import StaffView, errors
from transactions.api.staff_views import LIMIT, PAGE, page_number, pagination
from transactions.models import Transaction, User
from transactions.selectors import staff as selectors

# What the front end says → days back from today, both included; None is everything.
_PERIODS = {
    "": None,
    "all": None,
    "today": 0,
    "yesterday": 1,
    "week": 6,
    "7": 6,
    "7d": 6,
    "7days": 6,
    "last7days": 6,
    "month": 29,
    "30": 29,
    "30d": 29,
    "30days": 29,
    "last30days": 29,
    "90": 89,
    "90d": 89,
    "90days": 89,
    "quarter": 89,
    "year": 364,
    "365d": 364,
}
_DASHBOARDS = {"": "", "all": "", "user": "individual", **{kind: kind for kind in User.AccountType.values}}


class TransactionsView(StaffView):
    """Everybody's transactions."""

    needs = ("transactions.view_transaction",)

    @extend_schema(
        parameters=[
            PAGE,
            LIMIT,
            OpenApiParameter("per_page", OpenApiTypes.INT, description="The same as `limit`."),
            OpenApiParameter("search", OpenApiTypes.STR, description="A part of a merchant's name, or a whole e-mail."),
            OpenApiParameter("status", OpenApiTypes.STR, enum=["all", *Transaction.Status.values]),
            OpenApiParameter("dashboard", OpenApiTypes.STR, enum=[kind for kind in _DASHBOARDS if kind]),
            OpenApiParameter(
                "dateFilter",
                OpenApiTypes.STR,
                description="today, yesterday, week, month, quarter, year, all, or a day.",
            ),
        ],
        responses={200: shapes.StaffTransactionsOutput} | errors(400),
        tags=["transactions"],
    )
    def get(self, request: Request) -> Response:
        """The newest to arrive first, by number to row 10,000; `search` looks through the newest 10,000 that fit the rest.

        `stats` are over all transactions, whatever the filter.
        """
        limit = _limit(request)
        page = page_number(request, limit)
        found = selectors.transactions_page(_chosen(request), page=page, limit=limit)
        return Response(
            {
                "success": True,
                "transactions": [_row(row) for row in found.rows],
                "total": found.total,
                "pagination": pagination(found, page=page, limit=limit),
                "stats": review_stats.STAFF_STATS_CACHE.get(_stats, name="transactions"),
            }
        )


def _limit(request: Request) -> int:
    text = request.query_params.get("per_page")
    if text is None:
        return page_limit(request)
    limit = int(text) if text.isascii() and text.isdigit() and len(text) < 5 else 0
    if not 1 <= limit <= PAGE_SIZE_MAX:
        raise ValidationError({"per_page": [f"A whole number from 1 to {PAGE_SIZE_MAX} is needed."]})
    return limit


def _chosen(request: Request) -> selectors.StaffTransactionFilter:
    asked = request.query_params
    status, dashboard = asked.get("status") or "all", asked.get("dashboard") or ""
    if status != "all" and status not in Transaction.Status.values:
        raise ValidationError({"status": [f"One of all, {', '.join(Transaction.Status.values)} is needed."]})
    if dashboard not in _DASHBOARDS:
        raise ValidationError({"dashboard": [f"One of {', '.join(kind for kind in _DASHBOARDS if kind)} is needed."]})
    since, until = _period(asked.get("dateFilter") or "")
    return selectors.StaffTransactionFilter(
        statuses=() if status == "all" else (status,),
        account_type=_DASHBOARDS[dashboard],
        search=(asked.get("search") or "").strip(),
        since=since,
        until=until,
    )


def _period(said: str) -> tuple[datetime | None, datetime | None]:
    """The first moment, and the first one after it. Raises ValidationError."""
    name = said.strip().lower().replace("_", "").replace("-", "").replace(" ", "")
    if name in _PERIODS:
        days = _PERIODS[name]
        if days is None:
            return None, None
        midnight = datetime.combine(utc_today(), time(), UTC)
        return midnight - timedelta(days=days), midnight if name == "yesterday" else None
    try:
        day = date.fromisoformat(said.strip())
        start = datetime.combine(day, time(), UTC)
        return start, start + timedelta(days=1)
    except (ValueError, OverflowError) as error:
        raise ValidationError({"dateFilter": ["One of today, yesterday, week, month, year, all, or a day."]}) from error


def _row(row: dict[str, Any]) -> dict[str, Any]:
    same = (
        "id",
        "merchant",
        "date",
        "category",
        "description",
        "round_up",
        "investable",
        "total_debit",
        "fee",
        "status",
        "ticker",
        "shares",
        "price_per_share",
        "failure_reason",
        "user_id",
        "account_type",
    )
    role = "admin" if row["is_staff"] else row["account_type"]
    return {name: row[name] for name in same} | {
        "amount": abs(row["amount"]),
        "roundup": row["round_up"],
        "roundUp": row["round_up"],
        "stock_price": row["price_per_share"],
        "stockPrice": row["price_per_share"],
        "type": "refund" if row["amount"] < 0 else "purchase",
        "userId": row["user_id"],
        "user_name": row["name"],
        "user_email": row["email"],
        "user_role": role,
        "dashboard": row["account_type"],
    }


def _stats() -> dict[str, Any]:
    totals = transaction_totals()
    kinds = review_stats.ACCOUNT_TYPES_CACHE.get(transactions_by_account_type)

    def of(kind: str) -> int | None:
        return None if kinds is None else kinds.get(kind, 0)

    return {
        "totalTransactions": totals.total,
        "totalRoundUps": totals.round_ups,
        "availableToInvest": totals.waiting,
        "totalInvested": totals.invested,
        "userTransactions": of(User.AccountType.INDIVIDUAL),
        "familyTransactions": of(User.AccountType.FAMILY),
        "businessTransactions": of(User.AccountType.BUSINESS),
    }
