"""Statements of hot paths, planned once a connection: PostgreSQL plans a read of a table of many partitions longer than it runs it.

Behind PgBouncer's transaction pooling (`PGBOUNCER`), where a session is nobody's own, they go as plain text.
"""

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from django.db import NotSupportedError, connection

_MOST: Final = 64
"""Statements that a connection keeps; a text is one of ours, so there are a few."""

# What each connection has prepared: text → name.
_prepared: "weakref.WeakKeyDictionary[Any, dict[str, str]]" = weakref.WeakKeyDictionary()


@contextmanager
def prepared_statement(sql: str, parameters: Sequence[Any]) -> Iterator[Any]:
    """A cursor that has run the statement; `%s` stands for each parameter, and no other percent sign is in the text."""
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
            # A migration changed the type of a column since. Inside a transaction this was its end; the next one is right.
            _known()[sql] = ""
            if connection.in_atomic_block:
                raise
            cursor.execute(sql, parameters)
        yield cursor


def _name(cursor: Any, sql: str, parameters: int) -> str:
    """What the statement is called on this connection; empty when it is not to be prepared here."""
    known = _known()
    name = known.get(sql)
    if name is None:
        if len(known) >= _MOST:
            return ""
        name = f"kamioi_{len(known)}"
        cursor.execute(f"PREPARE {name} AS {_numbered(sql, parameters)}")
        known[sql] = name
    return name


def _known() -> dict[str, str]:
    connection.ensure_connection()
    wrapped: Any = connection.connection
    return _prepared.setdefault(wrapped.driver_connection, {})


def _numbered(sql: str, parameters: int) -> str:
    pieces = sql.split("%s")
    if len(pieces) != parameters + 1:
        raise ValueError(f"{parameters} parameters for {len(pieces) - 1} places")
    return "".join(f"{piece}${number}" for number, piece in enumerate(pieces[:-1], 1)) + pieces[-1]
