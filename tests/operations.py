"""Every operation of the API's schema, with users and objects to call it."""

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
from rest_framework.test import APIClient

from analytics.models import Report
from llm_center.models import LlmDataAsset, LlmMapping
from tests.factories import make_staff, make_transaction, make_user
from transactions.models import AccountMember, BackgroundTask, Goal, Notification, StatementImport, User
from transactions.services.download_links import Download, sign_download
from transactions.services.privacy import export_path

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
def api_schema() -> dict[str, Any]:
    schema: dict[str, Any] = SchemaGenerator().get_schema(public=True)
    return schema


def operations() -> list[Operation]:
    return [
        Operation(method, path, spec)
        for path, methods in sorted(api_schema()["paths"].items())
        for method, spec in methods.items()
        if method in {"get", "post", "put", "patch", "delete"}
    ]


def kind_of(view: Any) -> tuple[Any, ...]:
    """Return what the answers of an API view depend on: views of one kind, as in the areas of customers, are the same.

    The code differs where a decorator wraps the view.
    """
    return view.__code__, view.cls, repr(view.initkwargs)


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
                    "function `make_world` of this module and put its id into `things`."
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


def make_import(owner: User, *, status: str = BackgroundTask.Status.QUEUED) -> StatementImport:
    """Create an import that stored nothing."""
    task = BackgroundTask.objects.create(name="ingest_statement", user=owner, status=status)
    file = default_storage.save("statements/may.csv", ContentFile(b"Date,Description,Amount\n2026-11-03,SHOP,-4.50\n"))
    return StatementImport.objects.create(task=task, user=owner, filename="may.csv", file=file)


def renew_import(world: World, operation: Operation) -> None:
    """Give the operation an import that can be undone or repeated, or one that can be cancelled: each can be once."""
    if "{import_id}/" in operation.path:
        BackgroundTask.objects.filter(name="ingest_statement").update(status="completed")  # few may be open at once
        status = "queued" if operation.path.endswith("/cancel") else "completed"
        world.things["import_id"] = make_import(world.owner, status=status).pk


def make_world() -> World:
    """Create the users, and the objects of the owner."""
    owner = make_user()
    statement = make_import(owner)
    task = statement.task
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
        "import_id": statement.pk,
        "data-export/task_id": exported.pk,
        "mapping_id": mapping.pk,
        "asset_id": asset.pk,
        "notification_id": Notification.objects.create(user=owner, title="Hello", message="you").pk,
        "goal_id": Goal.objects.create(user=owner, title="Car", target_amount=Decimal(9)).pk,
        "member_id": AccountMember.objects.create(owner=owner, email="member@example.com").pk,
        "user_id": owner.pk,
        "statement_id": _statement(owner, task).pk,
        "number": "JE-2026-000000",
        "claim": sign_download(Download(owner, "transactions", {})),
    }
    return World(owner, make_user(), reviewer, make_user(is_staff=True), make_staff(), things)


# --- Bodies -----------------------------------------------------------------------------------------------------
def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema or "allOf" in schema or "oneOf" in schema:
        if "$ref" in schema:
            schema = api_schema()["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
        else:
            schema = (schema.get("allOf") or schema["oneOf"])[0]
    return schema


def sample(schema: dict[str, Any], name: str = "") -> Any:
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
                field: sample(spec, field) for field, spec in schema.get("properties", {}).items() if field in required
            }
        case "array":
            return [sample(schema["items"])]
        case "integer" | "number":
            return max(1, int(schema.get("minimum", 1)))
        case "boolean":
            return True
    if name == "period":
        return f"{timezone.now().replace(day=1) - timedelta(days=1):%Y-%m}"
    return "correct horse battery" if "assword" in name else "1" if name == "token" else "sample"


def call(client: APIClient, operation: Operation, url: str) -> Any:
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
        body = sample(contents["application/json"]["schema"])
        return getattr(client, operation.method)(url, body, format="json")
    if "multipart/form-data" in contents:
        return getattr(client, operation.method)(
            url, sample(contents["multipart/form-data"]["schema"]), format="multipart"
        )
    return getattr(client, operation.method)(url)
