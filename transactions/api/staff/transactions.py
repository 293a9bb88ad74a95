"""Waiting transactions for staff, and processing selected ones."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NotRequired, TypedDict
from uuid import UUID

from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.pagination import (
    CLAMPED_LIMIT,
    PAGE,
    Pagination,
    dollars,
    dollars_parameter,
    page_limit,
    page_number,
    pagination,
)
from kamioi_site.api.payloads import ErrorOutput, MessageOutput, SuccessOutput
from transactions.api.base import current_user, validated
from transactions.api.idempotency import idempotent
from transactions.api.staff.base import StaffView
from transactions.api.staff.serializers import OneTransactionInput, SelectedInput
from transactions.selectors import staff as selectors
from transactions.services.manual_processing import Limits, SelectionResult, limits, process_selection


class WaitingTransaction(TypedDict):
    """A transaction that is pending or needs review."""

    id: int
    merchant: str
    amount: Decimal
    category: str
    status: str
    created_at: datetime
    user_id: int
    user_email: str
    user_name: str
    description: str
    round_up: Decimal
    ticker: str | None


class TradingLimits(TypedDict):
    """What may be processed at once."""

    max_orders: int
    max_amount: Decimal


class WaitingLimits(TradingLimits):
    """What may be processed at once, and the same as text for a day, a week and a month, which have no other limit."""

    daily: dict[str, str]
    weekly: dict[str, str]
    monthly: dict[str, str]


class WaitingOutput(SuccessOutput):
    transactions: list[WaitingTransaction]
    pagination: Pagination
    trading_limits: WaitingLimits


class SelectedTransaction(TypedDict):
    """The result of one transaction: `mapped`, `no_match`, `closed` or `not_found`."""

    transaction_id: int
    merchant: str
    ticker: str | None
    status: str
    reason: str


class SelectedOutput(MessageOutput):
    """What will be processed; `task_id` is null if nothing is."""

    processed: int
    mapped: int
    no_match: int
    results: list[SelectedTransaction]
    amount_processed: Decimal
    warnings: list[str]
    task_id: UUID | None


class SelectedRefusedOutput(TypedDict):
    """A limit is exceeded, or (`errors`) the request is invalid. Nothing was processed."""

    success: bool
    error: str
    limit_exceeded: NotRequired[bool]
    warnings: NotRequired[list[str]]
    limits: NotRequired[TradingLimits]
    requested_amount: NotRequired[Decimal]
    requested_orders: NotRequired[int]
    errors: NotRequired[dict[str, Any]]


class WaitingView(StaffView):
    required_permissions = ("transactions.view_transaction",)

    @extend_schema(
        parameters=[
            PAGE,
            CLAMPED_LIMIT,
            OpenApiParameter("merchant", OpenApiTypes.STR, description="A name, or part of one."),
            OpenApiParameter("category", OpenApiTypes.STR),
            dollars_parameter("min_amount"),
            dollars_parameter("max_amount"),
        ],
        responses={200: WaitingOutput},
        tags=["llm center"],
    )
    def get(self, request: Request) -> Response:
        """Return a page of pending transactions and those that need review, from the first 10,000 of each."""
        limit = page_limit(request, clamp=True)
        page = page_number(request, limit)
        filters = selectors.StaffTransactionFilter(
            search=(request.query_params.get("merchant") or "").strip(),
            category=(request.query_params.get("category") or "").strip(),
            min_amount=dollars(request, "min_amount"),
            max_amount=dollars(request, "max_amount"),
        )
        result, allowed = selectors.transactions_waiting_page(filters, page=page, limit=limit), limits()
        body = WaitingOutput(
            success=True,
            transactions=[_waiting_row(row) for row in result.rows],
            pagination=pagination(page=page, limit=limit, total=result.total, capped=result.capped),
            trading_limits=waiting_limits(allowed),
        )
        return Response(body)


class ProcessSelectedView(StaffView):
    required_permissions = ("transactions.change_backgroundtask",)

    @extend_schema(
        request=SelectedInput,
        responses={202: SelectedOutput, 200: SelectedOutput, 400: SelectedRefusedOutput},
        tags=["llm center"],
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Process the transactions of known merchants in the background (202); 200 if there are none.

        400 if a limit is exceeded: nothing is processed.
        """
        data = validated(SelectedInput(data=request.data))
        return _response(
            process_selection(transaction_ids=data["transaction_ids"], force=data["force"], actor=current_user(request))
        )


class ProcessTransactionView(StaffView):
    required_permissions = ("transactions.change_backgroundtask",)

    @extend_schema(
        request=OneTransactionInput,
        responses={202: SelectedOutput, 200: SelectedOutput, 400: SelectedRefusedOutput, 404: ErrorOutput},
        tags=["llm center"],
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Process it like a selection; 404 if it is unknown."""
        transaction_id = validated(OneTransactionInput(data=request.data))["transaction_id"]
        result = process_selection(transaction_ids=[transaction_id], force=False, actor=current_user(request))
        if result.count("not_found"):
            raise Http404
        return _response(result)


def _waiting_row(row: Mapping[str, Any]) -> WaitingTransaction:
    return WaitingTransaction(
        id=row["id"],
        merchant=row["merchant"],
        amount=row["amount"],
        category=row["category"],
        status=row["status"],
        created_at=row["created_at"],
        user_id=row["user_id"],
        user_email=row["email"],
        user_name=row["name"],
        description=row["description"],
        round_up=row["round_up"],
        ticker=row["ticker"],
    )


def _limits(limits: Limits) -> TradingLimits:
    return {"max_orders": limits.max_orders, "max_amount": limits.max_amount}


def waiting_limits(limits: Limits) -> WaitingLimits:
    """Return the limits; the panel shows `($… left)`, so what remains is text with its meaning."""
    shown = {"amount_remaining": f"{limits.max_amount:,.0f} at once, any number of times"}
    return {**_limits(limits), "daily": shown, "weekly": shown, "monthly": shown}


def _response(result: SelectionResult) -> Response:
    mapped = result.count("mapped")
    if result.exceeded:
        refused = SelectedRefusedOutput(
            success=False,
            error=" ".join(result.warnings),
            limit_exceeded=True,
            warnings=result.warnings,
            limits=_limits(result.limits),
            requested_amount=result.amount,
            requested_orders=mapped,
        )
        return Response(refused, status=status.HTTP_400_BAD_REQUEST)
    body = SelectedOutput(
        success=True,
        message=f"{mapped} of {len(result.statuses)} transactions are being processed.",
        processed=len(result.statuses),
        mapped=mapped,
        no_match=result.count("no_match"),
        results=[
            SelectedTransaction(
                transaction_id=status.transaction_id,
                merchant=status.merchant,
                ticker=status.ticker,
                status=status.outcome,
                reason=status.reason,
            )
            for status in result.statuses
        ],
        amount_processed=result.amount,
        warnings=result.warnings,
        task_id=result.task.pk if result.task else None,
    )
    return Response(body, status=status.HTTP_202_ACCEPTED if result.task else status.HTTP_200_OK)
