"""Indexes on partitioned tables are built while the table is in use."""

import pytest
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from kamioi_site.db.indexes import AddIndexByPartition, NamedIndex

pytestmark = [pytest.mark.as_owner, pytest.mark.django_db(transaction=True, serialized_rollback=True)]
NAME = "idx_ledger_transfers_by_reference_and_creation_for_this_test"


def _is_valid(index: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", [index])
        return cursor.fetchone() == (True,)


def _count(sql: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]


def test_an_index_is_built_on_every_partition_and_continued_after_an_interruption():
    before = MigrationLoader(connection).project_state()
    operation = AddIndexByPartition("ledgertransfer", NamedIndex(fields=["reference", "created_at"], name=NAME))
    after = before.clone()
    operation.state_forwards("transactions", after)
    partitions = _count("SELECT count(*) FROM pg_inherits WHERE inhparent = 'ledger_transfers'::regclass")
    try:
        with connection.cursor() as cursor:  # what an interrupted run leaves
            cursor.execute(f"CREATE INDEX {NAME} ON ONLY ledger_transfers (reference, created_at)")
        assert not _is_valid(NAME)
        for _ in range(2):
            with connection.schema_editor(atomic=False) as editor:
                operation.database_forwards("transactions", editor, before, after)
            assert _is_valid(NAME)
            assert _count(f"SELECT count(*) FROM pg_inherits WHERE inhparent = '{NAME}'::regclass") == partitions
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP INDEX IF EXISTS {NAME}")
