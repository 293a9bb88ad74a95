"""Members of accounts: who is invited and how often, who may accept, and what is left afterwards."""

import csv
import io
import re
import zipfile
from datetime import UTC, datetime, timedelta
from threading import Barrier, Thread
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.utils import timezone

from kamioi_site.tasks import delete_expired_rows
from tests.factories import PASSWORD, make_staff, make_user
from transactions.errors import (
    InvalidInvitationError,
    InvitationNotPossibleError,
    MembersNotAllowedError,
    TooManyInvitationsError,
)
from transactions.models import AccountMember, Notification, User
from transactions.services import members
from transactions.services.email_addresses import make_email_token, use_email_token
from transactions.services.members import (
    INVITATION_LIFETIME,
    MAX_INVITATIONS_PER_DAY,
    MAX_MEMBERS,
    accept_invitation,
    end_membership,
    invite_member,
    read_invitation,
    refuse_invitation,
    resend_invitation,
    update_member,
)
from transactions.services.privacy import erase_user_data, write_user_export
from transactions.services.user_admin import remove_user
from transactions.tasks import send_invitation

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send the invitations at once, to `mail.outbox`."""

    def send_task(name: str, args: tuple[Any, ...] = (), **_: object) -> None:
        if name == "send_invitation":
            send_invitation(*args)

    monkeypatch.setattr(members.current_app, "send_task", send_task)
    monkeypatch.setattr(members.transaction, "on_commit", lambda run: run())


@pytest.fixture
def owner() -> User:
    return make_user("owner@example.com", name="Olga Owner", account_type="family")


@pytest.fixture
def guest() -> User:
    return make_user("Guest@Example.com", name="Gus Guest")


def last_token() -> str:
    found = re.search(r"[?]token=(\S+)", str(mail.outbox[-1].body))
    assert found
    return found[1]


def invited(owner: User, guest: User, **values: Any) -> str:
    invite_member(owner=owner, email=guest.email, **values)
    return last_token()


def accepted(owner: User, guest: User, *, shares_totals: bool = False) -> AccountMember:
    return accept_invitation(token=invited(owner, guest), user=guest, shares_totals=shares_totals)


# --- Inviting ---------------------------------------------------------------------------------------------------------
def test_an_invitation_is_sent_once_and_stores_only_the_digest_of_its_token(owner: User) -> None:
    first = invite_member(owner=owner, email=" New@Example.COM ", name="Nell", role="child")
    again = invite_member(owner=owner, email="new@example.com", name="Other", role="parent")
    assert (first.pk, again.name, again.role, again.status) == (again.pk, "Nell", "child", "invited")
    assert [message.to for message in mail.outbox] == [["new@example.com"]]
    assert "owner@example.com invites you to a family account" in mail.outbox[0].body
    assert "Olga" not in mail.outbox[0].body  # a name may be an advertisement
    assert again.digest == AccountMember.digest_of(last_token())
    assert last_token() not in str(AccountMember.objects.values())


def test_only_family_and_business_accounts_invite_and_not_themselves(owner: User) -> None:
    with pytest.raises(MembersNotAllowedError):
        invite_member(owner=make_user(), email="new@example.com")
    with pytest.raises(InvitationNotPossibleError, match="account itself"):
        invite_member(owner=owner, email="OWNER@example.com")


def test_an_account_has_a_limited_number_of_members_and_removed_ones_do_not_count(owner: User) -> None:
    AccountMember.objects.bulk_create(
        AccountMember(owner=owner, email=f"{number}@example.com") for number in range(MAX_MEMBERS)
    )
    with pytest.raises(InvitationNotPossibleError, match="at most 50"):
        invite_member(owner=owner, email="new@example.com")
    assert end_membership(actor=owner, member_id=AccountMember.objects.earliest("pk").pk)
    assert invite_member(owner=owner, email="new@example.com").status == "invited"


def test_invitations_of_a_day_are_limited_whether_new_repeated_or_withdrawn(owner: User) -> None:
    first = invite_member(owner=owner, email="0@example.com", now=NOON)
    for number in range(1, MAX_INVITATIONS_PER_DAY - 1):
        member = invite_member(owner=owner, email=f"{number}@example.com", now=NOON)
        end_membership(actor=owner, member_id=member.pk)
    assert resend_invitation(owner=owner, member_id=first.pk, now=NOON)
    for attempt in (
        lambda now: invite_member(owner=owner, email="new@example.com", now=now),
        lambda now: resend_invitation(owner=owner, member_id=first.pk, now=now),
    ):
        with pytest.raises(TooManyInvitationsError) as refused:
            attempt(NOON + timedelta(hours=11))
        assert 0 < (refused.value.wait or 0) <= 3601
    assert len(mail.outbox) == MAX_INVITATIONS_PER_DAY
    assert invite_member(owner=make_user(account_type="business"), email="new@example.com", now=NOON)
    tomorrow = NOON + timedelta(days=1)
    assert resend_invitation(owner=owner, member_id=first.pk, now=tomorrow)
    first.refresh_from_db()
    assert (first.sent_that_day, first.invited_at) == (1, tomorrow)


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_simultaneous_invitations_of_one_address_are_one(owner: User) -> None:
    barrier = Barrier(3)

    def invite() -> None:
        barrier.wait()
        invite_member(owner=owner, email="new@example.com")
        connection.close()

    threads = [Thread(target=invite) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert AccountMember.objects.count() == 1


def test_an_account_with_an_unverified_address_sends_nothing_until_it_is_verified(guest: User) -> None:
    owner = make_user("owner@example.com", account_type="business", email_verified_at=None)
    with time_machine.travel(timezone.now() - timedelta(days=8)):
        member = invite_member(owner=owner, email=guest.email)
    assert not send_invitation(member.pk)
    assert mail.outbox == []
    use_email_token(token=make_email_token("verify", owner, owner.email), purpose="verify")
    assert [message.to for message in mail.outbox] == [["guest@example.com"]]
    assert accept_invitation(token=last_token(), user=guest, shares_totals=False).status == "active"


def test_a_new_link_replaces_the_old_one_and_is_not_sent_to_members(owner: User, guest: User) -> None:
    old = invited(owner, guest)
    member = AccountMember.objects.get()
    assert resend_invitation(owner=owner, member_id=member.pk)
    with pytest.raises(InvalidInvitationError):
        accept_invitation(token=old, user=guest, shares_totals=False)
    accept_invitation(token=last_token(), user=guest, shares_totals=False)
    with pytest.raises(InvitationNotPossibleError, match="accepted already"):
        resend_invitation(owner=owner, member_id=member.pk)
    with pytest.raises(InvitationNotPossibleError, match="a member already"):
        invite_member(owner=owner, email=guest.email)
    assert not send_invitation(member.pk)
    assert len(mail.outbox) == 2


# --- Answering --------------------------------------------------------------------------------------------------------
def test_the_invited_customer_becomes_a_member_and_chooses_what_to_share(owner: User, guest: User) -> None:
    member = accepted(owner, guest, shares_totals=True)
    assert (member.status, member.user, member.shares_totals, member.name) == ("active", guest, True, "Gus Guest")
    assert Notification.objects.get().user == owner


@pytest.mark.parametrize("who", ["another customer", "unverified", "closed", "staff"])
def test_only_a_customer_with_the_invited_and_verified_address_accepts(owner: User, guest: User, who: str) -> None:
    token = invited(owner, guest)
    if who == "another customer":
        guest = make_user("other@example.com")
    elif who == "unverified":
        guest.email_verified_at = None
    elif who == "closed":
        guest.is_active = False
    else:
        guest.is_staff = True
    with pytest.raises((InvalidInvitationError, InvitationNotPossibleError)):
        accept_invitation(token=token, user=guest, shares_totals=True)
    assert AccountMember.objects.get().status == "invited"


@pytest.mark.parametrize("what", ["expired", "used", "declined", "removed", "owner closed", "forged", "unknown", ""])
def test_a_token_accepts_once_and_only_while_the_invitation_is_open(owner: User, guest: User, what: str) -> None:
    token, now = invited(owner, guest), timezone.now()
    if what == "expired":
        now += INVITATION_LIFETIME
    elif what == "used":
        accept_invitation(token=token, user=guest, shares_totals=False)
    elif what == "declined":
        refuse_invitation(token=token)
    elif what == "removed":
        end_membership(actor=owner, member_id=AccountMember.objects.get().pk)
    elif what == "owner closed":
        User.objects.filter(pk=owner.pk).update(is_active=False)
    elif what == "forged":
        token = token[:-1] + ("A" if token[-1] != "A" else "B")
    else:
        token = {"unknown": "999999999999-x", "": ""}[what]
    with pytest.raises(InvalidInvitationError):
        accept_invitation(token=token, user=guest, shares_totals=True, now=now)
    assert not AccountMember.objects.filter(shares_totals=True).exists()


def test_an_invitation_without_an_e_mail_has_no_valid_token(owner: User) -> None:
    member = AccountMember.objects.create(owner=owner, email="new@example.com")
    with pytest.raises(InvalidInvitationError):
        read_invitation(token=f"{member.pk}-")


def test_a_person_is_a_member_of_an_account_once(owner: User, guest: User) -> None:
    accepted(owner, guest)
    User.objects.filter(pk=guest.pk).update(email="new@example.com")
    guest.refresh_from_db()
    with pytest.raises(InvitationNotPossibleError, match="member of this account already"):
        accepted(owner, guest)


@pytest.mark.parametrize("how", ["the owner removes", "the member leaves", "with the link, a year later"])
def test_a_membership_ends_from_either_side_and_sharing_with_it(owner: User, guest: User, how: str) -> None:
    member = accepted(owner, guest, shares_totals=True)
    token = last_token()
    Notification.objects.all().delete()
    if how == "with the link, a year later":
        refuse_invitation(token=token, now=timezone.now() + timedelta(days=365))
    else:
        actor = owner if how == "the owner removes" else guest
        assert [end_membership(actor=actor, member_id=member.pk) for _ in range(2)] == [True, False]
    member.refresh_from_db()
    assert (member.status, member.shares_totals, member.digest) == ("removed", False, "")
    assert Notification.objects.get().user == (guest if how == "the owner removes" else owner)
    assert accepted(owner, guest).pk != member.pk  # nothing hinders a new invitation


def test_others_change_and_end_nothing(owner: User, guest: User) -> None:
    member = accepted(owner, guest)
    for other in (make_user(account_type="family"), make_staff()):
        assert not end_membership(actor=other, member_id=member.pk)
        assert update_member(owner=other, member_id=member.pk, name="x") is None
    assert update_member(owner=guest, member_id=member.pk, name="x") is None
    with pytest.raises(InvitationNotPossibleError, match="invite the new one"):
        update_member(owner=owner, member_id=member.pk, email="other@example.com", name="x")
    changed = update_member(owner=owner, member_id=member.pk, email="GUEST@example.com", name="Gus", role="child")
    assert changed is not None
    assert (changed.name, changed.role, changed.email) == ("Gus", "child", "guest@example.com")


# --- The page of the link ---------------------------------------------------------------------------------------------
def page(token: str, **form: str) -> tuple[int, str]:
    client = Client(REMOTE_ADDR="10.9.8.7")
    path = f"/account/invitation/?token={token}"
    response = client.post(path, form) if form else client.get(path)
    return response.status_code, response.content.decode()


def test_the_page_shows_who_will_see_what_and_a_visit_changes_nothing(owner: User, guest: User) -> None:
    code, html = page(invited(owner, guest))
    assert code == 200
    for text in ("Olga Owner (owner@example.com)", "value of my holdings", "Your purchases are not shown", "password"):
        assert text in html
    assert AccountMember.objects.get().status == "invited"


def test_the_page_accepts_with_the_password_of_the_invited_account_only(owner: User, guest: User) -> None:
    token = invited(owner, guest)
    assert page(token, answer="accept", password="a guess")[0] == 400
    assert AccountMember.objects.get().status == "invited"
    code, html = page(token, answer="accept", password=PASSWORD, shares_totals="on")
    assert (code, "You are a member" in html, AccountMember.objects.get().shares_totals) == (200, True, True)
    assert page(token, answer="accept", password=PASSWORD)[0] == 400
    assert "Leave" in page(token)[1]
    assert page(token, answer="refuse")[0] == 200
    assert AccountMember.objects.get().status == "removed"
    assert page(token)[0] == 400


@pytest.mark.parametrize("is_staff", [False, True])
def test_without_an_account_the_page_asks_for_one(owner: User, is_staff: bool) -> None:
    if is_staff:
        make_staff("new@example.com")
    invite_member(owner=owner, email="new@example.com")
    assert "first create a Kamioi account" in page(last_token())[1]
    assert page(last_token(), answer="accept", password=PASSWORD)[0] == 200
    assert AccountMember.objects.get().status == "invited"
    page(last_token(), answer="refuse")
    assert AccountMember.objects.get().status == "removed"


# --- The database -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("constraint", "values"),
    [
        ("account_members_once_per_email", {}),
        ("account_members_once_per_user", {"email": "b@example.com", "user": "guest", "status": "invited"}),
        ("account_members_active_agreed", {"email": "b@example.com", "status": "active"}),
        ("account_members_only_active_share", {"email": "b@example.com", "shares_totals": True}),
        ("account_members_not_the_owner", {"email": "b@example.com", "user": "owner"}),
        ("account_members_email_lower_case", {"email": "B@example.com"}),
        ("account_members_status_known", {"email": "b@example.com", "status": "asleep"}),
        ("account_members_role_known", {"email": "b@example.com", "role": "king"}),
    ],
)
def test_the_database_refuses_what_the_service_does(
    owner: User, guest: User, constraint: str, values: dict[str, Any]
) -> None:
    now, people = timezone.now(), {"owner": owner, "guest": guest}
    AccountMember.objects.create(owner=owner, email="a@example.com", user=guest, status="active", answered_at=now)
    if isinstance(values.get("user"), str):
        values = values | {"user": people[values["user"]]}
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        AccountMember.objects.create(**{"owner": owner, "email": "a@example.com"} | values)


# --- Personal data ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("who", ["owner", "member", "invited"])
def test_an_erasure_removes_the_rows_of_the_owner_of_members_and_of_invited_people(
    owner: User, guest: User, who: str
) -> None:
    if who == "invited":
        invite_member(owner=owner, email=guest.email, name="Gus")
    else:
        accepted(owner, guest, shares_totals=True)
    invite_member(owner=make_user(account_type="family"), email="third@example.com")
    erased = erase_user_data(user_id=owner.pk if who == "owner" else guest.pk)
    assert erased.rows["account_members"] == 1
    assert AccountMember.objects.get().email == "third@example.com"
    assert not Notification.objects.filter(message__icontains="gus").exists()


def test_the_export_contains_the_own_members_and_the_memberships(owner: User, guest: User, tmp_path: Any) -> None:
    accepted(owner, guest)
    accepted(User.objects.filter(pk=guest.pk).update(account_type="business") and User.objects.get(pk=guest.pk), owner)
    write_user_export(user=owner, path=tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        tables = {
            name: list(csv.DictReader(io.StringIO(archive.read(name).decode())))
            for name in archive.namelist()
            if name.startswith("account_members")
        }
    emails = {name: [row["email"] for row in rows] for name, rows in tables.items()}
    assert emails == {
        "account_members_by_owner_id.csv": ["guest@example.com"],
        "account_members.csv": ["owner@example.com"],
    }
    assert "digest" not in tables["account_members.csv"][0]


def test_members_stay_and_other_rows_expire_after_ninety_days(owner: User, guest: User) -> None:
    accepted(owner, guest)
    old = timezone.now() - timedelta(days=91)
    for status in ("invited", "removed"):
        invite_member(owner=owner, email=f"{status}@example.com")
        AccountMember.objects.filter(email=f"{status}@example.com").update(status=status)
    AccountMember.objects.update(invited_at=old)
    invite_member(owner=owner, email="new@example.com")
    assert delete_expired_rows() == {"account_members": 2}
    assert set(AccountMember.objects.values_list("email", flat=True)) == {"guest@example.com", "new@example.com"}


def test_staff_delete_a_user_without_bookings_with_the_memberships(owner: User, guest: User) -> None:
    accepted(owner, guest)
    Notification.objects.all().delete()
    assert remove_user(user_id=guest.pk, actor=make_staff())
    assert not AccountMember.objects.exists()
