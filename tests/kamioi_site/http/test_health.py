"""/healthz and /readyz work without log-in and name what failed."""

from collections.abc import Iterator

import pytest
from django.db import connection
from django.test import Client
from pytest_django import Settings

from kamioi_site.http import health


@pytest.fixture(autouse=True)
def _new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_migrations_seen_applied", False)


@pytest.fixture
def _redis_is_down(settings: Settings) -> Iterator[None]:
    before = settings.CACHES
    settings.CACHES = {"default": before["default"] | {"LOCATION": "redis://127.0.0.1:1/0"}}
    yield
    settings.CACHES = before


def test_healthz_needs_neither_database_nor_log_in(client: Client) -> None:
    response = client.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


@pytest.mark.django_db
def test_ready_with_database_redis_and_migrations(client: Client) -> None:
    response = client.get("/readyz")
    assert response.json() == {"status": "ok", "checks": {"database": "ok", "redis": "ok", "migrations": "ok"}}
    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]


@pytest.mark.as_owner
@pytest.mark.django_db
def test_an_unapplied_migration_is_not_ready(client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'transactions'")
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["status"] == "unavailable"
    assert response.json()["checks"]["migrations"].endswith("not applied")


@pytest.mark.django_db
@pytest.mark.usefixtures("_redis_is_down")
def test_a_missing_redis_is_not_ready_and_its_address_is_not_shown(client: Client) -> None:
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["checks"] == {"database": "ok", "redis": "no answer (ConnectionError)", "migrations": "ok"}
