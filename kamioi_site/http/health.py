"""Health for load balancers and orchestrators: `/healthz` (this process answers) and `/readyz` (it can do its work).

Neither needs a log-in; neither tells more than the name of what is wrong. The details are logged. Both (and /metrics)
answer under any Host: who asks a process itself asks by its address, which no list of hosts can name.
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

# Reading the migration files takes long, and what is applied stays applied for the life of this process.
_migrations_seen_applied = False


@require_safe
@never_cache
def healthz(request: HttpRequest) -> JsonResponse:
    """200 as long as this process answers at all."""
    return JsonResponse({"status": "ok"})


@require_safe
@never_cache
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when database, Redis and migrations are in order, else 503 with what is wrong.

    A replica is named with whether it is used; without it everything works on the primary, so it makes nobody unready.
    """
    checks = {name: _outcome(name, check) for name, check in _CHECKS.items()}
    ready = all(outcome == "ok" for outcome in checks.values())
    if has_replica():
        checks["replica"] = _outcome("replica", _replica)
    return JsonResponse({"status": "ok" if ready else "unavailable", "checks": checks}, status=200 if ready else 503)


def _outcome(name: str, check: Callable[[], str]) -> str:
    try:
        return check()
    except Exception as error:  # whatever a driver raises means "not ready"
        logger.warning("not ready: %s", name, exc_info=True)
        return f"no answer ({type(error).__name__})"


def _database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return "ok"


def _redis() -> str:
    redis_client().ping()
    return "ok"


def _replica() -> str:
    state = replica_state()
    return "used" if state.used else f"not used: {state.reason}"


def _migrations() -> str:
    global _migrations_seen_applied  # noqa: PLW0603  # a fact about the process
    if not _migrations_seen_applied:
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
        if missing:
            return f"{len(missing)} not applied"
        _migrations_seen_applied = True
    return "ok"


_CHECKS: dict[str, Callable[[], str]] = {"database": _database, "redis": _redis, "migrations": _migrations}


class HealthCheckHostMiddleware:
    """Lets what probes and Prometheus ask for through the check of ALLOWED_HOSTS; none of it builds an address."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer as for a host of ours."""
        if request.path in HEALTH_CHECK_PATHS and settings.ALLOWED_HOSTS:
            request.META["HTTP_HOST"] = settings.ALLOWED_HOSTS[0].lstrip(".*") or "localhost"
        return self._get_response(request)
