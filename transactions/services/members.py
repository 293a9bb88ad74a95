"""Members of family and business accounts: invited by e-mail, and members only once they agree.

The link of an invitation contains a token, of which only a digest is stored. It accepts once, within
`INVITATION_LIFETIME`; later it only lets the member leave. The task that sends the e-mail makes the token, so that no
message on a queue contains it. Accounts whose own address is not verified send no e-mails: their invitations wait.
"""

import logging
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final
from urllib.parse import urlencode

from celery import current_app
from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction
from django.db.models import Q, Sum
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from kamioi_site.messaging.broker import BROKER_ERRORS
from transactions.errors import (
    InvalidInvitationError,
    InvitationNotPossibleError,
    MembersNotAllowedError,
    TooManyInvitationsError,
)
from transactions.models import AccountMember, Notification, User

logger = logging.getLogger(__name__)

MAX_MEMBERS: Final = 50
MAX_INVITATIONS_PER_DAY: Final = 20
INVITATION_LIFETIME: Final = timedelta(days=7)
_DAY: Final = timedelta(days=1)
_EMAIL: Final = (
    "{owner} invites you to a {kind} account at Kamioi. Accept or decline within {days} days:\n{link}\n\n"
    "If you accept, {owner} sees your name, e-mail address and role. You choose whether they also see the value of "
    "your holdings and your total round-ups. They never see your purchases.\n\n"
    "If you do not know {owner}, ignore this e-mail.\n"
)


# --- The owner --------------------------------------------------------------------------------------------------------
@transaction.atomic
def invite_member(
    *, owner: User, email: str, name: str = "", role: str = AccountMember.Role.MEMBER, now: datetime | None = None
) -> AccountMember:
    """Invite an address; one that is already invited stays as it is.

    Raises:
        MembersNotAllowedError: this is no family or business account.
        InvitationNotPossibleError: it is the owner's own address or a member's, or the account has `MAX_MEMBERS`.
        TooManyInvitationsError: `MAX_INVITATIONS_PER_DAY` were sent today (UTC).
    """
    if owner.account_type == User.AccountType.INDIVIDUAL:
        raise MembersNotAllowedError
    owner = _locked(owner)
    email = email.strip().lower()
    if email == owner.email.lower():
        raise InvitationNotPossibleError("This is the address of the account itself.")
    members = AccountMember.objects.live().filter(owner=owner)
    if (known := members.filter(email=email).first()) is not None:
        if known.status == AccountMember.Status.ACTIVE:
            raise InvitationNotPossibleError("This person is a member already.")
        return known
    if members.count() >= MAX_MEMBERS:
        raise InvitationNotPossibleError(f"An account has at most {MAX_MEMBERS} members. Remove one first.")
    return _send(owner, AccountMember(owner=owner, email=email, name=name.strip(), role=role), now or timezone.now())


@transaction.atomic
def resend_invitation(*, owner: User, member_id: int, now: datetime | None = None) -> AccountMember | None:
    """Send a new link, which replaces the old one; None when there is no such member of this owner.

    Raises:
        InvitationNotPossibleError: the member has accepted.
        TooManyInvitationsError: `MAX_INVITATIONS_PER_DAY` were sent today (UTC).
    """
    owner = _locked(owner)
    member = AccountMember.objects.live().select_for_update().filter(owner=owner, pk=member_id).first()
    if member is None:
        return None
    if member.status != AccountMember.Status.INVITED:
        raise InvitationNotPossibleError("This member has accepted already.")
    return _send(owner, member, now or timezone.now())


def update_member(*, owner: User, member_id: int, email: str = "", **changes: Any) -> AccountMember | None:
    """Change the name or the role, which are the owner's own labels; None when there is no such member.

    Raises InvitationNotPossibleError for another address, where no one has been asked.
    """
    members = AccountMember.objects.live().filter(owner=owner, pk=member_id)
    if email and members.exclude(email=email.strip().lower()).exists():
        raise InvitationNotPossibleError("To change the address, invite the new one and remove this member.")
    if changes:
        members.update(**changes)
    return members.first()


@transaction.atomic
def end_membership(*, actor: User, member_id: int, now: datetime | None = None) -> bool:
    """Remove a member of the actor's account, or leave another's; False when it is neither."""
    members = AccountMember.objects.live().select_for_update()
    member = members.filter(Q(owner=actor) | Q(user=actor), pk=member_id).first()
    if member is None:
        return False
    if member.owner_id != actor.pk:
        _notify(member.owner_id, "A member left your account.")
    elif member.user_id is not None:
        _notify(member.user_id, "You are no longer a member of another account.")
    _end(member, now or timezone.now())
    return True


# --- The invited person -----------------------------------------------------------------------------------------------
def read_invitation(*, token: str, now: datetime | None = None, lock: bool = False) -> AccountMember:
    """Return the invited or accepted member with its owner. Raises InvalidInvitationError."""
    number = token.partition("-")[0]
    members = AccountMember.objects.live().select_related("owner").filter(owner__is_active=True)
    if lock:
        members = members.select_for_update(of=("self",))
    known = number.isascii() and number.isdigit() and len(number) < 19
    member = members.filter(pk=int(number)).first() if known else None
    if member is None or not constant_time_compare(member.digest, AccountMember.digest_of(token)):
        raise InvalidInvitationError
    expired = member.invited_at + INVITATION_LIFETIME <= (now or timezone.now())
    if expired and member.status == AccountMember.Status.INVITED:
        raise InvalidInvitationError
    return member


