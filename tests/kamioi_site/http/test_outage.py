"""A PostgreSQL that is away: 503 with Retry-After, not 500, and nothing of it to Sentry. A wrong query stays a 500."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from django.db import InterfaceError, OperationalError, ProgrammingError

from kamioi_site.db.backend.base import PoolExhaustedError
from kamioi_site.db.outage import is_database_away
from tests.docker.servers import pgbouncer
from tests.servers import Postgres, running, short_directory

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """
import logging, sys
import django
django.setup()
logging.disable(logging.CRITICAL)
from django.core.signals import got_request_exception
from django.db import close_old_connections, connection
from django.test import Client
from kamioi_site.observability.sentry import scrub_event

reported = []
got_request_exception.connect(lambda **_: reported.append(scrub_event({}, {"exc_info": sys.exc_info()})), weak=False)
client = Client(raise_request_exception=False)
for line in sys.stdin:
    if line == "connect\\n":
        connection.ensure_connection()
        print("connected", flush=True)
        continue
    close_old_connections()  # a test client leaves this out
    api = client.get("/api/user/transactions", HTTP_AUTHORIZATION="Bearer " + "t" * 40)
    close_old_connections()
    form = client.post("/admin/login/", {"username": "jane@example.com", "password": "long enough words"})
    probes = [client.get(path).status_code for path in ("/healthz", "/readyz")]
    sent = sum(event is not None for event in reported)
    reported.clear()
    print(
        *(reply.status_code for reply in (api, form)), *probes, sent, api.get("Retry-After"), form.get("Retry-After"),
        api.json()["error"][:38] if api["Content-Type"] == "application/json" else "no JSON", sep=" | ", flush=True,
    )
"""
AWAY = "503 | 503 | 200 | 503 | 0 | 5 | 5 | The service is temporarily unavailable"


@pytest.fixture
def server() -> Iterator[Postgres]:
    """An empty PostgreSQL of this test."""
    place = short_directory("outage")
    server = Postgres(place / "primary")
    try:
        server.initialise()
        with running(server):
            server.start()
            yield server
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def _site(url: str) -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "kamioi_site.settings.test", "DATABASE_URL": url}
    environment |= {"MIGRATION_DATABASE_URL": "", "API_RATE_ANONYMOUS": "", "API_RATE_LOGIN": ""}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.stdin.close()


def _ask(process: subprocess.Popen[str], what: str = "request") -> str:
    process.stdin.write(f"{what}\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def test_a_stopped_server_is_503_and_a_missing_table_is_500(server: Postgres) -> None:
    with _site(server.url) as site:
        # The database is empty: a bug, which is reported.
        api, form, healthz, readyz, sent, *_ = _ask(site).split(" | ")
        assert (api, form, healthz, readyz) == ("500", "500", "200", "503")
        assert int(sent) >= 2
        # A connection of the pool breaks, then none can be made.
        assert _ask(site, "connect") == "connected"
        server.kill()
        assert _ask(site) == AWAY
        assert _ask(site) == AWAY
        server.start()
        assert _ask(site).startswith("500 | 500 | 200 | 503 |")


def test_a_server_behind_pgbouncer_that_is_stopped_is_503(server: Postgres) -> None:
    with pgbouncer(
        "postgres", host=str(server.directory), port="5432", user="postgres", password="", pool_size=2
    ) as at:
        url = f"postgresql://postgres:{at['PASSWORD']}@127.0.0.1:{at['PORT']}/postgres"
        with _site(url) as site:
            assert _ask(site).startswith("500 | 500 |")
            server.kill()
            # PgBouncer lets clients wait for a server, then reports that it has none.
            assert _ask(site) == AWAY


def _wrapped(kind: type[Exception], cause: type[Exception], code: str | None = None) -> Exception:
    error = kind("words")
    error.__cause__ = type("Coded", (cause,), {"pgcode": code})("words")
    return error


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (_wrapped(OperationalError, psycopg2.OperationalError), True),  # closed, refused, no such host
        (_wrapped(InterfaceError, psycopg2.InterfaceError), True),  # used after it closed
        (PoolExhaustedError("all in use"), True),
        *((_wrapped(OperationalError, psycopg2.OperationalError, code), True) for code in ("08006", "08P01", "53300")),
        *((_wrapped(OperationalError, psycopg2.OperationalError, code), True) for code in ("57P01", "57P03")),
        # Deadlock, lock timeout, statement timeout, full disk: the server is there.
        *((_wrapped(OperationalError, psycopg2.OperationalError, code), False) for code in ("40P01", "55P03")),
        *((_wrapped(OperationalError, psycopg2.OperationalError, code), False) for code in ("57014", "53100")),
        (_wrapped(ProgrammingError, psycopg2.ProgrammingError, "42P01"), False),
        (ValueError("a bug"), False),
        (None, False),
    ],
)
def test_what_counts_as_away(error: Exception | None, away: bool) -> None:
    assert is_database_away(error) is away
