"""Cached reads: keys, lifetimes, invalidation, and protection against stampedes.

    DASHBOARD = CacheNamespace("llm:dashboard:{user_id}", ttl=900, generation="llm")
    figures = DASHBOARD.get(compute, user_id=5)     # calls compute() only when no valid value is cached
    invalidate_cache("llm")                          # invalidates every value of generation "llm" in constant time

- **Invalidation** deletes one small key, the generation, however many values depend on it. A value carries the
  generations it was computed under, read *before* computing, and is valid only while they are current. So a value
  computed before an invalidation is never served after it, even if it is stored later. A missing generation
  (invalidated, expired or evicted) gets a new random name, so an old value never becomes valid again.
- Inside a database transaction an invalidation runs at once and again after the commit, because another process may
  cache what it read in between.
- **Stampedes**: of all callers that miss a key, one computes under a lock in Redis that expires. After `ttl` seconds a
  value is stale: one caller recomputes it and the others get the stale value, for another `stale` seconds. Without a
  stale value they wait, and compute for themselves if the lock holder dies or takes too long.
- **Without Redis** reads are slower but never wrong and never an error: `compute()` is called, once at a time per key
  and process. Callers that arrive meanwhile share the *next* computation, so a result is never older than the
  question. Invalidations that Redis missed are repeated before the next read.
- Do not compute from rows that the same transaction has changed but not committed.
"""

import logging
import os
import random
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Any, Final, NamedTuple, TypeVar, cast
from urllib.parse import quote

from django.db import transaction
from msgspec import DecodeError, msgpack
from redis.exceptions import RedisError

from kamioi_site.cache.counters import count_read
from kamioi_site.cache.redis import redis_client
from kamioi_site.cache.values import decode_value, encode_value

logger = logging.getLogger(__name__)
T = TypeVar("T")

PREFIX: Final = "kamioi:1:"  # as Django's own cache builds keys: prefix and version
GENERATION_SECONDS: Final = 7 * 86_400  # longer than any value lives; losing a generation only costs a computation
LOCK_SECONDS = 10
WAIT_SECONDS: Final = 12.0  # longest wait for another caller's result
_MAX_PART_LENGTH: Final = 64
_MAX_PENDING: Final = 10_000
_UNLINK_BATCH: Final = 1_000

# Stores a value if the generations it was computed under are current, and releases the lock.
_STORE: Final = """
if redis.call('GET', KEYS[2]) == ARGV[3] and redis.call('GET', KEYS[3]) == ARGV[4] then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
redis.call('DEL', KEYS[4])
"""


class Generations(NamedTuple):
    """The current names of the two generations that a value depends on."""

    group: str
    family: str


class CachedValue(NamedTuple):
    """A value of the current generations."""

    value: Any
    fresh: bool


class _Keys(NamedTuple):
    """The contract key of a value, and the Redis keys of its two generations."""

    key: str
    group: str
    family: str

    @property
    def value(self) -> str:
        return PREFIX + self.key

    def lock(self, generations: Generations) -> str:
        """Return the key of the lock; callers after an invalidation do not wait for a computation from before it."""
        return f"{PREFIX}lock:{self.key}:{generations.group}{generations.family}"


@dataclass(slots=True)
class _LocalResult:
    """The newest result of a key in this process while Redis is away."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    started_at: float = 0.0
    value: Any = None


class _ProcessState:
    """State shared by the threads of this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.local_results: dict[str, _LocalResult] = {}
        self.pending_invalidations: set[str] = set()  # that Redis has not received


process_state = _ProcessState()
_namespaces: dict[str, "CacheNamespace"] = {}


def reset_process_state() -> None:
    """Forget this process's state; a forked child has none of its parent's threads."""
    global process_state  # noqa: PLW0603
    process_state = _ProcessState()


os.register_at_fork(after_in_child=reset_process_state)


@dataclass(frozen=True, slots=True)
class CacheLookup:
    """The result of `CacheNamespace.look`: what Redis held a moment ago."""

    namespace: "CacheNamespace"
    keys: _Keys
    cached: CachedValue | None
    generations: Generations | None  # None while Redis is away
    also: str = ""  # the other generation that the caller asked for

    @property
    def version(self) -> str | None:
        """A text that changes with every invalidation of this value; None while Redis is away."""
        return self.generations and f"{self.generations.group}.{self.generations.family}"

    def get(self, compute: Callable[[], T]) -> T:
        """Return the cached value, or compute it like `CacheNamespace.get`."""
        return self.namespace._resolve(self, compute)


