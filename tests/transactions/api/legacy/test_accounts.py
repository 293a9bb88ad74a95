"""Signing up, profile and settings with the forms of the legacy front end."""

from typing import Any

import pytest
from pytest_django import Settings

from tests.factories import PASSWORD, api_client, make_staff, make_user
from transactions.models import ApiToken, User
from transactions.services.accounts import get_user_settings

pytestmark = pytest.mark.django_db
ACCOUNT = {"email": "new@example.com", "password": "Correct horse 1"}
WIZARD = ACCOUNT | {"accountType": "family", "name": "", "planId": None}


# --- Signing up ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("form", "consents"),
    [
        (WIZARD, (False, False)),
        (WIZARD | {"termsAgreed": True}, (True, False)),
        (ACCOUNT | {"agreeToTerms": True, "agreeToPrivacy": True}, (True, True)),
        (ACCOUNT | {"terms_agreed": True, "marketing_agreed": False}, (True, False)),
    ],
)
def test_a_form_signs_up_and_only_a_given_consent_is_stored(form: dict[str, Any], consents: tuple[bool, bool]) -> None:
    reply = api_client().post("/api/user/auth/register", form, format="json")
    assert reply.status_code == 201, reply.json()
    user = User.objects.get()
    assert (user.terms_agreed_at is not None, user.privacy_agreed_at is not None) == consents
    assert bool(user.terms_version) == consents[0]
    assert user.account_type == form.get("accountType", "individual")


@pytest.mark.parametrize("form", [ACCOUNT, WIZARD | {"agreeToTerms": False}, ACCOUNT | {"terms_agreed": False}])
def test_a_form_with_a_consent_or_of_another_client_has_to_agree(form: dict[str, Any]) -> None:
    reply = api_client().post("/api/user/auth/register", form, format="json")
    assert reply.status_code == 400
    assert "termsAgreed" in reply.json()["errors"]
    assert not User.objects.exists()


def test_a_business_keeps_what_it_sends_and_learns_what_is_not_stored() -> None:
    form = ACCOUNT | {"terms_agreed": True, "accountType": "business", "company_name": "Fox Ltd", "tax_id": "12-345"}
    form |= {"industry": "Retail", "investment_goals": "Grow", "round_up_amount": "2.00", "annual_revenue": "9"}
    body = api_client().post("/api/user/auth/register", form, format="json").json()
    assert body["ignored_fields"] == ["annual_revenue", "tax_id"]
    user = User.objects.get()
    assert (user.company_name, user.investment_goals, user.round_up_amount) == ("Fox Ltd", "Grow", 2)
    assert get_user_settings(user)["industry"] == "Retail"


def test_whose_email_is_registered_stays_private(settings: Settings) -> None:
    settings.API_RATES = settings.API_RATES | {"check_email": ["2/h"]}
    make_user("ann@example.com")
    client = api_client()
    path = "/api/user/auth/check-email"
    replies = [client.post(path, {"email": f"{name}@example.com"}, format="json") for name in ("ann", "bob", "cid")]
    assert [reply.status_code for reply in replies] == [200, 200, 429]
    assert replies[0].json() == replies[1].json() == {"success": True, "available": True}


@pytest.mark.parametrize(
    "path", ["/api/user/registration/complete", "/api/user/auth/complete-registration", "/api/user/preferences"]
)
def test_the_last_steps_of_signing_up_store_details(path: str) -> None:
    user = make_user()
    sent = {"userId": 1, "completedAt": "now", "riskTolerance": "bold", "favoriteSectors": ["tech"], "ssnLast4": "1234"}
    client = api_client(user)
    assert client.post(path, sent | {"email": "other@example.com"}, format="json").status_code == 400  # no password
    reply = client.post(path, sent, format="json")
    assert reply.json()["ignored_fields"] == ["ssnLast4"]
    user.refresh_from_db()
    assert (user.risk_tolerance, user.pending_email) == ("bold", "")
    assert get_user_settings(user)["favorite_sectors"] == ["tech"]
    assert api_client().post(path, sent, format="json").status_code == 401


# --- Signed in -----------------------------------------------------------------------------------------------
def test_both_tokens_of_a_browser_are_checked_at_once() -> None:
    ann, staff = make_user("ann@example.com"), make_staff("boss@example.com")
    tokens = {user: ApiToken.issue(user=user)[1] for user in (ann, staff)}
    client = api_client()

    def check(caller: User, **headers: str) -> tuple[str | None, str | None]:
        reply = client.get(
            "/api/auth/check-all", headers={"Authorization": f"Bearer {tokens[caller]}"} | headers
        ).json()
        found = [reply[name] and reply[name]["email"] for name in ("user", "admin")]
        assert [reply["has_user"], reply["has_admin"]] == [email is not None for email in found]
        return found[0], found[1]

    assert check(ann) == ("ann@example.com", None)
    assert check(staff) == (None, "boss@example.com")
    both = {"X-User-Token": tokens[ann], "X-Admin-Token": tokens[staff]}
    assert check(staff, **both) == ("ann@example.com", "boss@example.com")
    assert check(ann, **{"X-User-Token": tokens[ann], "X-Admin-Token": tokens[ann]}) == ("ann@example.com", None)
    assert check(staff, **both | {"X-User-Token": "é"}) == (None, "boss@example.com")
    assert client.get("/api/auth/check-all", headers=both).status_code == 401


