"""Cached reads: one place for keys, lifetimes, invalidation and what happens when a thousand ask at once.

    DASHBOARD = CacheNamespace("llm:dashboard:{user_id}", ttl=900, generation="llm")
    figures = DASHBOARD.get(compute, user_id=5)     # compute() only when nothing good is cached
    invalidate_cache("llm")                          # every key of every family under "llm" is void, in constant time

Rules that hold here:
- **Invalidation** removes one small key, the generation, whatever the number of values under it. A value carries the
  generations it was computed under, read *before* computing, and counts only while they are the current ones. So a
  value computed before an invalidation is never served after it, even when it is stored later. A generation that
  is missing (bumped, expired, evicted) gets a new random name: an old one never comes back.
- Inside a database transaction a bump takes place at once and again after the commit: nobody keeps what they read before.
- **No stampede**: of all who miss a key, over all threads and processes, one computes (a lock in Redis that expires).
  After `ttl` seconds a value is stale: one recomputes, the rest get the stale one for another `stale` seconds. Where
  there is none, the rest wait for the result, and compute themselves when the one has died or takes too long.
- **Redis away** means slower, never wrong and never an error: `compute()` answers. In one process one computes a key at
  a time, and those who come meanwhile share the *next* computation, so an answer is never older than its question.
  Invalidations that Redis did not hear are kept and said first when it is back.
- Values are JSON, with tags for Decimal, datetime, date, UUID, bytes, tuple and keys that are no text, so that a
  cached answer equals a computed one. Never pickle: who can write to Redis must not run code here.
- Do not compute from rows that the same transaction has changed and not yet committed.
"""

import base64
import json
import logging
import os
import random
import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from hashlib import sha256
from typing import Any, Final, Literal, NamedTuple, TypeVar, cast
from urllib.parse import quote
from uuid import UUID

from django.db import transaction
from redis import Redis
from redis.exceptions import RedisError

from kamioi_site.cache.redis import redis_client

logger = logging.getLogger(__name__)
T = TypeVar("T")
Outcome = Literal["hit", "stale", "shared", "computed", "away", "failed"]

# As Django's own cache would name them (prefix, version).
PREFIX: Final = "kamioi:1:"
GENERATION_SECONDS: Final = 7 * 86_400  # longer than any value lives; a generation that goes only costs a computation
LEASE_SECONDS: Final = 10  # the lock of one who computes; who takes longer may be joined by another
PATIENCE_SECONDS: Final = 12.0  # how long anybody waits for another's result
_LONG_PART: Final = 64
_KEPT_BUMPS: Final = 10_000
_BUMPS_AT_ONCE: Final = 1_000
_STATS_EVERY: Final = 1.0  # seconds
_STATS_DAYS: Final = 8
_LOOK_AT: Final = 200_000  # keys
_WEIGH: Final = 200  # keys of a family

# Stores a value only while the generations it was computed under are current, and frees the lock of the one who computed.
_STORE: Final = """
if redis.call('GET', KEYS[3]) == ARGV[3] and redis.call('GET', KEYS[4]) == ARGV[4] then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
if redis.call('GET', KEYS[2]) == ARGV[5] then redis.call('DEL', KEYS[2]) end
"""
_RELEASE: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"


class Generations(NamedTuple):
    """The names of the two generations that a value was, or will be, computed under."""

    group: str
    family: str


@dataclass(frozen=True, slots=True)
class _Found:
    """A value of the current generations."""

    value: Any
    fresh: bool


@dataclass(slots=True, eq=False)
class _InFlight:
    """A computation that several threads of this process wait for."""

    done: threading.Event = field(default_factory=threading.Event)
    value: Any = None
    error: Exception | None = None

    def result(self) -> Any:
        """What came of it, for each who waited a copy of their own.

        Raises:
            Exception: what the computation raised.
        """
        if self.error is not None:
            raise self.error
        return deepcopy(self.value)


