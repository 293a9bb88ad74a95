"""Counts of cache reads by namespace, outcome and day, over all processes.

Each process adds up its own and sends them to Redis once a second.
"""

import os
import threading
import time
from collections import Counter
from datetime import UTC, date, datetime
from typing import Final, Literal

from redis.exceptions import RedisError

from kamioi_site.cache.redis import redis_client

Outcome = Literal["hit", "stale", "shared", "computed", "away", "failed"]

_FLUSH_SECONDS: Final = 1.0
_KEEP_DAYS: Final = 8


class _Counts:
    """The counts of this process that Redis does not have yet."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.values: Counter[str] = Counter()
        self.flushed_at = time.monotonic()


_counts = _Counts()


def reset_counts() -> None:
    """Forget the counts of this process; a forked child must not send those of its parent."""
    global _counts  # noqa: PLW0603
    _counts = _Counts()


os.register_at_fork(after_in_child=reset_counts)


def count_read(template: str, outcome: Outcome, *, seconds: float = 0) -> None:
    """Count a read; `seconds` is the time of a computation."""
    with _counts.lock:
        _counts.values[f"{template}|{outcome}"] += 1
        if outcome == "computed":
            _counts.values[f"{template}|microseconds"] += round(seconds * 1_000_000)
        due = time.monotonic() - _counts.flushed_at > _FLUSH_SECONDS
    if due:
        flush_counts()


def flush_counts() -> None:
    """Send this process's counts to Redis."""
    with _counts.lock:
        values, _counts.values = _counts.values, Counter()
        _counts.flushed_at = time.monotonic()
    if not values:
        return
    try:
        pipe = redis_client().pipeline(transaction=False)
        key = counts_key(datetime.now(UTC).date())
        for name, count in values.items():
            pipe.hincrby(key, name, count)
        pipe.expire(key, _KEEP_DAYS * 86_400)
        pipe.execute()
    except RedisError:
        with _counts.lock:
            _counts.values.update(values)


def counts_key(day: date) -> str:
    """Return the Redis key of a day's counts: a hash from `template|outcome` to its count."""
    return f"kamioi:1:cache-counts:{day.isoformat()}"
