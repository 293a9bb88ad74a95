"""Who reaches what: every route and admin page for every role, and what nobody may write.

Routes come from the URL resolver, roles from the database, forms from the pages themselves. `docs/access.md` is what
this test observed; `make access` writes it again. Routes of the API with the same view and options are tried once, and
each is resolved to its view.
"""

import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from functools import cache
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any, Final

import pytest
from django.contrib import admin
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AnonymousUser, Group, Permission
from django.db import connection, transaction
from django.db.models import Q
from django.template.response import TemplateResponse
from django.test import Client, RequestFactory
from django.urls import URLResolver, get_resolver, resolve
from django_otp.plugins.otp_totp.models import TOTPDevice
from drf_spectacular.generators import SchemaGenerator
from pytest_django import Settings

from analytics.dashboards import DASHBOARDS
from tests.factories import make_staff, make_user
from tests.operations import World, kind_of, make_world, operations, sample
from transactions.models import ApiToken, BackgroundTask, User
from transactions.services import download_links
from transactions.services.user_admin import RIGHTS

pytestmark = pytest.mark.django_db

DOCUMENT: Final = Path(__file__).resolve().parents[2] / "docs" / "access.md"
METHODS: Final = ("get", "post", "put", "patch", "delete")
OBJECTS: Final = re.compile(r"<(?:\w+:)?(\w+)>")


@dataclass(frozen=True)
class Route:
    """A URL pattern, and the model whose objects it shows in the admin."""

    pattern: str
    name: str
    view: Any

    @property
    def is_page(self) -> bool:
        return self.pattern.startswith("admin/")

    @property
    def methods(self) -> list[str]:
        """The methods to try; a function does not say which it takes."""
        view = getattr(self.view, "view_class", None) or getattr(self.view, "cls", None)
        served = getattr(self.view, "initkwargs", {}).get("http_method_names", METHODS)
        return [
            name for name in METHODS if name in served and (hasattr(view, name) if view else name in {"get", "post"})
        ]

    @property
    def kind(self) -> tuple[Any, ...]:
        """What access depends on: routes of one kind need to be tried once."""
        return (*kind_of(self.view), *OBJECTS.findall(self.pattern)) if hasattr(self.view, "cls") else (self.pattern,)

    @property
    def model(self) -> Any:
        for model in sorted(admin.site._registry, key=lambda model: -len(model._meta.model_name or "")):
            if self.name.startswith(f"{model._meta.app_label}_{model._meta.model_name}_"):
                return model
        return User if self.name == "auth_user_password_change" else None


@cache
def routes() -> list[Route]:
    def walk(patterns: Any, prefix: str) -> Iterator[Route]:
        for entry in patterns:
            pattern = prefix + str(entry.pattern)
            if isinstance(entry, URLResolver):
                yield from walk(entry.url_patterns, pattern)
            elif "<slug:name>" in pattern:  # every dashboard has its own permission
                for board in DASHBOARDS:
                    yield Route(pattern.replace("<slug:name>", board.name), entry.name, entry.callback)
            elif entry.name:  # the others are redirects
                yield Route(pattern, entry.name, entry.callback)

    return list(walk(get_resolver().url_patterns, ""))


class Visitor:
    """A user with a session for the admin and a token for the API."""

    def __init__(self, user: User | None) -> None:
        self.user: Any = user or AnonymousUser()
        self._client, self._headers, self._session = Client(), {}, {}
        if user is not None:
            self._client.force_login(user)
            self._session = {name: morsel.value for name, morsel in self._client.cookies.items()}
            self._headers = {"HTTP_AUTHORIZATION": f"Bearer {ApiToken.issue(user=user)[1]}"}

    def send(self, method: str, url: str, see: Callable[[], object] = lambda: None, **extra: Any) -> Any:
        """Send a request, call `see` afterwards, and roll the effects back, a log-out included."""
        is_api = url.startswith("/api/")
        headers = self._headers if is_api else {}
        self._client.cookies = SimpleCookie({} if is_api else self._session)
        with transaction.atomic():
            response = getattr(self._client, method)(url, **headers, **extra)
            if response.streaming:
                response.getvalue()  # reads to the end, which closes the file
            see()
            transaction.set_rollback(True)
        return response


