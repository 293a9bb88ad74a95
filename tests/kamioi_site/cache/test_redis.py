"""Redis URLs, and a failover with real Sentinels."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import pytest
from celery import Celery
from django.conf import settings as django_settings
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.test import RequestFactory
from redis import RedisError
from rest_framework.request import Request

from kamioi_site.api.throttling import RateLimitThrottle
from kamioi_site.cache.redis import async_redis_client, cache_settings, celery_url, redis_client, sentinel_address
from kamioi_site.messaging.broker import BROKER_ERRORS, broker_settings
from tests.factories import make_company, make_merchant, make_user
from tests.servers import RedisServer, running, short_directory
from tests.workers import celery_worker, wait_until
from transactions.models import Transaction
from transactions.services.ledger_verification import find_ledger_problems

PASSWORD = "an e@sy/one"


def test_a_sentinel_url_is_parsed():
    address = sentinel_address(
        f"sentinel://app:{quote(PASSWORD, safe='')}@s1:26380,s2,[::1]:7/main/3?sentinel_password=other"
    )
    assert address is not None
    assert address.sentinels == (("s1", 26380), ("s2", 26379), ("::1", 7))
    assert (address.service, address.database, address.username, address.password) == ("main", 3, "app", PASSWORD)
    assert address.sentinel_options["password"] == "other"


def test_other_urls_are_unchanged():
    for url in ("redis://:x@h:1/2", "rediss://h/0", "unix:///run/redis.sock?db=1"):
        assert sentinel_address(url) is None
        assert celery_url(url) == url
        assert cache_settings(url)["LOCATION"] == url


@pytest.mark.parametrize(
    "url", ["sentinel://", "sentinel://h", "sentinel://h:x/m", "sentinel://h/m/n", "sentinel://h/m?a=1"]
)
def test_an_incomplete_sentinel_url_is_an_error_without_the_password(url):
    with pytest.raises(ImproperlyConfigured, match=r"sentinel://:password@host:26379,host:26379/service/0"):
        sentinel_address(url)


class Redises:
    """A primary, its replica and three Sentinels."""

    def __init__(self) -> None:
        self.directory = short_directory("sentinel")
        self.nodes = [RedisServer(self.directory / name) for name in ("one", "two")]
        self.sentinels = [RedisServer(self.directory / f"sentinel{n}", sentinel=True) for n in range(3)]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"sentinel://:{quote(PASSWORD, safe='')}@{hosts}/main/0"

    def start(self) -> None:
        one, two = self.nodes
        login = {"requirepass": f'"{PASSWORD}"', "masterauth": f'"{PASSWORD}"', "save": '""'}
        one.start(**login)
        two.start(**login, replicaof=f"127.0.0.1 {one.port}")
        for sentinel in self.sentinels:
            sentinel.start(
                sentinel=f"monitor main 127.0.0.1 {one.port} 2\ndown-after-milliseconds main 400\n"
                f'failover-timeout main 2000\nauth-pass main "{PASSWORD}"'
            )
        wait_until("the Sentinels know each other and the replica", self.are_connected, seconds=20)

    def are_connected(self) -> bool:
        import redis

        for sentinel in self.sentinels:
            client = redis.Redis(port=sentinel.port)
            state: Any = client.sentinel_master("main")
            client.close()
            if (state["num-other-sentinels"], state["num-slaves"]) != (2, 1):
                return False
        return True


@pytest.fixture
def redises(settings: Any) -> Iterator[Redises]:
    """Redis behind Sentinels, used by this process during the test."""
    servers, before = Redises(), settings.CACHES
    with running(*servers.nodes, *servers.sentinels):
        servers.start()
        settings.CACHES = {"default": cache_settings(servers.url)}
        yield servers
        settings.CACHES = before
    shutil.rmtree(servers.directory, ignore_errors=True)


def _refused() -> bool:
    request = Request(RequestFactory().get("/"))
    return not RateLimitThrottle().count(request, scope="anonymous", key=lambda group, request: "caller")


def _works_again() -> bool:
    cache.set("after", 2, 60)
    return bool(cache.get("after") == 2)


async def _receive(url: str) -> bytes:
    client = async_redis_client(url)
    async with client, client.pubsub() as subscription:
        await subscription.subscribe("news")
        await subscription.get_message(timeout=5)
        await client.publish("news", "hello")
        message = await subscription.get_message(timeout=5)
        return bytes(message["data"]) if message else b""


def _receives_again(url: str) -> Callable[[], bool]:
    """Return a check that tolerates Sentinels that are still electing the primary."""
    from asgiref.sync import async_to_sync

    def received() -> bool:
        try:
            return async_to_sync(_receive)(url) == b"hello"
        except RedisError:
            return False

    return received


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_cache_limits_and_workers_survive_the_loss_of_the_primary(redises, settings):
    from asgiref.sync import async_to_sync

    settings.API_RATES = settings.API_RATES | {"anonymous": ["2/h"]}
    user = make_user()
    make_company("SBUX", "95.00")
    make_merchant("STARBUCKS", "SBUX")
    broker = broker_settings(redises.url, queues=["transactions"])
    sender = Celery("sender", broker=broker.url, set_as_current=False)
    sender.conf.broker_transport_options = broker.transport_options

    def pending(rows: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO transactions (user_id, date, merchant, merchant_key, amount, total_debit) "
                "SELECT %s, now() - n * interval '1 minute', 'STARBUCKS', 'STARBUCKS', 4.50, 4.50 "
                "FROM generate_series(1, %s) AS n",
                [user.pk, rows],
            )

    def completed() -> int:
        return Transaction.objects.filter(status="completed").count()

    with celery_worker(concurrency=1, queues="transactions", environment={"REDIS_URL": redises.url}, app=sender):
        pending(5)
        sender.send_task("process_transactions", kwargs={"priority": 0}, queue="transactions", priority=0)
        wait_until("the first are booked", lambda: completed() == 5, seconds=30)
        assert async_to_sync(_receive)(redises.url) == b"hello"
        cache.set("before", 1, 60)
        assert [_refused(), _refused(), _refused()] == [False, False, True]

        redises.nodes[0].kill()
        assert cache.get("before") in (1, None)  # no exception
        assert _refused() in (False, True)
        wait_until("the cache works", _works_again, seconds=20)
        assert redis_client().info()["tcp_port"] == redises.nodes[1].port
        _refused(), _refused()
        assert _refused()

        # The messages of these were lost with the old primary; the periodic sweep finds the purchases.
        pending(5)

        def sweep() -> bool:
            # A new connection: those of the pool may still lead to the old primary.
            with suppress(*BROKER_ERRORS), sender.connection_for_write() as sending:
                sender.send_task("sweep_stuck", queue="transactions", connection=sending, retry=False)
            return completed() == 10

        # As rarely as beat: sweeps sent faster than a busy worker runs them keep the purchases behind them waiting.
        wait_until("the rest is booked", sweep, seconds=60, every=3)
        wait_until("a subscription hears", _receives_again(redises.url), seconds=20)
    assert list(find_ledger_problems()) == []
    sender.close()
    assert django_settings.REDIS_URL.startswith("redis://")
