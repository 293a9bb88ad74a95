"""Redis by whatever `REDIS_URL` says: one server, or a primary that Sentinels name.

`redis://`, `rediss://` and `unix://` are what redis-py reads. With Sentinels the URL is
`sentinel://[[user]:password@]host[:port][,host[:port]…]/service[/db][?sentinel_password=…&ssl=true]`: user and password are
Redis's own, port 26379 unless said. After a fail-over the next command finds the new primary; the commands in between
fail as they do when Redis is away, which every caller expects.
"""

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, quote, unquote, urlsplit

import redis.asyncio
from django.core.exceptions import ImproperlyConfigured
from django_redis import get_redis_connection
from redis import Redis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

SENTINEL_PORT: Final = 26379
# Seconds. A Sentinel that does not answer is passed over for the next one.
_SENTINEL_TIMEOUT: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class SentinelAddress:
    """What a `sentinel://` URL says."""

    sentinels: tuple[tuple[str, int], ...]
    service: str
    database: int = 0
    username: str = ""
    password: str = ""
    sentinel_password: str = ""
    ssl: bool = False

    @property
    def sentinel_options(self) -> dict[str, Any]:
        """How to talk to the Sentinels themselves."""
        options: dict[str, Any] = {"socket_timeout": _SENTINEL_TIMEOUT, "socket_connect_timeout": _SENTINEL_TIMEOUT}
        return options | ({"password": self.sentinel_password} if self.sentinel_password else {})

    @property
    def login(self) -> dict[str, str]:
        """User and password of Redis, where there are any."""
        return {name: value for name, value in (("username", self.username), ("password", self.password)) if value}


def is_redis(url: str) -> bool:
    """Whether the URL names a Redis of any kind."""
    return url.split(":", 1)[0] in {"redis", "rediss", "unix", "sentinel"}


def sentinel_address(url: str) -> SentinelAddress | None:
    """What the URL says, None when it is not one of Sentinels.

    Raises:
        ImproperlyConfigured: no host or no service, or a port or database that is none.
    """
    parts = urlsplit(url)
    if parts.scheme != "sentinel":
        return None
    login, _, hosts = parts.netloc.rpartition("@")
    username, _, password = login.partition(":")
    service, _, database = parts.path.strip("/").partition("/")
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    try:
        found = SentinelAddress(
            sentinels=tuple(_host(host) for host in hosts.split(",") if host),
            service=unquote(service),
            database=int(database or 0),
            username=unquote(username),
            password=unquote(password),
            sentinel_password=options.pop("sentinel_password", ""),
            ssl=options.pop("ssl", "").lower() in {"1", "true", "yes", "on"},
        )
    except ValueError:
        found = None
    if found is None or not found.sentinels or not found.service or options:
        # The URL itself may hold a password: it is not repeated here.
        raise ImproperlyConfigured("A Sentinel URL looks like sentinel://:password@host:26379,host:26379/service/0")
    return found


def _host(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if colon and not port.endswith("]"):  # an IPv6 address without a port ends so
        return host.strip("[]"), int(port)
    return text.strip("[]"), SENTINEL_PORT


def cache_settings(url: str) -> dict[str, Any]:
    """The entry of `CACHES` for this URL."""
    options: dict[str, Any] = {
        "CLIENT_CLASS": "django_redis.client.DefaultClient",
        # Redis away means slower, never an error.
        "IGNORE_EXCEPTIONS": True,
        "CONNECTION_POOL_CLASS": "kamioi_site.cache.redis_pool.CircuitPool",  # says in the log when Redis goes and comes
        "SOCKET_CONNECT_TIMEOUT": 1,
        "SOCKET_TIMEOUT": 1,
    }
    address = sentinel_address(url)
    if address is not None:
        scheme = "rediss" if address.ssl else "redis"
        # Only the primary is asked, for reads as well: what a replica of Redis has may be a generation behind.
        url = f"{scheme}://{quote(address.service, safe='')}/{address.database}?is_master=1"
        options |= {
            "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
            "CONNECTION_POOL_CLASS": "kamioi_site.cache.redis_pool.SentinelCircuitPool",
            "SENTINELS": list(address.sentinels),
            # A Sentinel that does not answer is passed over at once for the next one.
            "SENTINEL_KWARGS": address.sentinel_options | {"retry": Retry(NoBackoff(), 0)},
            **{name.upper(): value for name, value in address.login.items()},
        }
    return {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url, "KEY_PREFIX": "kamioi", "OPTIONS": options}


def celery_url(url: str) -> str:
    """The URL as Celery reads it: Sentinels are separated by semicolons there, each with the whole log-in."""
    address = sentinel_address(url)
    if address is None:
        return url
    login = f"{quote(address.username, safe='')}:{quote(address.password, safe='')}@" if address.login else ""
    return ";".join(f"sentinel://{login}{host}:{port}/{address.database}" for host, port in address.sentinels)


def celery_options(url: str) -> dict[str, Any]:
    """What Celery has to know beside the URL, for broker and results alike."""
    address = sentinel_address(url)
    if address is None:
        return {}
    options = address.sentinel_options | {"retry": Retry(NoBackoff(), 0)}
    return {"master_name": address.service, "sentinel_kwargs": options}


def redis_client() -> Redis:
    """The client for everything that is not a cached value; commands raise RedisError while Redis is away."""
    return get_redis_connection("default")


def async_redis_client(url: str, **options: Any) -> "redis.asyncio.Redis":
    """A client of its own for an event loop, e.g. for a subscription; the caller closes it."""
    address = sentinel_address(url)
    if address is None:
        return redis.asyncio.Redis.from_url(url, **options)
    sentinel = redis.asyncio.Sentinel(
        list(address.sentinels),
        sentinel_kwargs=address.sentinel_options | {"retry": AsyncRetry(NoBackoff(), 0)},
        db=address.database,
        ssl=address.ssl,
        **address.login,
    )
    return sentinel.master_for(address.service, redis_class=_SentinelClient, **options)


class _SentinelClient(redis.asyncio.Redis):
    """Takes its connections to the Sentinels with it when it is closed."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        manager: Any = getattr(self.connection_pool, "sentinel_manager")  # noqa: B009  # not in its base's type
        await super().aclose(close_connection_pool)
        for sentinel in manager.sentinels:
            await sentinel.aclose()
