"""The engine of the alias `replica`: what the replica cannot answer, the primary does.

A result is with the client when `execute` returns, so a statement that fails has given nothing away and can be put to
the primary instead. Not so within a transaction on the replica, whose snapshot the primary cannot continue, and not in
the middle of a named cursor: there the error is raised.
"""

import contextlib
from typing import Any

from django.db import DEFAULT_DB_ALIAS, Error, InterfaceError, OperationalError, connections
from django.db.backends.postgresql.base import CursorDebugWrapper
from django.db.backends.utils import CursorWrapper
from psqlextra.backend import base as psqlextra

from kamioi_site.db import replica
from kamioi_site.db.backend.base import PoolExhausted

# SQLSTATEs (by their beginning) of a server that is away, going away, or out of something. Not among them: a statement
# that was cancelled for taking too long, which would take as long on the primary.
_AWAY = ("08", "53", "57P", "58")
# What replay needed was in the statement's way. The replica is well.
_IN_THE_WAY = ("40001", "40P01")


class DatabaseWrapper(psqlextra.DatabaseWrapper):
    """The connection to the replica."""

    _alone = False

    def own_cursor(self) -> Any:
        """A cursor that does not fall back: its failures are raised."""
        self._alone = True
        try:
            return super()._cursor()  # type: ignore[misc]  # the stubs leave it out
        finally:
            self._alone = False

    def _cursor(self, name: str | None = None) -> Any:
        try:
            return super()._cursor(name)  # type: ignore[misc]
        except (OperationalError, InterfaceError) as error:
            if not self.give_up(error):
                raise
            return connections[DEFAULT_DB_ALIAS]._cursor(name)  # type: ignore[attr-defined]

    def make_cursor(self, cursor: Any) -> Any:
        """The usual cursor, with a way back."""
        return super().make_cursor(cursor) if self._alone else _Cursor(cursor, self)

    def make_debug_cursor(self, cursor: Any) -> Any:
        """The cursor that keeps what it was asked, with a way back."""
        return super().make_debug_cursor(cursor) if self._alone else _DebugCursor(cursor, self)

    def give_up(self, error: BaseException) -> bool:
        """Whether the primary should answer instead of this error; then the connection goes and the watch is told."""
        code = getattr(error.__cause__, "pgcode", None) or ""
        if self.in_atomic_block or isinstance(error, PoolExhausted):
            return False
        if code.startswith(_IN_THE_WAY):
            return True
        if code and not code.startswith(_AWAY):
            return False
        replica.mark_replica_failed(error)
        self.discard()
        return True

    def discard(self) -> None:
        """Part with a connection that failed: the pool gets it back as one not to be lent again."""
        with contextlib.suppress(Error):
            if self.connection is not None:
                self.connection.invalidate()
            self.close()


class _FallbackCursor(CursorWrapper):
    def _execute(self, sql: Any, params: Any, *ignored: Any) -> Any:
        try:
            return super()._execute(sql, params, *ignored)  # type: ignore[misc]
        except (OperationalError, InterfaceError) as error:
            if not isinstance(self.db, DatabaseWrapper) or not self.db.give_up(error):
                raise
        name = self.cursor.name
        with contextlib.suppress(Exception):
            self.cursor.close()
        self.db = connections[DEFAULT_DB_ALIAS]
        self.db.ensure_connection()
        self.cursor = self.db.create_cursor(name)
        return super()._execute(sql, params, *ignored)  # type: ignore[misc]


class _Cursor(_FallbackCursor):
    pass


class _DebugCursor(_FallbackCursor, CursorDebugWrapper):
    pass
