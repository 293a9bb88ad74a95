"""Verifying and changing the e-mail address of an account, and the e-mails about it.

Links contain a signed token: purpose, user and address. They are not stored and expire after `EMAIL_LINK_LIFETIME`.
A change takes effect once the new address is verified and `EMAIL_CHANGE_DELAY` has passed; until then a link sent to
the old address cancels it.
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Literal
from urllib.parse import urlencode

from celery import current_app
from django.conf import settings
from django.core import signing
from django.core.mail import send_mail
from django.db import IntegrityError, transaction
from django.db.models.signals import post_save
from django.dispatch import receiver
from django.urls import reverse
from django.utils import timezone

from kamioi_site.messaging.broker import BROKER_ERRORS
from transactions.errors import EmailTakenError, InvalidEmailLinkError
from transactions.models import User
from transactions.services.access import end_all_access
from transactions.services.members import send_waiting_invitations
from transactions.services.processing import request_hold_settlement

logger = logging.getLogger(__name__)

Purpose = Literal["verify", "cancel"]
_SALT: Final = "transactions.email_addresses"
_CHANGE_FIELDS: Final = ("pending_email", "pending_email_verified_at", "email_change_at")


@dataclass(frozen=True, slots=True)
class _Email:
    """An e-mail about an account. `recipient` and `subject_address` name columns of the user."""

    subject: str
    text: str
    recipient: str = "email"
    link: Purpose | None = None
    subject_address: str = "email"


_EMAILS: Final = {
    "verify": _Email(
        "Verify your e-mail address",
        "Verify this address for your Kamioi account within {hours} hours. We invest your round-ups once it is "
        "verified.\n{link}\n\nIf you did not create an account, ignore this e-mail.",
        link="verify",
    ),
    "verify_new": _Email(
        "Verify your new e-mail address",
        "Verify this address within {hours} hours. It becomes the login of your Kamioi account on {change_at}.\n{link}"
        "\n\nIf you did not request this, ignore this e-mail.",
        recipient="pending_email",
        link="verify",
        subject_address="pending_email",
    ),
    "change_requested": _Email(
        "Your e-mail address is about to change",
        "The e-mail address of your Kamioi account changes to {pending_email} on {change_at}.\n\n"
        "If you did not request this, cancel the change and set a new password:\n{link}",
        link="cancel",
        subject_address="pending_email",
    ),
    "password_changed": _Email(
        "Your password was changed",
        "The password of your Kamioi account was changed on {now}.\n\n"
        "If you did not do this, reset your password now and contact support.",
    ),
}


# --- E-mails ----------------------------------------------------------------------------------------------------------
def queue_account_email(kind: str, user: User) -> None:
    """Send the e-mail in the background after this transaction commits."""
    transaction.on_commit(partial(_send_message, kind, user.pk))


def _send_message(kind: str, user_id: int) -> None:
    try:
        current_app.send_task("send_account_email", args=[kind, user_id], retry=False, ignore_result=True)
    except BROKER_ERRORS:
        logger.warning("the broker is unavailable: e-mail %s to user %s is not sent", kind, user_id)


@receiver(post_save, sender=User)
def _notice_a_new_password(sender: Any, instance: User, *, created: bool, **_: Any) -> None:
    # Django's forms and commands save passwords too. When a log-in only renews the hash, `_password` is None.
    if instance._password is not None and not created:
        queue_account_email("password_changed", instance)


def send_account_email(*, kind: str, user_id: int) -> bool:
    """Send the e-mail, unless its address is gone by now. Returns whether it was sent."""
    email = _EMAILS[kind]
    user = User.objects.filter(pk=user_id, erased_at=None).first()
    if user is None or not (recipient := getattr(user, email.recipient)):
        return False
    address = getattr(user, email.subject_address)
    if not address:
        return False
    text = email.text.format(
        link=_link(make_email_token(email.link, user, address)) if email.link else "",
        hours=settings.EMAIL_LINK_LIFETIME // timedelta(hours=1),
        pending_email=user.pending_email,
        change_at=f"{user.email_change_at:%-d %B %Y, %H:%M} UTC" if user.email_change_at else "",
        now=f"{timezone.now():%-d %B %Y, %H:%M} UTC",
    )
    send_mail(email.subject, f"{text}\n", None, [recipient])
    return True


def make_email_token(purpose: Purpose, user: User, address: str) -> str:
    """Return the signed token of a link."""
    return signing.dumps([purpose, user.pk, address], salt=_SALT, compress=True)


def _link(token: str) -> str:
    page = settings.EMAIL_LINK_URL or settings.SITE_URL + reverse("account-email-link")
    return f"{page}?{urlencode({'token': token})}"


# --- Verification and change ------------------------------------------------------------------------------------------
def read_email_token(token: str) -> tuple[Purpose, int, str]:
    """Return purpose, user id and address. Raises InvalidEmailLinkError when it is expired or forged."""
    try:
        purpose, user_id, address = signing.loads(
            token, salt=_SALT, max_age=max(settings.EMAIL_LINK_LIFETIME, settings.EMAIL_CHANGE_DELAY)
        )
    except (signing.BadSignature, ValueError) as error:
        raise InvalidEmailLinkError from error
    return purpose, user_id, address


@transaction.atomic
def use_email_token(*, token: str, purpose: Purpose, now: datetime | None = None) -> User:
    """Verify the address, or cancel the change to it. A second use has no effect.

    Raises:
        InvalidEmailLinkError: the token is expired or forged, or the user has another address by now.
    """
    now = now or timezone.now()
    stated, user_id, address = read_email_token(token)
    user = User.objects.select_for_update().filter(pk=user_id, erased_at=None).first() if stated == purpose else None
    if user is None:
        raise InvalidEmailLinkError
    if purpose == "cancel" and user.pending_email == address:
        _clear_change(user)
    elif purpose == "verify" and user.email == address:
        if user.email_verified_at is None:
            user.email_verified_at = now
            user.save(update_fields=["email_verified_at", "updated_at"])
            _start_what_waited(user)
    elif purpose == "verify" and user.pending_email == address:
        user.pending_email_verified_at = user.pending_email_verified_at or now
        user.save(update_fields=["pending_email_verified_at", "updated_at"])
    else:
        raise InvalidEmailLinkError
    return user


def _start_what_waited(user: User) -> None:
    request_hold_settlement(user=user)
    send_waiting_invitations(owner=user)


def request_email_change(*, user: User, email: str, now: datetime | None = None) -> None:
    """Start a change of the address of this locked user; the current address withdraws an open one.

    Raises:
        EmailTakenError: another user has this address.
    """
    email = User.objects.normalize_email(email.strip())
    if email == user.email:
        if user.pending_email:
            _clear_change(user)
        return
    if (other := User.objects.with_email(email).first()) is not None and other.pk != user.pk:
        raise EmailTakenError
    user.pending_email, user.pending_email_verified_at = email, None
    user.email_change_at = (now or timezone.now()) + settings.EMAIL_CHANGE_DELAY
    user.save(update_fields=[*_CHANGE_FIELDS, "updated_at"])
    queue_account_email("verify_new", user)
    queue_account_email("change_requested", user)


def _clear_change(user: User) -> None:
    user.pending_email, user.pending_email_verified_at, user.email_change_at = "", None, None
    user.save(update_fields=[*_CHANGE_FIELDS, "updated_at"])


def apply_due_email_changes(*, now: datetime | None = None) -> int:
    """Apply verified changes whose delay has passed. Returns how many.

    Changes are few. One whose address was registered meanwhile is dropped.
    """
    now = now or timezone.now()
    applied = 0
    due = User.objects.filter(pending_email_verified_at__isnull=False, email_change_at__lte=now)
    for pk in list(due.values_list("pk", flat=True)[:1000]):
        with transaction.atomic():
            user = due.select_for_update(skip_locked=True).filter(pk=pk).first()
            if user is None:
                continue
            was_verified = user.email_verified_at is not None
            user.email, user.email_verified_at = user.pending_email, user.pending_email_verified_at
            try:
                with transaction.atomic():
                    user.save(update_fields=["email", "email_verified_at", "updated_at"])
            except IntegrityError:
                logger.warning("the new e-mail address of user %s was registered meanwhile", pk)
            else:
                applied += 1
                end_all_access(user)
                if not was_verified:
                    _start_what_waited(user)
            _clear_change(user)
    return applied
