"""Search of the mapping log: the log by merchant, and any part of a merchant's names where the server has `pg_trgm`."""

from typing import Any

from django.db import ProgrammingError, migrations, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from kamioi_site.db.indexes import AddIndexByPartition, NamedIndex

_EXTENSION = "SELECT FROM pg_available_extensions WHERE name = 'pg_trgm'"
# `llm_center/sql/search_merchants.sql` repeats the expression.
_INDEX = """
    CREATE INDEX {concurrently} IF NOT EXISTS idx_merchants_search ON merchants USING gin (
        (merchant_key || ' ' || display_name || ' ' || coalesce(ticker, '') || ' ' || company_name || ' ' || category)
        gin_trgm_ops
    )
"""


def add_search_index(apps: Any, editor: BaseDatabaseSchemaEditor) -> None:
    """Build the index; a server without the extension, or an owner who may not create it, searches by prefix."""
    connection = editor.connection
    with connection.cursor() as cursor:
        cursor.execute(_EXTENSION)
        if cursor.fetchone() is None:
            return
        try:
            with transaction.atomic(using=connection.alias):
                cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        except ProgrammingError:
            return
    concurrently = "" if connection.in_atomic_block else "CONCURRENTLY"
    # An interrupted build leaves an invalid index under this name.
    editor.execute(f"DROP INDEX {concurrently} IF EXISTS idx_merchants_search", params=None)
    editor.execute(_INDEX.format(concurrently=concurrently), params=None)


def drop_search_index(apps: Any, editor: BaseDatabaseSchemaEditor) -> None:
    """Drop the index; the extension stays, because something else may use it."""
    editor.execute("DROP INDEX IF EXISTS idx_merchants_search", params=None)


class Migration(migrations.Migration):
    atomic = False  # the indexes are built while the tables are in use

    dependencies = [("llm_center", "0004_brand_as_of"), ("transactions", "0030_company_words")]

    operations = [
        AddIndexByPartition("llmmapping", NamedIndex(fields=["merchant_key"], name="idx_llm_mappings_merchant_key")),
        migrations.RunPython(add_search_index, drop_search_index),
    ]
