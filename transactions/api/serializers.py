"""Input of the customer's API. Responses are TypedDicts, documented by `kamioi_site.api.typed_schema`."""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.utils.dateparse import parse_date, parse_datetime
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from kamioi_site.api.fields import (
    BooleanField,
    ConsentField,
    EmailField,
    IntegerField,
    MoneyField,
    PasswordField,
    TextField,
    TickerField,
    UploadField,
)
from kamioi_site.api.validation import contains_invalid_text
from transactions.models import Goal, Transaction, User
from transactions.services.accounts import MAX_SETTINGS, SETTING_KEY, SETTING_LENGTH
from transactions.statements.evidence import CONFIRM


def optional_text(source: str | None = None, *, length: int) -> TextField:
    """Return a field for text that may be blank or absent."""
    options: dict[str, Any] = {"source": source} if source else {}
    return TextField(max_length=length, required=False, allow_blank=True, **options)


def round_up_field(**options: Any) -> IntegerField:
    """Return a field for the whole dollars of a round-up."""
    return IntegerField(max_value=100, required=False, **options)


@extend_schema_field(
    {
        "anyOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}],
        "description": "ISO 8601 date, or date and time; UTC without a time zone",
    }
)
class DateOrTimeField(serializers.Field[datetime, str, str, Any]):
    """A date (midnight UTC), or a date and time (UTC without a time zone)."""

    default_error_messages = {"invalid": "Must be an ISO 8601 date or time."}

    def to_internal_value(self, data: str) -> datetime:
        """Return the aware time."""
        value: datetime | date | None = None
        try:
            if isinstance(data, str):
                value = parse_datetime(data.strip()) or parse_date(data.strip())
        except ValueError:  # well formed, but no such day or hour
            pass
        if value is None:
            self.fail("invalid")
        if not isinstance(value, datetime):
            value = datetime.combine(value, time())
        try:
            # In UTC, because PostgreSQL accepts smaller offsets than Python.
            return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
        except OverflowError:
            self.fail("invalid")

    def to_representation(self, value: datetime) -> str:
        """Return ISO 8601."""
        return value.isoformat()


class EndField(DateOrTimeField):
    """The inclusive end of a range; a date includes the whole day."""

    def to_internal_value(self, data: str) -> datetime:
        """Return the exclusive bound."""
        end = super().to_internal_value(data)
        try:
            return end + (timedelta(days=1) if len(data.strip()) <= 10 else timedelta(microseconds=1))
        except OverflowError:
            self.fail("invalid")


class SnakeOrCamelSerializer(serializers.Serializer[Any]):
    """Accepts `zipCode` of the front ends and `zip_code` of scripts; the schema documents the former."""

    def to_internal_value(self, data: Any) -> Any:
        """Validate the input under the documented names."""
        if isinstance(data, Mapping):
            data = dict(data.items())
            for name, field in self.fields.items():
                if field.source and name not in data and field.source in data:
                    data[name] = data[field.source]
        return super().to_internal_value(data)

    @classmethod
    def known_names(cls) -> set[str]:
        """Return all names that are accepted."""
        return {name for key, field in cls().fields.items() for name in (key, field.source or key)}


# --- Accounts ---------------------------------------------------------------------------------------------------
class LogInInput(serializers.Serializer[Any]):
    """Credentials."""

    email = TextField(max_length=254)
    password = PasswordField()
    otp = TextField(
        max_length=20,
        required=False,
        allow_blank=True,
        help_text="Code of the authenticator app, for staff with two-factor authentication.",
    )


class _ProfileFields(SnakeOrCamelSerializer):
    name = optional_text(length=150)
    firstName = optional_text("first_name", length=75)  # noqa: N815  # the front ends' names
    lastName = optional_text("last_name", length=75)  # noqa: N815
    phone = optional_text(length=40)
    address = optional_text(length=255)
    city = optional_text(length=100)
    state = optional_text(length=50)
    zipCode = optional_text("zip_code", length=20)  # noqa: N815
    country = optional_text(length=60)
    timezone = optional_text("time_zone", length=60)
    companyName = optional_text("company_name", length=150)  # noqa: N815
    riskTolerance = optional_text("risk_tolerance", length=30)  # noqa: N815
    investmentGoals = optional_text("investment_goals", length=500)  # noqa: N815
    roundUpAmount = round_up_field(source="round_up_amount")  # noqa: N815
    marketingAgreed = BooleanField(source="marketing_agreed", required=False)  # noqa: N815


class RegisterInput(_ProfileFields):
    """A new customer. The account type defaults to that of the area."""

    email = EmailField(max_length=254)
    password = PasswordField()
    accountType = serializers.ChoiceField(  # noqa: N815
        choices=User.AccountType.choices, source="account_type", required=False
    )
    termsAgreed = ConsentField(source="terms_agreed", refusal="You must accept the terms.")  # noqa: N815
    privacyAgreed = BooleanField(source="privacy_agreed", required=False, default=False)  # noqa: N815


