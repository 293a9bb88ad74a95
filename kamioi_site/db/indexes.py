"""Indexes with long names, and migration operations that build them while the tables are in use."""

import time
from hashlib import blake2s
from typing import Final

from django.db import OperationalError, models, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations import AddIndex
from django.db.migrations.state import ProjectState

from kamioi_site.db.distribution import has_citus


class NamedIndex(models.Index):
    """`models.Index` with names of up to 63 characters, as PostgreSQL allows; Django allows 30."""

    max_name_length = 63


class AddIndexByPartition(AddIndex):
    """Add an index to a table partitioned by month without blocking writes.

    PostgreSQL cannot build an index of a partitioned table concurrently. So the parent gets an empty index first, which
    new partitions inherit; then the index of each partition is built concurrently and attached. Running it again after
    an interruption continues where it stopped. The migration must be `atomic = False`; in a transaction, and on Citus,
    which supports no index on the parent only, the whole index is built at once.
    """

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Build the missing parts of the index."""
        model = to_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            _build(schema_editor, model, self.index)


_LOCK_WAIT: Final = "2s"
_LOCK_ATTEMPTS: Final = 100
_LOCK_NOT_AVAILABLE: Final = "55P03"

# Partitions of a table that do not have their part of an index yet.
_PARTITIONS_WITHOUT_INDEX = """
    SELECT child.relname FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
    WHERE inhparent = to_regclass(%s) AND NOT EXISTS (
        SELECT FROM pg_index AS part JOIN pg_inherits AS attached ON attached.inhrelid = part.indexrelid
        WHERE part.indrelid = child.oid AND attached.inhparent = to_regclass(%s)
    ) ORDER BY 1
"""


def _build(editor: BaseDatabaseSchemaEditor, model: type[models.Model], index: models.Index) -> None:
    connection, table, name, quote = editor.connection, model._meta.db_table, index.name, editor.quote_name
    create_sql = str(index.create_sql(model, editor))
    head = f"CREATE INDEX {quote(name)} ON {quote(table)} "
    assert create_sql.startswith(head), create_sql  # noqa: S101
    rest = create_sql.removeprefix(head)
    if editor.collect_sql or connection.in_atomic_block or has_citus(connection):
        editor.execute(f"CREATE INDEX IF NOT EXISTS {quote(name)} ON {quote(table)} {rest}", params=None)
        return
    _with_lock_timeout(editor, f"CREATE INDEX IF NOT EXISTS {quote(name)} ON ONLY {quote(table)} {rest}")
    with connection.cursor() as cursor:
        cursor.execute(_PARTITIONS_WITHOUT_INDEX, [table, name])
        partitions = [row[0] for row in cursor.fetchall()]
    for partition in partitions:
        # Named by a hash of its columns, so that a partition's indexes never collide.
        part = quote(f"{partition}_{blake2s(rest.encode(), digest_size=4).hexdigest()}_idx")
        # An interrupted build leaves an invalid index under this name.
        editor.execute(f"DROP INDEX IF EXISTS {part}", params=None)
        editor.execute(f"CREATE INDEX CONCURRENTLY {part} ON {quote(partition)} {rest}", params=None)
        _with_lock_timeout(editor, f"ALTER INDEX {quote(name)} ATTACH PARTITION {part}")


def _with_lock_timeout(editor: BaseDatabaseSchemaEditor, command: str) -> None:
    """Run SQL that briefly locks a whole table.

    Waiting for such a lock blocks every later query, so each attempt gives up after `_LOCK_WAIT`.
    """
    using = editor.connection.alias
    for attempt in range(1, _LOCK_ATTEMPTS + 1):
        try:
            with transaction.atomic(using=using):
                editor.execute(f"SET LOCAL lock_timeout = '{_LOCK_WAIT}'", params=None)
                editor.execute(command, params=None)
            return
        except OperationalError as error:
            if getattr(error.__cause__, "pgcode", None) != _LOCK_NOT_AVAILABLE or attempt == _LOCK_ATTEMPTS:
                raise
        time.sleep(1)
