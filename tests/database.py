"""The two database roles in tests: tests run as the application, the owner of the schema changes tables."""

import fcntl
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import psycopg2
import pytest
from django.conf import settings
from django.db import connection

from kamioi_site.db.backend.base import drop_pool
from kamioi_site.db.distribution import apply_distribution, distribution, plan_distribution
from kamioi_site.db.roles import connection_values
from kamioi_site.local import embedded_servers
from kamioi_site.local.servers import EmbeddedPostgres
from tests import citus

# Of the test that runs.
role_of_test = "application"


def owner_url() -> str:
    """Return the address of the schema's owner; that of the application where one role does both."""
    return str(settings.MIGRATION_DATABASE_URL or settings.DATABASE_URL)


def connect_as(role: str) -> None:
    """Connect Django as `owner` or `application` from now on."""
    values = connection_values(owner_url() if role == "owner" else settings.DATABASE_URL)
    if values["USER"] != connection.settings_dict["USER"]:
        connection.close()
        connection.settings_dict.update(values)


@contextmanager
def owner_cursor(database: str = "") -> Iterator[Any]:
    """Yield a cursor of the schema's owner on the test database or another, which commits each statement."""
    with closing(psycopg2.connect(owner_url(), dbname=database or connection.settings_dict["NAME"])) as owner:
        owner.autocommit = True
        with owner.cursor() as cursor:
            yield cursor


@contextmanager
def _administrator_cursor(database: str = "") -> Iterator[Any]:
    """Yield a cursor of the embedded server's superuser, or of the owner of a given one."""
    embedded = EmbeddedPostgres(embedded_servers.home())
    if connection.settings_dict["HOST"] != str(embedded.socket_directory):
        with owner_cursor(database) as cursor:
            yield cursor
        return
    with (
        closing(embedded.connect(database or connection.settings_dict["NAME"])) as superuser,
        superuser.cursor() as cursor,
    ):
        yield cursor


@contextmanager
def superuser_cursor() -> Iterator[Any]:
    """Yield a cursor of a superuser; skips the test if the owner of a given server is none."""
    with _administrator_cursor() as cursor:
        cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        if not cursor.fetchone()[0]:
            pytest.skip("only a superuser may do this")
        yield cursor


# Large tables are truncated; for small ones a new file for each table and index costs more than deleting rows.
_FILLED = """
    SELECT oid::regclass::text, pg_relation_size(oid) > 262144
           AND NOT EXISTS (SELECT FROM pg_constraint WHERE confrelid = pg_class.oid)
    FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'django_migrations'
      AND pg_relation_size(oid) > 0
"""
# On a cluster: the tables that Citus manages, of which it reports no sizes; those that others refer to come last.
_MANAGED = """
    SELECT relname::text, partmethod = 'h' FROM pg_dist_partition JOIN pg_class ON pg_class.oid = logicalrelid
    WHERE NOT relispartition ORDER BY partmethod <> 'h', repmodel = 't', array_position(%s, relname::text) DESC
"""
# Rows that the migrations insert, by table, as COPY writes them.
_initial_rows: dict[str, bytes] = {}


def remove_limits() -> None:
    """Let customers of tests buy what they like; the tests of limits set their own."""
    with _administrator_cursor() as cursor:
        cursor.execute("UPDATE admin_settings SET value = '' WHERE key ~ '^(limit_|upload_confirm_)'")


def keep_initial_rows() -> None:
    """Keep the rows of the migrations, with which every test starts."""
    with _administrator_cursor() as cursor:
        cursor.execute(_FILLED)
        filled = [table for table, _ in cursor.fetchall()]
        managed = [table for table, is_distributed in _managed_tables(cursor) if not is_distributed]
        for table in [*reversed(managed), *filled]:
            rows = io.BytesIO()
            cursor.copy_expert(f"COPY {table} TO STDOUT", rows)
            _initial_rows[table] = rows.getvalue()
    connection._test_serialized_contents = "[]"  # type: ignore[attr-defined]  # Django has nothing to restore


def _managed_tables(cursor: Any) -> list[tuple[str, bool]]:
    """Return the tables that Citus manages, and whether they are distributed; none without a cluster."""
    if not citus.ON_CITUS:
        return []
    cursor.execute(_MANAGED, [list(distribution().reference)])
    return list(cursor.fetchall())


def end_sessions(database: str) -> None:
    """End the connections to a test database, so that it can be dropped: those of a killed run or of threads."""
    with _administrator_cursor("postgres") as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [database])


def _template_name() -> str:
    return f"test_{urlsplit(settings.DATABASE_URL).path.lstrip('/')}_template"


class Template:
    """A migrated database that the processes of a parallel run copy. The first of them makes it; the others wait."""

    def __init__(self, home: Path) -> None:
        self._run = os.environ.get("PYTEST_XDIST_TESTRUNUID", "")
        self._made_by: IO[str] | None = None
        if not self._run:
            return
        self._made_by = (home / f"{_template_name()}.run").open("a+")
        fcntl.flock(self._made_by, fcntl.LOCK_EX)
        self._made_by.seek(0)
        if self._made_by.read() == self._run:
            connection.settings_dict["TEST"]["TEMPLATE"] = _template_name()
            self._made_by.close()
            self._made_by = None

    def save(self) -> None:
        """Copy the test database, unless it is a copy itself. Call it once, when the database is ready."""
        if self._made_by is None:
            return
        name = connection.settings_dict["NAME"]
        connection.close()
        end_sessions(name)
        drop_template()
        with owner_cursor("postgres") as cursor:
            cursor.execute(f"CREATE DATABASE {_template_name()} TEMPLATE {name}")
        self._made_by.truncate(0)
        self._made_by.write(self._run)
        self._made_by.close()


def drop_template() -> None:
    """Drop the template if this run or a killed one made it."""
    with owner_cursor("postgres") as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {_template_name()}")


def distribute() -> None:
    """Distribute the tables of a cluster, unless they are; new connections have its settings."""
    for _ in apply_distribution(plan_distribution()):
        pass
    connection.close()
    drop_pool(connection.alias)


def reset_database(_: Any, statements: Sequence[str]) -> None:
    """Leave only the rows of the migrations, in place of `DatabaseOperations.execute_sql_flush`.

    Parallel processes run tests that committed before others, so the rows are restored here and not by the next test.
    """
    if not statements:
        return
    with _administrator_cursor() as cursor:
        try:
            cursor.execute("SET session_replication_role = replica")  # neither triggers nor foreign keys
            cursor.execute(_FILLED)
            clear = [f"TRUNCATE {table}" if is_large else f"DELETE FROM {table}" for table, is_large in cursor]
            clear += [f"DELETE FROM {table}" for table, _ in _managed_tables(cursor)]
        except psycopg2.errors.InsufficientPrivilege:  # on a given server
            clear = [*(statement.rstrip(";") for statement in statements), "SET CONSTRAINTS ALL DEFERRED"]
        cursor.execute("BEGIN; " + "; ".join(clear))
        for table, rows in _initial_rows.items():
            cursor.copy_expert(f"COPY {table} FROM STDIN", io.BytesIO(rows))
        cursor.execute("COMMIT")
