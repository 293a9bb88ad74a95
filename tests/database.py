"""The two database roles in tests: tests run as the application, the owner of the schema changes tables."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
import pytest
from django.conf import settings
from django.db import connection

from kamioi_site.db.roles import connection_values
from kamioi_site.local import embedded_servers
from kamioi_site.local.servers import EmbeddedPostgres

# Of the test that runs.
role_of_test = "application"
# Whether a test that committed has emptied the database, the rows of the migrations included.
is_empty = False


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
def owner_cursor() -> Iterator[Any]:
    """Yield a cursor of the schema's owner on the test database, which commits each statement."""
    with closing(psycopg2.connect(owner_url(), dbname=connection.settings_dict["NAME"])) as owner:
        owner.autocommit = True
        with owner.cursor() as cursor:
            yield cursor


@contextmanager
def superuser_cursor() -> Iterator[Any]:
    """Yield a cursor of the embedded server's superuser; skips the test if the owner of a given server is none."""
    embedded = EmbeddedPostgres(embedded_servers.home())
    if connection.settings_dict["HOST"] == str(embedded.socket_directory):
        with closing(embedded.connect(connection.settings_dict["NAME"])) as superuser, superuser.cursor() as cursor:
            yield cursor
        return
    with owner_cursor() as cursor:
        cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        if not cursor.fetchone()[0]:
            pytest.skip("only a superuser may do this")
        yield cursor


def execute_as_owner(_: Any, statements: Sequence[str]) -> None:
    """Run the statements in one transaction, in place of `DatabaseOperations.execute_sql_flush`."""
    global is_empty  # noqa: PLW0603
    if statements:
        is_empty = True
        with owner_cursor() as cursor:
            cursor.execute("; ".join(statement.rstrip(";") for statement in statements))


def restore_rows_of_migrations() -> None:
    """Restore them for a test that does not: parallel processes run tests that committed before others."""
    global is_empty  # noqa: PLW0603
    if is_empty:
        connection.creation.deserialize_db_from_string(connection._test_serialized_contents)  # type: ignore[attr-defined]
        is_empty = False
