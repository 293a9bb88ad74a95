"""Live totals of the review queue (server-sent events)."""

import asyncio
import json
from collections.abc import Callable

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.db import connections
from django.test import Client
from django.urls import reverse

from kamioi_site.asgi import application
from kamioi_site.cache.namespaces import invalidate_cache
from kamioi_site.http.server_sent_events import publish
from llm_center.cache import invalidate_review_queue
from llm_center.models import MappingDecision
from llm_center.services.review.decisions import decide_merchant
from llm_center.services.review.queue import queue_totals_cached
from tests.factories import make_merchant, make_staff, make_transaction, make_user
from transactions.models import BackgroundTask, Merchant
from transactions.services.background_tasks import EVENTS
from transactions.services.processing import process_pending

pytestmark = pytest.mark.django_db


def test_under_wsgi_the_response_is_one_event_and_the_browser_reconnects(client):
    client.force_login(make_staff())
    make_merchant("MYSTERY", None, "proposed", waiting_count=1234, waiting_amount="99.50")
    reply = client.get(reverse("admin:llm_center_reviewmerchant_live"))
    assert reply["Content-Type"] == "text/event-stream"
    event = reply.getvalue().decode()
    assert event.startswith("retry: ")
    assert json.loads(event.split("data: ")[1]) == {"merchants": "1", "transactions": "1,234", "amount": "99.50"}


def test_totals_are_cached(django_assert_num_queries):
    make_merchant("MYSTERY", None, "proposed")
    invalidate_cache("llm:queue")
    with django_assert_num_queries(1):
        assert queue_totals_cached()[0] == 1
        assert queue_totals_cached()[0] == 1


def test_new_merchants_and_decisions_change_the_totals_at_once():
    make_transaction(make_user(), "MYSTERY", "7.25")
    assert queue_totals_cached()[0] == 0
    process_pending()
    assert queue_totals_cached()[:2] == (1, 1)
    decide_merchant(
        merchant_id=Merchant.objects.get(merchant_key="MYSTERY").pk,
        action=MappingDecision.Action.NOT_LISTED,
        actor=make_staff(),
        expected_updated_at=None,
    )
    assert queue_totals_cached()[0] == 0


def test_the_stream_needs_permission(client):
    client.force_login(make_user("clerk3@kamioi.test", is_staff=True))
    assert client.get(reverse("admin:llm_center_reviewmerchant_live")).status_code == 403


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_under_asgi_a_change_arrives_while_the_page_is_open(client):
    client.force_login(make_staff())

    def change() -> None:
        Merchant.objects.create(merchant_key="NEW ONE", display_name="NEW ONE", waiting_count=5)
        invalidate_review_queue()

    first, second = _listen(client, reverse("admin:llm_center_reviewmerchant_live"), change)
    assert '"merchants": "0"' in first
    assert '"merchants": "1", "transactions": "5"' in second


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_the_events_of_a_task_end_with_it(client):
    staff = make_staff()
    client.force_login(staff)
    task = BackgroundTask.objects.create(name="import_mappings", user=staff)

    def change() -> None:
        BackgroundTask.objects.filter(pk=task.pk).update(status="completed", progress=7, total=7)
        publish(EVENTS, str(task.pk))

    first, second = _listen(client, reverse("api-task-events", args=[task.pk]), change)
    assert '"status": "queued"' in first
    assert '"status": "completed", "progress": 7' in second


def _listen(client: Client, path: str, change: Callable[[], None]) -> tuple[str, str]:
    """Return the first event of the stream and the one that follows the change."""
    cookie = f"sessionid={client.cookies['sessionid'].value}"
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "query_string": b"",
        "path": path,
        "headers": [(b"cookie", cookie.encode()), (b"host", b"testserver"), (b"accept", b"text/event-stream")],
        "client": ("127.0.0.1", 1),
        "server": ("testserver", 80),
        "asgi": {"version": "3.0"},
    }

    async def listen() -> tuple[str, str]:
        communicator = ApplicationCommunicator(application, scope)
        await communicator.send_input({"type": "http.request", "body": b"", "more_body": False})
        assert (await communicator.receive_output(10))["status"] == 200
        first = (await communicator.receive_output(10))["body"].decode()
        await sync_to_async(change)()
        second = (await communicator.receive_output(10))["body"].decode()
        await communicator.send_input({"type": "http.disconnect"})
        await communicator.wait(5)
        await sync_to_async(connections.close_all)()
        return first, second

    return asyncio.run(listen())
