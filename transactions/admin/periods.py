"""Admin pages of closed periods."""

from collections.abc import Callable
from typing import Final

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextInputWidget

from kamioi_site.admin.history import HistoryAdmin
from kamioi_site.admin.pages import page_context, staff_user
from kamioi_site.errors import KamioiError
from kamioi_site.formatting import money, month, plural
from transactions.models import DetachedPartition, PeriodClosing
from transactions.services.periods import (
    approve_reopening,
    close_period,
    next_to_close,
    reject_reopening,
    request_reopening,
)

_LIST = "admin:transactions_periodclosing_changelist"
# Action → its service, its button, and what it does.
REOPENING: Final[dict[str, tuple[Callable[..., PeriodClosing], str, str]]] = {
    "request": (
        request_reopening,
        "Request reopening",
        "Another person must approve it. Until then the month stays closed.",
    ),
    "approve": (approve_reopening, "Approve reopening", "The month accepts postings until it is closed again."),
    "reject": (reject_reopening, "Reject reopening", "The request is removed, and the month stays closed."),
}


class CloseForm(forms.Form):
    month = forms.DateField(label="Month (YYYY-MM)", input_formats=["%Y-%m"], widget=UnfoldAdminTextInputWidget)


class ReasonForm(forms.Form):
    reason = forms.CharField(max_length=500, widget=UnfoldAdminTextInputWidget)


@admin.register(PeriodClosing)
class PeriodClosingAdmin(HistoryAdmin):
    """Closed months of the books, and reopened ones; every later month is open."""

    keyset = ("-id",)
    list_display = (
        "period",
        "state_label",
        "closed_by",
        "closed_at",
        "rows",
        "amount",
        "requested_by",
        "reopening_reason",
        "reopened_by",
        "reopened_at",
    )
    list_select_related = ("closed_by", "requested_by", "reopened_by")
    list_link = ("admin:transactions_periodclosing_close", "Close a month")
    list_before_template = "admin/list_link.html"
    change_form_before_template = "admin/transactions/reopening_links.html"

    @display(description="Month", ordering="month")
    def period(self, row: PeriodClosing) -> str:
        return month(row.month)

    @display(description="State", label={"closed": "success", "reopening requested": "warning", "reopened": "default"})
    def state_label(self, row: PeriodClosing) -> str:
        return row.state

    def get_urls(self) -> list[URLPattern]:
        view, name = self.admin_site.admin_view, "transactions_periodclosing"
        return [
            path("close/", view(self.close_view), name=f"{name}_close"),
            path("<int:pk>/reopening/<str:action>/", view(self.reopening_view), name=f"{name}_reopening"),
            *super().get_urls(),
        ]

    def close_view(self, request: HttpRequest) -> HttpResponse:
        """Ask which month to close; on POST close it."""
        if not request.user.has_perm("transactions.close_period"):
            raise PermissionDenied
        first = next_to_close()
        form = CloseForm(request.POST or None, initial={"month": f"{first:%Y-%m}" if first else ""})
        if request.method == "POST" and form.is_valid():
            try:
                closing = close_period(month=form.cleaned_data["month"], actor=staff_user(request))
            except KamioiError as error:
                form.add_error(None, str(error))
            else:
                rows = plural(closing.rows or 0, "row")
                self.message_user(request, f"{closing} is closed: {rows}, {money(closing.amount)}.", messages.SUCCESS)
                return redirect(_LIST)
        effect = (
            "The month and everything before it accept no more postings. Months are closed in order, when they are "
            "sealed and the books verify. Reopening needs two persons."
        )
        context = page_context(
            self, request, "Close a month", form=form, effect=effect, button="Close", back=reverse(_LIST)
        )
        return TemplateResponse(request, "admin/confirm.html", context)

    def reopening_view(self, request: HttpRequest, pk: int, action: str) -> HttpResponse:
        """Confirm a step of a reopening; on POST take it."""
        if not request.user.has_perm("transactions.reopen_period"):
            raise PermissionDenied
        closing = get_object_or_404(PeriodClosing.objects.select_related("requested_by"), pk=pk)
        if action not in REOPENING:
            return HttpResponse("Unknown action.", status=404)
        service, button, effect = REOPENING[action]
        form = (ReasonForm if action == "request" else forms.Form)(request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            try:
                service(closing_id=pk, actor=staff_user(request), **form.cleaned_data)
            except KamioiError as error:
                form.add_error(None, str(error))
            else:
                self.message_user(request, f"{closing}: done.", messages.SUCCESS)
                return redirect(_LIST)
        if closing.requested_by:
            effect = f"{closing.requested_by}: {closing.reopening_reason}. {effect}"
        context = page_context(
            self, request, f"{button}: {closing}", form=form, effect=effect, button=button, back=reverse(_LIST)
        )
        return TemplateResponse(request, "admin/confirm.html", context)


@admin.register(DetachedPartition)
class DetachedPartitionAdmin(HistoryAdmin):
    """Detached months, which `manage.py partitions attach` brings back."""

    list_display = ("name", "table", "end", "detached_at")
