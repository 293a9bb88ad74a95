"""The other customer endpoints: filters, export, totals, notifications, goals, statements, bank files.

Responses have the formats that the legacy front end reads, in each of its three areas.
"""

import csv
import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from kamioi_site import pagination
from tests.factories import PASSWORD, api_client, make_company, make_merchant, make_price, make_transaction, make_user
from transactions.models import Goal, Holding, Notification, Transaction, User
from transactions.selectors import transaction_pages
from transactions.services.ingest import run_statement_import
from transactions.services.processing import process_pending

pytestmark = pytest.mark.django_db

AREAS = ("user", "family", "business")
FILES = Path(__file__).parents[3] / "data" / "statements"


# --- Schemas -------------------------------------------------------------------------------------------------
TEXT, NUMBER, WHOLE, YES_NO, NOTHING = str, (int, float), int, bool, type(None)
NUMBER_OR_NOTHING, TEXT_OR_NOTHING = (int, float, NOTHING), (str, NOTHING)
ROW = {
    "id": WHOLE,
    "merchant": TEXT,
    "amount": NUMBER,
    "date": TEXT,
    "category": TEXT,
    "description": TEXT,
    "roundup": NUMBER,
    "round_up": NUMBER,
    "investable": NUMBER,
    "total_debit": NUMBER,
    "fee": NUMBER,
    "status": TEXT,
    "ticker": TEXT_OR_NOTHING,
    "shares": NUMBER_OR_NOTHING,
    "price_per_share": NUMBER_OR_NOTHING,
    "stock_price": NUMBER_OR_NOTHING,
    "type": TEXT,
}
HOLDING = {
    "symbol": TEXT,
    "name": TEXT,
    "shares": NUMBER,
    "current_price": NUMBER,
    "purchase_price": NUMBER,
    "total_value": NUMBER,
    "gain_loss": NUMBER,
    "gain_loss_percent": NUMBER,
}
PERSON = {"id": WHOLE, "email": TEXT, "name": TEXT, "role": TEXT, "dashboard": TEXT, "account_number": TEXT}
MESSAGE = {"id": WHOLE, "title": TEXT, "message": TEXT, "type": TEXT, "read": YES_NO, "created_at": TEXT}
GOAL = {
    "id": WHOLE,
    "user_id": WHOLE,
    "title": TEXT,
    "target_amount": NUMBER,
    "current_amount": NUMBER,
    "progress": NUMBER,
    "goal_type": TEXT,
    "created_at": TEXT,
}
STATEMENT = {
    "id": TEXT,
    "type": TEXT,
    "period": TEXT,
    "date": TEXT,
    "size": TEXT_OR_NOTHING,
    "format": TEXT,
    "created_at": TEXT,
}
PROFILE = {
    "name": TEXT,
    "email": TEXT,
    "phone": TEXT,
    "city": TEXT,
    "state": TEXT,
    "zipCode": TEXT,
    "address": TEXT,
    "firstName": TEXT,
    "lastName": TEXT,
    "roundUpAmount": WHOLE,
    "riskTolerance": TEXT,
    "accountType": TEXT,
    "country": TEXT,
    "timezone": TEXT,
    "createdAt": TEXT,
    "subscription": NOTHING,
}
ROUND_UP = {"round_up_amount": WHOLE, "round_up_enabled": YES_NO}
CONTRACT: list[tuple[str, str, dict[str, Any] | None, dict[str, Any]]] = [
    ("post", "auth/login", {"email": "ann@example.com", "password": PASSWORD}, {"token": TEXT, "user": PERSON}),
    ("get", "auth/me", None, {"user": PERSON}),
    ("get", "profile", None, {"profile": PROFILE}),
    ("put", "profile", {"city": "Austin"}, {"profile": PROFILE}),
    ("get", "settings", None, {"data": {}}),
    ("post", "settings", {"theme": "dark"}, {"data": {"theme": TEXT}}),
    ("get", "settings/roundup", None, ROUND_UP),
    ("put", "settings/roundup", {"round_up_amount": 1}, ROUND_UP),
    ("get", "transactions", None, {"data": {"transactions": [ROW], "total": WHOLE, "user_id": WHOLE}}),
    (
        "get",
        "portfolio",
        None,
        {
            "data": {
                "total_value": NUMBER,
                "total_invested": NUMBER,
                "total_gain_loss": NUMBER,
                "total_gain_loss_percent": NUMBER,
                "holdings": [HOLDING],
                "cash_balance": NUMBER,
                "last_updated": TEXT,
            }
        },
    ),
    ("get", "roundups/total", None, {"data": {"total_roundups": NUMBER, "monthly_roundups": NUMBER, "count": WHOLE}}),
    ("get", "fees/total", None, {"data": {"total_fees": NUMBER, "monthly_fees": NUMBER, "count": WHOLE}}),
    ("get", "notifications", None, {"data": [MESSAGE]}),
    (
        "post",
        "submit-mapping",
        {"merchant_name": "SHOP", "ticker_symbol": "SBUX", "category": "Food"},
        {"mapping_id": WHOLE, "message": TEXT},
    ),
    ("post", "goals", {"title": "Car", "target_amount": 9}, {"data": GOAL}),
    ("get", "goals", None, {"data": [GOAL]}),
    ("get", "statements", None, {"data": [STATEMENT]}),
    ("put", "notifications/read-all", None, {"message": TEXT}),
    ("post", "auth/logout", None, {"message": TEXT}),
]