@dataclass(frozen=True, slots=True)
class CacheLookup:
    """What a family knew of some parts a moment ago."""

    family: "CacheNamespace"
    place: "_CacheKeys"
    found: _Found | None
    generations: Generations | None
    also: str = ""

    @property
    def version(self) -> str | None:
        """What changes whenever the values of these parts are voided; None while Redis is away."""
        return self.generations and f"{self.generations.group}.{self.generations.family}"

    def get(self, compute: Callable[[], T]) -> T:
        """As `CacheNamespace.get`."""
        return self.family._got(self, compute)


class _Process:
    """What the threads of this process share. Every family uses the one `_process`."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.flights: dict[tuple[str, Generations], _InFlight] = {}
        self.running: dict[str, _InFlight] = {}
        self.next: dict[str, _InFlight] = {}
        self.unheard: set[str] = set()  # generations whose bump Redis did not hear
        self.counts: Counter[tuple[str, str]] = Counter()
        self.counted_at = time.monotonic()


_process = _Process()
_namespaces: dict[str, "CacheNamespace"] = {}


def _after_fork() -> None:
    global _process  # noqa: PLW0603  # a child has none of the parent's threads
    _process = _Process()


os.register_at_fork(after_in_child=_after_fork)


response_generations: Final[list[str]] = ["answers"]
"""Templates (of `{user_id}`) of the generations that void the whole answers kept for a customer, see `kamioi_site.http.response_cache`."""


class CacheNamespace:
    """Cached reads of one kind: a template of keys, a lifetime, and the generation that voids them.

    Args:
        template: the key, e.g. `transactions:user:{user_id}:{page}`.
        ttl: seconds that a value is fresh.
        generation: name (or template) of what voids the values; families may share one. Default: the key itself.
        stale: seconds beyond `ttl` that a value may still be served while one recomputes; default as long again.
    """

    def __init__(self, template: str, *, ttl: float, generation: str | None = None, stale: float | None = None) -> None:
        self.template = template
        self.ttl = ttl
        self.generation = template if generation is None else generation
        self.stale = ttl if stale is None else stale
        _namespaces[template] = self

    @property
    def own_generation(self) -> str:
        """The generation that voids every value of the family."""
        return _of_family(self)

    @cached_property
    def shape(self) -> re.Pattern[str]:
        """What the keys of this family look like."""
        return re.compile(re.sub(r"\\\{\w+\\\}", "[^:]*", re.escape(self.template)))

    def __repr__(self) -> str:
        return f"<CacheNamespace {self.template}>"

    def key(self, **parts: object) -> str:
        """The contract key of these parts, e.g. `llm:dashboard:5`."""
        return _filled(self.template, parts)

    def get(self, compute: Callable[[], T], **parts: object) -> T:
        """The cached value of these parts, or what `compute` says now.

        Raises:
            Exception: whatever `compute` raises; it is not cached.
        """
        return self._look(parts).get(compute)

    def look(self, *, also: str = "", **parts: object) -> "CacheLookup":
        """What is known of these parts, by one question to Redis: their version, and the value where there is one.

        Args:
            also: another generation that the caller wants to know.
        """
        return self._look(parts, also)

    def _look(self, parts: dict[str, object], also: str = "") -> "CacheLookup":
        place = self._place(parts)
        if _process.unheard:
            _bump([])
        try:
            found, generations, other = self._read(place, generation_key(also) if also else "")
        except RedisError:
            return CacheLookup(self, place, None, None)
        return CacheLookup(self, place, found, generations, other)

    def version(self, **parts: object) -> str | None:
        """What changes whenever the values of these parts are voided; None while Redis is away."""
        return self._look(parts).version

    def _got(self, look: "CacheLookup", compute: Callable[[], T]) -> T:
        place, found, generations = look.place, look.found, look.generations
        if generations is None:
            return self._alone(place.key, compute)
        if found is None:
            return self._together(place, generations, compute)
        if found.fresh:
            self._count("hit")
            return cast("T", found.value)
        token = _lock(place, generations)
        if token is None:
            self._count("stale")
            return cast("T", found.value)
        return self._compute_and_store(place, generations, compute, token)

    def _place(self, parts: dict[str, object]) -> "_CacheKeys":
        return _CacheKeys(
            self.key(**parts), generation_key(_filled(self.generation, parts)), generation_key(_of_family(self))
        )

    def invalidate(self, **parts: object) -> None:
        """Void the value of these parts, and every other under the same generation."""
        invalidate_cache(_filled(self.generation, parts))

    def clear(self) -> None:
        """Void every value of the family."""
        invalidate_caches([_of_family(self)])

    # --- With Redis ---------------------------------------------------------------------------------------------
    def _read(self, place: "_CacheKeys", other: str = "") -> tuple[_Found | None, Generations, str]:
        """The value if it counts, and the current generations; one round trip when nothing is missing."""
        names = [place.group, place.family, other] if other else [place.group, place.family]
        pipe = _client().pipeline(transaction=False)
        pipe.mget(place.value, *names)
        with _counts_told(pipe):
            raw, *known = pipe.execute()[0]
        if None in known:
            pipe = _client().pipeline(transaction=False)
            for name in names:
                pipe.set(name, secrets.token_hex(8), nx=True, ex=GENERATION_SECONDS)
            pipe.mget(*names)
            raw, known = None, pipe.execute()[-1]
        group, family, *rest = (value.decode() if value else "" for value in known)
        generations = Generations(group, family)
        return _unpacked(raw, generations), generations, rest[0] if rest else ""

    def _together(self, place: "_CacheKeys", generations: Generations, compute: Callable[[], T]) -> T:
        """Nothing is cached: be the one thread of this process that gets the value, or wait for it."""
        seat = (place.value, generations)
        with _process.lock:
            flight = _process.flights.get(seat)
            leads = flight is None
            if flight is None:
                flight = _process.flights[seat] = _InFlight()
        if not leads:
            if flight.done.wait(PATIENCE_SECONDS):
                self._count("shared")
                return cast("T", flight.result())
            return self._compute_and_store(place, generations, compute, "")
        try:
            flight.value = value = self._compute_or_wait(place, generations, compute)
        except Exception as error:
            flight.error = error
            raise
        finally:
            with _process.lock:
                _process.flights.pop(seat, None)
            flight.done.set()
        return value

    def _compute_or_wait(self, place: "_CacheKeys", generations: Generations, compute: Callable[[], T]) -> T:
        """Compute when no other process does; else look for its result until patience ends."""
        deadline, pause = time.monotonic() + PATIENCE_SECONDS, 0.005
        lock, token = place.lock(generations), secrets.token_hex(8)
        while time.monotonic() < deadline:
            try:
                pipe = _client().pipeline(transaction=False)
                # The lock first: whoever gets it sees what its last holder stored before letting go.
                pipe.set(lock, token, nx=True, ex=LEASE_SECONDS)
                pipe.get(place.value)
                taken, raw = pipe.execute()
                found = _unpacked(raw, generations)
                if found is not None:
                    if taken:
                        _client().eval(_RELEASE, 1, lock, token)
                    self._count("shared")
                    return cast("T", found.value)
            except RedisError:
                return self._alone(place.key, compute)
            if taken:
                return self._compute_and_store(place, generations, compute, token)
            time.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 1.5, 0.05)
        return self._compute_and_store(place, generations, compute, "")

    def _compute_and_store(
        self, place: "_CacheKeys", generations: Generations, compute: Callable[[], T], token: str
    ) -> T:
        """Compute, store while the generations are current, and free the lock that `token` holds."""
        began, lock = time.monotonic(), place.lock(generations)
        try:
            value = compute()
            packed = _packed(value, generations, fresh_until=time.time() + self.ttl)
        except BaseException:
            with suppress(RedisError):  # else the lock expires
                _client().eval(_RELEASE, 1, lock, token)
            self._count("failed")
            raise
        self._count("computed", seconds=time.monotonic() - began)
        with suppress(RedisError):  # not stored is only slower
            _client().eval(
                _STORE,
                4,
                place.value,
                lock,
                place.group,
                place.family,
                packed,
                int((self.ttl + self.stale) * 1000),
                *generations,
                token,
            )
        return value

    # --- Without ------------------------------------------------------------------------------------------------
    def _alone(self, key: str, compute: Callable[[], T]) -> T:
        """Redis is away: one computes at a time, and whoever comes meanwhile shares the computation that begins next.

        The one that runs may have read what the newcomer has changed since, and nothing here would tell.
        """
        self._count("away")
        with _process.lock:
            flight = _process.next.get(key)
            leads = flight is None
            if flight is None:
                flight = _process.next[key] = _InFlight()
        if not leads:
            return cast("T", flight.result()) if flight.done.wait(PATIENCE_SECONDS) else compute()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            with _process.lock:
                before = _process.running.get(key)
                if before is None or time.monotonic() > deadline:
                    _process.running[key] = flight
                    _process.next.pop(key, None)
                    break
            before.done.wait(PATIENCE_SECONDS)
        try:
            flight.value = value = compute()
        except Exception as error:
            flight.error = error
            raise
        finally:
            with _process.lock:
                if _process.running.get(key) is flight:
                    del _process.running[key]
            flight.done.set()
        return value

    def _count(self, outcome: Outcome, seconds: float | None = None) -> None:
        with _process.lock:
            _process.counts[self.template, outcome] += 1
            if seconds is not None:
                _process.counts[self.template, "microseconds"] += round(seconds * 1_000_000)


# --- Invalidation -----------------------------------------------------------------------------------------------
def invalidate_cache(name: str) -> None:
    """Void every value under the generation: now, and after the commit of the transaction that is open."""
    invalidate_caches([name])


def invalidate_caches(names: Iterable[str]) -> None:
    """Void every value under each of the generations; a thousand names are one command."""
    unique = list(dict.fromkeys(names))
    if not unique:
        return
    _bump(unique)
    if transaction.get_connection().in_atomic_block:
        transaction.on_commit(lambda: _bump(unique))


def clear_caches() -> None:
    """Void every value of every family."""
    invalidate_caches([_of_family(family) for family in namespaces()])


def has_pending_invalidations() -> bool:
    """Whether Redis has yet to hear of an invalidation of this process."""
    return bool(_process.unheard)


def _bump(names: Sequence[str]) -> None:
    with _process.lock:
        unheard, _process.unheard = _process.unheard, set()
    try:
        _remove([*names, *unheard])
    except RedisError:
        with _process.lock:
            _process.unheard |= unheard.union(names)
            if len(_process.unheard) > _KEPT_BUMPS:  # then everything is void, which takes fewer names
                _process.unheard = {_of_family(family) for family in _namespaces.values()}


def _remove(names: Sequence[str]) -> None:
    client = _client()
    for start in range(0, len(names), _BUMPS_AT_ONCE):
        client.unlink(*(generation_key(name) for name in names[start : start + _BUMPS_AT_ONCE]))


# --- What the pages and the metrics show --------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceStats:
    """What a family's reads met, over all processes. `stale` ones were served while another recomputed, `shared` ones
    waited for another's result, `away` ones were computed without Redis."""

    family: str
    hit: int = 0
    stale: int = 0
    shared: int = 0
    computed: int = 0
    away: int = 0
    failed: int = 0
    microseconds: int = 0

    @property
    def reads(self) -> int:
        """How many there were."""
        return self.hit + self.stale + self.shared + self.computed + self.away + self.failed

    @property
    def hit_rate(self) -> float | None:
        """The part (0 to 1) of the reads that computed nothing; None before the first read."""
        return (self.hit + self.stale + self.shared) / self.reads if self.reads else None

    @property
    def hit_percent(self) -> float | None:
        """The hit rate in percent."""
        return None if self.hit_rate is None else round(100 * self.hit_rate, 1)

    @property
    def compute_ms(self) -> float | None:
        """Milliseconds that one computation took on average."""
        return self.microseconds / self.computed / 1000 if self.computed else None


