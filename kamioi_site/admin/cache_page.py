"""The cache page of the admin: statistics of each namespace, and buttons that clear it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.views.decorators.http import require_http_methods
from redis.exceptions import RedisError

from kamioi_site.admin.audit_log import audit_log
from kamioi_site.cache.namespaces import CacheNamespace, clear_caches, namespaces
from kamioi_site.cache.redis import redis_client
from kamioi_site.cache.statistics import NamespaceSize, NamespaceStats, namespace_sizes, namespace_stats

# Held by operators and administrators.
PERMISSION: Final = "transactions.change_backgroundtask"
ALL: Final = "all"


@dataclass(frozen=True, slots=True)
class _Row:
    namespace: CacheNamespace
    size: NamespaceSize | None
    today: NamespaceStats
    yesterday: NamespaceStats


@require_http_methods(["GET", "HEAD", "POST"])
def cache_view(request: HttpRequest) -> HttpResponse:
    """Show the namespaces of the cache with their statistics; POST clears one or all."""
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    if request.method == "POST":
        return _clear(request)
    if (name := request.GET.get("clear")) is not None:
        if not _select(name):
            return HttpResponseBadRequest("Unknown namespace.")
        context = {**admin.site.each_context(request), "title": "Clear cache", "namespace": name, "all": name == ALL}
        return TemplateResponse(request, "admin/cache_clear.html", context)
    return TemplateResponse(request, "admin/cache.html", _context(request))


def _clear(request: HttpRequest) -> HttpResponse:
    name = request.POST.get("namespace", "")
    selected = _select(name)
    if not selected:
        return HttpResponseBadRequest("Unknown namespace.")
    if name == ALL:
        clear_caches()
    else:
        selected[0].clear()
    audit_log(request.user, "Cleared.", target=f"cache {name}")
    messages.success(request, "Cache cleared." if name == ALL else f"Cache namespace {name} cleared.")
    return redirect("admin-cache")


def _select(name: str) -> list[CacheNamespace]:
    return [namespace for namespace in namespaces() if name in {ALL, namespace.template}]


def _context(request: HttpRequest) -> dict[str, Any]:
    now = datetime.now(UTC)
    today, yesterday = namespace_stats(day=now.date()), namespace_stats(day=(now - timedelta(days=1)).date())
    try:
        sizes = namespace_sizes()
        server = redis_client().info()
    except RedisError:
        sizes, server = {}, None

    def stats(by_name: dict[str, NamespaceStats], namespace: CacheNamespace) -> NamespaceStats:
        return by_name.get(namespace.template) or NamespaceStats(family=namespace.template)

    rows = [
        _Row(namespace, sizes.get(namespace.template), stats(today, namespace), stats(yesterday, namespace))
        for namespace in namespaces()
    ]
    reads = sum(row.today.reads for row in rows)
    hits = sum(row.today.hit + row.today.stale + row.today.shared for row in rows)
    return {
        **admin.site.each_context(request),
        "title": "Cache",
        "rows": rows,
        "reads": reads,
        "hit_percent": round(100 * hits / reads, 1) if reads else None,
        "server": server,
    }
