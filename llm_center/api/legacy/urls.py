"""URLs that only the legacy front end calls, all outside the documented API."""

from django.urls import path

from llm_center.api.legacy import insights, learning, usage
from llm_center.api.legacy.learning import FEEDBACK, TRAINING, RefusedView

_USAGE = "admin/api-usage"
_INDIVIDUAL, _OTHERS = insights.InsightsView.as_view(rejected="denied"), insights.InsightsView.as_view()

urlpatterns = [
    path("user/ai/insights", _INDIVIDUAL, name="api-user-insights"),
    path("family/ai/insights", _OTHERS, name="api-family-insights"),
    path("business/ai/insights", _OTHERS, name="api-business-insights"),
    path("family/ai-insights", insights.FamilyInsightsView.as_view(), name="api-family-figures"),
    path("family/mapping-history", insights.FamilyHistoryView.as_view(), name="api-family-mapping-history"),
    path("ai/recommendations", insights.RecommendationsView.as_view(), name="api-recommendations"),
    path("admin/trading-limits", learning.TradingLimitsView.as_view(), name="api-trading-limits"),
    path("admin/train-model", RefusedView.as_view(reason=TRAINING), name="api-train-model"),
    path("ml/retrain", RefusedView.as_view(reason=TRAINING), name="api-ml-retrain"),
    path("ml/feedback", RefusedView.as_view(reason=FEEDBACK), name="api-ml-feedback"),
    path("ml/recognize", learning.RecognizeView.as_view(), name="api-ml-recognize"),
    path("ml/learn", learning.LearnView.as_view(), name="api-ml-learn"),
    path("ml/export", learning.ExportView.as_view(), name="api-ml-export"),
    path(f"{_USAGE}/stats", usage.StatsView.as_view(), name="api-usage-stats"),
    path(f"{_USAGE}/records", usage.RecordsView.as_view(), name="api-usage-records"),
    path(f"{_USAGE}/balance", usage.BalanceView.as_view(), name="api-usage-balance"),
    path(f"{_USAGE}/daily-limit", usage.DailyLimitView.as_view(), name="api-usage-daily-limit"),
    path(f"{_USAGE}/export", usage.ExportView.as_view(), name="api-usage-export"),
]
