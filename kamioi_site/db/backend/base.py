"""The base of the database engine: a connection pool that survives forks. django-postgres-extra goes on top of it.

Rules that hold here:
- One pool a process and database alias (django-db-connection-pool on SQLAlchemy's QueuePool); its sizes come from
  `POOL_OPTIONS`. Every connection is tried before it is handed out, so a restarted server costs nobody a request. One that
  answered within `_TRUSTED_SECONDS` is only looked at: a server that ended it said so, and its socket has something to read.
- A forked child never writes to a socket of its parent: two processes would read each other's results without an
  error. The child swaps each inherited socket for /dev/null, forgets the pools and opens connections of its own.
- A pool belongs to one set of connection parameters. When they change (a test database takes the place of the real
  one) the pool is made anew.
- What a session set with SET or took with `pg_advisory_lock` outlives its return to the pool: use `SET LOCAL` and
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
# What a child inherited. Were it collected, the pool would try to roll it back and put it into the pool again.
_inherited: list[Any] = []
# The parameters that each alias's pool was made with.
_parameters: dict[str, dict[str, Any]] = {}


_TRUSTED_SECONDS: Final = 2.0
# When each connection last answered.
_answered_at: "weakref.WeakKeyDictionary[Any, float]" = weakref.WeakKeyDictionary()


class _Dialect(pooled.DatabaseWrapper.SQLAlchemyDialect):
    """Tries connections by a look at the socket where that is enough."""

    def do_ping(self, dbapi_connection: Any) -> bool:
        """Whether it can be handed out."""
        now = time.monotonic()
        if now - _answered_at.get(dbapi_connection, 0.0) < _TRUSTED_SECONDS and _is_quiet(dbapi_connection):
            return True
        answered: bool = super().do_ping(dbapi_connection)
        _answered_at[dbapi_connection] = now
        return answered


def _is_quiet(connection: Any) -> bool:
    """Whether it is open and nothing has come for it since its last answer."""
    if connection.closed:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return not poll.poll(0)


class PoolExhausted(OperationalError):
    """Every connection of this process is in use, and none came free in time."""


class DatabaseWrapper(pooled.DatabaseWrapper):
    """A Django connection that is lent by the process's pool from the first query to the end of the request."""

    SQLAlchemyDialect = _Dialect

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Borrow a connection; raises PoolExhausted when none comes free within the pool's `TIMEOUT` seconds."""
        if _parameters.setdefault(self.alias, conn_params) != conn_params:
            drop_pool(self.alias)
            _parameters[self.alias] = conn_params
        options = self.settings_dict.get("POOL_OPTIONS", {})
        try:
            with time_connection_wait(self.alias, options):
                return super().get_new_connection(conn_params)
        except PoolWaitOver as error:
            limit = options.get("POOL_SIZE", 0) + options.get("MAX_OVERFLOW", 0)
            raise PoolExhausted(
                f"All {limit} database connections of this process are in use and none came free in "
                f"{options.get('TIMEOUT')} s (DATABASE_POOL_SIZE, DATABASE_POOL_OVERFLOW, DATABASE_POOL_WAIT)."
            ) from error

    def _get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        connection = super()._get_new_connection(conn_params)
        _sockets.add(connection)
        return connection


def drop_pool(alias: str) -> None:
    """Close the idle connections of an alias's pool and forget it; those in use close when they come back."""
    with pool_container.lock:
        pool = pool_container.pop(alias, None)
    if pool is not None:
        pool.dispose()


def _leave_the_parents_connections() -> None:
    """In a forked child: cut every inherited connection off its socket, then start without any."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for connection in list(_sockets):
        if not connection.closed:
            os.dup2(nowhere, connection.fileno(), inheritable=False)
    os.close(nowhere)
    _inherited.append((dict(pool_container), list(_sockets)))
    _sockets.clear()
    _answered_at.clear()
    _parameters.clear()
    pool_container.clear()
    pool_container.lock = threading.Lock()  # another thread of the parent may have held it
    for wrapper in connections.all(initialized_only=True):
        _inherited.append(wrapper.connection)
        wrapper.connection = None
        # The next use makes a new wrapper: one outside whatever transaction the parent was in.
        del connections[wrapper.alias]


os.register_at_fork(after_in_child=_leave_the_parents_connections)
