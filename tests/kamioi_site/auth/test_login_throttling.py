"""Guessing passwords is stopped, and nobody can lock somebody else out."""

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

HOME, STRANGER = "10.0.0.1", "10.9.9.9"


def _try(email: str, password: str = "wrong", *, address: str = STRANGER) -> Any:
    body = {"email": email, "password": password}
    return APIClient(REMOTE_ADDR=address).post("/api/user/auth/login", body, format="json")


@pytest.fixture
def _no_other_limits(settings: Settings) -> None:
    settings.API_RATES = settings.API_RATES | {"login": [], "login_email": []}


@pytest.mark.usefixtures("_no_other_limits")
def test_five_wrong_passwords_lock_the_e_mail_at_that_address_only() -> None:
    user, other = make_user("ann@example.com"), make_user()
    assert [_try("Ann@Example.com").status_code for _ in range(5)] == [401] * 4 + [429]
    locked = _try(user.email, PASSWORD)
    assert locked.status_code == 429
    assert locked["Retry-After"] == "900"
    assert locked.json() == {"success": False, "error": "Too many wrong passwords from here. Try again in 15 minutes."}
    assert _try(user.email, PASSWORD, address=HOME).status_code == 200
    assert _try(other.email, PASSWORD).status_code == 200


@pytest.mark.usefixtures("_no_other_limits")
def test_the_lock_opens_by_itself_however_often_somebody_knocks() -> None:
    user = make_user()
    with time_machine.travel(datetime(2026, 11, 3, tzinfo=UTC), tick=False) as clock:
        for _ in range(5):
            _try(user.email)
        clock.shift(timedelta(minutes=14))
        assert _try(user.email, PASSWORD).status_code == 429
        clock.shift(timedelta(minutes=2))
        assert _try(user.email, PASSWORD).status_code == 200
    assert not AccessAttempt.objects.exists()


@pytest.mark.usefixtures("_no_other_limits")
def test_a_right_password_forgets_the_wrong_ones() -> None:
    user = make_user()
    for _ in range(3):
        assert [_try(user.email).status_code for _ in range(4)] == [401] * 4
        assert _try(user.email, PASSWORD).status_code == 200


@pytest.mark.usefixtures("_no_other_limits")
def test_no_password_is_kept() -> None:
    user = make_staff()
    client = Client(REMOTE_ADDR=STRANGER)
    client.post(reverse("admin:login"), {"username": user.email, "password": "my-secret-mistake"})
    assert "my-secret-mistake" not in str(AccessAttempt.objects.values().get())


def test_many_addresses_hold_up_strangers_but_not_who_has_been_here_before(settings: Settings) -> None:
    settings.API_RATES = settings.API_RATES | {"login_email": ["10/15m"]}
    user = make_user()
    assert _try(user.email, PASSWORD, address=HOME).status_code == 200
    codes = [_try(user.email, address=f"10.7.0.{number}").status_code for number in range(12)]
    assert codes == [401] * 9 + [429] * 3  # the first log-in was a stranger's too
    assert _try(user.email, PASSWORD, address="10.8.0.1").status_code == 429
    assert _try(user.email, PASSWORD, address=HOME).status_code == 200


@pytest.mark.usefixtures("_no_other_limits")
def test_the_admins_log_in_is_locked_alike() -> None:
    user = make_staff()
    client = Client(REMOTE_ADDR=STRANGER)
    form = {"username": user.email, "password": "wrong"}
    codes = [client.post(reverse("admin:login"), form).status_code for _ in range(5)]
    assert codes == [200] * 4 + [429]
    reply = client.post(reverse("admin:login"), form | {"password": PASSWORD})
    assert reply.status_code == 429
    assert "Try again in 15 minutes" in reply.content.decode()
    assert Client(REMOTE_ADDR=HOME).post(reverse("admin:login"), form | {"password": PASSWORD}).status_code == 302


def test_one_address_that_tries_many_e_mails_in_the_admin_is_counted(settings: Settings) -> None:
    settings.API_RATES = settings.API_RATES | {"login": ["3/h"]}
    client = Client(REMOTE_ADDR=STRANGER)
    user = make_staff()
    for number in range(3):
        client.post(reverse("admin:login"), {"username": f"x{number}@example.com", "password": "wrong"})
    reply = client.post(reverse("admin:login"), {"username": user.email, "password": PASSWORD})
    assert "Too many attempts" in reply.content.decode()


@pytest.mark.usefixtures("_no_other_limits")
def test_an_operator_opens_a_lock(client: Client) -> None:
    user, operator = make_user(), make_user(is_staff=True)
    operator.groups.add(Group.objects.get(name="operator"))
    for _ in range(5):
        _try(user.email)
    client.force_login(operator)
    row = AccessAttempt.objects.get()
    assert user.email in client.get(reverse("admin:axes_accessattempt_changelist")).content.decode()
    client.post(reverse("admin:axes_accessattempt_delete", args=[row.pk]), {"post": "yes"})
    assert _try(user.email, PASSWORD).status_code == 200


@pytest.mark.parametrize(
    ("peer", "address"),
    [("10.1.2.3", "10.1.2.3"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"), ("::ffff:10.1.2.3", "10.1.2.3"), ("", None)],
)
def test_an_address_is_what_one_caller_has_only_one_of(peer: str, address: str | None) -> None:
    assert client_address(RequestFactory().get("/", REMOTE_ADDR=peer)) == address


def test_a_program_checks_a_password_without_a_request() -> None:
    user = make_user()
    assert authenticate(username=user.email, password=PASSWORD) == user
