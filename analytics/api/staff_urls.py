"""URLs of the staff API that need the figures of the rollups."""

from django.urls import path

from analytics.api.views import automation, llm_center, llm_data, maintenance, transactions

_CENTER, _AUTO, _DATA = "admin/llm-center", "admin/llm-center/automation", "llm-data"

urlpatterns = [
    path("admin/transactions", transactions.TransactionsView.as_view(), name="api-staff-transactions"),
    path("admin/llm-mappings/remove-duplicates", maintenance.DuplicatesView.as_view(), name="api-remove-duplicates"),
    path(f"{_CENTER}/dashboard", llm_center.DashboardView.as_view(), name="api-dashboard"),
    path(f"{_CENTER}/analytics", llm_center.AnalyticsView.as_view(), name="api-analytics"),
    path(f"{_CENTER}/queue", llm_center.QueueView.as_view(), name="api-queue"),
    path(f"{_CENTER}/transaction-stats", llm_center.TransactionStatsView.as_view(), name="api-transaction-stats"),
    path(f"{_CENTER}/processing-stats", llm_center.ProcessingStatsView.as_view(), name="api-processing-stats"),
    path(f"{_CENTER}/start-processing", maintenance.SwitchView.as_view(on=True), name="api-start-processing"),
    path(f"{_CENTER}/stop-processing", maintenance.SwitchView.as_view(on=False), name="api-stop-processing"),
    path(f"{_CENTER}/process-batch", maintenance.ProcessBacklogView.as_view(), name="api-process-batch"),
    path(
        f"{_CENTER}/process-pending-transactions", maintenance.ProcessBacklogView.as_view(), name="api-process-pending"
    ),
    path(f"{_CENTER}/clear-cache", maintenance.ClearCacheView.as_view(), name="api-clear-cache"),
    path(f"{_CENTER}/rebuild-indexes", maintenance.RebuildView.as_view(), name="api-rebuild-indexes"),
    path(f"{_AUTO}/status", automation.AutomationView.as_view(), name="api-automation"),
    path(f"{_AUTO}/realtime", automation.RealtimeView.as_view(), name="api-automation-realtime"),
    path(f"{_AUTO}/batch", automation.BatchView.as_view(), name="api-automation-batch"),
    path(f"{_AUTO}/learning", automation.LearningView.as_view(), name="api-automation-learning"),
    path(f"{_AUTO}/merchants", automation.MerchantsView.as_view(), name="api-automation-merchants"),
    path(f"{_AUTO}/thresholds", automation.ThresholdsView.as_view(), name="api-automation-thresholds"),
    path(f"{_AUTO}/multi-model", automation.MultiModelView.as_view(), name="api-automation-models"),
    path(f"{_DATA}/system-status", llm_data.SystemStatusView.as_view(), name="api-llm-data-status"),
    path(f"{_DATA}/event-stats", llm_data.EventStatsView.as_view(), name="api-llm-data-events"),
    path(f"{_DATA}/vector-embeddings", llm_data.VectorEmbeddingsView.as_view(), name="api-llm-data-vectors"),
    path(f"{_DATA}/feature-store", llm_data.FeatureStoreView.as_view(), name="api-llm-data-features"),
    path(f"{_DATA}/search", llm_data.SearchView.as_view(), name="api-llm-data-search"),
    path(f"{_DATA}/initialize-system", maintenance.InitializeView.as_view(), name="api-llm-data-initialize"),
    path(f"{_DATA}/refresh-features", maintenance.RefreshFeaturesView.as_view(), name="api-llm-data-refresh"),
    path(f"{_DATA}/rebuild-cache", maintenance.ClearCacheView.as_view(), name="api-llm-data-cache"),
    path(f"{_DATA}/configure-features", maintenance.ConfigureFeaturesView.as_view(), name="api-llm-data-configure"),
]
