"""Conventions that hold for every address of the API: errors, body limits, rate limits, cursors, schema."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
import time_machine
from django.core.exceptions import PermissionDenied
from django.core.exceptions import ValidationError as DjangoValidationError
from django.core.management import call_command
from django.http import Http404
from django.test import RequestFactory
from django_ratelimit.core import get_usage
from pytest_django import Settings
from rest_framework import exceptions

from kamioi_site.api.errors import exception_handler, server_error
from kamioi_site.api.throttling import RateLimitThrottle, rate_counters
from kamioi_site.cache.redis import redis_client
from kamioi_site.errors import KamioiError
from kamioi_site.pagination import keyset_page
from tests.factories import api_client, make_staff, make_transaction, make_user
from transactions.models import Transaction

pytestmark = pytest.mark.django_db


class _TakenError(KamioiError):
    """This is taken."""

    status_code = 409


@pytest.fixture
def _redis_is_away(settings: Settings) -> Iterator[None]:
    before = settings.CACHES
    settings.CACHES = {"default": before["default"] | {"LOCATION": "redis://127.0.0.1:1/0"}}
    yield
    settings.CACHES = before


# --- Errors -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("error", "code", "body"),
    [
        (KamioiError("No."), 400, {"error": "No."}),
        (_TakenError(), 409, {"error": "This is taken."}),
        (exceptions.ValidationError("Bad."), 400, {"error": "Bad.", "errors": {"non_field_errors": ["Bad."]}}),
        (
            exceptions.ValidationError({"amount": ["Too small."]}),
            400,
            {"error": "amount: Too small.", "errors": {"amount": ["Too small."]}},
        ),
        (
            exceptions.ValidationError([{}, {"amount": ["Too small."]}]),
            400,
            {"error": "1.amount: Too small.", "errors": {"1.amount": ["Too small."]}},
        ),
        (DjangoValidationError("Bad."), 400, {"error": "Bad.", "errors": {"non_field_errors": ["Bad."]}}),
        (DjangoValidationError({"name": "Bad."}), 400, {"error": "name: Bad.", "errors": {"name": ["Bad."]}}),
        (PermissionDenied(), 403, {"error": "Permission denied."}),
        (Http404(), 404, {"error": "Not found."}),
        (exceptions.ParseError("JSON parse error"), 400, {"error": "JSON parse error"}),
        (exceptions.MethodNotAllowed("PUT"), 405, {"error": 'Method "PUT" not allowed.'}),
    ],
)
def test_every_error_has_the_one_shape(error: Exception, code: int, body: dict[str, Any]) -> None:
    reply = exception_handler(error, {})
    assert reply is not None
    assert (reply.status_code, reply.data) == (code, {"success": False, **body})


def test_a_bug_is_not_dressed_up_as_an_answer() -> None:
    assert exception_handler(ZeroDivisionError(), {}) is None


def test_a_bug_under_api_answers_json_without_details() -> None:
    reply = server_error(RequestFactory().get("/api/anything"))
    assert reply.status_code == 500
    assert b"Internal server error" in reply.content


def test_an_unknown_address_under_api_answers_json() -> None:
    reply = api_client().get("/api/no/such/thing")
    assert (reply.status_code, reply.json()) == (404, {"success": False, "error": "Not found."})


def test_a_body_that_is_too_large_is_refused_before_it_is_read(settings: Settings) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    reply = api_client(make_user()).post("/api/transactions", {"merchant": "x" * 200, "amount": 1}, format="json")
    assert reply.status_code == 413
    assert reply.json()["success"] is False


# --- Rate limits ------------------------------------------------------------------------------------------------
def test_an_anonymous_caller_over_the_rate_gets_429_and_when_to_come_back(settings: Settings) -> None:
    settings.API_RATES = settings.API_RATES | {"anonymous": ["3/h", "200/d"]}
    client = api_client()
    codes = [client.get("/api/user/portfolio").status_code for _ in range(3)]
    reply = client.get("/api/user/portfolio")
    assert codes == [401, 401, 401]
    assert reply.status_code == 429
    assert 0 < int(reply["Retry-After"]) <= 3600
    assert reply.json()["success"] is False


def test_a_refused_token_counts_against_the_address(settings: Settings) -> None:
    settings.API_RATES = settings.API_RATES | {"anonymous": ["2/h"]}
    client = api_client()
    client.credentials(HTTP_AUTHORIZATION="Bearer guess")
    assert [client.get("/api/user/portfolio").status_code for _ in range(3)] == [401, 401, 429]


def test_one_callers_limit_is_not_anothers(settings: Settings) -> None:
    settings.API_RATES = settings.API_RATES | {"authenticated": ["2/h"]}
    busy, quiet = api_client(make_user()), api_client(make_user())
    assert [busy.get("/api/user/portfolio").status_code for _ in range(3)] == [200, 200, 429]
    assert quiet.get("/api/user/portfolio").status_code == 200


def test_an_empty_list_of_rates_lifts_the_limit(settings: Settings) -> None:
    settings.API_RATES = settings.API_RATES | {"anonymous": []}
    client = api_client()
    assert {client.get("/api/user/portfolio").status_code for _ in range(60)} == {401}


def test_the_dashboard_is_given_ten_times_a_minute() -> None:
    with time_machine.travel(datetime(2026, 11, 3, tzinfo=UTC), tick=False):
        client = api_client(make_staff())
        assert [client.get("/api/admin/llm-center/dashboard").status_code for _ in range(10)] == [200] * 10
        reply = client.get("/api/admin/llm-center/dashboard")
    assert reply.status_code == 429
    assert 0 < int(reply["Retry-After"]) <= 60


def test_a_list_of_staff_that_did_not_change_is_304() -> None:
    client = api_client(make_staff())
    first = client.get("/api/admin/llm-center/mappings")
    assert first["ETag"].startswith('W/"')
    again = client.get("/api/admin/llm-center/mappings", HTTP_IF_NONE_MATCH=first["ETag"])
    assert (again.status_code, again.content) == (304, b"")


def test_the_contract_is_fifty_an_hour_and_two_hundred_a_day(settings: Settings) -> None:
    assert settings.API_RATES["anonymous"] == ["50/h", "200/d"]


@pytest.mark.usefixtures("_redis_is_away")
def test_counters_that_cannot_be_read_let_requests_through_but_no_log_in() -> None:
    assert api_client(make_user()).get("/api/user/portfolio").status_code == 200
    reply = api_client().post("/api/user/auth/login", {"email": "a@example.com", "password": "x"}, format="json")
    assert reply.status_code == 429
    assert int(reply["Retry-After"]) > 0


@pytest.mark.parametrize("rate", ["3/h", "200/d", "10/15m", "5/s"])
def test_counters_are_the_ones_that_django_ratelimit_reads(settings: Settings, rate: str) -> None:
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


# --- Cursors ----------------------------------------------------------------------------------------------------
def test_pages_show_every_row_once_though_dates_tie_and_rows_arrive() -> None:
    user = make_user()
    day = datetime(2026, 11, 3, tzinfo=UTC)
    made = [make_transaction(user, date=day if number < 5 else day.replace(day=4)).pk for number in range(8)]
    seen: list[int] = []
    cursor = None
    while True:
        page = keyset_page(
            Transaction.objects.filter(user=user), time_field="date", cursor=cursor, limit=3, scope="test"
        )
        seen += [row.pk for row in page.rows]
        make_transaction(user, date=day.replace(day=5))  # newer than all: belongs to no later page
        if not page.has_more:
            break
        cursor = page.next_cursor
    assert seen == [*reversed(made[5:]), *reversed(made[:5])]


@pytest.mark.parametrize("cursor", ["garbage", "WzEsMl0:signature", "💥"])
def test_a_cursor_that_is_not_ours_is_refused(cursor: str) -> None:
    reply = api_client(make_user()).get("/api/user/transactions", {"cursor": cursor})
    assert reply.status_code == 400
    assert "cursor" in reply.json()["errors"]


def test_a_cursor_of_another_customer_is_refused() -> None:
    owner, stranger = make_user(), make_user()
    for _ in range(2):
        make_transaction(owner)
    cursor = api_client(owner).get("/api/user/transactions", {"limit": 1}).json()["next_cursor"]
    assert api_client(owner).get("/api/user/transactions", {"cursor": cursor}).status_code == 200
    assert api_client(stranger).get("/api/user/transactions", {"cursor": cursor}).status_code == 400


@pytest.mark.parametrize("limit", ["0", "-1", "501", "ten", "1e3"])
def test_a_limit_out_of_range_is_refused(limit: str) -> None:
    reply = api_client(make_user()).get("/api/user/transactions", {"limit": limit})
    assert reply.status_code == 400
    assert "limit" in reply.json()["errors"]


# --- Schema and pages -------------------------------------------------------------------------------------------
def test_the_schema_is_valid_and_without_warnings() -> None:
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=StringIO())


def test_the_schema_and_its_page_are_served_and_need_nothing_from_the_internet() -> None:
    assert api_client().get("/api/schema/").status_code == 200
    page = api_client().get("/api/docs/").content.decode()
    assert "/static/drf_spectacular_sidecar/" in page
    assert "http://" not in page.replace("http://testserver", "")
    assert "https://" not in page


def test_the_front_door_leads_to_the_admin() -> None:
    reply = api_client().get("/")
    assert (reply.status_code, reply["Location"]) == (302, "/admin/")
