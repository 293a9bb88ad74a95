"""The dashboard of operations: the current state of queues, workers, tasks, the database, caches and the migration."""

from typing import Any, Final

from analytics.dashboards import framework as ui
from analytics.dashboards.framework import PageContext, Panel, Stat
from analytics.selectors import operations as selectors
from kamioi_site.formatting import EMPTY, number, percent

_NO_STATEMENTS: Final = (
    "pg_stat_statements is not loaded, so statements are not timed. To load it, set "
    "shared_preload_libraries = 'pg_stat_statements', restart, and run CREATE EXTENSION pg_stat_statements."
)


def _queues_chart(rows: list[Any], page: PageContext) -> ui.Chart:
    return ui.Chart(
        "hbar", [r.name for r in rows], [ui.Series("waiting", [float(r.waiting) for r in rows], ui.PRIMARY)]
    )


def _worker_stats(rows: list[Any], page: PageContext) -> list[Stat]:
    return [
        Stat("Workers", number(len(rows))),
        Stat("Processes", number(sum(row.processes for row in rows))),
        Stat("Active", number(sum(row.active for row in rows))),
    ]


def _connection_stats(rows: list[Any], page: PageContext) -> list[Stat]:
    connections, hit_rate = selectors.connections(), selectors.buffer_hit_rate()
    used = connections.used / connections.limit
    return [
        Stat(
            "Connections",
            number(connections.used),
            f"of {connections.limit:,}",
            tone="bad" if used > 0.9 else "warn" if used > 0.7 else "",
        ),
        *(Stat(state.capitalize(), number(clients)) for state, (clients, _) in connections.by_state.items()),
        Stat("Buffer cache hit rate", percent(hit_rate), "of the blocks read"),
    ]


def _cache_stats(rows: list[Any], page: PageContext) -> list[Stat]:
    away = sum(row.away for row in rows)
    return [
        Stat("Hit rate", percent(selectors.cache_hit_rate(rows)), f"of {sum(row.reads for row in rows):,} reads today"),
        Stat("Without Redis", number(away), tone="bad" if away else ""),
    ]


def _partition_stats(rows: list[Any], page: PageContext) -> list[Stat]:
    headroom = min((row.headroom_months for row in rows), default=0)
    stray = sum(row.default_rows for row in rows)
    return [
        Stat("Months ahead", number(headroom), "of the table with the fewest", tone="bad" if headroom < 1 else ""),
        Stat("Rows in default partitions", number(stray), tone="bad" if stray else ""),
    ]


def _no_replica(rows: list[Any], page: PageContext) -> str:
    replica = page.memoize(selectors.read_replica_status)
    return "" if rows or replica else "No replica is connected. Analytics reads from the primary."


def _replica_stats(rows: list[Any], page: PageContext) -> list[Stat]:
    replica = page.memoize(selectors.read_replica_status)
    if replica is None:
        return []
    used_by = "on the replica" if replica.used else "on the primary"
    lag = EMPTY if replica.lag_seconds is None else f"{replica.lag_seconds:,.1f} s"
    return [
        Stat("Reads of analytics", used_by, replica.reason, tone="" if replica.used else "bad"),
        Stat("Lag", lag, "" if replica.lag_bytes is None else f"{replica.lag_bytes:,} bytes"),
    ]


def _migration_stats(rows: list[Any], page: PageContext) -> list[Stat]:
    status = page.memoize(selectors.migration_status)
    return [
        Stat("Source of truth", {"legacy": "legacy system", "kamioi": "Kamioi"}.get(status.phase, status.phase)),
        Stat("Dual write", "yes" if status.dual_write else "no"),
        *([Stat("Error", status.error, tone="bad")] if status.error else []),
    ]


def _migration_runs(page: PageContext) -> list[Any]:
    status = page.memoize(selectors.migration_status)
    return status.runs if status else []


