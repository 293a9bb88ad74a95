"""Every check of a password counts and is limited like a log-in."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.conf import settings as django_settings
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from tests.factories import PASSWORD, make_staff
from transactions.models import ApiToken, User

pytestmark = pytest.mark.django_db

ADDRESS = "10.1.1.1"
Route = Callable[[User, str, str], int]


def _api(path: str, method: str = "post", **body: Any) -> Route:
    """Return a request that fails after the password was accepted, so that it can be repeated."""

    def send(user: User, password: str, address: str) -> int:
        client = APIClient(REMOTE_ADDR=address)
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {ApiToken.issue(user=user)[1]}")
        return getattr(client, method)(path, body | {"currentPassword": password}, format="json").status_code

    return send


def _log_in(user: User, password: str, address: str) -> int:
    body = {"email": user.email, "password": password}
    return APIClient(REMOTE_ADDR=address).post("/api/user/auth/login", body, format="json").status_code


def _admin_log_in(user: User, password: str, address: str) -> int:
    form = {"username": user.email, "password": password}
    return Client(REMOTE_ADDR=address).post(reverse("admin:login"), form).status_code


def _admin_password_page(user: User, password: str, address: str) -> int:
    client = Client(REMOTE_ADDR=address)
    client.force_login(user)
    form = {"old_password": password, "new_password1": "x", "new_password2": "y"}
    return client.post(reverse("admin:password_change"), form).status_code


# Route → (request, status of a wrong password).
ROUTES: dict[str, tuple[Route, int]] = {
    "API log-in": (_log_in, 401),
    "admin log-in": (_admin_log_in, 200),
    "admin password page": (_admin_password_page, 200),
    "change password": (_api("/api/user/auth/change-password", newPassword="short"), 400),
    "change e-mail": (_api("/api/user/profile", "put", email="taken@example.com"), 400),
    "erasure": (_api("/api/user/erasure"), 400),
}
# The only functions that may check a password, by Django's `authenticate`, which django-axes counts.
CHECKS = {"kamioi_site/auth/login_throttling.py:confirm_password", "transactions/api/authentication.py:log_in"}


@pytest.fixture
def user(settings) -> User:
    settings.API_RATES = settings.API_RATES | {"login": [], "login_email": []}
    make_staff("taken@example.com")
    return make_staff()


@pytest.mark.parametrize("route", ROUTES)
def test_wrong_passwords_lock_the_account_at_this_address_on_every_route(route: str, user: User) -> None:
    send, wrong = ROUTES[route]
    limit = django_settings.AXES_FAILURE_LIMIT
    assert [send(user, "wrong", ADDRESS) for _ in range(limit)] == [wrong] * (limit - 1) + [429]
    for name, (other, _) in ROUTES.items():
        assert other(user, PASSWORD, ADDRESS) == 429, name
    assert send(user, PASSWORD, "10.1.1.2") not in {wrong if wrong == 401 else 0, 429}


@pytest.mark.parametrize("route", ROUTES)
def test_a_right_password_resets_the_count_on_every_route(route: str, user: User) -> None:
    send, wrong = ROUTES[route]
    for _ in range(3):
        for _ in range(django_settings.AXES_FAILURE_LIMIT - 1):
            assert send(user, "wrong", ADDRESS) == wrong
        assert send(user, PASSWORD, ADDRESS) != 429
        assert not AccessAttempt.objects.exists()


def test_wrong_passwords_of_all_routes_count_together(user: User) -> None:
    routes = [send for send, _ in ROUTES.values()][: django_settings.AXES_FAILURE_LIMIT]
    assert [send(user, "wrong", ADDRESS) for send in routes][-1] == 429


@pytest.mark.parametrize("route", ROUTES)
def test_an_account_is_protected_from_many_addresses(route: str, user: User, settings) -> None:
    settings.API_RATES = settings.API_RATES | {"login_email": ["4/h"]}
    send, wrong = ROUTES[route]
    codes = [send(user, "wrong", f"10.2.0.{number}") for number in range(6)]
    refused = 200 if route.startswith("admin") else 429  # the forms of the admin show the reason
    assert codes == [wrong] * 4 + [refused] * 2
    assert AccessAttempt.objects.count() == 4


@pytest.mark.parametrize("route", ROUTES)
def test_one_person_cannot_lock_out_others_behind_the_same_address(route: str, user: User, settings) -> None:
    settings.API_RATES = settings.API_RATES | {"login": ["8/h"], "login_email": ["10/h"]}
    assert _log_in(user, PASSWORD, ADDRESS) == 200
    send, wrong = ROUTES[route]
    attacker = make_staff()
    for number in range(10):
        send(attacker, "wrong", ADDRESS)
        _log_in(User(email=f"x{number}@example.com"), "wrong", ADDRESS)
    assert _log_in(attacker, PASSWORD, ADDRESS) == 429
    assert send(user, "wrong", ADDRESS) == wrong
    assert send(user, PASSWORD, ADDRESS) != 429


def test_the_default_limits_by_address_are_larger_than_those_by_account(settings) -> None:
    from django_ratelimit.core import _split_rate

    def per_second(scope: str) -> float:
        count, seconds = _split_rate(settings.API_RATES[scope][0])
        return count / seconds

    for scope in ("login", "reset"):
        assert per_second(scope) >= 5 * per_second(f"{scope}_email")


def test_no_other_code_checks_a_password() -> None:
    found = set()
    for package in ("kamioi_site", "transactions", "llm_center", "analytics"):
        for path in Path(django_settings.BASE_DIR, package).rglob("*.py"):
            for function in ast.walk(ast.parse(path.read_text())):
                if not isinstance(function, ast.FunctionDef):
                    continue
                for node in ast.walk(function):
                    name = getattr(getattr(node, "func", None), "attr", getattr(getattr(node, "func", None), "id", ""))
                    if isinstance(node, ast.Call) and name in {"check_password", "authenticate", "acheck_password"}:
                        found.add(f"{path.relative_to(django_settings.BASE_DIR)}:{function.name}")
    assert found - {"kamioi_site/auth/login_throttling.py:authenticate"} == CHECKS
