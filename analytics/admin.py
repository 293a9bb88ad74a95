"""Admin pages of the rollups and of reports: figures as they stand, what waits to be taken up, files to download."""

from datetime import date
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.defaultfilters import filesizeformat
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from analytics.api.views import report_download
from analytics.models import (
    CustomerCount,
    CustomerMonth,
    DecisionDay,
    LedgerDay,
    LedgerMark,
    MappingDay,
    Report,
    RollupPartition,
    TransactionDay,
)
from analytics.services.reports import TASK as REPORT_TASK
from analytics.services.reports import parse_period, request_report
from kamioi_site.admin.keyset import HistoryAdmin
from kamioi_site.errors import KamioiError
from llm_center.models import MappingDelta
from transactions.admin import staff_user
from transactions.models import BackgroundTask, TransactionDelta, User


@admin.register(TransactionDay)
class TransactionDayAdmin(HistoryAdmin):
    """Transactions of a day."""

    keyset = ("-day", "-status", "-ticker")
    list_display = ("day", "status", "ticker", "rows", "amount", "round_up", "fee", "investable")


@admin.register(CustomerMonth)
class CustomerMonthAdmin(HistoryAdmin):
    """Transactions of a customer in a month."""

    list_display = ("month", "user", "rows")
    list_select_related = ("user",)


@admin.register(CustomerCount)
class CustomerCountAdmin(HistoryAdmin):
    """Active customers of a month."""

    keyset = ("-month", "-account_type")
    list_display = ("month", "account_type", "users", "transactions")


@admin.register(DecisionDay)
class DecisionDayAdmin(HistoryAdmin):
    """Decisions of a day, and how long merchants waited for them."""

    keyset = ("-day", "-automatic", "-action")
    list_display = (
        "day",
        "automatic",
        "action",
        "decisions",
        "reversed",
        "overturned",
        "released",
        "waited",
        "median_seconds",
        "slow_seconds",
    )


@admin.register(MappingDay)
class MappingDayAdmin(HistoryAdmin):
    """Proposals of a day."""

    keyset = ("-day", "-status", "-source", "-automatic")
    list_display = ("day", "status", "source", "automatic", "rows", "confidence")


@admin.register(RollupPartition)
class RollupPartitionAdmin(HistoryAdmin):
    """What the figures know of each partition."""

    keyset = ("-name",)
    list_display = ("name", "written", "ahead", "stale", "archived", "looked_at", "verified_at")


@admin.register(TransactionDelta)
class TransactionDeltaAdmin(HistoryAdmin):
    """Changes of transactions that the next refresh takes up."""

    list_display = ("id", "day", "status", "ticker", "rows", "amount", "round_up", "fee", "investable")


@admin.register(MappingDelta)
class MappingDeltaAdmin(HistoryAdmin):
    """Changes of the log of proposals that the next refresh takes up."""

    list_display = ("id", "day", "status", "source", "automatic", "rows", "confidence")


@admin.register(LedgerDay)
class LedgerDayAdmin(HistoryAdmin):
    """Bookings of a day."""

    keyset = ("-day", "-kind", "-debit_account", "-credit_account")
    list_display = ("day", "kind", "debit_account", "credit_account", "rows", "amount")


@admin.register(LedgerMark)
class LedgerMarkAdmin(HistoryAdmin):
    """How far the ledger is counted."""

    list_display = ("id", "counted_to", "counted_at", "drawn_to", "drawn_at")


