"""Who may reach which address: every one of the schema, as anonymous, owner, another customer and staff."""

from dataclasses import dataclass
from typing import Any

import pytest
from drf_spectacular.generators import SchemaGenerator
from pytest_django import Settings
from rest_framework.test import APIClient

from llm_center.models import LlmDataAsset, LlmMapping
from tests.factories import api_client, make_staff, make_transaction, make_user
from transactions.models import BackgroundTask, Goal, JournalEntry, Notification, StatementImport, User

pytestmark = pytest.mark.django_db

ANYBODY = ("/auth/login", "/auth/register", "/forgot-password", "/verify-reset-token", "/reset-password")
STAFF = ("/api/admin/", "/api/llm-data/")
PURCHASE = {"amount": 4.5, "merchant": "STARBUCKS"}


@dataclass(frozen=True)
class World:
    """One customer with a transaction and an import, another customer, and staff."""

    owner: User
    stranger: User
    staff: User
    transaction_id: int
    task: BackgroundTask
    mapping_id: int
    asset_id: int
    entry_id: int

    def url(self, path: str) -> str:
        """The address in the schema, with the owner's things filled in."""
        for name, value in [
            ("transaction_id", self.transaction_id), ("task_id", self.task.pk), ("mapping_id", self.mapping_id),
            ("asset_id", self.asset_id), ("number", f"JE-{self.entry_id}"),
        ]:  # fmt: skip
            path = path.replace(f"{{{name}}}", str(value))
        # New ones each time: some addresses delete them.
        for name, make in [
            ("user_id", make_user),
            ("goal_id", lambda: Goal.objects.create(user=self.owner, title="Car", target_amount=1)),
            ("notification_id", lambda: Notification.objects.create(user=self.owner, title="Hello", message="You")),
        ]:
            if f"{{{name}}}" in path:
                path = path.replace(f"{{{name}}}", str(make().pk))
        return path


@pytest.fixture
def world() -> World:
    owner = make_user()
    task = BackgroundTask.objects.create(name="ingest_statement", user=owner)
    StatementImport.objects.create(task=task, user=owner, filename="may.csv", file="statements/may.csv")
    mapping = LlmMapping.objects.create(merchant_name="X", merchant_key="X", source="user", user=owner)
    asset = LlmDataAsset.objects.create(asset_name="Model", asset_type="model")
    staff = make_staff()
    entry = JournalEntry.objects.create(entry_date="2026-01-01", amount=1, lines=[], created_by=staff)
    return World(owner, make_user(), staff, make_transaction(owner).pk, task, mapping.pk, asset.pk, entry.pk)


def _addresses() -> list[tuple[str, str]]:
    paths = SchemaGenerator().get_schema(public=True)["paths"]
    return sorted((path, method) for path, methods in paths.items() for method in methods)


def _call(client: APIClient, method: str, url: str) -> Any:
    body = PURCHASE if url == "/api/transactions" else [PURCHASE] if url.endswith("/bulk") else {}
    return client.get(url) if method == "get" else getattr(client, method)(url, body, format="json")


def test_nothing_but_logging_in_answers_an_anonymous_caller(world: World, settings: Settings) -> None:
    settings.API_RATES = {scope: [] for scope in settings.API_RATES}
    addresses = _addresses()
    assert len(addresses) > 25
    for path, method in addresses:
        reply = _call(api_client(), method, world.url(path))
        if path.endswith(ANYBODY):
            assert reply.status_code == 400, path  # credentials are missing
        else:
            assert reply.status_code == 401, path
            assert reply["WWW-Authenticate"] == "Bearer", path
        assert set(reply.json()) <= {"success", "error", "errors"}, path


def test_what_names_a_thing_is_for_its_owner_and_staff_sees_tasks_only(world: World) -> None:
    named = [(path, method) for path, method in _addresses() if "{" in path]
    assert len([path for path, _ in named if not path.startswith(STAFF)]) > 10
    for path, method in named:
        if path.startswith(STAFF):
            continue
        for person, code in [
            (world.owner, 200),
            (world.stranger, 404),
            (world.staff, 200 if "task" in path else 404),
        ]:
            assert _call(api_client(person), method, world.url(path)).status_code == code, (path, person)


def test_what_is_for_staff_is_for_nobody_else(world: World) -> None:
    staff_only = [
        (path, method)
        for path, method in _addresses()
        if path.startswith(STAFF) and not path.startswith("/api/admin/auth/") and not path.endswith(ANYBODY)
    ]
    assert len(staff_only) > 60
    for path, method in staff_only:
        # Whose row it is changes nothing, and neither does being staff without the permission.
        clerk = make_user(is_staff=True)
        for person in (world.owner, world.stranger, clerk):
            assert _call(api_client(person), method, world.url(path)).status_code == 403, (path, person)
        # 404: the row before was taken away by another address; 415: these take a file.
        codes = {200, 202, 400} | ({404} if "{" in path else set()) | ({415} if "bulk-upload" in path else set())
        assert _call(api_client(world.staff), method, world.url(path)).status_code in codes, path


def test_lists_show_a_stranger_nothing(world: World) -> None:
    make_transaction(world.owner)
    for area in ("user", "family", "business"):
        for person, rows in [(world.owner, 2), (world.stranger, 0), (world.staff, 0)]:
            reply = api_client(person).get(f"/api/{area}/transactions").json()
            assert len(reply["data"]["transactions"]) == rows


def test_every_answer_to_its_owner_is_a_documented_one(world: World) -> None:
    schema = SchemaGenerator().get_schema(public=True)["paths"]
    for path, method in _addresses():
        if path.endswith("/logout"):
            continue
        reply = _call(api_client(world.owner), method, world.url(path))
        assert str(reply.status_code) in schema[path][method]["responses"], (path, method, reply.status_code)
