"""URLs that only the legacy front end calls, all outside the documented API."""

from kamioi_site.api.legacy.views import legacy_path
from llm_center.api.legacy import insights, learning, usage

_USAGE = "admin/api-usage"
_INDIVIDUAL, _OTHERS = insights.InsightsView.as_view(rejected="denied"), insights.InsightsView.as_view()

urlpatterns = [
    legacy_path("user/ai/insights", _INDIVIDUAL),
    legacy_path("family/ai/insights", _OTHERS),
    legacy_path("business/ai/insights", _OTHERS),
    legacy_path("family/ai-insights", insights.FamilyInsightsView.as_view()),
    legacy_path("family/mapping-history", insights.FamilyHistoryView.as_view()),
    legacy_path("ai/recommendations", insights.RecommendationsView.as_view()),
    legacy_path("admin/trading-limits", learning.TradingLimitsView.as_view()),
    legacy_path("ml/recognize", learning.RecognizeView.as_view()),
    legacy_path("ml/learn", learning.LearnView.as_view()),
    legacy_path("ml/export", learning.ExportView.as_view()),
    legacy_path(f"{_USAGE}/stats", usage.StatsView.as_view()),
    legacy_path(f"{_USAGE}/records", usage.RecordsView.as_view()),
    legacy_path(f"{_USAGE}/balance", usage.BalanceView.as_view()),
    legacy_path(f"{_USAGE}/daily-limit", usage.DailyLimitView.as_view()),
    legacy_path(f"{_USAGE}/export", usage.ExportView.as_view()),
]
