"""Clients for the Redis of `REDIS_URL`: a single server, or a primary behind Sentinels.

`redis://`, `rediss://` and `unix://` URLs are those of redis-py. With Sentinels the URL is
`sentinel://[[user]:password@]host[:port][,host[:port]…]/service[/db][?sentinel_password=…&ssl=true]`, where user and
password are those of Redis, and the default port is 26379. After a failover the next command finds the new primary;
commands in between fail as they do without Redis, which every caller handles.
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
_SENTINEL_TIMEOUT: Final = 1.0  # seconds until the next Sentinel is tried


@dataclass(frozen=True, kw_only=True)
class SentinelAddress:
    """A parsed `sentinel://` URL."""

    sentinels: tuple[tuple[str, int], ...]
    service: str
    database: int = 0
    username: str = ""
    password: str = ""
    sentinel_password: str = ""
    ssl: bool = False

    @property
    def sentinel_options(self) -> dict[str, Any]:
        """Connection options of the Sentinels themselves."""
        options: dict[str, Any] = {"socket_timeout": _SENTINEL_TIMEOUT, "socket_connect_timeout": _SENTINEL_TIMEOUT}
        return options | ({"password": self.sentinel_password} if self.sentinel_password else {})

    @property
    def login(self) -> dict[str, str]:
        """User and password of Redis, as far as they are set."""
        return {name: value for name, value in (("username", self.username), ("password", self.password)) if value}


def is_redis(url: str) -> bool:
    """Return whether the URL is one of Redis, with or without Sentinels."""
    return url.split(":", 1)[0] in {"redis", "rediss", "unix", "sentinel"}


def sentinel_address(url: str) -> SentinelAddress | None:
    """Parse a `sentinel://` URL; None for other URLs.

    Raises:
        ImproperlyConfigured: host or service is missing, or port or database is not a number.
    """
    parts = urlsplit(url)
    if parts.scheme != "sentinel":
        return None
    login, _, hosts = parts.netloc.rpartition("@")
    username, _, password = login.partition(":")
    service, _, database = parts.path.strip("/").partition("/")
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    try:
        address = SentinelAddress(
            sentinels=tuple(_host(host) for host in hosts.split(",") if host),
            service=unquote(service),
            database=int(database or 0),
            username=unquote(username),
            password=unquote(password),
            sentinel_password=options.pop("sentinel_password", ""),
            ssl=options.pop("ssl", "").lower() in {"1", "true", "yes", "on"},
        )
    except ValueError:
        address = None
    if address is None or not address.sentinels or not address.service or options:
        # Without the URL, which may contain a password.
        raise ImproperlyConfigured("A Sentinel URL looks like sentinel://:password@host:26379,host:26379/service/0")
    return address


def _host(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if colon and not port.endswith("]"):  # not an IPv6 address without a port
        return host.strip("[]"), int(port)
    return text.strip("[]"), SENTINEL_PORT


def cache_settings(url: str) -> dict[str, Any]:
    """Return the entry of `CACHES` for this URL."""
    options: dict[str, Any] = {
        "CLIENT_CLASS": "django_redis.client.DefaultClient",
        # Without Redis the site is slower, but works.
        "IGNORE_EXCEPTIONS": True,
        "CONNECTION_POOL_CLASS": "kamioi_site.cache.redis_pool.CircuitPool",
        "SOCKET_CONNECT_TIMEOUT": 1,
        "SOCKET_TIMEOUT": 1,
    }
    address = sentinel_address(url)
    if address is not None:
        scheme = "rediss" if address.ssl else "redis"
        # Read from the primary only: a replica of Redis may lack the newest generations.
        url = f"{scheme}://{quote(address.service, safe='')}/{address.database}?is_master=1"
        options |= {
            "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
            "CONNECTION_POOL_CLASS": "kamioi_site.cache.redis_pool.SentinelCircuitPool",
            "SENTINELS": list(address.sentinels),
            # Without retries, so that the next Sentinel is tried at once.
            "SENTINEL_KWARGS": address.sentinel_options | {"retry": Retry(NoBackoff(), 0)},
            **{name.upper(): value for name, value in address.login.items()},
        }
    return {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url, "KEY_PREFIX": "kamioi", "OPTIONS": options}


def celery_url(url: str) -> str:
    """Return the URL for Celery, which separates Sentinels by semicolons and repeats the credentials for each."""
    address = sentinel_address(url)
    if address is None:
        return url
    login = f"{quote(address.username, safe='')}:{quote(address.password, safe='')}@" if address.login else ""
    return ";".join(f"sentinel://{login}{host}:{port}/{address.database}" for host, port in address.sentinels)


def celery_options(url: str) -> dict[str, Any]:
    """Return the transport options of Celery for this URL, for broker and result backend alike."""
    address = sentinel_address(url)
    if address is None:
        return {}
    options = address.sentinel_options | {"retry": Retry(NoBackoff(), 0)}
    return {"master_name": address.service, "sentinel_kwargs": options}


def redis_client() -> Redis:
    """Return the client of the process; its commands raise RedisError when Redis does not answer."""
    return get_redis_connection("default")


def async_redis_client(url: str, **options: Any) -> "redis.asyncio.Redis":
    """Return a new asynchronous client, e.g. for a subscription; the caller closes it."""
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
    """A client that also closes its connections to the Sentinels."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        manager: Any = getattr(self.connection_pool, "sentinel_manager")  # noqa: B009  # not in its base's type
        await super().aclose(close_connection_pool)
        for sentinel in manager.sentinels:
            await sentinel.aclose()
