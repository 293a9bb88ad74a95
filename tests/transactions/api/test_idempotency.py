"""`Idempotency-Key`: a repeated request runs once."""

import re
from datetime import timedelta
from threading import Barrier, Event, Thread
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, transaction
from django.utils import timezone
from django_celery_beat.models import PeriodicTask
from drf_spectacular.generators import SchemaGenerator
from pytest_django import Settings
from rest_framework.test import APIClient

from llm_center.models import LlmMapping
from tests.factories import api_client, make_staff, make_transaction, make_user
from tests.kamioi_site.api.test_permissions import _no_rates, world  # noqa: F401  # fixtures
from tests.operations import PURCHASE, Operation, World, operations, renew_import, sample
from transactions.models import BackgroundTask, Goal, IdempotencyKey, Transaction
from transactions.services import idempotency
from transactions.tasks import expire_idempotency_keys

pytestmark = pytest.mark.django_db

CAR = {"title": "Car", "target_amount": 9000}


def _goal(client: APIClient, key: str = "abc", **changes: Any) -> Any:
    return client.post("/api/user/goals", CAR | changes, format="json", HTTP_IDEMPOTENCY_KEY=key)


def _body(operation: Operation) -> tuple[Any, str]:
    """Return a valid body and its format."""
    contents = operation.spec.get("requestBody", {}).get("content", {})
    if operation.path == "/api/transactions":
        return PURCHASE, "json"
    if operation.path == "/api/transactions/bulk":
        return [PURCHASE], "json"
    for kind, form in (("application/json", "json"), ("multipart/form-data", "multipart")):
        if kind in contents:
            return sample(contents[kind]["schema"]), form
    return {}, "json"


def test_a_repeated_request_gets_the_same_response_byte_for_byte() -> None:
    client = api_client(make_user())
    first, again = _goal(client), _goal(client)
    assert (first.status_code, again.status_code, again.content) == (201, 201, first.content)
    assert ("Idempotency-Replayed" in first, again["Idempotency-Replayed"]) == (False, "true")
    assert again["Content-Type"] == "application/json"
    assert Goal.objects.count() == 1
    assert _goal(client, key="abd").json()["data"]["id"] != first.json()["data"]["id"]


def test_field_order_does_not_matter_but_values_and_url_do() -> None:
    client = api_client(make_user())
    _goal(client)
    turned = dict(reversed(CAR.items()))
    assert client.post("/api/user/goals", turned, format="json", HTTP_IDEMPOTENCY_KEY="abc").status_code == 201
    assert _goal(client, title="Boat").status_code == 409
    reply = client.post("/api/family/goals", CAR, format="json", HTTP_IDEMPOTENCY_KEY="abc")
    assert (reply.status_code, reply.json()["success"]) == (409, False)
    assert Goal.objects.count() == 1


def test_keys_belong_to_one_customer() -> None:
    assert [_goal(api_client(make_user())).status_code for _ in range(2)] == [201, 201]
    assert Goal.objects.count() == 2


def test_an_error_response_is_not_stored_so_that_the_request_can_be_corrected() -> None:
    client = api_client(make_user())
    assert _goal(client, target_amount=-1).status_code == 400
    assert not IdempotencyKey.objects.exists()
    assert _goal(client).status_code == 201


def test_a_server_error_leaves_neither_key_nor_work(monkeypatch: pytest.MonkeyPatch) -> None:
    client = api_client(make_user())
    client.raise_request_exception = False
    monkeypatch.setattr("transactions.api.views.goals.customer.goal_row", lambda goal: 1 / 0)
    assert _goal(client).status_code == 500
    assert (Goal.objects.count(), IdempotencyKey.objects.count()) == (0, 0)


@pytest.mark.parametrize("key", ["x" * 101, "tab\there"])
def test_an_invalid_key_is_refused(key: str) -> None:
    assert _goal(api_client(make_user()), key=key).status_code == 400


def test_files_are_compared_by_content() -> None:
    client = api_client(make_user())

    def send(content: bytes) -> Any:
        file = SimpleUploadedFile("may.csv", content)
        return client.post("/api/transactions/bulk", {"file": file}, HTTP_IDEMPOTENCY_KEY="abc")

    first = send(b"Date,Merchant,Amount\n2026-11-03,SHOP,-1.00\n")
    assert first.status_code == 202
    assert send(b"Date,Merchant,Amount\n2026-11-03,SHOP,-1.00\n").json() == first.json()
    assert send(b"Date,Merchant,Amount\n2026-11-03,SHOP,-2.00\n").status_code == 409
    raw = client.post("/api/transactions/bulk", b"x", content_type="text/csv", HTTP_IDEMPOTENCY_KEY="raw")
    other = client.post("/api/transactions/bulk", b"y", content_type="text/csv", HTTP_IDEMPOTENCY_KEY="raw")
    assert (raw.status_code, other.status_code) == (202, 409)
    assert BackgroundTask.objects.count() == 2


def test_a_bank_file_sent_again_gets_the_first_response() -> None:
    client = api_client(make_user())

    def send() -> Any:
        file = SimpleUploadedFile("may.csv", b"Date,Merchant,Amount\n2026-11-03,SHOP,-1.00\n")
        return client.post("/api/business/upload-bank-file", {"file": file}, HTTP_IDEMPOTENCY_KEY="abc")

    first = send()
    assert first.json()["data"]["added"] == 1
    assert send().json() == first.json()
    assert Transaction.objects.count() == 1


