"""With more requests than threads, those that waited too long are refused and not started."""

import asyncio
import json
import threading
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

WAIT = 0.3  # seconds
started: list[str] = []
finished: list[str] = []
released = threading.Event()


def _slow(request: HttpRequest) -> HttpResponse:
    started.append(request.path)
    released.wait(20)
    return HttpResponse("done")


urls = types.ModuleType("slow_urls")
urls.urlpatterns = [path("api/slow", _slow), path("slow", _slow), *urlpatterns]  # type: ignore[attr-defined]


async def _get(application: Any, address: str) -> tuple[int, dict[str, str], bytes]:
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
    communicator = ApplicationCommunicator(application, scope)
    await communicator.send_input({"type": "http.request", "body": b""})
    start = await communicator.receive_output(timeout=30)
    body = await communicator.receive_output(timeout=30)
    await communicator.wait(timeout=30)
    finished.append(address)
    if address == "/healthz":  # now the others have waited too long
        await asyncio.sleep(2 * WAIT)
        released.set()
    return start["status"], {name.decode().lower(): value.decode() for name, value in start["headers"]}, body["body"]


async def _get_all(addresses: list[str]) -> list[tuple[int, dict[str, str], bytes]]:
    application = asgi_handler.ThreadedASGIHandler()
    finished.clear()
    released.clear()
    try:
        return await asyncio.gather(*(_get(application, address) for address in addresses))
    finally:
        await sync_to_async(connections.close_all)()


def _shed() -> float:
    return REGISTRY.get_sample_value("kamioi_http_requests_shed_total") or 0.0


def _counted(route: str) -> float:
    labels = {"method": "GET", "route": route, "status": "503"}
    return REGISTRY.get_sample_value("kamioi_http_requests_total", labels) or 0.0


def test_a_request_that_waited_too_long_is_refused_and_not_started(
    settings: Settings, django_db_blocker: DjangoDbBlocker
) -> None:
    settings.ROOT_URLCONF, settings.WEB_WAIT_SECONDS = urls, WAIT
    settings.CORS_ALLOWED_ORIGINS = ["http://localhost:3000"]
    started.clear()
    before, counted = _shed(), _counted("api/slow")
    threads = configured.WEB_THREADS
    addresses = ["/api/slow"] * threads + ["/api/slow", "/slow", "/healthz"]
    with django_db_blocker.unblock():
        replies = asyncio.run(_get_all(addresses))
    served, (late, late_page, probe) = replies[:threads], replies[threads:]
    assert {status for status, _, _ in served} == {200}
    assert len(started) == threads
    status, headers, body = late
    assert (status, headers["retry-after"]) == (503, "5")
    assert json.loads(body) == {"success": False, "error": "The service is overloaded. Try again in a few seconds."}
    # A front end of another origin can read it, and it has a request id.
    assert headers["access-control-allow-origin"] == "http://localhost:3000"
    assert headers["x-request-id"]
    assert (late_page[0], late_page[1]["content-type"]) == (503, "text/plain; charset=utf-8")
    # Probes do not queue.
    assert (probe[0], finished[0]) == (200, "/healthz")
    assert (_shed(), _counted("api/slow")) == (before + 2, counted + 1)


def test_no_request_is_refused_without_a_limit(settings: Settings, django_db_blocker: DjangoDbBlocker) -> None:
    settings.ROOT_URLCONF, settings.WEB_WAIT_SECONDS = urls, 0
    with django_db_blocker.unblock():
        replies = asyncio.run(_get_all(["/slow"] * (configured.WEB_THREADS + 2) + ["/healthz"]))
    assert {status for status, _, _ in replies} == {200}


@pytest.mark.parametrize("has_arrival_time", [True, False])
def test_the_wait_for_a_thread_counts_as_response_time(has_arrival_time: bool) -> None:
    request = RequestFactory().get("/")
    if has_arrival_time:
        request.scope = {"kamioi.arrived_at": time.perf_counter() - 3}  # type: ignore[attr-defined]
    waited = time.perf_counter() - asgi_handler.request_arrival_time(request)
    assert (3 <= waited < 60) if has_arrival_time else waited < 1


def test_without_an_arrival_time_no_request_is_refused() -> None:
    assert LoadSheddingMiddleware(lambda request: HttpResponse()).process_request(RequestFactory().get("/")) is None
