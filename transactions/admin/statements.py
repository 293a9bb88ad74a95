"""Admin pages of bank statements: preview, import, rejected rows, undo."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.files.base import File
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from kamioi_site.admin.display import STATUS_LABELS
from kamioi_site.admin.history import GeneratedRowsAdmin, HistoryAdmin
from kamioi_site.admin.pages import page_context, staff_user
from kamioi_site.admin.previewed_upload import PreviewChoice, PreviewColumn, PreviewedUploadAdmin
from kamioi_site.errors import KamioiError
from kamioi_site.formatting import moment, money
from kamioi_site.imports.previews import store_for_preview
from transactions.models import BackgroundTask, BankAccount, ImportProfile, StatementImport, StatementReject, User
from transactions.services.ingest import upload_statement
from transactions.services.statement_previews import preview_statement, read_preview, request_preview
from transactions.services.statement_repeats import repeat_statement
from transactions.services.statement_undo import cancel_statement_import, may_undo, request_statement_undo, undo_effect
from transactions.statements.evidence import ANSWER_KEYS, CONFIRM
from transactions.statements.excel import is_workbook
from transactions.statements.reader import StatementPreview

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


class AnswersForm(forms.Form):
    """Answers for importing a stored file again."""

    date_order = forms.ChoiceField(
        label="Which comes first in a date, month or day?",
        choices=[("", "as in the file"), ("mdy", "month"), ("dmy", "day")],
        required=False,
        widget=UnfoldAdminSelectWidget,
    )
    spending = forms.ChoiceField(
        label="Which amounts are money spent?",
        choices=[("", "as in the file"), ("negative", "negative amounts"), ("positive", "positive amounts")],
        required=False,
        widget=UnfoldAdminSelectWidget,
    )
    columns = forms.RegexField(
        r"^[a-z]+=[0-9]+(,[a-z]+=[0-9]+)*$",
        label="Columns",
        required=False,
        help_text="By number, counted from 1: amount=4,date=1.",
        widget=UnfoldAdminTextInputWidget,
    )
    balance = forms.ChoiceField(
        label="Amounts that contradict the running balance",
        choices=[("", "ask"), ("ignore", "import them")],
        required=False,
        widget=UnfoldAdminSelectWidget,
    )


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
        "rows_held",
        "rows_rejected",
        "created_at",
    )
    list_select_related = ("user", "task", "undo_task__user")
    fields = (
        "user",
        "filename",
        "size",
        "answers",
        "rows_done",
        "rows_added",
        "rows_duplicate",
        "rows_rejected",
        "created_at",
        "repeats",
    )
    change_form_before_template = "admin/transactions/statement_progress.html"
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
        ("Possible duplicates on hold", "possible_duplicates", "rows_held"),
        ("Rejected rows", "rejected", "rows_rejected"),
    )
    reject_permission = "transactions.view_statementreject"
    answer_keys = (*ANSWER_KEYS, "account")

    def read_preview(self, upload: UploadedFile, fields: dict[str, Any]) -> StatementPreview:
        user = get_object_or_404(User, pk=fields["user"])
        return preview_statement(upload, filename=upload.name or "", user=user)  # type: ignore[arg-type]

    def preview_choices(self, preview: StatementPreview, fields: dict[str, Any]) -> list[PreviewChoice]:
        found = ", ".join(preview.summary.accounts) or "unknown"
        accounts = BankAccount.objects.filter(user=fields["user"]).order_by("pk")
        options = [(f"#{account.pk}", str(account)) for account in accounts]
        return [PreviewChoice("account", "Bank account", [("", f"Detect from the file ({found})"), *options])]

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("upload/<uuid:task_id>/", view(self.preview_view), name=_PREVIEW_PAGE),
            path("<int:pk>/undo/", view(self.undo_view), name="transactions_statementimport_undo"),
            path("<int:pk>/repeat/", view(self.repeat_view), name="transactions_statementimport_repeat"),
            *super().get_urls(),
        ]

    @display(description="Status", label=STATUS_LABELS)
    def status(self, row: StatementImport) -> tuple[str, str]:
        return row.state, row.State(row.state).label.lower()

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], obj: Any = None, **kwargs: Any) -> Any:
        context["may_undo"] = may_undo(obj, staff_user(request))
        context["state"] = obj.State(obj.state)
        return super().render_change_form(request, context, obj=obj, **kwargs)

    def undo_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show what undoing or cancelling an import does; on POST do it."""
        statement = self._undoable(request, pk)
        is_open = statement.task.is_open
        if request.method == "POST":
            undo = cancel_statement_import if is_open else request_statement_undo
            try:
                undo(statement_id=pk, actor=staff_user(request))
            except KamioiError as error:
                messages.error(request, str(error))
            else:
                messages.success(request, f"{statement.filename} is being {'cancelled' if is_open else 'undone'}.")
            return redirect("admin:transactions_statementimport_change", pk)
        title = f"{'Cancel' if is_open else 'Undo'} the import of {statement.filename}"
        context = page_context(
            self, request, title, statement=statement, effect=undo_effect(statement), is_open=is_open
        )
        return TemplateResponse(request, "admin/transactions/statement_undo.html", context)

    def repeat_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask for the answers with which the file is imported again; on POST undo the import and start the new one."""
        statement = self._undoable(request, pk)
        form = AnswersForm(request.POST or None, initial=statement.answers)
        if request.method == "POST" and form.is_valid():
            answers = {key: value for key, value in form.cleaned_data.items() if value} | {CONFIRM: "true"}
            try:
                repeat = repeat_statement(statement_id=pk, answers=answers, actor=staff_user(request))
            except KamioiError as error:
                form.add_error(None, str(error))
            else:
                messages.success(request, f"Importing {repeat.filename} again.")
                return redirect("admin:transactions_statementimport_change", repeat.pk)
        effect = undo_effect(statement) if statement.undone_at is None else None
        title = f"Import {statement.filename} again"
        context = page_context(self, request, title, statement=statement, form=form, effect=effect)
        return TemplateResponse(request, "admin/transactions/statement_repeat.html", context)

    def _undoable(self, request: HttpRequest, pk: int) -> StatementImport:
        statement = get_object_or_404(StatementImport.objects.select_related("task", "undo_task", "user"), pk=pk)
        if not self.has_view_permission(request, statement) or not may_undo(statement, staff_user(request)):
            raise PermissionDenied
        return statement

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
        summary = preview.summary
        days = f"{moment(summary.first_day)} – {moment(summary.last_day)}" if summary.first_day else ""
        rows = f"{summary.rows:,}" if summary.is_complete else f"more than {summary.rows:,}, which are added up here"
        counted = (
            {
                "Account": ", ".join(summary.accounts) or "unknown",
                "Rows": rows,
                "Days": days or "none",
                "Purchases": f"{summary.purchases:,} of {money(summary.spent)}",
                "To be set aside": f"{money(summary.set_aside)} (round-ups and fees)",
                "Money out": money(summary.money_out),
                "Money in": money(summary.money_in),
            }
            if not preview.questions
            else {}
        )
        return {
            "Customer": f"{customer.name} ({customer.email})" if customer.name else customer.email,
            "Dates": "to be answered" if "date_order" in asked else preview.date_order + because.get("date_order", ""),
            "Spending": "to be answered" if "spending" in asked else preview.spending + because.get("spending", ""),
            **counted,
            "Encoding": preview.encoding,
        }

    def token_fields(self, form: forms.Form) -> dict[str, Any]:
        return {"user": form.cleaned_data["email"].pk}

    def start_import(
        self, request: HttpRequest, *, filename: str, content: File, fields: dict[str, Any]
    ) -> StatementImport:
        user, answers = get_object_or_404(User, pk=fields["user"]), dict(fields["answers"])
        account = answers.pop("account", "")
        return upload_statement(
            user=user,
            filename=filename,
            content=content,
            requested_by=staff_user(request),
            answers=answers | {CONFIRM: "true"},  # by the preview, which shows the totals
            account=account,
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


@admin.register(BankAccount)
class BankAccountAdmin(HistoryAdmin):
    list_display = ("id", "user", "name", "kind", "currency", "last_four", "created_at")
    list_select_related = ("user",)


@admin.register(ImportProfile)
class ImportProfileAdmin(GeneratedRowsAdmin):
    """Answers that hold for later files. A deleted one is asked for again."""

    list_display = ("id", "user", "bank_account", "answers", "updated_at")
    list_select_related = ("user", "bank_account")