@dataclass(frozen=True, slots=True)
class NamespaceSize:
    """How many values of a family are stored and what they take; estimated when `partly`."""

    keys: int
    bytes: int
    partly: bool


def namespaces() -> list[CacheNamespace]:
    """Every family of this process, by name."""
    return sorted(_namespaces.values(), key=lambda family: family.template)


def counts_flush() -> None:
    """Tell Redis what this process counted; reads do it once a second by themselves."""
    with suppress(RedisError):
        pipe = _client().pipeline(transaction=False)
        with _counts_told(pipe, now=True):
            pipe.execute()


def namespace_stats(*, day: date | None = None) -> dict[str, NamespaceStats]:
    """The figures of a day (UTC, today by default) by family; empty when Redis is away."""
    counts_flush()
    try:
        raw = cast("dict[bytes, bytes]", _client().hgetall(_stats_key(day or datetime.now(UTC).date())))
    except RedisError:
        return {}
    figures: dict[str, dict[str, int]] = {family.template: {} for family in namespaces()}
    for name, count in raw.items():
        template, _, outcome = name.decode().rpartition("|")
        figures.setdefault(template, {})[outcome] = int(count)
    return {template: NamespaceStats(family=template, **counts) for template, counts in figures.items()}


def namespace_sizes() -> dict[str, NamespaceSize]:
    """What each family holds. Looks at `_LOOK_AT` keys of Redis at most, and at the bytes of some of each family.

    Raises:
        redis.RedisError: Redis is away.
    """
    client = _client()
    shapes = [(family.template, family.shape) for family in namespaces()]
    found: dict[str, list[bytes]] = {template: [] for template, _ in shapes}
    cursor, looked = 0, 0
    while looked < _LOOK_AT:
        cursor, keys = cast("tuple[int, list[bytes]]", client.scan(cursor, match=f"{PREFIX}*", count=1_000))
        looked += 1_000
        for key in keys:
            name = key.decode(errors="replace").removeprefix(PREFIX)
            for template, shape in shapes:
                if shape.fullmatch(name):
                    found[template].append(key)
                    break
        if not cursor:
            break
    sizes = {}
    for template, keys in found.items():
        pipe = client.pipeline(transaction=False)
        for key in keys[:_WEIGH]:
            pipe.memory_usage(key, samples=0)
        weights = [weight for weight in pipe.execute() if weight]  # what expired meanwhile weighs nothing
        total = sum(weights) * len(keys) // len(weights) if weights else 0
        sizes[template] = NamespaceSize(len(keys), total, bool(cursor) or len(keys) > _WEIGH)
    return sizes


