"""Database metrics of this process: pool connections in use, waits for one, and query durations."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from sqlalchemy import event
from sqlalchemy.pool import Pool

from kamioi_site.observability import metrics

logger = logging.getLogger(__name__)

_MAX_LOGGED_SQL = 400  # characters

# The connection limit of each alias.
_limits: dict[str, int] = {}


@contextmanager
def time_connection_wait(alias: str, options: dict[str, Any]) -> Iterator[None]:
    """Time the checkout of a connection from the pool of an alias with these options."""
    started = time.perf_counter()
    try:
        yield
    finally:
        metrics.POOL_WAIT_SECONDS.observe(time.perf_counter() - started)
        if alias in connections:  # Django uses another alias to create databases
            _limits[alias] = options.get("POOL_SIZE", 0) + options.get("MAX_OVERFLOW", 0)
        metrics.POOL_LIMIT.set(sum(_limits.values()))


@event.listens_for(Pool, "checkout")
def _count_checkout(*_: Any) -> None:
    metrics.POOL_IN_USE.inc()


@event.listens_for(Pool, "checkin")
def _count_checkin(*_: Any) -> None:
    metrics.POOL_IN_USE.dec()


def _add_timer(connection: BaseDatabaseWrapper, **_: Any) -> None:
    if _time_query not in connection.execute_wrappers:
        connection.execute_wrappers.append(_time_query)


def _time_query(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    started = time.perf_counter()
    try:
        return execute(sql, params, many, context)
    finally:
        seconds = time.perf_counter() - started
        metrics.QUERY_SECONDS.observe(seconds)
        if 0 < settings.SLOW_STATEMENT_SECONDS < seconds:
            # Without its parameters: they are personal data.
            logger.warning("slow statement, %.1f s: %s", seconds, " ".join(str(sql).split())[:_MAX_LOGGED_SQL])


connection_created.connect(_add_timer, dispatch_uid="kamioi_site.observability.metrics")
