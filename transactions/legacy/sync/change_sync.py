"""`sync`: what the legacy system wrote after the snapshot, applied until nothing is pending."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from django.db import transaction

from transactions.cache import TRANSACTIONS
from transactions.legacy.load.migration_lock import migration_lock
from transactions.legacy.load.progress import copy_is_complete
from transactions.legacy.merchant_directory import build_merchant_directory
from transactions.legacy.source.change_log import SyncError, change_log_position, read_change_log
from transactions.legacy.source.snapshot import Snapshot
from transactions.legacy.source.sqlite_file import open_read_only
from transactions.legacy.sync.change_applier import ApplyResult, ChangeApplier
from transactions.legacy.validate.validation import validate
from transactions.migration_phase import MigrationState, get_migration_state, update_migration_state
from transactions.models import MigrationRun

_ENTRIES_PER_ROUND: Final = 20_000
_LOCK_SECONDS: Final = 120.0
_POLL_SECONDS: Final = 0.2


@dataclass(slots=True)
class SyncResult:
    """What one round did; `lag` is the age in seconds of its oldest change when it was committed."""

    entries: int = 0
    last: int = 0
    applied: ApplyResult | None = None
    lag: float = 0.0


def check_source(path: Path) -> MigrationState:
    """Return the state, if this file may be synced with this database; raises SyncError."""
    state = get_migration_state()
    if state is None:
        raise SyncError("Nothing was copied yet: run `copy` first.")
    if path.resolve() != state.path:
        raise SyncError(f"This database is being filled from {state.path}.")
    if state.phase != "legacy":
        raise SyncError("Kamioi is in charge of the data: changes of the legacy file are no longer applied.")
    if not copy_is_complete():
        raise SyncError("The copy is not complete: run `copy` again to continue it.")
    return state


def sync_round(path: Path, run: MigrationRun) -> SyncResult:
    """Apply the next entries of the change log; raises SyncError and LegacySourceError."""
    state = check_source(path)
    with Snapshot(path) as snapshot:
        if change_log_position(snapshot) is None:
            raise SyncError("The legacy file has no change log: run `sync FILE --install`, then `sync FILE --all`.")
        if state.position is None:
            raise SyncError(
                "The change log was installed after the copy began: run `sync FILE --all` once to compare every row."
            )
        changes = read_change_log(snapshot, state.position, _ENTRIES_PER_ROUND)
        if not changes.entries:
            return SyncResult()
        with transaction.atomic():
            applied = ChangeApplier(snapshot, run).apply(changes.rows)
            update_migration_state(position=changes.last)
    TRANSACTIONS.clear()
    return SyncResult(changes.entries, changes.last, applied, max(0.0, time.time() - (changes.oldest or time.time())))


def sync_changes(path: Path, run: MigrationRun, *, on_progress: Callable[[SyncResult], None] | None = None) -> int:
    """Apply everything that is in the change log now; returns the number of entries."""
    total = 0
    with migration_lock(wait=_LOCK_SECONDS):
        with Snapshot(path) as snapshot:
            newest = change_log_position(snapshot) or 0
        # Later entries are left to the next call, so that a busy legacy system cannot keep this one running.
        while (result := sync_round(path, run)).entries:
            total += result.entries
            if on_progress:
                on_progress(result)
            if result.last >= newest:
                break
        if total:
            build_merchant_directory()
    return total


def follow_changes(path: Path, run: MigrationRun) -> Iterator[SyncResult]:
    """Apply changes as they come; yields every round that applied some."""
    with closing(open_read_only(path)) as watch:
        applied_version: int | None = None
        while True:
            version = watch.execute("PRAGMA data_version").fetchone()[0]
            if version == applied_version:
                time.sleep(_POLL_SECONDS)
                continue
            # One lock per round: a cut-over may come in between, and ends the loop with SyncError.
            with migration_lock(wait=_LOCK_SECONDS):
                result = sync_round(path, run)
            if result.entries:
                yield result
            else:
                applied_version = version


def sync_all_rows(
    path: Path, run: MigrationRun, *, on_progress: Callable[[str, int, int], None] | None = None
) -> ApplyResult:
    """Compare every row as `validate` does, and apply those that differ; the change log counts from before that."""
    check_source(path)
    with migration_lock(wait=_LOCK_SECONDS):
        with Snapshot(path) as snapshot:
            position = change_log_position(snapshot)
        result = validate(path, samples=0, on_progress=on_progress, ignore_pending=False)
        changed = {table.name: table.ids for table in result.tables if table.ids}
        with Snapshot(path) as snapshot, transaction.atomic():
            applied = ChangeApplier(snapshot, run).apply(changed)
            update_migration_state(position=position)
        TRANSACTIONS.clear()
        build_merchant_directory()
    return applied
