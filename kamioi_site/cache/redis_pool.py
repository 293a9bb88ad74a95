"""Connection pools for Redis with a circuit breaker.

While Redis hangs, each command costs its timeout. A page sends several, so a minute's outage would block every thread.
After the first failure `CircuitPool` fails every command at once for a second; then one caller tries again while the
others still fail. Callers see an ordinary connection error.
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

PAUSE: Final = 1.0  # seconds between attempts after a failure
_ATTEMPT_SECONDS: Final = 2.0  # longest attempt: connecting and one command


class Circuit:
    """The circuit breaker of a pool, shared by the threads of a process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open_until = 0.0  # monotonic; 0 while Redis answers

    def allows_attempt(self) -> bool:
        """Return whether this caller may send a command; after a pause, one caller may."""
        if not self._open_until:
            return True
        with self._lock:
            now = time.monotonic()
            if self._open_until > now:
                return False
            self._open_until = now + PAUSE + _ATTEMPT_SECONDS
            return True

    def failed(self, error: Exception) -> None:
        """Open the circuit."""
        with self._lock:
            was_closed, self._open_until = not self._open_until, time.monotonic() + PAUSE
        if was_closed:
            logger.warning("Redis is not available: %s", error)

    def succeeded(self) -> None:
        """Close the circuit."""
        if self._open_until:
            with self._lock:
                self._open_until = 0.0
            logger.warning("Redis is available again")


class _CircuitRetry(Retry):
    """A retry policy without retries, which reports every outcome to the circuit."""

    def __init__(self, circuit: Circuit) -> None:
        super().__init__(NoBackoff(), 0)
        self._circuit = circuit

    def __deepcopy__(self, memo: dict[int, Any]) -> "_CircuitRetry":
        return self  # connections copy their policy, but share one circuit

    def call_with_retry(
        self,
        do: Callable[[], T],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,
    ) -> T:
        """Call the function once."""
        try:
            result = super().call_with_retry(do, fail, is_retryable, with_failure_count)
        except (RedisConnectionError, RedisTimeoutError, OSError) as error:
            self._circuit.failed(error)
            raise
        self._circuit.succeeded()
        return result


class _CircuitPoolBase(ConnectionPool):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.circuit = Circuit()
        # A thread holds at most one connection, so their number is bounded anyway; redis-py's 100 could be too few.
        options = {"max_connections": 1_000} | options | {"retry": _CircuitRetry(self.circuit)}
        super().__init__(*arguments, **options)

    def get_connection(self, command_name: str | None = None, *keys: Any, **options: Any) -> Connection:
        """Return a live connection.

        Raises:
            redis.ConnectionError: Redis does not answer, or the circuit is open.
        """
        if not self.circuit.allows_attempt():
            raise RedisConnectionError("Redis did not answer a moment ago.")
        return super().get_connection()


class CircuitPool(_CircuitPoolBase):
    """Connections to a single Redis."""


class SentinelCircuitPool(_CircuitPoolBase, SentinelConnectionPool):
    """Connections to the primary that the Sentinels name."""
