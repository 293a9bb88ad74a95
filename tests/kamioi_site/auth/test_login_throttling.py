"""Guessing passwords is limited, and an attacker cannot lock a user out."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from axes.models import AccessAttempt
from django.contrib.auth import authenticate
from django.contrib.auth.models import Group
from django.test import Client, RequestFactory
from django.urls import reverse
from pytest_django import Settings
from rest_framework.test import APIClient

from kamioi_site.auth.login_throttling import client_address
from tests.factories import PASSWORD, make_staff, make_user

pytestmark = pytest.mark.django_db

HOME, ATTACKER = "10.0.0.1", "10.9.9.9"


def _log_in(email: str, password: str = "wrong", *, address: str = ATTACKER) -> Any:
    body = {"email": email, "password": password}
    return APIClient(REMOTE_ADDR=address).post("/api/user/auth/login", body, format="json")


@pytest.fixture
def _no_other_limits(settings: Settings) -> None:
    settings.API_RATES = settings.API_RATES | {"login": [], "login_email": []}


@pytest.mark.usefixtures("_no_other_limits")
def test_five_wrong_passwords_lock_the_e_mail_at_that_address_only() -> None:
    user, other = make_user("ann@example.com"), make_user()
    assert [_log_in("Ann@Example.com").status_code for _ in range(5)] == [401] * 4 + [429]
    locked = _log_in(user.email, PASSWORD)
    assert locked.status_code == 429
    assert locked["Retry-After"] == "900"
    assert locked.json() == {"success": False, "error": "Too many wrong passwords from here. Try again in 15 minutes."}
    assert _log_in(user.email, PASSWORD, address=HOME).status_code == 200
    assert _log_in(other.email, PASSWORD).status_code == 200


@pytest.mark.usefixtures("_no_other_limits")
def test_the_lock_expires_although_attempts_continue() -> None:
    user = make_user()
    with time_machine.travel(datetime(2026, 11, 3, tzinfo=UTC), tick=False) as clock:
        for _ in range(5):
            _log_in(user.email)
        clock.shift(timedelta(minutes=14))
        assert _log_in(user.email, PASSWORD).status_code == 429
        clock.shift(timedelta(minutes=2))
        assert _log_in(user.email, PASSWORD).status_code == 200
    assert not AccessAttempt.objects.exists()


@pytest.mark.usefixtures("_no_other_limits")
def test_a_correct_password_resets_the_count() -> None:
    user = make_user()
    for _ in range(3):
        assert [_log_in(user.email).status_code for _ in range(4)] == [401] * 4
        assert _log_in(user.email, PASSWORD).status_code == 200


@pytest.mark.usefixtures("_no_other_limits")
def test_no_password_is_stored() -> None:
    user = make_staff()
    client = Client(REMOTE_ADDR=ATTACKER)
    client.post(reverse("admin:login"), {"username": user.email, "password": "my-secret-mistake"})
    assert "my-secret-mistake" not in str(AccessAttempt.objects.values().get())


def test_many_addresses_block_an_e_mail_except_from_known_addresses(settings: Settings) -> None:
    settings.API_RATES = settings.API_RATES | {"login_email": ["10/15m"]}
    user = make_user()
    assert _log_in(user.email, PASSWORD, address=HOME).status_code == 200
    codes = [_log_in(user.email, address=f"10.7.0.{number}").status_code for number in range(12)]
    assert codes == [401] * 9 + [429] * 3  # the first log-in came from an unknown address too
    assert _log_in(user.email, PASSWORD, address="10.8.0.1").status_code == 429
    assert _log_in(user.email, PASSWORD, address=HOME).status_code == 200


@pytest.mark.usefixtures("_no_other_limits")
def test_the_admin_log_in_is_locked_too() -> None:
    user = make_staff()
    client = Client(REMOTE_ADDR=ATTACKER)
    form = {"username": user.email, "password": "wrong"}
    codes = [client.post(reverse("admin:login"), form).status_code for _ in range(5)]
    assert codes == [200] * 4 + [429]
    response = client.post(reverse("admin:login"), form | {"password": PASSWORD})
    assert response.status_code == 429
    assert "Try again in 15 minutes" in response.content.decode()
    assert Client(REMOTE_ADDR=HOME).post(reverse("admin:login"), form | {"password": PASSWORD}).status_code == 302


def test_an_address_that_tries_many_e_mails_in_the_admin_is_limited(settings: Settings) -> None:
    settings.API_RATES = settings.API_RATES | {"login": ["3/h"]}
    client = Client(REMOTE_ADDR=ATTACKER)
    user = make_staff()
    for number in range(3):
        client.post(reverse("admin:login"), {"username": f"x{number}@example.com", "password": "wrong"})
    response = client.post(reverse("admin:login"), {"username": user.email, "password": PASSWORD})
    assert "Too many attempts" in response.content.decode()


@pytest.mark.usefixtures("_no_other_limits")
def test_an_operator_removes_a_lock(client: Client) -> None:
    user, operator = make_user(), make_user(is_staff=True)
    operator.groups.add(Group.objects.get(name="operator"))
    for _ in range(5):
        _log_in(user.email)
    client.force_login(operator)
    row = AccessAttempt.objects.get()
    assert user.email in client.get(reverse("admin:axes_accessattempt_changelist")).content.decode()
    client.post(reverse("admin:axes_accessattempt_delete", args=[row.pk]), {"post": "yes"})
    assert _log_in(user.email, PASSWORD).status_code == 200


@pytest.mark.parametrize(
    ("peer", "address"),
    [("10.1.2.3", "10.1.2.3"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"), ("::ffff:10.1.2.3", "10.1.2.3"), ("", None)],
)
def test_ipv6_addresses_count_by_network(peer: str, address: str | None) -> None:
    assert client_address(RequestFactory().get("/", REMOTE_ADDR=peer)) == address


def test_a_password_can_be_checked_without_a_request() -> None:
    user = make_user()
    assert authenticate(username=user.email, password=PASSWORD) == user
