"""Which changes end the sessions and tokens of a user, and when sessions of staff end by themselves."""

from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_otp.plugins.otp_totp.models import TOTPDevice
from pytest_django import Settings

from kamioi_site.auth.two_factor import create_recovery_codes, remove_devices
from tests.factories import PASSWORD, api_client, make_staff, make_user
from transactions.models import ApiToken, User
from transactions.services.access import end_all_access
from transactions.services.accounts import change_password, make_password_reset_token, reset_password, update_profile
from transactions.services.email_addresses import apply_due_email_changes, make_email_token, use_email_token
from transactions.services.privacy import request_erasure
from transactions.services.user_admin import update_user

pytestmark = pytest.mark.django_db

NEW_PASSWORD = "another horse battery"


def _browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def _change_in_admin(user: User, **fields: Any) -> None:
    """Save the user's admin form as a superuser."""
    client, url = _browser(make_staff()), reverse("admin:transactions_user_change", args=[user.pk])
    form = client.get(url).context["adminform"].form
    data = {name: value for name in form.fields if (value := form[name].value()) not in (None, False)} | fields
    assert client.post(url, data).status_code == 302


def _set_password_in_admin(user: User, **fields: Any) -> None:
    client, url = _browser(make_staff()), reverse("admin:auth_user_password_change", args=[user.pk])
    assert client.post(url, fields).status_code == 302


def _confirm_second_factor(user: User) -> None:
    TOTPDevice.objects.create(user=user, name="authenticator")
    create_recovery_codes(user=user)


