"""Who answers, and who is in charge: `cutover`, `rollback`, `finish`.

Reads move gradually, by the waffle flag `kamioi_reads`; the data changes hands at once, when the flag reaches everybody:
the last changes are carried over, dual-write is switched on, and from the same commit on Kamioi processes what is open.
"""

import time
from typing import Final

from django.db import connection, transaction
from waffle import get_waffle_flag_model

from kamioi_site.errors import KamioiError
from transactions.cache import TRANSACTIONS
from transactions.legacy.load.bulk_loader import get_progress
from transactions.legacy.load.migration_lock import migration_lock
from transactions.legacy.merchant_directory import build_merchant_directory
from transactions.legacy.source.change_log import remove_change_log, sync_lag
from transactions.legacy.sync.change_sync import sync_round
from transactions.legacy.sync.outbox import disable_dual_write, drain_outbox, enable_dual_write, source_is_there
from transactions.migration_phase import READS_FLAG, MigrationState, get_migration_state, update_migration_state
from transactions.models import MigrationRun, Transaction
from transactions.services.processing import notify_workers
from transactions.sql import load_sql

MOST_LAG: Final = 10.0
"""Seconds that Kamioi may be behind while readers move over."""
_QUIET_SECONDS: Final = 2.0
_PATIENCE_SECONDS: Final = 60.0


class CutoverError(KamioiError):
    """The step cannot be taken as things stand."""


def cutover_obstacles(percent: int) -> list[str]:
    """What stands in the way, in words; nothing when the way is free."""
    state = get_migration_state()
    if state is None:
        return ["Nothing was carried over yet: run `copy` first."]
    if state.phase != "legacy":
        return [f"Kamioi is in charge already (phase: {state.phase})."]
    found = []
    progress = get_progress()
    if not progress or not all(table.complete for table in progress.values()):
        found.append("The copy is not complete.")
    copied = MigrationRun.objects.filter(command="copy", status="done").order_by("-id").first()
    checked = MigrationRun.objects.filter(command="validate").exclude(status="running").order_by("-id").first()
    if checked is None or checked.status != "done" or (copied and checked.started_at < copied.started_at):
        found.append("The last validation did not pass, or is older than the copy: run `validate`.")
    try:
        entries, seconds = sync_lag(state.path)
    except KamioiError as error:
        return [*found, str(error)]
    if seconds > MOST_LAG and percent < 100:
        found.append(f"Kamioi is {seconds:,.0f} seconds behind ({entries:,} changes): let `sync --follow` run.")
    return found


def cutover(run: MigrationRun, *, percent: int) -> str:
    """Let Kamioi answer `percent` of the users; at 100 it takes charge. Returns what is true now. Raises CutoverError."""
    if obstacles := cutover_obstacles(percent):
        raise CutoverError(" ".join(obstacles))
    if percent < 100:
        set_read_percentage(percent=percent)
        return f"Kamioi answers {percent} % of the users; the legacy system is in charge of the data."
    state = get_migration_state()
    if state is None:
        raise CutoverError("Nothing was carried over yet.")
    with migration_lock(wait=_PATIENCE_SECONDS):
        _catch_up(state, run)
        build_merchant_directory()
        with transaction.atomic():
            _catch_up(state, run, patience=0)
            _move_profiles()  # before changes of users are noted for the legacy file
            enable_dual_write()
            _take_charge()
            update_migration_state(phase="kamioi")
            set_read_percentage(percent=100)
    TRANSACTIONS.clear()
    notify_workers(priority=Transaction.Priority.BULK)
    return "Kamioi is in charge. What it writes goes to the legacy file as well, until `finish`."


def _catch_up(state: MigrationState, run: MigrationRun, patience: float = _PATIENCE_SECONDS) -> None:
    """Carry over until the legacy system has been quiet for a while. Raises CutoverError when it goes on writing."""
    deadline, quiet_since = time.monotonic() + patience, time.monotonic()
    while True:
        if sync_round(state.path, run).entries:
            quiet_since = time.monotonic()
            if not patience:
                raise CutoverError("The legacy system wrote in the last moment: stop its writes, then cut over again.")
        elif not patience or time.monotonic() - quiet_since >= _QUIET_SECONDS:
            return
        if time.monotonic() > deadline:
            raise CutoverError("The legacy system goes on writing: stop its writes, then cut over again.")
        time.sleep(0.1)


