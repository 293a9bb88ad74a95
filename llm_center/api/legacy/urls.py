"""URLs that only the legacy front end calls, all outside the documented API."""

from typing import Any, Final

from kamioi_site.api.legacy.views import legacy_path
from llm_center.api.legacy import insights, learning, usage

_VIEWS: Final[dict[str, Any]] = {
    "user/ai/insights": insights.InsightsView.as_view(rejected="denied"),
    "family/ai/insights": insights.InsightsView.as_view(),
    "business/ai/insights": insights.InsightsView.as_view(),
    "family/ai-insights": insights.FamilyInsightsView.as_view(),
    "family/mapping-history": insights.FamilyHistoryView.as_view(),
    "admin/trading-limits": learning.limits_at_once,
    "ml/recognize": learning.recognize,
    "ml/learn": learning.LearnView.as_view(),
    "ml/export": learning.export,
    "admin/api-usage/stats": usage.stats,
    "admin/api-usage/records": usage.records,
    "admin/api-usage/balance": usage.BalanceView.as_view(),
    "admin/api-usage/daily-limit": usage.DailyLimitView.as_view(),
    "admin/api-usage/export": usage.ExportView.as_view(),
}
urlpatterns = [legacy_path(route, view) for route, view in _VIEWS.items()]