class ProfileInput(_ProfileFields):
    """The fields to change. A new e-mail requires `currentPassword`."""

    email = EmailField(max_length=254, required=False)
    currentPassword = PasswordField(source="current_password", required=False, allow_blank=True)  # noqa: N815


class ForgotInput(serializers.Serializer[Any]):
    """The e-mail of the account."""

    email = EmailField(max_length=254)


class ResetTokenInput(serializers.Serializer[Any]):
    """The token of the password reset e-mail."""

    token = TextField(max_length=200)


class ResetInput(ResetTokenInput):
    """The token of the password reset e-mail, and the new password."""

    password = PasswordField()


class ErasureInput(SnakeOrCamelSerializer):
    """The password, as confirmation."""

    currentPassword = PasswordField(source="current_password")  # noqa: N815


class ChangePasswordInput(ErasureInput):
    """The current password and the new one."""

    newPassword = PasswordField(source="new_password", new=True)  # noqa: N815


class RoundUpInput(serializers.Serializer[Any]):
    """The round-up of each purchase: whole dollars from 1 to 100, or up to the next dollar."""

    round_up_amount = round_up_field()
    round_up_enabled = BooleanField(required=False)
    round_up_rule = serializers.ChoiceField(choices=User.RoundUpRule.choices, required=False)


class SettingsInput(RoundUpInput):
    """Settings by name; null deletes one. `round_up_…` are Kamioi's own, all others are stored as they are."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """Validate Kamioi's own settings by field, the others by name and size."""
        own: dict[str, Any] = super().to_internal_value(data)
        errors: dict[str, list[str]] = {}
        others = {str(name): value for name, value in data.items() if name not in self.fields}
        for name, value in others.items():
            if not SETTING_KEY.fullmatch(name):
                errors[name[:64]] = ["A name has up to 64 letters, digits, “_”, “.” and “-”."]
            elif len(json.dumps(value)) > SETTING_LENGTH or contains_invalid_text(value):
                errors[name] = [f"A value has at most {SETTING_LENGTH:,} characters and no NUL."]
        if len(others) > MAX_SETTINGS:
            errors["non_field_errors"] = [f"At most {MAX_SETTINGS} settings are allowed."]
        if errors:
            raise serializers.ValidationError(errors)
        return own | others


# --- Transactions -----------------------------------------------------------------------------------------------
class TransactionInput(serializers.Serializer[Any]):
    """A card purchase in dollars. Other fields (user, status, fee, ticker …) are ignored."""

    amount = MoneyField()
    merchant = TextField(max_length=255)
    date = DateOrTimeField(required=False)
    category = TextField(max_length=100, required=False, allow_blank=True, default="")
    description = TextField(max_length=500, required=False, allow_blank=True, default="")


class TransactionFilterInput(serializers.Serializer[Any]):
    """The filters of a list of transactions."""

    start_date = DateOrTimeField(required=False, source="start", help_text="First day or time (ISO 8601, UTC).")
    end_date = EndField(required=False, source="end", help_text="Last day or time, inclusive.")
    status = serializers.ChoiceField(choices=Transaction.Status.choices, required=False)
    ticker = TickerField(required=False)
    merchant = TextField(max_length=255, required=False, help_text="Part of the merchant's name.")


class StatementAnswersInput(serializers.Serializer[Any]):
    """Answers to the questions of a 409, in the form or in the query string."""

    date_order = serializers.ChoiceField(choices=["mdy", "dmy", "ymd"], required=False)
    spending = serializers.ChoiceField(choices=["negative", "positive"], required=False)
    columns = serializers.RegexField(r"^[a-z]+=[0-9]+(,[a-z]+=[0-9]+)*$", max_length=200, required=False)
    balance = serializers.ChoiceField(choices=["ignore"], required=False)
    confirm = BooleanField(required=False, help_text="Import a large file, whose totals were shown.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Answers are texts."""
        if attrs.pop(CONFIRM, False):
            attrs[CONFIRM] = "true"
        return attrs


class StatementUploadInput(StatementAnswersInput):
    """How to import a statement, in the form or in the query string."""

    account = TextField(
        max_length=100,
        required=False,
        help_text="Name or last digits of the bank account, where neither the file nor its name contains it.",
    )
    dry_run = BooleanField(required=False, help_text="Only return how the file is read and what it adds up to.")


class BulkFileInput(StatementUploadInput):
    """A bank statement: CSV, Excel, OFX or QFX."""

    file = UploadField()


class DuplicateDecisionInput(serializers.Serializer[Any]):
    """What a possible duplicate is: a separate purchase, or the same one."""

    decision = serializers.ChoiceField(choices=["keep", "same"])


class GoalInput(serializers.Serializer[Any]):
    """A goal in dollars. Its type defaults to that of the area."""

    title = TextField(max_length=120)
    target_amount = MoneyField()
    current_amount = MoneyField(zero=True, required=False)
    goal_type = serializers.ChoiceField(choices=Goal.Type.choices, required=False)
