"""Every operation of the schema, called anonymously, by its owner, another customer, a reviewer and an administrator.

Nothing here lists URLs: a new endpoint is tested without a change, except for a new path parameter, which needs an
object of the owner (`World.things`); a missing one fails the test with instructions.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator
from pytest_django import Settings
from rest_framework.test import APIClient

from analytics.models import Report
from llm_center.models import LlmDataAsset, LlmMapping
from tests.factories import api_client, make_staff, make_transaction, make_user
from transactions.models import BackgroundTask, Goal, Notification, StatementImport, User
from transactions.services.privacy import export_path

pytestmark = pytest.mark.django_db

_RESET = ("forgot-password", "verify-reset-token", "reset-password")
_LINKS = ("verify-email", "cancel-email-change")
PUBLIC = {
    *(f"/api/{area}/auth/login" for area in ("user", "family", "business", "admin")),
    *(f"/api/{area}/auth/{name}" for area in ("user", "family", "business", "admin") for name in _LINKS),
    *(f"/api/{area}/auth/register" for area in ("user", "family", "business")),
    *(
        f"/api/{area}/{way}{name}"
        for area in ("user", "family", "business", "admin")
        for way in ("auth/", "")
        for name in _RESET
    ),
}
"""Public endpoints."""

# Prefixes of the endpoints for staff.
STAFF = ("/api/admin/", "/api/llm-data/")
# Under /api/admin/, but for all users: these endpoints concern only the caller.
FOR_ANYBODY_LOGGED_IN = {f"/api/admin/auth/{name}" for name in ("logout", "change-password", "resend-verification")}
# Objects of others that staff with the permission see: background tasks.
STAFF_SEES = re.compile(r"^/api/tasks/\{task_id\}")
# Requires the password and destroys the caller's data: tested separately.
WITH_PASSWORD = ("/change-password", "/erasure")
PURCHASE = {"amount": 4.5, "merchant": "STARBUCKS", "date": "2026-11-03"}


@dataclass(frozen=True)
class Operation:
    """One method of one URL."""

    method: str
    path: str
    spec: dict[str, Any]

    @property
    def names(self) -> list[str]:
        return re.findall(r"\{(\w+)\}", self.path)

    @property
    def is_for_staff(self) -> bool:
        return self.path.startswith(STAFF) and self.path not in PUBLIC | FOR_ANYBODY_LOGGED_IN

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.path}"


@cache
def _schema() -> dict[str, Any]:
    schema: dict[str, Any] = SchemaGenerator().get_schema(public=True)
    return schema


def _operations() -> list[Operation]:
    return [
        Operation(method, path, spec)
        for path, methods in sorted(_schema()["paths"].items())
        for method, spec in methods.items()
        if method in {"get", "post", "put", "patch", "delete"}
    ]


# --- Users ---------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class World:
    """The owner of the objects, another customer, a reviewer, a clerk without permissions, an administrator."""

    owner: User
    other_customer: User
    reviewer: User
    clerk: User
    admin: User
    things: dict[str, object]

    def url(self, operation: Operation) -> str:
        """Return the URL with the ids of the owner's objects."""
        url = operation.path
        for name in operation.names:
            if name not in self.things:
                pytest.fail(
                    f"{operation} has the unknown path parameter {{{name}}}: create such an object of the owner in the "
                    "fixture `world` of this module and put its id into `things`."
                )
            # The same name may mean another kind of object: "data-export/{task_id}".
            parent = f"{url.split(f'/{{{name}}}')[0].rsplit('/', 1)[-1]}/{name}"
            url = url.replace(f"{{{name}}}", str(self.things.get(parent, self.things[name])))
        return url


def _statement(owner: User, task: BackgroundTask) -> Report:
    file = default_storage.save("reports/statement.csv", ContentFile(b"Kamioi account statement"))
    return Report.objects.create(
        kind="statement",
        period=date(2026, 10, 1),
        user=owner,
        format="csv",
        task=task,
        file=file,
        size=24,
        sha256="",
        rows=0,
    )


@pytest.fixture
def world() -> World:
    owner = make_user()
    task = BackgroundTask.objects.create(name="ingest_statement", user=owner)
    StatementImport.objects.create(task=task, user=owner, filename="may.csv", file="statements/may.csv")
    mapping = LlmMapping.objects.create(merchant_name="X", merchant_key="X", source="user", user=owner)
    asset = LlmDataAsset.objects.create(asset_name="Model", asset_type="model")
    exported = BackgroundTask.objects.create(name="export_person", user=owner, arguments={"user_id": owner.pk})
    export_path(exported).parent.mkdir(parents=True, exist_ok=True)
    export_path(exported).write_bytes(b"zip")
    reviewer = make_user(is_staff=True)
    reviewer.groups.add(Group.objects.get(name="reviewer"))
    things: dict[str, object] = {
        "transaction_id": make_transaction(owner).pk,
        "task_id": task.pk,
        "data-export/task_id": exported.pk,
        "mapping_id": mapping.pk,
        "asset_id": asset.pk,
        "notification_id": Notification.objects.create(user=owner, title="Hello", message="you").pk,
        "goal_id": Goal.objects.create(user=owner, title="Car", target_amount=Decimal(9)).pk,
        "user_id": owner.pk,
        "statement_id": _statement(owner, task).pk,
        "number": "JE-2026-000000",
    }
    return World(owner, make_user(), reviewer, make_user(is_staff=True), make_staff(), things)


@pytest.fixture(autouse=True)
def _no_rates(settings: Settings) -> None:
    """Lift the rate limits."""
    settings.API_RATES = {scope: [] for scope in settings.API_RATES}


