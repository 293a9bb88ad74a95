"""Conditional GET and cross-origin requests."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from waffle.models import Flag

from tests.factories import api_client, make_company, make_merchant, make_transaction, make_user
from transactions.migration_phase import READS_FLAG, ReadSource, get_read_source
from transactions.models import Goal
from transactions.services.processing import process_pending

pytestmark = pytest.mark.django_db

CUSTOMER = [
    "transactions",
    "transactions?limit=2",
    "portfolio",
    "notifications",
    "goals",
    "statements",
    "profile",
    "settings",
    "settings/roundup",
    "roundups/total",
    "fees/total",
]


@pytest.mark.parametrize("name", CUSTOMER)
def test_a_current_response_is_304_without_a_body(name: str) -> None:
    user = make_user()
    make_transaction(user)
    client = api_client(user)
    first = client.get(f"/api/user/{name}")
    assert first.status_code == 200
    assert {"private", "no-cache"} == {part.strip() for part in first["Cache-Control"].split(",")}
    assert "Authorization" in first["Vary"]
    assert first["ETag"].startswith('W/"')
    again = client.get(f"/api/user/{name}", HTTP_IF_NONE_MATCH=first["ETag"])
    assert (again.status_code, again.content, again["ETag"]) == (304, b"", first["ETag"])
    assert "private" in again["Cache-Control"]
    assert client.get(f"/api/user/{name}", HTTP_IF_NONE_MATCH='W/"other"').status_code == 200


def test_an_unchanged_list_takes_only_the_query_for_the_token() -> None:
    user = make_user()
    make_transaction(user)
    client = api_client(user)
    tag = client.get("/api/user/transactions")["ETag"]
    with CaptureQueriesContext(connection) as queries:
        assert client.get("/api/user/transactions", HTTP_IF_NONE_MATCH=tag).status_code == 304
    assert len(queries) == 1


def test_etags_of_another_customer_or_page_do_not_match() -> None:
    owner, other_customer = make_user(), make_user()
    client = api_client(owner)
    tag = client.get("/api/user/transactions")["ETag"]
    assert api_client(other_customer).get("/api/user/transactions", HTTP_IF_NONE_MATCH=tag).status_code == 200
    assert client.get("/api/user/transactions?status=pending", HTTP_IF_NONE_MATCH=tag).status_code == 200


def test_every_change_of_transactions_invalidates_the_etag() -> None:
    """Storing, processing and releasing change the list, its ETag and the totals of one customer only."""
    make_company("SBUX")
    user, other = make_user(), make_user()
    client, bystander = api_client(user), api_client(other)
    theirs = bystander.get("/api/user/transactions")["ETag"]

    def shown() -> Any:
        reply = client.get("/api/user/transactions")
        return reply["ETag"], [row["status"] for row in reply.json()["data"]["transactions"]]

    empty, rows = shown()
    assert rows == []
    client.post("/api/transactions", {"amount": 4.5, "merchant": "STARBUCKS"}, format="json")
    stored, rows = shown()
    assert rows == ["pending"]
    process_pending()
    parked, rows = shown()
    assert rows == ["needs-recognition"]
    make_merchant("STARBUCKS 2")
    from transactions.models import Merchant
    from transactions.services.processing import release_waiting_transactions

    Merchant.objects.filter(merchant_key="STARBUCKS").update(status="approved", ticker="SBUX")
    release_waiting_transactions(merchant_keys=["STARBUCKS"])
    released, rows = shown()
    assert rows == ["pending"]
    process_pending()
    done, rows = shown()
    assert rows == ["completed"]
    assert client.get("/api/user/roundups/total").json()["data"]["total_roundups"] == 1.0
    assert len({empty, stored, parked, released, done}) == 5
    assert bystander.get("/api/user/transactions", HTTP_IF_NONE_MATCH=theirs).status_code == 304


def test_a_changed_goal_changes_the_etag() -> None:
    user = make_user()
    client = api_client(user)
    tag = client.get("/api/user/goals")["ETag"]
    Goal.objects.create(user=user, title="Car", target_amount=1)
    assert client.get("/api/user/goals", HTTP_IF_NONE_MATCH=tag).status_code == 200


def test_errors_and_exports_have_no_etag() -> None:
    user = make_user()
    for reply in (api_client(user).get("/api/user/transactions?limit=0"), api_client(user).get("/api/transactions/9")):
        assert "ETag" not in reply
    export = api_client(user).get("/api/user/export/transactions")
    assert ("ETag" in export, export["Cache-Control"]) == (False, "private, no-store")


# --- Cross-origin requests --------------------------------------------------------------------------------------
def test_an_allowed_origin_may_send_its_token() -> None:
    preflight = api_client().options(
        "/api/user/goals",
        HTTP_ORIGIN="https://app.example.com",
        HTTP_ACCESS_CONTROL_REQUEST_METHOD="POST",
        HTTP_ACCESS_CONTROL_REQUEST_HEADERS="authorization,idempotency-key",
    )
    assert preflight.status_code == 200
    assert preflight["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert preflight["Access-Control-Allow-Credentials"] == "true"
    allowed = preflight["Access-Control-Allow-Headers"]
    assert {"authorization", "idempotency-key", "if-none-match"} <= {name.strip() for name in allowed.split(",")}
    reply = api_client(make_user()).get("/api/user/profile", HTTP_ORIGIN="https://app.example.com")
    assert reply["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert "ETag" in reply["Access-Control-Expose-Headers"]
    refused = api_client().get("/api/user/profile", HTTP_ORIGIN="https://app.example.com")
    assert (refused.status_code, refused["Access-Control-Allow-Origin"]) == (401, "https://app.example.com")


def test_other_origins_and_pages_get_no_cors_headers() -> None:
    reply = api_client(make_user()).get("/api/user/profile", HTTP_ORIGIN="https://evil.example.com")
    assert "Access-Control-Allow-Origin" not in reply
    assert "Access-Control-Allow-Origin" not in api_client().get("/admin/login/", HTTP_ORIGIN="https://app.example.com")


def test_a_change_of_the_migration_flag_takes_effect_immediately(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing flag is cached; creating, changing or deleting one invalidates the cache."""
    user = make_user()
    client = api_client(user)
    asked: list[bool] = []

    def recorded(*arguments: Any, **options: Any) -> ReadSource:
        source = get_read_source(*arguments, **options)
        asked.append(source.is_kamioi)
        return source

    monkeypatch.setattr("transactions.api.base.get_read_source", recorded)
    for _ in range(2):
        client.get("/api/user/transactions")
    with CaptureQueriesContext(connection) as queries:
        client.get("/api/user/transactions")
    assert not [query for query in queries if "waffle" in query["sql"]]
    flag: Any = Flag.objects.create(name=READS_FLAG, everyone=False)
    client.get("/api/user/transactions")
    flag.users.add(user)
    flag.everyone = None
    flag.save()
    client.get("/api/user/transactions")
    flag.delete()
    client.get("/api/user/transactions")
    assert asked == [True, True, True, False, True, True]


def test_an_uncached_list_takes_two_queries_and_a_cached_one_takes_one() -> None:
    user = make_user()
    for _ in range(3):
        make_transaction(user)
    client = api_client(user)
    client.get("/api/user/transactions?limit=1")  # statements are prepared
    for address, most in (("/api/user/transactions?limit=2", 2), ("/api/user/transactions?limit=2", 1)):
        with CaptureQueriesContext(connection) as queries:
            assert client.get(address).status_code == 200
        assert len(queries) == most
