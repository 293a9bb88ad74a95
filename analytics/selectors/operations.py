"""The state of the system: queues, workers, background tasks, the database, caches, this process."""

import os
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import psutil
from celery import current_app
from django.db import transaction
from django.utils import timezone
from django_celery_beat.models import PeriodicTask
from redis import RedisError

from analytics.selectors.finance import last_booking_at
from analytics.selectors.queries import fetch_rows
from kamioi_site.cache.redis import redis_client
from kamioi_site.cache.statistics import NamespaceStats, namespace_stats
from kamioi_site.db import replica
from kamioi_site.db.partitions import PartitionStatus, partition_status
from kamioi_site.observability import postgres_stats
from kamioi_site.observability.queues import QueueStatus, broker_connection
from kamioi_site.observability.queues import queue_statuses as broker_queue_statuses
from llm_center.services.staff_maintenance import is_queue_enabled
from transactions.migration_phase import get_migration_state
from transactions.models import BackgroundTask


# --- Queues, workers and tasks ----------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """A worker that responded."""

    name: str
    queues: tuple[str, ...]
    processes: int
    active: int
    completed: int


@dataclass(frozen=True, slots=True)
class FailedTask:
    """A failed background task."""

    id: str
    name: str
    requested_by: str
    error: str
    attempts: int
    failed_at: datetime | None


def queue_statuses() -> list[QueueStatus]:
    return broker_queue_statuses()[0]


def worker_statuses(*, wait: float = 1.0) -> list[WorkerStatus]:
    """Return the workers that respond within `wait` seconds (which is how long this takes), by name."""
    with broker_connection() as connection:
        stats = current_app.control.inspect(timeout=wait, connection=connection).stats() or {}
        # As many replies as there are workers: then there is nothing left to wait for.
        inspect = current_app.control.inspect(timeout=wait, connection=connection, limit=len(stats))
        queues, active = (inspect.active_queues() or {}, inspect.active() or {}) if stats else ({}, {})
    return [
        WorkerStatus(
            name=name,
            queues=tuple(sorted(queue["name"] for queue in queues.get(name) or ())),
            processes=len((worker.get("pool") or {}).get("processes") or ()),
            active=len(active.get(name) or ()),
            completed=sum((worker.get("total") or {}).values()),
        )
        for name, worker in sorted(stats.items())
    ]


_FAILED = """
    SELECT task.id::text, task.name, coalesce(users.email, ''), task.error, task.attempts, task.finished_at
    FROM (SELECT * FROM background_tasks ORDER BY created_at DESC LIMIT 20000) AS task
    LEFT JOIN users ON users.id = task.user_id
    WHERE task.status = 'failed' ORDER BY task.created_at DESC LIMIT %(limit)s
"""


def failed_tasks(*, limit: int = 20) -> list[FailedTask]:
    """Return the newest failed tasks among the newest twenty thousand tasks."""
    return [FailedTask(*row) for row in fetch_rows(_FAILED, limit=limit)]


# --- The database -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class RunningQuery:
    """A query, or an idle transaction, that has been open for a while."""

    sql: str
    state: str
    seconds: float
    waits_for: str


_RUNNING = """
    SELECT left(query, 300), state, extract(epoch FROM clock_timestamp() - query_start)::float,
           coalesce(wait_event_type, '')
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND state IN ('active', 'idle in transaction')
      AND query_start < clock_timestamp() - make_interval(secs => %(seconds)s)
    ORDER BY query_start LIMIT %(limit)s
"""


def running_queries(*, seconds: float = 5, limit: int = 10) -> list[RunningQuery]:
    """Return what has been running, or keeping a transaction open, for this long; the longest first."""
    return [RunningQuery(*row) for row in fetch_rows(_RUNNING, seconds=seconds, limit=limit)]


def connections() -> postgres_stats.Connections:
    return postgres_stats.connections(fetch_rows)


def buffer_hit_rate() -> float | None:
    return postgres_stats.database_counters(fetch_rows).cache_hit_rate


def slow_statements(*, limit: int = 10) -> list[postgres_stats.StatementStats] | None:
    """Return the statements with the highest total time; None if `pg_stat_statements` is not loaded."""
    statements = postgres_stats.slowest_statements(fetch_rows)
    return None if statements is None else statements[:limit]


def partitions() -> list[PartitionStatus]:
    return partition_status()


def read_replica_status() -> replica.ReplicaState | None:
    """Return the state of the replica that analytics reads from; None if none is configured."""
    return replica.replica_state() if replica.has_replica() else None


def standbys() -> list[postgres_stats.Standby]:
    """Return the standbys of the primary."""
    return postgres_stats.standbys(_fetch_from_primary)


def _fetch_from_primary(sql: str) -> list[tuple[Any, ...]]:
    with transaction.atomic(), transaction.get_connection().cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


# --- The cache --------------------------------------------------------------------------------------------------------
def cache_stats() -> list[NamespaceStats]:
    """Return today's reads (UTC) by cache namespace, the busiest first; unused ones are left out."""
    return sorted((stats for stats in namespace_stats().values() if stats.reads), key=lambda stats: -stats.reads)


def cache_hit_rate(stats: list[NamespaceStats]) -> float | None:
    """Return the share of reads (0 to 1) that computed nothing; None without reads."""
    reads = sum(namespace.reads for namespace in stats)
    return sum(namespace.hit + namespace.stale + namespace.shared for namespace in stats) / reads if reads else None


def cache_hit_percent() -> float | None:
    rate = cache_hit_rate(cache_stats())
    return None if rate is None else round(rate * 100, 2)


# --- The system as a whole --------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class MigrationStatus:
    """The migration from the legacy system; `runs` are (command, status, rows, started at), the newest first."""

    phase: str
    dual_write: bool
    error: str
    runs: list[tuple[str, str, int, datetime]]


_MIGRATION_RUNS: Final = "SELECT command, status, rows_done, started_at FROM migration_runs ORDER BY id DESC LIMIT 5"


def migration_status() -> MigrationStatus | None:
    """Return the state of the legacy migration; None if none was ever started."""
    state = get_migration_state()
    if state is None:
        return None
    return MigrationStatus(state.phase, state.dual_write, state.error, fetch_rows(_MIGRATION_RUNS))


@dataclass(frozen=True, slots=True)
class SystemStatus:
    """Whether Redis responds, whether the LLM queue is enabled and when it last ran, and open background tasks."""

    redis: bool
    queue_enabled: bool
    queue_last_run: datetime | None
    open_tasks: int
    last_booking: datetime | None


def system_status() -> SystemStatus:
    try:
        redis = bool(redis_client().ping())
    except RedisError:
        redis = False
    beat = PeriodicTask.objects.filter(name="process_llm_queue").first()
    return SystemStatus(
        redis=redis,
        queue_enabled=is_queue_enabled(),
        queue_last_run=beat.last_run_at if beat else None,
        open_tasks=BackgroundTask.objects.filter(status__in=BackgroundTask.OPEN).count(),
        last_booking=last_booking_at(),
    )


def machine_load() -> float:
    """Return the load of the last minute in percent of the processors."""
    return psutil.getloadavg()[0] * 100 / (psutil.cpu_count() or 1)


def process_uptime() -> float:
    """Return the age of this process in seconds."""
    return round(timezone.now().timestamp() - psutil.Process(os.getpid()).create_time(), 1)


def process_memory_mb() -> float:
    """Return the resident memory of this process."""
    return round(psutil.Process(os.getpid()).memory_info().rss / 1024**2, 1)
