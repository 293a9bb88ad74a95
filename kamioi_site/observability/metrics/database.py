"""What this process does with the database: lent connections, waits for one, and the time of statements."""

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

_STATEMENT_SHOWN = 400  # characters


# Most connections that the pool of each alias may open.
_limits: dict[str, int] = {}


@contextmanager
def waiting_for_connection(alias: str, options: dict[str, Any]) -> Iterator[None]:
    """Times the borrowing of a connection from the pool of an alias with these options."""
    began = time.perf_counter()
    try:
        yield
    finally:
        metrics.POOL_WAIT_SECONDS.observe(time.perf_counter() - began)
        if alias in connections:  # Django has one of its own for making databases
            _limits[alias] = options.get("POOL_SIZE", 0) + options.get("MAX_OVERFLOW", 0)
        metrics.POOL_LIMIT.set(sum(_limits.values()))


@event.listens_for(Pool, "checkout")
def _lent(*_: Any) -> None:
    metrics.POOL_IN_USE.inc()


@event.listens_for(Pool, "checkin")
def _came_back(*_: Any) -> None:
    metrics.POOL_IN_USE.dec()


def _watch(connection: BaseDatabaseWrapper, **_: Any) -> None:
    if _timed not in connection.execute_wrappers:
        connection.execute_wrappers.append(_timed)


def _timed(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    began = time.perf_counter()
    try:
        return execute(sql, params, many, context)
    finally:
        seconds = time.perf_counter() - began
        metrics.QUERY_SECONDS.observe(seconds)
        if 0 < settings.SLOW_STATEMENT_SECONDS < seconds:
            # Without its values: they are people's data.
            logger.warning("slow statement, %.1f s: %s", seconds, " ".join(str(sql).split())[:_STATEMENT_SHOWN])


connection_created.connect(_watch, dispatch_uid="kamioi_site.observability.metrics")
