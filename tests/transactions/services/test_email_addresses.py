"""Verifying an e-mail address and changing it."""

import re
from datetime import timedelta

import pytest
import time_machine
from django.conf import settings
from django.core import mail
from django.test import Client
from django.utils import timezone

from tests.factories import PASSWORD, api_client, make_company, make_merchant, make_staff, make_transaction, make_user
from tests.transactions.services.test_access import _set_password_in_admin as set_password_in_admin
from transactions.models import BackgroundTask, Transaction, User
from transactions.services import email_addresses
from transactions.services.email_addresses import (
    apply_due_email_changes,
    make_email_token,
    send_account_email,
    use_email_token,
)
from transactions.services.processing import process_pending
from transactions.tasks import settle_held_purchases

pytestmark = pytest.mark.django_db
Sent = list[tuple[str, int]]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks) -> Sent:
    """Return the account e-mails queued so far, which are sent to `mail.outbox`."""
    found: Sent = []

    def send_task(name: str, args: tuple = (), **_: object) -> None:
        if name == "send_account_email":
            found.append(tuple(args))
            send_account_email(kind=args[0], user_id=args[1])

    monkeypatch.setattr(email_addresses.current_app, "send_task", send_task)
    monkeypatch.setattr(email_addresses.transaction, "on_commit", lambda run: run())
    return found


def token_of(message: mail.EmailMessage) -> str:
    found = re.search(r"[?&]token=(\S+)", str(message.body))
    assert found
    return found[1].replace("%3A", ":")


def request_change(user: User, email: str = "new@example.com"):
    return api_client(user).put("/api/user/profile", {"email": email, "currentPassword": PASSWORD}, format="json")


def use(token: str, action: str = "verify-email") -> int:
    return api_client().post(f"/api/user/auth/{action}", {"token": token}, format="json").status_code


NEW = {"email": "ann@example.com", "password": "correct horse battery", "name": "Ann", "termsAgreed": True}


def test_a_customer_verifies_the_address_and_purchases_on_hold_are_invested(sent: Sent) -> None:
    make_company("SBUX", "95.00")
    make_merchant("STARBUCKS", "SBUX")
    reply = api_client().post("/api/user/auth/register", NEW, format="json")
    assert reply.status_code == 201
    assert reply.json()["token"]
    user = User.objects.get()
    assert sent == [("verify", user.pk)]
    assert mail.outbox[0].to == ["ann@example.com"]
    row = make_transaction(user)
    process_pending()
    row.refresh_from_db()
    assert (row.status, row.failure_reason) == ("on_hold", Transaction.HoldReason.UNVERIFIED)
    assert [use(token_of(mail.outbox[0])) for _ in range(2)] == [200, 200]
    settle_held_purchases(str(BackgroundTask.objects.get().pk))
    process_pending()
    row.refresh_from_db()
    assert row.status == "completed"
    assert api_client(user).get("/api/user/profile").json()["profile"]["emailVerified"] is True


def test_users_of_the_migration_staff_and_sql_are_verified() -> None:
    assert make_user().email_verified_at is not None
    assert make_staff().email_verified_at is not None


@pytest.mark.parametrize("how", ["expired", "forged", "for another address", "for another purpose", "empty"])
def test_an_invalid_link_is_400(how: str) -> None:
    user = make_user(email_verified_at=None)
    token = make_email_token("verify", user, user.email)
    later = timedelta()
    if how == "expired":
        later = settings.EMAIL_LINK_LIFETIME + timedelta(seconds=1)
    elif how == "forged":
        token = token[:-1] + ("A" if token[-1] != "A" else "B")
    elif how == "for another address":
        token = make_email_token("verify", user, "other@example.com")
    elif how == "for another purpose":
        token = make_email_token("cancel", user, user.email)
    else:
        token = "x"
    with time_machine.travel(timezone.now() + later):
        assert use(token) == 400
        assert Client().get("/account/email/", {"token": token}).status_code in {200, 400}
        assert Client().post(f"/account/email/?token={token}").status_code == 400
    user.refresh_from_db()
    assert user.email_verified_at is None


