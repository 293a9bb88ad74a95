"""What is sent to Sentry: received by a server with its protocol, and searched for what must not be sent."""

import gzip
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import brotli
import pytest

from tests.workers import process_environment

ROOT = Path(__file__).resolve().parent.parent.parent.parent
SECRETS = (
    "jane.doe",
    "example.com",
    "hunter2hunter2",
    "t0ken-of-jane",
    "998877665544",
    "I7654321",
    "query-secret",
    "cookie-secret",
    "body-secret",
    "argument-secret",
    "local-secret",
    "sql-value-secret",
    "llm-key-123456",
    "203.0.113.9",
)
# A separate process: Sentry's hooks cannot be removed.
PROGRAM = """
import asyncio, logging
import django
django.setup()
import sentry_sdk
from django.contrib.auth import get_user_model
from django.db import connection
from asgiref.testing import ApplicationCommunicator
from django.core.asgi import get_asgi_application
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from kamioi_site import urls
from transactions.models import User

@csrf_exempt
def broken(request, number):
    local = "local-secret"
    request.user = User(pk=42, email="jane.doe@example.com")
    logging.getLogger("kamioi").warning("jane.doe@example.com came with token=t0ken-of-jane")
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s", ["sql-value-secret"])
    raise ValueError(
        "account 998877665544, I7654321 of jane.doe@example.com, key llm-key-123456, password=hunter2hunter2"
    )

urls.urlpatterns.append(path("broken/<int:number>", broken))

async def call(application):
    asked = ApplicationCommunicator(application, {
        "type": "http", "http_version": "1.1", "method": "POST", "path": "/broken/7", "raw_path": b"/broken/7",
        "query_string": b"q=query-secret", "scheme": "http", "client": ("203.0.113.9", 1234),
        "server": ("testserver", 80),
        "asgi": {"version": "3.0"}, "headers": [
            (b"host", b"testserver"), (b"authorization", b"Bearer t0ken-of-jane"),
            (b"cookie", b"sessionid=cookie-secret"),
            (b"x-request-id", b"request-of-this-test-7"), (b"content-type", b"application/json"),
            (b"content-length", b"27"),
        ],
    })
    await asked.send_input({"type": "http.request", "body": b'{"password": "body-secret"}'})
    return await asked.receive_output(30)

logging.getLogger("django.request").disabled = True
assert asyncio.run(call(get_asgi_application()))["status"] == 500

from celery import shared_task
from kamioi_site.celery import app

@shared_task(name="fails")
def fails(who):
    raise KeyError("jane.doe@example.com")

app.conf.task_always_eager = True
fails.apply(args=["argument-secret"], throw=False)
sentry_sdk.flush(10)
"""


class _Sentry(BaseHTTPRequestHandler):
    received: list[bytes]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        packed = self.headers.get("Content-Encoding")
        body = {"gzip": gzip.decompress, "br": brotli.decompress, None: bytes}[packed](body)
        self.received.append(body)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@pytest.fixture
def sentry() -> Iterator[tuple[str, list[bytes]]]:
    received: list[bytes] = []
    server = HTTPServer(("127.0.0.1", 0), type("Handler", (_Sentry,), {"received": received}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://public@127.0.0.1:{server.server_port}/1", received
    server.shutdown()
    server.server_close()


def events(received: list[bytes]) -> list[dict[str, Any]]:
    """Return the events in the envelopes: a header line, then pairs of item header and item."""
    found = []
    for envelope in received:
        lines = envelope.split(b"\n")[1:]
        for header, item in zip(lines[::2], lines[1::2], strict=False):
            if header and json.loads(header).get("type") == "event":
                found.append(json.loads(item))
    return found


@pytest.mark.django_db
def test_errors_are_sent_without_personal_data(sentry: tuple[str, list[bytes]]) -> None:
    dsn, received = sentry
    environment = process_environment() | {
        "SENTRY_DSN": dsn,
        "LLM_API_KEY": "llm-key-123456",
        "SENTRY_TRACES_SAMPLE_RATE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    web, task = events(received)
    everything = b"\n".join(received).decode()
    for secret in SECRETS:
        assert secret not in everything, secret
    assert web["exception"]["values"][-1]["type"] == "ValueError"
    assert web["request"]["url"].endswith("/broken/7")
    assert web["transaction"] == "/broken/{number}"
    assert set(web["request"]) == {"method", "url", "headers"}
    assert web["user"] == {"id": "42"}
    assert web["tags"]["request_id"] == "request-of-this-test-7"
    assert any(frame["function"] == "broken" for frame in web["exception"]["values"][-1]["stacktrace"]["frames"])
    assert task["exception"]["values"][-1]["type"] == "KeyError"
    assert task["transaction"] == "fails"


def test_without_a_dsn_sentry_is_not_installed() -> None:
    import sentry_sdk

    assert not sentry_sdk.is_initialized()
