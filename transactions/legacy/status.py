"""`status`: the phase of the migration and the next step, as lines of text."""

from django.db import connection
from waffle import get_waffle_flag_model

from kamioi_site.errors import KamioiError
from transactions.legacy.load.progress import copy_is_complete, get_progress
from transactions.legacy.source.change_log import sync_lag
from transactions.legacy.sync.outbox import get_outbox_status
from transactions.migration_phase import READS_FLAG, MigrationState, get_migration_state
from transactions.models import MigrationRun


def status_lines() -> list[str]:
    """Return the last runs, the progress by table, the phase, and the next step."""
    runs = {run.command: run for run in MigrationRun.objects.order_by("id")}
    lines = [f"last {run.command}: {run.status}, {run.started_at:%Y-%m-%d %H:%M} UTC" for run in runs.values()]
    state = get_migration_state()
    if state is None:
        first = "backup" if "backup" not in runs else "copy"
        return [*lines, f"Nothing is copied yet. Next: `manage.py migrate_from_sqlite {first} FILE`."]
    with connection.cursor() as cursor:
        cursor.execute("SELECT started_at FROM legacy_source")
        started_at = cursor.fetchone()[0]
    lines.append(f"source: {state.path}, first copied from {started_at:%Y-%m-%d %H:%M} UTC")
    for name, table in sorted(get_progress().items()):
        extent = "complete" if table.complete else f"up to row {table.last_rowid:,}"
        lines.append(
            f"  {name}: {table.rows_loaded:,} loaded, {table.rows_rejected:,} rejected of {table.rows_read:,} read "
            f"({extent})"
        )
    match state.phase:
        case "kamioi":
            return lines + _dual_write_lines()
        case "finished":
            return [*lines, "The migration is finished: Kamioi no longer depends on the legacy file."]
        case "rolled back":
            return [*lines, "Rolled back: the legacy system is in charge. To try again, start with an empty database."]
    return lines + _legacy_lines(state, runs)


def _dual_write_lines() -> list[str]:
    outbox = get_outbox_status()
    return [
        "Kamioi is in charge; what it writes goes to the legacy file too.",
        f"waiting to be written there: {outbox.pending:,} rows, for {outbox.seconds:,.0f} seconds",
        *([f"! the last attempt failed: {outbox.error}"] if outbox.error else []),
        "Next: `finish` when a rollback is no longer needed; `rollback` returns to the legacy system.",
    ]


def _legacy_lines(state: MigrationState, runs: dict[str, MigrationRun]) -> list[str]:
    copied, validated = runs.get("copy"), runs.get("validate")
    if copied is None or copied.status != "done" or not copy_is_complete():
        return ["Next: run the same `copy` again to continue it."]
    try:
        entries, seconds = sync_lag(state.path)
    except KamioiError as error:
        return [f"! {error}", "Next: `sync FILE --install` and `sync FILE --all`, so that later changes are logged."]
    lag = f"behind the legacy system: {entries:,} changes, {seconds:,.1f} seconds"
    if validated is None or validated.started_at < copied.started_at:
        return [lag, "Next: `validate FILE`."]
    if validated.status != "done":
        return [
            lag,
            "`validate` found differences: see its run in the admin. Next: `sync FILE --all`, then `validate FILE`.",
        ]
    return [
        lag,
        f"Kamioi serves {_read_percentage()} of the customers.",
        "Both sides agree. Next: `sync FILE --follow`, and meanwhile `cutover --percent 5`, then more, then `cutover`.",
    ]


def _read_percentage() -> str:
    flag = get_waffle_flag_model().objects.filter(name=READS_FLAG).first()
    return "all" if flag is None or flag.everyone else f"{(flag.percent or 0) if flag.everyone is None else 0:g}%"
