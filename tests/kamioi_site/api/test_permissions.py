"""Every operation of the schema, called anonymously, by its owner, another customer, a reviewer and an administrator.

Nothing here lists URLs: a new endpoint is tested without a change, except for a new path parameter, which needs an
object of the owner (`make_world`); a missing one fails the test with instructions.
"""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from tests.factories import api_client, make_transaction
from tests.operations import FOR_ANYBODY_LOGGED_IN, PUBLIC, Operation, World, call, make_world, operations, renew_import
from transactions.models import Goal, Notification, Transaction

pytestmark = pytest.mark.django_db

# Objects of others that staff with the permission see: background tasks.
STAFF_SEES = re.compile(r"^/api/tasks/\{task_id\}")
# Requires the password and destroys the caller's data: tested separately.
WITH_PASSWORD = ("/change-password", "/erasure")


@pytest.fixture
def world() -> World:
    return make_world()


@pytest.fixture(autouse=True)
def _no_rates(settings: Settings) -> None:
    """Lift the rate limits."""
    settings.API_RATES = {scope: [] for scope in settings.API_RATES}


def _operations_where(predicate: Callable[[Operation], bool]) -> list[Operation]:
    found = [operation for operation in operations() if predicate(operation)]
    assert found
    return found


# --- Tests ---------------------------------------------------------------------------------------------------
def test_all_path_parameters_and_public_urls_are_known(world: World) -> None:
    found = operations()
    assert len(found) > 90
    for operation in found:
        world.url(operation)
    assert {operation.path for operation in found} >= PUBLIC | FOR_ANYBODY_LOGGED_IN
    open_to_all = {operation.path for operation in found if operation.spec.get("security") in (None, [], [{}])}
    assert open_to_all == PUBLIC, "the schema has other public URLs than PUBLIC"
    without_token = {str(operation) for operation in found if _works_without_token(operation)}
    assert without_token == {"GET /api/lookup/ticker"}  # it knows nothing of customers


def _works_without_token(operation: Operation) -> bool:
    return operation.path not in PUBLIC and {} in operation.spec["security"]


def test_anonymous_requests_get_only_401(world: World, subtests: Any) -> None:
    for operation in _operations_where(lambda operation: operation.path not in PUBLIC):
        if _works_without_token(operation):
            continue
        with subtests.test(str(operation)):
            reply = call(api_client(), operation, world.url(operation))
            assert reply.status_code == 401
            assert reply["WWW-Authenticate"] == "Bearer"
            assert set(reply.json()) == {"success", "error"}


def test_public_endpoints_work_without_a_login_and_leak_nothing(world: World, subtests: Any) -> None:
    for operation in _operations_where(lambda operation: operation.path in PUBLIC):
        with subtests.test(str(operation)):
            reply = call(api_client(), operation, world.url(operation))
            assert str(reply.status_code) in operation.spec["responses"]
            assert reply.status_code in {200, 201, 400, 401, 409}
            assert world.owner.email not in reply.content.decode()


@pytest.mark.parametrize("who", ["owner", "other_customer", "clerk"])
def test_staff_endpoints_are_only_for_staff(world: World, subtests: Any, who: str) -> None:
    """Neither owners nor staff without the permission get access."""
    for operation in _operations_where(lambda operation: operation.is_for_staff):
        if who == "clerk" and operation.path == "/api/admin/auth/me":
            continue
        with subtests.test(str(operation)):
            reply = call(api_client(getattr(world, who)), operation, world.url(operation))
            assert reply.status_code in {401, 403, 404}
            if operation.path != "/api/admin/auth/me":
                assert reply.status_code == 403


def test_objects_of_other_users_are_404(world: World, subtests: Any) -> None:
    for operation in _operations_where(lambda operation: bool(operation.names) and not operation.is_for_staff):
        with subtests.test(str(operation)):
            url = world.url(operation)
            others = (
                [world.other_customer, world.clerk, world.reviewer]
                if STAFF_SEES.match(operation.path)
                else [world.other_customer, world.reviewer, world.admin]
            )
            for person in others:
                assert call(api_client(person), operation, url).status_code == 404
            assert Goal.objects.filter(user=world.owner).exists()
            assert Notification.objects.filter(user=world.owner, read=False).exists()


def test_owners_reach_their_objects_and_every_response_is_documented(world: World, subtests: Any) -> None:
    # Deletions last, and logouts with their own tokens.
    order = sorted(operations(), key=lambda operation: operation.method == "delete")
    for operation in order:
        if operation.is_for_staff or operation.path in PUBLIC or operation.path.endswith(WITH_PASSWORD):
            continue
        with subtests.test(str(operation)):
            if operation.method == "delete":
                world.things["goal_id"] = Goal.objects.create(user=world.owner, title="A", target_amount=1).pk
                world.things["notification_id"] = Notification.objects.create(
                    user=world.owner, title="B", message="c"
                ).pk
            renew_import(world, operation)
            if operation.path.endswith("/statements"):  # of a past month
                make_transaction(world.owner, date=timezone.now() - timedelta(days=40))
            if operation.path.endswith("/possible-duplicates/{transaction_id}"):
                Transaction.objects.filter(pk=world.things["transaction_id"]).update(
                    status="on_hold", row_class="", failure_reason=Transaction.HoldReason.DUPLICATE, related_id=1
                )
            reply = call(api_client(world.owner), operation, world.url(operation))
            assert str(reply.status_code) in operation.spec["responses"], reply.content
            assert reply.status_code < 300, reply.content


@pytest.mark.parametrize("who", ["reviewer", "admin"])
def test_staff_get_documented_responses_and_never_a_500(world: World, subtests: Any, who: str) -> None:
    person = getattr(world, who)
    for operation in _operations_where(lambda operation: operation.path not in PUBLIC):
        if operation.path.endswith("/change-password"):
            continue
        with subtests.test(str(operation)):
            reply = call(api_client(person), operation, world.url(operation))
            assert str(reply.status_code) in operation.spec["responses"], reply.content
            assert reply.status_code < 500
            assert reply.status_code != 401
            if who == "admin":
                assert reply.status_code != 403


def test_a_reviewer_may_review_but_not_keep_the_books(world: World) -> None:
    client = api_client(world.reviewer)
    assert client.get("/api/admin/llm-center/mappings").status_code == 200
    assert client.post("/api/admin/llm-assets/monthly-amortization", {}, format="json").status_code == 403


def test_lists_show_nothing_to_other_users(world: World) -> None:
    make_transaction(world.owner, date=timezone.now() - timedelta(days=2))
    for area in ("user", "family", "business"):
        for person, rows in [(world.owner, 2), (world.other_customer, 0), (world.admin, 0)]:
            client = api_client(person)
            assert len(client.get(f"/api/{area}/transactions").json()["data"]["transactions"]) == rows
            assert len(client.get(f"/api/{area}/transactions?limit=5").json()["data"]) == rows
            export = client.get(f"/api/{area}/export/transactions").getvalue().decode()
            assert len(export.splitlines()) == rows + 1
            for name in ("goals", "notifications"):
                assert len(client.get(f"/api/{area}/{name}").json()["data"]) == (1 if person == world.owner else 0)
