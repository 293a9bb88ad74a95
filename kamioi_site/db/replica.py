"""Reads of analytics go to a streaming replica (`REPLICA_URL`) when it is alive and close enough to the primary.

Rules that hold here:
- Nothing is ever written through the alias `replica`: its sessions are read-only, the router names it for no write, and
  a server that is not a standby (a replica that was promoted, a wrong URL) is not used at all.
- It is asked how far it is at most every `REPLICA_WATCH_SECONDS`, and only by processes that read from it. Its lag is
  the age of the newest position of the primary that it has replayed, by one clock and whatever the traffic: a standby of
  an idle primary is not behind.
- One that fails or lags more than `REPLICA_MAX_LAG_SECONDS` costs nobody an answer: the statement goes to the primary,
  and for `REPLICA_RETRY_SECONDS` so does everything else.
- Who just wrote reads what they wrote: see `ReadYourWrites`.
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
# Models of these apps are read from the replica by the ORM; raw SQL asks `read_connection`.
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
    """What was last seen of the replica. `lag_seconds` is an upper bound, None when nothing is known yet."""

    used: bool
    reason: str  # why it is not used; empty when it is
    lag_seconds: float | None = None
    lag_bytes: int | None = None  # None when the primary did not answer
    receiving: bool = False  # connected to the primary
    replayed: int = 0


class _Watch:
    """One process's view of the replica."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._state = ReplicaState(used=False, reason="not asked yet")
        self._seen_at = float("-inf")
        self._closed_until = float("-inf")
        # Positions of the primary and when they were read, oldest first.
        self._samples: deque[tuple[float, int]] = deque(maxlen=_SAMPLES)

    def state(self) -> ReplicaState:
        """The state, asked anew when it is older than `REPLICA_WATCH_SECONDS`. One thread asks; the others use what is known."""
        now = time.monotonic()
        if now < self._closed_until or now - self._seen_at < settings.REPLICA_WATCH_SECONDS:
            return self._state
        if not self._lock.acquire(blocking=False):
            return self._state
        try:
            self._state = self._ask()
            self._seen_at = time.monotonic()
            if not self._state.used and self._state.lag_seconds is None:
                self._closed_until = self._seen_at + settings.REPLICA_RETRY_SECONDS
        finally:
            self._lock.release()
        return self._state

    def failed(self, error: BaseException) -> None:
        """Keep away for `REPLICA_RETRY_SECONDS`: a statement failed."""
        if self._state.used:
            logger.warning("the replica failed, reads go to the primary: %s", error)
        self._state = ReplicaState(used=False, reason=f"no answer ({type(error).__name__})")
        self._closed_until = time.monotonic() + settings.REPLICA_RETRY_SECONDS

    def replayed_now(self) -> int:
        """The position that the replica has replayed at this moment."""
        with _replica_cursor() as cursor:
            cursor.execute(_STATE)
            return _lsn(cursor.fetchone()[1])

    def _ask(self) -> ReplicaState:
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
        known = {"lag_bytes": None if primary is None else max(0, primary - replayed), "receiving": receiving}
        # Without a primary to compare it with, what the replica has is what there is.
        close = primary is None or (lag is not None and lag <= settings.REPLICA_MAX_LAG_SECONDS)
        return ReplicaState(
            used=close,
            reason="" if close else f"behind by more than {settings.REPLICA_MAX_LAG_SECONDS} s",
            lag_seconds=float("inf") if lag is None else lag,
            replayed=replayed,
            **known,
        )

    def _lag(self, replayed: int, since: float | None) -> float | None:
        """Seconds since the primary was where the replica is. Two upper bounds, of which the lower one holds.

        The samples are exact to the distance of two looks. The time of the last transaction replayed bridges the first
        looks of a process; alone it would call the standby of an idle primary far behind.
        """
        now, bounds = time.monotonic(), []
        reached = [at for at, position in self._samples if position <= replayed]
        if reached:
            bounds.append(now - reached[-1])
        if since is not None:
            bounds.append(max(0.0, since))
        return min(bounds, default=None)


_watch = _Watch()
# The request or task that this context works for, when it may have to read its own writes.
_reader: ContextVar["_Reader | None"] = ContextVar("replica_reader", default=None)


@dataclass(slots=True)
class _Reader:
    """Whose reads these are; the user of a request is known only once the view has found them."""

    request: HttpRequest | None = None
    user_id: int | None = None
    primary_only: bool = False
    pinned: bool | None = None  # decided once, so that one page does not mix the two

    def user(self) -> int | None:
        found = getattr(self.request, "user", None) if self.request is not None else None
        return found.pk if found is not None and found.is_authenticated else self.user_id


def has_replica() -> bool:
    """Whether there is a replica at all."""
    return REPLICA in connections.settings


def replica_state() -> ReplicaState:
    """What is known of the replica, for `/readyz` and metrics; asks it when the knowledge is old."""
    if not has_replica():
        return ReplicaState(used=False, reason="REPLICA_URL is not set")
    return _watch.state()


def mark_replica_failed(error: BaseException) -> None:
    """The engine's news: a statement got no answer from the replica."""
    _watch.failed(error)


