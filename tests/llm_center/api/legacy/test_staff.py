"""What only the legacy admin calls: edits of approved rows, uploads with a token in the form, learning, usage."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from llm_center.models import LlmCall, LlmMapping, MappingDecision, PendingDecision
from llm_center.services.mapping_log import create_log_row
from tests.factories import api_client, make_company, make_merchant, make_staff, make_user
from transactions.models import ApiToken, AuditEvent, Merchant, Setting, User

pytestmark = pytest.mark.django_db
UPLOAD = "/api/admin/bulk-upload-fast"


@pytest.fixture
def staff() -> User:
    make_company("SBUX", name="Starbucks Corporation")
    make_company("AAPL", name="Apple Inc.")
    return make_staff()


def _edit(user: User, row: LlmMapping, **changes: Any) -> Any:
    body = {"merchant_name": row.merchant_name, "ticker": "AAPL", "category": row.category} | changes
    return api_client(user).put(f"/api/admin/llm-center/mapping/{row.pk}/update", body, format="json")


def _approved() -> LlmMapping:
    make_merchant("CORNER CAFE", "SBUX", waiting_amount=Decimal(100))
    return create_log_row(
        merchant_name="CORNER CAFE", merchant_key="CORNER CAFE", ticker="SBUX", source="llm", status="approved"
    )


def test_editing_an_approved_row_corrects_its_merchant_from_now_on(staff: User) -> None:
    row = _approved()
    assert _edit(staff, row).json() == {"success": True, "message": "CORNER CAFE is AAPL from now on."}
    assert Merchant.objects.get().ticker == "AAPL"
    decision = MappingDecision.objects.get()
    assert (decision.action, decision.decided_by, decision.corrected_count) == ("correct", staff, 0)
    # The row is history now.
    assert _edit(make_staff(), row, ticker="SBUX").status_code == 409
    assert MappingDecision.objects.count() == 1


def test_a_correction_that_needs_two_reviewers_waits_until_the_second_makes_it(staff: User) -> None:
    Setting.objects.update_or_create(key="four_eyes_limit", defaults={"value": "50"})
    row = _approved()
    reply = _edit(staff, row)
    assert (reply.status_code, reply.json()["success"]) == (409, False)
    assert "waits for another reviewer" in reply.json()["error"]
    assert (Merchant.objects.get().ticker, PendingDecision.objects.count()) == ("SBUX", 1)
    assert _edit(make_staff(), row).status_code == 200
    assert (Merchant.objects.get().ticker, PendingDecision.objects.count()) == ("AAPL", 0)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"category": "Tech"}, 409),
        ({"merchant_name": "OTHER"}, 409),
        ({"ticker": "SBUX"}, 409),
        ({"ticker": "NO"}, 400),
    ],
)
def test_what_a_correction_cannot_change_is_refused(staff: User, changes: dict[str, Any], code: int) -> None:
    assert _edit(staff, _approved(), **changes).status_code == code
    assert Merchant.objects.get().ticker == "SBUX"


# --- Upload -----------------------------------------------------------------------------------------------------
def _upload(**fields: Any) -> Any:
    file = SimpleUploadedFile("m.csv", b"Merchant Name,Ticker\nCORNER CAFE,SBUX\n", content_type="text/csv")
    return api_client().post(UPLOAD, {"file": file, **fields}, format="multipart")


def test_the_token_of_an_upload_may_be_in_the_form_and_is_stored_nowhere(
    staff: User, caplog: pytest.LogCaptureFixture
) -> None:
    token = ApiToken.issue(user=staff)[1]
    with caplog.at_level(0):
        reply = _upload(admin_token=token, skip_indexes="1")
    assert reply.status_code == 202, reply.json()
    event = AuditEvent.objects.get()
    assert (event.user, event.action) == (staff, "POST api-bulk-upload-fast")
    assert token not in caplog.text + str(event.__dict__) + str(reply.json())
    assert reply.wsgi_request.POST.get("skip_indexes") == "1"
    assert "admin_token" not in reply.wsgi_request.POST
    assert "admin_token" not in reply.wsgi_request.audit_data


def test_no_other_token_and_no_other_view_is_accepted(staff: User) -> None:
    token = ApiToken.issue(user=staff)[1]
    assert _upload().status_code == 401
    assert _upload(admin_token="admin_token_3").status_code == 401
    assert _upload(admin_token=ApiToken.issue(user=make_user())[1]).status_code == 403
    for url in ("/api/admin/bulk-upload", "/api/admin/settings"):
        assert api_client().post(url, {"admin_token": token}, format="multipart").status_code == 401


# --- Lookup -----------------------------------------------------------------------------------------------------
def test_a_ticker_is_looked_up_without_a_token_sixty_times_a_minute() -> None:
    make_merchant("CORNER CAFE", "SBUX", reason="A customer proposed it.")
    client = api_client()
    assert client.get("/api/lookup/ticker", {"company": "WHOLEFDS MKT 10234"}).json()["ticker"] == "AMZN"
    assert client.get("/api/lookup/ticker", {"company": "CORNER CAFE"}).json()["ticker"] is None
    codes = [client.get("/api/lookup/ticker", {"company": "STARB"}).status_code for _ in range(59)]
    assert codes == [200] * 58 + [429]
    assert api_client().post("/api/lookup/ticker", {"company_name": "STARBUCKS"}, format="json").status_code == 401


# --- Learning ---------------------------------------------------------------------------------------------------
def test_a_learned_pattern_is_decided_like_any_other(staff: User) -> None:
    body = {"merchant": "CORNER CAFE #12", "ticker": "SBUX", "category": "Food & Dining", "confidence": 0.95}
    assert api_client(staff).post("/api/ml/learn", body, format="json").status_code == 200
    merchant = Merchant.objects.get()
    assert (merchant.status, merchant.ticker, merchant.decided_by) == ("approved", "SBUX", staff)
    exported = api_client(staff).get("/api/ml/export").json()["data"]["decisions"]
    assert [(row["merchant"], row["ticker"]) for row in exported] == [(merchant.merchant_key, "SBUX")]
    other = api_client(make_staff()).post("/api/ml/learn", body | {"ticker": "AAPL"}, format="json")
    assert other.status_code == 409


def test_recognition_is_that_of_the_matcher_and_changes_nothing(staff: User) -> None:
    client = api_client(staff)
    data = client.post("/api/ml/recognize", {"text": "WHOLEFDS MKT 10234"}, format="json").json()["data"]
    assert (data["ticker"], data["source"]) == ("AMZN", "matcher")
    unknown = client.post("/api/ml/recognize", {"text": "ZZQX"}, format="json").json()["data"]
    assert unknown["ticker"] == "UNKNOWN"
    assert not AuditEvent.objects.exists()


@pytest.mark.parametrize("path", ["admin/train-model", "ml/retrain", "ml/feedback", "admin/api-usage/balance"])
def test_what_is_not_done_is_501_with_the_reason(staff: User, path: str) -> None:
    reply = api_client(staff).post(f"/api/{path}", {"type": "negative", "mapping_id": 1}, format="json")
    assert (reply.status_code, reply.json()["success"]) == (501, False)
    assert reply.json()["error"].endswith(".")


# --- Limits and usage -------------------------------------------------------------------------------------------
def test_the_panel_shows_the_limit_at_once_for_each_period(staff: User) -> None:
    shown = "10,000 at once, any number of times"
    limits = api_client(staff).get("/api/admin/trading-limits").json()["limits"]
    assert {limits[period]["amount_remaining"] for period in ("daily", "weekly", "monthly")} == {shown}
    panel = api_client(staff).get("/api/admin/llm-center/pending-transactions-paginated").json()
    assert panel["trading_limits"]["daily"]["amount_remaining"] == shown


@pytest.fixture
def calls() -> None:
    now = timezone.now()
    for number, error in enumerate(["", "", "timeout"]):
        LlmCall.objects.create(
            provider="openai",
            model="gpt-x",
            merchants=5,
            prompt_tokens=100,
            completion_tokens=10,
            cost=Decimal("0.5"),
            duration_ms=200,
            error=error,
            started_at=now - timedelta(seconds=number),
        )
    LlmCall.objects.create(provider="openai", merchants=1, cost=1, started_at=now - timedelta(days=60))


def test_usage_is_that_of_the_stored_calls(staff: User, calls: None) -> None:
    client = api_client(staff)
    stats = client.get("/api/admin/api-usage/stats", {"days": 7}).json()["data"]
    assert (stats["total_calls"], stats["failed_calls"], stats["total_cost"], stats["average_processing_time_ms"]) == (
        3,
        1,
        1.5,
        200,
    )
    assert client.get("/api/admin/api-usage/stats", {"days": 0}).json()["data"]["period_days"] == 1
    records = client.get("/api/admin/api-usage/records", {"page": 1, "limit": 2}).json()["data"]
    assert (len(records["records"]), records["total"], records["total_pages"]) == (2, 3, 2)
    assert records["records"][0]["total_tokens"] == 110
    for query, count in (({"status": "failed"}, 1), ({"endpoint": "GPT"}, 3), ({"user_id": "4"}, 0)):
        assert client.get("/api/admin/api-usage/records", query).json()["data"]["total"] == count
    export: Any = client.get("/api/admin/api-usage/export", {"days": 30, "format": "csv"})
    assert len(b"".join(export.streaming_content).splitlines()) == 4


def test_the_daily_limit_is_a_share_of_the_monthly_budget(staff: User, calls: None) -> None:
    client, url = api_client(staff), "/api/admin/api-usage/daily-limit"
    assert client.get(url).json()["data"] is None
    assert client.get("/api/admin/api-usage/balance").json()["data"] is None
    assert client.post(url, {"limit": 2.5}, format="json").status_code == 200
    assert Setting.objects.get(key="llm_monthly_budget").value == "75.00"
    limit = client.get(url).json()["data"]
    assert (limit["daily_limit"], limit["today_cost"], limit["limit_exceeded"]) == (2.5, 1.5, False)
    balance = client.get("/api/admin/api-usage/balance").json()["data"]
    assert balance == {"current_balance": 75, "total_spent": 1.5, "remaining_balance": 73.5}
    # 0 would lift the limit.
    assert client.post(url, {"limit": 0}, format="json").status_code == 400
    reviewer = make_user(is_staff=True)
    reviewer.groups.add(Group.objects.get(name="reviewer"))
    assert api_client(reviewer).get(url).status_code == 200
    assert api_client(reviewer).post(url, {"limit": 9}, format="json").status_code == 403
