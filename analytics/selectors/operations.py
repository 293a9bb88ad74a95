"""How the machinery runs, as typed functions: queues, workers, background tasks, the database, caches, this process.

What is in the database is read as in `analytics.selectors.figures`, bounded in time.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import psutil
from celery import current_app
from django.db import transaction
from django.utils import timezone
from django_celery_beat.models import PeriodicTask
from kombu.exceptions import ChannelError
from redis import RedisError

from analytics.selectors.figures import last_booking, reading, rows_read
from kamioi_site.cache.namespaces import NamespaceStats, namespace_stats
from kamioi_site.cache.redis import redis_client
from kamioi_site.db import replica
from kamioi_site.db.partitions import PartitionStatus, partition_status
from llm_center.services.staff_maintenance import is_queue_enabled
from transactions.legacy.state import state_read
from transactions.models import BackgroundTask


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """Messages that wait in a queue of the broker."""

    queue: str
    waiting: int


@dataclass(frozen=True, slots=True)
class WorkerState:
    """A worker that answered: its queues, processes, tasks it has in work, tasks it has done."""

    name: str
    queues: tuple[str, ...]
    processes: int
    active: int
    done: int


@dataclass(frozen=True, slots=True)
class FailedTask:
    """A background task that failed."""

    id: str
    name: str
    who: str
    error: str
    attempts: int
    failed_at: datetime | None


@dataclass(frozen=True, slots=True)
class SlowQuery:
    """A statement as `pg_stat_statements` sums it up; milliseconds."""

    query: str
    calls: int
    mean_ms: float
    total_ms: float
    rows: int


@dataclass(frozen=True, slots=True)
class RunningQuery:
    """A statement that has been running for a while."""

    query: str
    state: str
    seconds: float
    waits_for: str


@dataclass(frozen=True, slots=True)
class Connections:
    """Connections to the database by state, of how many there may be; and how often a block was found in its cache."""

    by_state: dict[str, int]
    maximum: int
    cache_hit_rate: Decimal | None

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.by_state.values())


@dataclass(frozen=True, slots=True)
class StandbyState:
    """A standby as the primary sees it."""

    name: str
    state: str
    bytes_behind: int | None
    seconds_behind: float | None


@dataclass(frozen=True, slots=True)
class MigrationStand:
    """Where the migration from the legacy system stands; `runs` are (command, status, rows, started), the newest first."""

    phase: str
    dual_write: bool
    error: str
    runs: list[tuple[str, str, int, datetime]]


_BROKER_SECONDS: Final = 1.0


def queue_depths() -> list[QueueDepth]:
    """What waits in each queue. Raises the broker's error when it does not answer within a second or so."""
    names = [queue.name for queue in current_app.conf.task_queues]
    depths = []
    with _broker() as connection:
        channel = connection.default_channel
        for name in names:
            try:
                waiting = channel.queue_declare(name, passive=True).message_count
            except ChannelError:  # nothing was ever sent there
                waiting, channel = 0, connection.channel()
            except connection.channel_errors:
                waiting, channel = 0, connection.channel()
            depths.append(QueueDepth(name, waiting))
    return depths


@contextmanager
def _broker() -> Iterator[Any]:
    options = dict(current_app.conf.broker_transport_options or {})
    connection = current_app.connection_for_read()
    connection.transport_options = options | {
        "socket_timeout": _BROKER_SECONDS,
        "socket_connect_timeout": _BROKER_SECONDS,
    }
    connection.connect_timeout = _BROKER_SECONDS
    with connection:
        connection.ensure_connection(max_retries=1, timeout=_BROKER_SECONDS, interval_start=0, interval_step=0)
        yield connection


def workers(*, wait: float = 1.0) -> list[WorkerState]:
    """Workers that answer within `wait` seconds (which is how long this takes), by name."""
    with _broker() as connection:
        stats = current_app.control.inspect(timeout=wait, connection=connection).stats() or {}
        # As many answers as there are workers: nothing more to wait for.
        asked = current_app.control.inspect(timeout=wait, connection=connection, limit=len(stats))
        queues, active = (asked.active_queues() or {}, asked.active() or {}) if stats else ({}, {})
    return [
        WorkerState(
            name=name,
            queues=tuple(sorted(queue["name"] for queue in queues.get(name) or ())),
            processes=len((state.get("pool") or {}).get("processes") or ()),
            active=len(active.get(name) or ()),
            done=sum((state.get("total") or {}).values()),
        )
        for name, state in sorted(stats.items())
    ]


_TASKS_LOOKED_AT: Final = 20_000
_FAILED = """
    SELECT task.id::text, task.name, coalesce(users.email, ''), task.error, task.attempts, task.finished_at
    FROM (SELECT * FROM background_tasks ORDER BY created_at DESC LIMIT %(look_at)s) AS task
    LEFT JOIN users ON users.id = task.user_id
    WHERE task.status = 'failed' ORDER BY task.created_at DESC LIMIT %(most)s
"""


def failed_tasks(*, limit: int = 20) -> list[FailedTask]:
    """The newest failed ones, among the newest twenty thousand tasks."""
    return [FailedTask(*row) for row in rows_read(_FAILED, most=limit, look_at=_TASKS_LOOKED_AT)]