# --- Bodies -----------------------------------------------------------------------------------------------------
def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema or "allOf" in schema or "oneOf" in schema:
        if "$ref" in schema:
            schema = _schema()["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
        else:
            schema = (schema.get("allOf") or schema["oneOf"])[0]
    return schema


def _sample(schema: dict[str, Any], name: str = "") -> Any:
    """Return a minimal valid body: the required fields."""
    schema = _resolved(schema)
    if schema.get("enum"):
        return schema["enum"][0]
    formats: dict[str, Callable[[], Any]] = {
        "email": lambda: "new@example.com",
        "date": lambda: "2026-11-03",
        "date-time": lambda: "2026-11-03T12:00:00Z",
        "uuid": lambda: "00000000-0000-0000-0000-000000000000",
        "binary": lambda: SimpleUploadedFile("a.csv", b"Date,Description,Amount\n2026-11-03,SHOP,-4.50\n"),
    }
    if make := formats.get(schema.get("format", "")):
        return make()
    match schema.get("type"):
        case "object":
            required = schema.get("required", [])
            return {
                field: _sample(spec, field) for field, spec in schema.get("properties", {}).items() if field in required
            }
        case "array":
            return [_sample(schema["items"])]
        case "integer" | "number":
            return max(1, int(schema.get("minimum", 1)))
        case "boolean":
            return True
    if name == "period":
        return f"{timezone.now().replace(day=1) - timedelta(days=1):%Y-%m}"
    return "correct horse battery" if "assword" in name else "1" if name == "token" else "sample"


def _call(client: APIClient, operation: Operation, url: str) -> Any:
    reply = _sent(client, operation, url)
    if reply.streaming:
        reply.getvalue()  # reads to the end, which closes the file
    return reply


def _sent(client: APIClient, operation: Operation, url: str) -> Any:
    if operation.method == "get":
        return client.get(url, {"company": "STARBUCKS"} if operation.path == "/api/lookup/ticker" else None)
    contents = operation.spec.get("requestBody", {}).get("content", {})
    if operation.path == "/api/transactions":
        return client.post(url, PURCHASE, format="json")
    if "application/json" in contents:
        body = _sample(contents["application/json"]["schema"])
        return getattr(client, operation.method)(url, body, format="json")
    if "multipart/form-data" in contents:
        return getattr(client, operation.method)(
            url, _sample(contents["multipart/form-data"]["schema"]), format="multipart"
        )
    return getattr(client, operation.method)(url)


def _operations_where(predicate: Callable[[Operation], bool]) -> list[Operation]:
    found = [operation for operation in _operations() if predicate(operation)]
    assert found
    return found


# --- Tests ---------------------------------------------------------------------------------------------------
def test_all_path_parameters_and_public_urls_are_known(world: World) -> None:
    operations = _operations()
    assert len(operations) > 90
    for operation in operations:
        world.url(operation)
    assert {operation.path for operation in operations} >= PUBLIC | FOR_ANYBODY_LOGGED_IN
    open_to_all = {operation.path for operation in operations if operation.spec.get("security") in (None, [], [{}])}
    assert open_to_all == PUBLIC, "the schema has other public URLs than PUBLIC"


def test_anonymous_requests_get_only_401(world: World, subtests: Any) -> None:
    for operation in _operations_where(lambda operation: operation.path not in PUBLIC):
        with subtests.test(str(operation)):
            reply = _call(api_client(), operation, world.url(operation))
            assert reply.status_code == 401
            assert reply["WWW-Authenticate"] == "Bearer"
            assert set(reply.json()) == {"success", "error"}


def test_public_endpoints_work_without_a_login_and_leak_nothing(world: World, subtests: Any) -> None:
    for operation in _operations_where(lambda operation: operation.path in PUBLIC):
        with subtests.test(str(operation)):
            reply = _call(api_client(), operation, world.url(operation))
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
            reply = _call(api_client(getattr(world, who)), operation, world.url(operation))
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
                assert _call(api_client(person), operation, url).status_code == 404
            assert Goal.objects.filter(user=world.owner).exists()
            assert Notification.objects.filter(user=world.owner, read=False).exists()


def test_owners_reach_their_objects_and_every_response_is_documented(world: World, subtests: Any) -> None:
    # Deletions last, and logouts with their own tokens.
    order = sorted(_operations(), key=lambda operation: operation.method == "delete")
    for operation in order:
        if operation.is_for_staff or operation.path in PUBLIC or operation.path.endswith(WITH_PASSWORD):
            continue
        with subtests.test(str(operation)):
            if operation.method == "delete":
                world.things["goal_id"] = Goal.objects.create(user=world.owner, title="A", target_amount=1).pk
                world.things["notification_id"] = Notification.objects.create(
                    user=world.owner, title="B", message="c"
                ).pk
            if operation.path.endswith("/statements"):  # of a past month
                make_transaction(world.owner, date=timezone.now() - timedelta(days=40))
            reply = _call(api_client(world.owner), operation, world.url(operation))
            assert str(reply.status_code) in operation.spec["responses"], reply.content
            assert reply.status_code < 300, reply.content


@pytest.mark.parametrize("who", ["reviewer", "admin"])
def test_staff_get_documented_responses_and_never_a_500(world: World, subtests: Any, who: str) -> None:
    person = getattr(world, who)
    for operation in _operations_where(lambda operation: operation.path not in PUBLIC):
        if operation.path.endswith("/change-password"):
            continue
        with subtests.test(str(operation)):
            reply = _call(api_client(person), operation, world.url(operation))
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
