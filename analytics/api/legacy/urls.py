"""URLs that only the legacy front end calls, all outside the documented API."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from rest_framework.request import Request

from analytics.api.legacy import staff, statements
from analytics.api.views.account_statements import StatementDownloadView
from analytics.selectors import automation_api
from analytics.selectors.review_stats import STAFF_STATS_CACHE
from kamioi_site.api.legacy.views import legacy_path
from transactions.api.legacy.base import staff_reply

_BOOKS: Final = "analytics.view_finance_dashboard"
_PURCHASES: Final = "transactions.view_transaction"


def _figures(
    read: Callable[[], Any],
    permission: str,
    arrange: Callable[[Any], Mapping[str, Any]] = lambda figures: {"data": figures},
) -> Any:
    """Return a view of what `read` returns, at most half a minute old."""

    @staff_reply(permission)
    def figures(_: Request) -> Mapping[str, Any]:
        return arrange(STAFF_STATS_CACHE.get(read, name=f"legacy-{read.__name__}"))

    return figures


_VIEWS: Final[dict[str, Any]] = {
    "admin/dashboard/overview": _figures(staff.overview, _PURCHASES),
    "admin/user-metrics": _figures(staff.user_metrics, "transactions.view_user", lambda figures: figures),
    "admin/investments/summary": _figures(staff.investments, _PURCHASES),
    "admin/financial-analytics": _figures(staff.accounts, _BOOKS, lambda rows: {"data": {"gl_accounts": rows}}),
    "admin/financial/accounts": staff.accounts_of_category,
    "admin/financial/accounts/categories": _figures(staff.accounts, _BOOKS, staff.categories),
    "admin/financial/transactions": staff.postings,
    "business/reports": statements.reports,
    "business/reports/generate": statements.generate,
    "business/reports/<int:statement_id>/download": StatementDownloadView.as_view(schema=None),
    "family/statements/generate": statements.generate,
    "ml/stats": _figures(automation_api.learning_dashboard, "llm_center.view_llmmapping"),
}
urlpatterns = [legacy_path(route, view) for route, view in _VIEWS.items()]
