"""Analytics reads go to a streaming replica (`REPLICA_URL`) while it is up and close enough to the primary.

- Nothing is written through the alias `replica`: its sessions are read-only, the router never selects it for writes,
  and a server that is not a standby (a promoted replica, a wrong URL) is not used at all.
- Its position is queried at most every `REPLICA_WATCH_SECONDS`, and only by processes that read from it. Its lag is the
  age of the newest primary position that it has replayed, by one clock: a standby of an idle primary does not lag.
- If it fails or lags more than `REPLICA_MAX_LAG_SECONDS`, the query runs on the primary, and so do all other reads for
  `REPLICA_RETRY_SECONDS`.
- Users read their own writes: see `ReadYourWrites`.
- Inside a transaction on the primary, reads stay on it.
"""

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import MiddlewareNotUsed
from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin
from redis import RedisError

from kamioi_site.cache.redis import redis_client

logger = logging.getLogger(__name__)

REPLICA: Final = "replica"
# The ORM reads models of these apps from the replica; raw SQL uses `read_connection`.
READ_APPS: Final = frozenset({"analytics"})
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_SAMPLES: Final = 256

_POSITION = "SELECT pg_current_wal_lsn()::text"
_STATE = """
    SELECT pg_is_in_recovery(), coalesce(pg_last_wal_replay_lsn(), '0/0')::text,
           extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float,
           EXISTS (SELECT FROM pg_stat_wal_receiver)
"""


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """Last known state of the replica. `lag_seconds` is an upper bound, None when unknown."""

    used: bool
    reason: str  # why it is not used
    lag_seconds: float | None = None
    lag_bytes: int | None = None  # None if the primary did not answer
    receiving: bool = False  # connected to the primary
    replayed: int = 0


