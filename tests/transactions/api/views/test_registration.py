"""Registration, password reset, profile and settings."""

import re
from datetime import timedelta
from threading import Barrier, Thread
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from tests.factories import PASSWORD, api_client, make_user
from transactions.models import ApiToken, User, UserSetting
from transactions.services import accounts
from transactions.services.accounts import make_password_reset_token, register_user, send_password_reset_email
from transactions.tasks import send_password_reset

pytestmark = pytest.mark.django_db

NEW = {
    "email": "New@Example.com",
    "password": "correct horse battery",
    "firstName": "Nell",
    "lastName": "New",
    "termsAgreed": True,
}


def _register(body: dict[str, Any], area: str = "user") -> Any:
    return api_client().post(f"/api/{area}/auth/register", body, format="json")


# --- Registration ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("area", "body", "kind", "letter"),
    [
        ("user", {}, "individual", "I"),
        ("family", {}, "family", "F"),
        ("business", {}, "business", "B"),
        ("user", {"accountType": "business"}, "business", "B"),
        ("user", {"account_type": "family"}, "family", "F"),
    ],
)
def test_a_new_customer_gets_an_account_number_and_a_valid_token(
    area: str, body: dict[str, str], kind: str, letter: str
) -> None:
    reply = _register(NEW | body, area)
    assert reply.status_code == 201, reply.json()
    token, person = reply.json()["token"], reply.json()["user"]
    user = User.objects.get()
    assert person == {
        "id": user.pk,
        "email": "New@example.com",
        "name": "Nell New",
        "role": kind,
        "dashboard": kind,
        "account_number": user.account_number,
    }
    assert re.fullmatch(rf"{letter}\d{{7}}", user.account_number or "")
    assert user.user_guid == f"USR-{user.account_number}"
    assert (user.is_staff, user.is_superuser, user.round_up_amount) == (False, False, 1)
    client = api_client()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    assert client.get(f"/api/{area}/auth/me").json()["user"] == person
    login = {"email": "new@example.com", "password": NEW["password"]}
    assert api_client().post(f"/api/{area}/auth/login", login, format="json").status_code == 200


def test_profile_fields_are_stored_in_either_spelling_and_nothing_else() -> None:
    profile = {
        "address": "1 Road",
        "city": "Austin",
        "state": "TX",
        "zipCode": "73301",
        "phone": "555",
        "country": "US",
        "timezone": "America/Chicago",
        "risk_tolerance": "aggressive",
        "roundUpAmount": 3,
        "termsAgreed": True,
        "is_staff": True,
        "is_superuser": True,
        "id": 7,
        "ssn_last4": "1234",
        "date_of_birth": "1990-01-01",
    }
    assert _register(NEW | profile).status_code == 201
    user = User.objects.get()
    assert (user.address, user.zip_code, user.time_zone, user.country) == ("1 Road", "73301", "America/Chicago", "US")
    assert (user.risk_tolerance, user.round_up_amount, user.is_staff, user.is_superuser) == (
        "aggressive",
        3,
        False,
        False,
    )
    assert (user.terms_agreed_at, user.terms_version) == (user.created_at, "1")
    assert user.privacy_agreed_at is None
    assert "1234" not in str(User.objects.values().get())


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"email": "none"}, "email"),
        ({"email": ""}, "email"),
        ({"password": "short"}, "password"),
        ({"password": "password123"}, "password"),
        ({"password": "nell new"}, "password"),
        ({"email": "batteryhorse@example.com", "password": "batteryhorse"}, "password"),
        ({"accountType": "admin"}, "accountType"),
        ({"roundUpAmount": 0}, "roundUpAmount"),
        ({"zipCode": "x" * 21}, "zipCode"),
        ({"termsAgreed": False}, "termsAgreed"),
        ({"termsAgreed": None}, "termsAgreed"),
        ({"termsAgreed": "maybe"}, "termsAgreed"),
    ],
)
def test_an_invalid_registration_is_refused_by_field(change: dict[str, Any], field: str) -> None:
    reply = _register(NEW | change)
    assert reply.status_code == 400
    assert list(reply.json()["errors"]) == [field]
    assert not User.objects.exists()


