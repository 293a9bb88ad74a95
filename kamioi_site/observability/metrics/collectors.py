"""Figures of the whole system, asked for when Prometheus comes: queues, database, Redis, money.

A group is one function that fills a `Figures`. Rules that hold here:
- Each group fails alone: `kamioi_collector_up{group}` says 0, its figures are missing, the scrape goes on.
- Nothing waits long: statements and Redis commands have a time-out, and all groups share `BUDGET_SECONDS`; what does
  not get its turn is down. A group's figures are kept for its `ttl` seconds, so many scrapers cost what one costs.
- No group scans a big table: rollups, partial indexes with a LIMIT, the catalogue.
- The connection is not the pool's: when the pool is used up, these figures are what tells.
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

BUDGET_SECONDS = 8.0  # below Prometheus' scrape time-out of 10
STATEMENT_SECONDS = 2.0
_CONNECT_SECONDS = 2


class Metrics:
    """What one group found. Calling `gauge` or `counter` again with the same name adds samples to it."""

    def __init__(self) -> None:
        self._families: dict[str, Metric] = {}

    def gauge(self, name: str, help_text: str, value: float | None, /, **labels: str) -> None:
        """A figure that goes up and down; None is no sample."""
        if value is not None:
            family = self._families.get(name) or GaugeMetricFamily(name, help_text, labels=tuple(labels))
            self._families[name] = family
            family.add_metric(tuple(labels.values()), float(value))  # type: ignore[attr-defined]

    def counter(self, name: str, help_text: str, value: float | None, /, **labels: str) -> None:
        """A figure that only grows, kept by somebody else; the name without `_total`."""
        if value is not None:
            family = self._families.get(name) or CounterMetricFamily(name, help_text, labels=tuple(labels))
            self._families[name] = family
            family.add_metric(tuple(labels.values()), float(value))  # type: ignore[attr-defined]

    def metrics(self) -> list[Metric]:
        """Everything, to be exposed."""
        return list(self._families.values())


class MetricsDatabase:
    """A connection of our own for the time of one scrape, opened when the first group needs it."""

    def __init__(self) -> None:
        self._connection: Any = None

    @contextmanager
    def cursor(self) -> Iterator[Any]:
        """A cursor in a read-only transaction of its own, every statement of which has a time-out."""
        if self._connection is None or self._connection.closed:
            parameters = connections["default"].get_connection_params()
            parameters = {key: value for key, value in parameters.items() if key not in {"cursor_factory", "context"}}
            self._connection = psycopg2.connect(**parameters | {"connect_timeout": _CONNECT_SECONDS})
        with self._connection, self._connection.cursor() as cursor:
            # LOCAL: behind PgBouncer the session belongs to somebody else afterwards.
            cursor.execute(
                f"SET LOCAL statement_timeout = {int(STATEMENT_SECONDS * 1000)};"
                "SET LOCAL transaction_read_only = on; SET LOCAL lock_timeout = 500; SET LOCAL jit = off"
            )
            yield cursor

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of one statement."""
        with self.cursor() as cursor:
            cursor.execute(sql, list(values))
            return list(cursor.fetchall())

    def close(self) -> None:
        """At the end of a scrape."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


Group = Callable[[Metrics, MetricsDatabase], None]


@dataclass(slots=True)
class _Registered:
    ask: Group
    ttl: float
    found: list[Metric] = field(default_factory=list)
    up: bool = False
    seconds: float = 0.0
    fresh_until: float = 0.0


class MetricsCollector(Collector):
    """All groups, one after the other."""

    def __init__(self) -> None:
        self._groups: dict[str, _Registered] = {}
        self._lock = threading.Lock()

    def register(self, name: str, ask: Group, ttl: float) -> None:
        """Add a group, or put another in its place."""
        self._groups[name] = _Registered(ask, ttl)

    def forget(self) -> None:
        """Ask every group anew at the next scrape."""
        for group in self._groups.values():
            group.fresh_until = 0.0

    def collect(self) -> Iterator[Metric]:
        """The figures of each group, and whether it could be asked."""
        up = GaugeMetricFamily("kamioi_collector_up", "Whether a group of figures could be read.", labels=["group"])
        seconds = GaugeMetricFamily("kamioi_collector_seconds", "How long a group took.", labels=["group"])
        with self._lock:  # a second scraper gets what the first one asked for
            self._refresh()
            for name, group in self._groups.items():
                up.add_metric([name], float(group.up))
                seconds.add_metric([name], group.seconds)
                yield from group.found
        yield up
        yield seconds

    def _refresh(self) -> None:
        started = time.monotonic()
        stale = {name: group for name, group in self._groups.items() if group.fresh_until <= started}
        database = MetricsDatabase()
        try:
            # Who waits longest goes first: a slow group must not starve the same others every time.
            for name, group in sorted(stale.items(), key=lambda item: item[1].fresh_until):
                self._ask(name, group, database, out_of_time=time.monotonic() - started > BUDGET_SECONDS)
        finally:
            database.close()

    @staticmethod
    def _ask(name: str, group: _Registered, database: MetricsDatabase, *, out_of_time: bool) -> None:
        began = time.monotonic()
        group.found, group.up, group.seconds = [], False, 0.0
        if out_of_time:
            logger.warning("figures of %s: no time left", name)
            return
        figures = Metrics()
        try:
            group.ask(figures, database)
        except Exception as error:  # whatever it is, the other groups must be told
            logger.warning("figures of %s cannot be read: %s", name, type(error).__name__, exc_info=True)
        else:
            group.found, group.up = figures.metrics(), True
        now = time.monotonic()
        group.seconds, group.fresh_until = now - began, now + group.ttl


metrics_collector = MetricsCollector()


def collector(name: str, *, ttl: float = 10.0) -> Callable[[Group], Group]:
    """Register a function as a group of figures. It gets a `Figures` to fill and the database to ask.

    Args:
        name: the label `group` of `kamioi_collector_up`.
        ttl: seconds that an answer is good for.
    """

    def register(ask: Group) -> Group:
        metrics_collector.register(name, ask, ttl)
        return ask

    return register
