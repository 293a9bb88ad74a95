"""Metrics of the whole system, collected when Prometheus scrapes: queues, database, Redis, money.

A collector is one function that fills a `Metrics`. Rules that hold here:
- Each collector fails alone: `kamioi_collector_up{group}` is 0, its metrics are missing, the scrape continues.
- Nothing waits long: queries and Redis commands have a timeout, and all collectors share `BUDGET_SECONDS`; a collector
  that gets no turn is down. Results are reused for `ttl` seconds, so many scrapers cost as much as one.
- No collector scans a big table: they read rollups, partial indexes with a LIMIT, and the catalogue.
- The connection does not come from the pool: these metrics must work when the pool is exhausted.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg2
from django.db import connections
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

logger = logging.getLogger(__name__)

BUDGET_SECONDS = 8.0  # below Prometheus' scrape timeout of 10
STATEMENT_SECONDS = 2.0
_CONNECT_SECONDS = 2


class Metrics:
    """The result of one collector. Another call with the same name adds a sample to that metric."""

    def __init__(self) -> None:
        self._families: dict[str, Metric] = {}

    def gauge(self, name: str, help_text: str, value: float | None, /, **labels: str) -> None:
        """Add a value that goes up and down; None adds no sample."""
        self._add(GaugeMetricFamily, name, help_text, value, labels)

    def counter(self, name: str, help_text: str, value: float | None, /, **labels: str) -> None:
        """Add a value that only grows, counted elsewhere; the name comes without `_total`."""
        self._add(CounterMetricFamily, name, help_text, value, labels)

    def _add(
        self, kind: Callable[..., Metric], name: str, help_text: str, value: float | None, labels: dict[str, str]
    ) -> None:
        if value is not None:
            family = self._families.get(name) or kind(name, help_text, labels=tuple(labels))
            self._families[name] = family
            family.add_metric(tuple(labels.values()), float(value))  # type: ignore[attr-defined]

    def families(self) -> list[Metric]:
        return list(self._families.values())


class MetricsDatabase:
    """A separate database connection for one scrape, opened when the first collector needs it."""

    def __init__(self) -> None:
        self._connection: Any = None

    @contextmanager
    def cursor(self) -> Iterator[Any]:
        """Open a cursor in a new read-only transaction with a statement timeout."""
        if self._connection is None or self._connection.closed:
            parameters = connections["default"].get_connection_params()
            parameters = {key: value for key, value in parameters.items() if key not in {"cursor_factory", "context"}}
            self._connection = psycopg2.connect(**parameters | {"connect_timeout": _CONNECT_SECONDS})
        with self._connection, self._connection.cursor() as cursor:
            # LOCAL: behind PgBouncer, the next user of the server connection must not inherit the settings.
            cursor.execute(
                f"SET LOCAL statement_timeout = {int(STATEMENT_SECONDS * 1000)};"
                "SET LOCAL transaction_read_only = on; SET LOCAL lock_timeout = 500; SET LOCAL jit = off"
            )
            yield cursor

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of one query."""
        with self.cursor() as cursor:
            cursor.execute(sql, list(parameters))
            return list(cursor.fetchall())

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


CollectFunction = Callable[[Metrics, MetricsDatabase], None]


@dataclass(slots=True)
class _Group:
    collect: CollectFunction
    ttl: float
    families: list[Metric] = field(default_factory=list)
    up: bool = False
    seconds: float = 0.0
    fresh_until: float = 0.0


class MetricsCollector(Collector):
    """Runs all registered collectors, one after another."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}
        self._lock = threading.Lock()

    def register(self, name: str, collect: CollectFunction, ttl: float) -> None:
        """Add a collector, or replace the one of this name."""
        self._groups[name] = _Group(collect, ttl)

    def expire(self) -> None:
        """Discard all results, so that the next scrape collects again."""
        for group in self._groups.values():
            group.fresh_until = 0.0

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of each collector, and whether it worked."""
        up = GaugeMetricFamily("kamioi_collector_up", "Whether a group of metrics could be read.", labels=["group"])
        seconds = GaugeMetricFamily("kamioi_collector_seconds", "Duration of a group.", labels=["group"])
        with self._lock:  # a second scraper gets the results of the first
            self._refresh()
            for name, group in self._groups.items():
                up.add_metric([name], float(group.up))
                seconds.add_metric([name], group.seconds)
                yield from group.families
        yield up
        yield seconds

    def _refresh(self) -> None:
        started = time.monotonic()
        stale = {name: group for name, group in self._groups.items() if group.fresh_until <= started}
        database = MetricsDatabase()
        try:
            # Oldest first: a slow collector must not starve the same others every time.
            for name, group in sorted(stale.items(), key=lambda item: item[1].fresh_until):
                self._run(name, group, database, out_of_time=time.monotonic() - started > BUDGET_SECONDS)
        finally:
            database.close()

    @staticmethod
    def _run(name: str, group: _Group, database: MetricsDatabase, *, out_of_time: bool) -> None:
        started = time.monotonic()
        group.families, group.up, group.seconds = [], False, 0.0
        if out_of_time:
            logger.warning("metrics of %s: no time left", name)
            return
        metrics = Metrics()
        try:
            group.collect(metrics, database)
        except Exception as error:  # whatever it is, the other collectors must run
            logger.warning("metrics of %s failed: %s", name, type(error).__name__, exc_info=True)
        else:
            group.families, group.up = metrics.families(), True
        now = time.monotonic()
        group.seconds, group.fresh_until = now - started, now + group.ttl


metrics_collector = MetricsCollector()


def collector(name: str, *, ttl: float = 10.0) -> Callable[[CollectFunction], CollectFunction]:
    """Register a function as a collector; it gets a `Metrics` to fill and a database to query.

    Args:
        name: the label `group` of `kamioi_collector_up`.
        ttl: seconds for which a result is reused.
    """

    def register(collect: CollectFunction) -> CollectFunction:
        metrics_collector.register(name, collect, ttl)
        return collect

    return register
