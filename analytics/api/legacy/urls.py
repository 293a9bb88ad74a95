"""URLs that only the legacy front end calls, all outside the documented API."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from rest_framework.request import Request
from rest_framework.response import Response

from analytics.api.legacy import finance, overview, statements, views
from analytics.selectors import automation_api
from analytics.selectors.review_stats import STAFF_STATS_CACHE
from kamioi_site.api.legacy.views import legacy_path
from transactions.api.legacy.base import LegacyStaffView

_BOOKS: Final = "analytics.view_finance_dashboard"
_PURCHASES: Final = "transactions.view_transaction"


def _figures(
    route: str,
    read: Callable[[], Any],
    permission: str,
    arrange: Callable[[Any], Mapping[str, Any]] = lambda figures: {"data": figures},
) -> Any:
    """Return the URL of what `read` returns, at most half a minute old."""

    class FiguresView(LegacyStaffView):
        required_permissions = (permission,)

        def get(self, request: Request) -> Response:
            figures = STAFF_STATS_CACHE.get(read, name=f"legacy-{read.__name__}")
            return Response({"success": True, **arrange(figures)})

    return legacy_path(route, FiguresView.as_view())


urlpatterns = [
    _figures("admin/dashboard/overview", overview.overview, _PURCHASES),
    _figures("admin/user-metrics", overview.user_metrics, "transactions.view_user", lambda figures: figures),
    _figures("admin/investments/summary", overview.investments, _PURCHASES),
    _figures("admin/financial-analytics", finance.accounts, _BOOKS, lambda rows: {"data": {"gl_accounts": rows}}),
    _figures("admin/financial/accounts/categories", finance.accounts, _BOOKS, finance.categories),
    legacy_path("admin/financial/accounts", finance.AccountsView.as_view()),
    legacy_path("admin/financial/transactions", finance.TransactionsView.as_view()),
    legacy_path("business/reports", statements.ReportsView.as_view()),
    legacy_path("business/reports/generate", statements.GenerateView.as_view()),
    legacy_path("business/reports/<int:statement_id>/download", statements.ReportDownloadView.as_view()),
    legacy_path("family/statements/generate", statements.GenerateView.as_view()),
    legacy_path("admin/auto-process", views.AutoProcessView.as_view()),
    _figures("ml/stats", automation_api.learning_dashboard, "llm_center.view_llmmapping"),
]