def test_the_page_of_a_link_changes_nothing_before_it_is_confirmed() -> None:
    user = make_user(email_verified_at=None)
    token = make_email_token("verify", user, user.email)
    page = Client().get("/account/email/", {"token": token})
    assert (page.status_code, user.email in page.content.decode()) == (200, True)
    user.refresh_from_db()
    assert user.email_verified_at is None
    assert Client().post(f"/account/email/?token={token}").status_code == 200
    user.refresh_from_db()
    assert user.email_verified_at is not None


def test_a_change_takes_effect_when_the_new_address_is_verified_and_the_delay_has_passed(sent: Sent) -> None:
    user = make_user("old@example.com")
    profile = request_change(user).json()["profile"]
    assert (profile["email"], profile["pendingEmail"]) == ("old@example.com", "new@example.com")
    assert sent == [("verify_new", user.pk), ("change_requested", user.pk)]
    assert [message.to for message in mail.outbox] == [["new@example.com"], ["old@example.com"]]
    after = timezone.now() + settings.EMAIL_CHANGE_DELAY + timedelta(minutes=1)
    assert apply_due_email_changes(now=after) == 0  # not verified
    assert use(token_of(mail.outbox[0])) == 200
    assert apply_due_email_changes() == 0  # the delay has not passed
    user.refresh_from_db()
    assert user.email == "old@example.com"
    assert [apply_due_email_changes(now=after) for _ in range(2)] == [1, 0]
    user.refresh_from_db()
    assert (user.email, user.pending_email, user.email_change_at) == ("new@example.com", "", None)
    assert use(token_of(mail.outbox[1]), "cancel-email-change") == 400


def test_the_old_address_cancels_a_change(sent: Sent) -> None:
    user = make_user("old@example.com")
    request_change(user)
    verify, cancel = map(token_of, mail.outbox)
    assert use(verify) == 200
    assert use(cancel, "cancel-email-change") == 200
    assert use(verify) == 400
    assert apply_due_email_changes(now=timezone.now() + timedelta(days=30)) == 0
    user.refresh_from_db()
    assert (user.email, user.pending_email) == ("old@example.com", "")


def test_an_address_registered_meanwhile_is_not_taken_over() -> None:
    user = make_user("old@example.com")
    request_change(user)
    use_email_token(token=make_email_token("verify", user, "new@example.com"), purpose="verify")
    make_user("NEW@example.com")
    assert apply_due_email_changes(now=timezone.now() + timedelta(days=2)) == 0
    user.refresh_from_db()
    assert (user.email, user.pending_email) == ("old@example.com", "")


def test_staff_change_an_address_in_the_same_way(sent: Sent) -> None:
    user = make_user("old@example.com")
    reply = api_client(make_staff()).put(
        f"/api/admin/users/{user.pk}", {"email": "new@example.com", "city": "Austin"}, format="json"
    )
    assert (reply.status_code, reply.json()["user"]["email"], reply.json()["user"]["city"]) == (
        200,
        "old@example.com",
        "Austin",
    )
    assert [kind for kind, _ in sent] == ["verify_new", "change_requested"]


def test_a_password_set_in_the_admin_sends_a_notice(sent: Sent) -> None:
    user = make_user()
    passwords = dict.fromkeys(("password1", "password2"), "another long password")
    set_password_in_admin(user, **passwords, **{"set-password": "1"})
    assert sent == [("password_changed", user.pk)]


def test_an_open_verification_is_sent_again(sent: Sent) -> None:
    user = make_user(email_verified_at=None)
    client = api_client(user)
    assert client.post("/api/user/auth/resend-verification").status_code == 200
    request_change(user)
    sent.clear()
    assert client.post("/api/user/auth/resend-verification").status_code == 200
    assert [kind for kind, _ in sent] == ["verify", "verify_new"]
    User.objects.update(email_verified_at=timezone.now(), pending_email="")
    sent.clear()
    assert client.post("/api/user/auth/resend-verification").status_code == 200
    assert sent == []


def test_a_changed_password_sends_a_notice(sent: Sent) -> None:
    user = make_user()
    body = {"currentPassword": PASSWORD, "newPassword": "another long password"}
    assert api_client(user).post("/api/user/auth/change-password", body, format="json").status_code == 200
    assert sent == [("password_changed", user.pk)]
    assert mail.outbox[0].to == [user.email]