@contextmanager
def _counts_told(pipe: Any, *, now: bool = False) -> Iterator[None]:
    """Send the counts of the last second along with the pipe that the block executes."""
    told: Counter[tuple[str, str]] = Counter()
    if now or time.monotonic() - _process.counted_at > _STATS_EVERY:
        with _process.lock:
            told, _process.counts = _process.counts, Counter()
            _process.counted_at = time.monotonic()
        if told:
            key = _stats_key(datetime.now(UTC).date())
            for (template, outcome), count in told.items():
                pipe.hincrby(key, f"{template}|{outcome}", count)
            pipe.expire(key, _STATS_DAYS * 86_400)
    try:
        yield
    except RedisError:
        with _process.lock:
            _process.counts.update(told)
        raise


# --- Keys -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _CacheKeys:
    """Where a value and its generations stand in Redis."""

    key: str
    group: str
    family: str

    @property
    def value(self) -> str:
        return PREFIX + self.key

    def lock(self, generations: Generations) -> str:
        """The lock of those who compute under these generations; who comes after a bump does not wait for them."""
        return f"{PREFIX}lock:{self.key}:{generations.group}{generations.family}"


def _lock(place: _CacheKeys, generations: Generations) -> str | None:
    """A token when nobody else computes; None when somebody does, or Redis does not say."""
    token = secrets.token_hex(8)
    try:
        return token if _client().set(place.lock(generations), token, nx=True, ex=LEASE_SECONDS) else None
    except RedisError:
        return None


