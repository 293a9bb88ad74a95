"""Which system serves customers, and which one owns the data: `cutover`, `rollback`, `finish`.

Reads move gradually, by the waffle flag `kamioi_reads`. The data changes owner at once, when the flag reaches all
customers: the last changes are applied, dual-write is enabled, and from the same commit on Kamioi processes open
purchases.
"""

import time
from typing import Final

from django.db import connection, transaction
from waffle import get_waffle_flag_model

from kamioi_site.db.roles import as_owner
from kamioi_site.errors import KamioiError
from transactions.cache import TRANSACTIONS
from transactions.legacy import registry
from transactions.legacy.load.migration_lock import migration_lock
from transactions.legacy.load.progress import copy_is_complete
from transactions.legacy.merchant_directory import build_merchant_directory
from transactions.legacy.source.change_log import remove_change_log, sync_lag
from transactions.legacy.source.sqlite_file import can_open
from transactions.legacy.sync.change_sync import sync_round
from transactions.legacy.sync.outbox import disable_dual_write, drain_outbox, enable_dual_write
from transactions.migration_phase import READS_FLAG, MigrationState, get_migration_state, update_migration_state
from transactions.models import MigrationRun, Transaction
from transactions.services.platform_fees import announce_fee
from transactions.services.processing import notify_workers
from transactions.sql import load_sql

_MAX_LAG_SECONDS: Final = 10.0  # while reads move
_QUIET_SECONDS: Final = 2.0
_WAIT_SECONDS: Final = 60.0


class CutoverError(KamioiError):
    """The step is not possible in the present state."""


def cutover_obstacles(percent: int) -> list[str]:
    """Return why the cut-over is not possible; empty when it is."""
    state = get_migration_state()
    if state is None:
        return ["Nothing was copied yet: run `copy` first."]
    if state.phase != "legacy":
        return [f"Kamioi is in charge already (phase: {state.phase})."]
    obstacles = []
    if not copy_is_complete():
        obstacles.append("The copy is not complete.")
    copied = MigrationRun.objects.filter(command="copy", status="done").order_by("-id").first()
    validated = MigrationRun.objects.filter(command="validate").exclude(status="running").order_by("-id").first()
    if validated is None or validated.status != "done" or (copied and validated.started_at < copied.started_at):
        obstacles.append("The last validation failed, or is older than the copy: run `validate`.")
    try:
        entries, seconds = sync_lag(state.path)
    except KamioiError as error:
        return [*obstacles, str(error)]
    if seconds > _MAX_LAG_SECONDS and percent < 100:
        obstacles.append(f"Kamioi is {seconds:,.0f} seconds behind ({entries:,} changes): run `sync --follow`.")
    return obstacles


def cutover(run: MigrationRun, *, percent: int) -> str:
    """Serve `percent` of the customers from Kamioi; at 100 it takes over the data. Returns what is true now.

    Raises:
        CutoverError: the cut-over is not possible.
    """
    state = get_migration_state()
    if (obstacles := cutover_obstacles(percent)) or state is None:
        raise CutoverError(" ".join(obstacles))
    if percent < 100:
        set_read_percentage(percent=percent)
        return f"Kamioi serves {percent}% of the customers; the legacy system is in charge of the data."
    with migration_lock(wait=_WAIT_SECONDS):
        _catch_up(state, run)
        build_merchant_directory()
        with transaction.atomic():
            _catch_up(state, run, wait=0)
            move_profiles()  # before dual-write notes changes of users
            enable_dual_write()
            _take_over()
            announce_fee(actor=None, from_today=True)
            update_migration_state(phase="kamioi")
            set_read_percentage(percent=100)
    TRANSACTIONS.clear()
    notify_workers(priority=Transaction.Priority.BULK)
    return "Kamioi is in charge. What it writes goes to the legacy file as well, until `finish`."


def _catch_up(state: MigrationState, run: MigrationRun, wait: float = _WAIT_SECONDS) -> None:
    """Apply changes until the legacy system has been quiet for a while; raises CutoverError when it keeps writing."""
    deadline, quiet_since = time.monotonic() + wait, time.monotonic()
    while True:
        if sync_round(state.path, run).entries:
            quiet_since = time.monotonic()
            if not wait:
                raise CutoverError("The legacy system has just written: stop its writes, then cut over again.")
        elif not wait or time.monotonic() - quiet_since >= _QUIET_SECONDS:
            return
        if time.monotonic() > deadline:
            raise CutoverError("The legacy system keeps writing: stop its writes, then cut over again.")
        time.sleep(0.1)


def move_profiles() -> None:
    """Move profiles, goals and preferences, which the legacy system owned until now, into tables of their own."""
    with connection.cursor() as cursor:
        cursor.execute(load_sql("legacy_move_profiles"))


def _take_over() -> None:
    """Make open purchases Kamioi's to process; those that wait for a decision are looked up in the directory again."""
    with connection.cursor() as cursor:
        cursor.execute(load_sql("legacy_release_purchases"))
        # The legacy system may have used ids beyond Kamioi's, if it was in charge before.
        for table in (*registry.bulk_tables(), "notifications", "users"):
            cursor.execute(
                f"SELECT setval(pg_get_serial_sequence(%s, 'id'), greatest((SELECT max(id) FROM {table}), "
                "nextval(pg_get_serial_sequence(%s, 'id'))))",
                [table, table],
            )


@as_owner()
def rollback() -> str:
    """Make the legacy file the system of record again, with everything Kamioi wrote. Returns what is true now."""
    state = get_migration_state()
    if state is None:
        raise CutoverError("There is nothing to roll back.")
    match state.phase:
        case "finished":
            raise CutoverError("`finish` closed the way back to the legacy system.")
        case "rolled back":
            raise CutoverError("The legacy system is in charge already.")
        case "legacy":
            set_read_percentage(percent=0)
            return "The legacy system serves all customers; it was in charge all the time."
    # Most of it now, the rest once more while nothing can write.
    drain_outbox(state.path)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {', '.join(registry.outbox_tables())} IN SHARE ROW EXCLUSIVE MODE")
        update_migration_state(phase="rolled back")
        set_read_percentage(percent=0)
    drain_outbox(state.path)
    disable_dual_write()
    return (
        "The legacy system is in charge again, and its file holds what Kamioi wrote. Point the front end at it. "
        "To try again later, start with an empty database."
    )


@as_owner()
def finish() -> str:
    """End dual-write and remove the change log from the legacy file; there is no rollback after this."""
    state = get_migration_state()
    if state is None or state.phase != "kamioi":
        raise CutoverError("`finish` is only possible after a cut-over of 100%.")
    drain_outbox(state.path)
    with transaction.atomic():
        disable_dual_write()
        update_migration_state(phase="finished")
        set_read_percentage(percent=100)
    drain_outbox(state.path)
    if can_open(state.path):
        remove_change_log(state.path)
    return "The legacy file is no longer written; keep it with its backups. Kamioi no longer depends on it."


def set_read_percentage(*, percent: int) -> None:
    """Serve this share of the customers from Kamioi's data, the others from the legacy file."""
    flag, _ = get_waffle_flag_model().objects.get_or_create(
        name=READS_FLAG, defaults={"note": "Customers served from Kamioi's own data during the legacy migration."}
    )
    flag.everyone = {0: False, 100: True}.get(percent)
    flag.percent = percent if flag.everyone is None else None
    flag.save()
