"""Correcting and reconsidering mappings, bulk approval, uploads of mapping files."""

from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from llm_center.api.views.mappings import Reconsidered
from llm_center.api.views.uploads import UploadedRows, UploadProgress
from llm_center.models import LlmMapping, MappingDelta
from llm_center.services.mapping_log import create_log_row
from llm_center.tasks import decide_merchants, import_mappings
from tests.factories import api_client, make_company, make_merchant, make_staff, make_transaction, make_user
from transactions.models import ApiToken, BackgroundTask, Merchant, User

pytestmark = pytest.mark.django_db
CENTER = "/api/admin/llm-center"


def log(merchant: str = "CORNER CAFE", ticker: str | None = "SBUX", **fields: Any) -> LlmMapping:
    values = {"merchant_key": merchant, "source": "llm", "confidence": Decimal("0.8")} | fields
    return create_log_row(merchant_name=merchant, ticker=ticker, **values)


@pytest.fixture
def staff() -> User:
    make_company("SBUX", name="Starbucks Corporation")
    make_company("AAPL", name="Apple Inc.")
    make_company("OLD", is_listed=False)
    return make_staff()


# --- Rows -------------------------------------------------------------------------------------------------------
def test_a_pending_proposal_is_changed_and_shown_to_reviewers(staff: User) -> None:
    make_merchant("CORNER CAFE", "SBUX", "proposed")
    row = log()
    body = {"merchant_name": "CORNER CAFE #7", "ticker": "aapl", "category": "Tech"}
    reply = api_client(staff).put(f"{CENTER}/mapping/{row.pk}/update", body, format="json")
    assert (reply.status_code, reply.json()["success"]) == (200, True), reply.json()
    row.refresh_from_db()
    assert (row.ticker, row.category, row.company_name, row.status, row.merchant_key) == (
        "AAPL",
        "Tech",
        "Apple Inc.",
        "pending",
        "CORNER CAFE",
    )
    merchant = Merchant.objects.get()
    assert (merchant.ticker, merchant.status) == ("SBUX", "proposed")
    assert [one["ticker"] for one in merchant.alternatives] == ["AAPL"]
    assert LogEntry.objects.filter(change_message__contains="CORNER CAFE → SBUX became CORNER CAFE #7 → AAPL").exists()
    assert sum(MappingDelta.objects.values_list("rows", flat=True)) == 1


def test_a_pending_proposal_is_deleted(staff: User) -> None:
    row = log()
    client = api_client(staff)
    assert client.delete(f"{CENTER}/mapping/{row.pk}/delete").json()["success"] is True
    assert client.delete(f"{CENTER}/mapping/{row.pk}/delete").status_code == 404
    assert LlmMapping.objects.count() == 0
    assert sum(MappingDelta.objects.values_list("rows", flat=True)) == 0


@pytest.mark.parametrize(
    ("fields", "code"), [({"source": "bulk"}, 403), ({"status": "approved"}, 409), ({"status": "rejected"}, 409)]
)
def test_rows_of_files_and_decided_rows_cannot_be_changed(staff: User, fields: dict[str, Any], code: int) -> None:
    row, client = log(**fields), api_client(staff)
    body = {"merchant_name": "X SHOP", "ticker": "AAPL", "category": ""}
    assert client.put(f"{CENTER}/mapping/{row.pk}/update", body, format="json").status_code == code
    assert client.delete(f"{CENTER}/mapping/{row.pk}/delete").status_code == code
    row.refresh_from_db()
    assert row.ticker == "SBUX"


def test_an_invalid_change_is_refused(staff: User) -> None:
    row, client = log(), api_client(staff)
    for bad in (
        {},
        {"merchant_name": "X", "ticker": "NOPE"},
        {"merchant_name": "X", "ticker": "OLD"},
        {"merchant_name": "  ", "ticker": "AAPL"},
        {"merchant_name": "X" * 256, "ticker": "AAPL"},
        {"merchant_name": "X\0", "ticker": "AAPL"},
    ):
        assert client.put(f"{CENTER}/mapping/{row.pk}/update", bad, format="json").status_code == 400, bad
    for unknown in (row.pk + 1, 2**63, 10**40):
        body = {"merchant_name": "X", "ticker": "AAPL"}
        assert client.put(f"{CENTER}/mapping/{unknown}/update", body, format="json").status_code == 404


def test_reconsidering_updates_only_pending_rows_of_machines(staff: User) -> None:
    make_company("TGT")
    client = api_client(staff)
    open_, persons = log("TARGET", None), log("TARGET", "AAPL", source="user", ai_reasoning="I shop there")
    decided = log("TARGET", "AAPL", status="rejected")
    for row, stored in ((open_, True), (persons, False), (decided, False)):
        data = client.post(f"{CENTER}/process-mapping/{row.pk}").json()["data"]
        assert set(data) == set(Reconsidered.__annotations__)
        assert (data["suggested_ticker"], data["ai_status"], data["stored"]) == ("TGT", "approved", stored)
        assert data["ai_auto_approved"] is False
    open_.refresh_from_db()
    persons.refresh_from_db()
    assert (open_.ticker, open_.status, open_.source, open_.ai_processed) == ("TGT", "pending", "matcher", True)
    assert (persons.ticker, persons.ai_reasoning) == ("AAPL", "I shop there")
    unmatched = client.post(f"{CENTER}/process-mapping/{log('ZXQV 99', None).pk}").json()["data"]
    assert (unmatched["suggested_ticker"], unmatched["ai_status"]) == (None, "review_required")
    assert client.post(f"{CENTER}/process-mapping/{10**30}").status_code == 404
    assert sum(MappingDelta.objects.values_list("rows", flat=True)) == 4