def test_proposals_of_staff_and_customers_are_created_once() -> None:
    body = {"merchant_name": "SHOP", "ticker": "SBUX"}
    for person, address in [(make_user(), "/api/user/submit-mapping"), (make_staff(), "/api/admin/manual-submit")]:
        client, before = api_client(person), LlmMapping.objects.count()
        replies = [client.post(address, body, format="json", HTTP_IDEMPOTENCY_KEY="abc") for _ in range(2)]
        assert {reply.content for reply in replies} == {replies[0].content}
        assert LlmMapping.objects.count() == before + 1


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_concurrent_requests_run_once_and_get_the_same_response() -> None:
    user, barrier = make_user(), Barrier(8)
    replies: list[Any] = []

    def send() -> None:
        client = api_client(user)
        barrier.wait()
        replies.append(_goal(client))
        connection.close()

    threads = [Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {(reply.status_code, reply.content) for reply in replies} == {(201, replies[0].content)}
    assert sum("Idempotency-Replayed" not in reply for reply in replies) == 1
    assert Goal.objects.count() == 1


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_the_second_request_runs_if_the_first_fails_and_gives_up_if_it_takes_too_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(idempotency, "WAIT_SECONDS", 1)
    user, claimed, end = make_user(), Event(), Event()

    def first() -> None:
        with transaction.atomic():
            idempotency.begin_idempotent_request(user_id=user.pk, key="abc", fingerprint="0" * 64)
            claimed.set()
            end.wait(30)
            transaction.set_rollback(True)
        connection.close()

    thread = Thread(target=first)
    thread.start()
    claimed.wait(30)
    client = api_client(user)
    reply = _goal(client)
    assert (reply.status_code, Goal.objects.count()) == (409, 0)
    end.set()
    thread.join()
    assert _goal(client).status_code == 201


def test_keys_expire(settings: Settings) -> None:
    user = make_user()
    old = timezone.now() - settings.IDEMPOTENCY_KEY_LIFETIME - timedelta(seconds=1)
    IdempotencyKey.objects.create(user=user, key="old", fingerprint="0" * 64, created_at=old)
    IdempotencyKey.objects.create(user=user, key="new", fingerprint="0" * 64)
    assert expire_idempotency_keys() == 1
    assert IdempotencyKey.objects.get().key == "new"
    assert PeriodicTask.objects.filter(task="expire_idempotency_keys", enabled=True).exists()


# POST endpoints that create nothing, or nothing that a second request would create again: log-ins and links in e-mails,
# a registered e-mail is 409, an erased account cannot log in, a duplicate is decided once.
NOT_CREATING = re.compile(
    r"/auth/|/(forgot-password|verify-reset-token|reset-password|erasure)$|^/api/lookup/ticker$|/possible-duplicates/"
)


def test_every_post_that_creates_compares_the_whole_request(world: World, subtests: Any) -> None:  # noqa: F811
    posts = [
        operation
        for operation in operations()
        if operation.method == "post" and not NOT_CREATING.search(operation.path)
    ]
    make_transaction(world.owner, date=timezone.now() - timedelta(days=40))  # for a statement of the past month
    accepted = 0
    for number, operation in enumerate(posts):
        client = api_client(world.admin if operation.is_for_staff else world.owner)
        renew_import(world, operation)

        def send(
            operation: Operation = operation, client: APIClient = client, key: str = f"{number}", **more: str
        ) -> Any:
            body, form = _body(operation)
            body = body | more if isinstance(body, dict) else [*body, *more]
            return client.post(world.url(operation), body, format=form, HTTP_IDEMPOTENCY_KEY=key)

        with subtests.test(str(operation)):
            parameters = {parameter["name"] for parameter in operation.spec.get("parameters", [])}
            assert "Idempotency-Key" in parameters
            first = send()
            if first.status_code >= 400:  # the sample is valid, but there is nothing to decide; no key is stored
                assert operation.path.startswith(("/api/admin/", "/api/llm-data/"))
                continue
            accepted += 1
            again = send()
            assert again.json() == first.json()
            assert again.status_code == 200 or again["Idempotency-Replayed"] == "true"
            for more in ({"date": "2026-11-04"}, {"category": "Food"}, {"unknown": "1"}):
                assert send(**more).status_code == 409, more
    assert accepted > 30


@pytest.mark.parametrize("change", [{"date": "2026-11-02"}, {"category": "Food"}, {"description": "x"}, {"more": 1}])
def test_a_purchase_with_another_body_under_the_same_key_is_409(change: dict[str, Any]) -> None:
    client = api_client(make_user())
    for purchase, code in [(PURCHASE, 201), (PURCHASE, 200), (PURCHASE | change, 409), (PURCHASE, 200)]:
        reply = client.post("/api/transactions", purchase, format="json", HTTP_IDEMPOTENCY_KEY="abc")
        assert reply.status_code == code
    assert Transaction.objects.count() == 1


def test_a_list_of_purchases_is_compared_by_content() -> None:
    client = api_client(make_user())
    for items, code in [([PURCHASE], 202), ([PURCHASE], 202), ([PURCHASE | {"date": "2026-11-04"}], 409)]:
        reply = client.post("/api/transactions/bulk", items, format="json", HTTP_IDEMPOTENCY_KEY="abc")
        assert reply.status_code == code
    assert BackgroundTask.objects.count() == 1


def test_idempotent_endpoints_are_documented_in_the_schema() -> None:
    paths = SchemaGenerator().get_schema(public=True)["paths"]
    for address in (
        "/api/transactions",
        "/api/transactions/bulk",
        "/api/user/goals",
        "/api/user/settings",
        "/api/business/upload-bank-file",
        "/api/user/submit-mapping",
        "/api/admin/manual-submit",
        "/api/admin/llm-center/approve",
        "/api/admin/llm-assets/monthly-amortization",
        "/api/admin/ai/process-queue",
    ):
        post = paths[address]["post"]
        assert "Idempotency-Key" in {parameter["name"] for parameter in post["parameters"]}, address
        assert "409" in post["responses"], address
