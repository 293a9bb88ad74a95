"""Accounts: registration, passwords and their reset by e-mail, profile, preferences.

A reset token is Django's: signed, bound to the current password and last login, so it works once, within
`PASSWORD_RESET_TIMEOUT` seconds, and is not stored. A reset request does not reveal who is registered: the user is
looked up in the task that sends the e-mail. A changed password or e-mail ends all other sessions and tokens.
"""

import logging
import re
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from axes.utils import reset as lockout_reset
from celery import current_app
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.tokens import default_token_generator
from django.core.exceptions import ValidationError
from django.core.mail import send_mail
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.http import urlsafe_base64_decode, urlsafe_base64_encode
from kombu.exceptions import OperationalError as BrokerError
from redis import RedisError

from kamioi_site.db.distribution import violated_constraint
from transactions.errors import EmailTakenError, InvalidResetTokenError, TooManySettingsError
from transactions.models import ApiToken, User, UserSetting
from transactions.services.access import end_all_access
from transactions.services.email_addresses import queue_account_email, request_email_change

logger = logging.getLogger(__name__)

_NUMBER_PREFIXES: Final = {"individual": "I", "family": "F", "business": "B"}
_NUMBER_ATTEMPTS: Final = 20
MAX_SETTINGS: Final = 100
SETTING_LENGTH: Final = 2_000
SETTING_KEY: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.\-]{0,63}")
# Preferences that Kamioi itself uses; they are columns of the user.
OWN_SETTINGS: Final = ("round_up_enabled", "round_up_amount", "round_up_rule")


# --- Registration -----------------------------------------------------------------------------------------------------
def register_user(*, email: str, password: str, account_type: str, now: datetime | None = None, **profile: Any) -> User:
    """Create a customer with a unique account number (I, F or B and seven digits); send the verification e-mail.

    Raises:
        EmailTakenError: a user has this e-mail, in any case.
        ValidationError: the password is too weak.
    """
    now = now or timezone.now()
    user = User(
        email=User.objects.normalize_email(email.strip()),
        email_verified_at=None,
        account_type=account_type,
        created_at=now,
        **profile,
    )
    user.name = user.name or " ".join(filter(None, (user.first_name, user.last_name)))
    _check_password(password, user)
    if User.objects.with_email(user.email).first() is not None:
        raise EmailTakenError
    user.set_password(password)
    for _ in range(_NUMBER_ATTEMPTS):
        user.account_number = f"{_NUMBER_PREFIXES[account_type]}{secrets.randbelow(10**7):07d}"
        user.user_guid = f"USR-{user.account_number}"
        try:
            with transaction.atomic():
                user.save()
                queue_account_email("verify", user)
        except IntegrityError as error:
            if violated_constraint(error) in {"users_email_unique_any_case", "users_email_key"}:
                raise EmailTakenError from error
            if "account_number" not in violated_constraint(error):
                raise
        else:
            return user
    raise RuntimeError(f"no free account number of {account_type} found")


def _check_password(password: str, user: User, field: str = "password") -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise ValidationError({field: error.messages}) from error


# --- Passwords --------------------------------------------------------------------------------------------------------
def request_password_reset(*, email: str) -> None:
    """Request the e-mail. Takes the same time whether or not the address is registered."""
    try:
        current_app.send_task("send_password_reset", args=[email.strip()], retry=False, ignore_result=True)
    except (BrokerError, RedisError):
        logger.warning("the broker is unavailable: a password reset e-mail is not sent")


def send_password_reset_email(*, email: str) -> bool:
    """Send the e-mail if the address belongs to an active user. Returns whether it was sent."""
    user = User.objects.with_email(email).first()
    if user is None or not user.is_active:
        return False
    minutes, token = settings.PASSWORD_RESET_TIMEOUT // 60, make_password_reset_token(user)
    instructions = (
        f"Choose a new password within {minutes} minutes:\n{settings.PASSWORD_RESET_URL}?{urlencode({'token': token})}"
        if settings.PASSWORD_RESET_URL
        else f"Choose a new password within {minutes} minutes. You will need this code:\n{token}"
    )
    send_mail(
        "Reset your Kamioi password",
        f"A password reset was requested for {user.email}.\n\n{instructions}\n\n"
        "If you did not request it, ignore this e-mail: your password has not changed.\n",
        None,
        [user.email],
    )
    return True