OPERATIONS: Final = ui.Dashboard(
    "operations",
    "Operations",
    (
        Panel(
            name="queues",
            title="Queues",
            live=True,
            rows=lambda page: selectors.queue_statuses(),
            stats=lambda rows, page: [Stat("Waiting messages", number(sum(row.waiting for row in rows)))],
            chart=_queues_chart,
            columns=(ui.Column("Queue", "name"), ui.Column("Waiting", "waiting", ui.count)),
            table_open=True,
        ),
        Panel(
            name="workers",
            title="Workers",
            live=True,
            deferred=True,
            rows=lambda page: selectors.worker_statuses(),
            empty="No worker responded. Tasks wait until a worker runs.",
            stats=_worker_stats,
            columns=(
                ui.Column("Worker", "name"),
                ui.Column("Queues", lambda row: ", ".join(row.queues)),
                ui.Column("Processes", "processes", ui.count),
                ui.Column("Active", "active", ui.count),
                ui.Column("Completed", "completed", ui.count),
            ),
            table_open=True,
        ),
        Panel(
            name="failed",
            title="Failed background tasks",
            live=True,
            wide=True,
            rows=lambda page: selectors.failed_tasks(),
            empty="No background task has failed.",
            columns=(
                ui.Column("Task", "id"),
                ui.Column(
                    "Name",
                    "name",
                    link=lambda row, page: page.changelist_url("transactions_backgroundtask", status="failed"),
                ),
                ui.Column("Requested by", "requested_by"),
                ui.Column("Error", "error"),
                ui.Column("Attempts", "attempts", ui.count),
                ui.Column("Failed (UTC)", "failed_at", ui.moment),
            ),
            table_open=True,
            template="admin/analytics/failed_tasks.html",
        ),
        Panel(
            name="connections",
            title="Connections",
            live=True,
            rows=lambda page: selectors.running_queries(),
            stats=_connection_stats,
            columns=(
                ui.Column("Query", "sql"),
                ui.Column("State", "state"),
                ui.Column("Seconds", "seconds", ui.decimals(1)),
                ui.Column("Waiting for", "waits_for"),
            ),
            table_open=True,
            note=lambda rows, _: "" if rows else "No query has been running for more than five seconds.",
        ),
        Panel(
            name="cache",
            title="Cache",
            live=True,
            rows=lambda page: selectors.cache_stats(),
            empty="No cached reads today, or Redis is unavailable.",
            stats=_cache_stats,
            columns=(
                ui.Column("Namespace", "family"),
                ui.Column("Reads", "reads", ui.count),
                ui.Column("Hit rate", "hit_rate", ui.share),
                ui.Column("Computed", "computed", ui.count),
                ui.Column("Average computation (ms)", "compute_ms", ui.decimals(1)),
            ),
            table_open=True,
        ),
        Panel(
            name="partitions",
            title="Partitions",
            live=True,
            wide=True,
            rows=lambda page: selectors.partitions(),
            stats=_partition_stats,
            columns=(
                ui.Column("Table", "table"),
                ui.Column("Months", lambda row: len(row.partitions) - 1, ui.count),
                ui.Column("Ahead", "headroom_months", ui.count),
                ui.Column("Rows in the default partition", "default_rows", ui.count),
            ),
            table_open=True,
        ),
        Panel(
            name="slow",
            title="Slow statements",
            live=True,
            wide=True,
            rows=lambda page: selectors.slow_statements(),
            empty=lambda rows, _: _NO_STATEMENTS if rows is None else "" if rows else "No statement was timed yet.",
            columns=(
                ui.Column("Statement", "sql"),
                ui.Column("Calls", "calls", ui.count),
                ui.Column("Mean (ms)", "mean_ms", ui.decimals(2)),
                ui.Column("Total (s)", "seconds", ui.decimals(1)),
                ui.Column("Rows", "rows", ui.count),
            ),
            table_open=True,
        ),
        Panel(
            name="replicas",
            title="Replicas",
            live=True,
            rows=lambda page: selectors.standbys(),
            empty=_no_replica,
            stats=_replica_stats,
            columns=(
                ui.Column("Replica", "name"),
                ui.Column("State", "state"),
                ui.Column("Lag (bytes)", lambda row: row.lag_bytes or 0, ui.count),
                ui.Column("Lag (s)", "lag_seconds", ui.decimals(3)),
            ),
            table_open=True,
        ),
        Panel(
            name="migration",
            title="Migration",
            live=True,
            rows=_migration_runs,
            empty=lambda _, page: (
                "" if page.memoize(selectors.migration_status) else "No legacy migration was started."
            ),
            stats=_migration_stats,
            columns=(
                ui.Column(
                    "Run", lambda run: run[0], link=lambda run, page: page.changelist_url("transactions_migrationrun")
                ),
                ui.Column("Status", lambda run: run[1]),
                ui.Column("Rows", lambda run: run[2], ui.count),
                ui.Column("Started (UTC)", lambda run: run[3], ui.moment),
            ),
            table_open=True,
        ),
    ),
    refresh=20,
    has_period=False,
)
