"""The legacy front end's forms about a customer: under which names it sends and shows what is stored where.

All else that a form sends is stored as a setting, or named in the reply as not stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from kamioi_site.api.fields import BooleanField
from transactions.api.base import current_user, require_password, validated
from transactions.api.legacy.base import NotOfferedError
from transactions.api.serializers import ProfileInput, RegisterInput, SettingsInput
from transactions.models import User
from transactions.services.accounts import get_user_settings, update_profile, update_user_settings

_TRANSPORT: Final = {"confirmPassword", "confirm_password", "userId", "userGuid", "completedAt"}
_EMPTY: Final[tuple[Any, ...]] = ("", None, False, [], {})


@dataclass(frozen=True)
class Form:
    """A form.

    Args:
        columns: key → attribute of the customer, or such a table for a nested object.
        stored: key → setting.
        fixed: key → what holds for everybody; a change is refused with `refusal`.
        wrapper: the key of the reply.
    """

    columns: Mapping[str, Any]
    stored: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    refusal: str = ""
    wrapper: str = "settings"

    def shown(self, user: User) -> dict[str, Any]:
        """Return what the form opens with."""
        found = get_user_settings(user)
        stored = {key: found[name] for key, name in self.stored.items() if name in found}
        return stored | _read(self.columns, user) | dict(self.fixed)

    @transaction.atomic
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
        values = validated(SettingsInput(data=others))
        if changes:
            user = update_profile(user=user, changes=changes)
        update_user_settings(user=user, values=values)
        return user


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


_KNOWN: Final = {
    name
    for form in (ProfileInput(), RegisterInput())
    for key, field_ in form.fields.items()
    for name in (key, field_.source)
}


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


def _same(names: str) -> dict[str, str]:
    return {name: name for name in names.split()}


PROFILE: Final = Form(
    columns={
        "street": "address",
        "zip": "zip_code",
        "businessName": "company_name",
        **{f"agreeTo{name.title()}": f"{name}_agreed" for name in ("terms", "privacy", "marketing")},
    },
    stored={
        **_same("business_type business_description industry website employee_count"),
        "familyName": "family_name",
        "businessType": "business_type",
        "numberOfEmployees": "employee_count",
        "favoriteSectors": "favorite_sectors",
        "investmentExperience": "investment_experience",
    },
)
SECTIONS: Final = ("account", "security", "notifications", "data")
FORMS: Final = {
    "user": Form({}),
    "family": Form(
        columns={
            "guardian_email": "email",
            "phone": "phone",
            "address": {"street": "address", "city": "city", "state": "state", "zip": "zip_code", "country": "country"},
            # Read under the one name, sent under the other.
            **dict.fromkeys(("round_up_preference", "roundUpPreference"), "round_up_amount"),
            "investment_goal": "investment_goals",
            "risk_preference": "risk_tolerance",
        },
        stored=_same("family_name family_code family_size notification_preferences"),
    ),
    "business": Form(
        columns={"roundup_multiplier": "round_up_amount", "auto_invest": "round_up_enabled"},
        stored=_same("notifications email_alerts theme business_sharing budget_alerts department_limits"),
    ),
    "account": Form(columns=_same("name email company_name phone address"), wrapper="account"),
    "notifications": Form(
        columns={},
        stored=_same(
            "email_notifications push_notifications sms_notifications transaction_alerts budget_alerts "
            "investment_alerts team_updates weekly_reports"
        ),
        wrapper="notifications",
    ),
    "security": Form(
        columns={},
        fixed={
            **dict.fromkeys(("two_factor_enabled", "login_notifications"), False),
            "api_access": True,
            "password_last_changed": None,
            "ip_whitelist": [],
            "session_timeout": int(settings.API_TOKEN_LIFETIME.total_seconds()) // 60,
        },
        refusal="These settings are the same for everyone: customers sign in without a second factor, signing in sends "
        "no message, and a session ends after a fixed time, or when you change your password.",
        wrapper="security",
    ),
    "data": Form(
        columns={},
        stored=_same("export_format"),
        fixed={
            **dict.fromkeys(("auto_backup", "data_sharing", "analytics_tracking"), False),
            **dict.fromkeys(("backup_frequency", "data_retention_days"), ""),
        },
        refusal="Backups and retention are the same for every account, and nothing is shared or tracked. "
        "Only the export format can be changed here.",
        wrapper="data_management",
    ),
}
