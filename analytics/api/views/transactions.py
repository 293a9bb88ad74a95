"""All users' transactions for staff, with totals."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, TypedDict

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from analytics.selectors.periods import utc_today
from analytics.selectors.review_stats import ACCOUNT_TYPES_CACHE, STAFF_STATS_CACHE
from analytics.selectors.transactions import transaction_totals, transactions_by_account_type
from kamioi_site.api.pagination import CLAMPED_LIMIT, PAGE, PER_PAGE, Pagination, page_limit, page_number, pagination
from kamioi_site.api.payloads import SuccessOutput
from transactions.api.legacy.statuses import ListedStatus, ListedTransaction, listed, statuses_of
from transactions.api.staff.base import StaffView
from transactions.models import Transaction, User
from transactions.selectors import staff as selectors
from transactions.selectors.transaction_pages import TRANSACTION_FIELDS, to_transaction_row

# Name → days before today, both included; None is all time.
_PERIODS: Final = {
    **dict.fromkeys(("", "all"), None),
    "today": 0,
    "yesterday": 1,
    **dict.fromkeys(("week", "7", "7d", "7days", "last7days"), 6),
    **dict.fromkeys(("month", "30", "30d", "30days", "last30days"), 29),
    **dict.fromkeys(("quarter", "90", "90d", "90days"), 89),
    **dict.fromkeys(("year", "365d"), 364),
}
_STATUSES: Final = ["all", *dict.fromkeys([*ListedStatus.values, *Transaction.Status.values])]
_DASHBOARDS: Final = {"": "", "all": "", "user": "individual", **{kind: kind for kind in User.AccountType.values}}


class StaffTransaction(ListedTransaction):
    """A transaction with its user; some fields in two spellings."""

    user_id: int
    userId: int  # noqa: N815  # the front ends read either spelling
    user_name: str
    user_email: str
    user_role: str
    account_type: str
    dashboard: str
    roundUp: Decimal  # noqa: N815
    stockPrice: Decimal | None  # noqa: N815


class StaffTransactionStats(TypedDict):
    """Totals of all transactions; counts by account type are null where there are too many users to count."""

    totalTransactions: int
    totalRoundUps: Decimal
    availableToInvest: Decimal
    totalInvested: Decimal
    userTransactions: int | None
    familyTransactions: int | None
    businessTransactions: int | None


class StaffTransactionsOutput(SuccessOutput):
    """A page of all users' transactions, with totals."""

    transactions: list[StaffTransaction]
    total: int
    pagination: Pagination
    stats: StaffTransactionStats


class TransactionsView(StaffView):
    required_permissions = ("transactions.view_transaction",)

    @extend_schema(
        parameters=[
            PAGE,
            CLAMPED_LIMIT,
            PER_PAGE,
            OpenApiParameter("search", OpenApiTypes.STR, description="Part of a merchant's name, or a full e-mail."),
            OpenApiParameter("status", OpenApiTypes.STR, enum=_STATUSES),
            OpenApiParameter("dashboard", OpenApiTypes.STR, enum=[kind for kind in _DASHBOARDS if kind]),
            OpenApiParameter(
                "dateFilter",
                {
                    "anyOf": [
                        {"type": "string", "enum": [*filter(None, _PERIODS)]},
                        {"type": "string", "format": "date"},
                    ]
                },
                description="A period, or a day.",
            ),
        ],
        responses={200: StaffTransactionsOutput},
        tags=["transactions"],
    )
    def get(self, request: Request) -> Response:
        """Return a numbered page, latest arrival first, up to row 10,000.

        `search` covers the latest 10,000 matching rows; `stats` are over all transactions, whatever the filter.
        """
        limit = page_limit(request, clamp=True)
        if request.query_params.get("per_page"):
            limit = page_limit(request, parameter="per_page", clamp=True)
        page = page_number(request, limit)
        result = selectors.transactions_page(_filters(request), page=page, limit=limit)
        body = StaffTransactionsOutput(
            success=True,
            transactions=[_row(row) for row in result.rows],
            total=result.total,
            pagination=pagination(page=page, limit=limit, total=result.total, capped=result.capped),
            stats=STAFF_STATS_CACHE.get(_stats, name="transactions"),
        )
        return Response(body)


def _filters(request: Request) -> selectors.StaffTransactionFilter:
    query = request.query_params
    status, dashboard = query.get("status") or "all", query.get("dashboard") or ""
    if status not in _STATUSES:
        raise ValidationError({"status": [f"Must be one of {', '.join(_STATUSES)}."]})
    if dashboard not in _DASHBOARDS:
        raise ValidationError({"dashboard": [f"Must be one of {', '.join(kind for kind in _DASHBOARDS if kind)}."]})
    since, until = _period(query.get("dateFilter") or "")
    return selectors.StaffTransactionFilter(
        statuses=() if status == "all" else statuses_of(status),
        account_type=_DASHBOARDS[dashboard],
        search=(query.get("search") or "").strip(),
        since=since,
        until=until,
    )


def _period(text: str) -> tuple[datetime | None, datetime | None]:
    """Return start and exclusive end. Raises ValidationError."""
    name = text.strip().lower().replace("_", "").replace("-", "").replace(" ", "")
    if name in _PERIODS:
        days = _PERIODS[name]
        if days is None:
            return None, None
        midnight = datetime.combine(utc_today(), time(), UTC)
        return midnight - timedelta(days=days), midnight if name == "yesterday" else None
    try:
        start = datetime.combine(date.fromisoformat(text.strip()), time(), UTC)
        return start, start + timedelta(days=1) if start.date() < date.max else None
    except ValueError as error:
        message = "Must be one of today, yesterday, week, month, quarter, year, all, or a day."
        raise ValidationError({"dateFilter": [message]}) from error


def _row(row: Mapping[str, Any]) -> StaffTransaction:
    common = listed(to_transaction_row([row[name] for name in TRANSACTION_FIELDS]))
    return {
        **common,
        "roundUp": row["round_up"],
        "stockPrice": row["price_per_share"],
        "user_id": row["user_id"],
        "userId": row["user_id"],
        "user_name": row["name"],
        "user_email": row["email"],
        "user_role": "admin" if row["is_staff"] else row["account_type"],
        "account_type": row["account_type"],
        "dashboard": row["account_type"],
    }


def _stats() -> StaffTransactionStats:
    totals = transaction_totals()
    counts = ACCOUNT_TYPES_CACHE.get(transactions_by_account_type)

    def count(account_type: str) -> int | None:
        return None if counts is None else counts.get(account_type, 0)

    return {
        "totalTransactions": totals.total,
        "totalRoundUps": totals.round_ups,
        "availableToInvest": totals.waiting,
        "totalInvested": totals.invested,
        "userTransactions": count(User.AccountType.INDIVIDUAL),
        "familyTransactions": count(User.AccountType.FAMILY),
        "businessTransactions": count(User.AccountType.BUSINESS),
    }
