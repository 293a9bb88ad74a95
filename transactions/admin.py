"""Admin pages of people, transactions, the books, reference data and background work.

History is read-only: what was booked is corrected by booking, never by editing. Large tables have keyset pages and
are searched by exact values that an index serves.
"""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import GroupAdmin as BaseGroupAdmin
from django.contrib.auth.admin import UserAdmin as BaseUserAdmin
from django.contrib.auth.models import Group
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.core.files.base import File
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import UploadedFile
from django.db.models import Model, Q, QuerySet
from django.db.models.functions import Lower
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST
from django_celery_beat import admin as beat_admin
from django_celery_beat import models as beat
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget
from waffle import models as waffle

from kamioi_site.admin.keyset import DayRangeFilter, HistoryAdmin, KeysetAdmin
from kamioi_site.errors import KamioiError
from kamioi_site.http.downloads import csv_download
from kamioi_site.live_settings import SettingError
from transactions.errors import ErasureNotAllowedError
from transactions.models import (
    ApiToken,
    AuditEvent,
    BackgroundTask,
    Company,
    Goal,
    Holding,
    IdempotencyKey,
    JournalEntry,
    LedgerAccount,
    LedgerTransfer,
    Merchant,
    MigrationReject,
    MigrationRun,
    Notification,
    Order,
    ReleasedTransaction,
    Setting,
    StatementImport,
    StatementReject,
    StockPrice,
    Transaction,
    TransactionKey,
    User,
    UserSetting,
)
from transactions.models.ledger import USUAL_ACCOUNTS, USUAL_KINDS
from transactions.services.background_tasks import retry_task
from transactions.services.ingest import statement_rejects_csv, upload_statement
from transactions.services.privacy import erasure_obstacle, export_path, request_erasure, request_export
from transactions.services.settings import clean_setting
from transactions.statements.reader import preview

STATUS_LABELS = {
    "completed": "success",
    "approved": "success",
    "executed": "success",
    "pending": "info",
    "queued": "info",
    "running": "info",
    "mapped": "info",
    "proposed": "info",
    "needs_review": "warning",
    "awaiting_price": "warning",
    "rejected": "warning",
    "failed": "danger",
    "cancelled": "danger",
    "not_listed": "default",
    "refunded": "default",
}


def staff_user(request: HttpRequest) -> User:
    """The member of staff who asks; the admin lets nobody else in."""
    assert isinstance(request.user, User)  # noqa: S101
    return request.user


class StatusMixin:
    """The status as a coloured label."""

    @display(description="Status", label=STATUS_LABELS)
    def status_label(self, row: Any) -> tuple[str, str]:
        """Value for the colour, words for people."""
        return row.status, row.status.replace("_", " ")


# --- People -----------------------------------------------------------------------------------------------------
class StaffCreationForm(UserCreationForm):
    """A new person, known by e-mail."""

    class Meta:
        model = User
        fields = ("email",)
        field_classes: dict[str, Any] = {}