def fits(schema: Any, value: Any, where: str) -> None:
    """Assert that the value has the keys and JSON types of the schema; other keys are allowed."""
    if isinstance(schema, dict):
        assert isinstance(value, dict), where
        for key, inner in schema.items():
            assert key in value, f"{where}: {key} is missing"
            fits(inner, value[key], f"{where}.{key}")
    elif isinstance(schema, list):
        assert isinstance(value, list), where
        assert value, where
        for item in value:
            fits(schema[0], item, f"{where}[]")
    else:
        assert isinstance(value, schema), f"{where}: {value!r}"
        assert not isinstance(value, bool) or schema is YES_NO, f"{where}: {value!r}"


@pytest.mark.parametrize("area", AREAS)
def test_responses_have_the_keys_and_types_that_the_front_end_reads(area: str) -> None:
    make_company("SBUX", name="Starbucks")
    make_merchant()
    user = make_user("ann@example.com", account_type="individual", account_number="I0000001")
    make_transaction(user)
    process_pending()
    client = api_client(user)
    for method, name, body, schema in CONTRACT:
        reply = getattr(client, method)(f"/api/{area}/{name}", body, format="json")
        assert reply.status_code in {200, 201}, (name, reply.content)
        fits({"success": YES_NO} | schema, reply.json(), name)
        assert reply.json()["success"] is True
    others: list[tuple[str, str, dict[str, Any] | None, dict[str, Any]]] = [
        (
            "get",
            "/api/lookup/ticker?company=starbucks",
            None,
            {"ticker": TEXT, "company_name": TEXT, "category": TEXT, "confidence": NUMBER, "alternatives": list},
        ),
        ("post", "/api/lookup/ticker", {"company_name": "starbucks"}, {"data": {"ticker": TEXT}, "ticker": TEXT}),
        ("post", "/api/transactions", {"amount": 5, "merchant": "SHOP"}, {"transaction_id": WHOLE}),
    ]
    for method, name, body, schema in others:
        reply = getattr(api_client(user), method)(name, body, format="json")
        fits({"success": YES_NO} | schema, reply.json(), name)


