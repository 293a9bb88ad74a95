"""The pages of the dashboards: they check permissions, parse the period, and render `analytics.dashboards`."""

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
class SelectedPeriod:
    """The period of a request; `days` is None for custom dates, `error` states why the default is shown instead."""

    period: Period
    days: int | None
    error: str = ""

    @property
    def query(self) -> str:
        return f"days={self.days}" if self.days else f"from={self.period.first}&to={self.period.last}"


def select_period(request: HttpRequest, *, today: date | None = None) -> SelectedPeriod:
    """Parse `?days=7|30|90` or `?from=…&to=…`; the default is 30 days."""
    today = today or timezone.now().date()
    query = request.GET
    default = Period.of_days(DEFAULT_DAYS, today=today)
    if query.get("from") or query.get("to"):
        try:
            last = min(date.fromisoformat(query["to"]), today) if query.get("to") else today
            first = date.fromisoformat(query["from"]) if query.get("from") else last - timedelta(days=DEFAULT_DAYS - 1)
        except ValueError:
            return SelectedPeriod(default, DEFAULT_DAYS, "Invalid date.")
        if first > last:
            return SelectedPeriod(default, DEFAULT_DAYS, "The period ends before it begins.")
        if (last - first).days >= MAX_DAYS:
            return SelectedPeriod(default, DEFAULT_DAYS, "The period is longer than five years.")
        return SelectedPeriod(Period(first, last), None)
    days = int(query["days"]) if query.get("days") in {str(n) for n in DAYS} else DEFAULT_DAYS
    return SelectedPeriod(Period.of_days(days, today=today), days)


def _get_dashboard(request: HttpRequest, name: str) -> Dashboard:
    dashboard = get_dashboard(name)
    if dashboard is None:
        raise Http404
    if not request.user.has_perm(dashboard.permission):
        raise PermissionDenied
    return dashboard


@never_cache
@require_safe
def dashboard(request: HttpRequest, name: str) -> HttpResponse:
    """Show a dashboard; deferred panels load later."""
    selected, period = _get_dashboard(request, name), select_period(request)
    page = PageContext(request.user, period.period)
    if period.error:
        messages.error(request, period.error)
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": selected.title if selected.area else f"{selected.title} dashboard",
        "dashboard": selected,
        "dashboards": [other for other in DASHBOARDS if request.user.has_perm(other.permission)],
        "panels": [RenderedPanel(panel) if panel.deferred else render_panel(panel, page) for panel in selected.panels],
        "may_retry": _may_retry(request),
        "selected": period,
        "ranges": DAYS,
        "today": timezone.now().date(),
    }
    return TemplateResponse(request, "admin/analytics/dashboard.html", context)


@never_cache
@require_safe
def dashboard_panel(request: HttpRequest, name: str, panel: str) -> HttpResponse | StreamingHttpResponse:
    """Return one panel as an HTML fragment, or its table as CSV."""
    selected, period = _get_dashboard(request, name), select_period(request)
    definition = selected.panel(panel)
    if definition is None:
        raise Http404
    shown = render_panel(definition, PageContext(request.user, period.period))
    if request.GET.get("format") == "csv":
        if shown.content is None:
            return HttpResponse(shown.error, status=503, content_type="text/plain; charset=utf-8")
        filename = f"{name}-{panel}-{period.period.first}-{period.period.last}.csv"
        return csv_download(request, panel_csv(shown.content), filename=filename)
    context = {"shown": shown, "dashboard": selected, "selected": period, "may_retry": _may_retry(request)}
    return TemplateResponse(request, "admin/analytics/panel.html", context)


@require_POST
def retry(request: HttpRequest, task_id: UUID) -> HttpResponse:
    """Retry a failed background task."""
    _get_dashboard(request, "operations")
    if not _may_retry(request):
        raise PermissionDenied
    if retry_task(task_id=task_id):
        messages.success(request, "The task was queued again.")
    else:
        messages.info(request, "The task has not failed, or it was already retried.")
    return redirect("dashboard", "operations")


def _may_retry(request: HttpRequest) -> bool:
    return request.user.has_perm("transactions.change_backgroundtask")
