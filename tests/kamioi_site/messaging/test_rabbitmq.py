"""RabbitMQ as the broker by its URL alone: Debian's server, a real worker, the whole way of an import."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from django.conf import settings
from django.utils import timezone
from kombu import Queue

from kamioi_site.messaging.broker import BROKER_ERRORS, broker_settings, message_priority
from tests.factories import make_company, make_merchant, make_user
from tests.servers import RabbitMQ, running, short_directory
from tests.workers import celery_worker, process_environment, wait_until
from transactions.models import BackgroundTask, Transaction
from transactions.services.ledger_verification import find_ledger_problems

ROOT = Path(__file__).resolve().parents[3]
QUEUES = ("ai", "transactions", "analytics", "notifications", "bulk")


def test_settings_follow_the_url():
    redis, rabbit, quorum = (
        broker_settings("redis://h/0", queues=QUEUES),
        broker_settings("amqps://u:p@h//", queues=QUEUES),
        broker_settings("amqp://h//", queues=QUEUES, quorum=True),
    )
    assert [queue.name for queue in rabbit.queues] == list(QUEUES)
    assert redis.queues[0].queue_arguments is None
    assert rabbit.queues[0].queue_arguments == {"x-max-priority": 9}
    assert quorum.queues[0].queue_arguments == {"x-queue-type": "quorum"}
    assert "visibility_timeout" in redis.transport_options
    assert "visibility_timeout" not in rabbit.transport_options
    assert [broker.priority(0) for broker in (redis, rabbit)] == [0, 9]


def test_a_priority_is_turned_around_where_the_highest_number_goes_first(settings):
    settings.BROKER_URL = "redis://h/0"
    assert [message_priority(level) for level in (0, 3, 9)] == [0, 3, 9]
    settings.BROKER_URL = "amqp://h//"
    assert [message_priority(level) for level in (0, 3, 9)] == [9, 6, 0]


@pytest.fixture(scope="module")
def rabbit() -> Iterator[RabbitMQ]:
    """A node of the test's own."""
    if not RabbitMQ.programs.exists():
        pytest.skip("rabbitmq-server is not installed; as root: make servers")
    place = short_directory("rabbit")
    server = RabbitMQ(place / "node")
    try:
        with running(server):
            server.start()
            yield server
    finally:
        server.stop()
        shutil.rmtree(place, ignore_errors=True)


def _sender(url: str, **options: Any) -> Celery:
    broker = broker_settings(url, queues=QUEUES, **options)
    app = Celery("sender", broker=broker.url, set_as_current=False)
    app.conf.update(
        broker_transport_options=broker.transport_options,
        task_queues=broker.queues,
        task_default_queue="transactions",
        task_routes=settings.CELERY_TASK_ROUTES,
        task_default_priority=broker.priority(6),
    )
    return app


_UPLOAD = """
import django; django.setup()
from django.test import Client
from django.core.files.uploadedfile import SimpleUploadedFile
from transactions.models import User
client = Client()
client.force_login(User.objects.get())
rows = "".join(f"2026-11-{1 + n % 20:02d},STARBUCKS #{n},{4 + n % 5}.50\\n" for n in range(300))
file = SimpleUploadedFile("a.csv", b"date,merchant,debit\\n" + rows.encode())
reply = client.post("/api/transactions/bulk", {"file": file})
print(reply.status_code, reply.json())
"""


def _shell(program: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=process_environment(environment),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_an_uploaded_statement_is_imported_and_processed_and_a_lost_broker_costs_no_request(rabbit):
    user, now = make_user(), timezone.now()
    make_company("SBUX", "95.00")
    make_merchant("STARBUCKS", "SBUX")
    environment = {"CELERY_BROKER_URL": rabbit.url}
    sender = _sender(rabbit.url)
    with celery_worker(concurrency=1, environment=environment, app=sender):
        assert _shell(_UPLOAD, environment).startswith("202 ")
        wait_until("300 purchases are booked", lambda: Transaction.objects.filter(status="completed").count() == 300)
        assert BackgroundTask.objects.get().status == "completed"

        # A countdown waits in the worker, unacknowledged, and is kept.
        Transaction.objects.update_or_create(
            user_id=user.pk, merchant="STARBUCKS", merchant_key="STARBUCKS", amount="4.50", total_debit="4.50", date=now
        )
        sender.send_task("sweep_stuck", countdown=1)
        wait_until("301 purchases", lambda: Transaction.objects.filter(status="completed").count() == 301)
        lengths = (
            "from kamioi_site.observability.queues import queue_statuses; "
            "print({queue.name: queue.waiting for queue in queue_statuses()[0]})"
        )
        output = _shell(f"import django; django.setup(); {lengths}", environment)
        assert eval(output) == dict.fromkeys(QUEUES, 0)
        inspected = sender.control.inspect(timeout=5).active_queues()
        assert inspected is not None
        (queues,) = inspected.values()
        assert {queue["name"] for queue in queues} == set(QUEUES)
    assert list(find_ledger_problems()) == []
    sender.close()

    rabbit.kill()
    assert _shell(_UPLOAD.replace("range(300)", "range(301)"), environment).startswith(
        "202 "
    )  # the sweep sends it later
    assert BackgroundTask.objects.filter(status="queued").count() == 1


def test_a_message_of_a_customer_overtakes_bulk_work(rabbit):
    if rabbit.process is None:
        rabbit.start()
    sender = _sender(rabbit.url)
    sender.conf.task_queues = [
        Queue("order", queue_arguments=broker_settings(rabbit.url, queues=["x"]).queues[0].queue_arguments)
    ]
    broker = broker_settings(rabbit.url, queues=[])
    with sender.connection_for_write() as connection:
        queue = sender.conf.task_queues[0](connection.default_channel)
        queue.declare()
        for level in (9, 6, 0, 3):
            sender.send_task("t", args=[level], queue=queue, priority=broker.priority(level), connection=connection)
        wait_until("four messages wait", lambda: queue.queue_declare(passive=True).message_count == 4)
        found = []
        while (message := queue.get(no_ack=True)) is not None:
            found.append(message.payload[0][0])
        queue.delete()
    assert found == [0, 3, 6, 9]
    sender.close()


def test_replicated_queues_work_as_well(rabbit):
    if rabbit.process is None:
        rabbit.start()
    sender = _sender(rabbit.url, quorum=True)
    with sender.connection_for_write() as connection:
        queue = Queue(
            "replicated",
            queue_arguments=broker_settings(rabbit.url, queues=["x"], quorum=True).queues[0].queue_arguments,
        )
        bound = queue(connection.default_channel)
        bound.declare()
        sender.send_task("t", args=[1], queue=queue, connection=connection)
        wait_until("it is there", lambda: bound.get(no_ack=True) is not None)
        bound.delete()
    sender.close()


@pytest.mark.parametrize("url", ["amqp://guest:guest@127.0.0.1:1//", "redis://127.0.0.1:1/0"])
def test_a_broker_that_is_away_is_an_error_that_callers_know_and_that_comes_at_once(url):
    sender = _sender(url)
    started = time.monotonic()
    with pytest.raises(BROKER_ERRORS):
        sender.send_task("t", retry=False)
    assert time.monotonic() - started < 4  # Kombu's own patience is six seconds
    sender.close()
