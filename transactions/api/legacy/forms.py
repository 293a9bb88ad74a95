"""The legacy front end's forms about a customer: `forms.json` has under which names they send what is stored where.

All else that a form sends is stored as a setting, or named in the reply as not stored.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from kamioi_site.api.fields import BooleanField
from kamioi_site.api.legacy.views import NotOfferedError
from transactions.api.base import current_user, require_password, validated
from transactions.api.serializers import ProfileInput, RegisterInput, SettingsInput
from transactions.models import User
from transactions.services.accounts import get_user_settings, update_details, update_user_settings

_TRANSPORT: Final = {"confirmPassword", "confirm_password", "userId", "userGuid", "completedAt"}
_EMPTY: Final[tuple[Any, ...]] = ("", None, False, [], {})


@dataclass(frozen=True)
class Form:
    """A form. Its keys are columns of the customer (nested for an object), stored as settings, or fixed for everybody.

    A change of what is fixed is refused with `refusal`; `wrapper` is the key of the reply.
    """

    columns: Mapping[str, Any] = field(default_factory=dict)
    stored: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    refusal: str = ""
    wrapper: str = "settings"

    def shown(self, user: User) -> dict[str, Any]:
        """Return what the form opens with."""
        found = get_user_settings(user)
        stored = {key: found[name] for key, name in self.stored.items() if name in found}
        return stored | _read(self.columns, user) | dict(self.fixed)

    def save(self, request: Request) -> User:
        """Store what is sent. Raises NotOfferedError, ValidationError, WrongPasswordError."""
        user, sent = current_user(request), body(request)
        if any(sent.get(key, value) != value for key, value in self.fixed.items()):
            raise NotOfferedError(self.refusal)
        changes = validated(_Columns(data=_columns_of(self.columns, sent)))
        if changes.get("email", user.email) != user.email:
            require_password(request, "", "Changing the e-mail address requires your current password.")
        changes.pop("email", None)
        others = {self.stored.get(key, key): sent[key] for key in sent.keys() - self.columns.keys() - self.fixed.keys()}
        return update_details(user=user, changes=changes, settings=validated(SettingsInput(data=others)))


class _Columns(ProfileInput):
    roundUpEnabled = BooleanField(source="round_up_enabled", required=False)  # noqa: N815


def body(request: Request) -> Mapping[str, Any]:
    """Return the object that was sent. Raises ValidationError."""
    if not isinstance(request.data, Mapping):
        raise ValidationError("Send an object.")
    return request.data


def _read(columns: Mapping[str, Any], user: User) -> dict[str, Any]:
    return {key: getattr(user, name) if isinstance(name, str) else _read(name, user) for key, name in columns.items()}


def _columns_of(columns: Mapping[str, Any], sent: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in columns.keys() & sent.keys():
        name, value = columns[key], sent[key]
        if isinstance(name, str):
            found[name] = value
        elif isinstance(value, Mapping):
            found |= _columns_of(name, value)
    return found


_KNOWN: Final = ProfileInput.known_names() | RegisterInput.known_names()


class Details:
    """What sign-up and profile say about a customer, under our names; `ignored` is not stored.

    That is mainly what Kamioi does not want to know: date of birth, social security number, income, employer.
    """

    def __init__(self, request: Request) -> None:
        sent = {name: value for name, value in body(request).items() if name not in _TRANSPORT}
        self.is_legacy = not sent.keys() <= _KNOWN
        self.fields = _columns_of(PROFILE.columns, sent) | {name: sent[name] for name in sent.keys() & _KNOWN}
        for name in ("roundUpAmount", "round_up_amount"):
            if isinstance(text := self.fields.get(name), str):
                self.fields[name] = text.removesuffix(".00")
        if isinstance(goals := self.fields.get("investmentGoals"), list):
            self.fields["investmentGoals"] = ", ".join(map(str, goals))
        others = {name: value for name, value in sent.items() if value not in _EMPTY and name not in self.fields}
        stored = {PROFILE.stored[name]: others[name] for name in others.keys() & PROFILE.stored}
        self.settings = validated(SettingsInput(data=stored))
        self.ignored = sorted(others.keys() - PROFILE.columns.keys() - PROFILE.stored.keys())

    def save_settings(self, user: User) -> dict[str, Any]:
        """Store what has no column. Returns what a reply adds about that which is not stored."""
        if self.settings:
            update_user_settings(user=user, values=self.settings)
        warning = {"ignored_fields": self.ignored, "warning": f"Not stored: {', '.join(self.ignored)}."}
        return warning if self.ignored else {}


_TABLE: Final = json.loads((Path(__file__).parent / "forms.json").read_text())
_TABLE["security"]["fixed"]["session_timeout"] = int(settings.API_TOKEN_LIFETIME.total_seconds()) // 60
FORMS: Final = {name: Form(**fields) for name, fields in _TABLE.items()}
PROFILE: Final = FORMS["profile"]
SECTIONS: Final = ("account", "security", "notifications", "data")