_SLOW = """
    SELECT left(query, 500), calls, mean_exec_time, total_exec_time, rows FROM pg_stat_statements
    WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
    ORDER BY total_exec_time DESC LIMIT %(most)s
"""
_STATEMENTS_LOADED = """
    SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_stat_statements')
       AND current_setting('shared_preload_libraries') LIKE '%%pg_stat_statements%%'
"""


def slow_queries(*, limit: int = 10) -> list[SlowQuery] | None:
    """The statements that took most time in all; None where `pg_stat_statements` is not loaded."""
    with reading() as cursor:
        cursor.execute(_STATEMENTS_LOADED, {})
        if not cursor.fetchone()[0]:
            return None
        cursor.execute(_SLOW, {"most": limit})
        return [SlowQuery(*row) for row in cursor.fetchall()]


_RUNNING = """
    SELECT left(query, 300), state, extract(epoch FROM clock_timestamp() - query_start)::float, coalesce(wait_event_type, '')
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND state IN ('active', 'idle in transaction')
      AND query_start < clock_timestamp() - make_interval(secs => %(seconds)s)
    ORDER BY query_start LIMIT %(most)s
"""


def running_queries(*, seconds: float = 5, limit: int = 10) -> list[RunningQuery]:
    """What has been running, or holding a transaction open, for at least this long; the longest first."""
    return [RunningQuery(*row) for row in rows_read(_RUNNING, seconds=seconds, most=limit)]


_CONNECTIONS = """
    SELECT coalesce(state, 'background'), count(*) FROM pg_stat_activity WHERE datname = current_database() GROUP BY 1 ORDER BY 1
"""
_BLOCKS = """
    SELECT current_setting('max_connections')::int, (blks_hit::numeric / nullif(blks_hit + blks_read, 0))
    FROM pg_stat_database WHERE datname = current_database()
"""


def current_connections() -> Connections:
    """Of the database that answers reads."""
    with reading() as cursor:
        cursor.execute(_CONNECTIONS)
        by_state = dict(cursor.fetchall())
        cursor.execute(_BLOCKS)
        maximum, rate = cursor.fetchone()
    return Connections(by_state, maximum, rate)


def cache_stats() -> list[NamespaceStats]:
    """What the reads of today (UTC) met, by family of cached values; the busiest first, those without a read left out."""
    figures = [family for family in namespace_stats().values() if family.reads]
    return sorted(figures, key=lambda family: -family.reads)


def partitions() -> list[PartitionStatus]:
    """Months made ahead, and rows that lie in a default partition (ten thousand means that many or more)."""
    return partition_status()


_REPLICAS = """
    SELECT coalesce(nullif(application_name, ''), client_addr::text, 'standby'), state,
           pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint, extract(epoch FROM replay_lag)::float
    FROM pg_stat_replication ORDER BY 1
"""


def read_replica_status() -> replica.ReplicaState | None:
    """The replica that reads of analytics go to; None when none is set."""
    return replica.replica_state() if replica.has_replica() else None


def replicas() -> list[StandbyState]:
    """Standbys that stream from the primary; none where there are none."""
    # The primary knows them, so this is asked there.
    with transaction.atomic(), transaction.get_connection().cursor() as cursor:
        cursor.execute(_REPLICAS)
        return [StandbyState(*row) for row in cursor.fetchall()]


def migration_status(*, limit: int = 5) -> MigrationStand | None:
    """None when nothing was ever carried over."""
    state = state_read()
    if state is None:
        return None
    runs = rows_read(
        "SELECT command, status, rows_done, started_at FROM migration_runs ORDER BY id DESC LIMIT %(most)s", most=limit
    )
    return MigrationStand(
        state.phase, state.dual_write, state.error, [(command, status, rows, at) for command, status, rows, at in runs]
    )


@dataclass(frozen=True, slots=True)
class Machinery:
    """What runs: whether Redis answers, whether the queue is on, runs of its schedule, open background tasks."""

    redis: bool
    queue_on: bool
    queue_last_run: datetime | None
    open_tasks: int
    last_booking: datetime | None


def system_status() -> Machinery:
    """What runs now."""
    try:
        redis = bool(redis_client().ping())
    except RedisError:
        redis = False
    beat = PeriodicTask.objects.filter(name="process_llm_queue").first()
    open_tasks = BackgroundTask.objects.filter(
        status__in=[BackgroundTask.Status.QUEUED, BackgroundTask.Status.RUNNING]
    ).count()
    return Machinery(
        redis=redis,
        queue_on=is_queue_enabled(),
        queue_last_run=beat.last_run_at if beat else None,
        open_tasks=open_tasks,
        last_booking=last_booking(),
    )


def process_uptime() -> float:
    """Seconds since this process began."""
    return round(timezone.now().timestamp() - psutil.Process(os.getpid()).create_time(), 1)


def process_memory_mb() -> float:
    """Megabytes that this process holds."""
    return round(psutil.Process(os.getpid()).memory_info().rss / 1024**2, 1)


def cache_hit_rate() -> float | None:
    """Percent of today's cached reads that computed nothing; None before the first."""
    figures = namespace_stats().values()
    reads = sum(family.reads for family in figures)
    served = sum(family.hit + family.stale + family.shared for family in figures)
    return round(served * 100 / reads, 2) if reads else None