class CacheNamespace:
    """Cached reads of one kind: a key template, a lifetime, and the generation that invalidates them.

    Args:
        template: the key, e.g. `transactions:user:{user_id}:{page}`.
        ttl: seconds that a value is fresh.
        generation: name (or template) of the generation; namespaces may share one. Default: the key itself.
        stale: seconds beyond `ttl` that a value may be served while one caller recomputes it; default `ttl`.
        single_flight: False lets concurrent misses compute in parallel, for values that are cheaper than a lock.
    """

    def __init__(
        self,
        template: str,
        *,
        ttl: float,
        generation: str | None = None,
        stale: float | None = None,
        single_flight: bool = True,
    ) -> None:
        self.template = template
        self.ttl = ttl
        self.generation = template if generation is None else generation
        self.stale = ttl if stale is None else stale
        self.single_flight = single_flight
        _namespaces[template] = self

    def __repr__(self) -> str:
        return f"<CacheNamespace {self.template}>"

    @cached_property
    def key_pattern(self) -> re.Pattern[str]:
        """The pattern that every key of this namespace matches."""
        return re.compile(re.sub(r"\\\{\w+\\\}", "[^:]*", re.escape(self.template)))

    def key(self, **parts: object) -> str:
        """Return the contract key, e.g. `llm:dashboard:5`."""
        return _fill(self.template, parts)

    def get(self, compute: Callable[[], T], **parts: object) -> T:
        """Return the cached value, or compute and store it.

        Raises:
            Exception: whatever `compute` raises; it is not cached.
        """
        return self.look(also="", **parts).get(compute)

    def look(self, *, also: str = "", **parts: object) -> CacheLookup:
        """Read value and version in one round trip, without computing.

        Args:
            also: another generation to read.
            parts: the parts of the key.
        """
        keys = self._keys(parts)
        if process_state.pending_invalidations:
            _delete_generations([])
        try:
            cached, generations, other = _read(keys, generation_key(also) if also else "")
        except RedisError:
            return CacheLookup(self, keys, None, None)
        process_state.local_results.clear()
        return CacheLookup(self, keys, cached, generations, other)

    def invalidate(self, **parts: object) -> None:
        """Invalidate this value, and every other value of the same generation."""
        invalidate_cache(_fill(self.generation, parts))

    def clear(self) -> None:
        """Invalidate every value of the namespace."""
        invalidate_caches([self._own_generation])

    @property
    def _own_generation(self) -> str:
        return f"family:{self.template}"

    def _keys(self, parts: dict[str, object]) -> _Keys:
        group = generation_key(_fill(self.generation, parts))
        return _Keys(self.key(**parts), group, generation_key(self._own_generation))

    def _resolve(self, lookup: CacheLookup, compute: Callable[[], T]) -> T:
        keys, cached, generations = lookup.keys, lookup.cached, lookup.generations
        if generations is None:
            return self._compute_locally(keys.key, compute)
        if cached is None:
            if not self.single_flight:
                return self._compute_and_store(keys, generations, compute)
            return self._compute_or_wait(keys, generations, compute)
        if not cached.fresh and _try_lock(keys.lock(generations)):
            return self._compute_and_store(keys, generations, compute)
        count_read(self.template, "hit" if cached.fresh else "stale")
        return cast("T", cached.value)

    def _compute_or_wait(self, keys: _Keys, generations: Generations, compute: Callable[[], T]) -> T:
        """Compute under the lock, or wait for the value of the caller that holds it."""
        deadline, pause = time.monotonic() + WAIT_SECONDS, 0.005
        while time.monotonic() < deadline:
            try:
                pipe = redis_client().pipeline(transaction=False)
                # Lock before reading: the next holder then sees the value that the last one stored before unlocking.
                pipe.set(keys.lock(generations), 1, nx=True, ex=LOCK_SECONDS)
                pipe.get(keys.value)
                locked, raw = pipe.execute()
                cached = _decode(raw, generations)
                if cached is not None:
                    if locked:
                        redis_client().delete(keys.lock(generations))
                    count_read(self.template, "shared")
                    return cast("T", cached.value)
            except RedisError:
                return self._compute_locally(keys.key, compute)
            if locked:
                break
            time.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 1.5, 0.05)
        return self._compute_and_store(keys, generations, compute)

    def _compute_and_store(self, keys: _Keys, generations: Generations, compute: Callable[[], T]) -> T:
        """Compute and store the value, and release the lock."""
        started_at, lock = time.monotonic(), keys.lock(generations)
        try:
            value = compute()
            data = msgpack.encode((*generations, time.time() + self.ttl, encode_value(value)))
        except BaseException:
            count_read(self.template, "failed")
            with suppress(RedisError):  # then the lock expires
                redis_client().delete(lock)
            raise
        count_read(self.template, "computed", seconds=time.monotonic() - started_at)
        lifetime = int((self.ttl + self.stale) * 1000)
        with suppress(RedisError):  # then the value is computed again
            redis_client().eval(_STORE, 4, keys.value, keys.group, keys.family, lock, data, lifetime, *generations)
        return value

    def _compute_locally(self, key: str, compute: Callable[[], T]) -> T:
        """Compute without Redis, or share the result of a computation that began after this call."""
        count_read(self.template, "away")
        called_at = time.monotonic()
        with process_state.lock:
            local = process_state.local_results.setdefault(key, _LocalResult())
        if not local.lock.acquire(timeout=WAIT_SECONDS):
            return compute()
        try:
            if local.started_at <= called_at:
                started_at = time.monotonic()
                local.value, local.started_at = compute(), started_at
                return cast("T", local.value)
            return cast("T", deepcopy(local.value))
        finally:
            local.lock.release()


