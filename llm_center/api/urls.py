"""Addresses of the LLM Center's API. Several names for one thing, as the legacy front end has them."""

from django.urls import path

from llm_center.api import uploads, views
from transactions.api.urls import CUSTOMER_AREAS

_approve, _reject = views.DecideView.as_view(approve=True), views.DecideView.as_view(approve=False)
_CENTER = "admin/llm-center"

urlpatterns = [
    path(f"{_CENTER}/mappings", views.MappingListView.as_view(), name="api-mappings"),
    path(f"{_CENTER}/mapping/<int:mapping_id>", views.MappingDetailView.as_view(), name="api-mapping"),
    path(f"{_CENTER}/approve", _approve, name="api-approve"),
    path(f"{_CENTER}/reject", _reject, name="api-reject"),
    path(f"{_CENTER}/approve-mapping", _approve, name="api-approve-mapping"),
    path(f"{_CENTER}/reject-mapping", _reject, name="api-reject-mapping"),
    path(f"{_CENTER}/bulk-approve", views.DecideManyView.as_view(approve=True), name="api-bulk-approve"),
    path(f"{_CENTER}/bulk-reject", views.DecideManyView.as_view(approve=False), name="api-bulk-reject"),
    path(f"{_CENTER}/mapping/<int:mapping_id>/update", views.MappingUpdateView.as_view(), name="api-mapping-update"),
    path(f"{_CENTER}/mapping/<int:mapping_id>/delete", views.MappingDeleteView.as_view(), name="api-mapping-delete"),
    path(f"{_CENTER}/process-mapping/<int:mapping_id>", views.ReconsiderView.as_view(), name="api-process-mapping"),
    path(f"{_CENTER}/approve-all-pending", views.ApprovePendingView.as_view(), name="api-approve-pending"),
    path(f"{_CENTER}/data-assets", views.AssetListView.as_view(), name="api-data-assets"),
    path("admin/ai/process-queue", views.ProcessQueueView.as_view(), name="api-process-queue"),
    path("admin/llm-assets", views.AssetListView.as_view(), name="api-assets"),
    path("admin/llm-assets/monthly-amortization", views.AmortizeView.as_view(), name="api-amortize"),
    path("admin/llm-assets/<int:asset_id>/cost-breakdown", views.AssetCostView.as_view(), name="api-asset-cost"),
    path("admin/llm-assets/<int:asset_id>/amortization", views.AssetScheduleView.as_view(), name="api-asset-schedule"),
    path("admin/manual-submit", views.ManualSubmitView.as_view(), name="api-manual-submit"),
    path("admin/bulk-upload", uploads.UploadView.as_view(), name="api-bulk-upload"),
    path("admin/bulk-upload-fast", uploads.FastUploadView.as_view(), name="api-bulk-upload-fast"),
    path("admin/bulk-upload/progress", uploads.UploadProgressView.as_view(), name="api-bulk-upload-progress"),
    path("lookup/ticker", views.LookupView.as_view(), name="api-lookup"),
]
for _name in ("mapping", "llm-mappings"):
    urlpatterns += [
        path(f"admin/{_name}/<int:mapping_id>/approve", _approve, name=f"api-{_name}-approve"),
        path(f"admin/{_name}/<int:mapping_id>/reject", _reject, name=f"api-{_name}-reject"),
    ]
urlpatterns += [
    path(f"{area}/submit-mapping", views.SubmitView.as_view(), name=f"api-{area}-submit-mapping")
    for area in CUSTOMER_AREAS
]
