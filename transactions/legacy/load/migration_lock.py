"""The lock of the legacy migration: one copy, sync or cut-over at a time."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from kamioi_site.db.locks import LockBusyError, advisory_lock
from kamioi_site.db.roles import as_owner
from kamioi_site.errors import KamioiError

MIGRATION_LOCK: Final = 7_203_002


class LegacyCopyError(KamioiError):
    """The legacy database cannot be copied in the present state."""


@contextmanager
def migration_lock(*, wait: float = 0) -> Iterator[None]:
    """Hold the lock while the block runs, as the owner of the tables; waits `wait` seconds for another holder.

    Raises:
        LegacyCopyError: another process still holds the lock.
    """
    with as_owner(), ExitStack() as held:
        try:
            held.enter_context(advisory_lock(MIGRATION_LOCK, wait=wait))
        except LockBusyError as error:
            raise LegacyCopyError("Another copy or sync is running; see `migrate_from_sqlite status`.") from error
        yield