# --- Filters ----------------------------------------------------------------------------------------------------
@pytest.fixture
def shopper() -> User:
    """Create six purchases in three months."""
    user = make_user()
    for day, merchant, status, ticker in [
        ("2026-01-10", "STARBUCKS #1", "completed", "SBUX"),
        ("2026-01-31", "TARGET", "not_listed", None),
        ("2026-02-01", "Starbucks #2", "completed", "SBUX"),
        ("2026-02-15", "100%_REAL", "needs_review", None),
        ("2026-03-01", "AMZN MKTP", "completed", "AMZN"),
        ("2026-03-20", "STARBUCKS #3", "failed", None),
    ]:
        more: dict[str, Any] = {"shares": Decimal(1), "price_per_share": Decimal(1)} if ticker else {}
        make_transaction(
            user,
            merchant,
            date=datetime.fromisoformat(f"{day}T12:00:00+00:00"),
            status=status,
            ticker=ticker,
            failure_reason="no" if status == "failed" else "",
            **more,
        )
    make_transaction(
        make_user(), "STARBUCKS", status="completed", ticker="SBUX", shares=Decimal(1), price_per_share=Decimal(1)
    )
    return user


FILTERED = [
    ({"status": "completed"}, ["AMZN MKTP", "Starbucks #2", "STARBUCKS #1"]),
    ({"ticker": "sbux"}, ["Starbucks #2", "STARBUCKS #1"]),
    ({"merchant": "starbucks"}, ["STARBUCKS #3", "Starbucks #2", "STARBUCKS #1"]),
    ({"merchant": "%_"}, ["100%_REAL"]),
    ({"merchant": "'; DROP TABLE users"}, []),
    ({"start_date": "2026-02-01"}, ["STARBUCKS #3", "AMZN MKTP", "100%_REAL", "Starbucks #2"]),
    ({"end_date": "2026-02-01"}, ["Starbucks #2", "TARGET", "STARBUCKS #1"]),
    ({"end_date": "2026-02-01T11:59:59Z"}, ["TARGET", "STARBUCKS #1"]),
    ({"start_date": "2026-01-31", "end_date": "2026-02-28", "merchant": "s"}, ["Starbucks #2"]),
    ({"end_date": "0193-09-28T09:23:19-16:48"}, []),  # PostgreSQL knows no such time zone
    ({"ticker": "AMZN", "status": "failed"}, []),
    ({"ticker": "", "status": "", "merchant": "mktp"}, ["AMZN MKTP"]),
]


@pytest.mark.parametrize(("query", "merchants"), FILTERED)
def test_list_page_and_export_have_the_same_filters(shopper: User, query: dict[str, str], merchants: list[str]) -> None:
    client = api_client(shopper)
    whole = client.get("/api/user/transactions", query).json()["data"]
    assert [row["merchant"] for row in whole["transactions"]] == merchants
    assert whole["total"] == len(merchants)
    page = client.get("/api/user/transactions", query | {"limit": 10}).json()
    assert [row["merchant"] for row in page["data"]] == merchants
    assert (page["has_more"], page["next_cursor"]) == (False, None)
    export = client.get("/api/user/export/transactions", query)
    assert [row["merchant"] for row in csv.DictReader(io.StringIO(export.getvalue().decode()))] == merchants


@pytest.mark.parametrize(
    "query",
    [
        {"status": "gone"},
        {"ticker": "x" * 13},
        {"merchant": "x" * 256},
        {"start_date": "yesterday"},
        {"end_date": "2026-02-30"},
        {"end_date": "9999-12-31"},
        {"start_date": "9999-12-31T23:00:00-05:00"},
    ],
)
def test_an_invalid_filter_is_refused_by_name(query: dict[str, str]) -> None:
    for address in ("transactions", "export/transactions"):
        reply = api_client(make_user()).get(f"/api/user/{address}", query)
        assert (reply.status_code, list(reply.json()["errors"])) == (400, list(query))