def _move_profiles() -> None:
    """Profiles, goals and preferences, which the legacy system kept until now, move into tables of their own."""
    with connection.cursor() as cursor:
        cursor.execute(load_sql("carry_customers"))


def _take_charge() -> None:
    """Open purchases are Kamioi's to process from now on; what waits for a decision is looked up anew."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH released AS (
                UPDATE transactions SET status = 'pending', updated_at = now()
                WHERE source = 'legacy_open' AND status = 'needs_review' AND merchant_key IN
                    (SELECT merchant_key FROM merchants WHERE status IN ('approved', 'not_listed'))
                RETURNING date, ticker, amount, round_up, fee, investable
            )
            INSERT INTO transaction_deltas (day, status, ticker, rows, amount, round_up, fee, investable, writes)
            SELECT (date AT TIME ZONE 'UTC')::date, side.status, ticker, sum(side.n), sum(side.n * amount),
                   sum(side.n * round_up), sum(side.n * fee), sum(side.n * investable), sum(greatest(side.n, 0))
            FROM released CROSS JOIN (VALUES (-1, 'needs_review'), (1, 'pending')) AS side (n, status)
            GROUP BY 1, 2, 3
            """
        )
        # The legacy system may have given out numbers beyond ours, if it was in charge before.
        for table in ("transactions", "llm_mappings", "notifications", "users"):
            cursor.execute(
                f"SELECT setval(pg_get_serial_sequence(%s, 'id'), greatest((SELECT max(id) FROM {table}), "
                "nextval(pg_get_serial_sequence(%s, 'id'))))",
                [table, table],
            )


def rollback() -> str:
    """The legacy file is the truth again, with everything that Kamioi wrote meanwhile. Returns what is true now."""
    state = get_migration_state()
    if state is None or state.phase == "finished":
        raise CutoverError(
            "There is nothing to go back from." if state is None else "The way back was closed by `finish`."
        )
    if state.phase == "rolled back":
        raise CutoverError("The legacy system is in charge already.")
    if state.phase == "legacy":
        set_read_percentage(percent=0)
        return "The legacy system answers everybody; it never ceased to be in charge."
    # First what takes long, then once more while nobody can write.
    drain_outbox(state.path)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "LOCK TABLE transactions, users, llm_mappings, notifications, holdings, orders, admin_settings IN SHARE ROW EXCLUSIVE MODE"
        )
        update_migration_state(phase="rolled back")
        set_read_percentage(percent=0)
    drain_outbox(state.path)
    disable_dual_write()
    return (
        "The legacy file is the truth again and holds what was written meanwhile. Point the front end at the legacy system. "
        "To try again later, begin with an empty database."
    )


def finish() -> str:
    """End the writes to the legacy file and take the log away from it. There is no way back after this."""
    state = get_migration_state()
    if state is None or state.phase != "kamioi":
        raise CutoverError("Only after a cut-over of 100 % is there something to finish.")
    drain_outbox(state.path)
    with transaction.atomic():
        disable_dual_write()
        update_migration_state(phase="finished")
        set_read_percentage(percent=100)
    drain_outbox(state.path)
    if source_is_there(state.path):
        remove_change_log(state.path)
    return "The legacy file is written no more; keep it with its backups. Kamioi stands alone."


def set_read_percentage(*, percent: int) -> None:
    """Let Kamioi answer this share of the users from its own data, the legacy file the others."""
    flag, _ = get_waffle_flag_model().objects.get_or_create(
        name=READS_FLAG, defaults={"note": "Who is answered from Kamioi's own data during the migration."}
    )
    flag.everyone = {0: False, 100: True}.get(percent)
    flag.percent = percent if flag.everyone is None else None
    flag.save()
