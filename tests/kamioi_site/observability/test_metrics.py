"""`/metrics`: permissions, counters, and collectors that fail independently."""

import asyncio
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.test import AsyncClient, Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from analytics.models import CustomerCount, TransactionDay
from kamioi_site.observability import metrics
from kamioi_site.observability.metrics import clear_process_files, collectors, database
from kamioi_site.observability.metrics.collectors import BUDGET_SECONDS, Metrics, MetricsCollector, MetricsDatabase
from llm_center.models import LlmCall
from tests.factories import make_company, make_merchant, make_transaction, make_user
from transactions.models import BackgroundTask, Setting
from transactions.services.ledger_verification import LEDGER_CHECK, request_ledger_check, run_ledger_check
from transactions.services.processing import process_pending

ROOT = Path(__file__).resolve().parent.parent.parent.parent
TOKEN = "a-token-for-scrapes"


@pytest.fixture(autouse=True)
def _expire_metrics() -> None:
    """Start with no value read and no request counted; other tests send requests to every route."""
    collectors.metrics_collector.expire()
    metrics.HTTP_REQUESTS.clear()
    metrics.HTTP_SECONDS.clear()


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return every sample of an exposition."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text: str, name: str, **labels: str) -> float | None:
    return samples(text).get((name, frozenset(labels.items())))


# --- Permissions ------------------------------------------------------------------------------------------------------
@pytest.mark.django_db
@pytest.mark.parametrize(
    ("headers", "address", "status"),
    [
        ({}, "127.0.0.1", 200),
        ({}, "::1", 200),
        ({}, "::ffff:127.0.0.1", 200),
        ({}, "10.0.0.9", 404),
        ({}, "", 404),
        # Through a proxy on this machine the peer is always the proxy.
        ({"X-Forwarded-For": "203.0.113.9"}, "127.0.0.1", 404),
        ({"X-Real-IP": "203.0.113.9"}, "127.0.0.1", 404),
        ({"Forwarded": "for=203.0.113.9"}, "127.0.0.1", 404),
        ({"Authorization": "Bearer wrong"}, "10.0.0.9", 403),
        ({"Authorization": f"Bearer {TOKEN}"}, "10.0.0.9", 200),
        ({"Authorization": f"Bearer {TOKEN}", "X-Forwarded-For": "203.0.113.9"}, "10.0.0.9", 200),
        ({"Authorization": "Bearer "}, "10.0.0.9", 403),
    ],
)
def test_metrics_need_the_token_or_an_allowed_network(
    client: Client, settings: Settings, headers: dict[str, str], address: str, status: int
) -> None:
    settings.METRICS_TOKEN = TOKEN
    reply = client.get("/metrics", headers=headers, REMOTE_ADDR=address)
    assert reply.status_code == status
    if status != 200:
        assert b"kamioi" not in reply.content


def test_an_empty_token_is_not_accepted_if_none_is_set(client: Client) -> None:
    assert client.get("/metrics", headers={"Authorization": "Bearer "}, REMOTE_ADDR="10.0.0.9").status_code == 403


def test_other_methods_are_not_allowed(client: Client) -> None:
    assert client.post("/metrics").status_code == 405


# --- Counters ---------------------------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_requests_are_counted_by_their_url_pattern(client: Client) -> None:
    before = client.get("/metrics").content.decode()
    client.get("/api/tasks/0b0f1b9c-6a52-4f6c-9d6e-000000000001")
    client.get("/api/tasks/0b0f1b9c-6a52-4f6c-9d6e-000000000002")
    client.get("/no/such/page")
    client.generic("BREW", "/healthz")
    after = client.get("/metrics").content.decode()

    def more(**labels: str) -> float:
        name = "kamioi_http_requests_total"
        return (value(after, name, **labels) or 0) - (value(before, name, **labels) or 0)

    assert more(method="GET", route="api/tasks/<uuid:task_id>", status="401") == 2
    assert more(method="GET", route="unmatched", status="404") == 1
    assert more(method="other", route="healthz", status="405") == 1
    assert "0b0f1b9c-6a52" not in after
    buckets = value(
        after, "kamioi_http_request_seconds_bucket", method="GET", route="api/tasks/<uuid:task_id>", le="0.2"
    )
    assert buckets is not None  # the objective has its own bucket