def _client() -> "Redis":
    return redis_client()


def _filled(template: str, parts: dict[str, object]) -> str:
    return template.format(**{name: _part(value) for name, value in parts.items()})


def _part(value: object) -> str:
    """A part as it stands in a key: no separators, and no longer than a hash."""
    text = quote(str(value), safe="@+ ")
    return text if len(text) <= _LONG_PART else sha256(text.encode()).hexdigest()


def generation_key(name: str) -> str:
    """Where the present name of a generation stands in Redis."""
    return f"{PREFIX}generation:{name}"


def _of_family(family: CacheNamespace) -> str:
    return f"family:{family.template}"


def _stats_key(day: date) -> str:
    return f"{PREFIX}cache-counts:{day.isoformat()}"


# --- Values -----------------------------------------------------------------------------------------------------
def _packed(value: object, generations: Generations, *, fresh_until: float) -> bytes:
    text = json.dumps(_plain(value), separators=(",", ":"), ensure_ascii=False)
    return f"{generations.group} {generations.family} {fresh_until:.3f}\n{text}".encode()


def _unpacked(raw: bytes | None, generations: Generations) -> _Found | None:
    """The value, when it was computed under these generations."""
    if not raw:
        return None
    header, _, text = raw.partition(b"\n")
    try:
        group, family, fresh_until = header.decode().split(" ")
        if Generations(group, family) != generations:
            return None
        return _Found(json.loads(text, object_hook=_untagged), time.time() < float(fresh_until))
    except (ValueError, KeyError, ArithmeticError):
        logger.warning("a cached value cannot be read: %.80r", raw)
        return None


