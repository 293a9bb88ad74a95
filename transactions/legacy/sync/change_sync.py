"""`sync`: what the legacy system wrote since the snapshot, carried over again and again until nothing is left."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from django.db import transaction

from transactions.cache import TRANSACTIONS
from transactions.legacy.load.bulk_loader import get_progress
from transactions.legacy.load.migration_lock import migration_lock
from transactions.legacy.merchant_directory import build_merchant_directory
from transactions.legacy.source.change_log import SyncError, change_log_position, read_change_log
from transactions.legacy.source.snapshot import Snapshot
from transactions.legacy.sync.change_applier import ApplyResult, ChangeApplier
from transactions.legacy.validate.oracle import source_open
from transactions.legacy.validate.validation import validate
from transactions.migration_phase import MigrationState, get_migration_state, update_migration_state
from transactions.models import MigrationRun

ENTRIES: Final = 20_000
"""Entries of the log that are carried over in one transaction."""
_OTHERS_SECONDS: Final = 120.0
LOOK_SECONDS: Final = 0.2
"""How often `follow` looks whether the file was written to."""


@dataclass(slots=True)
class SyncResult:
    """What one round did. `lag` is how many seconds the oldest change of the round was behind, once it was committed."""

    entries: int = 0
    last: int = 0
    applied: ApplyResult | None = None
    lag: float = 0.0


def check_source(path: Path) -> MigrationState:
    """The state, if this file may be synced with this database. Raises SyncError."""
    state = get_migration_state()
    if state is None:
        raise SyncError("Nothing was carried over yet: run `copy` first.")
    if path.resolve() != state.path:
        raise SyncError(f"This database is being filled from {state.path}.")
    if state.phase != "legacy":
        raise SyncError("Kamioi is in charge of the data: nothing is taken from the legacy file any more.")
    if not get_progress() or not all(progress.complete for progress in get_progress().values()):
        raise SyncError("The copy is not complete: run `copy` again, it goes on where it stood.")
    return state


def sync_round(path: Path, run: MigrationRun) -> SyncResult:
    """Carry over the next entries of the log. Raises SyncError and LegacySourceError."""
    state = check_source(path)
    with Snapshot(path) as snapshot:
        newest = change_log_position(snapshot)
        if newest is None:
            raise SyncError("The legacy file has no log of changes: run `sync FILE --install`, then `sync FILE --all`.")
        if state.position is None:
            raise SyncError(
                "The log was installed after the copy began: run `sync FILE --all` once, it finds every difference."
            )
        changes = read_change_log(snapshot, state.position, ENTRIES)
        if not changes.entries:
            return SyncResult()
        with transaction.atomic():
            applied = ChangeApplier(snapshot, run).apply(changes.rows)
            update_migration_state(position=changes.last)
    TRANSACTIONS.clear()
    return SyncResult(changes.entries, changes.last, applied, max(0.0, time.time() - (changes.oldest or time.time())))


def sync_changes(path: Path, run: MigrationRun, *, on_progress: Callable[[SyncResult], None] | None = None) -> int:
    """Carry over everything that the log names by now. Returns how many entries that were."""
    total = 0
    with migration_lock(wait=_OTHERS_SECONDS):
        with Snapshot(path) as snapshot:
            newest = change_log_position(snapshot) or 0
        # What is written from here on is the next call's, or the legacy system could keep this one going for ever.
        while (done := sync_round(path, run)).entries:
            total += done.entries
            if on_progress:
                on_progress(done)
            if done.last >= newest:
                break
        if total:
            build_merchant_directory()
    return total


def follow_changes(path: Path, run: MigrationRun, *, until: Callable[[], bool] = lambda: False) -> Iterator[SyncResult]:
    """Carry changes over as they come, until told otherwise; yields each round that did something."""
    with closing(source_open(path)) as watch:
        seen: int | None = None
        while not until():
            version = watch.execute("PRAGMA data_version").fetchone()[0]
            if version == seen:
                time.sleep(LOOK_SECONDS)
                continue
            # A lock a round: a cut-over may come in between, and then there is nothing more to follow.
            with migration_lock(wait=_OTHERS_SECONDS):
                done = sync_round(path, run)
            if done.entries:
                yield done
            else:
                seen = version


def sync_all_rows(
    path: Path, run: MigrationRun, *, on_progress: Callable[[str, int, int], None] | None = None
) -> ApplyResult:
    """Compare every row, as `validate` does, and carry over those that differ; the log counts from before that."""
    check_source(path)
    with migration_lock(wait=_OTHERS_SECONDS):
        with Snapshot(path) as snapshot:
            position = change_log_position(snapshot)
        result = validate(path, samples=0, on_progress=on_progress, excuse=False)
        changed = {table.name: table.ids for table in result.tables if table.ids}
        with Snapshot(path) as snapshot, transaction.atomic():
            applied = ChangeApplier(snapshot, run).apply(changed)
            update_migration_state(position=position)
        TRANSACTIONS.clear()
        build_merchant_directory()
    return applied
