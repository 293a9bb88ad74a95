"""Figures of the servers that Kamioi stands on: queues, Redis, PostgreSQL, partitions, replicas, the schedule."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from celery import current_app
from dateutil.relativedelta import relativedelta
from django.conf import settings

from kamioi_site.cache.namespaces import namespace_stats
from kamioi_site.cache.redis import redis_client
from kamioi_site.db.partitions import NAME_FORMAT, month_start, partitioned_models
from kamioi_site.db.replica import has_replica, replica_state
from kamioi_site.messaging.broker import queue_lengths
from kamioi_site.observability.metrics.collectors import Metrics, MetricsDatabase, collector
from kamioi_site.observability.metrics.workers import SENT_HEADER

# Rows of a default partition are counted up to here: it should be empty, and an alarm needs no exact figure.
_DEFAULT_ROWS_SEEN = 10_000
_STATEMENTS_SHOWN = 20


# --- Queues and Redis -------------------------------------------------------------------------------------------
@contextmanager
def _broker() -> Iterator[Any]:
    """The channel of a broker on Redis, None for another one."""
    with current_app.connection_for_read() as connection:
        connection.transport_options = {
            **(connection.transport_options or {}),
            "socket_timeout": 1,
            "socket_connect_timeout": 1,
        }
        if connection.transport.driver_type != "redis":
            yield None
            return
        yield connection.default_channel


@collector("queues", ttl=5)
def _queues(figures: Metrics, database: MetricsDatabase) -> None:
    with _broker() as channel:
        if channel is None:
            for queue, count in queue_lengths().items():
                figures.gauge("kamioi_queue_messages", "Messages that wait.", count, queue=queue, priority="all")
            return
        lists = [(queue.name, step) for queue in settings.CELERY_TASK_QUEUES for step in channel.priority_steps]
        pipe = channel.client.pipeline(transaction=False)
        for queue, step in lists:
            name = channel._q_for_pri(queue, step)
            pipe.llen(name)
            pipe.lindex(name, -1)  # messages go in at the left and out at the right
        pipe.hlen(channel.unacked_key)
        *found, unacknowledged = pipe.execute()
    now = time.time()
    oldest: dict[str, float] = {queue.name: 0.0 for queue in settings.CELERY_TASK_QUEUES}
    for (queue, step), count, message in zip(lists, found[::2], found[1::2], strict=True):
        figures.gauge("kamioi_queue_messages", "Messages that wait.", count, queue=queue, priority=str(step))
        if message is not None and (sent := _sent_at(message)) is not None:
            oldest[queue] = max(oldest[queue], now - sent)
    for queue, age in oldest.items():
        figures.gauge("kamioi_queue_oldest_seconds", "Age of the message that waits longest.", age, queue=queue)
    figures.gauge("kamioi_queue_unacknowledged", "Messages that workers hold.", unacknowledged)


def _sent_at(message: bytes) -> float | None:
    try:
        sent = json.loads(message)["headers"].get(SENT_HEADER)
    except (ValueError, KeyError, AttributeError, TypeError):
        return None
    return sent if isinstance(sent, (int, float)) else None


@collector("redis", ttl=5)
def _redis(figures: Metrics, database: MetricsDatabase) -> None:
    servers: dict[str, dict[str, Any]] = {"cache": redis_client().info()}
    if settings.BROKER_URL != settings.REDIS_URL:
        with _broker() as channel:
            if channel is not None:
                servers["broker"] = channel.client.info()
    for role, info in servers.items():
        for name, key, text in (
            ("memory_bytes", "used_memory", "Memory in use."),
            ("memory_limit_bytes", "maxmemory", "Most memory it may use; 0 is no limit."),
            ("clients", "connected_clients", "Connections."),
            ("clients_blocked", "blocked_clients", "Connections that wait for an answer, such as idle workers."),
            ("uptime_seconds", "uptime_in_seconds", "Since its start."),
        ):
            figures.gauge(f"kamioi_redis_{name}", text, info.get(key), role=role)
        for name, key, text in (
            ("evicted_keys", "evicted_keys", "Keys thrown out for want of memory."),
            ("expired_keys", "expired_keys", "Keys whose time was over."),
            ("keyspace_hits", "keyspace_hits", "Look-ups that found something."),
            ("keyspace_misses", "keyspace_misses", "Look-ups that found nothing."),
            ("commands", "total_commands_processed", "Commands."),
            ("connections_rejected", "rejected_connections", "Connections refused for want of room."),
        ):
            figures.counter(f"kamioi_redis_{name}", text, info.get(key), role=role)


@collector("cache", ttl=5)
def _cache(figures: Metrics, database: MetricsDatabase) -> None:
    redis_client().ping()  # without Redis the counts of families would be told as none
    for template, family in namespace_stats().items():
        for outcome in ("hit", "stale", "shared", "computed", "away", "failed"):
            figures.counter(
                "kamioi_cache_reads",
                "Reads of today by what they met.",
                getattr(family, outcome),
                family=template,
                outcome=outcome,
            )
        figures.gauge(
            "kamioi_cache_compute_seconds",
            "What computing a value takes on average.",
            family.compute_ms and family.compute_ms / 1000,
            family=template,
        )


# --- PostgreSQL -------------------------------------------------------------------------------------------------
@collector("postgres", ttl=5)
def _postgres(figures: Metrics, database: MetricsDatabase) -> None:
    for state, count, longest in database.rows(
        "SELECT coalesce(state, 'unknown'), count(*), coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)"
        " FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'"
        " AND pid <> pg_backend_pid() GROUP BY 1"
    ):
        figures.gauge("kamioi_pg_connections", "Connections to the database.", count, state=state)
        figures.gauge("kamioi_pg_longest_transaction_seconds", "Age of the oldest open one.", longest, state=state)
    ((used, limit),) = database.rows(
        "SELECT count(*), current_setting('max_connections')::int FROM pg_stat_activity"
        " WHERE backend_type = 'client backend'"
    )
    figures.gauge("kamioi_pg_connections_used", "Connections to the server, of every database.", used)
    figures.gauge("kamioi_pg_connections_limit", "The server's max_connections.", limit)
    for mode, granted, count, longest in database.rows(
        "SELECT mode, granted, count(*), max(extract(epoch FROM clock_timestamp() - waitstart))"
        " FROM pg_locks WHERE pid <> pg_backend_pid() GROUP BY 1, 2"
    ):
        figures.gauge("kamioi_pg_locks", "Locks held or waited for.", count, mode=mode, granted=str(granted).lower())
        figures.gauge("kamioi_pg_lock_wait_seconds", "The longest wait for a lock.", longest, mode=mode)
    ((waiting,),) = database.rows("SELECT count(*) FROM pg_locks WHERE NOT granted")
    figures.gauge("kamioi_pg_locks_waiting", "Locks waited for.", waiting)
    (row,) = database.rows(
        "SELECT xact_commit, xact_rollback, blks_hit, blks_read, deadlocks, temp_bytes, tup_inserted, tup_updated,"
        " tup_deleted FROM pg_stat_database WHERE datname = current_database()"
    )
    for name, text, value in zip(
        (
            "commits",
            "rollbacks",
            "blocks_hit",
            "blocks_read",
            "deadlocks",
            "temp_bytes",
            "rows_inserted",
            "rows_updated",
            "rows_deleted",
        ),
        (
            "Transactions committed.",
            "Transactions rolled back.",
            "Blocks found in memory.",
            "Blocks read from outside.",
            "Deadlocks.",
            "Bytes that sorts and joins wrote to disk.",
            "Rows inserted.",
            "Rows updated.",
            "Rows deleted.",
        ),
        row,
        strict=True,
    ):
        figures.counter(f"kamioi_pg_{name}", text, value)


@collector("storage", ttl=300)
def _storage(figures: Metrics, database: MetricsDatabase) -> None:
    ((size, age),) = database.rows(
        "SELECT pg_database_size(current_database()), (SELECT max(age(datfrozenxid)) FROM pg_database)"
    )
    figures.gauge("kamioi_pg_database_bytes", "Size on disk.", size)
    figures.gauge("kamioi_pg_transaction_id_age", "Transactions since the oldest freeze; 2.1 billion is the end.", age)
    # Partitions count to their table. Estimates of the server, no count.
    for table, rows, dead in database.rows(
        "SELECT coalesce(parent.relname, child.relname), sum(greatest(child.reltuples, 0)),"
        " sum(pg_stat_get_dead_tuples(child.oid)) FROM pg_class AS child"
        " LEFT JOIN pg_inherits ON inhrelid = child.oid LEFT JOIN pg_class AS parent ON parent.oid = inhparent"
        " WHERE child.relkind = 'r' AND child.relnamespace = 'public'::regnamespace"
        " GROUP BY 1 ORDER BY 2 DESC LIMIT 30"
    ):
        figures.gauge("kamioi_pg_table_rows", "Rows, as the server estimates.", rows, table=table)
        figures.gauge("kamioi_pg_table_dead_rows", "Dead rows that vacuum has not taken.", dead, table=table)


@collector("statements", ttl=15)
def _statements(figures: Metrics, database: MetricsDatabase) -> None:
    loaded = bool(database.rows("SELECT FROM pg_extension WHERE extname = 'pg_stat_statements'"))
    figures.gauge("kamioi_pg_stat_statements_loaded", "Whether the extension is there.", loaded)
    if not loaded:
        return
    for query, calls, seconds in database.rows(
        "SELECT queryid::text, sum(calls), sum(total_exec_time) / 1000 FROM pg_stat_statements"
        " WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND queryid IS NOT NULL"
        " GROUP BY 1 ORDER BY 3 DESC LIMIT %s",
        [_STATEMENTS_SHOWN],
    ):
        figures.counter("kamioi_pg_statement_calls", "Calls of the statements that take most time.", calls, query=query)
        figures.counter("kamioi_pg_statement_seconds", "Time that they took in all.", seconds, query=query)


@collector("partitions", ttl=60)
def _partitions(figures: Metrics, database: MetricsDatabase) -> None:
    now = month_start(datetime.now(UTC))
    for table in sorted(model._meta.db_table for model in partitioned_models()):
        names = {
            name
            for (name,) in database.rows(
                "SELECT child.relname FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid"
                " WHERE inhparent = to_regclass(%s)",
                [table],
            )
        }
        ahead = 0
        while f"{table}_{(now + relativedelta(months=ahead + 1)).strftime(NAME_FORMAT)}" in names:
            ahead += 1
        ((strays,),) = database.rows(
            f"SELECT count(*) FROM (SELECT 1 FROM {table}_default LIMIT {_DEFAULT_ROWS_SEEN}) AS stray"  # noqa: S608
        )
        figures.gauge("kamioi_partition_headroom_months", "Months made ahead.", ahead, table=table)
        figures.gauge("kamioi_partition_default_rows", "Rows that no month took, up to 10,000.", strays, table=table)
        figures.gauge("kamioi_partitions", "Partitions.", len(names), table=table)


@collector("replication", ttl=5)
def _replication(figures: Metrics, database: MetricsDatabase) -> None:
    rows = database.rows(
        "SELECT application_name, coalesce(extract(epoch FROM replay_lag), 0),"
        " CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn) END"
        " FROM pg_stat_replication WHERE state = 'streaming'"
    )
    figures.gauge("kamioi_replicas", "Replicas that stream from this server.", len(rows))
    figures.gauge("kamioi_replicas_expected", "Replicas that the settings name.", has_replica())
    if has_replica():
        state = replica_state()  # of this process, which reads from it
        figures.gauge("kamioi_replica_used", "Whether reads go to the replica.", state.used)
    for name, seconds, size in rows:
        figures.gauge("kamioi_replica_lag_seconds", "How far behind a replica is.", seconds, replica=name)
        figures.gauge("kamioi_replica_lag_bytes", "Bytes of the log that it has not replayed.", size, replica=name)


@collector("schedule", ttl=15)
def _schedule(figures: Metrics, database: MetricsDatabase) -> None:
    for name, age in database.rows(
        "SELECT name, extract(epoch FROM now() - last_run_at) FROM django_celery_beat_periodictask WHERE enabled"
    ):
        figures.gauge("kamioi_schedule_last_sent_seconds", "Since beat last sent a task.", age, task=name)
