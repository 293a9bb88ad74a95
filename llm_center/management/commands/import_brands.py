"""`manage.py import_brands`."""

from typing import Any

from django.core.management.base import BaseCommand

from llm_center.services.brands import import_brands


class Command(BaseCommand):
    help = "Synchronize the brand catalogue with the shipped data. Brands edited in the admin are kept."

    def handle(self, *args: Any, **options: Any) -> None:
        result = import_brands()
        self.stdout.write(
            f"{result.read} brands read: {result.added} added, {result.changed} changed, {result.removed} removed"
        )
        for name in result.refused:
            self.stdout.write(f"  refused: {name}: its ticker is not a listed company (run import_companies first?)")
