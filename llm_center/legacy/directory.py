"""Merchants of the directory, from the copied mappings."""

from pathlib import Path

from django.db import connection


def build_directory() -> dict[str, int]:
    """Write the merchants; returns how many were written, approved, and have conflicting mappings."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL work_mem = '128MB'")
        cursor.execute(Path(__file__).with_name("merchant_directory.sql").read_text(encoding="utf-8"))
        written, approved, conflicts = cursor.fetchone()
    return {"merchants": written, "approved": approved, "conflicts": conflicts}
