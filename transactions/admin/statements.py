"""Admin pages of bank statements: preview, import, rejected rows."""

from collections.abc import Iterator
from typing import Any

from django import forms
from django.contrib import admin
from django.core.files.base import File
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.urls import reverse
from unfold.widgets import UnfoldAdminTextInputWidget

from kamioi_site.admin.history import HistoryAdmin
from kamioi_site.admin.pages import staff_user
from kamioi_site.admin.previewed_upload import PreviewColumn, PreviewedUploadAdmin
from kamioi_site.formatting import moment, money
from transactions.models import StatementImport, StatementReject, User
from transactions.services.ingest import upload_statement
from transactions.statements.reader import StatementPreview, preview


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

    def read_preview(self, upload: UploadedFile) -> StatementPreview:
        return preview(upload, filename=upload.name or "")  # type: ignore[arg-type]

    def preview_details(self, preview: StatementPreview, form: forms.Form) -> dict[str, str]:
        customer = form.cleaned_data["email"]
        return {
            "Customer": f"{customer.name} ({customer.email})" if customer.name else customer.email,
            "Dates": preview.date_order,
            "Spending": preview.spending,
            "Encoding": preview.encoding,
        }

    def token_fields(self, form: forms.Form) -> dict[str, Any]:
        return {"user": form.cleaned_data["email"].pk}

    def start_import(
        self, request: HttpRequest, *, filename: str, content: File, fields: dict[str, Any]
    ) -> StatementImport:
        user = get_object_or_404(User, pk=fields["user"])
        return upload_statement(
            user=user, filename=filename, content=content, requested_by=staff_user(request), limited=False
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