def read_alias() -> str:
    """The alias that reads of analytics go to now: `replica`, or `default`."""
    if not has_replica() or connections[DEFAULT_DB_ALIAS].in_atomic_block:
        return DEFAULT_DB_ALIAS
    state = _watch.state()
    return REPLICA if state.used and not _pinned(state) else DEFAULT_DB_ALIAS


def read_connection() -> BaseDatabaseWrapper:
    """The connection for reads that may be a little behind: dashboards, reports, metrics. Never for a write.

    A statement that the replica fails to answer is put to the primary within the same call.
    """
    return connections[read_alias()]


@contextlib.contextmanager
def read_cursor(*, milliseconds: int) -> Iterator["TimeoutCursor"]:
    """A cursor for reads of analytics, each of whose statements is given up after so long.

    There is no transaction around them: a statement that the replica drops could not go on elsewhere within one.
    """
    with read_connection().cursor() as cursor:
        yield TimeoutCursor(cursor, milliseconds)


class TimeoutCursor:
    """A cursor whose statements carry their time-out along, so that it needs neither a session nor a transaction."""

    def __init__(self, cursor: Any, milliseconds: int) -> None:
        self._cursor = cursor
        self._bound = f"SET LOCAL statement_timeout = {milliseconds}; "

    def execute(self, sql: str, params: Any = None) -> None:
        """Run one statement; raises OperationalError when it takes too long."""
        # One message of two statements is one transaction to PostgreSQL: the setting ends with it.
        self._cursor.execute(self._bound + sql, params)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._cursor)


@contextlib.contextmanager
def primary_reads() -> Iterator[None]:
    """Reads inside go to the primary: for figures that a write is going to rest on."""
    token = _reader.set(_Reader(primary_only=True))
    try:
        yield
    finally:
        _reader.reset(token)


@contextlib.contextmanager
def reading_as(user_id: int | None) -> Iterator[None]:
    """Reads inside see what this user wrote before: for tasks that work for somebody."""
    token = _reader.set(_Reader(user_id=user_id))
    try:
        yield
    finally:
        _reader.reset(token)


class ReplicaRouter:
    """Models of analytics are read from the replica; everything else, and every write, belongs to the primary."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        """The replica for models of analytics, unless their class says `read_from_primary`."""
        if model._meta.app_label not in READ_APPS or getattr(model, "read_from_primary", False):
            return None
        return read_alias()

    def db_for_write(self, model: type[Model], **hints: Any) -> str:
        """Always the primary, also for a row that was read from the replica."""
        return DEFAULT_DB_ALIAS

    def allow_relation(self, one: Model, other: Model, **hints: Any) -> bool:
        """Both aliases are the same data."""
        return True

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        """The replica gets its tables from the primary."""
        return False if db == REPLICA else None


class ReadYourWrites(MiddlewareMixin):
    """Whoever changed something reads from the primary until the replica has replayed it.

    After each request that may write, the primary's position is kept in Redis for the user, for as long as a replica in
    use can be behind. The user's reads compare it with what the replica has replayed. When Redis does not answer they
    go to the primary.
    """

    def __init__(self, get_response: Any) -> None:
        super().__init__(get_response)
        if not has_replica():
            raise MiddlewareNotUsed

    def process_request(self, request: HttpRequest) -> None:
        """Remember whose reads these will be."""
        _reader.set(_Reader(request=request, primary_only=request.method not in _SAFE))

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """Keep the position of what this request may have written."""
        user = getattr(request, "user", None)
        if request.method not in _SAFE and user is not None and user.is_authenticated:
            mark_written(user.pk)
        return response


def mark_written(user_id: int) -> None:
    """This user's changes are committed as of now: their reads have to show them."""
    if not has_replica():
        return
    position = _primary_position()
    if position is None:
        return
    seconds = int(settings.REPLICA_MAX_LAG_SECONDS + settings.REPLICA_WATCH_SECONDS) + 1
    try:
        redis_client().set(_key(user_id), position, ex=seconds)
    except RedisError:
        logger.warning("Redis is away: a write of user %s is not remembered for the replica", user_id)


def _pinned(state: ReplicaState) -> bool:
    reader = _reader.get()
    if reader is None or reader.primary_only:
        return reader is not None
    if reader.pinned is None and (user_id := reader.user()) is not None:
        reader.pinned = not _has_what_was_written(user_id, state)
    return bool(reader.pinned)


def _has_what_was_written(user_id: int, state: ReplicaState) -> bool:
    try:
        found: Any = redis_client().get(_key(user_id))
    except RedisError:
        return False
    if found is None or state.replayed >= int(found):
        return True
    try:
        return _watch.replayed_now() >= int(found)
    except Error as error:
        _watch.failed(error)
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
        logger.warning("the primary does not say where it is", exc_info=True)
        return None


def _replica() -> Any:
    """Its connection: `kamioi_site.db.replica_backend`, which imports this module."""
    return connections[REPLICA]


def _replica_cursor() -> Any:
    """For the watch itself: a failure is its news, not for the primary to answer."""
    return _replica().own_cursor()


def _lsn(text: str) -> int:
    """A position in the log as a number of bytes: `16/B374D848`."""
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)
