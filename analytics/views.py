"""The pages of the dashboards. Thin: they find out what is asked and who asks, and leave the rest to `analytics.dashboards`."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from analytics.dashboards import DASHBOARDS, get_dashboard
from analytics.dashboards.framework import Dashboard, PageContext, RenderedPanel, panel_csv, render_panel
from analytics.selectors.periods import Period
from kamioi_site.http.downloads import csv_download
from transactions.services.background_tasks import retry_task

DAYS: Final = (7, 30, 90)
DEFAULT_DAYS: Final = 30
MAX_DAYS: Final = 5 * 366


@dataclass(frozen=True, slots=True)
class Chosen:
    """The period that was asked for. `days` is None for one of one's own; `error` says why another one is shown."""

    period: Period
    days: int | None
    error: str = ""

    @property
    def query(self) -> str:
        """As it stands in addresses."""
        return f"days={self.days}" if self.days else f"from={self.period.first}&to={self.period.last}"


def chosen_period(request: HttpRequest, *, today: date | None = None) -> Chosen:
    """`?days=7|30|90`, or `?from=…&to=…`; thirty days when nothing (or nothing sensible) is said."""
    today = today or timezone.now().date()
    asked = request.GET
    usual = Period.of_days(DEFAULT_DAYS, today=today)
    if asked.get("from") or asked.get("to"):
        try:
            last = min(date.fromisoformat(asked["to"]), today) if asked.get("to") else today
            first = date.fromisoformat(asked["from"]) if asked.get("from") else last - timedelta(days=DEFAULT_DAYS - 1)
        except ValueError:
            return Chosen(usual, DEFAULT_DAYS, "That is no date.")
        if first > last:
            return Chosen(usual, DEFAULT_DAYS, "The period ends before it begins.")
        if (last - first).days >= MAX_DAYS:
            return Chosen(usual, DEFAULT_DAYS, "The period is longer than five years.")
        return Chosen(Period(first, last), None)
    days = int(asked["days"]) if asked.get("days") in {str(n) for n in DAYS} else DEFAULT_DAYS
    return Chosen(Period.of_days(days, today=today), days)


def _allowed(request: HttpRequest, name: str) -> Dashboard:
    dashboard = get_dashboard(name)
    if dashboard is None:
        raise Http404
    if not request.user.has_perm(dashboard.permission):
        raise PermissionDenied
    return dashboard


@never_cache
@require_safe
def dashboard(request: HttpRequest, name: str) -> HttpResponse:
    """A whole dashboard."""
    shown, chosen = _allowed(request, name), chosen_period(request)
    page = PageContext(request.user, chosen.period)
    if chosen.error:
        messages.error(request, chosen.error)
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": f"{shown.title} dashboard",
        "dashboard": shown,
        "dashboards": [other for other in DASHBOARDS if request.user.has_perm(other.permission)],
        "panels": [RenderedPanel(panel) if panel.deferred else render_panel(panel, page) for panel in shown.panels],
        "may_retry": _may_retry(request),
        "chosen": chosen,
        "ranges": DAYS,
        "today": timezone.now().date(),
    }
    return TemplateResponse(request, "admin/analytics/dashboard.html", context)


@never_cache
@require_safe
def dashboard_panel(request: HttpRequest, name: str, panel: str) -> HttpResponse | StreamingHttpResponse:
    """One panel: a piece of the page, or its table as CSV."""
    dashboard_, chosen = _allowed(request, name), chosen_period(request)
    found = dashboard_.panel(panel)
    if found is None:
        raise Http404
    shown = render_panel(found, PageContext(request.user, chosen.period))
    if request.GET.get("format") == "csv":
        if shown.content is None:
            return HttpResponse(shown.error, status=503, content_type="text/plain; charset=utf-8")
        filename = f"{name}-{panel}-{chosen.period.first}-{chosen.period.last}.csv"
        return csv_download(request, panel_csv(shown.content), filename=filename)
    context = {"shown": shown, "dashboard": dashboard_, "chosen": chosen, "may_retry": _may_retry(request)}
    return TemplateResponse(request, "admin/analytics/panel.html", context)


@require_POST
def retry(request: HttpRequest, task_id: UUID) -> HttpResponse:
    """Send a failed background task again."""
    _allowed(request, "operations")
    if not _may_retry(request):
        raise PermissionDenied
    if retry_task(task_id=task_id):
        messages.success(request, "The task was sent again.")
    else:
        messages.info(request, "That task has not failed, or somebody sent it again already.")
    return redirect("dashboard", "operations")


def _may_retry(request: HttpRequest) -> bool:
    return request.user.has_perm("transactions.change_backgroundtask")