def test_registering_without_the_terms_is_refused() -> None:
    reply = _register({name: value for name, value in NEW.items() if name != "termsAgreed"})
    assert (reply.status_code, list(reply.json()["errors"])) == (400, ["termsAgreed"])
    assert not User.objects.exists()


def test_a_registered_e_mail_is_409_in_any_case() -> None:
    make_user("new@example.com")
    reply = _register(NEW)
    assert (reply.status_code, reply.json()["success"]) == (409, False)
    assert User.objects.count() == 1


def test_a_used_account_number_is_not_assigned_again(monkeypatch: pytest.MonkeyPatch) -> None:
    make_user(account_number="I0000007")
    numbers = iter([7, 7, 8])
    monkeypatch.setattr(accounts.secrets, "randbelow", lambda _: next(numbers))
    user = register_user(email="a@example.com", password="correct horse battery", account_type="individual")
    assert user.account_number == "I0000008"


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_concurrent_registrations_of_one_e_mail_create_one_customer() -> None:
    barrier, codes = Barrier(2), []

    def register(email: str) -> None:
        client = api_client()
        barrier.wait()
        codes.append(client.post("/api/user/auth/register", NEW | {"email": email}, format="json").status_code)
        connection.close()

    threads = [Thread(target=register, args=[email]) for email in ("new@example.com", "NEW@example.com")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [201, 409]
    assert User.objects.count() == 1


def test_registering_is_limited_by_address(settings: Settings) -> None:
    settings.API_RATES = settings.API_RATES | {"register": ["2/h"]}
    client = api_client()
    codes = [client.post("/api/user/auth/register", {}, format="json").status_code for _ in range(3)]
    assert codes == [400, 400, 429]


# --- Password reset ----------------------------------------------------------------------------------------
def _token_of_mail() -> str:
    found = re.search(r"[?&]token=(\S+)", str(mail.outbox[-1].body))
    assert found
    return found[1]


@pytest.mark.parametrize("way", ["user/auth/", "user/", "family/auth/", "business/", "admin/auth/"])
def test_a_password_is_reset_once_by_e_mail_and_all_tokens_are_revoked(way: str) -> None:
    user = make_user("ann@example.com")
    logged_in = api_client(user)
    assert send_password_reset("ANN@example.com") is True
    assert mail.outbox[0].to == ["ann@example.com"]
    token, client = _token_of_mail(), api_client()
    assert client.post(f"/api/{way}verify-reset-token", {"token": token}, format="json").json()["success"] is True
    weak = client.post(f"/api/{way}reset-password", {"token": token, "password": "short"}, format="json")
    assert (weak.status_code, list(weak.json()["errors"])) == (400, ["password"])
    body = {"token": token, "password": "another long password"}
    assert client.post(f"/api/{way}reset-password", body, format="json").status_code == 200
    assert logged_in.get("/api/user/auth/me").status_code == 401
    for name in ("reset-password", "verify-reset-token"):
        again = client.post(f"/api/{way}{name}", body, format="json")
        assert (again.status_code, again.json()["success"]) == (400, False)
    for password, code in [(PASSWORD, 401), ("another long password", 200)]:
        login = {"email": "ann@example.com", "password": password}
        assert api_client().post("/api/user/auth/login", login, format="json").status_code == code


def test_a_password_reset_unlocks_the_login(settings: Settings) -> None:
    user, client = make_user("Ann@example.com"), api_client()
    body = {"email": user.email, "password": "wrong"}
    for _ in range(settings.AXES_FAILURE_LIMIT):
        client.post("/api/user/auth/login", body, format="json")
    body["password"] = PASSWORD
    assert client.post("/api/user/auth/login", body, format="json").status_code == 429
    new = {"token": make_password_reset_token(user), "password": "another long password"}
    assert client.post("/api/user/auth/reset-password", new, format="json").status_code == 200
    assert client.post("/api/user/auth/login", body | {"password": new["password"]}, format="json").status_code == 200


def test_without_a_reset_url_the_e_mail_has_only_the_token(settings: Settings) -> None:
    user = make_user()
    for url in ("https://app.example.com/new", ""):
        settings.PASSWORD_RESET_URL = url
        send_password_reset(user.email)
        text = str(mail.outbox[-1].body)
        assert (f"{url}?token=" in text) is bool(url)
        token = re.search(r"[A-Za-z0-9_-]+\.[a-z0-9]+-[a-f0-9]{32}", text)
        assert token
        body = {"token": token[0]}
        assert api_client().post("/api/user/auth/verify-reset-token", body, format="json").status_code == 200


def test_a_reset_request_does_not_reveal_who_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    make_user("ann@example.com")
    sent: list[Any] = []
    monkeypatch.setattr(accounts.current_app, "send_task", lambda name, args, **_: sent.append((name, *args)))
    replies = [
        api_client().post("/api/user/auth/forgot-password", {"email": email}, format="json")
        for email in ("ann@example.com", "who@example.com")
    ]
    assert {(reply.status_code, reply.content) for reply in replies} == {(200, replies[0].content)}
    assert sent == [("send_password_reset", "ann@example.com"), ("send_password_reset", "who@example.com")]
    assert send_password_reset_email(email="who@example.com") is False
    make_user("gone@example.com", is_active=False)
    assert send_password_reset_email(email="gone@example.com") is False
    assert mail.outbox == []


def test_a_reset_token_ends_after_its_lifetime_a_login_or_the_account(settings: Settings) -> None:
    user, client = make_user(), api_client()

    def code(token: str) -> int:
        return int(client.post("/api/user/auth/verify-reset-token", {"token": token}, format="json").status_code)

    token = make_password_reset_token(user)
    with time_machine.travel(timezone.now() + timedelta(seconds=settings.PASSWORD_RESET_TIMEOUT + 1)):
        assert code(token) == 400
    assert code(token) == 200
    api_client().post("/api/user/auth/login", {"email": user.email, "password": PASSWORD}, format="json")
    assert code(token) == 400
    user.refresh_from_db()
    token = make_password_reset_token(user)
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert code(token) == 400


@pytest.mark.parametrize(
    "token", ["x", "MQ.x", "MQ.", ".", "MQ.cvvvvv-" + "0" * 32, "LTE.a-b", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5.a-b", "💥.a"]
)
def test_an_unknown_reset_token_is_400(token: str) -> None:
    make_user()
    reply = api_client().post("/api/user/auth/verify-reset-token", {"token": token}, format="json")
    assert (reply.status_code, reply.json()["success"]) == (400, False)


def test_a_reset_token_of_another_user_is_refused() -> None:
    ann, bob = make_user(), make_user()
    mine, theirs = make_password_reset_token(ann), make_password_reset_token(bob)
    mixed = f"{theirs.split('.')[0]}.{mine.split('.')[1]}"
    reply = api_client().post("/api/user/auth/reset-password", {"token": mixed, "password": "x" * 20}, format="json")
    assert reply.status_code == 400


def test_resets_are_limited_by_e_mail(settings: Settings) -> None:
    settings.API_RATES = settings.API_RATES | {"reset_email": ["2/h"]}
    body = {"email": "ann@example.com"}
    codes = [api_client().post("/api/user/auth/forgot-password", body, format="json").status_code for _ in range(3)]
    assert codes == [200, 200, 429]


def test_a_changed_password_keeps_this_token_and_revokes_the_others() -> None:
    user = make_user()
    here, elsewhere = api_client(user), api_client(user)
    body = {"currentPassword": "wrong", "newPassword": "another long password"}
    assert here.post("/api/user/auth/change-password", body, format="json").status_code == 400
    assert elsewhere.get("/api/user/auth/me").status_code == 200
    weak = {"current_password": PASSWORD, "new_password": "short"}
    assert here.post("/api/user/auth/change-password", weak, format="json").status_code == 400
    body["currentPassword"] = PASSWORD
    assert here.post("/api/user/auth/change-password", body, format="json").status_code == 200
    assert (here.get("/api/user/auth/me").status_code, elsewhere.get("/api/user/auth/me").status_code) == (200, 401)
    user.refresh_from_db()
    assert user.check_password("another long password")
    assert ApiToken.objects.filter(revoked_at=None).count() == 1


# --- Profile ----------------------------------------------------------------------------------------------------
def test_only_the_given_profile_fields_change() -> None:
    user = make_user("ann@example.com", name="Ann Bee", city="Austin", account_type="family", account_number="F0000001")
    client = api_client(user)
    before = client.get("/api/family/profile").json()["profile"]
    assert (before["firstName"], before["lastName"], before["subscription"]) == ("Ann", "Bee", None)
    changes = {
        "phone": "555",
        "zipCode": "73301",
        "round_up_amount": 4,
        "riskTolerance": "aggressive",
        "accountType": "business",
    }
    reply = client.put("/api/family/profile", changes | {"email": "ann@example.com"}, format="json")
    after = reply.json()["profile"]
    expected = before | {"phone": "555", "zipCode": "73301", "roundUpAmount": 4, "riskTolerance": "aggressive"}
    assert after | {"updatedAt": None} == expected | {"updatedAt": None}
    assert client.put("/api/family/profile", {"lastName": "Cee"}, format="json").json()["profile"]["name"] == "Cee"
    assert client.put("/api/family/profile", {"roundUpAmount": 101}, format="json").status_code == 400


def test_a_new_e_mail_requires_the_password_and_must_be_unused() -> None:
    user = make_user("ann@example.com")
    make_user("bob@example.com")
    client = api_client(user)
    for body, code in [
        ({"email": "new@example.com"}, 400),
        ({"email": "new@example.com", "currentPassword": "wrong"}, 400),
        ({"email": "BOB@example.com", "currentPassword": PASSWORD}, 409),
        ({"email": "Ann@Example.com", "currentPassword": PASSWORD}, 200),
        ({"email": "new@example.com", "currentPassword": PASSWORD}, 200),
    ]:
        assert client.put("/api/user/profile", body, format="json").status_code == code, body
    user.refresh_from_db()
    assert (user.email, user.pending_email) == ("ann@example.com", "new@example.com")


# --- Settings ------------------------------------------------------------------------------------------------
def test_settings_are_returned_as_they_were_sent() -> None:
    user = make_user()
    client = api_client(user)
    own = {"round_up_enabled": True, "round_up_amount": 1, "round_up_rule": "flat"}
    assert client.get("/api/user/settings").json() == {"success": True, "data": own}
    values = {"theme": "dark", "emailAlerts": True, "limit": 2.5, "list": [1, {"a": None}]}
    reply = client.post("/api/user/settings", values | {"round_up_amount": 7}, format="json")
    assert reply.json() == {"success": True, "data": own | values | {"round_up_amount": 7}}
    client.post("/api/business/settings", {"settings": {"theme": None, "limit": 3}}, format="json")
    assert client.get("/api/user/settings").json()["data"] == own | {
        "emailAlerts": True,
        "limit": 3,
        "list": [1, {"a": None}],
        "round_up_amount": 7,
    }
    user.refresh_from_db()
    assert user.round_up_amount == 7
    assert api_client(make_user()).get("/api/user/settings").json()["data"] == own


@pytest.mark.parametrize(
    "body",
    [
        {"": 1},
        {"a b": 1},
        {"x" * 65: 1},
        {"theme": "x" * 2001},
        {"round_up_amount": 0},
        {"round_up_enabled": "perhaps"},
        [],
        [1],
        "x",
    ],
)
def test_invalid_settings_are_refused(body: Any) -> None:
    user = make_user()
    assert api_client(user).post("/api/user/settings", body, format="json").status_code == 400
    assert not UserSetting.objects.exists()


def test_a_customer_has_at_most_a_hundred_settings() -> None:
    client = api_client(make_user())
    assert client.post("/api/user/settings", {f"k{n}": n for n in range(100)}, format="json").status_code == 200
    assert client.post("/api/user/settings", {"k0": "other"}, format="json").status_code == 200
    assert client.post("/api/user/settings", {"more": 1}, format="json").status_code == 400
    assert UserSetting.objects.count() == 100
