"""The LLM Center's API: legacy paths and formats, decisions about merchants, pages of constant cost."""

from datetime import date
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from llm_center.api.rows import MappingRow
from llm_center.models import LlmDataAsset, LlmMapping, MappingDecision
from llm_center.services.amortization import add_asset_cost
from llm_center.tasks import run_llm_queue
from tests.factories import api_client, make_company, make_merchant, make_staff, make_transaction, make_user
from transactions.models import BackgroundTask, Merchant, Setting

pytestmark = pytest.mark.django_db
CENTER = "/api/admin/llm-center"


def make_mapping(merchant: str = "STARBUKS", ticker: str | None = "SBUX", **fields) -> LlmMapping:
    values = {"merchant_key": merchant, "source": "llm", "confidence": Decimal("0.8")} | fields
    return LlmMapping.objects.create(merchant_name=merchant, ticker=ticker, **values)


@pytest.fixture
def staff():
    make_company("SBUX", name="Starbucks Corporation")
    make_company("AAPL")
    return make_staff()


def test_pages_by_cursor_contain_each_row_once_at_equal_cost(staff):
    for n in range(7):
        make_mapping(f"SHOP {n}", status="rejected" if n == 3 else "pending")
    client, seen, cursor, costs = api_client(staff), [], "", []
    while cursor is not None:
        with CaptureQueriesContext(connection) as queries:
            page = client.get(f"{CENTER}/mappings", {"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        costs.append(len(queries))
        seen += [row["merchant_name"] for row in page["data"]]
        assert page["has_more"] == (page["next_cursor"] is not None)
        cursor = page["next_cursor"]
    assert sorted(seen) == [f"SHOP {n}" for n in range(7)]
    assert len(set(costs[1:])) == 1
    only = client.get(f"{CENTER}/mappings", {"status": "rejected"}).json()["data"]
    assert [row["merchant_name"] for row in only] == ["SHOP 3"]
    assert only[0]["admin_approved"] == -1
    assert client.get(f"{CENTER}/mappings", {"search": "SHOP 5"}).json()["data"][0]["merchant_name"] == "SHOP 5"


def test_a_row_has_every_key_that_the_front_end_reads(staff):
    customer = make_user("ann@example.com", name="Ann")
    mapping = make_mapping(user=customer)
    row = api_client(staff).get(f"{CENTER}/mapping/{mapping.pk}").json()["data"]
    assert set(row) == set(MappingRow.__annotations__)
    assert (row["user_email"], row["confidence"], row["approval_source"]) == ("ann@example.com", 0.8, "pending")
    assert api_client(staff).get(f"{CENTER}/mapping/999999").status_code == 404


def test_numbered_pages_have_the_legacy_format_and_a_last_page(staff):
    for n in range(5):
        make_mapping(f"SHOP {n}")
    client = api_client(staff)
    page = client.get(f"{CENTER}/mappings", {"page": 2, "limit": 2}).json()["data"]
    assert len(page["mappings"]) == 2
    assert page["pagination"] == {
        "page": 2,
        "limit": 2,
        "total": 5,
        "pages": 3,
        "has_next": True,
        "has_prev": True,
        "current_page": 2,
        "total_pages": 3,
        "total_count": 5,
        "total_is_capped": False,
    }
    for bad in ("0", "x", "101"):
        assert client.get(f"{CENTER}/mappings", {"page": bad}).status_code == 400
    assert client.get(f"{CENTER}/mappings", {"status": "odd"}).status_code == 400


@pytest.mark.parametrize(
    "path",
    [
        f"{CENTER}/approve",
        f"{CENTER}/approve-mapping",
        "/api/admin/mapping/{}/approve",
        "/api/admin/llm-mappings/{}/approve",
    ],
)
def test_approving_decides_the_merchant_and_releases_waiting_transactions(staff, path):
    merchant = make_merchant("STARBUKS", None, "proposed", waiting_count=1, waiting_amount=Decimal(1))
    make_transaction(make_user(), "STARBUKS", status="needs_review", round_up=Decimal(1), total_debit=Decimal("5.50"))
    mapping = make_mapping()
    client = api_client(staff)
    body = {"mapping_id": mapping.pk, "notes": "clear"} if "{}" not in path else {"notes": "clear"}
    reply = client.post(path.format(mapping.pk), body, format="json")
    assert reply.status_code == 200, reply.json()
    answer = reply.json()
    assert (answer["mapping_id"], answer["status"], answer["investment_details"]["ticker"]) == (
        mapping.pk,
        "approved",
        "SBUX",
    )
    assert BackgroundTask.objects.get(pk=answer["task_id"]).name == "release_merchants"
    merchant.refresh_from_db()
    assert (merchant.status, merchant.ticker, merchant.decided_by) == ("approved", "SBUX", staff)
    again = client.post(path.format(mapping.pk), body, format="json").json()
    assert again["task_id"] is None
    assert MappingDecision.objects.count() == 1


def test_a_rejected_ticker_is_remembered(staff):
    make_merchant("STARBUKS", "SBUX", "proposed", confidence=Decimal("0.8"))
    mapping = make_mapping()
    answer = api_client(staff).post(f"{CENTER}/reject", {"mapping_id": mapping.pk}, format="json").json()
    assert answer["status"] == "rejected"
    assert Merchant.objects.get().rejected_tickers == ["SBUX"]
    other = make_mapping("STARBUKS", "AAPL")
    api_client(staff).post(f"/api/admin/mapping/{other.pk}/reject", {}, format="json")
    assert sorted(Merchant.objects.get().rejected_tickers) == ["AAPL", "SBUX"]


def test_an_impossible_decision_is_refused_with_a_reason(staff):
    client = api_client(staff)
    assert client.post(f"{CENTER}/approve", {"mapping_id": 999}, format="json").status_code == 404
    assert client.post(f"{CENTER}/approve", {}, format="json").status_code == 400
    without_ticker = client.post(f"{CENTER}/approve", {"mapping_id": make_mapping("X", None).pk}, format="json")
    assert (without_ticker.status_code, "no ticker" in without_ticker.json()["error"]) == (400, True)
    unlisted = client.post(f"{CENTER}/approve", {"mapping_id": make_mapping("Y", "NOPE").pk}, format="json")
    assert unlisted.status_code == 400


def test_the_legacy_paths_do_not_decide_otherwise_than_another_reviewer(staff):
    make_merchant("STARBUKS", None, "proposed")
    mapping, other = make_mapping(), make_mapping(ticker="AAPL")
    first, second = api_client(make_staff(name="Ruth")), api_client(staff)
    assert first.post(f"{CENTER}/approve", {"mapping_id": mapping.pk}, format="json").status_code == 200
    for path, body in (
        (f"{CENTER}/approve", {"mapping_id": other.pk}),
        (f"{CENTER}/reject-mapping", {"mapping_id": mapping.pk}),
        (f"/api/admin/mapping/{mapping.pk}/reject", {}),
    ):
        reply = second.post(path, body, format="json")
        assert reply.status_code == 409, path
        assert "was changed by Ruth" in reply.json()["error"]
    refused = second.post(f"{CENTER}/bulk-approve", {"mapping_ids": [other.pk]}, format="json").json()["refused"]
    assert "was changed by Ruth" in refused[0]["error"]
    assert second.post(f"{CENTER}/approve", {"mapping_id": mapping.pk}, format="json").status_code == 200
    assert MappingDecision.objects.count() == 1


def test_a_decision_is_made_for_the_version_that_the_reviewer_saw(staff):
    make_merchant("STARBUKS", None, "proposed")
    mapping, other = make_mapping(), make_mapping(ticker="AAPL")
    client = api_client(staff)

    def version() -> str:
        return client.get(f"{CENTER}/mapping/{mapping.pk}").json()["data"]["merchant_version"]

    approve = f"{CENTER}/mapping/{other.pk}/approve"
    missing = client.post(approve, {"notes": "clear"}, format="json")
    assert (missing.status_code, "merchant_version" in missing.json()["error"]) == (400, True), missing.json()
    seen = version()
    first = client.post(f"{CENTER}/mapping/{mapping.pk}/approve", {"merchant_version": seen}, format="json")
    assert first.status_code == 200, first.json()
    for stale in (seen, "yesterday"):
        assert client.post(approve, {"merchant_version": stale}, format="json").status_code == 409
    assert client.post(approve, {"merchant_version": version()}, format="json").status_code == 200
    assert Merchant.objects.get().ticker == "AAPL"


def test_a_bulk_decision_is_made_for_the_versions_that_the_reviewer_saw(staff):
    client, rows = api_client(staff), []
    for name in ("A SHOP", "B SHOP"):
        make_merchant(name, "SBUX", "proposed")
        row = client.get(f"{CENTER}/mapping/{make_mapping(name).pk}").json()["data"]
        rows.append({"mapping_id": row["id"], "merchant_version": row["merchant_version"]})
    Merchant.objects.get(merchant_key="B SHOP").save()
    answer = client.post(f"{CENTER}/mappings/approve", {"mappings": rows}, format="json").json()
    assert answer["approved_count"] == 1
    assert [one["mapping_id"] for one in answer["refused"]] == [rows[1]["mapping_id"]]
    del rows[0]["merchant_version"]
    assert client.post(f"{CENTER}/mappings/reject", {"mappings": rows}, format="json").status_code == 400


def test_a_reviewer_does_not_decide_on_their_own_purchases(staff):
    make_merchant("STARBUKS", "SBUX", "proposed")
    make_transaction(staff, "STARBUKS", status="needs_review")
    mapping = make_mapping()
    for path in ("approve", "reject"):
        refused = api_client(staff).post(f"{CENTER}/{path}", {"mapping_id": mapping.pk}, format="json")
        assert (refused.status_code, "Another reviewer" in refused.json()["error"]) == (403, True)
    assert (
        api_client(make_staff()).post(f"{CENTER}/approve", {"mapping_id": mapping.pk}, format="json").status_code == 200
    )


def test_large_amounts_need_a_second_reviewer(staff):
    Setting.objects.update_or_create(key="four_eyes_limit", defaults={"value": "100"})
    make_merchant("STARBUKS", None, "proposed", waiting_count=9, waiting_amount=Decimal(500))
    mapping = make_mapping()
    first = api_client(staff).post(f"{CENTER}/approve", {"mapping_id": mapping.pk}, format="json").json()
    assert (first["message"], first["status"]) == ("Another reviewer has to agree.", "pending")
    second = api_client(make_staff()).post(f"{CENTER}/approve", {"mapping_id": mapping.pk}, format="json").json()
    assert second["status"] == "approved"


def test_a_bulk_decision_continues_after_a_refused_mapping(staff):
    good, bad = make_mapping("A SHOP"), make_mapping("B SHOP", "NOPE")
    answer = (
        api_client(staff)
        .post(f"{CENTER}/bulk-approve", {"mapping_ids": [good.pk, bad.pk, 12345, good.pk]}, format="json")
        .json()
    )
    assert answer["approved_count"] == 1
    assert [one["mapping_id"] for one in answer["refused"]] == [bad.pk, 12345]
    answer = api_client(staff).post(f"{CENTER}/bulk-reject", {"mapping_ids": [bad.pk]}, format="json").json()
    assert answer["rejected_count"] == 1


def test_a_queue_run_returns_at_once_and_its_task_has_the_result(staff):
    make_merchant("STARBUCKS", None, "proposed", source="ingest")
    reply = api_client(staff).post("/api/admin/ai/process-queue")
    assert reply.status_code == 202
    answer = reply.json()
    assert (answer["success"], answer["status"]) == (True, "queued")
    run_llm_queue(answer["task_id"])
    task = api_client(staff).get(f"/api/tasks/{answer['task_id']}").json()
    assert (task["status"], task["result"]["processed_count"], task["result"]["auto_approved"]) == ("completed", 1, 1)
    queue = api_client(staff).get(f"{CENTER}/queue").json()["data"]
    assert queue["queue_status"]["pending"] == 0


def test_a_proposal_of_a_customer_is_not_approved(staff):
    make_merchant("CORNER CAFE", None, "proposed")
    customer = make_user()
    body = {"merchant_name": "CORNER CAFE #3", "ticker_symbol": "sbux", "confidence": 90}
    reply = api_client(customer).post("/api/family/submit-mapping", body, format="json")
    assert reply.status_code == 201
    mapping = LlmMapping.objects.get(pk=reply.json()["mapping_id"])
    assert (mapping.status, mapping.source, mapping.user, mapping.confidence) == (
        "pending",
        "user",
        customer,
        Decimal("0.9"),
    )
    merchant = Merchant.objects.get()
    assert (merchant.status, merchant.alternatives[0]["ticker"]) == ("proposed", "SBUX")
    assert api_client(customer).post("/api/admin/manual-submit", body, format="json").status_code == 403
    assert api_client(staff).post("/api/admin/manual-submit", body, format="json").status_code == 201
    assert (
        api_client(customer).post("/api/user/submit-mapping", {"merchant_name": " "}, format="json").status_code == 400
    )


def test_a_lookup_returns_its_reason(staff):
    answer = api_client(make_user()).get("/api/lookup/ticker", {"company": "WHOLEFDS MKT 10234"}).json()
    assert (answer["data"]["ticker"], answer["ticker"]) == ("AMZN", "AMZN")
    assert (
        api_client(staff).post("/api/lookup/ticker", {"company_name": "SUBWAY 12"}, format="json").json()["ticker"]
        is None
    )
    assert api_client(staff).get("/api/lookup/ticker").status_code == 400


def test_assets_have_costs_and_a_schedule(staff):
    asset = LlmDataAsset.objects.create(
        asset_name="Model",
        asset_type="model",
        status="production",
        useful_life_months=10,
        in_service_on=date(2026, 1, 1),
    )
    add_asset_cost(asset_id=asset.pk, component="data", amount=Decimal(100), dated_on=date(2026, 1, 1), actor=staff)
    client = api_client(staff)
    (row,) = client.get("/api/admin/llm-assets").json()["data"]["assets"]
    assert (row["cost_basis"], row["carrying_value"], row["performance_score"]) == (
        {"total": 100.0, "breakdown": {"data": 100.0}},
        100.0,
        None,
    )
    months = client.get(f"/api/admin/llm-assets/{asset.pk}/amortization").json()["data"]["schedule"]
    assert (len(months), months[0]["amortization_expense"], months[-1]["remaining_value"]) == (10, 10.0, 0.0)
    costs = client.get(f"/api/admin/llm-assets/{asset.pk}/cost-breakdown").json()["data"]["cost_breakdown"]
    assert costs[0]["cost_type"] == "data"
    booked = client.post("/api/admin/llm-assets/monthly-amortization", {"entry_date": "2026-02-01"}, format="json")
    assert booked.json()["data"]["journal_entry_ids"] == [
        f"LLM-AMORT-202601-{asset.pk}",
        f"LLM-AMORT-202602-{asset.pk}",
    ]
    nothing = client.post("/api/admin/llm-assets/monthly-amortization", {"entry_date": "2026-02-01"}, format="json")
    assert nothing.status_code == 400
    assert client.get(f"{CENTER}/data-assets").json()["data"]["summary"]["total_carrying_value"] == 80.0
    assert client.get("/api/admin/llm-assets/999/amortization").status_code == 404


def test_staff_without_the_permission_are_refused(staff):
    clerk = make_user("clerk4@kamioi.test", is_staff=True)
    mapping = make_mapping()
    for method, path in [
        ("get", f"{CENTER}/mappings"),
        ("post", f"{CENTER}/approve"),
        ("post", "/api/admin/ai/process-queue"),
        ("get", "/api/admin/llm-assets"),
        ("post", "/api/admin/llm-assets/monthly-amortization"),
        ("post", f"/api/admin/mapping/{mapping.pk}/approve"),
    ]:
        assert getattr(api_client(clerk), method)(path, format="json").status_code == 403, path
