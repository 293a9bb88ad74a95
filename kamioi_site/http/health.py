"""Health checks for load balancers and orchestrators: `/healthz` (the process answers) and `/readyz` (it can work).

Neither needs a log-in, and a response names only what failed; details are logged. These paths and `/metrics` accept any
Host header: probes address a process by its IP address, which ALLOWED_HOSTS cannot list.
"""

import logging
from collections.abc import Callable
from typing import Final

from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from kamioi_site.cache.redis import redis_client
from kamioi_site.db.replica import has_replica, replica_state

logger = logging.getLogger(__name__)

HEALTH_CHECK_PATHS: Final = {"/healthz", "/readyz", "/metrics"}

# Reading the migration files is slow, and applied migrations stay applied while this process lives.
_migrations_seen_applied = False


@require_safe
@never_cache
def healthz(request: HttpRequest) -> JsonResponse:
    """Return 200 while this process answers."""
    return JsonResponse({"status": "ok"})


@require_safe
@never_cache
def readyz(request: HttpRequest) -> JsonResponse:
    """Return 200 if database, Redis and migrations are in order, else 503 and what failed.

    A replica is reported but optional: without it every read goes to the primary.
    """
    checks = {name: _run_check(name, check) for name, check in _CHECKS.items()}
    ready = all(result == "ok" for result in checks.values())
    if has_replica():
        checks["replica"] = _run_check("replica", _check_replica)
    return JsonResponse({"status": "ok" if ready else "unavailable", "checks": checks}, status=200 if ready else 503)


def _run_check(name: str, check: Callable[[], str]) -> str:
    try:
        return check()
    except Exception as error:  # any exception of a driver means "not ready"
        logger.warning("not ready: %s", name, exc_info=True)
        return f"no answer ({type(error).__name__})"


def _check_database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return "ok"


def _check_redis() -> str:
    redis_client().ping()
    return "ok"


def _check_replica() -> str:
    state = replica_state()
    return "used" if state.used else f"not used: {state.reason}"


def _check_migrations() -> str:
    global _migrations_seen_applied  # noqa: PLW0603
    if not _migrations_seen_applied:
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
        if missing:
            return f"{len(missing)} not applied"
        _migrations_seen_applied = True
    return "ok"


_CHECKS: dict[str, Callable[[], str]] = {
    "database": _check_database,
    "redis": _check_redis,
    "migrations": _check_migrations,
}


class HealthCheckHostMiddleware:
    """Exempt probes and Prometheus from ALLOWED_HOSTS; their responses contain no address built from the host."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Replace the host of a health check with an allowed one."""
        if request.path in HEALTH_CHECK_PATHS and settings.ALLOWED_HOSTS:
            request.META["HTTP_HOST"] = settings.ALLOWED_HOSTS[0].lstrip(".*") or "localhost"
        return self._get_response(request)
