"""Login, logout, tokens, and round-up settings."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from tests.factories import PASSWORD, api_client, make_staff, make_user
from transactions.models import ApiToken, User

pytestmark = pytest.mark.django_db


def _log_in(area: str = "user", email: str = "ann@example.com", password: str = PASSWORD) -> Any:
    return api_client().post(f"/api/{area}/auth/login", {"email": email, "password": password}, format="json")


def _with_token(token: str) -> APIClient:
    client = api_client()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


@pytest.mark.parametrize("area", ["user", "family", "business"])
def test_login_returns_the_legacy_format_with_a_valid_token(area: str) -> None:
    user = make_user("ann@example.com", name="Ann", account_type="family", account_number="F1234567")
    reply = _log_in(area, email="ANN@Example.com ")
    assert reply.status_code == 200
    token = reply.json()["token"]
    person = {
        "id": user.pk,
        "email": "ann@example.com",
        "name": "Ann",
        "role": "family",
        "dashboard": "family",
        "account_number": "F1234567",
    }
    assert reply.json() == {"success": True, "token": token, "user": person}
    assert _with_token(token).get(f"/api/{area}/auth/me").json() == {"success": True, "user": person}
    user.refresh_from_db()
    assert user.last_login is not None


def test_staff_log_in_to_the_admin_area_with_their_permissions() -> None:
    make_staff("ann@example.com")
    reply = _log_in("admin").json()
    assert (reply["user"]["role"], reply["user"]["dashboard"]) == ("admin", "admin")
    assert "transactions.view_merchant" in reply["user"]["permissions"]
    assert _with_token(reply["token"]).get("/api/admin/auth/me").status_code == 200


def test_a_customer_cannot_log_in_to_the_admin_area() -> None:
    user = make_user("ann@example.com")
    assert _log_in("admin").status_code == 401
    assert not ApiToken.objects.exists()
    assert api_client(user).get("/api/admin/auth/me").status_code == 403


def test_wrong_password_unknown_e_mail_and_closed_account_get_the_same_response() -> None:
    make_user("ann@example.com")
    make_user("gone@example.com", is_active=False)
    replies = [_log_in(password="wrong"), _log_in(email="who@example.com"), _log_in(email="gone@example.com")]
    assert {reply.status_code for reply in replies} == {401}
    assert {reply.content for reply in replies} == {replies[0].content}
    assert replies[0].json() == {"success": False, "error": "Wrong e-mail or password."}
    assert replies[0]["WWW-Authenticate"] == "Bearer"


def test_an_unknown_e_mail_takes_a_password_hash_too(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    monkeypatch.setattr(User, "set_password", lambda self, password: hashed.append(password))
    _log_in(email="who@example.com", password="guess")
    assert hashed == ["guess"]


@pytest.mark.parametrize(
    "body",
    [{}, {"email": "ann@example.com"}, {"email": "", "password": "x"}, {"email": "a\0b", "password": "x"}, [], "x"],
)
def test_an_invalid_login_is_refused(body: object) -> None:
    assert api_client().post("/api/user/auth/login", body, format="json").status_code == 400


def test_guessing_is_limited_by_e_mail_and_by_address(settings: Settings) -> None:
    user = make_user()
    settings.API_RATES = settings.API_RATES | {"login": ["4/h"], "login_email": ["2/h"]}
    codes = [_log_in(email=user.email, password="wrong").status_code for _ in range(2)]
    assert codes == [401, 401]
    assert _log_in(email=user.email.upper()).status_code == 429  # even with the right password and another case
    client = api_client()
    body = {"password": "x"}
    codes = [
        client.post("/api/user/auth/login", body | {"email": f"{number}.{user.email}"}, format="json").status_code
        for number in range(5)
    ]
    assert codes == [401, 401, 401, 401, 429]


def test_logout_revokes_only_this_token() -> None:
    user = make_user()
    here, elsewhere = api_client(user), api_client(user)
    assert here.post("/api/user/auth/logout").json()["success"] is True
    assert here.get("/api/user/auth/me").status_code == 401
    assert elsewhere.get("/api/user/auth/me").status_code == 200


@pytest.mark.parametrize("change", ["expired", "revoked", "inactive"])
def test_a_token_that_is_no_longer_valid_is_401(change: str) -> None:
    user = make_user()
    row, token = ApiToken.issue(user=user)
    if change == "inactive":
        User.objects.filter(pk=user.pk).update(is_active=False)
    else:
        field = {"expired": "expires_at", "revoked": "revoked_at"}[change]
        ApiToken.objects.filter(pk=row.pk).update(**{field: timezone.now() - timedelta(seconds=1)})
    reply = _with_token(token).get("/api/user/auth/me")
    assert reply.status_code == 401
    assert reply["WWW-Authenticate"] == "Bearer"
    assert reply.json() == {"success": False, "error": "The token is invalid or has expired."}


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer a b", "bearer x", "Bearer token_1", "Bearer \xff", "Bearer admin_token_1"]
)
def test_forged_tokens_are_401(header: str) -> None:
    client = api_client()
    client.credentials(HTTP_AUTHORIZATION=header)
    assert client.get("/api/user/auth/me").status_code == 401


def test_a_token_is_never_stored_and_is_checked_in_one_query() -> None:
    user = make_user()
    row, token = ApiToken.issue(user=user)
    assert token not in str(ApiToken.objects.filter(pk=row.pk).values())
    client = _with_token(token)
    with CaptureQueriesContext(connection) as queries:
        assert client.get("/api/user/auth/me").status_code == 200
    assert len(queries) == 1


def test_round_up_settings_can_be_read_and_changed() -> None:
    user = make_user()
    client = api_client(user)
    settings = {"success": True, "round_up_amount": 1, "round_up_enabled": True, "round_up_rule": "flat"}
    assert client.get("/api/user/settings/roundup").json() == settings
    reply = client.put("/api/family/settings/roundup", {"round_up_amount": 5, "round_up_enabled": False}, format="json")
    assert reply.json() == settings | {"round_up_amount": 5, "round_up_enabled": False}
    user.refresh_from_db()
    assert (user.round_up_amount, user.round_up_enabled) == (5, False)
    assert client.put("/api/user/settings/roundup", {"round_up_rule": "next_dollar"}, format="json").status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"round_up_amount": 0}, "round_up_amount"),
        ({"round_up_amount": 101}, "round_up_amount"),
        ({"round_up_amount": 1.5}, "round_up_amount"),
        ({"round_up_enabled": "perhaps"}, "round_up_enabled"),
        ({"round_up_rule": "double"}, "round_up_rule"),
    ],
)
def test_round_up_settings_out_of_range_are_refused_and_nothing_changes(body: dict[str, object], field: str) -> None:
    user = make_user(round_up_amount=3)
    reply = api_client(user).put("/api/user/settings/roundup", body, format="json")
    assert reply.status_code == 400
    assert field in reply.json()["errors"]
    user.refresh_from_db()
    assert (user.round_up_amount, user.round_up_rule) == (3, "flat")


def test_a_session_of_the_admin_works_too_but_not_without_csrf() -> None:
    user = make_staff()
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(user)
    assert client.get("/api/user/auth/me").status_code == 200
    assert client.put("/api/user/settings/roundup", {"round_up_amount": 2}, format="json").status_code == 403
