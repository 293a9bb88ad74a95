"""Django's `migrate`, one at a time and as the owner of the schema."""

from contextlib import ExitStack
from math import inf
from typing import Any, Final

from django.core.management.commands import migrate

from kamioi_site.db.locks import LockBusyError, advisory_lock
from kamioi_site.db.roles import as_owner, grant_privileges

LOCK_KEY: Final = 7_203_008


class Command(migrate.Command):
    """Migrate, and grant the application its privileges.

    A second process waits until the first is done, and then finds nothing to do. `--check` only reads, without
    the lock: pods of a new release repeat it while another one migrates.
    """

    def handle(self, *args: Any, **options: Any) -> None:
        """Run Django's command under the lock."""
        if options["check_unapplied"]:
            super().handle(*args, **options)
            return
        with as_owner(), ExitStack() as held:
            try:
                held.enter_context(advisory_lock(LOCK_KEY))
            except LockBusyError:
                self.stdout.write("Another `migrate` is running: waiting for it.")
                held.enter_context(advisory_lock(LOCK_KEY, wait=inf))
            super().handle(*args, **options)
            if not options["plan"]:
                grant_privileges()
