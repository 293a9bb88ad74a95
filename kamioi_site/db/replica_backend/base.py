"""The database engine of the alias `replica`: queries that the replica cannot answer run on the primary.

The whole result has arrived when `execute` returns, so a failed query has returned nothing and can run on the primary
instead. Within a transaction on the replica, whose snapshot the primary cannot continue, and within a named cursor the
error is raised.
"""

import contextlib
from typing import Any

from django.db import DEFAULT_DB_ALIAS, Error, InterfaceError, OperationalError, connections
from django.db.backends.postgresql.base import CursorDebugWrapper
from django.db.backends.utils import CursorWrapper
from psqlextra.backend import base as psqlextra

from kamioi_site.db import replica
from kamioi_site.db.backend.base import PoolExhaustedError

# SQLSTATE prefixes of a server that is down, shutting down, or out of resources. A query that was cancelled for taking
# too long is not included: it would take as long on the primary.
_UNAVAILABLE = ("08", "53", "57P", "58")
# The query conflicted with replay; the replica itself is fine.
_RECOVERY_CONFLICT = ("40001", "40P01")


class DatabaseWrapper(psqlextra.DatabaseWrapper):
    """The connection to the replica."""

    _fallback_disabled = False

    def direct_cursor(self) -> Any:
        """Return a cursor that does not fall back: its failures are raised."""
        self._fallback_disabled = True
        try:
            return super()._cursor()  # type: ignore[misc]  # missing in the stubs
        finally:
            self._fallback_disabled = False

    def _cursor(self, name: str | None = None) -> Any:
        try:
            return super()._cursor(name)  # type: ignore[misc]
        except (OperationalError, InterfaceError) as error:
            if not self.should_fall_back(error):
                raise
            return connections[DEFAULT_DB_ALIAS]._cursor(name)  # type: ignore[attr-defined]

    def make_cursor(self, cursor: Any) -> Any:
        """Return a cursor that falls back to the primary."""
        return super().make_cursor(cursor) if self._fallback_disabled else _Cursor(cursor, self)

    def make_debug_cursor(self, cursor: Any) -> Any:
        """Return a cursor that logs queries and falls back to the primary."""
        return super().make_debug_cursor(cursor) if self._fallback_disabled else _DebugCursor(cursor, self)

    def should_fall_back(self, error: BaseException) -> bool:
        """Whether to run the query on the primary; if the replica is down, record it and drop the connection."""
        code = getattr(error.__cause__, "pgcode", None) or ""
        if self.in_atomic_block or isinstance(error, PoolExhaustedError):
            return False
        if code.startswith(_RECOVERY_CONFLICT):
            return True
        if code and not code.startswith(_UNAVAILABLE):
            return False
        replica.mark_replica_failed(error)
        self.discard()
        return True

    def discard(self) -> None:
        """Return a failed connection to the pool, marked as invalid."""
        with contextlib.suppress(Error):
            if self.connection is not None:
                self.connection.invalidate()
            self.close()


class _FallbackCursor(CursorWrapper):
    def _execute(self, sql: Any, params: Any, *ignored: Any) -> Any:
        try:
            return super()._execute(sql, params, *ignored)  # type: ignore[misc]
        except (OperationalError, InterfaceError) as error:
            if not isinstance(self.db, DatabaseWrapper) or not self.db.should_fall_back(error):
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