class ReportForm(forms.Form):
    """Which report."""

    kind = forms.ChoiceField(label="Report", choices=Report.Kind.choices, widget=UnfoldAdminSelectWidget)
    period = forms.CharField(
        label="Month",
        max_length=7,
        help_text="A month that is over, like 2026-10.",
        widget=UnfoldAdminTextInputWidget(attrs={"type": "month"}),
    )
    email = forms.EmailField(
        label="Customer's e-mail", required=False, help_text="Of a statement.", widget=UnfoldAdminTextInputWidget
    )
    again = forms.BooleanField(label="Make it anew, though it is made already", required=False)

    def clean_period(self) -> date:
        """The first day of the month."""
        try:
            return parse_period(self.cleaned_data["period"])
        except KamioiError as error:
            raise forms.ValidationError(str(error)) from error

    def clean(self) -> dict[str, Any]:
        """With the customer of a statement."""
        data = super().clean() or {}
        data["user"] = None
        if data.get("kind") == Report.Kind.STATEMENT:
            data["user"] = User.objects.filter(email__iexact=data.get("email") or "").first()
            if data["user"] is None and "email" not in self.errors:
                self.add_error("email", "No customer has this e-mail.")
        return data


@admin.register(Report)
class ReportAdmin(HistoryAdmin):
    """Files of reports: listed, downloaded, and asked for."""

    list_display = ("id", "kind", "month", "user", "format", "size_text", "rows", "made_at", "mailed_at", "download")
    list_select_related = ("user",)
    list_filter = ("kind", "format")
    search_fields = ("user__email__iexact",)
    search_help_text = "The customer's whole e-mail"
    list_before_template = "admin/analytics/report_link.html"
    exclude = ("file",)

    def get_urls(self) -> list[URLPattern]:
        """The form, how far a report is, and the files."""
        view, name = self.admin_site.admin_view, "analytics_report"
        return [
            path("new/", view(self.new_view), name=f"{name}_new"),
            path("making/<uuid:task_id>/", view(self.making_view), name=f"{name}_making"),
            path("<int:pk>/download/", view(self.download_view), name=f"{name}_download"),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """The files, for who may also ask for new ones."""
        return super().changelist_view(request, (extra_context or {}) | {"may_ask": _may_ask(request)})

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """The customer is looked up first: their files are an index away."""
        term = search_term.strip()
        if not term:
            return queryset, False
        user = User.objects.filter(email__iexact=term).values_list("pk", flat=True).first()
        return (queryset.filter(user_id=user) if user is not None else queryset.none()), False

    @display(description="Month", ordering="period")
    def month(self, report: Report) -> str:
        """In words."""
        return f"{report.period:%B %Y}"

    @display(description="Size")
    def size_text(self, report: Report) -> str:
        """For people."""
        return filesizeformat(report.size)

    @display(description="File")
    def download(self, report: Report) -> str:
        """To keep."""
        return format_html(
            '<a class="kamioi-link" href="{}">Download</a>',
            reverse("admin:analytics_report_download", args=[report.pk]),
        )

    def new_view(self, request: HttpRequest) -> HttpResponse:
        """Ask for a report."""
        if not _may_ask(request):
            raise PermissionDenied
        form = ReportForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            data = form.cleaned_data
            try:
                task = request_report(
                    kind=data["kind"],
                    period=data["period"],
                    user=data["user"],
                    requested_by=staff_user(request),
                    again=data["again"],
                )
            except KamioiError as error:
                form.add_error(None, str(error))
            else:
                return redirect("admin:analytics_report_making", task.pk)
        context = {**self.admin_site.each_context(request), "title": "New report", "opts": self.opts, "form": form}
        return TemplateResponse(request, "admin/analytics/report_new.html", context)

    def making_view(self, request: HttpRequest, task_id: UUID) -> HttpResponse:
        """How far it is; then the files."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        task = get_object_or_404(BackgroundTask, pk=task_id, name=REPORT_TASK)
        context = {
            **self.admin_site.each_context(request),
            "title": "A report is being made",
            "opts": self.opts,
            "task": task,
            "reports": Report.objects.filter(task=task).select_related("user").order_by("-format"),
        }
        return TemplateResponse(request, "admin/analytics/report_making.html", context)

    def download_view(self, request: HttpRequest, pk: int) -> StreamingHttpResponse:
        """The file."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return report_download(request, get_object_or_404(Report, pk=pk))


def _may_ask(request: HttpRequest) -> bool:
    return request.user.has_perm("analytics.add_report")