@pytest.mark.django_db
def test_requests_are_counted_under_asgi(client: Client) -> None:
    before = client.get("/metrics").content.decode()
    asyncio.run(AsyncClient().get("/healthz"))
    after = client.get("/metrics").content.decode()
    labels = {"method": "GET", "route": "healthz", "status": "200"}
    name = "kamioi_http_requests_total"
    assert (value(after, name, **labels) or 0) - (value(before, name, **labels) or 0) == 1


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_every_collector_works_and_counts_waiting_work(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_limits", {})  # an earlier test may have used a replica
    connection.close()  # the next connection sets the limit
    user = make_user()
    make_company("SBUX", "95.00")
    make_merchant("STARBUCKS", "SBUX")
    make_transaction(user, "STARBUCKS")
    make_transaction(user, "NOBODY KNOWS")
    pending = client.get("/metrics").content.decode()
    assert value(pending, "kamioi_transactions_waiting", status="pending") == 2
    before = value(pending, "kamioi_transactions_processed_total", status="completed") or 0
    process_pending()
    request_ledger_check(actor=user)
    run_ledger_check(task_id=BackgroundTask.objects.get(name=LEDGER_CHECK).pk)
    collectors.metrics_collector.expire()
    text = client.get("/metrics").content.decode()
    down = [labels for (name, labels), up in samples(text).items() if name == "kamioi_collector_up" and not up]
    assert down == []
    assert (value(text, "kamioi_transactions_processed_total", status="completed") or 0) - before == 1
    assert value(text, "kamioi_transactions_waiting", status="pending") == 0
    assert value(text, "kamioi_review_merchants") == 1
    assert value(text, "kamioi_review_transactions") == 1
    assert value(text, "kamioi_ledger_check_differences") == 0
    assert value(text, "kamioi_partition_headroom_months", table="transactions") == 3
    assert value(text, "kamioi_queue_messages", queue="bulk", priority="9") == 0
    assert (value(text, "kamioi_pg_connections_limit") or 0) > 0
    assert (value(text, "kamioi_db_pool_connections_limit") or 0) == 60
    assert value(text, "kamioi_schedule_last_sent_seconds", task="sweep_stuck") is None  # never sent here


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
@pytest.mark.parametrize(("amount", "infrastructure"), [("3043.75", 3000.0), ("0", None), ("a lot", None)])
def test_cost_of_the_last_thirty_days_and_its_users(client: Client, amount: str, infrastructure: float | None) -> None:
    today = timezone.now()
    Setting.objects.update_or_create(key="infrastructure_monthly_cost", defaults={"value": amount})
    for days, cost in ((0, "1.5"), (2, "2"), (40, "100")):
        LlmCall.objects.create(started_at=today - timedelta(days=days), provider="openai", merchants=1, cost=cost)
    for days, status, rows in ((1, "completed", 7), (29, "completed", 3), (31, "completed", 500), (1, "pending", 90)):
        TransactionDay.objects.create(
            day=(today - timedelta(days=days)).date(),
            status=status,
            rows=rows,
            amount=0,
            round_up=0,
            fee=0,
            investable=0,
        )
    first = today.date().replace(day=1)
    before = (first - timedelta(days=1)).replace(day=1)
    for month, kind, users in ((first, "individual", 2), (before, "individual", 4), (before, "family", 1)):
        CustomerCount.objects.create(month=month, account_type=kind, users=users, transactions=9)
    text = client.get("/metrics").content.decode()
    assert value(text, "kamioi_collector_up", group="cost") == 1
    assert value(text, "kamioi_cost_recent_dollars", part="models") == 3.5
    assert value(text, "kamioi_llm_day_cost_dollars") == 1.5
    assert value(text, "kamioi_cost_recent_dollars", part="infrastructure") == infrastructure
    assert value(text, "kamioi_cost_recent_transactions") == 10
    assert value(text, "kamioi_cost_active_people") == 5


# --- Collectors fail independently ------------------------------------------------------------------------------------
def _collected(collector: MetricsCollector) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for metric in collector.collect()
        for sample in metric.samples
    }


