"""Statistics of the cache over all processes: hits and misses by namespace and day, and the size of each namespace."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final, cast

from redis.exceptions import RedisError

from kamioi_site.cache.counters import counts_key, flush_counts
from kamioi_site.cache.namespaces import PREFIX, namespaces
from kamioi_site.cache.redis import redis_client

_MAX_SCANNED_KEYS: Final = 200_000
_SAMPLED_KEYS: Final = 200  # of a namespace, whose memory is measured


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceStats:
    """Reads of a namespace by outcome.

    `stale` reads were served while another caller recomputed, `shared` reads waited for another caller's result, `away`
    reads were computed without Redis.
    """

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
        """The number of reads."""
        return self.hit + self.stale + self.shared + self.computed + self.away + self.failed

    @property
    def hit_rate(self) -> float | None:
        """The share (0 to 1) of reads that computed nothing; None without reads."""
        return (self.hit + self.stale + self.shared) / self.reads if self.reads else None

    @property
    def hit_percent(self) -> float | None:
        """The hit rate in percent."""
        return None if self.hit_rate is None else round(100 * self.hit_rate, 1)

    @property
    def compute_ms(self) -> float | None:
        """Average milliseconds of a computation."""
        return self.microseconds / self.computed / 1000 if self.computed else None


@dataclass(frozen=True, slots=True)
class NamespaceSize:
    """Stored values of a namespace and their memory; an estimate if `partly`."""

    keys: int
    bytes: int
    partly: bool


def namespace_stats(*, day: date | None = None) -> dict[str, NamespaceStats]:
    """Return the statistics of a day (UTC, default today) by namespace; empty if Redis does not answer."""
    flush_counts()
    try:
        raw = cast("dict[bytes, bytes]", redis_client().hgetall(counts_key(day or datetime.now(UTC).date())))
    except RedisError:
        return {}
    by_template: dict[str, dict[str, int]] = {namespace.template: {} for namespace in namespaces()}
    for name, count in raw.items():
        template, _, outcome = name.decode().rpartition("|")
        by_template.setdefault(template, {})[outcome] = int(count)
    return {template: NamespaceStats(family=template, **counts) for template, counts in by_template.items()}


def namespace_sizes() -> dict[str, NamespaceSize]:
    """Return the size of each namespace from a bounded scan of the keys and a sample of their memory.

    Raises:
        redis.RedisError: Redis does not answer.
    """
    client = redis_client()
    known = namespaces()
    keys_of: dict[str, list[bytes]] = {namespace.template: [] for namespace in known}
    cursor, scanned = 0, 0
    while scanned < _MAX_SCANNED_KEYS:
        cursor, keys = cast("tuple[int, list[bytes]]", client.scan(cursor, match=f"{PREFIX}*", count=1_000))
        scanned += 1_000
        for key in keys:
            name = key.decode(errors="replace").removeprefix(PREFIX)
            template = next((item.template for item in known if item.key_pattern.fullmatch(name)), None)
            if template is not None:
                keys_of[template].append(key)
        if not cursor:
            break
    sizes = {}
    for template, keys in keys_of.items():
        pipe = client.pipeline(transaction=False)
        for key in keys[:_SAMPLED_KEYS]:
            pipe.memory_usage(key, samples=0)
        memory = [size for size in pipe.execute() if size]  # None for keys that expired meanwhile
        total = sum(memory) * len(keys) // len(memory) if memory else 0
        sizes[template] = NamespaceSize(len(keys), total, bool(cursor) or len(keys) > _SAMPLED_KEYS)
    return sizes
