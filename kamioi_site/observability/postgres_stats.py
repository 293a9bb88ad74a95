"""PostgreSQL's own statistics, read by the metrics and by the operations dashboard alike.

Each function gets `fetch`, which runs a query and returns its rows: every reader has its own connection and timeout.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Fetch = Callable[[str], list[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class Connections:
    """Client connections: to this database by state with the age of the oldest transaction, and to the server."""

    by_state: dict[str, tuple[int, float]]
    used: int
    limit: int


@dataclass(frozen=True, slots=True)
class DatabaseCounters:
    """Counters of `pg_stat_database` since its last reset."""

    commits: int
    rollbacks: int
    blocks_hit: int
    blocks_read: int
    deadlocks: int
    temp_bytes: int
    rows_inserted: int
    rows_updated: int
    rows_deleted: int

    @property
    def cache_hit_rate(self) -> float | None:
        blocks = self.blocks_hit + self.blocks_read
        return self.blocks_hit / blocks if blocks else None


@dataclass(frozen=True, slots=True)
class StatementStats:
    """A statement in `pg_stat_statements`."""

    id: str
    sql: str
    calls: int
    seconds: float
    rows: int

    @property
    def mean_ms(self) -> float:
        return 1000 * self.seconds / self.calls if self.calls else 0.0


@dataclass(frozen=True, slots=True)
class Standby:
    """A standby as the primary sees it."""

    name: str
    state: str
    lag_seconds: float
    lag_bytes: int | None


_CONNECTIONS = """
    SELECT coalesce(state, 'unknown'), count(*),
           coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)::float
    FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
    GROUP BY 1 ORDER BY 1
"""
_CONNECTION_LIMIT = """
    SELECT count(*), current_setting('max_connections')::int FROM pg_stat_activity WHERE backend_type = 'client backend'
"""


def connections(fetch: Fetch) -> Connections:
    by_state = {state: (count, longest) for state, count, longest in fetch(_CONNECTIONS)}
    return Connections(by_state, *fetch(_CONNECTION_LIMIT)[0])


_COUNTERS = """
    SELECT xact_commit, xact_rollback, blks_hit, blks_read, deadlocks, temp_bytes,
           tup_inserted, tup_updated, tup_deleted
    FROM pg_stat_database WHERE datname = current_database()
"""


def database_counters(fetch: Fetch) -> DatabaseCounters:
    return DatabaseCounters(*fetch(_COUNTERS)[0])


# The library defines its settings only when it was preloaded; without it, the view raises an error.
_STATEMENTS_LOADED = """
    SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_stat_statements')
       AND current_setting('pg_stat_statements.max', true) IS NOT NULL
"""
_STATEMENTS = """
    SELECT queryid::text, left(min(query), 500), sum(calls)::bigint, (sum(total_exec_time) / 1000)::float,
           sum(rows)::bigint
    FROM pg_stat_statements
    WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND queryid IS NOT NULL
    GROUP BY 1 ORDER BY 4 DESC LIMIT 20
"""


def slowest_statements(fetch: Fetch) -> list[StatementStats] | None:
    """Return the statements with the highest total time; None if `pg_stat_statements` is not loaded."""
    if not fetch(_STATEMENTS_LOADED)[0][0]:
        return None
    return [StatementStats(*row) for row in fetch(_STATEMENTS)]


_STANDBYS = """
    SELECT coalesce(nullif(application_name, ''), client_addr::text, 'standby'), state,
           coalesce(extract(epoch FROM replay_lag), 0)::float,
           CASE WHEN NOT pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint END
    FROM pg_stat_replication WHERE left(coalesce(application_name, ''), 6) <> 'barman' ORDER BY 1
"""


def standbys(fetch: Fetch) -> list[Standby]:
    """Return the standbys that are connected to this server; a receiver of backups is none."""
    return [Standby(*row) for row in fetch(_STANDBYS)]
