"""Lists in the words of the legacy front end, exports by link, large uploads, retries, and what is not offered."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import pytest
import time_machine
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from tests.factories import api_client, make_company, make_merchant, make_staff, make_transaction, make_user
from transactions.api.legacy.statuses import LISTED, statuses_of
from transactions.models import Notification, Setting, Transaction, User
from transactions.services.manual_processing import run_selection

pytestmark = pytest.mark.django_db
AREAS = ("user", "family", "business")
EXPORTS = [*(f"/api/{area}/export/transactions" for area in AREAS), "/api/individual/export/transactions"]
# As the legacy front end asks: a content type without a body.
JSON = {"content_type": "application/json"}


# --- Statuses ------------------------------------------------------------------------------------------------
def test_every_status_has_a_word_of_the_legacy_front_end() -> None:
    assert set(LISTED) == set(Transaction.Status.values)


@pytest.mark.parametrize("area", AREAS)
def test_only_the_legacy_list_uses_the_legacy_words(area: str) -> None:
    user = make_user()
    row = make_transaction(user, status="needs_review")
    client = api_client(user)
    (listed,) = client.get(f"/api/{area}/transactions").json()["data"]["transactions"]
    assert (listed["status"], listed["booking_status"]) == ("needs-recognition", "needs_review")
    (paged,) = client.get(f"/api/{area}/transactions?limit=5").json()["data"]
    detail = client.get(f"/api/transactions/{row.pk}").json()["data"]
    assert paged == detail
    assert (detail["status"], "booking_status" in detail) == ("needs_review", False)
    (filtered,) = client.get(f"/api/{area}/transactions?status=needs_review").json()["data"]["transactions"]
    assert filtered == listed


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("needs-recognition", {"needs_review"}),
        ("needs_review", {"needs_review"}),
        ("no-investment", {"not_listed", "refunded", "excluded", "undone"}),
        ("pending", {"pending", "on_hold"}),
        ("staged", {"awaiting_price"}),
        ("processing", set()),
        ("all", set(Transaction.Status.values)),
    ],
)
def test_staff_filter_by_either_word(word: str, found: set[str]) -> None:
    user = make_user()
    for status in Transaction.Status.values:
        make_transaction(user, status=status, failure_reason="x")
    rows = api_client(make_staff()).get("/api/admin/transactions", {"status": word}).json()["transactions"]
    assert {row["booking_status"] for row in rows} == found
    assert all(row["booking_status"] in statuses_of(row["status"]) for row in rows)


# --- Exports -------------------------------------------------------------------------------------------------
def _csv(reply: Any) -> str:
    return b"".join(reply.streaming_content).decode()


@pytest.mark.parametrize("path", EXPORTS)
def test_the_link_of_an_export_opens_the_same_file_without_a_token(path: str) -> None:
    user = make_user()
    make_transaction(user, "STARBUCKS")
    make_transaction(user, "TARGET")
    make_transaction(make_user(), "TARGET")
    body = api_client(user).get(path, {"merchant": "target"}, **JSON).json()
    assert body["success"]
    assert body["download_url"].startswith("/api/downloads/")
    elsewhere = api_client(user).get(path, HTTP_ORIGIN="https://app.example.com", **JSON).json()
    assert elsewhere["download_url"].startswith("http://testserver/api/downloads/")
    reply = api_client().get(body["download_url"])
    assert reply["Cache-Control"] == "private, no-store"
    text = _csv(reply)
    assert text == _csv(api_client(user).get("/api/user/export/transactions", {"merchant": "target"}))
    assert text.count("TARGET") == 1


@pytest.mark.parametrize("path", EXPORTS)
def test_a_client_that_does_not_declare_json_or_wants_csv_gets_the_file(path: str) -> None:
    client = api_client(make_user())
    for headers in ({}, {"HTTP_ACCEPT": "*/*"}, JSON | {"HTTP_ACCEPT": "text/csv"}):
        assert client.get(path, **headers)["Content-Type"] == "text/csv; charset=utf-8"
    assert client.get(path, {"status": "odd"}, **JSON).status_code == 400
    assert api_client().get(path, **JSON).status_code == 401


def test_a_link_ends_after_five_minutes_and_with_the_sessions_of_its_owner() -> None:
    user = make_user()
    link = api_client(user).get(EXPORTS[0], **JSON).json()["download_url"]
    assert api_client().get(link).status_code == 200
    path = urlsplit(link).path
    assert api_client().get(path[:-1] + ("x" if path[-1] != "x" else "y")).status_code == 404
    with time_machine.travel(timezone.now() + timedelta(seconds=301)):
        assert api_client().get(link).status_code == 404
    User.objects.filter(pk=user.pk).update(session_generation=user.session_generation + 1)
    assert api_client().get(link).status_code == 404


def test_notifications_are_exported_by_a_link_too() -> None:
    user = make_user()
    for owner in (user, make_user()):
        Notification.objects.create(user=owner, title="=1+1", message="bought")
    link = api_client(user).get("/api/business/notifications/export").json()["download_url"]
    heading, row = _csv(api_client().get(link)).splitlines()
    assert heading == "created_at,type,title,message,read"
    assert row.endswith(",info,'=1+1,bought,False")


# --- Purchases -----------------------------------------------------------------------------------------------
def test_a_retry_processes_what_waits_for_a_merchant_that_has_been_decided() -> None:
    make_company()
    user, other = make_user(), make_user()
    mine = make_transaction(user, "STARBUCKS", status="needs_review")
    make_transaction(other, "STARBUCKS", status="needs_review")
    sent = {"userId": other.account_number, "description": "x", "amount": 4.5, "merchantName": "Starbucks"}
    client = api_client(user)
    waiting = client.post("/api/transactions/process", sent, format="json")
    assert (waiting.status_code, waiting.json()["message"]) == (409, waiting.json()["error"])
    make_merchant()
    done = client.post("/api/transactions/process", sent, format="json").json()
    assert done["data"]["investment"]["suggestedTicker"] == "SBUX"
    task = client.get(done["status_url"]).json()
    assert (task["name"], task["total"]) == ("process_selected", 1)
    run_selection(transaction_ids=[mine.pk])
    mine.refresh_from_db()
    assert mine.status != "needs_review"
    assert client.post("/api/transactions/process", sent, format="json").status_code == 409
    assert client.post("/api/transactions/process", {"merchantName": 5}, format="json").status_code == 400
    assert api_client().post("/api/transactions/process", sent, format="json").status_code == 401


def test_a_purchase_is_stored_under_the_path_of_the_list_too() -> None:
    user = make_user()
    reply = api_client(user).post("/api/user/transactions", {"amount": 4.5, "merchant": "STARBUCKS"}, format="json")
    assert reply.status_code == 201
    assert Transaction.objects.get(pk=reply.json()["transaction_id"]).amount == Decimal("4.50")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("post", "/api/user/transactions/sync"),
        ("put", "/api/user/transactions/1"),
        ("delete", "/api/user/transactions/1"),
        ("post", "/api/user/roundups/process"),
        ("post", "/api/transactions/create"),
    ],
)
def test_what_is_not_offered_is_501_with_the_reason(method: str, path: str) -> None:
    reply = getattr(api_client(make_user()), method)(path, {}, format="json")
    assert reply.status_code == 501
    assert reply.json()["message"] == reply.json()["error"]
    assert getattr(api_client(), method)(path, {}, format="json").status_code == 401


@pytest.mark.parametrize("area", AREAS)
def test_a_large_upload_names_the_way_where_it_cannot_be_confirmed(area: str) -> None:
    Setting.objects.update_or_create(key="upload_confirm_purchases", defaults={"value": "1", "type": "decimal"})
    content = b"Date,Description,Amount\n2026-11-02,TARGET,-5.00\n2026-11-03,TARGET,-6.00\n"
    path, client = f"/api/{area}/upload-bank-file", api_client(make_user())

    def upload(**fields: str) -> Any:
        return client.post(path, {"file": SimpleUploadedFile("bank.csv", content), **fields})

    refused = upload()
    assert refused.status_code == 409
    assert "send the file in smaller parts" in refused.json()["error"]
    assert [question["key"] for question in refused.json()["questions"]] == ["confirm"]
    assert upload(confirm="true").status_code == 200