# --- Invalidation -----------------------------------------------------------------------------------------------
def invalidate_cache(name: str) -> None:
    """Invalidate every value of the generation, now and when the current transaction commits."""
    invalidate_caches([name])


def invalidate_caches(names: Iterable[str]) -> None:
    """Invalidate every value of each generation; a thousand names are one command."""
    unique = list(dict.fromkeys(names))
    if not unique:
        return
    _delete_generations(unique)
    if transaction.get_connection().in_atomic_block:
        transaction.on_commit(lambda: _delete_generations(unique))


def clear_caches() -> None:
    """Invalidate every cached value."""
    invalidate_caches([namespace._own_generation for namespace in namespaces()])


def namespaces() -> list[CacheNamespace]:
    """Return every namespace of this process, by name."""
    return sorted(_namespaces.values(), key=lambda namespace: namespace.template)


def generation_key(name: str) -> str:
    """Return the Redis key that holds the current name of a generation."""
    return f"{PREFIX}generation:{name}"


def _delete_generations(names: Sequence[str]) -> None:
    """Delete these generations and those that Redis missed before; remember them if it does not answer."""
    with process_state.lock:
        missed, process_state.pending_invalidations = process_state.pending_invalidations, set()
    keys = [generation_key(name) for name in (*names, *missed)]
    try:
        for start in range(0, len(keys), _UNLINK_BATCH):
            redis_client().unlink(*keys[start : start + _UNLINK_BATCH])
    except RedisError:
        with process_state.lock:
            process_state.pending_invalidations |= missed.union(names)
            if len(process_state.pending_invalidations) > _MAX_PENDING:  # clear everything instead, with fewer names
                process_state.pending_invalidations = {item._own_generation for item in _namespaces.values()}


# --- Redis ------------------------------------------------------------------------------------------------------
def _read(keys: _Keys, other: str = "") -> tuple[CachedValue | None, Generations, str]:
    """Read the value if it is valid, and the current generations, creating those that are missing."""
    names = [keys.group, keys.family, other] if other else [keys.group, keys.family]
    raw, *current = cast("list[Any]", redis_client().mget(keys.value, *names))
    if None in current:
        pipe = redis_client().pipeline(transaction=False)
        for name in names:
            pipe.set(name, secrets.token_hex(8), nx=True, ex=GENERATION_SECONDS)
        pipe.mget(*names)
        raw, current = None, pipe.execute()[-1]
    group, family, *rest = (value.decode() if value else "" for value in current)
    generations = Generations(group, family)
    return _decode(raw, generations), generations, rest[0] if rest else ""


def _try_lock(key: str) -> bool:
    try:
        return bool(redis_client().set(key, 1, nx=True, ex=LOCK_SECONDS))
    except RedisError:
        return False


def _decode(raw: bytes | None, generations: Generations) -> CachedValue | None:
    """Decode a stored value if it was computed under these generations."""
    if not raw:
        return None
    try:
        group, family, fresh_until, data = msgpack.decode(raw)
        if (group, family) != generations:
            return None
        return CachedValue(decode_value(data), time.time() < fresh_until)
    except (DecodeError, ValueError, TypeError, KeyError, ArithmeticError):
        logger.warning("a cached value cannot be decoded: %.80r", raw)
        return None


def _fill(template: str, parts: dict[str, object]) -> str:
    return template.format(**{name: _key_part(value) for name, value in parts.items()})


def _key_part(value: object) -> str:
    """Escape separators, and hash what is too long."""
    text = quote(str(value), safe="@+ ")
    return text if len(text) <= _MAX_PART_LENGTH else sha256(text.encode()).hexdigest()