_TAG: Final = ""


def _plain(value: object) -> Any:
    """The value as JSON can say it.

    Raises:
        TypeError: the value is of a kind that would not come back as it went.
    """
    kind = type(value)
    if value is None or kind in {str, int, float, bool}:
        return value
    if kind is list:
        return [_plain(item) for item in cast("list[object]", value)]
    if kind is dict:
        items = cast("dict[object, object]", value).items()
        if all(type(name) is str and name != _TAG for name, _ in items):
            return {name: _plain(item) for name, item in items}
        return {_TAG: "dict", "v": [[_plain(name), _plain(item)] for name, item in items]}
    if kind is tuple:
        return {_TAG: "tuple", "v": [_plain(item) for item in cast("tuple[object, ...]", value)]}
    if isinstance(value, str):  # e.g. a choice of an enumeration
        return str.__str__(value)
    if kind in _TAGGED:
        return {_TAG: kind.__name__, "v": _TAGGED[kind](value)}
    raise TypeError(f"{kind.__name__} cannot be cached: use plain values, lists, tuples and dictionaries")


_TAGGED: Final[dict[type, Callable[[Any], Any]]] = {
    Decimal: str,
    datetime: datetime.isoformat,
    date: date.isoformat,
    timedelta: lambda value: [value.days, value.seconds, value.microseconds],
    UUID: str,
    bytes: lambda value: base64.b64encode(value).decode(),
}
_UNTAGGED: Final[dict[str, Callable[[Any], Any]]] = {
    "Decimal": Decimal,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "timedelta": lambda value: timedelta(*value),
    "UUID": UUID,
    "bytes": base64.b64decode,
    "tuple": tuple,
    "dict": dict,
}


def _untagged(found: dict[str, Any]) -> Any:
    return _UNTAGGED[found[_TAG]](found["v"]) if _TAG in found else found
