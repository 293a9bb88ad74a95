"""The admin's page of the cache: what each family of keys holds and saves, and buttons that void it."""

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
from kamioi_site.cache.namespaces import (
    CacheNamespace,
    NamespaceSize,
    NamespaceStats,
    clear_caches,
    namespace_sizes,
    namespace_stats,
    namespaces,
)
from kamioi_site.cache.redis import redis_client

# Operators have it, and administrators.
PERMISSION: Final = "transactions.change_backgroundtask"
ALL: Final = "all"


@dataclass(frozen=True, slots=True)
class _Row:
    family: CacheNamespace
    size: NamespaceSize | None
    today: NamespaceStats
    yesterday: NamespaceStats


@require_http_methods(["GET", "HEAD", "POST"])
def cache_view(request: HttpRequest) -> HttpResponse:
    """The families with their figures; POST voids one family or all, and says so in the audit trail."""
    if not request.user.has_perm(PERMISSION):
        raise PermissionDenied
    if request.method == "POST":
        return _clear(request)
    if (chosen := request.GET.get("clear")) is not None:
        if _named(chosen) is None:
            return HttpResponseBadRequest("There is no such family.")
        context = {
            **admin.site.each_context(request),
            "title": "Clear the cache",
            "chosen": chosen,
            "all": chosen == ALL,
        }
        return TemplateResponse(request, "admin/cache_clear.html", context)
    return TemplateResponse(request, "admin/cache.html", _context(request))


def _clear(request: HttpRequest) -> HttpResponse:
    chosen = request.POST.get("family", "")
    found = _named(chosen)
    if found is None:
        return HttpResponseBadRequest("There is no such family.")
    if chosen == ALL:
        clear_caches()
    else:
        found[0].clear()
    what = "Every cached value" if chosen == ALL else f"What was cached under {chosen}"
    audit_log(request.user, "Cleared.", target=f"cache {chosen}")
    messages.success(request, f"{what} is void. The next reader computes it anew.")
    return redirect("admin-cache")


def _named(chosen: str) -> list[CacheNamespace] | None:
    """The families of this name; None when there is none."""
    return [family for family in namespaces() if chosen in {ALL, family.template}] or None


def _context(request: HttpRequest) -> dict[str, Any]:
    now = datetime.now(UTC)
    today, yesterday = namespace_stats(day=now.date()), namespace_stats(day=(now - timedelta(days=1)).date())
    try:
        sizes = namespace_sizes()
        server = redis_client().info()
    except RedisError:
        sizes, server = {}, None

    def figures(found: dict[str, NamespaceStats], family: CacheNamespace) -> NamespaceStats:
        return found.get(family.template) or NamespaceStats(family=family.template)

    rows = [
        _Row(family, sizes.get(family.template), figures(today, family), figures(yesterday, family))
        for family in namespaces()
    ]
    reads = sum(row.today.reads for row in rows)
    saved = sum(row.today.hit + row.today.stale + row.today.shared for row in rows)
    return {
        **admin.site.each_context(request),
        "title": "Cache",
        "rows": rows,
        "reads": reads,
        "hit_percent": round(100 * saved / reads, 1) if reads else None,
        "server": server,
        "all": ALL,
    }