@pytest.fixture
def world(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    settings.API_RATES = {scope: [] for scope in settings.API_RATES}
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"  # costs no queries
    monkeypatch.setattr(ModelBackend, "get_user", _read_once(ModelBackend.get_user))
    monkeypatch.setattr(TemplateResponse, "rendered_content", "")  # only status and context count
    monkeypatch.setattr(admin.site, "each_context", lambda request: {})
    monkeypatch.setattr(download_links, "LINK_SECONDS", 3600)
    logging.disable()  # every refused request is logged with its traceback
    yield make_world()
    logging.disable(logging.NOTSET)


def _read_once(get_user: Callable[..., Any]) -> Callable[..., Any]:
    """Return a `get_user` that gives every request its copy of the user, who is the same before each."""

    @cache
    def read(user_id: str) -> Any:
        user = get_user(ModelBackend(), user_id)
        if user is not None:
            user.get_all_permissions()  # are kept with the user
        return user

    return lambda backend, user_id: copy(read(user_id))


def _roles(world: World) -> dict[str, User | None]:
    users: dict[str, User | None] = {"anonymous": None, "customer": world.owner, "staff": world.clerk}
    for group in Group.objects.exclude(name="customer").order_by("name"):
        users[group.name] = make_user(f"{group.name}@example.com", is_staff=True)
        users[group.name].groups.add(group)
    return users | {"superuser": world.admin}


def _url(route: Route, world: World, target: User | None = None) -> str:
    """Return the URL of an object: of the customer, or of its model's first one; one that does not exist is 0."""

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if route.model is User:
            return str((target or world.owner).pk) if name != "task_id" else str(world.things["data-export/task_id"])
        if not route.is_page:
            if name == "user_id" and target is not None:
                return str(target.pk)
            parent = route.pattern[: match.start()].rstrip("/").rsplit("/", 1)[-1]
            return str(world.things.get(f"{parent}/{name}") or world.things[name])
        known = {"app_label": "auth", "action": "approve", "what": "impair", "task_id": world.things["task_id"]}
        if name == "panel":
            return next(board.panels[0].name for board in DASHBOARDS if f"/{board.name}/" in route.pattern)
        if name in known:
            return str(known[name])
        if route.model is BackgroundTask:
            return str(world.things["task_id"])
        first = route.model and route.model._base_manager.first()
        return str(first.pk) if first else "0"

    pattern = route.pattern.replace("^", "").replace("$", "").replace("\\Z", "")
    pattern = re.sub(r"\(\?P<(\w+)>[^)]*\)", r"<\1>", pattern)
    return "/" + OBJECTS.sub(value, pattern)


# --- The matrix ------------------------------------------------------------------------------------------------------
def _observe(visitor: Visitor, method: str, url: str, route: Route) -> int:
    extra = {"content_type": "application/json", "data": "{}"} if url.startswith("/api/") and method != "get" else {}
    response = visitor.send(method, url, **extra)
    location = response.headers.get("Location", "")
    if location.startswith("/admin/login/"):
        return 401
    if location == "/admin/" and route.name.endswith("_history"):  # no such object; the permission was not checked
        request = RequestFactory().get(url)
        request.user = visitor.user
        return 200 if admin.site._registry[route.model].has_view_or_change_permission(request) else 403
    status: int = response.status_code
    return status


def _rows(world: World, visitors: Mapping[str, Visitor]) -> Iterator[str]:
    staff = make_staff("boss@example.com")
    observed: dict[tuple[Any, str], dict[tuple[str, ...], list[str]]] = {}
    for route in routes():
        targets: dict[str, User | None] = {"": None}
        if ":user_id>" in route.pattern or (route.model is User and OBJECTS.search(route.pattern)):
            targets = {" of a customer": world.owner, " of staff": staff}
        for label, target in targets.items():
            url = _url(route, world, target)
            if not route.is_page:
                assert resolve(url).func is route.view, f"{url} is not served by its own route"
            if (route.kind, label) not in observed:
                observed[route.kind, label] = _methods_by_row(route, url, visitors)
            for row, names in observed[route.kind, label].items():
                yield f"| {', '.join(names)} `/{route.pattern}`{label} | {' | '.join(row)} |\n"


def _methods_by_row(route: Route, url: str, visitors: Mapping[str, Visitor]) -> dict[tuple[str, ...], list[str]]:
    methods: dict[tuple[str, ...], list[str]] = {}
    for method in route.methods:
        statuses = [_observe(visitor, method, url, route) for visitor in visitors.values()]
        if 405 not in statuses:
            # Where some get 403, permissions are checked before the object is looked up.
            denied = {401, 403} if 403 in statuses else {401, 403, 404}
            row = tuple("–" if status in denied else "yes" for status in statuses)
            methods.setdefault(row, []).append(method.upper())
    return methods


INTRODUCTION: Final = """# Access

What each role reaches, as observed by real requests. A test compares this file with the code; `make access` writes it.

- *yes*: authentication and permissions let the request pass. Its body may still be refused.
- *–*: 401, 403, the log-in page, or 404 because the object belongs to somebody else.

*customer* owns the objects in question, except in rows “of staff”. *staff* has no permission and no role. The other
roles are those that the migrations create; *superuser* has every permission.

"""


def test_the_access_matrix_is_documented(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SchemaGenerator, "get_schema", lambda *args, **options: {})
    visitors = {role: Visitor(user) for role, user in _roles(world).items()}
    head = f"| route | {' | '.join(visitors)} |\n|---|{'---|' * len(visitors)}\n"
    text = INTRODUCTION + head + "".join(_rows(world, visitors))
    if os.environ.get("RECORD"):
        DOCUMENT.write_text(text)
    assert DOCUMENT.read_text() == text, "Access has changed. Check that it should, and run `make access`."


# --- What nobody may write --------------------------------------------------------------------------------------------
def _rights(actor: User | None) -> dict[str, set[tuple[Any, ...]]]:
    """Return who may do what, and what keeps the accounts of staff but the actor's own in the hands of their owners."""
    staff = User.objects.filter(Q(is_staff=True) | Q(is_superuser=True))
    others = staff.exclude(pk=actor.pk) if actor else staff
    return {
        "flags": set(staff.values_list("pk", "is_staff", "is_superuser")),
        "roles": set(User.groups.through.objects.values_list("user_id", "group_id")),
        "permissions": set(User.user_permissions.through.objects.values_list("user_id", "permission_id")),
        "permissions of roles": set(Group.permissions.through.objects.values_list("group_id", "permission_id")),
        "accounts": set(others.values_list("pk", "email", "password", "is_active", "pending_email")),
        "second factors": set(TOTPDevice.objects.filter(confirmed=True).values_list("pk", "user_id")),
    }


def _count_writes() -> int:
    """Return how many rows of the tables behind `_rights` this transaction wrote, also where it was rolled back."""
    models = (User, User.groups.through, User.user_permissions.through, Group.permissions.through, TOTPDevice)
    counters = [f"pg_stat_get_xact_tuples_{done}(t)" for done in ("inserted", "updated", "deleted")]
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT sum({' + '.join(counters)}) FROM unnest(%s::regclass[]) t",
            [[model._meta.db_table for model in models]],
        )
        return int(cursor.fetchone()[0])


