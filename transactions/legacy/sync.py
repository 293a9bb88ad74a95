"""`sync`: what the legacy system wrote since the snapshot, carried over again and again until nothing is left."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from django.db import transaction

from transactions.cache import TRANSACTIONS
from transactions.legacy.apply import Applied, Applier
from transactions.legacy.changes import SyncError, log_position, log_read
from transactions.legacy.copy import only_one
from transactions.legacy.directory import directory_build
from transactions.legacy.expected import source_open
from transactions.legacy.load import progress_read
from transactions.legacy.source import Snapshot
from transactions.legacy.state import MigrationState, state_read, state_write
from transactions.legacy.validate import validate
from transactions.models import MigrationRun

ENTRIES: Final = 20_000
"""Entries of the log that are carried over in one transaction."""
_OTHERS_SECONDS: Final = 120.0
LOOK_SECONDS: Final = 0.2
"""How often `follow` looks whether the file was written to."""


@dataclass(slots=True)
class Synced:
    """What one round did. `lag` is how many seconds the oldest change of the round was behind, once it was committed."""

    entries: int = 0
    last: int = 0
    applied: Applied | None = None
    lag: float = 0.0


def check_source(path: Path) -> MigrationState:
    """The state, if this file may be synced with this database. Raises SyncError."""
    state = state_read()
    if state is None:
        raise SyncError("Nothing was carried over yet: run `copy` first.")
    if path.resolve() != state.path:
        raise SyncError(f"This database is being filled from {state.path}.")
    if state.phase != "legacy":
        raise SyncError("Kamioi is in charge of the data: nothing is taken from the legacy file any more.")
    if not progress_read() or not all(progress.complete for progress in progress_read().values()):
        raise SyncError("The copy is not complete: run `copy` again, it goes on where it stood.")
    return state


def sync_round(path: Path, run: MigrationRun) -> Synced:
    """Carry over the next entries of the log. Raises SyncError and LegacySourceError."""
    state = check_source(path)
    with Snapshot(path) as snapshot:
        newest = log_position(snapshot)
        if newest is None:
            raise SyncError("The legacy file has no log of changes: run `sync FILE --install`, then `sync FILE --all`.")
        if state.position is None:
            raise SyncError(
                "The log was installed after the copy began: run `sync FILE --all` once, it finds every difference."
            )
        changes = log_read(snapshot, state.position, ENTRIES)
        if not changes.entries:
            return Synced()
        with transaction.atomic():
            applied = Applier(snapshot, run).apply(changes.rows)
            state_write(position=changes.last)
    TRANSACTIONS.clear()
    return Synced(changes.entries, changes.last, applied, max(0.0, time.time() - (changes.oldest or time.time())))


def sync(path: Path, run: MigrationRun, *, on_progress: Callable[[Synced], None] | None = None) -> int:
    """Carry over everything that the log names by now. Returns how many entries that were."""
    total = 0
    with only_one(wait=_OTHERS_SECONDS):
        with Snapshot(path) as snapshot:
            newest = log_position(snapshot) or 0
        # What is written from here on is the next call's, or the legacy system could keep this one going for ever.
        while (done := sync_round(path, run)).entries:
            total += done.entries
            if on_progress:
                on_progress(done)
            if done.last >= newest:
                break
        if total:
            directory_build()
    return total


def follow(path: Path, run: MigrationRun, *, until: Callable[[], bool] = lambda: False) -> Iterator[Synced]:
    """Carry changes over as they come, until told otherwise; yields each round that did something."""
    with closing(source_open(path)) as watch:
        seen: int | None = None
        while not until():
            version = watch.execute("PRAGMA data_version").fetchone()[0]
            if version == seen:
                time.sleep(LOOK_SECONDS)
                continue
            # A lock a round: a cut-over may come in between, and then there is nothing more to follow.
            with only_one(wait=_OTHERS_SECONDS):
                done = sync_round(path, run)
            if done.entries:
                yield done
            else:
                seen = version


def sync_all(path: Path, run: MigrationRun, *, on_progress: Callable[[str, int, int], None] | None = None) -> Applied:
    """Compare every row, as `validate` does, and carry over those that differ; the log counts from before that."""
    check_source(path)
    with only_one(wait=_OTHERS_SECONDS):
        with Snapshot(path) as snapshot:
            position = log_position(snapshot)
        result = validate(path, samples=0, on_progress=on_progress, excuse=False)
        changed = {table.name: table.ids for table in result.tables if table.ids}
        with Snapshot(path) as snapshot, transaction.atomic():
            applied = Applier(snapshot, run).apply(changed)
            state_write(position=position)
        TRANSACTIONS.clear()
        directory_build()
    return applied
