"""Rate limits by address and by user."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import time_machine
from django.test import RequestFactory
from django_ratelimit.core import get_usage
from pytest_django import Settings

from kamioi_site.api.throttling import RateLimitThrottle, rate_counters
from kamioi_site.cache.redis import redis_client
from tests.factories import api_client, make_staff, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def _redis_is_away(settings: Settings) -> Iterator[None]:
    before = settings.CACHES
    settings.CACHES = {"default": before["default"] | {"LOCATION": "redis://127.0.0.1:1/0"}}
    yield
    settings.CACHES = before


def test_an_anonymous_client_over_the_limit_gets_429_with_retry_after(settings: Settings) -> None:
    settings.API_RATES = settings.API_RATES | {"anonymous": ["3/h", "200/d"]}
    client = api_client()
    codes = [client.get("/api/user/portfolio").status_code for _ in range(3)]
    reply = client.get("/api/user/portfolio")
    assert codes == [401, 401, 401]
    assert reply.status_code == 429
    assert 0 < int(reply["Retry-After"]) <= 3600
    assert reply.json()["success"] is False


def test_an_invalid_token_counts_against_the_address(settings: Settings) -> None:
    settings.API_RATES = settings.API_RATES | {"anonymous": ["2/h"]}
    client = api_client()
    client.credentials(HTTP_AUTHORIZATION="Bearer guess")
    assert [client.get("/api/user/portfolio").status_code for _ in range(3)] == [401, 401, 429]


def test_each_user_has_their_own_limit(settings: Settings) -> None:
    settings.API_RATES = settings.API_RATES | {"authenticated": ["2/h"]}
    busy, quiet = api_client(make_user()), api_client(make_user())
    assert [busy.get("/api/user/portfolio").status_code for _ in range(3)] == [200, 200, 429]
    assert quiet.get("/api/user/portfolio").status_code == 200


def test_an_empty_list_of_rates_lifts_the_limit(settings: Settings) -> None:
    settings.API_RATES = settings.API_RATES | {"anonymous": []}
    client = api_client()
    assert {client.get("/api/user/portfolio").status_code for _ in range(60)} == {401}


def test_the_dashboard_is_limited_to_ten_requests_a_minute() -> None:
    with time_machine.travel(datetime(2026, 11, 3, tzinfo=UTC), tick=False):
        client = api_client(make_staff())
        assert [client.get("/api/admin/llm-center/dashboard").status_code for _ in range(10)] == [200] * 10
        reply = client.get("/api/admin/llm-center/dashboard")
    assert reply.status_code == 429
    assert 0 < int(reply["Retry-After"]) <= 60


def test_an_unchanged_staff_list_is_304() -> None:
    client = api_client(make_staff())
    first = client.get("/api/admin/llm-center/mappings")
    assert first["ETag"].startswith('W/"')
    again = client.get("/api/admin/llm-center/mappings", HTTP_IF_NONE_MATCH=first["ETag"])
    assert (again.status_code, again.content) == (304, b"")


def test_the_default_limit_is_fifty_an_hour_and_two_hundred_a_day(settings: Settings) -> None:
    assert settings.API_RATES["anonymous"] == ["50/h", "200/d"]


@pytest.mark.usefixtures("_redis_is_away")
def test_without_redis_requests_pass_but_logins_do_not() -> None:
    assert api_client(make_user()).get("/api/user/portfolio").status_code == 200
    reply = api_client().post("/api/user/auth/login", {"email": "a@example.com", "password": "x"}, format="json")
    assert reply.status_code == 429
    assert int(reply["Retry-After"]) > 0


@pytest.mark.parametrize("rate", ["3/h", "200/d", "10/15m", "5/s"])
def test_counters_are_those_of_django_ratelimit(settings: Settings, rate: str) -> None:
    settings.API_RATES = settings.API_RATES | {"authenticated": [rate]}
    user = make_user()
    request = RequestFactory().get("/")
    request.user = user
    with time_machine.travel(datetime(2026, 11, 3, 4, 5, 6, tzinfo=UTC), tick=False):
        for _ in range(2):
            assert RateLimitThrottle().count(request, scope="authenticated", key="user")
        usage = get_usage(request, group="api:authenticated", key="user", rate=rate, increment=False)
        (counter,) = rate_counters("authenticated", str(user.pk))
        assert usage is not None
        assert (usage["count"], usage["limit"]) == (2, counter.limit)
        assert usage["time_left"] == counter.window_end - int(time.time())
        assert 0 < redis_client().ttl(counter.key) <= counter.seconds