def test_filtered_pages_scan_a_limited_number_of_rows_and_miss_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pagination, "SCAN_ROWS", 10)
    user = make_user()
    start = datetime(2026, 3, 1, tzinfo=UTC)
    for number in range(47):
        make_transaction(user, "RARE" if number in (3, 4, 30) else "USUAL", date=start + timedelta(hours=number // 2))
    client = api_client(user)
    seen: list[str] = []
    pages, query = 0, {"merchant": "rare", "limit": "2"}
    while True:
        with CaptureQueriesContext(connection) as queries:
            page = client.get("/api/user/transactions", query).json()
        assert len(queries) <= 3 + 2  # the token, flags once, the rows, the end of the scan
        seen += [row["merchant"] for row in page["data"]]
        pages += 1
        if not page["has_more"]:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == ["RARE"] * 3
    assert pages == 5
    monkeypatch.setattr(transaction_pages, "_CSV_PAGE_ROWS", 2)
    export = client.get("/api/user/export/transactions", {"merchant": "rare"}).getvalue().decode()
    assert len(export.splitlines()) == 1 + 3


def test_a_cursor_belongs_to_its_filter(shopper: User) -> None:
    client = api_client(shopper)
    query = {"status": "completed", "limit": 1}
    cursor = client.get("/api/user/transactions", query).json()["next_cursor"]
    assert (
        client.get("/api/user/transactions", query | {"cursor": cursor}).json()["data"][0]["merchant"] == "Starbucks #2"
    )
    for other in ({"limit": 1}, {"status": "failed", "limit": 1}, query | {"ticker": "AMZN"}):
        assert client.get("/api/user/transactions", other | {"cursor": cursor}).status_code == 400


def test_a_filtered_page_uses_the_customers_index(shopper: User) -> None:
    client = api_client(shopper)
    client.get("/api/user/transactions", {"limit": 1})
    with CaptureQueriesContext(connection) as queries:
        client.get("/api/user/transactions", {"merchant": "target", "status": "not_listed", "limit": 1})
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_bitmapscan = off")
        cursor.execute("EXPLAIN " + queries[1]["sql"])
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "_pkey" in plan
    assert f"Index Cond: (user_id = {shopper.pk})" in plan
    assert "status_idx" not in plan


# --- Export -----------------------------------------------------------------------------------------------------
def test_an_export_runs_no_formula() -> None:
    user = make_user()
    make_transaction(user, "=HYPERLINK(1)", description="+1", category="@x", date=datetime(2026, 3, 1, tzinfo=UTC))
    make_transaction(user, "SHOP", "-4.50", status="refunded", date=datetime(2026, 3, 2, tzinfo=UTC))
    for query in ("", "?format=csv"):
        reply = api_client(user).get(f"/api/business/export/transactions{query}", HTTP_ACCEPT="text/csv")
        assert reply["Content-Type"].startswith("text/csv")
        assert "attachment" in reply["Content-Disposition"]
        refund, formula = csv.DictReader(io.StringIO(reply.getvalue().decode()))
        assert (formula["merchant"], formula["description"], formula["category"]) == ("'=HYPERLINK(1)", "'+1", "'@x")
        assert (refund["amount"], refund["type"], refund["date"]) == ("4.50", "refund", "2026-03-02T00:00:00+00:00")


def test_a_long_export_takes_one_query_per_page_and_holds_one_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transaction_pages, "_CSV_PAGE_ROWS", 20)
    user = make_user()
    for number in range(50):
        make_transaction(user, f"SHOP {number}")
    with CaptureQueriesContext(connection) as queries:
        lines = transaction_pages.transactions_csv(user, transaction_pages.TransactionFilter())
        assert next(lines).startswith("id,date,merchant")
        assert len(queries) == 0
        next(lines)
        assert len(queries) == 1
        assert sum(1 for _ in lines) == 49
    assert len(queries) == 3


# --- Totals, notifications, goals, statements ------------------------------------------------------------------------
def test_totals_cover_completed_purchases_and_the_last_thirty_days() -> None:
    user = make_user()
    for days, status, round_up in [(1, "completed", "1.00"), (40, "completed", "2.00"), (1, "pending", "5.00")]:
        make_transaction(
            user,
            status=status,
            round_up=Decimal(round_up),
            investable=Decimal(round_up),
            fee=Decimal("0.25"),
            total_debit=Decimal("4.75") + Decimal(round_up),
            date=timezone.now() - timedelta(days=days),
            ticker="SBUX",
            shares=Decimal(1),
            price_per_share=Decimal(1),
        )
    client = api_client(user)
    counts = {"count": 2, "monthly_count": 1}
    assert client.get("/api/user/roundups/total").json()["data"] == counts | {
        "total_roundups": 3.0,
        "monthly_roundups": 1.0,
    }
    assert client.get("/api/family/fees/total").json()["data"] == counts | {"total_fees": 0.5, "monthly_fees": 0.25}
    with CaptureQueriesContext(connection) as queries:
        client.get("/api/user/roundups/total")
    assert len(queries) == 1  # the token; the sum is cached


def test_notifications_are_read_and_deleted_one_by_one_and_together() -> None:
    user, other = make_user(), make_user()
    rows = [Notification.objects.create(user=person, title="A", message="b") for person in (user, user, user, other)]
    client = api_client(user)
    assert client.put(f"/api/business/notifications/{rows[0].pk}/read").status_code == 200
    assert [row["read"] for row in client.get("/api/business/notifications").json()["data"]] == [False, False, True]
    assert client.put("/api/business/notifications/read-all").json()["message"] == "2 notifications marked as read."
    assert client.delete(f"/api/business/notifications/{rows[1].pk}").status_code == 200
    assert client.delete(f"/api/business/notifications/{rows[1].pk}").status_code == 404
    assert {row["read"] for row in client.get("/api/business/notifications").json()["data"]} == {True}
    rows[3].refresh_from_db()
    assert rows[3].read is False


def test_goals_are_created_changed_and_deleted() -> None:
    client = api_client(make_user())
    goal = client.post(
        "/api/family/goals", {"title": "House", "target_amount": 300, "current_amount": 100}, format="json"
    ).json()
    assert (goal["data"]["progress"], goal["data"]["goal_type"]) == (33.33, "family")
    url = f"/api/family/goals/{goal['data']['id']}"
    changed = client.put(url, {"current_amount": 600}, format="json").json()["data"]
    assert (changed["title"], changed["progress"]) == ("House", 100.0)
    for body in (
        {"target_amount": 0},
        {"current_amount": -1},
        {"title": ""},
        {"goal_type": "other"},
        {"target_amount": 1e15},
    ):
        assert client.put(url, body, format="json").status_code == 400, body
    assert client.delete(url).json()["success"] is True
    assert client.get("/api/family/goals").json()["data"] == []
    assert client.delete(url).status_code == 404


def test_a_customer_has_at_most_a_hundred_goals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transactions.services.goals.MAX_GOALS", 1)
    client = api_client(make_user())
    codes = [
        client.post("/api/user/goals", {"title": "A", "target_amount": 1}, format="json").status_code for _ in range(2)
    ]
    assert codes == [201, 400]
    assert Goal.objects.count() == 1


def test_statements_are_the_months_since_the_first_purchase() -> None:
    user = make_user()
    client = api_client(user)
    assert client.get("/api/user/statements").json()["data"] == []
    for moment in (datetime(2025, 12, 31, 23, tzinfo=UTC), datetime(2026, 2, 3, tzinfo=UTC)):
        make_transaction(user, date=moment)
    rows = client.get("/api/business/statements").json()["data"]
    assert [row["period"] for row in rows] == ["2026-02", "2026-01", "2025-12"]
    assert (rows[0]["date"], rows[0]["format"]) == ("2026-02-28", "CSV")
    for row, lines in zip(rows, (1, 0, 1), strict=True):
        assert len(client.get(row["url"]).getvalue().decode().splitlines()) == 1 + lines


# --- Bank files -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["business.xlsx", "business.xls"])
def test_an_excel_file_is_read_by_a_worker_and_invalid_rows_are_listed(name: str) -> None:
    user = make_user()
    client = api_client(user)
    for added, duplicates in ((4, 0), (0, 4)):
        file = SimpleUploadedFile(name, (FILES / name).read_bytes())
        reply = client.post("/api/business/upload-bank-file", {"file": file})
        body = reply.json()
        assert (reply.status_code, body["status"], body["data"]["processed"]) == (202, "queued", 0)
        run_statement_import(task_id=body["task_id"])
        task = client.get(body["status_url"]).json()
        assert task["result"] == {"rows": 5, "added": added, "duplicates": duplicates, "rejected": 1}
        row = 8 if name.endswith("x") else 5
        assert f"{row},amount,“lots” is not an amount" in client.get(body["rejects_url"]).getvalue().decode()
    assert Transaction.objects.filter(user=user).count() == 4


def test_a_small_file_is_read_at_once_and_invalid_rows_are_listed() -> None:
    client = api_client(make_user())
    for added, duplicates in ((1, 0), (0, 1)):
        content = b"Date,Merchant,Amount\n2026-11-03,SHOP,-1.00\n2026-11-03,SHOP,lots\n"
        reply = client.post("/api/business/upload-bank-file", {"file": SimpleUploadedFile("may.csv", content)})
        body = reply.json()
        assert (reply.status_code, body["status"]) == (200, "completed")
        assert body["data"] == {
            "processed": 1,
            "processed_rows": 1,
            "total_rows": 2,
            "added": added,
            "duplicates": duplicates,
            "error_count": 1,
            "errors": ["Row 3: amount: “lots” is not an amount"],
        }
        assert client.get(body["status_url"]).json()["result"]["rejected"] == 1
        assert "lots" in client.get(body["rejects_url"]).getvalue().decode()


def test_a_larger_file_is_read_in_the_background(settings: Settings) -> None:
    settings.STATEMENT_SYNC_BYTES = 10
    user = make_user()
    client = api_client(user)
    file = SimpleUploadedFile("may.csv", b"Date,Merchant,Amount\n2026-11-03,SHOP,-1.00\n")
    reply = client.post("/api/business/upload-bank-file", {"file": file})
    body = reply.json()
    assert (reply.status_code, body["status"], body["data"]["processed"]) == (202, "queued", 0)
    run_statement_import(task_id=body["task_id"])
    assert client.get(body["status_url"]).json()["result"]["added"] == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "empty"),
        ("a.csv", b"hello\n", "No header"),
        ("a.xlsx", b"PK\x03\x04nothing", "ZIP archive"),
        ("a.pdf", b"%PDF-1.7", "PDF"),
    ],
)
def test_a_file_that_is_not_a_statement_is_refused_with_a_reason(name: str, content: bytes, message: str) -> None:
    client = api_client(make_user())
    reply = client.post("/api/user/upload-bank-file", {"file": SimpleUploadedFile(name, content)})
    assert reply.status_code == 400
    assert message in reply.json()["error"]
    assert client.post("/api/user/upload-bank-file", {"other": "x"}).status_code == 400
    assert client.post("/api/user/upload-bank-file", {}, format="json").status_code == 415


def test_each_area_returns_the_callers_own_portfolio() -> None:
    user = make_user()
    make_company("SBUX")
    make_price("SBUX", "2.00", age=timedelta(seconds=1))
    Holding.objects.create(user=user, ticker="SBUX", shares=Decimal(2), cost_basis=Decimal("3.00"))
    for area in AREAS:
        assert api_client(user).get(f"/api/{area}/portfolio").json()["data"]["total_value"] == 4.0
        assert api_client(make_user()).get(f"/api/{area}/portfolio").json()["data"]["holdings"] == []
