"""What the customer owns, and the totals of round-ups and fees."""

from decimal import Decimal
from functools import partial
from typing import TypedDict

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.etags import ETagView
from kamioi_site.api.payloads import Data
from transactions.api.base import TransactionsView, current_user
from transactions.migration_phase import get_read_source
from transactions.models import User
from transactions.selectors.customer import completed_total
from transactions.selectors.portfolio import Portfolio, portfolio


class RoundUpTotal(TypedDict):
    """Round-ups of completed purchases: all, and of the last thirty days."""

    total_roundups: Decimal
    monthly_roundups: Decimal
    count: int
    monthly_count: int


class FeeTotal(TypedDict):
    """Fees of completed purchases: all, and of the last thirty days."""

    total_fees: Decimal
    monthly_fees: Decimal
    count: int
    monthly_count: int


class PortfolioView(ETagView):
    @extend_schema(responses={200: Data[Portfolio]}, tags=["portfolio"])
    def get(self, request: Request) -> Response:
        """Return the holdings at their latest quotes."""
        user = current_user(request)
        return Response(self.payload(portfolio(user, get_read_source(user))))

    def payload(self, found: Portfolio) -> dict[str, object]:
        """Return the body."""
        return {"success": True, "data": found}


class RoundUpTotalView(TransactionsView):
    def cache_page(self, request: Request) -> str:
        """Return the name of the only page."""
        return "total.round_up"

    @extend_schema(responses={200: Data[RoundUpTotal]}, tags=["portfolio"])
    def get(self, request: Request) -> HttpResponse:
        """Return the total, and that of the last thirty days."""
        return self.cached(partial(_total, current_user(request), column="round_up", name="roundups"))


class FeeTotalView(TransactionsView):
    def cache_page(self, request: Request) -> str:
        """Return the name of the only page."""
        return "total.fee"

    @extend_schema(responses={200: Data[FeeTotal]}, tags=["portfolio"])
    def get(self, request: Request) -> HttpResponse:
        """Return the total, and that of the last thirty days."""
        return self.cached(partial(_total, current_user(request), column="fee", name="fees"))


def _total(user: User, *, column: str, name: str) -> dict[str, object]:
    total = completed_total(user, column)
    return {
        "success": True,
        "data": {
            f"total_{name}": total["total"],
            f"monthly_{name}": total["monthly"],
            "count": total["count"],
            "monthly_count": total["monthly_count"],
        },
    }