class _ReplicaMonitor:
    """This process's knowledge of the replica's state."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._state = ReplicaState(used=False, reason="not checked yet")
        self._checked_at = float("-inf")
        self._paused_until = float("-inf")
        # (time, position of the primary), oldest first.
        self._samples: deque[tuple[float, int]] = deque(maxlen=_SAMPLES)

    def state(self) -> ReplicaState:
        """Return the state, refreshed by one thread when it is older than `REPLICA_WATCH_SECONDS`."""
        now = time.monotonic()
        if now < self._paused_until or now - self._checked_at < settings.REPLICA_WATCH_SECONDS:
            return self._state
        if not self._lock.acquire(blocking=False):
            return self._state
        try:
            self._state = self._check()
            self._checked_at = time.monotonic()
            if not self._state.used and self._state.lag_seconds is None:
                self._paused_until = self._checked_at + settings.REPLICA_RETRY_SECONDS
        finally:
            self._lock.release()
        return self._state

    def mark_failed(self, error: BaseException) -> None:
        """Stop using the replica for `REPLICA_RETRY_SECONDS`, because a query failed."""
        if self._state.used:
            logger.warning("the replica failed, reads go to the primary: %s", error)
        self._state = ReplicaState(used=False, reason=f"no answer ({type(error).__name__})")
        self._paused_until = time.monotonic() + settings.REPLICA_RETRY_SECONDS

    def replayed_position(self) -> int:
        """Query the position that the replica has replayed by now."""
        with _replica_cursor() as cursor:
            cursor.execute(_STATE)
            return _lsn(cursor.fetchone()[1])

    def _check(self) -> ReplicaState:
        primary = _primary_position()
        if primary is not None:
            self._samples.append((time.monotonic(), primary))
        try:
            with _replica_cursor() as cursor:
                cursor.execute(_STATE)
                standby, position, since, receiving = cursor.fetchone()
        except Error as error:
            if self._state.used or not self._state.reason.startswith("no answer"):
                logger.warning("the replica does not answer, reads go to the primary: %s", error)
            _replica().discard()
            return ReplicaState(used=False, reason=f"no answer ({type(error).__name__})")
        if not standby:
            return ReplicaState(used=False, reason="it is not a standby")
        replayed = _lsn(position)
        lag = self._lag(replayed, since)
        details = {"lag_bytes": None if primary is None else max(0, primary - replayed), "receiving": receiving}
        # If the primary is down, use the replica whatever its lag.
        is_close = primary is None or (lag is not None and lag <= settings.REPLICA_MAX_LAG_SECONDS)
        return ReplicaState(
            used=is_close,
            reason="" if is_close else f"behind by more than {settings.REPLICA_MAX_LAG_SECONDS} s",
            lag_seconds=float("inf") if lag is None else lag,
            replayed=replayed,
            **details,
        )

    def _lag(self, replayed: int, since: float | None) -> float | None:
        """Compute the seconds since the primary was at the replica's position: the lower of two upper bounds.

        The samples are as exact as the interval between two checks. The time of the last replayed transaction helps in
        the first checks of a process; alone it would report a large lag for the standby of an idle primary.
        """
        now, bounds = time.monotonic(), []
        reached = [at for at, position in self._samples if position <= replayed]
        if reached:
            bounds.append(now - reached[-1])
        if since is not None:
            bounds.append(max(0.0, since))
        return min(bounds, default=None)


_monitor = _ReplicaMonitor()
# Set while a request or task runs that may have to read its own writes.
_reader: ContextVar["_ReaderContext | None"] = ContextVar("replica_reader", default=None)


@dataclass(slots=True)
class _ReaderContext:
    """Whose reads these are; the user of a request is only known once the view has authenticated it."""

    request: HttpRequest | None = None
    user_id: int | None = None
    primary_only: bool = False
    use_primary: bool | None = None  # decided once, so that a page does not mix the two

    def user(self) -> int | None:
        user = getattr(self.request, "user", None)
        return user.pk if user is not None and user.is_authenticated else self.user_id


def has_replica() -> bool:
    """Whether a replica is configured."""
    return REPLICA in connections.settings


def replica_state() -> ReplicaState:
    """Return the state of the replica for `/readyz` and metrics, refreshed if it is old."""
    if not has_replica():
        return ReplicaState(used=False, reason="REPLICA_URL is not set")
    return _monitor.state()


def mark_replica_failed(error: BaseException) -> None:
    """Record that a query on the replica failed; called by the database engine."""
    _monitor.mark_failed(error)


def read_alias() -> str:
    """Return the alias for analytics reads: `replica` or `default`."""
    if not has_replica() or connections[DEFAULT_DB_ALIAS].in_atomic_block:
        return DEFAULT_DB_ALIAS
    state = _monitor.state()
    return REPLICA if state.used and not _must_read_primary(state) else DEFAULT_DB_ALIAS


def read_connection() -> BaseDatabaseWrapper:
    """Return the connection for reads that may lag a little: dashboards, reports, metrics. Never write through it.

    A query that fails on the replica runs on the primary within the same call.
    """
    return connections[read_alias()]


@contextlib.contextmanager
def read_cursor(*, milliseconds: int) -> Iterator["TimeoutCursor"]:
    """Yield a cursor for analytics reads with a timeout for each query.

    It opens no transaction: a query that the replica cancels could not continue on the primary within one.
    """
    with read_connection().cursor() as cursor:
        yield TimeoutCursor(cursor, milliseconds)


class TimeoutCursor:
    """A cursor that sends a timeout with each query, so it needs neither a session nor a transaction."""

    def __init__(self, cursor: Any, milliseconds: int) -> None:
        self._cursor = cursor
        self._set_timeout = f"SET LOCAL statement_timeout = {milliseconds}; "

    def execute(self, sql: str, params: Any = None) -> None:
        """Run one query; raises OperationalError when it takes too long."""
        # PostgreSQL runs one message of two commands as one transaction, and the setting ends with it.
        self._cursor.execute(self._set_timeout + sql, params)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._cursor)


@contextlib.contextmanager
def primary_reads() -> Iterator[None]:
    """Read from the primary within the block, for values that a write depends on."""
    token = _reader.set(_ReaderContext(primary_only=True))
    try:
        yield
    finally:
        _reader.reset(token)


@contextlib.contextmanager
def reading_as(user_id: int | None) -> Iterator[None]:
    """Let reads within the block see this user's writes; for tasks that work for a user."""
    token = _reader.set(_ReaderContext(user_id=user_id))
    try:
        yield
    finally:
        _reader.reset(token)


