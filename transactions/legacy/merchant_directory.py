"""The merchant directory and the review queue, derived from the copied rows in set-based statements; safe to repeat."""

from django.db import connection, transaction

from transactions.legacy import registry
from transactions.sql import load_sql


def build_merchant_directory() -> dict[str, int]:
    """Derive merchants from the tables of the registered apps; returns numbers by what was done."""
    counts: dict[str, int] = {"merchants": 0, "approved": 0, "conflicts": 0}
    with transaction.atomic():
        for module in registry.directory_modules():
            counts |= module.build_directory()
        with connection.cursor() as cursor:
            cursor.execute(load_sql("legacy_update_waiting"))
    return counts
