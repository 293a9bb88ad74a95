"""URLs of the LLM Center's API; the legacy front end has several names for one endpoint."""

from django.urls import path

from llm_center.api.views import assets, decisions, mappings, proposals, uploads
from transactions.api.urls import CUSTOMER_AREAS

_approve, _reject = decisions.DecideView.as_view(approve=True), decisions.DecideView.as_view(approve=False)
_CENTER, _ASSETS = "admin/llm-center", "admin/llm-assets"

urlpatterns = [
    path(f"{_CENTER}/mappings", mappings.MappingListView.as_view(), name="api-mappings"),
    path(f"{_CENTER}/mapping/<int:mapping_id>", mappings.MappingDetailView.as_view(), name="api-mapping"),
    path(f"{_CENTER}/approve", _approve, name="api-approve"),
    path(f"{_CENTER}/reject", _reject, name="api-reject"),
    path(f"{_CENTER}/approve-mapping", _approve, name="api-approve-mapping"),
    path(f"{_CENTER}/reject-mapping", _reject, name="api-reject-mapping"),
    path(f"{_CENTER}/bulk-approve", decisions.DecideManyView.as_view(approve=True), name="api-bulk-approve"),
    path(f"{_CENTER}/bulk-reject", decisions.DecideManyView.as_view(approve=False), name="api-bulk-reject"),
    path(f"{_CENTER}/mapping/<int:mapping_id>/update", mappings.MappingUpdateView.as_view(), name="api-mapping-update"),
    path(f"{_CENTER}/mapping/<int:mapping_id>/delete", mappings.MappingDeleteView.as_view(), name="api-mapping-delete"),
    path(
        f"{_CENTER}/mapping/<int:mapping_id>/correction",
        decisions.CorrectionView.as_view(),
        name="api-mapping-correction",
    ),
    path(f"{_CENTER}/process-mapping/<int:mapping_id>", mappings.ReconsiderView.as_view(), name="api-process-mapping"),
    path(f"{_CENTER}/approve-all-pending", decisions.ApprovePendingView.as_view(), name="api-approve-pending"),
    path(f"{_CENTER}/data-assets", assets.AssetListView.as_view(), name="api-data-assets"),
    path("admin/ai/process-queue", decisions.ProcessQueueView.as_view(), name="api-process-queue"),
    path(_ASSETS, assets.AssetListView.as_view(), name="api-assets"),
    path(f"{_ASSETS}/monthly-amortization", assets.AmortizeView.as_view(), name="api-amortize"),
    path(f"{_ASSETS}/<int:asset_id>/cost-breakdown", assets.AssetCostView.as_view(), name="api-asset-cost"),
    path(f"{_ASSETS}/<int:asset_id>/amortization", assets.AssetScheduleView.as_view(), name="api-asset-schedule"),
    path("admin/manual-submit", proposals.ManualSubmitView.as_view(), name="api-manual-submit"),
    path("admin/bulk-upload", uploads.UploadView.as_view(), name="api-bulk-upload"),
    path("admin/bulk-upload-fast", uploads.FastUploadView.as_view(), name="api-bulk-upload-fast"),
    path("admin/bulk-upload/progress", uploads.UploadProgressView.as_view(), name="api-bulk-upload-progress"),
    path("lookup/ticker", proposals.LookupView.as_view(), name="api-lookup"),
]
for _verb, _approves in (("approve", True), ("reject", False)):
    urlpatterns += [
        path(
            f"{_CENTER}/mapping/<int:mapping_id>/{_verb}",
            decisions.DecideVersionView.as_view(approve=_approves),
            name=f"api-{_verb}-version",
        ),
        path(
            f"{_CENTER}/mappings/{_verb}",
            decisions.DecideManyVersionsView.as_view(approve=_approves),
            name=f"api-{_verb}-versions",
        ),
    ]
for _name in ("mapping", "llm-mappings"):
    urlpatterns += [
        path(f"admin/{_name}/<int:mapping_id>/{_verb}", _view, name=f"api-{_name}-{_verb}")
        for _verb, _view in (
            ("approve", decisions.DecideOneView.as_view(approve=True)),
            ("reject", decisions.DecideOneView.as_view(approve=False)),
        )
    ]
urlpatterns += [
    path(f"{area}/submit-mapping", proposals.SubmitView.as_view(), name=f"api-{area}-submit-mapping")
    for area in CUSTOMER_AREAS
]
