"""`manage.py replay_erasures`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from transactions.services.privacy import replay_erasures


class Command(BaseCommand):
    help = "After a restore: erase again the users who were erased since the backup, by the log kept with the uploads."

    def handle(self, *args: Any, **options: Any) -> None:
        result = replay_erasures()
        self.stdout.write(f"{len(result.erased):,} users were erased again.")
        for pk, reason in result.refused.items():
            self.stderr.write(f"User {pk} is closed but not erased yet: {reason}")
        if result.refused:
            raise CommandError("Run this command again when the work of these users is done.")
