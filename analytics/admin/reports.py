"""Admin pages of reports: request, progress, download."""

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

from analytics.downloads import report_download
from analytics.models import Report
from analytics.services.reports.requests import TASK as REPORT_TASK
from analytics.services.reports.requests import parse_period, request_report
from kamioi_site.admin.history import HistoryAdmin
from kamioi_site.admin.pages import page_context, staff_user
from kamioi_site.errors import KamioiError
from transactions.models import BackgroundTask, User


class ReportForm(forms.Form):
    kind = forms.ChoiceField(label="Report", choices=Report.Kind.choices, widget=UnfoldAdminSelectWidget)
    period = forms.CharField(
        label="Month",
        max_length=7,
        help_text="A month that has ended, such as 2026-10.",
        widget=UnfoldAdminTextInputWidget(attrs={"type": "month"}),
    )
    email = forms.EmailField(
        label="Customer's e-mail",
        required=False,
        help_text="For account statements only.",
        widget=UnfoldAdminTextInputWidget,
    )
    again = forms.BooleanField(label="Create it again even if it exists", required=False)

    def clean_period(self) -> date:
        try:
            return parse_period(self.cleaned_data["period"])
        except KamioiError as error:
            raise forms.ValidationError(str(error)) from error

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        data["user"] = None
        if data.get("kind") == Report.Kind.STATEMENT:
            data["user"] = User.objects.with_email(data.get("email") or "").first()
            if data["user"] is None and "email" not in self.errors:
                self.add_error("email", "No customer has this e-mail.")
        return data


@admin.register(Report)
class ReportAdmin(HistoryAdmin):
    """Generated report files."""

    list_display = ("id", "kind", "month", "user", "format", "size_text", "rows", "made_at", "mailed_at", "download")
    list_select_related = ("user",)
    list_filter = ("kind", "format")
    search_fields = ("user__email__iexact",)
    search_help_text = "The customer's full e-mail"
    list_before_template = "admin/analytics/report_link.html"
    exclude = ("file",)

    def get_urls(self) -> list[URLPattern]:
        view, name = self.admin_site.admin_view, "analytics_report"
        return [
            path("new/", view(self.new_view), name=f"{name}_new"),
            path("making/<uuid:task_id>/", view(self.progress_view), name=f"{name}_making"),
            path("<int:pk>/download/", view(self.download_view), name=f"{name}_download"),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return super().changelist_view(request, (extra_context or {}) | {"may_request": _may_request(request)})

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        # The customer is looked up first, so that the index on the user serves the list.
        term = search_term.strip()
        if not term:
            return queryset, False
        user = User.objects.with_email(term).values_list("pk", flat=True).first()
        return (queryset.filter(user_id=user) if user is not None else queryset.none()), False

    @display(description="Month", ordering="period")
    def month(self, report: Report) -> str:
        return f"{report.period:%B %Y}"

    @display(description="Size")
    def size_text(self, report: Report) -> str:
        return filesizeformat(report.size)

    @display(description="File")
    def download(self, report: Report) -> str:
        return format_html(
            '<a class="kamioi-link" href="{}">Download</a>',
            reverse("admin:analytics_report_download", args=[report.pk]),
        )

    def new_view(self, request: HttpRequest) -> HttpResponse:
        """Request a report."""
        if not _may_request(request):
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
        context = page_context(self, request, "New report", form=form)
        return TemplateResponse(request, "admin/analytics/report_new.html", context)

    def progress_view(self, request: HttpRequest, task_id: UUID) -> HttpResponse:
        """Show the progress, then the files."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        task = get_object_or_404(BackgroundTask, pk=task_id, name=REPORT_TASK)
        reports = Report.objects.filter(task=task).select_related("user").order_by("-format")
        context = page_context(self, request, "Report in progress", task=task, reports=reports)
        return TemplateResponse(request, "admin/analytics/report_progress.html", context)

    def download_view(self, request: HttpRequest, pk: int) -> StreamingHttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        return report_download(request, get_object_or_404(Report, pk=pk))


def _may_request(request: HttpRequest) -> bool:
    return request.user.has_perm("analytics.add_report")
