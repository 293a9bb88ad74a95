"""Addresses for staff that need figures of the rollups."""

from django.urls import path

from analytics.api import center, llm_data, transactions

_CENTER, _AUTO, _DATA = "admin/llm-center", "admin/llm-center/automation", "llm-data"

urlpatterns = [
    path("admin/transactions", transactions.TransactionsView.as_view(), name="api-staff-transactions"),
    path("admin/llm-mappings/remove-duplicates", center.DuplicatesView.as_view(), name="api-remove-duplicates"),
    path(f"{_CENTER}/dashboard", center.DashboardView.as_view(), name="api-dashboard"),
    path(f"{_CENTER}/analytics", center.AnalyticsView.as_view(), name="api-analytics"),
    path(f"{_CENTER}/queue", center.QueueView.as_view(), name="api-queue"),
    path(f"{_CENTER}/transaction-stats", center.TransactionStatsView.as_view(), name="api-transaction-stats"),
    path(f"{_CENTER}/processing-stats", center.ProcessingStatsView.as_view(), name="api-processing-stats"),
    path(f"{_CENTER}/start-processing", center.SwitchView.as_view(on=True), name="api-start-processing"),
    path(f"{_CENTER}/stop-processing", center.SwitchView.as_view(on=False), name="api-stop-processing"),
    path(f"{_CENTER}/process-batch", center.ProcessBacklogView.as_view(), name="api-process-batch"),
    path(f"{_CENTER}/process-pending-transactions", center.ProcessBacklogView.as_view(), name="api-process-pending"),
    path(f"{_CENTER}/clear-cache", center.ClearCacheView.as_view(), name="api-clear-cache"),
    path(f"{_CENTER}/rebuild-indexes", center.RebuildView.as_view(), name="api-rebuild-indexes"),
    path(f"{_AUTO}/status", center.AutomationView.as_view(), name="api-automation"),
    path(f"{_AUTO}/realtime", center.RealtimeView.as_view(), name="api-automation-realtime"),
    path(f"{_AUTO}/batch", center.BatchView.as_view(), name="api-automation-batch"),
    path(f"{_AUTO}/learning", center.LearningView.as_view(), name="api-automation-learning"),
    path(f"{_AUTO}/merchants", center.MerchantsView.as_view(), name="api-automation-merchants"),
    path(f"{_AUTO}/thresholds", center.ThresholdsView.as_view(), name="api-automation-thresholds"),
    path(f"{_AUTO}/multi-model", center.MultiModelView.as_view(), name="api-automation-models"),
    path(f"{_DATA}/system-status", llm_data.SystemStatusView.as_view(), name="api-llm-data-status"),
    path(f"{_DATA}/event-stats", llm_data.EventStatsView.as_view(), name="api-llm-data-events"),
    path(f"{_DATA}/vector-embeddings", llm_data.VectorEmbeddingsView.as_view(), name="api-llm-data-vectors"),
    path(f"{_DATA}/feature-store", llm_data.FeatureStoreView.as_view(), name="api-llm-data-features"),
    path(f"{_DATA}/search", llm_data.SearchView.as_view(), name="api-llm-data-search"),
    path(f"{_DATA}/initialize-system", llm_data.InitializeView.as_view(), name="api-llm-data-initialize"),
    path(f"{_DATA}/refresh-features", llm_data.RefreshFeaturesView.as_view(), name="api-llm-data-refresh"),
    path(f"{_DATA}/rebuild-cache", llm_data.RebuildCacheView.as_view(), name="api-llm-data-cache"),
    path(f"{_DATA}/configure-features", llm_data.ConfigureFeaturesView.as_view(), name="api-llm-data-configure"),
]