def _privileged() -> dict[str, Any]:
    permissions = list(Permission.objects.values_list("pk", flat=True)[:2])
    values: dict[str, Any] = dict.fromkeys(RIGHTS, True) | {
        "groups": [Group.objects.get(name="admin").pk],
        "user_permissions": permissions,
        "permissions": permissions,
        "email": "taken-over@example.com",
        "password": "taken over by a thief",
    }
    return {re.sub(r"_(\w)", lambda match: match[1].upper(), name): value for name, value in values.items()} | values


def _form(superuser: Visitor, url: str) -> dict[str, Any]:
    """Return what the page's form would send, with the privileged fields on top."""
    context = getattr(superuser.send("get", url), "context_data", None) or {}
    form = getattr(context.get("adminform"), "form", None) or context.get("form") or ()
    filled = {field.html_name: value for field in form if (value := field.value()) not in (None, False, "")}
    privileged = {name: "on" if value is True else value for name, value in _privileged().items()}
    passwords = {"password1": "taken over by a thief", "password2": "taken over by a thief", "set-password": "1"}
    return filled | privileged | passwords | {"post": "yes"}


def _writes(route: Route, world: World, superuser: Visitor, target: User) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield (method, URL, arguments of the request) for everything that this route might write."""
    url = _url(route, world, target)
    if not route.is_page:
        path = "/" + OBJECTS.sub(r"{\1}", route.pattern)
        for operation in operations():
            if operation.path == path and operation.method != "get":
                content = operation.spec.get("requestBody", {}).get("content", {})
                body = sample(content["application/json"]["schema"]) if "application/json" in content else {}
                data = json.dumps(_privileged() | body if isinstance(body, dict) else body)
                yield operation.method, url, {"data": data, "content_type": "application/json"}
    elif "post" in route.methods:
        yield "post", url, {"data": _form(superuser, url)}
        if route.name.endswith("_changelist"):
            request = RequestFactory().get(url)
            request.user = superuser.user
            chosen = target if route.model is User else route.model._base_manager.first()
            for action in admin.site._registry[route.model].get_actions(request):
                form = {"action": action, "_selected_action": [chosen.pk if chosen else 0], "post": "yes"}
                yield "post", url, {"data": form}


def test_no_request_changes_rights_or_accounts_of_staff_but_a_superusers(world: World) -> None:
    """Nor does a superuser change their own rights."""
    TOTPDevice.objects.create(user=world.reviewer, name="authenticator")
    superuser = Visitor(world.admin)
    found: list[str] = []
    done_by_superuser: set[str] = set()
    writes = cache(lambda route, target: list(_writes(route, world, superuser, target)))
    one_of_each_kind = {route.kind: route for route in routes()}.values()
    for role, user in _roles(world).items():
        visitor, before = Visitor(user), _rights(user)
        for route in one_of_each_kind:
            aims_at_users = route.model is User or ":user_id>" in route.pattern
            targets = {user, world.owner, world.reviewer, world.admin} if aims_at_users else {world.owner}
            for target in targets - {None}:
                for method, url, request in writes(route, target):
                    after: dict[str, set[tuple[Any, ...]]] = {}
                    written = _count_writes()

                    def see(user: User | None = user, after: Any = after, written: int = written) -> None:
                        if _count_writes() != written:
                            after.update(_rights(user))

                    visitor.send(method, url, see=see, **request)
                    changed = {name: rows ^ before[name] for name, rows in after.items() if rows != before[name]}
                    if role == "superuser":
                        done_by_superuser |= changed.keys()
                        changed = {
                            name: rows
                            for name, rows in changed.items()
                            if name in {"flags", "roles", "permissions"} and any(row[0] == user.pk for row in rows)
                        }
                    if changed:
                        found.append(f"{role}: {method} {url} changed {sorted(changed)}")
    assert found == []
    assert done_by_superuser == set(_rights(None)), "the requests of this test must work for somebody"
