"""Metrics of the servers that Kamioi runs on: queues, Redis, PostgreSQL, partitions, replicas, the schedule."""

from typing import Any

from django.conf import settings

from kamioi_site.cache.redis import redis_client
from kamioi_site.cache.statistics import namespace_stats
from kamioi_site.db.partitions import partition_status
from kamioi_site.db.replica import has_replica, replica_state
from kamioi_site.observability import postgres_stats
from kamioi_site.observability.metrics.collectors import Metrics, MetricsDatabase, collector
from kamioi_site.observability.queues import broker_connection, is_redis_broker, queue_statuses


# --- Queues and Redis -------------------------------------------------------------------------------------------------
@collector("queues", ttl=5)
def _queues(metrics: Metrics, database: MetricsDatabase) -> None:
    statuses, unacknowledged = queue_statuses()
    for status in statuses:
        for priority, count in status.by_priority.items():
            metrics.gauge("kamioi_queue_messages", "Waiting messages.", count, queue=status.name, priority=priority)
        age = status.oldest_seconds
        metrics.gauge("kamioi_queue_oldest_seconds", "Age of the oldest waiting message.", age, queue=status.name)
    metrics.gauge("kamioi_queue_unacknowledged", "Messages that workers have not acknowledged.", unacknowledged)


# (name, key of INFO, help)
_REDIS_GAUGES = (
    ("memory_bytes", "used_memory", "Memory in use."),
    ("memory_limit_bytes", "maxmemory", "Memory limit; 0 is no limit."),
    ("clients", "connected_clients", "Connections."),
    ("clients_blocked", "blocked_clients", "Connections in a blocking command, such as idle workers."),
    ("uptime_seconds", "uptime_in_seconds", "Time since the server started."),
)
_REDIS_COUNTERS = (
    ("evicted_keys", "evicted_keys", "Keys evicted because of the memory limit."),
    ("expired_keys", "expired_keys", "Keys expired."),
    ("keyspace_hits", "keyspace_hits", "Lookups that found a key."),
    ("keyspace_misses", "keyspace_misses", "Lookups that found no key."),
    ("commands", "total_commands_processed", "Commands."),
    ("connections_rejected", "rejected_connections", "Connections refused because of maxclients."),
)


@collector("redis", ttl=5)
def _redis(metrics: Metrics, database: MetricsDatabase) -> None:
    servers: dict[str, dict[str, Any]] = {"cache": redis_client().info()}
    if settings.BROKER_URL != settings.REDIS_URL:
        with broker_connection() as connection:
            if is_redis_broker(connection):
                servers["broker"] = connection.default_channel.client.info()
    for role, info in servers.items():
        for name, key, text in _REDIS_GAUGES:
            metrics.gauge(f"kamioi_redis_{name}", text, info.get(key), role=role)
        for name, key, text in _REDIS_COUNTERS:
            metrics.counter(f"kamioi_redis_{name}", text, info.get(key), role=role)


@collector("cache", ttl=5)
def _cache(metrics: Metrics, database: MetricsDatabase) -> None:
    redis_client().ping()  # without Redis, every count would be exposed as zero
    for family, stats in namespace_stats().items():
        for outcome in ("hit", "stale", "shared", "computed", "away", "failed"):
            reads = getattr(stats, outcome)
            metrics.counter("kamioi_cache_reads", "Reads today by outcome.", reads, family=family, outcome=outcome)
        seconds = None if stats.compute_ms is None else stats.compute_ms / 1000
        metrics.gauge("kamioi_cache_compute_seconds", "Average time to compute a value.", seconds, family=family)


# --- PostgreSQL -------------------------------------------------------------------------------------------------------
_COUNTERS = {
    "commits": "Transactions committed.",
    "rollbacks": "Transactions rolled back.",
    "blocks_hit": "Blocks found in the buffer cache.",
    "blocks_read": "Blocks read from outside the buffer cache.",
    "deadlocks": "Deadlocks.",
    "temp_bytes": "Bytes written to temporary files.",
    "rows_inserted": "Rows inserted.",
    "rows_updated": "Rows updated.",
    "rows_deleted": "Rows deleted.",
}


@collector("postgres", ttl=5)
def _postgres(metrics: Metrics, database: MetricsDatabase) -> None:
    connections = postgres_stats.connections(database.rows)
    for state, (count, oldest) in connections.by_state.items():
        metrics.gauge("kamioi_pg_connections", "Connections to the database.", count, state=state)
        help_text = "Age of the oldest open transaction."
        metrics.gauge("kamioi_pg_longest_transaction_seconds", help_text, oldest, state=state)
    metrics.gauge("kamioi_pg_connections_used", "Connections to the server, all databases.", connections.used)
    metrics.gauge("kamioi_pg_connections_limit", "The server's max_connections.", connections.limit)
    for mode, granted, count, longest in database.rows(
        "SELECT mode, granted, count(*), max(extract(epoch FROM clock_timestamp() - waitstart))"
        " FROM pg_locks WHERE pid <> pg_backend_pid() GROUP BY 1, 2"
    ):
        metrics.gauge("kamioi_pg_locks", "Locks by mode.", count, mode=mode, granted=str(granted).lower())
        metrics.gauge("kamioi_pg_lock_wait_seconds", "The longest wait for a lock.", longest, mode=mode)
    ((waiting,),) = database.rows("SELECT count(*) FROM pg_locks WHERE NOT granted")
    metrics.gauge("kamioi_pg_locks_waiting", "Locks that are not granted yet.", waiting)
    counters = postgres_stats.database_counters(database.rows)
    for name, text in _COUNTERS.items():
        metrics.counter(f"kamioi_pg_{name}", text, getattr(counters, name))


