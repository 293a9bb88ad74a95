"""Admin pages of bank statements: preview, import, rejected rows."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.files.base import File
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from unfold.widgets import UnfoldAdminTextInputWidget

from kamioi_site.admin.history import HistoryAdmin
from kamioi_site.admin.pages import page_context, staff_user
from kamioi_site.admin.previewed_upload import PreviewColumn, PreviewedUploadAdmin
from kamioi_site.formatting import moment, money
from kamioi_site.imports.previews import store_for_preview
from transactions.models import BackgroundTask, StatementImport, StatementReject, User
from transactions.services.ingest import upload_statement
from transactions.services.statement_previews import read_preview, request_preview
from transactions.statements.evidence import ANSWER_KEYS
from transactions.statements.excel import is_workbook
from transactions.statements.reader import StatementPreview, preview

_PREVIEW_PAGE = "transactions_statementimport_preview"


class StatementForm(forms.Form):
    email = forms.EmailField(label="Customer's e-mail", widget=UnfoldAdminTextInputWidget)
    file = forms.FileField(
        label="Statement",
        help_text="CSV or Excel as exported by the bank, OFX or QFX.",
        widget=forms.ClearableFileInput(
            attrs={"accept": ".csv,.txt,.tsv,.xlsx,.xls,.ofx,.qfx", "class": "kamioi-file"}
        ),
    )

    def clean_email(self) -> User:
        user = User.objects.with_email(self.cleaned_data["email"]).first()
        if user is None:
            raise forms.ValidationError("No customer has this e-mail.")
        return user


@admin.register(StatementImport)
class StatementImportAdmin(PreviewedUploadAdmin):
    """Uploaded bank statements."""

    list_display = (
        "id",
        "user",
        "filename",
        "status",
        "rows_done",
        "rows_added",
        "rows_duplicate",
        "rows_rejected",
        "created_at",
    )
    list_select_related = ("user", "task")
    fields = ("user", "filename", "size", "rows_done", "rows_added", "rows_duplicate", "rows_rejected", "created_at")
    upload_form = StatementForm
    upload_title = "Upload a bank statement"
    upload_hint = "Nothing is stored until you confirm the preview. Importing the same file twice adds nothing."
    preview_columns = (
        PreviewColumn("Row", "row_number"),
        PreviewColumn("Date", "date", moment),
        PreviewColumn("Merchant", "merchant"),
        PreviewColumn("Amount", "amount", money, is_number=True),
        PreviewColumn("Category", "category"),
    )
    import_counts = (
        ("Purchases added", "added", "rows_added"),
        ("Duplicates skipped", "duplicates", "rows_duplicate"),
        ("Rejected rows", "rejected", "rows_rejected"),
    )
    reject_permission = "transactions.view_statementreject"
    answer_keys = ANSWER_KEYS

    def read_preview(self, upload: UploadedFile) -> StatementPreview:
        return preview(upload, filename=upload.name or "")  # type: ignore[arg-type]

    def get_urls(self) -> list[URLPattern]:
        page = self.admin_site.admin_view(self.preview_view)
        return [path("upload/<uuid:task_id>/", page, name=_PREVIEW_PAGE), *super().get_urls()]

    def preview_later(
        self, request: HttpRequest, upload: UploadedFile, fields: dict[str, Any]
    ) -> HttpResponseRedirect | None:
        if not is_workbook(upload):  # type: ignore[arg-type]
            return None
        stored = store_for_preview(upload, "statementimport")
        task = request_preview(stored=stored, filename=upload.name or "", fields=fields, actor=staff_user(request))
        return HttpResponseRedirect(reverse(f"admin:{_PREVIEW_PAGE}", args=[task.pk]))

    def preview_view(self, request: HttpRequest, task_id: UUID) -> HttpResponse:
        """Show the preview of a workbook, or wait for it."""
        if not request.user.has_perm("transactions.add_statementimport"):
            raise PermissionDenied
        task = get_object_or_404(BackgroundTask, pk=task_id, name="preview_statement", user=staff_user(request))
        upload_url, arguments = reverse("admin:transactions_statementimport_upload"), task.arguments
        context = page_context(self, request, self.upload_title, admin=self, upload_url=upload_url, task=task)
        if task.status == BackgroundTask.Status.COMPLETED:
            try:
                found = read_preview(task)
            except FileNotFoundError:
                messages.error(request, "This preview has expired. Choose the file again.")
                return HttpResponseRedirect(upload_url)
            context |= self.preview_context(
                found, stored=arguments["stored"], filename=arguments["filename"], fields=arguments["fields"]
            )
        return TemplateResponse(request, "admin/previewed_upload.html", context)

    def preview_details(self, preview: StatementPreview, fields: dict[str, Any]) -> dict[str, str]:
        customer = get_object_or_404(User, pk=fields["user"])
        asked = {question.key for question in preview.questions}
        because = {topic: f" ({'; '.join(reasons)})" if reasons else "" for topic, reasons in preview.evidence.items()}
        return {
            "Customer": f"{customer.name} ({customer.email})" if customer.name else customer.email,
            "Dates": "to be answered" if "date_order" in asked else preview.date_order + because.get("date_order", ""),
            "Spending": "to be answered" if "spending" in asked else preview.spending + because.get("spending", ""),
            "Encoding": preview.encoding,
        }

    def token_fields(self, form: forms.Form) -> dict[str, Any]:
        return {"user": form.cleaned_data["email"].pk}

    def start_import(
        self, request: HttpRequest, *, filename: str, content: File, fields: dict[str, Any]
    ) -> StatementImport:
        user = get_object_or_404(User, pk=fields["user"])
        return upload_statement(
            user=user,
            filename=filename,
            content=content,
            requested_by=staff_user(request),
            answers=fields["answers"],
            limited=False,
        )

    def related_link(self, obj: StatementImport) -> tuple[str, str]:
        address = reverse("admin:transactions_transaction_changelist")
        return f"{address}?user__id__exact={obj.user_id}", f"Purchases of {obj.user}"

    def rejected_rows(self, obj: StatementImport) -> Iterator[str]:
        return obj.rejects_csv()


@admin.register(StatementReject)
class StatementRejectAdmin(HistoryAdmin):
    list_display = ("statement", "row_number", "field", "reason", "raw")
    list_select_related = ("statement",)