@transaction.atomic
def accept_invitation(*, token: str, user: User, shares_totals: bool, now: datetime | None = None) -> AccountMember:
    """Become a member. The user has the invited address, verified; a token accepts once.

    Raises:
        InvalidInvitationError: the token is invalid, expired or used, or it was sent to another person.
        InvitationNotPossibleError: the user's address is not verified, or the user is a member already.
    """
    now = now or timezone.now()
    _locked(user)
    member = read_invitation(token=token, now=now, lock=True)
    is_customer = user.is_active and not user.is_staff and user.pk != member.owner_id
    if member.status != AccountMember.Status.INVITED or user.email.lower() != member.email or not is_customer:
        raise InvalidInvitationError
    if user.email_verified_at is None:
        raise InvitationNotPossibleError("Verify the e-mail address of your account first.")
    if AccountMember.objects.live().filter(owner=member.owner, user=user).exists():
        raise InvitationNotPossibleError("You are a member of this account already.")
    member.status, member.user, member.answered_at = AccountMember.Status.ACTIVE, user, now
    member.shares_totals, member.name = shares_totals, member.name or user.name
    member.save()
    _notify(member.owner_id, "A person whom you invited is now a member of your account.")
    return member


@transaction.atomic
def refuse_invitation(*, token: str, now: datetime | None = None) -> AccountMember:
    """Decline, or leave after having accepted: the token suffices, as it was sent to the member.

    Raises InvalidInvitationError.
    """
    now = now or timezone.now()
    member = read_invitation(token=token, now=now, lock=True)
    declined = member.status == AccountMember.Status.INVITED
    _notify(member.owner_id, "An invitation was declined." if declined else "A member left your account.")
    member.answered_at = member.answered_at or now
    _end(member, now)
    return member


# --- E-mails ----------------------------------------------------------------------------------------------------------
def send_invitation(*, member_id: int) -> bool:
    """Send the e-mail with a new token, unless the member has answered by now. Returns whether it was sent."""
    invited = AccountMember.objects.filter(
        pk=member_id, status="invited", owner__is_active=True, owner__email_verified_at__isnull=False
    )
    member = invited.select_related("owner").first()
    if member is None:
        return False
    token = f"{member.pk}-{secrets.token_urlsafe(32)}"
    AccountMember.objects.filter(pk=member.pk, status="invited").update(digest=AccountMember.digest_of(token))
    text = _EMAIL.format(
        owner=member.owner.email,  # verified, while a name could be an advertisement
        kind=member.owner.account_type,
        days=INVITATION_LIFETIME // _DAY,
        link=f"{settings.SITE_URL}{reverse('account-invitation')}?{urlencode({'token': token})}",
    )
    send_mail("An invitation to Kamioi", text, None, [member.email])
    return True


def send_waiting_invitations(*, owner: User) -> None:
    """Send the invitations that waited until the address of the owner was verified."""
    waiting = AccountMember.objects.filter(owner=owner, status="invited", digest="")
    waiting.update(invited_at=timezone.now())
    _queue(waiting.values_list("pk", flat=True))


def _send(owner: User, member: AccountMember, now: datetime) -> AccountMember:
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    today = AccountMember.objects.filter(owner=owner, invited_at__gte=midnight)
    sent: int = today.aggregate(sent=Sum("sent_that_day"))["sent"] or 0
    if sent >= MAX_INVITATIONS_PER_DAY:
        raise TooManyInvitationsError(wait=int((midnight + _DAY - now).total_seconds()) + 1)
    member.sent_that_day = 1 + (member.sent_that_day if member.invited_at >= midnight else 0)
    member.invited_at = now
    member.save()
    if owner.email_verified_at is not None:
        _queue([member.pk])
    return member


def _queue(member_ids: Iterable[int]) -> None:
    for member_id in member_ids:
        transaction.on_commit(partial(_send_message, member_id))


def _send_message(member_id: int) -> None:
    try:
        current_app.send_task("send_invitation", args=[member_id], retry=False, ignore_result=True)
    except BROKER_ERRORS:
        logger.warning("the broker is unavailable: the invitation to member %s is not sent", member_id)


# --- Rows -------------------------------------------------------------------------------------------------------------
def _locked(user: User) -> User:
    """Lock the account: simultaneous requests count each other's invitations and see each other's members."""
    return User.objects.select_for_update(no_key=True).get(pk=user.pk)


def _end(member: AccountMember, now: datetime) -> None:
    member.status, member.removed_at = AccountMember.Status.REMOVED, now
    member.shares_totals, member.digest = False, ""
    member.save()


def _notify(user_id: int, message: str) -> None:
    """Notify the other side, without a name: notifications outlast the erasure of the person."""
    Notification.objects.create(user_id=user_id, title="Members", message=message)
