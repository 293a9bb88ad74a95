"""URLs that only the legacy front end calls, all outside the documented API."""

from typing import Any, Final

from kamioi_site.api.legacy.views import legacy_path
from llm_center.api.legacy import insights, staff

_VIEWS: Final[dict[str, Any]] = {
    # The individual's page shows only `denied` as rejected.
    "user/ai/insights": insights.insights_view(rejected="denied"),
    "family/ai/insights": insights.insights_view(rejected="rejected"),
    "business/ai/insights": insights.insights_view(rejected="rejected"),
    "family/ai-insights": insights.family_insights,
    "family/mapping-history": insights.family_history,
    "admin/trading-limits": staff.limits_at_once,
    "ml/recognize": staff.recognize,
    "ml/learn": staff.LearnView.as_view(),
    "ml/export": staff.export_decisions,
    "admin/api-usage/stats": staff.call_totals,
    "admin/api-usage/records": staff.call_records,
    "admin/api-usage/balance": staff.balance,
    "admin/api-usage/daily-limit": staff.DailyLimitView.as_view(),
    "admin/api-usage/export": staff.ExportCallsView.as_view(),
}
urlpatterns = [legacy_path(route, view) for route, view in _VIEWS.items()]
