"""The LLM Center's figures over the API: every legacy format, measured or null, cached and invalidated."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from llm_center.models import LlmCall, LlmDataAsset, LlmMapping
from llm_center.services.mapping_log import create_log_row
from llm_center.services.staff_maintenance import is_queue_enabled
from llm_center.tasks import process_llm_queue, rebuild_indexes, remove_duplicates
from tests.factories import api_client, make_company, make_merchant, make_staff, make_transaction, make_user
from transactions.models import BackgroundTask, Merchant, Transaction, TransactionDelta, User
from transactions.services.processing import process_pending
from transactions.tasks import process_backlog

pytestmark = pytest.mark.django_db
CENTER, DATA = "/api/admin/llm-center", "/api/llm-data"

NUMBER, MAYBE, TEXT, MAYBE_TEXT = (int, float), (int, float, type(None)), str, (str, type(None))
FLAG, LIST, ROWS, MAP, ANYTHING = bool, list, list, dict, object
CARDS = {
    "totalMappings": NUMBER,
    "dailyProcessed": NUMBER,
    "accuracyRate": MAYBE,
    "autoApprovalRate": MAYBE,
    "systemStatus": TEXT,
    "databaseStatus": TEXT,
    "aiModelStatus": TEXT,
    "lastUpdated": TEXT,
}
PERFORMANCE = {
    "processing_speed": MAYBE,
    "avg_confidence": MAYBE,
    "error_rate": MAYBE,
    "uptime": NUMBER,
    "memory_usage": NUMBER,
}
REALTIME = {
    "isConnected": FLAG,
    "processingQueue": NUMBER,
    "mappedPending": NUMBER,
    "investmentReady": NUMBER,
    "totalProcessed": NUMBER,
    "processedToday": NUMBER,
    "totalTransactions": NUMBER,
    "activeProcesses": NUMBER,
    "throughput": MAYBE,
    "lastProcessed": MAYBE_TEXT,
}
# URL → the schema of its response, as the legacy front end reads it.
SCHEMAS: dict[str, dict[str, Any]] = {
    f"{CENTER}/dashboard": {
        "success": FLAG,
        "data": {
            "analytics": CARDS | {"performanceMetrics": MAP, "categoryDistribution": MAP},
            "mappings": {
                "pending": ROWS,
                "approved": ROWS,
                "rejected": ROWS,
                "counts": {"pending": NUMBER, "approved": NUMBER, "rejected": NUMBER},
            },
            "llm_data_assets": {"assets": ROWS, "summary": MAP},
            "performance_metrics": PERFORMANCE,
            "category_distribution": MAP,
        },
    },
    f"{CENTER}/analytics": {
        "success": FLAG,
        "data": CARDS | {"performanceMetrics": PERFORMANCE, "categoryDistribution": MAP},
    },
    f"{CENTER}/queue": {
        "success": FLAG,
        "data": {
            "queue_status": {
                "total_entries": NUMBER,
                "total_mappings": NUMBER,
                "auto_applied": NUMBER,
                "approved": NUMBER,
                "pending": NUMBER,
                "rejected": NUMBER,
                "pending_mappings": NUMBER,
                "waiting_transactions": NUMBER,
                "waiting_amount": NUMBER,
            },
            "pending_reviews": ROWS,
            "all_entries": ROWS,
        },
    },
    f"{CENTER}/transaction-stats": {
        "success": FLAG,
        "data": {
            "stats": {"pending": NUMBER, "needs_review": NUMBER, "mapped": NUMBER, "invested": NUMBER, "total": NUMBER},
            "queue": {"size": NUMBER, "transactions": ROWS},
            "recent_mapped": ROWS,
            "processing": {"is_active": FLAG, "queue_size": NUMBER, "ready_for_investment": NUMBER},
        },
    },
    f"{CENTER}/processing-stats": {
        "success": FLAG,
        "data": {
            "pending_transactions": NUMBER,
            "mapped_transactions": NUMBER,
            "review_queue": NUMBER,
            "market_queue": NUMBER,
            "is_running": FLAG,
            "market_open": FLAG,
        },
        "stats": {"total_transactions": NUMBER, "mapped_transactions": NUMBER, "mapping_rate": MAYBE},
    },
    f"{CENTER}/automation/status": {
        "success": FLAG,
        "data": {
            "realtime": {
                "status": TEXT,
                "processing_rate": MAYBE,
                "queue_size": NUMBER,
                "pending_transactions": NUMBER,
                "last_processed": MAYBE_TEXT,
            },
            "batch": {"status": TEXT, "last_run": MAYBE_TEXT, "processed_count": NUMBER, "pending_count": NUMBER},
            "learning": {
                "accuracy": MAYBE,
                "training_samples": NUMBER,
                "model_version": TEXT,
                "last_trained": MAYBE_TEXT,
            },
            "merchants": {
                "total_merchants": NUMBER,
                "verified_merchants": NUMBER,
                "pending_verification": NUMBER,
                "rejected": NUMBER,
                "estimated": FLAG,
            },
            "thresholds": {"auto_approve": MAYBE, "manual_review": NUMBER, "auto_reject": MAYBE, "current_avg": MAYBE},
            "multiModel": {"enabled": FLAG, "models": LIST, "voting_strategy": TEXT, "agreement_rate": MAYBE},
        },
    },
    f"{CENTER}/automation/realtime": {"success": FLAG, "data": REALTIME, "status": REALTIME},
    f"{CENTER}/automation/batch": {
        "success": FLAG,
        "data": {
            "enabled": FLAG,
            "queueSize": NUMBER,
            "totalProcessed": NUMBER,
            "processingRate": MAYBE,
            "lastBatchTime": MAYBE_TEXT,
        },
    },
    f"{CENTER}/automation/learning": {
        "success": FLAG,
        "data": {
            "enabled": FLAG,
            "trainingDataPoints": NUMBER,
            "lastTrainingTime": MAYBE_TEXT,
            "modelVersion": TEXT,
            "accuracy": MAYBE,
        },
    },
    f"{CENTER}/automation/merchants": {
        "success": FLAG,
        "data": {"totalMerchants": NUMBER, "cacheHitRate": MAYBE, "lastUpdate": MAYBE_TEXT, "estimated": FLAG},
    },
    f"{CENTER}/automation/thresholds": {
        "success": FLAG,
        "data": {
            "confidenceThreshold": MAYBE,
            "autoApprovalEnabled": FLAG,
            "highConfidence": NUMBER,
            "mediumConfidence": NUMBER,
        },
    },
    f"{CENTER}/automation/multi-model": {
        "success": FLAG,
        "data": {"enabled": FLAG, "activeModels": LIST, "consensusMethod": TEXT, "agreementRate": MAYBE},
    },
}
LLM_DATA: dict[str, dict[str, Any]] = {
    "system-status": {
        "system_health": TEXT,
        "active_processes": NUMBER,
        "queue_size": NUMBER,
        "uptime": NUMBER,
        "total_mappings": NUMBER,
        "approved_mappings": NUMBER,
        "pending_mappings": NUMBER,
        "last_updated": TEXT,
    },
    "event-stats": {
        "events_today": NUMBER,
        "total_events": NUMBER,
        "success_rate": MAYBE,
        "avg_processing_time": MAYBE,
        "processing_rate": MAYBE,
        "queue_size": NUMBER,
        "events_processed": NUMBER,
        "last_processed": MAYBE_TEXT,
    },
    "vector-embeddings": {
        "total_embeddings": NUMBER,
        "dimensions": MAYBE,
        "last_update": MAYBE_TEXT,
        "indexed_count": NUMBER,
        "pending_indexing": NUMBER,
        "storage_size": NUMBER,
    },
    "feature-store": {
        "merchant_patterns": NUMBER,
        "user_behavior": MAYBE,
        "transaction_features": MAYBE,
        "cache_hit_rate": MAYBE,
        "avg_compute_time": MAYBE,
        "storage_efficiency": MAYBE,
        "last_update": MAYBE_TEXT,
    },
}
SCHEMAS |= {f"{DATA}/{name}": {"success": FLAG, **schema, "data": MAP} for name, schema in LLM_DATA.items()}


def assert_schema(value: Any, schema: Any, at: str = "") -> None:
    """Assert that the value has exactly these keys and types."""
    if isinstance(schema, dict):
        assert isinstance(value, dict), at
        assert set(value) == set(schema), at
        for key, inner in schema.items():
            assert_schema(value[key], inner, f"{at}.{key}")
    else:
        assert isinstance(value, schema), (at, value)
        assert schema is not NUMBER or not isinstance(value, bool), at


def log(merchant: str = "STARBUKS", ticker: str | None = "SBUX", **fields: Any) -> LlmMapping:
    values = {"merchant_key": merchant, "source": "llm", "confidence": Decimal("0.8"), "category": "Food"} | fields
    return create_log_row(merchant_name=merchant, ticker=ticker, **values)


@pytest.fixture
def staff() -> User:
    return make_staff()


@pytest.mark.parametrize("path", SCHEMAS)
def test_every_screen_gets_its_keys_with_and_without_data(staff: User, path: str, settings: Settings) -> None:
    settings.MARKET_ALWAYS_OPEN = True
    assert_schema(api_client(staff).get(path).json(), SCHEMAS[path], path)
    make_company("SBUX")
    make_merchant()
    customer = make_user()
    for merchant in ("STARBUCKS", "STARBUCKS", "CORNER CAFE"):
        make_transaction(customer, merchant)
    process_pending()
    for status in ("pending", "approved", "rejected"):
        log(status=status)
    LlmCall.objects.create(provider="openai", merchants=10, duration_ms=2000)
    LlmDataAsset.objects.create(asset_name="Model", asset_type="model")
    from kamioi_site.cache.namespaces import clear_caches

    clear_caches()
    assert_schema(api_client(staff).get(path).json(), SCHEMAS[path], path)


@pytest.mark.parametrize("path", SCHEMAS)
def test_figures_take_the_same_queries_whatever_the_number_of_rows(staff: User, path: str, settings: Settings) -> None:
    settings.MARKET_ALWAYS_OPEN = True
    settings.API_RATES = {scope: [] for scope in settings.API_RATES}

    from kamioi_site.cache.namespaces import clear_caches

    def statements() -> int:
        clear_caches()
        with CaptureQueriesContext(connection) as captured:
            assert api_client(staff).get(path).status_code == 200
        return len(captured)

    customer = make_user()
    log(user=customer)
    make_transaction(customer)
    statements()  # read once per process
    before = statements()
    for n in range(5):
        log(f"SHOP {n}", user=make_user())
        make_transaction(make_user(), f"SHOP {n}")
    assert statements() == before
    assert before < 50  # each figure has its own transaction with a time limit


def test_counts_are_current_before_and_after_a_refresh_of_the_rollups(staff: User) -> None:
    from analytics.services.rollups import refresh_rollups

    log(status="approved", ai_auto_approved=True)
    log(status="rejected")
    log(status="pending", confidence=Decimal("0.2"))
    client = api_client(staff)

    def seen() -> tuple[Any, ...]:
        data = client.get(f"{CENTER}/analytics").json()["data"]
        return data["totalMappings"], data["dailyProcessed"], data["autoApprovalRate"]

    assert seen() == (3, 3, 50.0)
    refresh_rollups()
    assert seen() == (3, 3, 50.0)
    log(status="pending")
    assert seen() == (4, 4, 50.0)


def test_the_dashboard_is_cached_per_user_until_a_decision(staff: User) -> None:
    client, path = api_client(staff), f"{CENTER}/dashboard"
    log()
    first = client.get(path).json()
    with CaptureQueriesContext(connection) as captured:
        again = client.get(path).json()
    assert again == first
    assert not any("llm_mappings" in query["sql"] for query in captured)
    assert again["data"]["mappings"]["counts"]["pending"] == 1
    log("OTHER")
    assert client.get(path).json()["data"]["mappings"]["counts"]["pending"] == 2


def test_the_dashboard_allows_ten_requests_a_minute(staff: User) -> None:
    client = api_client(staff)
    codes = [client.get(f"{CENTER}/dashboard").status_code for _ in range(11)]
    assert codes == [200] * 10 + [429]


def test_lists_of_mappings_are_cached_until_a_row_is_written(staff: User) -> None:
    client, path = api_client(staff), f"{CENTER}/mappings"
    log()
    assert len(client.get(path).json()["data"]) == 1
    with CaptureQueriesContext(connection) as captured:
        client.get(path)
    assert not any("llm_mappings" in query["sql"] for query in captured)
    log("OTHER")
    assert len(client.get(path).json()["data"]) == 2
    assert len(client.get(path, {"status": "approved"}).json()["data"]) == 0


def test_analytics_accept_only_today(staff: User) -> None:
    client = api_client(staff)
    today = timezone.now().date()
    assert client.get(f"{CENTER}/analytics", {"date": today.isoformat()}).status_code == 200
    assert client.get(f"{CENTER}/analytics", {"date": (today - timedelta(days=1)).isoformat()}).status_code == 400


def test_transactions_are_counted_by_progress(staff: User, settings: Settings) -> None:
    settings.MARKET_ALWAYS_OPEN = True
    make_company("SBUX")
    make_merchant()
    customer = make_user()
    for merchant in ("STARBUCKS", "CORNER CAFE"):
        _arrive(customer, merchant)
    process_pending()
    _arrive(customer, "STARBUCKS")
    data = api_client(staff).get(f"{CENTER}/transaction-stats").json()["data"]
    assert data["stats"] == {"pending": 1, "needs_review": 1, "mapped": 0, "invested": 1, "total": 3}
    assert (data["queue"]["size"], len(data["queue"]["transactions"]), len(data["recent_mapped"])) == (2, 2, 1)
    stats = api_client(staff).get(f"{CENTER}/processing-stats").json()
    assert (stats["data"]["review_queue"], stats["stats"]["mapping_rate"]) == (1, 33.33)
    events = api_client(staff).get(f"{DATA}/event-stats").json()
    assert (events["total_events"], events["events_processed"], events["success_rate"]) == (3, 2, 100.0)


def _arrive(customer: User, merchant: str) -> Transaction:
    """Create a purchase that is counted as those of the API are."""
    from transactions.services.ingest import create_transaction

    made = create_transaction(user=customer, amount=Decimal("4.50"), merchant=merchant)
    return Transaction.objects.get(pk=made.transaction_id)


# --- Actions ----------------------------------------------------------------------------------------------------
def test_the_switch_stops_and_starts_the_schedule(staff: User) -> None:
    client = api_client(staff)
    make_merchant("STARBUCKS", None, "proposed", source="ingest")
    stopped = client.post(f"{CENTER}/stop-processing").json()
    assert (stopped["status"], stopped["data"]["is_running"], is_queue_enabled()) == ("stopped", False, False)
    assert process_llm_queue()["seen"] == 0
    assert client.get(f"{CENTER}/automation/batch").json()["data"]["enabled"] is False
    started = client.post(f"{CENTER}/start-processing").json()
    assert (started["status"], is_queue_enabled()) == ("started", True)
    assert BackgroundTask.objects.get(pk=started["data"]["task_id"]).name == "run_llm_queue"
    assert process_llm_queue()["seen"] == 1


@pytest.mark.parametrize("name", ["process-batch", "process-pending-transactions"])
def test_processing_on_demand_is_a_task_with_the_counts(staff: User, name: str, settings: Settings) -> None:
    settings.MARKET_ALWAYS_OPEN = True
    make_company("SBUX")
    make_merchant()
    make_transaction(make_user())
    reply = api_client(staff).post(f"{CENTER}/{name}")
    assert (reply.status_code, reply.json()["status"]) == (202, "queued")
    assert set(reply.json()["data"]) == {"processed", "mapped", "queued", "review", "errors"}
    again = api_client(staff).post(f"{CENTER}/{name}").json()
    assert again["task_id"] == reply.json()["task_id"]  # it is still queued: the same task
    process_backlog(again["task_id"])
    result = BackgroundTask.objects.get(pk=again["task_id"]).result
    assert (result["processed"], result["mapped"], result["review"]) == (1, 1, 0)


def test_the_cache_can_be_cleared(staff: User) -> None:
    client = api_client(staff)
    client.get(f"{CENTER}/automation/realtime")
    TransactionDelta.objects.create(
        day=timezone.now().date(), status="pending", rows=7, amount=7, round_up=0, fee=0, investable=0, writes=7
    )  # without invalidation
    assert client.get(f"{CENTER}/automation/realtime").json()["data"]["processingQueue"] == 0
    cleared = client.post(f"{CENTER}/clear-cache").json()
    assert "llm:dashboard:{user_id}" in cleared["data"]["families"]
    assert client.get(f"{CENTER}/automation/realtime").json()["data"]["processingQueue"] == 7


def test_rebuilding_reports_what_it_did(staff: User) -> None:
    reply = api_client(staff).post(f"{CENTER}/rebuild-indexes")
    assert reply.status_code == 202
    rebuild_indexes(reply.json()["task_id"])
    task = BackgroundTask.objects.get(pk=reply.json()["task_id"])
    assert (task.status, task.result["reindexed"], task.result["analyzed"][0]) == ("completed", [], "merchants")


def test_only_exact_duplicates_of_uploaded_rows_are_removed_and_the_oldest_remains(staff: User) -> None:
    same = {"source": "bulk", "status": "approved", "admin_approved": True, "confidence": Decimal("0.9")}
    old = log("A SHOP", "SBUX", created_at=timezone.now() - timedelta(hours=1), **same)
    doubles = [log("A SHOP", "SBUX", **same) for _ in range(3)]
    kept = [
        log("A SHOP", "AAPL", **same),
        log("A SHOP", "SBUX", **same | {"category": "Other"}),
        log("A SHOP", "SBUX", **same | {"status": "rejected", "admin_approved": False}),
        log("A SHOP", "SBUX", source="user"),
        log("A SHOP", "SBUX", source="user"),
        log("B SHOP", "SBUX", **same),
    ]
    reply = api_client(staff).post("/api/admin/llm-mappings/remove-duplicates")
    body = reply.json()
    assert (reply.status_code, body["data"]["total_mappings"], body["data"]["duplicates_removed"]) == (202, 10, None)
    remove_duplicates(body["task_id"])
    result = BackgroundTask.objects.get(pk=body["task_id"]).result
    assert result == {"duplicates_removed": 3, "total_mappings": 7, "unique_merchants": 2}
    left = set(LlmMapping.objects.values_list("pk", flat=True))
    assert left == {old.pk, *(row.pk for row in kept)}
    assert not left & {row.pk for row in doubles}
    assert api_client(staff).get(f"{CENTER}/analytics").json()["data"]["totalMappings"] == 7


# --- LLM data ---------------------------------------------------------------------------------------------------
def test_the_search_finds_merchants_and_companies(staff: User) -> None:
    make_company("SBUX", name="Starbucks Corporation")
    make_merchant("STARBUCKS RESERVE", "SBUX", company_name="Starbucks Corporation")
    client = api_client(staff)
    body = client.post(f"{DATA}/search", {"query": "STARBUCKS"}, format="json").json()
    assert body["total"] == len(body["passages"]) > 2
    assert {passage["source"] for passage in body["passages"]} == {"directory", "catalogue", "companies"}
    for passage in body["passages"]:
        assert_schema(
            passage,
            {
                "id": TEXT,
                "content": TEXT,
                "score": MAYBE,
                "source": TEXT,
                "metadata": {"category": TEXT, "confidence": MAYBE},
            },
        )
    assert client.post(f"{DATA}/search", {"query": ""}, format="json").status_code == 400
    assert client.post(f"{DATA}/search", {"query": "%_\\"}, format="json").status_code == 200


@pytest.mark.parametrize(
    ("name", "code"),
    [("initialize-system", 200), ("refresh-features", 202), ("rebuild-cache", 200), ("configure-features", 200)],
)
def test_actions_of_the_data_page_report_what_they_do(staff: User, name: str, code: int) -> None:
    reply = api_client(staff).post(f"{DATA}/{name}", {"anything": 1}, format="json")
    body = reply.json()
    assert (reply.status_code, body["success"]) == (code, True)
    assert {"success", "message", "data"} <= set(body)


# --- All transactions -----------------------------------------------------------------------------------
ROW = {
    "id": NUMBER,
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
    "booking_status": TEXT,
    "ticker": MAYBE_TEXT,
    "shares": MAYBE,
    "price_per_share": MAYBE,
    "stock_price": MAYBE,
    "type": TEXT,
    "failure_reason": TEXT,
    "related_id": MAYBE,
    "user_id": NUMBER,
    "userId": NUMBER,
    "user_name": TEXT,
    "user_email": TEXT,
    "user_role": TEXT,
    "account_type": TEXT,
    "dashboard": TEXT,
    "roundUp": NUMBER,
    "stockPrice": MAYBE,
}
PAGINATION = {
    "page": NUMBER,
    "limit": NUMBER,
    "total": NUMBER,
    "total_pages": NUMBER,
    "totalPages": NUMBER,
    "has_next": FLAG,
    "has_prev": FLAG,
    "total_is_capped": FLAG,
}
STATS = {
    "totalTransactions": NUMBER,
    "totalRoundUps": NUMBER,
    "availableToInvest": NUMBER,
    "totalInvested": NUMBER,
    "userTransactions": MAYBE,
    "familyTransactions": MAYBE,
    "businessTransactions": MAYBE,
}


def test_all_transactions_are_found_by_page_filter_and_search(staff: User) -> None:
    ann = make_user("ann@example.com", name="Ann")
    firm = make_user("firm@example.com", account_type="business")
    for customer, merchant in [(ann, "STARBUCKS"), (ann, "TARGET 100%"), (firm, "SHELL"), (firm, "SHELL 2")]:
        _arrive(customer, merchant)
    client, path = api_client(staff), "/api/admin/transactions"
    body = client.get(path).json()
    assert_schema(
        body, {"success": FLAG, "transactions": LIST, "total": NUMBER, "pagination": PAGINATION, "stats": STATS}
    )
    assert_schema(body["transactions"][0], ROW)
    assert [row["merchant"] for row in body["transactions"]] == ["SHELL 2", "SHELL", "TARGET 100%", "STARBUCKS"]
    assert body["stats"]["totalTransactions"] == 4
    assert (body["stats"]["userTransactions"], body["stats"]["businessTransactions"]) == (2, 2)

    def found(**query: Any) -> list[str]:
        reply = client.get(path, query)
        assert reply.status_code == 200, reply.json()
        return [row["merchant"] for row in reply.json()["transactions"]]

    assert found(page=2, per_page=3) == ["STARBUCKS"]
    assert found(search="shell") == ["SHELL 2", "SHELL"]
    assert found(search="100%") == ["TARGET 100%"]
    assert found(search="ANN@example.com") == ["TARGET 100%", "STARBUCKS"]
    assert found(search="nobody@example.com") == []
    assert found(dashboard="business", status="pending", dateFilter="today") == ["SHELL 2", "SHELL"]
    assert found(dashboard="user", dateFilter="last_30_days") == ["TARGET 100%", "STARBUCKS"]
    assert found(status="completed") == []
    assert found(dateFilter="2001-01-01") == []
    for bad in (
        {"page": 0},
        {"page": "x"},
        {"page": 101},
        {"per_page": 0},
        {"limit": "x", "per_page": ""},
        {"status": "odd"},
        {"dashboard": "odd"},
        {"dateFilter": "someday"},
        {"search": "\0"},
    ):
        assert client.get(path, bad).status_code == 400, bad


def test_a_page_of_transactions_takes_three_queries(staff: User) -> None:
    customer = make_user()
    client = api_client(staff)
    client.get("/api/admin/transactions")  # the totals are cached
    costs = []
    for _ in range(2):
        _arrive(customer, "STARBUCKS")
        with CaptureQueriesContext(connection) as captured:
            client.get("/api/admin/transactions")
        costs.append(len(captured))
    assert costs[0] == costs[1] <= 4  # token, no permissions for a superuser, the page


# --- Roles ------------------------------------------------------------------------------------------------------
READS = {
    "reviewer": {f"{CENTER}/dashboard", f"{CENTER}/queue", f"{CENTER}/processing-stats", "/api/admin/transactions"},
    "finance": {"/api/admin/transactions", f"{CENTER}/processing-stats"},
    "operator": {"/api/admin/transactions", f"{CENTER}/processing-stats"},
    "customer": set(),
}


@pytest.mark.parametrize("role", READS)
def test_each_role_sees_its_own_endpoints(role: str) -> None:
    user = make_user(is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client = api_client(user)
    for path in READS["reviewer"]:
        assert client.get(path).status_code == (200 if path in READS[role] else 403), path
    for action in ("start-processing", "clear-cache", "rebuild-indexes"):
        assert client.post(f"{CENTER}/{action}").status_code == (
            403 if role != "operator" else 200 + 2 * (action == "rebuild-indexes")
        )


def test_reading_writes_nothing(staff: User) -> None:
    make_transaction(make_user(), ticker="SBUX")
    for path in SCHEMAS:
        api_client(staff).get(path)
    assert Transaction.objects.get().status == "pending"
    assert Merchant.objects.count() == 0