def _changepassword(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getpass", lambda prompt: NEW_PASSWORD)
    call_command("changepassword", user.email, stdout=StringIO())


def _change_e_mail(user: User, request: Callable[..., Any]) -> None:
    request(email="new@example.com")
    use_email_token(token=make_email_token("verify", user, "new@example.com"), purpose="verify")
    assert apply_due_email_changes(now=timezone.now() + timedelta(days=2)) == 1


CHANGES: dict[str, Callable[[User], Any]] = {
    "password": lambda user: change_password(user=user, new=NEW_PASSWORD, keep=None),
    "password reset": lambda user: reset_password(token=make_password_reset_token(user), password=NEW_PASSWORD),
    "password by an administrator": lambda user: _set_password_in_admin(
        user, password1=NEW_PASSWORD, password2=NEW_PASSWORD, **{"set-password": "1"}
    ),
    "no password by an administrator": lambda user: _set_password_in_admin(
        user, usable_password="false", **{"unset-password": "1"}
    ),
    "e-mail": lambda user: _change_e_mail(user, lambda **new: update_profile(user=user, changes=new)),
    "e-mail by an administrator": lambda user: _change_e_mail(user, lambda **new: _change_in_admin(user, **new)),
    "closed and opened": lambda user: [
        update_user(user_id=user.pk, changes={"is_active": is_open}, actor=make_staff()) for is_open in (False, True)
    ],
    "staff status": lambda user: _change_in_admin(user, is_staff="on"),
    "superuser status": lambda user: _change_in_admin(user, is_superuser="on"),
    "role": lambda user: _change_in_admin(user, groups=["1"]),
    "permission": lambda user: _change_in_admin(user, user_permissions=["1"]),
    "second factor": _confirm_second_factor,
    "no second factor": lambda user: remove_devices(user=user, actor=user),
    "erasure": lambda user: [
        request_erasure(user=user, actor=user, reason=""),
        User.objects.filter(pk=user.pk).update(is_active=True),
    ],
}


def _works(browser: Client, api: Any) -> set[bool]:
    return {client.get("/api/user/auth/me").status_code == 200 for client in (browser, api)}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_credentials_or_rights_ends_every_session_and_token(change: str) -> None:
    user, other = make_user(), make_user()
    mine, others = (_browser(user), api_client(user)), (_browser(other), api_client(other))
    assert _works(*mine) == _works(*others) == {True}
    CHANGES[change](user)
    assert _works(*mine) == {False}
    assert _works(*others) == {True}


def test_the_command_for_a_new_password_ends_tokens_too(monkeypatch: pytest.MonkeyPatch) -> None:
    user = make_user()
    mine = _browser(user), api_client(user)
    _changepassword(user, monkeypatch)
    assert _works(*mine) == {False}


def test_a_new_password_in_the_admin_keeps_only_the_session_that_set_it() -> None:
    user = make_staff()
    here, *others = _browser(user), _browser(user), api_client(user)
    passwords = {"old_password": PASSWORD, "new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD}
    assert here.post(reverse("admin:password_change"), passwords).status_code == 302
    assert here.get("/admin/").status_code == 200
    assert _works(*others) == {False}


def test_a_log_in_that_renews_the_hash_keeps_tokens(settings: Settings) -> None:
    user = make_user()
    token = api_client(user)
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher", *settings.PASSWORD_HASHERS]
    body = {"email": user.email, "password": PASSWORD}
    assert api_client().post("/api/user/auth/login", body, format="json").status_code == 200
    user.refresh_from_db()
    assert user.password.startswith("pbkdf2")
    assert token.get("/api/user/auth/me").status_code == 200


def test_other_changes_end_nothing() -> None:
    user = make_user()
    mine = _browser(user), api_client(user)
    _change_in_admin(user, name="Ann")
    update_profile(user=user, changes={"city": "Rome", "email": user.email})
    assert _works(*mine) == {True}


def test_the_number_of_queries_does_not_depend_on_the_sessions(django_assert_num_queries: Any) -> None:
    user = make_user()
    browsers = [_browser(user) for _ in range(20)]
    with django_assert_num_queries(5):  # a savepoint, two updates, one read
        end_all_access(user)
    assert {browser.get("/api/user/auth/me").status_code for browser in browsers} == {401}


def test_the_token_that_made_the_change_survives() -> None:
    client, other = (api_client(user := make_user()), api_client(user))
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    assert client.post("/api/user/auth/change-password", body, format="json").status_code == 200
    assert client.get("/api/user/auth/me").status_code == 200
    assert other.get("/api/user/auth/me").status_code == 401


# --- Sessions of staff ------------------------------------------------------------------------------------------
def _age(browser: Client, **ages: float) -> None:
    session = browser.session
    for name, seconds in ages.items():
        session[f"staff_session_{name}"] -= seconds
    session.save()


@pytest.mark.parametrize(
    ("ages", "status"),
    [
        ({"seen": 3540}, 200),
        ({"seen": 3660}, 302),
        ({"started": 12 * 3600 - 60}, 200),
        ({"started": 12 * 3600 + 60}, 302),
    ],
)
def test_a_session_of_staff_ends_after_an_idle_hour_and_after_twelve_hours(ages: dict[str, float], status: int) -> None:
    browser = _browser(make_staff())
    _age(browser, **ages)
    assert browser.get("/admin/").status_code == status
    # The API accepts no older one, and an ended one stays ended.
    assert (browser.get("/api/admin/auth/me").status_code == 200) == (status == 200)


def test_requests_keep_a_session_alive_but_polls_of_an_open_page_do_not() -> None:
    browser = _browser(make_staff())
    for _ in range(2):
        _age(browser, seen=3000)
        assert browser.get("/admin/").status_code == 200
    for _ in range(2):
        _age(browser, seen=3000)
        polled = browser.get("/api/admin/auth/me", HTTP_SEC_FETCH_MODE="cors").status_code
    assert polled == 401


def test_a_session_of_a_customer_lasts() -> None:
    browser = _browser(make_user())
    _age(browser, seen=90_000, started=90_000)
    assert browser.get("/api/user/auth/me").status_code == 200


def test_the_idle_time_is_a_setting(settings: Settings) -> None:
    settings.STAFF_SESSION_IDLE = timedelta(minutes=5)
    browser = _browser(make_staff())
    _age(browser, seen=301)
    assert browser.get("/admin/").status_code == 302


def test_tokens_of_staff_last_as_long_as_their_sessions() -> None:
    for user, hours in ((make_staff(), 12), (make_user(), 14 * 24)):
        token, _ = ApiToken.issue(user=user)
        assert token.expires_at - token.created_at == timedelta(hours=hours)
