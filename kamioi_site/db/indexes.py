"""Indexes: names as long as PostgreSQL allows, and operations that build them while the tables are in use."""

import time
from hashlib import blake2s
from typing import Any, Final

from django.db import OperationalError, models, transaction
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations import AddIndex
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState


class NamedIndex(models.Index):
    """`models.Index` whose name may have PostgreSQL's 63 characters. Django stops at 30 for the sake of other databases."""

    max_name_length = 63


class AddIndexByPartition(AddIndex):
    """Add an index to a table that is split by month, without keeping anybody from writing to it.

    PostgreSQL builds no index of a partitioned table concurrently. So the parent gets an empty one first, which months made
    from then on take over by themselves; then each partition's is built concurrently and attached. Run again after an
    interruption, it goes on where it stopped. The migration must be `atomic = False`; in a transaction, and on Citus, which
    knows no index of a parent alone, the index is built in one go.
    """

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Build what is missing."""
        model = to_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            _build(schema_editor, model, self.index, self.index.name)


class WidenIndexByPartition(Operation):
    """Give an index of a table that is split by month other columns under its old name: built beside it, then put in its place.

    Built as by `AddIndexByPartition`; the exchange locks the table for as long as it takes to drop an index.
    """

    reversible = True

    def __init__(self, model_name: str, old: models.Index, new: models.Index) -> None:
        assert old.name == new.name  # noqa: S101
        self.model_name, self.old, self.new = model_name, old, new

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """The same name, other columns."""
        state.remove_index(app_label, self.model_name.lower(), self.old.name)
        state.add_index(app_label, self.model_name.lower(), self.new)

    def database_forwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """Build the new one, then exchange."""
        self._exchange(schema_editor, to_state.apps.get_model(app_label, self.model_name), self.new)

    def database_backwards(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        """The other way round."""
        self._exchange(schema_editor, to_state.apps.get_model(app_label, self.model_name), self.old)

    def describe(self) -> str:
        """For `migrate`."""
        return f"Build {self.new.name} of {self.model_name} anew with other columns"

    def _exchange(self, editor: BaseDatabaseSchemaEditor, model: type[models.Model], index: models.Index) -> None:
        if not self.allow_migrate_model(editor.connection.alias, model):
            return
        beside = f"{index.name}_new"
        _build(editor, model, index, beside)
        name = editor.quote_name(index.name)
        _shortly(editor, f"DROP INDEX {name}", f"ALTER INDEX {editor.quote_name(beside)} RENAME TO {name}")


_LOCK_WAIT: Final = "2s"
_LOCK_ATTEMPTS: Final = 100
_LOCK_NOT_AVAILABLE: Final = "55P03"


# Partitions of a table that have no part of an index yet.
_WITHOUT = """
    SELECT child.relname FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
    WHERE inhparent = to_regclass(%s) AND NOT EXISTS (
        SELECT FROM pg_index AS part JOIN pg_inherits AS attached ON attached.inhrelid = part.indexrelid
        WHERE part.indrelid = child.oid AND attached.inhparent = to_regclass(%s)
    ) ORDER BY 1
"""


def _build(editor: BaseDatabaseSchemaEditor, model: type[models.Model], index: models.Index, name: str) -> None:
    connection, table, quote = editor.connection, model._meta.db_table, editor.quote_name
    statement = str(index.create_sql(model, editor))
    head = f"CREATE INDEX {quote(index.name)} ON {quote(table)} "
    assert statement.startswith(head), statement  # noqa: S101
    rest = statement.removeprefix(head)
    if editor.collect_sql or connection.in_atomic_block or _on_citus(connection):
        editor.execute(f"CREATE INDEX IF NOT EXISTS {quote(name)} ON {quote(table)} {rest}", params=None)
        return
    _shortly(editor, f"CREATE INDEX IF NOT EXISTS {quote(name)} ON ONLY {quote(table)} {rest}")
    with connection.cursor() as cursor:
        cursor.execute(_WITHOUT, [table, name])
        partitions = [row[0] for row in cursor.fetchall()]
    for partition in partitions:
        # Named after what it is, for the one that it takes the place of is still there.
        part = quote(f"{partition}_{blake2s(rest.encode(), digest_size=4).hexdigest()}_idx")
        # What an interruption left is invalid, and in the way.
        editor.execute(f"DROP INDEX IF EXISTS {part}", params=None)
        editor.execute(f"CREATE INDEX CONCURRENTLY {part} ON {quote(partition)} {rest}", params=None)
        _shortly(editor, f"ALTER INDEX {quote(name)} ATTACH PARTITION {part}")


def _shortly(editor: BaseDatabaseSchemaEditor, *statements: str) -> None:
    """Run statements that lock a whole table for a moment, all or none.

    Who waits for such a lock stops everybody who comes after, so it gives up after `_LOCK_WAIT`, lets them pass and tries again.
    """
    using = editor.connection.alias
    for attempt in range(1, _LOCK_ATTEMPTS + 1):
        try:
            with transaction.atomic(using=using):
                editor.execute(f"SET LOCAL lock_timeout = '{_LOCK_WAIT}'", params=None)
                for statement in statements:
                    editor.execute(statement, params=None)
            return
        except OperationalError as error:
            if getattr(error.__cause__, "pgcode", None) != _LOCK_NOT_AVAILABLE or attempt == _LOCK_ATTEMPTS:
                raise
        time.sleep(1)


def _on_citus(connection: Any) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_extension WHERE extname = 'citus'")
        return cursor.fetchone() is not None
