"""Purchases over the API: storing them once, and reading them back in the legacy format."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.factories import api_client, make_transaction, make_user
from transactions.models import Transaction
from transactions.selectors.transaction_pages import TransactionRow

pytestmark = pytest.mark.django_db

COFFEE = {"amount": 4.5, "merchant": "STARBUCKS #123", "date": "2026-11-03T12:30:00Z"}


def test_a_purchase_is_stored_for_the_caller_and_waits() -> None:
    user = make_user()
    reply = api_client(user).post(
        "/api/transactions", COFFEE | {"category": "Food", "description": "latte"}, format="json"
    )
    assert reply.status_code == 201
    stored = Transaction.objects.get()
    assert reply.json() == {"success": True, "transaction_id": stored.pk, "status": "pending"}
    assert (stored.user_id, stored.merchant, stored.amount) == (user.pk, "STARBUCKS #123", Decimal("4.50"))
    assert (stored.category, stored.description) == ("Food", "latte")
    assert stored.date == datetime(2026, 11, 3, 12, 30, tzinfo=UTC)


def test_fields_set_by_the_server_are_ignored_in_the_body() -> None:
    user, other = make_user(), make_user()
    body = COFFEE | {
        "user_id": other.pk,
        "status": "completed",
        "fee": 0,
        "round_up": 99,
        "ticker": "TSLA",
        "shares": 9,
    }
    assert api_client(user).post("/api/transactions", body, format="json").status_code == 201
    stored = Transaction.objects.get()
    assert (stored.user_id, stored.status, stored.ticker, stored.shares) == (user.pk, "pending", None, None)


def test_the_date_of_a_purchase_defaults_to_now() -> None:
    before = datetime.now(UTC)
    api_client(make_user()).post("/api/transactions", {"amount": 1, "merchant": "CAFE"}, format="json")
    assert before <= Transaction.objects.get().date <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-03", datetime(2026, 11, 3, tzinfo=UTC)),
        ("2026-11-03 08:15:00", datetime(2026, 11, 3, 8, 15, tzinfo=UTC)),
        ("2026-11-03T08:15:00-05:00", datetime(2026, 11, 3, 13, 15, tzinfo=UTC)),
    ],
)
def test_dates_without_a_zone_are_utc(text: str, moment: datetime) -> None:
    api_client(make_user()).post("/api/transactions", COFFEE | {"date": text}, format="json")
    assert Transaction.objects.get().date == moment


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount": 0}, "amount"),
        ({"amount": -4.5}, "amount"),
        ({"amount": 4.567}, "amount"),
        ({"amount": "four"}, "amount"),
        ({"amount": None}, "amount"),
        ({"amount": 1e15}, "amount"),
        ({"amount": [1]}, "amount"),
        ({"merchant": ""}, "merchant"),
        ({"merchant": "x" * 256}, "merchant"),
        ({"merchant": {"name": "x"}}, "merchant"),
        ({"date": "yesterday"}, "date"),
        ({"date": "2026-02-30"}, "date"),
        ({"date": 1762170600}, "date"),
        ({"category": "x" * 101}, "category"),
        ({"description": "x" * 501}, "description"),
    ],
)
def test_an_invalid_purchase_is_refused_by_field(change: dict[str, Any], field: str) -> None:
    reply = api_client(make_user()).post("/api/transactions", COFFEE | change, format="json")
    assert reply.status_code == 400, reply.json()
    assert reply.json()["success"] is False
    assert list(reply.json()["errors"]) == [field]
    assert not Transaction.objects.exists()


@pytest.mark.parametrize(
    "body", ['{"amount": 1, "merchant": "NUL\\u0000"}', "{", '"text"', "[]", "", '{"amount": NaN, "merchant": "x"}']
)
def test_a_body_that_is_not_an_object_is_refused(body: str) -> None:
    reply = api_client(make_user()).post("/api/transactions", body, content_type="application/json")
    assert (reply.status_code, reply.json()["success"]) == (400, False)


def test_the_same_key_returns_the_same_purchase() -> None:
    user = make_user()
    client = api_client(user)
    first = client.post("/api/transactions", COFFEE, format="json", HTTP_IDEMPOTENCY_KEY="abc")
    again = client.post("/api/transactions", COFFEE, format="json", HTTP_IDEMPOTENCY_KEY="abc")
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert Transaction.objects.count() == 1
    assert client.post("/api/transactions", COFFEE, format="json", HTTP_IDEMPOTENCY_KEY="abd").status_code == 201


def test_the_same_key_for_another_purchase_is_a_conflict() -> None:
    client = api_client(make_user())
    client.post("/api/transactions", COFFEE, format="json", HTTP_IDEMPOTENCY_KEY="abc")
    reply = client.post("/api/transactions", COFFEE | {"amount": 5}, format="json", HTTP_IDEMPOTENCY_KEY="abc")
    assert (reply.status_code, reply.json()["success"]) == (409, False)
    assert Transaction.objects.count() == 1


def test_another_customer_may_use_the_same_key() -> None:
    for _ in range(2):
        reply = api_client(make_user()).post("/api/transactions", COFFEE, format="json", HTTP_IDEMPOTENCY_KEY="abc")
        assert reply.status_code == 201


@pytest.mark.parametrize("key", ["x" * 101, "tab\there"])
def test_an_invalid_key_is_refused(key: str) -> None:
    reply = api_client(make_user()).post("/api/transactions", COFFEE, format="json", HTTP_IDEMPOTENCY_KEY=key)
    assert reply.status_code == 400
    assert "Idempotency-Key" in reply.json()["errors"]


def test_storing_a_purchase_takes_the_token_lookup_and_one_query() -> None:
    client = api_client(make_user(created_at=datetime(2020, 1, 1, tzinfo=UTC)))
    client.post("/api/transactions", COFFEE, format="json")
    with CaptureQueriesContext(connection) as queries:
        assert client.post("/api/transactions", COFFEE, format="json").status_code == 201
    work = [query["sql"] for query in queries if "SAVEPOINT" not in query["sql"]]
    assert len(work) == 2, work


@pytest.mark.parametrize("area", ["user", "family", "business"])
def test_the_list_has_the_legacy_format(area: str) -> None:
    user = make_user()
    row = make_transaction(
        user,
        amount="4.50",
        date=datetime(2026, 11, 3, 12, 30, tzinfo=UTC),
        status="completed",
        ticker="SBUX",
        round_up=Decimal("1.00"),
        investable=Decimal("1.00"),
        fee=Decimal("0.25"),
        total_debit=Decimal("5.75"),
        shares=Decimal("0.01052632"),
        price_per_share=Decimal("95.0000"),
        category="Food",
    )
    reply = api_client(user).get(f"/api/{area}/transactions").json()
    shown = {
        "id": row.pk,
        "merchant": "STARBUCKS",
        "amount": 4.5,
        "date": "2026-11-03T12:30:00Z",
        "category": "Food",
        "description": "",
        "roundup": 1.0,
        "round_up": 1.0,
        "investable": 1.0,
        "total_debit": 5.75,
        "fee": 0.25,
        "status": "completed",
        "ticker": "SBUX",
        "shares": 0.01052632,
        "price_per_share": 95.0,
        "stock_price": 95.0,
        "type": "purchase",
        "failure_reason": "",
        "related_id": None,
    }
    listed = shown | {"booking_status": "completed"}
    assert reply == {"success": True, "data": {"transactions": [listed], "total": 1, "user_id": user.pk}}
    assert set(TransactionRow.__annotations__) == set(shown)
    assert api_client(user).get(f"/api/transactions/{row.pk}").json() == {"success": True, "data": shown}


def test_a_refund_has_no_sign_and_its_own_type() -> None:
    user = make_user()
    make_transaction(user, amount="-4.50", status="refunded")
    (row,) = api_client(user).get("/api/user/transactions").json()["data"]["transactions"]
    assert (row["amount"], row["type"]) == (4.5, "refund")


def test_the_list_has_the_latest_hundred_and_pages_have_all() -> None:
    user = make_user()
    now = datetime(2026, 11, 20, tzinfo=UTC)
    made = [make_transaction(user, date=now - timedelta(days=number % 50)).pk for number in range(103)]
    make_transaction(make_user())
    client = api_client(user)
    assert client.get("/api/user/transactions").json()["data"]["total"] == 100
    first = client.get("/api/user/transactions", {"limit": 60}).json()
    second = client.get("/api/user/transactions", {"limit": 60, "cursor": first["next_cursor"]}).json()
    assert (set(first), first["has_more"], second["has_more"]) == ({"data", "next_cursor", "has_more"}, True, False)
    assert second["next_cursor"] is None
    assert {row["id"] for row in first["data"] + second["data"]} == set(made)
    assert len(first["data"]) + len(second["data"]) == 103


@pytest.mark.parametrize("query", [{}, {"limit": 50}])
def test_a_list_takes_two_queries_whatever_its_length_and_one_if_cached(query: dict[str, int]) -> None:
    user = make_user()
    for _ in range(30):
        make_transaction(user)
    client = api_client(user)
    client.get("/api/user/transactions", query)  # flags are cached from here on
    for expected_queries in (2, 1):
        if expected_queries == 2:
            make_transaction(user)
        with CaptureQueriesContext(connection) as queries:
            client.get("/api/user/transactions", query)
        assert len(queries) == expected_queries


def test_a_page_skips_partitions_after_its_cursor() -> None:
    user = make_user()
    row = make_transaction(user, date=datetime(2025, 1, 15, tzinfo=UTC))
    make_transaction(user, date=datetime(2025, 1, 10, tzinfo=UTC))
    client = api_client(user)
    page = client.get("/api/user/transactions", {"limit": 1}).json()
    assert page["data"][0]["id"] == row.pk
    with CaptureQueriesContext(connection) as queries:
        client.get("/api/user/transactions", {"limit": 1, "cursor": page["next_cursor"]})
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN " + queries[-1]["sql"])
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "y2026" not in plan


def test_an_unknown_transaction_is_404() -> None:
    client = api_client(make_user())
    assert client.get("/api/transactions/999999999").status_code == 404
    assert client.get(f"/api/transactions/{2**70}").status_code == 404