def make_password_reset_token(user: User) -> str:
    """Return a token that sets a new password once."""
    return f"{urlsafe_base64_encode(str(user.pk).encode())}.{default_token_generator.make_token(user)}"


def check_password_reset_token(token: str, *, lock: bool = False) -> User:
    """Return the user of the token. Raises InvalidResetTokenError when it is used, expired or forged."""
    encoded, _, rest = token.partition(".")
    try:
        pk = int(urlsafe_base64_decode(encoded))
    except ValueError as error:
        raise InvalidResetTokenError from error
    users = User.objects.select_for_update() if lock else User.objects.all()
    user = users.filter(pk=pk, is_active=True).first() if 0 < pk < 2**63 else None
    if user is None or not default_token_generator.check_token(user, rest):
        raise InvalidResetTokenError
    return user


@transaction.atomic
def reset_password(*, token: str, password: str) -> User:
    """Set the new password, which ends all access. Raises InvalidResetTokenError, ValidationError."""
    user = check_password_reset_token(token, lock=True)
    _check_password(password, user)
    user.set_password(password)
    user.save(update_fields=["password", "updated_at"])
    lockout_reset(username=user.email.lower())  # the user has probably tried old passwords
    return user


@transaction.atomic
def change_password(*, user: User, new: str, keep: ApiToken | None) -> None:
    """Change the password and end all access but `keep`. Raises ValidationError."""
    locked = User.objects.select_for_update().get(pk=user.pk)
    _check_password(new, locked, "new_password")
    locked.password = make_password(new)  # `set_password` would end the access of `keep` too
    locked.save(update_fields=["password", "updated_at"])
    end_all_access(locked, keep=keep)
    queue_account_email("password_changed", locked)


# --- Profile and preferences ------------------------------------------------------------------------------------------
@transaction.atomic
def update_profile(*, user: User, changes: Mapping[str, Any]) -> User:
    """Change the profile. A new e-mail address takes effect later, see `transactions.services.email_addresses`.

    Raises:
        EmailTakenError: another user has the new address.
    """
    locked = User.objects.select_for_update().get(pk=user.pk)
    fields = dict(changes)
    if email := fields.pop("email", ""):
        request_email_change(user=locked, email=email)
    if "name" not in fields and {"first_name", "last_name"} & fields.keys():
        names = (fields.get("first_name", locked.first_name), fields.get("last_name", locked.last_name))
        fields["name"] = " ".join(filter(None, names)) or locked.name
    for field, value in fields.items():
        setattr(locked, field, value)
    locked.save(update_fields=[*fields, "updated_at"])
    return locked


@transaction.atomic
def update_details(*, user: User, changes: Mapping[str, Any], settings: Mapping[str, Any]) -> User:
    """Change profile and preferences, both or neither. Raises as `update_profile` and `update_user_settings`."""
    if changes:
        user = update_profile(user=user, changes=changes)
    update_user_settings(user=user, values=settings)
    return user


def get_user_settings(user: User) -> dict[str, Any]:
    """Return all preferences: Kamioi's own and those stored for front ends."""
    stored = UserSetting.objects.filter(user=user).order_by("setting_key").values_list("setting_key", "setting_value")
    return dict(stored) | {name: getattr(user, name) for name in OWN_SETTINGS}


@transaction.atomic
def update_user_settings(*, user: User, values: Mapping[str, Any]) -> None:
    """Store these preferences; None deletes one. The caller has validated `round_up_…`.

    Raises:
        TooManySettingsError: more than `MAX_SETTINGS`.
    """
    own = {name: value for name, value in values.items() if name in OWN_SETTINGS}
    if own:
        for name, value in own.items():
            setattr(user, name, value)
        user.save(update_fields=[*own, "updated_at"])
    now = timezone.now()
    others = {name: value for name, value in values.items() if name not in OWN_SETTINGS}
    UserSetting.objects.filter(
        user=user, setting_key__in=[name for name, value in others.items() if value is None]
    ).delete()
    UserSetting.objects.bulk_create(
        [
            UserSetting(user=user, setting_key=name, setting_value=value, updated_at=now)
            for name, value in sorted(others.items())
            if value is not None
        ],
        update_conflicts=True,
        unique_fields=["user", "setting_key"],
        update_fields=["setting_value", "updated_at"],
    )
    if UserSetting.objects.filter(user=user).count() > MAX_SETTINGS:
        raise TooManySettingsError(f"At most {MAX_SETTINGS} settings can be stored.")
