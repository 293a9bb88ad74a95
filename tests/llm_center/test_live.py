"""The queue's figures are pushed to the page as they change."""

import asyncio
import json

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.core.asgi import get_asgi_application
from django.core.cache import cache
from django.db import connections
from django.urls import reverse

from kamioi_site import streaming
from llm_center.services.review import LIVE_KEY, queue_totals_lately
from tests.factories import make_merchant, make_staff, make_user
from transactions.models import Merchant

pytestmark = pytest.mark.django_db


def test_without_asgi_one_event_and_the_browser_asks_again(client):
    client.force_login(make_staff())
    make_merchant("MYSTERY", None, "proposed", waiting_count=1234, waiting_amount="99.50")
    reply = client.get(reverse("admin:llm_center_reviewmerchant_live"))
    assert reply["Content-Type"] == "text/event-stream"
    event = reply.getvalue().decode()
    assert event.startswith("retry: ")
    assert json.loads(event.split("data: ")[1]) == {"merchants": "1", "transactions": "1,234", "amount": "99.50"}


def test_counted_once_for_everybody(django_assert_num_queries):
    make_merchant("MYSTERY", None, "proposed")
    cache.delete(LIVE_KEY)
    with django_assert_num_queries(1):
        assert queue_totals_lately()[0] == 1
        assert queue_totals_lately()[0] == 1


def test_not_for_everybody(client):
    client.force_login(make_user("clerk3@kamioi.test", is_staff=True))
    assert client.get(reverse("admin:llm_center_reviewmerchant_live")).status_code == 403


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_under_asgi_a_change_arrives_while_the_page_is_open(client, monkeypatch):
    monkeypatch.setattr(streaming, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr("llm_center.services.review.LIVE_SECONDS", 0.01)
    client.force_login(make_staff())
    cookie = f"sessionid={client.cookies['sessionid'].value}"
    scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "query_string": b"",
        "path": reverse("admin:llm_center_reviewmerchant_live"), "headers": [(b"cookie", cookie.encode()), (b"host", b"testserver")],
        "client": ("127.0.0.1", 1), "server": ("testserver", 80), "asgi": {"version": "3.0"},
    }  # fmt: skip

    async def listen() -> list[str]:
        talk = ApplicationCommunicator(get_asgi_application(), scope)
        await talk.send_input({"type": "http.request", "body": b"", "more_body": False})
        assert (await talk.receive_output(10))["status"] == 200
        heard = [(await talk.receive_output(10))["body"].decode()]
        await sync_to_async(Merchant.objects.create)(merchant_key="NEW ONE", display_name="NEW ONE", waiting_count=5)
        heard.append((await talk.receive_output(10))["body"].decode())
        await talk.send_input({"type": "http.disconnect"})
        await talk.wait(5)
        await sync_to_async(connections.close_all)()
        return heard

    first, second = asyncio.run(listen())
    assert '"merchants": "0"' in first
    assert '"merchants": "1", "transactions": "5"' in second
