"""The base of the database engine: a fork-safe connection pool, which django-postgres-extra extends.

- One pool per process and database alias (django-db-connection-pool on SQLAlchemy's QueuePool), sized by
  `POOL_OPTIONS`. Every connection is pinged before use, so a restarted server does not fail a request. If it answered
  less than `_TRUSTED_SECONDS` ago, only its socket is checked: a server that closed it has sent something.
- A forked child never writes to a socket of its parent: two processes would read each other's results without an
  error. The child replaces each inherited socket by /dev/null, drops the pools and opens its own connections.
- A pool belongs to one set of connection parameters. When they change (a test database replaces the real one), the
  pool is recreated.
- Session state from SET or `pg_advisory_lock` outlives the return to the pool: use `SET LOCAL` and
  `pg_advisory_xact_lock`.
"""

import os
import select
import threading
import time
import weakref
from typing import Any, Final

from dj_db_conn_pool.backends.postgresql import base as pooled
from dj_db_conn_pool.core import pool_container
from django.db import connections
from django.db.utils import OperationalError
from sqlalchemy.exc import TimeoutError as PoolWaitOver

from kamioi_site.observability.metrics.database import time_connection_wait

# Every open connection of this process, in a pool or in use.
_sockets: "weakref.WeakSet[Any]" = weakref.WeakSet()
# Inherited from the parent. If it were collected, the pool would roll it back and reuse it.
_inherited: list[Any] = []
# The parameters of each alias's pool.
_parameters: dict[str, dict[str, Any]] = {}

_TRUSTED_SECONDS: Final = 2.0
# When each connection last answered.
_answered_at: "weakref.WeakKeyDictionary[Any, float]" = weakref.WeakKeyDictionary()


class _Dialect(pooled.DatabaseWrapper.SQLAlchemyDialect):
    """Ping a connection only if checking its socket is not enough."""

    def do_ping(self, dbapi_connection: Any) -> bool:
        """Whether the connection is usable."""
        now = time.monotonic()
        if now - _answered_at.get(dbapi_connection, 0.0) < _TRUSTED_SECONDS and _is_quiet(dbapi_connection):
            return True
        answered: bool = super().do_ping(dbapi_connection)
        _answered_at[dbapi_connection] = now
        return answered


def _is_quiet(connection: Any) -> bool:
    """Whether the connection is open and has received nothing since its last answer."""
    if connection.closed:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return not poll.poll(0)


class PoolExhaustedError(OperationalError):
    """Every connection of this process is in use, and none was released in time."""


class DatabaseWrapper(pooled.DatabaseWrapper):
    """A Django connection, borrowed from the process's pool from the first query to the end of the request."""

    SQLAlchemyDialect = _Dialect

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Borrow a connection; raises PoolExhaustedError when none is released within the pool's `TIMEOUT`."""
        if _parameters.setdefault(self.alias, conn_params) != conn_params:
            drop_pool(self.alias)
            _parameters[self.alias] = conn_params
        options = self.settings_dict.get("POOL_OPTIONS", {})
        try:
            with time_connection_wait(self.alias, options):
                return super().get_new_connection(conn_params)
        except PoolWaitOver as error:
            limit = options.get("POOL_SIZE", 0) + options.get("MAX_OVERFLOW", 0)
            raise PoolExhaustedError(
                f"All {limit} database connections of this process are in use and none was released in "
                f"{options.get('TIMEOUT')} s (DATABASE_POOL_SIZE, DATABASE_POOL_OVERFLOW, DATABASE_POOL_WAIT)."
            ) from error

    def _get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        connection = super()._get_new_connection(conn_params)
        _sockets.add(connection)
        return connection


def drop_pool(alias: str) -> None:
    """Close an alias's pool; connections in use are closed when they are returned."""
    with pool_container.lock:
        pool = pool_container.pop(alias, None)
    if pool is not None:
        pool.dispose()


def _drop_inherited_connections() -> None:
    """In a forked child, detach every inherited connection from its socket and start without connections."""
    devnull = os.open(os.devnull, os.O_RDWR)
    for connection in list(_sockets):
        if not connection.closed:
            os.dup2(devnull, connection.fileno(), inheritable=False)
    os.close(devnull)
    _inherited.append((dict(pool_container), list(_sockets)))
    _sockets.clear()
    _answered_at.clear()
    _parameters.clear()
    pool_container.clear()
    pool_container.lock = threading.Lock()  # another thread of the parent may have held it
    for wrapper in connections.all(initialized_only=True):
        _inherited.append(wrapper.connection)
        wrapper.connection = None
        # The next use creates a new wrapper, outside the parent's transaction.
        del connections[wrapper.alias]


os.register_at_fork(after_in_child=_drop_inherited_connections)
