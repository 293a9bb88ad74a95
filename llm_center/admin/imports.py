"""Admin pages of mapping files: preview, import, rejected rows."""

from collections.abc import Iterator
from typing import Any

from django import forms
from django.contrib import admin
from django.core.files.base import File
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest
from django.urls import reverse
from unfold.widgets import UnfoldAdminTextInputWidget

from kamioi_site.admin.history import HistoryAdmin
from kamioi_site.admin.pages import staff_user
from kamioi_site.admin.previewed_upload import PreviewColumn, PreviewedUploadAdmin
from kamioi_site.formatting import percent
from llm_center.mapping_file import MappingPreview, preview_mappings
from llm_center.models import MappingImport, MappingImportKey, MappingImportReject
from llm_center.services.mapping_imports import upload_mapping_file

COUNTS = ("rows_done", "rows_added", "rows_rejected", "merchants_approved", "merchants_review", "merchants_kept")


class MappingFileForm(forms.Form):
    file = forms.FileField(
        label="Mappings",
        help_text="CSV with a header such as “Merchant Name,Category,Ticker,Company Name,Confidence”.",
        widget=forms.ClearableFileInput(attrs={"accept": ".csv,.txt,.tsv", "class": "kamioi-file"}),
    )
    # Unfold's script expects a text field beside every file field.
    note = forms.CharField(
        required=False,
        max_length=200,
        help_text="Optional: where the file came from.",
        widget=UnfoldAdminTextInputWidget,
    )


@admin.register(MappingImport)
class MappingImportAdmin(PreviewedUploadAdmin):
    """Uploaded files of mappings."""

    list_display = ("id", "filename", "status", *COUNTS, "created_at")
    list_select_related = ("task",)
    fields = ("filename", "note", "size", *COUNTS, "created_at")
    upload_form = MappingFileForm
    upload_title = "Upload mappings"
    upload_hint = "Nothing is stored until you confirm the preview. Importing the same file twice adds nothing."
    upload_effect = (
        "Importing this file approves its mappings. Merchants go to the review queue if the catalogue disagrees, the "
        "ticker was rejected before, or a second approval is needed. Decisions of reviewers are kept."
    )
    preview_columns = (
        PreviewColumn("Row", "row_number"),
        PreviewColumn("Merchant", "merchant"),
        PreviewColumn("Ticker", "ticker"),
        PreviewColumn("Company", "company"),
        PreviewColumn("Category", "category"),
        PreviewColumn("Confidence", "confidence", percent, is_number=True),
    )
    import_counts = (
        ("Mappings added", "added", "rows_added"),
        ("Merchants approved", "approved", "merchants_approved"),
        ("Sent to the review queue", "review", "merchants_review"),
        ("Earlier decisions kept", "kept", "merchants_kept"),
        ("Rejected rows", "rejected", "rows_rejected"),
    )
    reject_permission = "llm_center.view_mappingimportreject"

    def read_preview(self, upload: UploadedFile, fields: dict[str, Any]) -> MappingPreview:
        return preview_mappings(upload)  # type: ignore[arg-type]

    def preview_details(self, preview: MappingPreview, fields: dict[str, Any]) -> dict[str, str]:
        return {"Encoding": preview.encoding}

    def token_fields(self, form: forms.Form) -> dict[str, Any]:
        return {"note": form.cleaned_data["note"]}

    def start_import(
        self, request: HttpRequest, *, filename: str, content: File, fields: dict[str, Any]
    ) -> MappingImport:
        return upload_mapping_file(filename=filename, content=content, actor=staff_user(request), note=fields["note"])

    def related_link(self, obj: MappingImport) -> tuple[str, str]:
        return reverse("admin:llm_center_reviewmerchant_changelist"), "Review queue"

    def rejected_rows(self, obj: MappingImport) -> Iterator[str]:
        return obj.rejects_csv()


@admin.register(MappingImportReject)
class MappingImportRejectAdmin(HistoryAdmin):
    list_display = ("mapping_import", "row_number", "field", "reason", "raw")
    list_select_related = ("mapping_import",)


@admin.register(MappingImportKey)
class MappingImportKeyAdmin(HistoryAdmin):
    """Merchants of imports in progress."""

    list_display = ("id", "mapping_import", "merchant_key", "ticker", "count")
    list_select_related = ("mapping_import",)
