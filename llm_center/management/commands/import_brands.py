"""`manage.py import_brands`."""

from typing import Any

from django.core.management.base import BaseCommand

from llm_center.services.brands import import_brands


class Command(BaseCommand):
    """Fill the brand catalogue."""

    help = "Bring the brand catalogue up to the shipped data. Brands edited in the admin stay as they are."

    def handle(self, *args: Any, **options: Any) -> None:
        """Import, and say what changed."""
        done = import_brands()
        self.stdout.write(
            f"{done.read} brands read: {done.added} added, {done.changed} changed, {done.removed} removed"
        )
        for name in done.refused:
            self.stdout.write(f"  refused: {name}: its ticker is not a listed company (run import_companies first?)")