def test_a_browser_may_send_both_tokens_from_another_origin(settings: Settings) -> None:
    reply = api_client().options(
        "/api/auth/check-all",
        headers={
            "Origin": settings.CORS_ALLOWED_ORIGINS[0],
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization,x-admin-token,x-user-token",
        },
    )
    assert {"x-admin-token", "x-user-token"} <= set(reply["Access-Control-Allow-Headers"].split(", "))


def test_the_password_dialog_changes_the_password_if_both_entries_agree() -> None:
    user = make_user()
    client, path = api_client(user), "/api/user/security/change-password"
    form = {"currentPassword": PASSWORD, "newPassword": "another long phrase", "confirmPassword": "another phrase"}
    assert client.post(path, form, format="json").json()["errors"].keys() == {"confirmPassword"}
    form["confirmPassword"] = form["newPassword"]
    assert client.post(path, form | {"currentPassword": "wrong"}, format="json").status_code == 400
    assert client.post(path, form, format="json").status_code == 200
    user.refresh_from_db()
    assert user.check_password("another long phrase")


# --- Profile -------------------------------------------------------------------------------------------------
DIALOG = {
    "name": "Ann Fox",
    "firstName": "Ann",
    "lastName": "Fox",
    "phone": "555",
    "country": "US",
    "timezone": "",
    "street": "1 Road",
    "city": "Austin",
    "state": "TX",
    "zip": "73301",
    "roundUpAmount": "1.00",
    "dob": "1990-01-01",
    "ssn": "1234",
    "employer": "",
    "occupation": "Clerk",
    "riskTolerance": "Moderate",
}


def test_the_profile_dialog_loses_nothing_silently() -> None:
    user = make_user("ann@example.com", pending_email="new@example.com")
    body = api_client(user).put("/api/user/profile", DIALOG | {"email": "ann@example.com"}, format="json").json()
    assert (body["profile"]["address"], body["profile"]["zipCode"]) == ("1 Road", "73301")
    assert body["ignored_fields"] == ["dob", "occupation", "ssn"]
    assert body["warning"] == "Not stored: dob, occupation, ssn."
    user.refresh_from_db()
    assert user.pending_email == "new@example.com"  # the unchanged address of the dialog withdraws no change


def test_another_email_is_refused_without_the_password() -> None:
    user = make_user("ann@example.com")
    reply = api_client(user).put("/api/user/profile", DIALOG | {"email": "eve@example.com"}, format="json")
    assert reply.status_code == 400
    user.refresh_from_db()
    assert (user.address, user.pending_email) == ("", "")


# --- Settings ------------------------------------------------------------------------------------------------
FAMILY = {
    "family_name": "Fox",
    "guardian_email": "fay@example.com",
    "phone": "555",
    "family_code": "FOX",
    "address": {"street": "1 Road", "city": "Austin", "state": "TX", "zip": "73301", "country": "US"},
    "family_size": 4,
    "investment_goal": "School",
    "risk_preference": "bold",
    "notification_preferences": {"email": True, "sms": False, "push": True},
}
BUSINESS = {
    "roundup_multiplier": 3,
    "auto_invest": False,
    "notifications": True,
    "email_alerts": False,
    "theme": "light",
    "business_sharing": False,
    "budget_alerts": True,
    "department_limits": {"IT": 5},
}
ACCOUNT_TAB = {"name": "Bo", "email": "fay@example.com", "company_name": "Fox Ltd", "phone": "556", "address": "2 Road"}


@pytest.mark.parametrize(
    ("path", "wrapper", "form"),
    [
        ("/api/family/settings", "settings", FAMILY),
        ("/api/business/settings", "settings", BUSINESS),
        ("/api/business/settings/account", "account", ACCOUNT_TAB),
        ("/api/business/settings/notifications", "notifications", {"sms_notifications": True, "weekly_reports": False}),
        ("/api/business/settings/data", "data_management", {"export_format": "xlsx"}),
    ],
)
def test_a_form_opens_with_what_it_has_saved(path: str, wrapper: str, form: dict[str, Any]) -> None:
    client = api_client(make_user("fay@example.com"))
    opened = client.get(path).json()[wrapper]
    saved = client.put(path, opened | form, format="json")
    assert saved.status_code == 200, saved.json()
    assert client.get(path).json()[wrapper] == saved.json()[wrapper] == opened | form


def test_the_familys_round_up_is_sent_under_another_name_than_it_is_read() -> None:
    user = make_user("fay@example.com")
    assert api_client(user).put("/api/family/settings", {"roundUpPreference": 5}, format="json").status_code == 200
    user.refresh_from_db()
    assert user.round_up_amount == 5
    assert api_client(user).get("/api/family/settings").json()["settings"]["round_up_preference"] == 5


@pytest.mark.parametrize(
    ("path", "change", "status"),
    [
        ("/api/business/settings/security", {"two_factor_enabled": True}, 501),
        ("/api/business/settings/security", {"session_timeout": 5}, 501),
        ("/api/business/settings/data", {"data_retention_days": 30}, 501),
        ("/api/business/settings/account", {"email": "eve@example.com"}, 400),
        ("/api/business/settings", {"roundup_multiplier": 2.5}, 400),
        ("/api/family/settings", {"family_name": "x" * 3000}, 400),
    ],
)
def test_what_cannot_be_saved_is_refused_in_the_banner_and_nothing_is(
    path: str, change: dict[str, Any], status: int
) -> None:
    user = make_user("fay@example.com")
    client = api_client(user)
    before = client.get(path).json()
    reply = client.put(path, change | {"phone": "999"}, format="json")
    assert reply.status_code == status
    assert reply.json()["error"]
    assert client.get(path).json() == before
