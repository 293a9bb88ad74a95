"""The figures of the LLM Center as the legacy pages show them."""

from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from analytics.api.views.figures import page_figures
from kamioi_site.formatting import duration
from llm_center.models import LlmCall
from llm_center.services.mapping_log import create_log_row
from tests.factories import api_client, make_company, make_merchant, make_staff, make_transaction, make_user
from transactions.models import AuditEvent, BackgroundTask, User
from transactions.services.ingest import create_transaction
from transactions.services.processing import process_pending

pytestmark = pytest.mark.django_db
CENTER = "/api/admin/llm-center"


@pytest.fixture
def staff() -> User:
    return make_staff()


def test_the_analytics_tab_gets_texts_with_units_and_percentages(staff: User) -> None:
    for merchant, category in (("A", "Food"), ("B", "Food"), ("C", "Travel"), ("D", "")):
        create_log_row(
            merchant_name=merchant, merchant_key=merchant, category=category, source="llm", confidence=Decimal("0.8")
        )
    LlmCall.objects.create(provider="openai", merchants=10, duration_ms=2000)
    data = api_client(staff).get(f"{CENTER}/dashboard").json()["data"]
    shown = data["analytics"]
    assert shown["categoryDistribution"] == {"Food": 50, "none": 25, "Travel": 25}
    performance = shown["performanceMetrics"]
    assert (performance["processing_speed"], performance["avg_confidence"], performance["error_rate"]) == (
        "5.0 merchants/s",
        80,
        "0.0%",
    )
    assert performance["memory_usage"].endswith(" MB")
    # The page calculates with these, so they are numbers.
    assert (shown["accuracyRate"], shown["autoApprovalRate"]) == (0, 0)
    assert data["performance_metrics"]["avg_confidence"] == 0.8


def test_the_notice_of_processing_has_no_undefined_counts(staff: User) -> None:
    customer = make_user()
    create_transaction(user=customer, amount=Decimal("4.50"), merchant="CORNER CAFE")
    process_pending()
    url = f"{CENTER}/process-pending-transactions"
    reply = api_client(staff).post(url, HTTP_IDEMPOTENCY_KEY="once")
    assert (reply.status_code, reply.json()["mapped"], reply.json()["no_match"]) == (202, 0, 1)
    create_transaction(user=customer, amount=Decimal("4.50"), merchant="CORNER CAFE")
    assert api_client(staff).post(url).json()["mapped"] == "Working in the background on 1 transactions. So far 0"


def test_auto_process_reads_and_starts_nothing(staff: User) -> None:
    make_transaction(make_user())
    client, url = api_client(staff), "/api/admin/auto-process"
    first = client.post(url).json()
    assert (first["processed"], first["mapped"], first["no_match"]) == (0, 0, 0)
    with CaptureQueriesContext(connection) as queries:
        assert client.post(url).json() == first
    assert len(queries) <= 3  # the token, the permissions
    assert not BackgroundTask.objects.exists()
    assert not AuditEvent.objects.exists()


def test_a_search_has_its_results_where_the_page_reads_them(staff: User) -> None:
    make_company("SBUX", name="Starbucks Corporation")
    make_merchant("STARBUCKS RESERVE", "SBUX")
    body = api_client(staff).post("/api/llm-data/search", {"query": "STARBUCKS"}, format="json").json()
    assert body["data"] == {"passages": body["passages"], "total": body["total"]}
    assert body["total"] > 0


def test_pages_of_the_data_system_show_no_null(staff: User) -> None:
    for name in ("system-status", "vector-embeddings", "feature-store", "event-stats"):
        assert None not in api_client(staff).get(f"/api/llm-data/{name}").json()["data"].values(), name
    assert page_figures({"last_update": None, "dimensions": None, "uptime": 543.5, "queue_size": 0}) == {
        "dimensions": "none",
        "uptime": "9 min",
        "queue_size": 0,
    }
    assert [duration(seconds) for seconds in (3, 7300, 200_000)] == ["3 s", "2 h", "2 d"]


def test_the_learning_dashboard_states_what_is_measured(staff: User) -> None:
    create_log_row(merchant_name="A", merchant_key="A", source="llm", status="approved", confidence=Decimal(1))
    data = api_client(staff).get("/api/ml/stats").json()["data"]
    assert (data["totalPredictions"], data["successRate"], data["accuracyRate"]) == (1, 1, None)
    assert (data["topPatterns"], data["dataQuality"]) == ([], "Unrated")
