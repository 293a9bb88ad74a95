"""More requests than threads: who waited too long is refused in time, and was not begun."""

import asyncio
import json
import time
import types
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.conf import settings as configured
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.urls import path
from prometheus_client import REGISTRY
from pytest_django import DjangoDbBlocker, Settings

from kamioi_site.http import asgi_handler
from kamioi_site.http.load_shedding import LoadSheddingMiddleware
from kamioi_site.urls import urlpatterns

begun: list[str] = []
answered: list[str] = []


def _slow(request: HttpRequest) -> HttpResponse:
    begun.append(request.path)
    time.sleep(0.6)
    return HttpResponse("done")


urls = types.ModuleType("slow_urls")
urls.urlpatterns = [path("api/slow", _slow), path("slow", _slow), *urlpatterns]  # type: ignore[attr-defined]


async def _ask(application: Any, address: str) -> tuple[int, dict[str, str], bytes]:
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": address,
        "query_string": b"",
        "scheme": "http",
        "headers": [(b"host", b"testserver"), (b"origin", b"http://localhost:3000")],
        "asgi": {"version": "3.0"},
        "client": ("127.0.0.1", 1),
    }
    talk = ApplicationCommunicator(application, scope)
    await talk.send_input({"type": "http.request", "body": b""})
    start = await talk.receive_output(timeout=30)
    body = await talk.receive_output(timeout=30)
    await talk.wait(timeout=30)
    answered.append(address)
    return start["status"], {name.decode().lower(): value.decode() for name, value in start["headers"]}, body["body"]


async def _many(addresses: list[str]) -> list[tuple[int, dict[str, str], bytes]]:
    application = asgi_handler.ThreadedASGIHandler()
    answered.clear()
    try:
        return await asyncio.gather(*(_ask(application, address) for address in addresses))
    finally:
        await sync_to_async(connections.close_all)()


def _shed() -> float:
    return REGISTRY.get_sample_value("kamioi_http_requests_shed_total") or 0.0


def _counted(route: str) -> float:
    labels = {"method": "GET", "route": route, "status": "503"}
    return REGISTRY.get_sample_value("kamioi_http_requests_total", labels) or 0.0


def test_who_waited_too_long_is_refused_and_not_begun(settings: Settings, django_db_blocker: DjangoDbBlocker) -> None:
    settings.ROOT_URLCONF, settings.WEB_WAIT_SECONDS = urls, 0.3
    settings.CORS_ALLOWED_ORIGINS = ["http://localhost:3000"]
    begun.clear()
    before, counted = _shed(), _counted("api/slow")
    threads = configured.WEB_THREADS
    addresses = ["/api/slow"] * threads + ["/api/slow", "/slow", "/healthz"]
    with django_db_blocker.unblock():
        replies = asyncio.run(_many(addresses))
    served, (late, late_page, probe) = replies[:threads], replies[threads:]
    assert {status for status, _, _ in served} == {200}
    assert len(begun) == threads
    status, headers, body = late
    assert (status, headers["retry-after"]) == (503, "5")
    assert json.loads(body) == {
        "success": False,
        "error": "Too much is asked for at the moment. Try again in a few seconds.",
    }
    # A front end of another origin may read it, and it has an id to ask about.
    assert headers["access-control-allow-origin"] == "http://localhost:3000"
    assert headers["x-request-id"]
    assert (late_page[0], late_page[1]["content-type"]) == (503, "text/plain; charset=utf-8")
    # A probe waits behind nobody.
    assert (probe[0], answered[0]) == (200, "/healthz")
    assert (_shed(), _counted("api/slow")) == (before + 2, counted + 1)


def test_nobody_is_refused_when_the_limit_is_off(settings: Settings, django_db_blocker: DjangoDbBlocker) -> None:
    settings.ROOT_URLCONF, settings.WEB_WAIT_SECONDS = urls, 0
    with django_db_blocker.unblock():
        replies = asyncio.run(_many(["/slow"] * (configured.WEB_THREADS + 2)))
    assert {status for status, _, _ in replies} == {200}


@pytest.mark.parametrize("server_says", [True, False])
def test_the_time_a_request_waited_is_part_of_what_is_measured(server_says: bool) -> None:
    request = RequestFactory().get("/")
    if server_says:
        request.scope = {"kamioi.arrived": time.perf_counter() - 3}  # type: ignore[attr-defined]
    waited = time.perf_counter() - asgi_handler.request_arrival_time(request)
    assert (3 <= waited < 60) if server_says else waited < 1


def test_without_a_server_that_says_when_it_arrived_everything_is_answered() -> None:
    assert LoadSheddingMiddleware(lambda request: HttpResponse()).process_request(RequestFactory().get("/")) is None
