"""Portfolio, quotes, notifications and the overview of a business, with the keys of the legacy front end."""

from typing import Any, Final

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.legacy.views import LegacyView
from transactions.api.base import TransactionsView, current_user
from transactions.api.legacy.base import BannerErrors, MoreMethods, NotOfferedError
from transactions.api.views import notifications, portfolio
from transactions.selectors.customer import NotificationRow, overview
from transactions.selectors.portfolio import HoldingRow, Portfolio, latest_quotes, percent

_MAX_SYMBOLS: Final = 100  # as many as the page can list


class PortfolioView(portfolio.PortfolioView):
    def payload(self, found: Portfolio) -> dict[str, object]:
        """Add `portfolio`; what is not measured (the gain of today and of this year) is null."""
        holdings = [_position(row, found) for row in found["holdings"]]
        shown: dict[str, Any] = {
            "positions": holdings,
            "holdings": holdings,
            **dict.fromkeys(("totalValue", "total_value"), found["total_value"]),
            **dict.fromkeys(("cash", "cash_available"), found["cash_balance"]),
            **dict.fromkeys(("gain_percentage", "roi"), found["total_gain_loss_percent"]),
            **dict.fromkeys(("today_gain", "today_gain_percentage", "ytd_return", "ytd_return_percentage")),
        }
        return super().payload(found) | {"portfolio": shown}


def _position(row: HoldingRow, found: Portfolio) -> dict[str, Any]:
    value = row["total_value"]
    return {
        **{name: row[name] for name in ("symbol", "name", "shares")},
        **dict.fromkeys(("avgCost", "average_price"), row["purchase_price"]),
        "currentPrice": row["current_price"],
        # Zero without a quote, because the family's page fails on null.
        "value": value or 0,
        "change": row["gain_loss_percent"] or 0,
        "allocation": None if value is None else percent(value, found["total_value"]),
    }


class QuotesView(LegacyView):
    """The latest quotes of a page's symbols, which it asks for without a token."""

    authentication_classes = ()
    permission_classes = [AllowAny]
    rate_scope = "quotes"

    def get(self, request: Request) -> Response:
        """Return symbol → price; symbols without a quote are missing."""
        symbols = dict.fromkeys(request.query_params.get("symbols", "").upper().replace(" ", "").split(","))
        return Response({"success": True, "prices": latest_quotes([*symbols][:_MAX_SYMBOLS])})


class OverviewView(LegacyView, TransactionsView):
    """The figures of a business, over its own purchases."""

    def cache_page(self, request: Request) -> str:
        return "legacy.overview"

    def get(self, request: Request) -> HttpResponse:
        user = current_user(request)
        return self.cached(lambda: {"success": True, "data": {"quick_stats": overview(user)}})


class NotificationListView(BannerErrors, MoreMethods, notifications.NotificationListView):
    undocumented = ("POST",)

    def payload(self, rows: list[NotificationRow]) -> dict[str, object]:
        return super().payload(rows) | {"notifications": rows}

    @extend_schema(exclude=True)
    def post(self, request: Request) -> Response:
        """Refuse: the page would store a message to its own reader."""
        raise NotOfferedError("Notifications are written by Kamioi; none can be sent here.")
