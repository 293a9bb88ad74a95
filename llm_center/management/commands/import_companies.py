"""`manage.py import_companies`."""

from typing import Any

from django.core.management.base import BaseCommand

from llm_center.services.companies import import_companies


class Command(BaseCommand):
    help = "Synchronize the company table with the shipped copy of the SEC's list. Rows edited in the admin are kept."

    def handle(self, *args: Any, **options: Any) -> None:
        result = import_companies()
        self.stdout.write(
            f"{result.read} companies read: {result.added} added, {result.changed} changed,"
            f" {result.delisted} no longer listed"
        )
