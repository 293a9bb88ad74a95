"""The connections to Redis behind Django's cache: an answer within a second, or none at all.

A Redis that hangs costs each command its time-out. A page makes several, so a minute's outage would hold every thread.
`CircuitPool` takes Redis for away after the first failure: for a second every command fails at once, then one
caller tries again while the others still go without. Whoever uses the cache sees an ordinary connection error.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from redis.backoff import NoBackoff
from redis.connection import Connection, ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry
from redis.sentinel import SentinelConnectionPool

logger = logging.getLogger(__name__)
T = TypeVar("T")

PAUSE: Final = 1.0  # seconds without a try after a failure
_TRY: Final = 2.0  # seconds that one try may take: connecting and one command


class Circuit:
    """Whether Redis is worth asking. One a pool, shared by the threads of a process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed_until = 0.0  # monotonic; 0 while Redis answers

    def may_try(self) -> bool:
        """Whether this caller may ask Redis. After a pause one caller may, and the others wait for what it meets."""
        if not self._closed_until:
            return True
        with self._lock:
            now = time.monotonic()
            if self._closed_until > now:
                return False
            self._closed_until = now + PAUSE + _TRY
            return True

    def failed(self, error: Exception) -> None:
        """Redis did not answer."""
        with self._lock:
            news, self._closed_until = not self._closed_until, time.monotonic() + PAUSE
        if news:
            logger.warning("Redis is away, going on without: %s", error)

    def answered(self) -> None:
        """Redis answered."""
        if self._closed_until:
            with self._lock:
                self._closed_until = 0.0
            logger.warning("Redis is back")


class _WatchedRetry(Retry):
    """No second try, but the circuit hears of each outcome."""

    def __init__(self, circuit: Circuit) -> None:
        super().__init__(NoBackoff(), 0)
        self._circuit = circuit

    def __deepcopy__(self, memo: dict[int, Any]) -> "_WatchedRetry":
        return self  # every connection copies its policy, but there is one circuit

    def call_with_retry(
        self,
        do: Callable[[], T],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,
    ) -> T:
        """Do it once."""
        try:
            result = super().call_with_retry(do, fail, is_retryable, with_failure_count)
        except (RedisConnectionError, RedisTimeoutError, OSError) as error:
            self._circuit.failed(error)
            raise
        self._circuit.answered()
        return result


class _Guarded(ConnectionPool):
    """Hands out no connection while Redis is taken for away."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.circuit = Circuit()
        # A thread holds one connection at most, so their number is bound already; redis-py's 100 would only refuse some.
        options = {"max_connections": 1_000} | options | {"retry": _WatchedRetry(self.circuit)}
        super().__init__(*arguments, **options)

    def get_connection(self, command_name: str | None = None, *keys: Any, **options: Any) -> Connection:
        """A live connection.

        Raises:
            redis.ConnectionError: Redis is away, or was a moment ago.
        """
        if not self.circuit.may_try():
            raise RedisConnectionError("Redis was away a moment ago.")
        return super().get_connection()


class CircuitPool(_Guarded):
    """Connections to one Redis."""


class SentinelCircuitPool(_Guarded, SentinelConnectionPool):
    """Connections to whichever Redis the Sentinels name as the primary."""