class ReplicaRouter:
    """Route reads of analytics models to the replica, and everything else to the primary."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        """Choose the replica for analytics models, unless the class sets `read_from_primary`."""
        if model._meta.app_label not in READ_APPS or getattr(model, "read_from_primary", False):
            return None
        return read_alias()

    def db_for_write(self, model: type[Model], **hints: Any) -> str:
        """Choose the primary, also for a row that was read from the replica."""
        return DEFAULT_DB_ALIAS

    def allow_relation(self, one: Model, other: Model, **hints: Any) -> bool:
        """Allow relations: both aliases hold the same data."""
        return True

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        """Never migrate the replica: it gets its tables from the primary."""
        return False if db == REPLICA else None


class ReadYourWrites(MiddlewareMixin):
    """Send a user's reads to the primary until the replica has replayed the user's last write.

    After each request that may write, the primary's position is stored in Redis for the user, for as long as a replica
    in use can lag. The user's reads compare it with the replica's position. If Redis does not answer, they go to the
    primary.
    """

    def __init__(self, get_response: Any) -> None:
        super().__init__(get_response)
        if not has_replica():
            raise MiddlewareNotUsed

    def process_request(self, request: HttpRequest) -> None:
        """Record whose reads follow."""
        _reader.set(_ReaderContext(request=request, primary_only=request.method not in _SAFE))

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """Store the primary's position after a request that may have written."""
        user = getattr(request, "user", None)
        if request.method not in _SAFE and user is not None and user.is_authenticated:
            mark_written(user.pk)
        return response


def mark_written(user_id: int) -> None:
    """Store the primary's position, up to which this user's writes are committed."""
    if not has_replica():
        return
    position = _primary_position()
    if position is None:
        return
    seconds = int(settings.REPLICA_MAX_LAG_SECONDS + settings.REPLICA_WATCH_SECONDS) + 1
    try:
        redis_client().set(_key(user_id), position, ex=seconds)
    except RedisError:
        logger.warning("Redis is down: the position of a write by user %s was not stored", user_id)


def _must_read_primary(state: ReplicaState) -> bool:
    reader = _reader.get()
    if reader is None or reader.primary_only:
        return reader is not None
    if reader.use_primary is None and (user_id := reader.user()) is not None:
        reader.use_primary = not _has_replayed_writes(user_id, state)
    return bool(reader.use_primary)


def _has_replayed_writes(user_id: int, state: ReplicaState) -> bool:
    try:
        written: Any = redis_client().get(_key(user_id))
    except RedisError:
        return False
    if written is None or state.replayed >= int(written):
        return True
    try:
        return _monitor.replayed_position() >= int(written)
    except Error as error:
        _monitor.mark_failed(error)
        return False


def _key(user_id: int) -> str:
    return f"kamioi:wrote:{user_id}"


def _primary_position() -> int | None:
    primary = connections[DEFAULT_DB_ALIAS]
    if primary.needs_rollback:
        return None
    try:
        with primary.cursor() as cursor:
            cursor.execute(_POSITION)
            return _lsn(cursor.fetchone()[0])
    except Error:
        logger.warning("the primary's position cannot be read", exc_info=True)
        return None


def _replica() -> Any:
    """Return the connection of `kamioi_site.db.replica_backend`, which imports this module."""
    return connections[REPLICA]


def _replica_cursor() -> Any:
    """Return a cursor without fallback: the monitor must see failures."""
    return _replica().direct_cursor()


def _lsn(text: str) -> int:
    """Convert a WAL position such as `16/B374D848` to bytes."""
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)