@collector("storage", ttl=300)
def _storage(metrics: Metrics, database: MetricsDatabase) -> None:
    ((size, age),) = database.rows(
        "SELECT pg_database_size(current_database()), (SELECT max(age(datfrozenxid)) FROM pg_database)"
    )
    metrics.gauge("kamioi_pg_database_bytes", "Size on disk.", size)
    metrics.gauge("kamioi_pg_transaction_id_age", "Age of the oldest unfrozen transaction id; the limit is 2^31.", age)
    # The partitions of a table are one table here. Estimates of the server, not counts.
    for table, rows, dead in database.rows(
        "SELECT coalesce(parent.relname, child.relname), sum(greatest(child.reltuples, 0)),"
        " sum(pg_stat_get_dead_tuples(child.oid)) FROM pg_class AS child"
        " LEFT JOIN pg_inherits ON inhrelid = child.oid LEFT JOIN pg_class AS parent ON parent.oid = inhparent"
        " WHERE child.relkind = 'r' AND child.relnamespace = 'public'::regnamespace"
        " GROUP BY 1 ORDER BY 2 DESC LIMIT 30"
    ):
        metrics.gauge("kamioi_pg_table_rows", "Rows, as estimated by the server.", rows, table=table)
        metrics.gauge("kamioi_pg_table_dead_rows", "Dead rows that are not vacuumed yet.", dead, table=table)


@collector("statements", ttl=15)
def _statements(metrics: Metrics, database: MetricsDatabase) -> None:
    statements = postgres_stats.slowest_statements(database.rows)
    loaded = statements is not None
    metrics.gauge("kamioi_pg_stat_statements_loaded", "Whether pg_stat_statements is loaded.", loaded)
    for statement in statements or ():
        calls, seconds, query = statement.calls, statement.seconds, statement.id
        metrics.counter("kamioi_pg_statement_calls", "Calls of the slowest statements.", calls, query=query)
        metrics.counter("kamioi_pg_statement_seconds", "Total time of the slowest statements.", seconds, query=query)


@collector("partitions", ttl=60)
def _partitions(metrics: Metrics, database: MetricsDatabase) -> None:
    for status in partition_status(database.rows):
        table, ahead, rows = status.table, status.headroom_months, status.default_rows
        metrics.gauge("kamioi_partition_headroom_months", "Months with a partition ahead.", ahead, table=table)
        metrics.gauge(
            "kamioi_partition_default_rows", "Rows in the default partition, up to 10,000.", rows, table=table
        )
        metrics.gauge("kamioi_partitions", "Partitions.", len(status.partitions), table=table)


@collector("replication", ttl=5)
def _replication(metrics: Metrics, database: MetricsDatabase) -> None:
    standbys = [standby for standby in postgres_stats.standbys(database.rows) if standby.state == "streaming"]
    metrics.gauge("kamioi_replicas", "Replicas that stream from this server.", len(standbys))
    metrics.gauge("kamioi_replicas_expected", "Replicas in the settings.", has_replica())
    if has_replica():
        used = replica_state().used  # by this process
        metrics.gauge("kamioi_replica_used", "Whether reads go to the replica.", used)
    for slot, behind in database.rows(
        "SELECT slot_name, pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn()"
        " ELSE pg_current_wal_lsn() END, restart_lsn) FROM pg_replication_slots WHERE restart_lsn IS NOT NULL LIMIT 20"
    ):
        metrics.gauge("kamioi_replication_slot_lag_bytes", "WAL kept for a replication slot.", behind, slot=slot)
    for standby in standbys:
        name = standby.name
        metrics.gauge("kamioi_replica_lag_seconds", "Replay lag of a replica.", standby.lag_seconds, replica=name)
        metrics.gauge(
            "kamioi_replica_lag_bytes", "Bytes that a replica has not replayed.", standby.lag_bytes, replica=name
        )


@collector("schedule", ttl=15)
def _schedule(metrics: Metrics, database: MetricsDatabase) -> None:
    for name, age in database.rows(
        "SELECT name, extract(epoch FROM now() - last_run_at) FROM django_celery_beat_periodictask WHERE enabled"
    ):
        metrics.gauge("kamioi_schedule_last_sent_seconds", "Time since beat last sent a task.", age, task=name)