def _up(group: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return "kamioi_collector_up", frozenset({("group", group)})


@pytest.mark.django_db
def test_a_collector_that_fails_or_hangs_does_not_affect_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collectors, "STATEMENT_SECONDS", 0.1)
    collector = MetricsCollector()

    def broken(found: Metrics, database: MetricsDatabase) -> None:
        found.gauge("half", "Half an answer.", 1)
        database.rows("SELECT no_such_column")

    def slow(found: Metrics, database: MetricsDatabase) -> None:
        database.rows("SELECT pg_sleep(30)")

    def writes(found: Metrics, database: MetricsDatabase) -> None:
        database.rows("CREATE TABLE mischief (id int)")

    def fine(found: Metrics, database: MetricsDatabase) -> None:
        found.gauge("whole", "A whole answer.", database.rows("SELECT 7")[0][0])

    for name, group in {"broken": broken, "slow": slow, "writes": writes, "fine": fine}.items():
        collector.register(name, group, ttl=60)
    found = _collected(collector)
    assert [found[_up(name)] for name in ("broken", "slow", "writes", "fine")] == [0, 0, 0, 1]
    assert found["whole", frozenset()] == 7
    assert ("half", frozenset()) not in found


def test_results_are_reused_and_the_time_budget_is_enforced(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    collector = MetricsCollector()
    collector.register("kept", lambda found, _: asked.append(1), ttl=60)
    _collected(collector)
    _collected(collector)
    assert asked == [1]
    monkeypatch.setattr(collectors, "BUDGET_SECONDS", -1)
    collector.expire()
    assert _collected(collector)[_up("kept")] == 0
    assert asked == [1]
    monkeypatch.setattr(collectors, "BUDGET_SECONDS", BUDGET_SECONDS)
    assert _collected(collector)[_up("kept")] == 1


@pytest.mark.django_db
def test_an_unavailable_database_is_reported_without_an_error(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "NAME", "no_such_database")
    text = client.get("/metrics").content.decode()
    assert value(text, "kamioi_collector_up", group="postgres") == 0
    assert value(text, "kamioi_collector_up", group="queues") == 1


# --- Processes that share a directory ---------------------------------------------------------------------------------
_CHILD = """
import os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kamioi_site.settings.test")
from kamioi_site.observability import metrics
metrics.TASKS.labels("t", "bulk", "success").inc(2)
metrics.TASK_SECONDS.labels("t").observe(0.3)
metrics.TASKS_RUNNING.labels("pool").inc()
if len(sys.argv) > 1:
    print(metrics.exposition("", with_collectors=False)[0].decode())
os._exit(0)
"""


_FORKS = """
import fcntl, os, time
from pathlib import Path
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kamioi_site.settings.test")
from kamioi_site.observability import metrics
with metrics._locked(Path({directory!r})):
    child = os.fork()
    if not child:
        time.sleep(60)
        os._exit(0)
with open({directory!r} + "/lock", "a") as handle:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.kill(child, 9)
"""


def test_counters_of_dead_processes_are_merged_and_their_gauges_are_dropped(tmp_path: Path) -> None:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}

    def run(*arguments: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", _CHILD, *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    run()
    (tmp_path / "counter_999999.db").write_bytes(b"\0\1")  # killed before it wrote anything
    for scrape in (2, 3):
        text = run("scrape")
        assert value(text, "kamioi_tasks_total", task="t", queue="bulk", outcome="success") == 2 * scrape
        assert value(text, "kamioi_task_seconds_count", task="t") == scrape
        assert value(text, "kamioi_task_seconds_bucket", task="t", le="0.5") == scrape
        assert value(text, "kamioi_tasks_running", pool="pool") == 1
    dead = sorted(path.name for path in tmp_path.glob("*_0.db"))
    assert dead == ["counter_0.db", "histogram_0.db"]
    assert len(list(tmp_path.glob("counter_*.db"))) == 2  # the dead together, and the one that scraped last
    # A child forked in the middle of a scrape does not keep the next one waiting.
    program = _FORKS.format(directory=str(tmp_path))
    assert (
        subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=False, timeout=60).returncode
        == 0
    )
    clear_process_files(tmp_path)
    assert list(tmp_path.glob("*.db")) == []