class EraseForm(forms.Form):
    """An erasure is confirmed by typing the person's e-mail."""

    email = forms.CharField(label="E-mail of the person, typed again", widget=UnfoldAdminTextInputWidget)
    reason = forms.CharField(max_length=500, label="Why", widget=UnfoldAdminTextInputWidget)

    def __init__(self, *args: Any, person: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.person = person

    def clean_email(self) -> str:
        """The same e-mail."""
        email: str = self.cleaned_data["email"]
        if email.strip().lower() != self.person.email.lower():
            raise forms.ValidationError("This is not the e-mail of the person on this page.")
        return email


@admin.register(User)
class UserAdmin(KeysetAdmin, BaseUserAdmin):
    """Customers and staff. Nobody who has transactions is deleted."""

    form = UserChangeForm
    add_form = StaffCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("email", "name", "account_type", "is_staff", "is_active", "created_at")
    list_filter = ("account_type", "is_staff", "is_active")
    search_fields = ("email", "account_number")
    search_help_text = "The whole e-mail, or the account number"
    ordering = ("-id",)
    readonly_fields = ("created_at", "updated_at", "last_login", "terms_agreed_at", "privacy_agreed_at", "erased_at")
    fieldsets = (
        (None, {"fields": ("email", "password", "name", "account_type", "account_number")}),
        ("Round-up", {"fields": ("round_up_enabled", "round_up_rule", "round_up_amount")}),
        ("Profile", {"fields": ("first_name", "last_name", "company_name", "risk_tolerance", "investment_goals")}),
        ("Address", {"fields": ("address", "city", "state", "zip_code", "country", "time_zone", "phone")}),
        ("Agreed", {"fields": ("terms_agreed_at", "privacy_agreed_at", "marketing_agreed")}),
        ("Rights", {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")}),
        ("History", {"fields": ("created_at", "updated_at", "last_login", "erased_at")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "password1", "password2")}),)
    filter_horizontal = ("groups",)
    change_form_outer_before_template = "admin/transactions/person_links.html"

    def get_urls(self) -> list[URLPattern]:
        """The pages of what is held about a person."""
        guarded = self.admin_site.admin_view
        return [
            path("<int:pk>/export/", guarded(self.export_view), name="transactions_user_export"),
            path(
                "<int:pk>/export/<uuid:task_id>/", guarded(self.export_file_view), name="transactions_user_export_file"
            ),
            path("<int:pk>/erase/", guarded(self.erase_view), name="transactions_user_erase"),
            *super().get_urls(),
        ]

    @method_decorator(require_POST)
    def export_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Have the file made of everything held about a person."""
        person = self._person(request, pk)
        task = request_export(person=person, actor=staff_user(request))
        messages.success(request, "The file is being made. It can be downloaded from this page's task when it is done.")
        return redirect("admin:transactions_backgroundtask_change", task.pk)

    def export_file_view(self, request: HttpRequest, pk: int, task_id: UUID) -> FileResponse:
        """The file."""
        self._person(request, pk)
        task = get_object_or_404(BackgroundTask, pk=task_id, name="export_person", arguments__user_id=pk)
        if not export_path(task).exists():
            raise Http404
        return FileResponse(export_path(task).open("rb"), as_attachment=True, filename=f"person-{pk}.zip")

    def erase_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Say what an erasure does; do it when the e-mail was typed again."""
        person = self._person(request, pk)
        form = EraseForm(request.POST or None, person=person)
        refusal = erasure_obstacle(person)
        if request.method == "POST" and not refusal and form.is_valid():
            try:
                task = request_erasure(person=person, actor=staff_user(request), reason=form.cleaned_data["reason"])
            except ErasureNotAllowedError as error:
                refusal = str(error)
            else:
                messages.success(request, "The account is closed, and the person is being erased.")
                return redirect("admin:transactions_backgroundtask_change", task.pk)
        return render(
            request,
            "admin/transactions/erase.html",
            self.admin_site.each_context(request)
            | {
                "title": "Erase a person",
                "opts": self.opts,
                "person": person,
                "form": form,
                "refusal": refusal,
                "holdings": Holding.objects.filter(user=person, shares__gt=0).count(),
            },
        )

    def _person(self, request: HttpRequest, pk: int) -> User:
        """The person, for those who may change people and staff alone by administrators."""
        person = get_object_or_404(User, pk=pk)
        user = staff_user(request)
        if not self.has_change_permission(request, person) or (person.is_staff and not user.is_superuser):
            raise PermissionDenied
        return person

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Exact values only: the unique indexes serve them among millions."""
        term = search_term.strip()
        found = queryset.annotate(email_lower=Lower("email")).filter(
            Q(email_lower=term.lower()) | Q(account_number=term)
        )
        return (found if term else queryset), False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Accounts are deactivated; the books refer to them."""
        return False


admin.site.unregister(Group)


@admin.register(Group)
class GroupAdmin(ModelAdmin, BaseGroupAdmin):
    """Roles of staff."""


@admin.register(ApiToken)
class ApiTokenAdmin(HistoryAdmin):
    """Tokens of front ends; only their digests exist. They can be revoked."""

    list_display = ("id", "user", "created_at", "expires_at", "revoked_at")
    list_select_related = ("user",)
    fields = ("user", "created_at", "expires_at", "revoked_at")
    actions = ("revoke",)

    @admin.action(description="Revoke the selected tokens", permissions=["view"])
    def revoke(self, request: HttpRequest, tokens: QuerySet[ApiToken]) -> None:
        """End these sessions."""
        if not request.user.has_perm("transactions.change_apitoken"):
            messages.error(request, "You may not revoke tokens.")
            return
        count = ApiToken.objects.filter(pk__in=tokens.values("pk")).revoke()
        messages.success(request, f"{count} tokens revoked.")


# --- Transactions -----------------------------------------------------------------------------------------------
def _given(request: HttpRequest) -> set[str]:
    """The filters, and `q` for the search, that say something."""
    return {name for name, value in request.GET.items() if str(value).strip()}


@admin.register(Transaction)
class TransactionAdmin(StatusMixin, HistoryAdmin):
    """Purchases and what became of them."""

    list_display = (
        "id",
        "date",
        "user",
        "merchant",
        "amount",
        "round_up",
        "ticker",
        "shares",
        "status_label",
        "source",
    )
    list_select_related = ("user",)
    list_filter = ("status", ("date", DayRangeFilter))
    list_filter_submit = True
    search_fields = ("user__email__iexact", "merchant_key__exact")
    search_help_text = "The customer's whole e-mail, or a merchant that waits (as in the review queue)"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Transaction]:
        """A merchant's are those that wait for a decision on it: they have an index of their own."""
        rows = super().get_queryset(request)
        waiting = "merchant_key__exact" in _given(request)
        return rows.filter(status=Transaction.Status.NEEDS_REVIEW) if waiting else rows

    def get_keyset(self, request: HttpRequest) -> tuple[str, ...]:
        """By date where a customer, a status, a ticker or some days are looked at: these indexes are by date, others by id."""
        given = _given(request)
        if {"date_from", "date_to"} & given:
            return ("-date", "-id")
        if "merchant_key__exact" in given or ("q" in given and "@" not in request.GET["q"]):
            return ("-id",)
        return ("-date", "-id") if {"user__id__exact", "status__exact", "ticker__exact", "q"} & given else ("-id",)

    def get_branches(self, request: HttpRequest) -> tuple[Q, ...]:
        """Days alone: the index is by status, then date. One more that began with the date would weigh 1 GB a month."""
        given = _given(request)
        others = {"user__id__exact", "status__exact", "ticker__exact", "merchant_key__exact", "q"}
        if others & given or not {"date_from", "date_to"} & given:
            return ()
        return tuple(Q(status=status) for status in Transaction.Status.values)

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Links lead here from a customer, a merchant and a ticker."""
        return lookup in {
            "user__id__exact",
            "merchant_key__exact",
            "ticker__exact",
            "status__exact",
            "date_from",
            "date_to",
        }

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """The customer by e-mail, looked up first; else a merchant key. Never a scan of names."""
        term = search_term.strip()
        if not term:
            return queryset, False
        user = User.objects.filter(email__iexact=term).values_list("pk", flat=True).first()
        if user is not None:
            return queryset.filter(user_id=user), False
        if term.isdigit():
            return queryset.filter(pk=int(term)) if int(term) < 2**63 else queryset.none(), False
        return queryset.filter(merchant_key=term.upper(), status=Transaction.Status.NEEDS_REVIEW), False


@admin.register(TransactionKey)
class TransactionKeyAdmin(HistoryAdmin):
    """What makes ingest idempotent."""

    list_display = ("id", "user", "idempotency_key", "transaction_id", "date")
    list_select_related = ("user",)


@admin.register(Order)
class OrderAdmin(StatusMixin, HistoryAdmin):
    """Purchases of shares that waited for the market."""

    list_display = ("id", "user", "ticker", "amount", "status_label", "execute_after", "executed_at", "shares", "price")
    list_select_related = ("user",)
    list_filter = ("status",)


@admin.register(Notification)
class NotificationAdmin(HistoryAdmin):
    """Messages to customers."""

    list_display = ("id", "user", "title", "type", "read", "created_at")
    list_select_related = ("user",)


@admin.register(Goal)
class GoalAdmin(HistoryAdmin):
    """What customers save for."""

    list_display = ("id", "user", "title", "goal_type", "current_amount", "target_amount", "created_at")
    list_select_related = ("user",)


@admin.register(UserSetting)
class UserSettingAdmin(HistoryAdmin):
    """Preferences that front ends keep for their customers."""

    list_display = ("id", "user", "setting_key", "setting_value", "updated_at")
    list_select_related = ("user",)


@admin.register(IdempotencyKey)
class IdempotencyKeyAdmin(HistoryAdmin):
    """Requests that may be sent again; what was answered stays with the customer."""

    list_display = ("id", "user", "key", "status", "created_at")
    list_select_related = ("user",)
    fields = ("user", "key", "fingerprint", "status", "created_at")


# --- The books --------------------------------------------------------------------------------------------------
@admin.register(LedgerAccount)
class LedgerAccountAdmin(ModelAdmin):
    """The chart of accounts. Numbers in use cannot be deleted."""

    list_display = ("number", "name", "type")
    search_fields = ("number", "name")

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        """Bookings refer to the number."""
        return ("number", "type") if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Bookings refer to it."""
        return False


class AccountFilter(admin.SimpleListFilter):
    """Movements on either side of an account."""

    title = "account"
    parameter_name = "account__exact"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The chart."""
        return [(account.number, str(account)) for account in LedgerAccount.objects.all()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[LedgerTransfer]) -> QuerySet[LedgerTransfer]:
        """Debit or credit. The kinds of every purchase touch few accounts; what touches others has an index of its own."""
        number = self.value()
        if not number:
            return queryset
        if number not in USUAL_ACCOUNTS:
            queryset = queryset.exclude(kind__in=USUAL_KINDS)
        return queryset.filter(Q(debit_account=number) | Q(credit_account=number))


@admin.register(LedgerTransfer)
class LedgerTransferAdmin(HistoryAdmin):
    """Every movement of money and shares."""

    list_display = (
        "id",
        "date",
        "user_id",
        "kind",
        "debit_account",
        "credit_account",
        "amount",
        "ticker",
        "shares",
        "reference",
    )
    list_filter = (AccountFilter, ("date", DayRangeFilter))
    list_filter_submit = True

    def get_keyset(self, request: HttpRequest) -> tuple[str, ...]:
        """By date where some days, an account or a kind are looked at."""
        by_date = {"kind__exact", "account__exact", "date_from", "date_to"} & _given(request)
        return ("-date", "-id") if by_date else ("-id",)

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """A transaction's are looked for with its customer: the index begins with that."""
        if lookup == "transaction_id__exact":
            return request is not None and bool({"user_id__exact", "user_id"} & request.GET.keys())
        return lookup in {"user_id__exact", "user_id", "kind__exact", "account__exact", "date_from", "date_to"}


@admin.register(JournalEntry)
class JournalEntryAdmin(StatusMixin, HistoryAdmin):
    """Entries of the company's own books that people wrote; they are written through the API."""

    keyset = ("-entry_date", "-id")
    list_display = ("number", "entry_date", "description", "amount", "status_label", "created_by", "posted_at")
    list_select_related = ("created_by",)


@admin.register(Holding)
class HoldingAdmin(HistoryAdmin):
    """What customers own."""

    list_display = ("id", "user", "ticker", "shares", "cost_basis", "updated_at")
    list_select_related = ("user",)


# --- Reference data ---------------------------------------------------------------------------------------------
@admin.register(Company)
class CompanyAdmin(KeysetAdmin):
    """Companies that can be bought. What is edited here survives the next import."""

    keyset = ("ticker",)
    list_display = ("ticker", "name", "exchange", "is_listed", "edited")
    list_filter = ("is_listed", "edited")
    search_fields = ("ticker__iexact", "name__icontains")
    readonly_fields = ("edited",)

    def save_model(self, request: HttpRequest, obj: Company, form: Any, change: bool) -> None:
        """Remember that a person wrote it."""
        obj.edited = True
        super().save_model(request, obj, form, change)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """A company is no longer listed; it does not vanish."""
        return False


@admin.register(Merchant)
class MerchantAdmin(StatusMixin, HistoryAdmin):
    """The directory. Decisions are made in the review queue, so that each is recorded and what waits is released."""

    list_display = (
        "merchant_key",
        "ticker",
        "company_name",
        "status_label",
        "confidence",
        "source",
        "waiting_count",
        "waiting_amount",
        "decided_at",
    )
    list_filter = ("status", "source")
    search_fields = ("merchant_key__startswith",)
    search_help_text = "Beginning of the merchant, as it is written here"

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """By the beginning of the key: a range of the unique index."""
        term = search_term.strip().upper()
        return (queryset.filter(merchant_key__startswith=term) if term else queryset), False


@admin.register(ReleasedTransaction)
class ReleasedTransactionAdmin(HistoryAdmin):
    """What a decision put back to work."""

    list_display = ("id", "decision_id", "user", "transaction_id", "date")
    list_select_related = ("user",)


@admin.register(StockPrice)
class StockPriceAdmin(HistoryAdmin):
    """Quotes."""

    list_display = ("ticker", "price", "as_of", "source")
    search_fields = ("ticker__exact",)

    def get_keyset(self, request: HttpRequest) -> tuple[str, ...]:
        """A ticker's by their time: that is the index."""
        return ("-as_of", "-id") if "q" in _given(request) else ("-id",)

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """One ticker."""
        term = search_term.strip().upper()
        return (queryset.filter(ticker=term) if term else queryset), False


class SettingForm(forms.ModelForm):
    """A setting with a value that the program can read."""

    value = forms.CharField(required=False, widget=UnfoldAdminTextInputWidget)

    def clean_value(self) -> str:
        """The value, checked against the setting's type and range. Settings of the LLM may be empty."""
        try:
            return clean_setting(
                key=self.cleaned_data.get("key") or self.instance.key,
                kind=self.cleaned_data.get("type") or self.instance.type,
                text=self.cleaned_data["value"],
            )
        except SettingError as error:
            raise forms.ValidationError(str(error)) from error


@admin.register(LogEntry)
class LogEntryAdmin(HistoryAdmin):
    """Who changed what in the admin, and when."""

    list_display = ("action_time", "user", "content_type", "object_repr", "action_flag", "change_message")
    list_select_related = ("user", "content_type")


@admin.register(AuditEvent)
class AuditEventAdmin(HistoryAdmin):
    """Who of the staff did what, from where."""

    list_display = ("at", "user", "kind", "action", "target", "status", "address")
    list_filter = ("kind",)
    list_select_related = ("user",)


@admin.register(Setting)
class SettingAdmin(ModelAdmin):
    """Settings that take effect with the next set of transactions. Each change is in the audit trail, old and new."""

    list_display = ("key", "value", "type", "description", "updated_at")
    readonly_fields = ("updated_at",)

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        """The program knows the setting by its key."""
        return ("key", "type", "updated_at") if obj else ("updated_at",)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """A form that knows which values the program can read."""
        return super().get_form(request, obj, change, form=SettingForm, **kwargs)

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        """What it was and what it is."""
        if add or "value" not in form.changed_data:
            return super().construct_change_message(request, form, formsets, add)
        return f"{form.instance.key}: {form.initial.get('value')!r} → {form.cleaned_data['value']!r}"

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """The program would fall back to defaults without anybody noticing."""
        return False


# --- Background work --------------------------------------------------------------------------------------------
@admin.register(BackgroundTask)
class BackgroundTaskAdmin(StatusMixin, HistoryAdmin):
    """Long actions with their progress; a failed one can be sent again."""

    keyset = ("-created_at", "-id")
    list_display = ("name", "status_label", "progress_text", "user", "created_at", "finished_at", "error")
    list_select_related = ("user",)
    list_filter = ("status",)
    actions = ("send_again",)
    change_form_before_template = "admin/transactions/task_progress.html"

    @display(description="Progress")
    def progress_text(self, task: BackgroundTask) -> str:
        """How far it is."""
        return f"{task.progress:,} of {task.total:,}" if task.total else f"{task.progress:,}"

    @admin.action(description="Send the selected failed tasks again", permissions=["view"])
    def send_again(self, request: HttpRequest, tasks: QuerySet[BackgroundTask]) -> None:
        """Another round of attempts, from where the task's own state says."""
        if not request.user.has_perm("transactions.change_backgroundtask"):
            messages.error(request, "You may not send tasks again.")
            return
        sent = sum(retry_task(task_id=pk) for pk in tasks.values_list("pk", flat=True))
        messages.success(request, f"{sent} tasks sent again.")


class StatementForm(forms.Form):
    """Whose statement, and the file."""

    email = forms.EmailField(label="Customer's e-mail", widget=UnfoldAdminTextInputWidget)
    file = forms.FileField(
        label="Statement",
        help_text="CSV or Excel as the bank wrote it, OFX or QFX.",
        widget=forms.ClearableFileInput(
            attrs={"accept": ".csv,.txt,.tsv,.xlsx,.xls,.ofx,.qfx", "class": "kamioi-file"}
        ),
    )

    def clean_email(self) -> User:
        """The customer of this address."""
        user = User.objects.filter(email__iexact=self.cleaned_data["email"]).first()
        if user is None:
            raise forms.ValidationError("No customer has this e-mail.")
        return user


# A previewed file waits this long for its confirmation.
PREVIEW_SECONDS = 3600
PREVIEWS = "previews"


@admin.register(StatementImport)
class StatementImportAdmin(HistoryAdmin):
    """Uploaded statements. The form shows how a file is understood before anything is stored."""

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
    change_form_before_template = "admin/transactions/statement_progress.html"
    list_before_template = "admin/transactions/statement_upload_link.html"

    @display(description="Status", label=STATUS_LABELS)
    def status(self, row: StatementImport) -> tuple[str, str]:
        """Of the import's task."""
        return row.task.status, row.task.status

    def get_urls(self) -> list[URLPattern]:
        """The upload form and the download of what could not be read."""
        view = self.admin_site.admin_view
        return [
            path("upload/", view(self.upload_view), name="transactions_statementimport_upload"),
            path("<int:pk>/rejects.csv", view(self.rejects_view), name="transactions_statementimport_rejects"),
            *super().get_urls(),
        ]

    def upload_view(self, request: HttpRequest) -> HttpResponse:
        """Choose a file, see how it is understood, import it."""
        if not request.user.has_perm("transactions.add_statementimport"):
            return HttpResponse("You may not upload statements.", status=403)
        context = {**self.admin_site.each_context(request), "title": "Upload a bank statement", "opts": self.opts}
        if request.method == "POST" and "token" in request.POST:
            return self._upload_confirm(request)
        form = StatementForm(request.POST or None, request.FILES or None)
        if request.method == "POST" and form.is_valid():
            upload: UploadedFile = form.cleaned_data["file"]
            try:
                shown = preview(upload, filename=upload.name or "")  # type: ignore[arg-type]
            except KamioiError as error:
                form.add_error("file", str(error))
            else:
                upload.seek(0)
                stored = default_storage.save(f"{PREVIEWS}/statement", upload)
                token = signing.dumps(
                    {"stored": stored, "user": form.cleaned_data["email"].pk, "name": upload.name}, salt=PREVIEWS
                )
                delete_expired_previews()
                context |= {"preview": shown, "token": token, "customer": form.cleaned_data["email"], "upload": upload}
        context["form"] = form
        return TemplateResponse(request, "admin/transactions/statement_upload.html", context)

    def _upload_confirm(self, request: HttpRequest) -> HttpResponse:
        again = redirect("admin:transactions_statementimport_upload")
        try:
            known = signing.loads(request.POST["token"], salt=PREVIEWS, max_age=PREVIEW_SECONDS)
        except signing.BadSignature:
            messages.error(request, "The preview is too old. Choose the file again.")
            return again
        user = get_object_or_404(User, pk=known["user"])
        try:
            with default_storage.open(known["stored"]) as file:
                statement = upload_statement(
                    user=user, filename=known["name"], content=File(file), requested_by=staff_user(request)
                )
        except FileNotFoundError:
            messages.error(request, "This statement was imported already, or its preview is too old.")
            return again
        except KamioiError as error:
            messages.error(request, str(error))
            return again
        default_storage.delete(known["stored"])
        messages.success(request, f"{statement.filename} is being imported for {user.email}.")
        return redirect("admin:transactions_statementimport_change", statement.pk)

    def rejects_view(self, request: HttpRequest, pk: int) -> StreamingHttpResponse:
        """The rows that could not be read, as CSV."""
        statement = get_object_or_404(self.get_queryset(request), pk=pk)
        return csv_download(request, statement_rejects_csv(statement=statement), filename=f"rejects-{pk}.csv")


def delete_expired_previews() -> None:
    """Delete previewed files that nobody confirmed."""
    oldest = timezone.now().timestamp() - PREVIEW_SECONDS
    for name in default_storage.listdir(PREVIEWS)[1]:
        place = f"{PREVIEWS}/{name}"
        if default_storage.get_modified_time(place).timestamp() < oldest:
            default_storage.delete(place)


@admin.register(StatementReject)
class StatementRejectAdmin(HistoryAdmin):
    """Rows of statements that could not be read."""

    list_display = ("statement", "row_number", "field", "reason", "raw")
    list_select_related = ("statement",)


@admin.register(MigrationRun)
class MigrationRunAdmin(HistoryAdmin):
    """Runs of the migration from the legacy system."""

    list_display = ("id", "command", "source", "status_label", "progress", "started_at", "finished_at")

    @display(description="Status", label=STATUS_LABELS | {"done": "success", "differs": "warning"})
    def status_label(self, run: MigrationRun) -> tuple[str, str]:
        """In colour."""
        return run.status, run.status

    @display(description="Progress")
    def progress(self, run: MigrationRun) -> str:
        """Rows done of all; the page tells more, by table, while the run goes on."""
        if not run.rows_total:
            return f"{run.rows_done:,} rows" if run.rows_done else ""
        return f"{run.rows_done * 100 // run.rows_total} % ({run.rows_done:,} of {run.rows_total:,} rows)"


@admin.register(MigrationReject)
class MigrationRejectAdmin(KeysetAdmin):
    """Rows of the legacy system that could not be carried over: mend one, and it is migrated again."""

    list_display = ("id", "table_name", "legacy_id", "reason", "created_at", "resolved_at", "resolved_by")
    list_select_related = ("resolved_by",)
    fields = ("table_name", "legacy_id", "reason", "row", "run", "created_at", "resolved_at", "resolved_by")

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Rows come from the migration."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """What was rejected stays on record."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """The row may be mended by whoever may change rejects, as long as it was not."""
        allowed = request.user.has_perm("transactions.change_migrationreject")
        return allowed and not (isinstance(obj, MigrationReject) and obj.resolved_at is not None)

    def get_readonly_fields(self, request: HttpRequest, obj: MigrationReject | None = None) -> list[str]:
        """Everything but the row itself."""
        return [name for name in self.fields if name != "row"]

    def save_model(self, request: HttpRequest, obj: MigrationReject, form: forms.ModelForm, change: bool) -> None:
        """Migrate the row as it stands in the form; what is still wrong is said, and nothing is written."""
        from transactions.legacy.mend import reject_mend  # noqa: PLC0415  # imports pyarrow

        try:
            reject_mend(reject_id=obj.pk, row=form.cleaned_data["row"], actor=staff_user(request))
        except KamioiError as error:
            request.mend_error = str(error)  # type: ignore[attr-defined]

    def response_change(self, request: HttpRequest, obj: MigrationReject) -> HttpResponse:
        """Say what became of it."""
        if error := getattr(request, "mend_error", ""):
            self.message_user(request, error, messages.ERROR)
            return redirect(request.path)
        self.message_user(request, f"{obj.table_name} {obj.legacy_id} was migrated.", messages.SUCCESS)
        return redirect("admin:transactions_migrationreject_changelist")


for model in (waffle.Flag, waffle.Switch, waffle.Sample):
    if admin.site.is_registered(model):
        admin.site.unregister(model)


@admin.register(waffle.Flag)
class FlagAdmin(ModelAdmin):
    """Features that some customers have first; `kamioi_reads` is the migration's."""

    list_display = ("name", "everyone", "percent", "note", "modified")
    fields = ("name", "note", "everyone", "percent", "superusers", "staff", "authenticated")


# --- The schedule -----------------------------------------------------------------------------------------------
class BeatTaskSelect(UnfoldAdminSelectWidget, beat_admin.TaskSelectWidget):
    """The list of registered tasks, in our style."""


class BeatTaskForm(beat_admin.PeriodicTaskForm):
    """A scheduled task."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["task"].widget = UnfoldAdminTextInputWidget()
        self.fields["regtask"].widget = BeatTaskSelect()


for model in (beat.PeriodicTask, beat.IntervalSchedule, beat.CrontabSchedule, beat.SolarSchedule, beat.ClockedSchedule):
    admin.site.unregister(model)


@admin.register(beat.PeriodicTask)
class PeriodicTaskAdmin(beat_admin.PeriodicTaskAdmin, ModelAdmin):
    """What runs when."""

    form = BeatTaskForm


@admin.register(beat.IntervalSchedule)
class IntervalScheduleAdmin(beat_admin.IntervalScheduleAdmin, ModelAdmin):
    """Every so often."""


@admin.register(beat.CrontabSchedule)
class CrontabScheduleAdmin(beat_admin.CrontabScheduleAdmin, ModelAdmin):
    """At times of the clock."""


@admin.register(beat.SolarSchedule)
class SolarScheduleAdmin(beat_admin.SolarScheduleAdmin, ModelAdmin):
    """At times of the sun."""


@admin.register(beat.ClockedSchedule)
class ClockedScheduleAdmin(beat_admin.ClockedScheduleAdmin, ModelAdmin):
    """Once."""
