"""Portfolio, quotes, notifications, goals and the overview of a business, with the keys of the legacy front end."""

from collections.abc import Mapping
from typing import Any, Final

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import RegexField

from kamioi_site.api.legacy import views as legacy
from transactions.api import serializers
from transactions.api.base import TransactionsView, current_user
from transactions.api.serializers import optional_text
from transactions.api.views import goals, notifications, portfolio
from transactions.models import Goal
from transactions.selectors.customer import GoalRow, NotificationRow, overview
from transactions.selectors.portfolio import HoldingRow, Portfolio, latest_quotes, percent

_DETAILS: Final = {"description": "", "department": "", "deadline": "", "status": ""}


class PortfolioView(portfolio.PortfolioView):
    def payload(self, found: Portfolio) -> dict[str, object]:
        """Add `portfolio`; what is not measured (the gain of today and of this year) is null."""
        holdings = [_position(row, found) for row in found["holdings"]]
        unmeasured = dict.fromkeys(("today_gain", "today_gain_percentage", "ytd_return", "ytd_return_percentage"))
        shown = {"positions": holdings, "holdings": holdings} | legacy.renamed("portfolio", found) | unmeasured
        return super().payload(found) | {"portfolio": shown}


def _position(row: HoldingRow, found: Portfolio) -> dict[str, Any]:
    value = row["total_value"]
    return legacy.renamed("position", row) | {
        # Zero without a quote, because the family's page fails on null.
        "value": value or 0,
        "change": row["gain_loss_percent"] or 0,
        "allocation": None if value is None else percent(value, found["total_value"]),
    }


@legacy.replying(authentication_classes=(), permission_classes=[AllowAny], rate_scope="quotes")
def quotes(request: Request) -> dict[str, Any]:
    """Return symbol → latest quote, which a page asks for without a token; symbols without a quote are missing."""
    symbols = dict.fromkeys(request.query_params.get("symbols", "").upper().replace(" ", "").split(","))
    return {"prices": latest_quotes([*symbols][:100])}  # as many as the page can list


class OverviewView(legacy.LegacyView, TransactionsView):
    """The figures of a business, over its own purchases."""

    def cache_page(self, request: Request) -> str:
        return "legacy.overview"

    def get(self, request: Request) -> HttpResponse:
        user = current_user(request)
        return self.cached(lambda: {"success": True, "data": {"quick_stats": overview(user)}})


class NotificationListView(legacy.BannerErrors, legacy.MoreMethods, notifications.NotificationListView):
    undocumented = ("POST",)

    def payload(self, rows: list[NotificationRow]) -> dict[str, object]:
        return super().payload(rows) | {"notifications": rows}

    @extend_schema(exclude=True)
    def post(self, request: Request) -> Response:
        """Refuse: the page would store a message to its own reader."""
        raise legacy.NotOfferedError("Notifications are written by Kamioi; none can be sent here.")


# --- Goals -----------------------------------------------------------------------------------------------------------
class GoalInput(serializers.GoalInput):
    """A goal under the names of the form, with its details."""

    description = optional_text(length=1000)
    department = optional_text(length=100)
    deadline = RegexField(r"^([0-9]{4}-[0-9]{2}-[0-9]{2})?$", required=False, allow_blank=True)
    status = optional_text(length=30)

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if isinstance(data, Mapping):
            data = legacy.with_our_names("goal", data)  # a row that is sent back still has ours with the old values
        values: dict[str, Any] = super().to_internal_value(data)
        details = {name: values.pop(name) for name in _DETAILS if name in values}
        return values | {"details": details} if details else values


class _Goals(legacy.BannerErrors):
    input_class: type[serializers.GoalInput] = GoalInput

    def row(self, goal: Goal) -> GoalRow:
        row: Any = super().row(goal)  # type: ignore[misc]  # of the documented view
        return row | legacy.renamed("goal", row) | _DETAILS | goal.details


class GoalListView(_Goals, goals.GoalListView):
    def payload(self, rows: list[GoalRow]) -> dict[str, object]:
        return super().payload(rows) | {"goals": rows}


class GoalView(_Goals, goals.GoalView):
    """One goal, under both sets of names."""
