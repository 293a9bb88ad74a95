"""/healthz and /readyz: no log-in, and 503 with the name of what is wrong."""

from collections.abc import Iterator

import pytest
from django.db import connection
from django.test import Client
from pytest_django import Settings

from kamioi_site.http import health


@pytest.fixture(autouse=True)
def _a_fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_migrations_seen_applied", False)


@pytest.fixture
def _redis_is_away(settings: Settings) -> Iterator[None]:
    before = settings.CACHES
    settings.CACHES = {"default": before["default"] | {"LOCATION": "redis://127.0.0.1:1/0"}}
    yield
    settings.CACHES = before


def test_the_process_answers_without_database_or_log_in(client: Client) -> None:
    reply = client.get("/healthz")
    assert (reply.status_code, reply.json()) == (200, {"status": "ok"})


@pytest.mark.django_db
def test_ready_when_database_redis_and_migrations_are_in_order(client: Client) -> None:
    reply = client.get("/readyz")
    assert reply.json() == {"status": "ok", "checks": {"database": "ok", "redis": "ok", "migrations": "ok"}}
    assert reply.status_code == 200
    assert "no-store" in reply["Cache-Control"]


@pytest.mark.django_db
def test_a_migration_that_is_not_applied_is_not_ready(client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'transactions'")
    reply = client.get("/readyz")
    assert reply.status_code == 503
    assert reply.json()["status"] == "unavailable"
    assert reply.json()["checks"]["migrations"].endswith("not applied")


@pytest.mark.django_db
@pytest.mark.usefixtures("_redis_is_away")
def test_redis_away_is_not_ready_and_tells_no_address(client: Client) -> None:
    reply = client.get("/readyz")
    assert reply.status_code == 503
    assert reply.json()["checks"] == {"database": "ok", "redis": "no answer (ConnectionError)", "migrations": "ok"}
