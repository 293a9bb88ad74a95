"""Prepared statements for hot paths: planning a read of a table with many partitions takes longer than running it.

Behind PgBouncer's transaction pooling (`PGBOUNCER`), where sessions are shared, the SQL is sent as plain text.
"""

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from django.db import NotSupportedError, connection

_MAX_STATEMENTS: Final = 64  # per connection
# Prepared statements of each connection: SQL → name.
_prepared: "weakref.WeakKeyDictionary[Any, dict[str, str]]" = weakref.WeakKeyDictionary()


@contextmanager
def prepared_statement(sql: str, parameters: Sequence[Any]) -> Iterator[Any]:
    """Run prepared SQL and yield its cursor; `%s` marks each parameter, and no other percent sign is allowed."""
    with connection.cursor() as cursor:
        name = "" if connection.settings_dict["DISABLE_SERVER_SIDE_CURSORS"] else _name(cursor, sql, len(parameters))
        if not name:
            cursor.execute(sql, parameters)
            yield cursor
            return
        marks = f"({', '.join(['%s'] * len(parameters))})" if parameters else ""
        try:
            cursor.execute(f"EXECUTE {name}{marks}", parameters)
        except NotSupportedError:
            # A migration changed a column type since. This aborts a surrounding transaction; the next one works.
            _prepared_names()[sql] = ""
            if connection.in_atomic_block:
                raise
            cursor.execute(sql, parameters)
        yield cursor


def _name(cursor: Any, sql: str, parameters: int) -> str:
    """Return the name of the prepared statement, or an empty string once the connection has too many."""
    names = _prepared_names()
    name = names.get(sql)
    if name is None:
        if len(names) >= _MAX_STATEMENTS:
            return ""
        name = f"kamioi_{len(names)}"
        # Once in the life of a connection, so it is no query of this request: the log and the wrappers do not see it.
        with connection.wrap_database_errors:
            cursor.cursor.execute(f"PREPARE {name} AS {_numbered(sql, parameters)}")
        names[sql] = name
    return name


def _prepared_names() -> dict[str, str]:
    connection.ensure_connection()
    wrapped: Any = connection.connection
    return _prepared.setdefault(wrapped.driver_connection, {})


def _numbered(sql: str, parameters: int) -> str:
    pieces = sql.split("%s")
    if len(pieces) != parameters + 1:
        raise ValueError(f"{parameters} parameters for {len(pieces) - 1} placeholders")
    return "".join(f"{piece}${number}" for number, piece in enumerate(pieces[:-1], 1)) + pieces[-1]
