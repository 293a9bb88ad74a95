"""The log and metrics of a real worker through imports, failures, a provider error and a kill.

The request id leads from a request to its tasks, no line contains a secret, and every end of a task is counted, even
that of a killed process.
"""

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from celery import current_app
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, transaction

from tests.factories import api_client, make_company, make_merchant, make_transaction, make_user
from tests.kamioi_site.observability.test_metrics import value
from tests.workers import celery_worker, wait_until
from transactions.models import Transaction
from transactions.services.processing.buckets import BUCKET_LOCK

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)
KEYS = {
    "PRICE_API_KEY": "price-key-73xq9",
    "LLM_API_KEY": "llm-key-55ab1c",
    "SECRET_KEY": "a-key-of-this-test-only-" + "k" * 30,
}
STATEMENT = (
    "date,merchant,debit,account number\n"
    "2026-11-03,STARBUCKS,4.50,998877665544\n"
    "not a date 998877665544,jane.doe@example.com 4111111111111234,4.50,998877665544\n"
)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as reply:
        return str(reply.read().decode())


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[tuple[psutil.Process, int]]:
    port = _free_port()
    environment = KEYS | {
        "KAMIOI_WORKER_METRICS_PORT": str(port),
        "TMPDIR": str(tmp_path),
        "LOG_FORMAT": "json",
        "PRICE_PROVIDER": "http",
        "PRICE_API_URL": f"http://127.0.0.1:{_free_port()}/quotes?apikey={KEYS['PRICE_API_KEY']}",
        "LLM_PROVIDER": "openai",
        "LLM_BASE_URL": f"http://127.0.0.1:{_free_port()}/v1",
        "LLM_MODEL": "m",
    }
    with celery_worker(concurrency=1, environment=environment) as process:
        yield process, port


def test_work_is_followed_counted_and_never_shows_a_secret(worker: tuple[psutil.Process, int]) -> None:
    process, port = worker
    user = make_user("jane.doe@example.com", account_number="I7654321")
    make_company("SBUX", "95.00")
    make_merchant("STARBUCKS", "SBUX")

    def ends(task: str, queue: str, outcome: str) -> float:
        return value(_scrape(port), "kamioi_tasks_total", task=task, queue=queue, outcome=outcome) or 0

    # A request whose work goes through two tasks: the import, and the processing that it wakes.
    reply = api_client(user).post(
        "/api/transactions/bulk",
        {"file": SimpleUploadedFile("jane.doe@example.com.csv", STATEMENT.encode())},
        format="multipart",
        headers={"X-Request-ID": "request-of-this-test-1"},
    )
    assert reply.status_code == 202, reply.content
    wait_until("the purchase to be bought", lambda: Transaction.objects.filter(status="completed").exists())
    # A task that fails, one that is retried inside, one that no provider answers.
    current_app.send_task("ingest_statement", args=["jane.doe@example.com token=abc123secret"], queue="bulk")
    current_app.send_task("refresh_prices", queue="analytics")
    make_merchant("WHO KNOWS", None, "proposed", source="ingest")
    current_app.send_task("process_llm_queue", queue="ai")
    wait_until("the failure to be counted", lambda: ends("ingest_statement", "bulk", "failure") == 1)
    wait_until("the queue to be asked", lambda: ends("process_llm_queue", "ai", "success") == 1)

    # A process is killed under its task: the end is counted, and the task runs again.
    late = make_transaction(user)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [BUCKET_LOCK, user.pk % 64])
        current_app.send_task("process_transaction", args=[late.pk], queue="transactions")
        wait_until("the task to hang", lambda: value(_scrape(port), "kamioi_tasks_running", pool=_pool()) == 1)
        (child,) = process.children()
        child.kill()
        wait_until("the death to be counted", lambda: ends("process_transaction", "transactions", "lost") == 1)
    wait_until("the second run", lambda: ends("process_transaction", "transactions", "success") == 1)
    text = _scrape(port)
    assert value(text, "kamioi_tasks_running", pool=_pool()) == 0
    assert value(text, "kamioi_worker_processes", pool=_pool()) == 1
    assert value(text, "kamioi_tasks_total", task="ingest_statement", queue="bulk", outcome="success") == 1
    assert (value(text, "kamioi_task_wait_seconds_count", queue="bulk") or 0) == 2
    assert (value(text, "kamioi_transactions_processed_total", status="completed") or 0) >= 1

    log = (Path(settings.MEDIA_ROOT) / "worker.log").read_text()
    lines = _json_lines(log)
    followed = {line.get("task") for line in lines if line.get("request_id") == "request-of-this-test-1"}
    assert {"ingest_statement", "process_transactions"} <= followed
    for line in lines:
        if line.get("request_id") == "request-of-this-test-1":
            assert line["user_id"] == user.pk
            assert line["task_id"]
    for secret in (
        *KEYS.values(),
        "jane.doe",
        "example.com",
        "abc123secret",
        "7654321",
        "998877665544",
        "4111111111111234",
    ):
        assert secret not in log
    assert "refresh_prices" in log
    assert "Traceback" in log  # of the task that failed


def _pool() -> str:
    import os

    return f"test{os.getpid()}"


def _json_lines(log: str) -> list[dict[str, Any]]:
    """Celery greets with a banner; everything after it is JSON."""
    lines = [line for line in log.splitlines() if line.startswith("{")]
    return [json.loads(line) for line in lines]


def test_a_workers_port_is_guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    from kamioi_site.observability.metrics.workers import serve_metrics

    monkeypatch.setattr(settings, "METRICS_ALLOWED_NETWORKS", [])
    monkeypatch.setattr(settings, "METRICS_TOKEN", "t0ken")
    server = serve_metrics(host="127.0.0.1", port=0)
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        for path, headers, status in (
            ("/metrics", {}, 404),
            ("/metrics", {"Authorization": "Bearer wrong"}, 404),
            ("/other", {"Authorization": "Bearer t0ken"}, 404),
            ("/metrics", {"Authorization": "Bearer t0ken"}, 200),
        ):
            try:
                with urllib.request.urlopen(
                    urllib.request.Request(address + path, headers=headers), timeout=5
                ) as reply:
                    found = reply.status
            except urllib.error.HTTPError as error:
                found = error.code
                error.close()
            assert found == status
    finally:
        server.shutdown()
        server.server_close()