def test_confident_proposals_are_approved_in_the_background(staff: User) -> None:
    for name, ticker, confidence in [("SURE", "SBUX", "0.85"), ("DOUBTFUL", "SBUX", "0.6"), ("UNMATCHED", None, "0.9")]:
        make_merchant(name, ticker, "proposed", confidence=Decimal(confidence), waiting_count=1)
    reply = api_client(staff).post(f"{CENTER}/approve-all-pending", {}, format="json")
    body = reply.json()
    assert (reply.status_code, body["approved_count"], body["status"]) == (202, None, "queued")
    decide_merchants(body["task_id"])
    assert BackgroundTask.objects.get(pk=body["task_id"]).result["decided"] == 1
    assert dict(Merchant.objects.values_list("merchant_key", "status")) == {
        "SURE": "approved",
        "DOUBTFUL": "proposed",
        "UNMATCHED": "proposed",
    }
    more = api_client(staff).post(f"{CENTER}/approve-all-pending", {"min_confidence": 0.5}, format="json").json()
    decide_merchants(more["task_id"])
    assert Merchant.objects.get(merchant_key="DOUBTFUL").status == "approved"
    for bad in ({"min_confidence": 0}, {"min_confidence": 2}, {"min_confidence": "NaN"}):
        assert api_client(staff).post(f"{CENTER}/approve-all-pending", bad, format="json").status_code == 400


# --- Files ------------------------------------------------------------------------------------------------------
GOOD = "Merchant Name,Category,Ticker,Company Name,Confidence\nCORNER CAFE,Food,SBUX,Starbucks,95\nBAD SHOP,,NOPE,,90\n"


def upload(client: APIClient, text: str, path: str = "/api/admin/bulk-upload", name: str = "m.csv") -> Any:
    file = SimpleUploadedFile(name, text.encode(), content_type="text/csv")
    return client.post(path, {"file": file}, format="multipart")


def test_a_small_file_is_imported_at_once_in_the_legacy_format(staff: User) -> None:
    make_merchant("CORNER CAFE", None, "proposed", waiting_count=1)
    make_transaction(make_user(), "CORNER CAFE", status="needs_review")
    client = api_client(staff)
    reply = upload(client, GOOD)
    data = reply.json()["data"]
    assert (reply.status_code, set(data)) == (200, set(UploadedRows.__annotations__)), reply.json()
    assert (data["processed_rows"], data["total_rows"], data["valid_rows"], data["error_count"]) == (2, 2, 1, 1)
    assert "NOPE" in data["errors"][0]
    assert data["rows_per_second"] > 0
    assert Merchant.objects.get(merchant_key="CORNER CAFE").status == "approved"
    # The response does not wait for the release.
    assert BackgroundTask.objects.filter(name="release_merchants", status="queued").count() == 1
    again = upload(client, GOOD)
    assert (again.status_code, "imported on" in again.json()["error"]) == (400, True)


def test_a_larger_file_and_the_fast_upload_are_tasks_with_progress(staff: User) -> None:
    client = api_client(staff)
    lines = "".join(f"SHOP {n},Food,SBUX,Starbucks,95\n" for n in range(2000))
    reply = upload(client, GOOD + lines)
    assert (reply.status_code, reply.json()["data"]["processed_rows"]) == (202, None)
    fast = upload(client, GOOD, "/api/admin/bulk-upload-fast")
    job = fast.json()["data"]
    assert (fast.status_code, job["status"], set(job)) == (202, "queued", {"job_id", "status", "method"})

    def progress(job_id: str) -> dict[str, Any]:
        return client.get("/api/admin/bulk-upload/progress", {"job_id": job_id}).json()["data"]

    waiting = progress(job["job_id"])
    assert (set(waiting), waiting["status"], waiting["total_rows"]) == (
        set(UploadProgress.__annotations__),
        "queued",
        None,
    )
    import_mappings(job["job_id"])
    done = progress(job["job_id"])
    assert (done["status"], done["processed_rows"], done["total_rows"], done["error_count"]) == ("completed", 2, 2, 1)
    for bad, code in (("", 400), ("x", 400), (str(uuid4()), 404)):
        assert client.get("/api/admin/bulk-upload/progress", {"job_id": bad}).status_code == code


def test_only_the_progress_accepts_the_token_in_the_query(staff: User) -> None:
    job = upload(api_client(staff), GOOD, "/api/admin/bulk-upload-fast").json()["data"]["job_id"]
    token = ApiToken.issue(user=staff)[1]
    path = "/api/admin/bulk-upload/progress"
    assert api_client().get(path, {"job_id": job, "admin_token": token}).status_code == 200
    assert api_client().get(path, {"job_id": job, "admin_token": "admin_token_1"}).status_code == 401
    assert api_client().get(path, {"job_id": job}).status_code == 401
    customer = ApiToken.issue(user=make_user())[1]
    assert api_client().get(path, {"job_id": job, "admin_token": customer}).status_code == 403
    assert api_client().get("/api/admin/settings", {"admin_token": token}).status_code == 401


def test_a_file_without_mappings_is_refused(staff: User) -> None:
    client = api_client(staff)
    assert upload(client, "").status_code == 400
    assert upload(client, "just,some\ncells,here\n").status_code == 400
    assert client.post("/api/admin/bulk-upload", {}, format="multipart").status_code == 400
    assert client.post("/api/admin/bulk-upload", {"file": "text"}, format="multipart").status_code == 400
    assert client.post("/api/admin/bulk-upload", {}, format="json").status_code == 415
