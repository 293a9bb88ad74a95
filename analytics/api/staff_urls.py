"""URLs of the staff API that need the figures of the rollups."""

from django.urls import path

from analytics.api.legacy.staff import LegacyDashboardView, LegacyUserListView, ProcessPendingView
from analytics.api.views import figures, financial_statements, llm_center, llm_data, maintenance, transactions
from analytics.api.views.figures import figures_view, llm_data_view
from analytics.selectors import automation_api, llm_center_api, llm_data_api

_CENTER, _AUTO, _DATA = "admin/llm-center", "admin/llm-center/automation", "llm-data"

urlpatterns = [
    path("admin/users", LegacyUserListView.as_view(), name="api-people"),
    path("admin/transactions", transactions.TransactionsView.as_view(), name="api-staff-transactions"),
    path(
        "admin/financial-statements",
        financial_statements.FinancialStatementsView.as_view(),
        name="api-financial-statements",
    ),
    path("admin/llm-mappings/remove-duplicates", maintenance.DuplicatesView.as_view(), name="api-remove-duplicates"),
    path(f"{_CENTER}/dashboard", LegacyDashboardView.as_view(), name="api-dashboard"),
    path(f"{_CENTER}/analytics", llm_center.AnalyticsView.as_view(), name="api-analytics"),
    path(f"{_CENTER}/queue", llm_center.QueueView.as_view(), name="api-queue"),
    path(
        f"{_CENTER}/transaction-stats",
        figures_view(
            llm_center_api.transaction_stats,
            "transaction-stats",
            tag="llm center",
            permissions=("llm_center.view_llmmapping", "transactions.view_transaction"),
        ),
        name="api-transaction-stats",
    ),
    path(
        f"{_CENTER}/processing-stats",
        figures_view(
            llm_center_api.processing_stats,
            "processing-stats",
            output=figures.ProcessingStatsOutput,
            arrange=lambda stats: stats,
        ),
        name="api-processing-stats",
    ),
    path(f"{_CENTER}/start-processing", maintenance.SwitchView.as_view(on=True), name="api-start-processing"),
    path(f"{_CENTER}/stop-processing", maintenance.SwitchView.as_view(on=False), name="api-stop-processing"),
    path(f"{_CENTER}/process-batch", maintenance.ProcessBacklogView.as_view(), name="api-process-batch"),
    path(f"{_CENTER}/process-pending-transactions", ProcessPendingView.as_view(), name="api-process-pending"),
    path(f"{_CENTER}/clear-cache", maintenance.ClearCacheView.as_view(), name="api-clear-cache"),
    path(f"{_CENTER}/rebuild-indexes", maintenance.RebuildView.as_view(), name="api-rebuild-indexes"),
    path(f"{_AUTO}/status", figures_view(automation_api.automation, "automation"), name="api-automation"),
    path(
        f"{_AUTO}/realtime",
        figures_view(
            automation_api.realtime,
            "realtime",
            output=figures.RealtimeOutput,
            arrange=lambda state: {"data": state, "status": state},
        ),
        name="api-automation-realtime",
    ),
    path(f"{_AUTO}/batch", figures_view(automation_api.batch, "batch"), name="api-automation-batch"),
    path(f"{_AUTO}/learning", figures_view(automation_api.learning, "learning"), name="api-automation-learning"),
    path(f"{_AUTO}/merchants", figures_view(automation_api.merchants, "merchants"), name="api-automation-merchants"),
    path(f"{_AUTO}/thresholds", figures_view(automation_api.thresholds), name="api-automation-thresholds"),
    path(f"{_AUTO}/multi-model", figures_view(automation_api.multi_model), name="api-automation-models"),
    path(
        f"{_DATA}/system-status",
        llm_data_view(llm_data_api.system_status, "llm-data-system-status", figures.SystemStatusOutput),
        name="api-llm-data-status",
    ),
    path(
        f"{_DATA}/event-stats",
        llm_data_view(llm_data_api.event_stats, "llm-data-event-stats", figures.EventStatsOutput),
        name="api-llm-data-events",
    ),
    path(
        f"{_DATA}/vector-embeddings",
        llm_data_view(llm_data_api.vector_embeddings, "llm-data-vector-embeddings", figures.VectorEmbeddingsOutput),
        name="api-llm-data-vectors",
    ),
    path(
        f"{_DATA}/feature-store",
        llm_data_view(llm_data_api.feature_store, "llm-data-feature-store", figures.FeatureStoreOutput),
        name="api-llm-data-features",
    ),
    path(f"{_DATA}/search", llm_data.SearchView.as_view(), name="api-llm-data-search"),
    path(f"{_DATA}/initialize-system", maintenance.InitializeView.as_view(), name="api-llm-data-initialize"),
    path(f"{_DATA}/refresh-features", maintenance.RefreshFeaturesView.as_view(), name="api-llm-data-refresh"),
    path(f"{_DATA}/rebuild-cache", maintenance.ClearCacheView.as_view(), name="api-llm-data-cache"),
    path(f"{_DATA}/configure-features", maintenance.ConfigureFeaturesView.as_view(), name="api-llm-data-configure"),
]
