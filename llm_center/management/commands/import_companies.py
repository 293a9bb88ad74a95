"""`manage.py import_companies`."""

from typing import Any

from django.core.management.base import BaseCommand

from llm_center.services.companies import import_companies


class Command(BaseCommand):
    """Fill the company table."""

    help = (
        "Bring the company table up to the shipped copy of the SEC's list. Rows edited in the admin stay as they are."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Import, and say what changed."""
        done = import_companies()
        self.stdout.write(
            f"{done.read} companies read: {done.added} added, {done.changed} changed, {done.delisted} no longer listed"
        )
