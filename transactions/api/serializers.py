"""What the API takes and answers. Input serializers check; output serializers are the documented shapes of the schema.

Replies are built by the selectors as typed dictionaries with the same keys (a test holds the two together), as
DRF's field-by-field rendering of a hundred rows costs more than the query that reads them.
"""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django.utils.dateparse import parse_date, parse_datetime
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from transactions.models import BackgroundTask, Goal, Transaction, User
from transactions.services.accounts import MAX_SETTINGS, SETTING_KEY, SETTING_LENGTH


def money(**options: Any) -> serializers.DecimalField:
    """Dollars and cents."""
    return serializers.DecimalField(max_digits=14, decimal_places=2, **options)


def _shares(**options: Any) -> serializers.DecimalField:
    return serializers.DecimalField(max_digits=20, decimal_places=8, **options)


@extend_schema_field({"type": "string", "description": "ISO 8601 date, or date and time; UTC where no zone is given"})
class MomentField(serializers.Field[datetime, str, str, Any]):
    """A moment: a date (midnight UTC) or a date and time (UTC where it names no zone)."""

    default_error_messages = {"invalid": "This is not an ISO 8601 date or time."}

    def to_internal_value(self, data: str) -> datetime:
        """The aware moment."""
        moment: datetime | date | None = None
        try:
            if isinstance(data, str):
                moment = parse_datetime(data.strip()) or parse_date(data.strip())
        except ValueError:  # well formed, but no such day or hour
            pass
        if moment is None:
            self.fail("invalid")
        if not isinstance(moment, datetime):
            moment = datetime.combine(moment, time())
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    def to_representation(self, value: datetime) -> str:
        """ISO 8601."""
        return value.isoformat()


class Answer(serializers.Serializer[Any]):
    """What every answer but a page begins with."""

    success = serializers.BooleanField()


class MessageOutput(Answer):
    """Done."""

    message = serializers.CharField()


# --- Accounts ---------------------------------------------------------------------------------------------------
class LogInInput(serializers.Serializer[Any]):
    """Credentials."""

    email = serializers.CharField(max_length=254)
    password = serializers.CharField(max_length=1024, trim_whitespace=False)
    otp = serializers.CharField(
        max_length=20,
        required=False,
        allow_blank=True,
        help_text="Code of the authenticator app, for staff who have one.",
    )


class PersonOutput(serializers.Serializer[Any]):
    """Who is logged in. `role` and `dashboard` are the account type, `admin` for staff under /api/admin/."""

    id = serializers.IntegerField()
    email = serializers.CharField()
    name = serializers.CharField()
    role = serializers.CharField()
    dashboard = serializers.CharField()
    account_number = serializers.CharField(allow_null=True)
    permissions = serializers.ListField(child=serializers.CharField(), required=False)


class MeOutput(Answer):
    """The caller."""

    user = PersonOutput()


class LogInOutput(MeOutput):
    """The caller, and the token for `Authorization: Bearer`."""

    token = serializers.CharField()


class ErrorOutput(serializers.Serializer[Any]):
    """A refusal. `errors` names the fields to blame, where fields are."""

    success = serializers.BooleanField(default=False)
    error = serializers.CharField()
    errors = serializers.DictField(  # type: ignore[assignment]  # the name is part of the documented shape
        child=serializers.ListField(child=serializers.CharField()), required=False
    )


class RoundUpInput(serializers.ModelSerializer[User]):
    """How much is set aside at each purchase: whole dollars 1 to 100, or the distance to the next dollar."""

    round_up_amount = serializers.IntegerField(min_value=1, max_value=100, required=False)

    class Meta:
        model = User
        fields = ("round_up_amount", "round_up_enabled", "round_up_rule")
        extra_kwargs = {"round_up_enabled": {"required": False}, "round_up_rule": {"required": False}}


class RoundUpOutput(serializers.ModelSerializer[User]):
    """The round-up settings in force."""

    success = serializers.BooleanField(default=True)

    class Meta:
        model = User
        fields = ("success", "round_up_amount", "round_up_enabled", "round_up_rule")


class _TwoSpellings(serializers.Serializer[Any]):
    """Front ends write `zipCode`, scripts `zip_code`: both are read; the schema names the first."""

    def to_internal_value(self, data: Any) -> Any:
        """The input under the names of the schema."""
        if isinstance(data, Mapping):
            data = dict(data.items())
            for name, field in self.fields.items():
                if field.source and name not in data and field.source in data:
                    data[name] = data[field.source]
        return super().to_internal_value(data)


def _said(source: str | None = None, *, length: int, **options: Any) -> serializers.CharField:
    """Something that a customer says about themselves, or leaves out."""
    if source:
        options["source"] = source
    return serializers.CharField(max_length=length, required=False, allow_blank=True, **options)


class _AboutInput(_TwoSpellings):
    name = _said(length=150)
    firstName = _said("first_name", length=75)  # noqa: N815  # the front ends' names
    lastName = _said("last_name", length=75)  # noqa: N815
    phone = _said(length=40)
    address = _said(length=255)
    city = _said(length=100)
    state = _said(length=50)
    zipCode = _said("zip_code", length=20)  # noqa: N815
    country = _said(length=60)
    timezone = _said("time_zone", length=60)
    companyName = _said("company_name", length=150)  # noqa: N815
    riskTolerance = _said("risk_tolerance", length=30)  # noqa: N815
    investmentGoals = _said("investment_goals", length=500)  # noqa: N815
    roundUpAmount = serializers.IntegerField(  # noqa: N815
        source="round_up_amount", min_value=1, max_value=100, required=False
    )
    marketingAgreed = serializers.BooleanField(source="marketing_agreed", required=False)  # noqa: N815


class RegisterInput(_AboutInput):
    """A new customer. The kind of account is that of the address when it is left out."""

    email = serializers.EmailField(max_length=254)
    password = serializers.CharField(max_length=1024, trim_whitespace=False)
    accountType = serializers.ChoiceField(  # noqa: N815
        choices=User.AccountType.choices, source="account_type", required=False
    )
    termsAgreed = serializers.BooleanField(source="terms_agreed", required=False, default=False)  # noqa: N815
    privacyAgreed = serializers.BooleanField(source="privacy_agreed", required=False, default=False)  # noqa: N815


class ProfileInput(_AboutInput):
    """What is to change; what is left out stays. Another e-mail takes `currentPassword`."""

    email = serializers.EmailField(max_length=254, required=False)
    currentPassword = serializers.CharField(  # noqa: N815
        source="current_password", max_length=1024, required=False, trim_whitespace=False, allow_blank=True
    )


class ProfileShape(serializers.Serializer[Any]):
    """A customer's profile."""

    id = serializers.IntegerField()
    email = serializers.CharField()
    name = serializers.CharField()
    firstName = serializers.CharField()  # noqa: N815
    lastName = serializers.CharField()  # noqa: N815
    phone = serializers.CharField()
    address = serializers.CharField()
    city = serializers.CharField()
    state = serializers.CharField()
    zipCode = serializers.CharField()  # noqa: N815
    country = serializers.CharField()
    timezone = serializers.CharField()
    companyName = serializers.CharField()  # noqa: N815
    accountType = serializers.CharField()  # noqa: N815
    accountNumber = serializers.CharField(allow_null=True)  # noqa: N815
    userGuid = serializers.CharField()  # noqa: N815
    roundUpAmount = serializers.IntegerField()  # noqa: N815
    roundUpEnabled = serializers.BooleanField()  # noqa: N815
    roundUpRule = serializers.CharField()  # noqa: N815
    riskTolerance = serializers.CharField()  # noqa: N815
    investmentGoals = serializers.CharField()  # noqa: N815
    termsAgreed = serializers.BooleanField()  # noqa: N815
    privacyAgreed = serializers.BooleanField()  # noqa: N815
    marketingAgreed = serializers.BooleanField()  # noqa: N815
    createdAt = serializers.DateTimeField()  # noqa: N815
    updatedAt = serializers.DateTimeField()  # noqa: N815
    subscription = serializers.DictField(allow_null=True, help_text="Always null: subscriptions are not Kamioi's.")


class ProfileOutput(Answer):
    """The caller's profile."""

    profile = ProfileShape()


class ForgotInput(serializers.Serializer[Any]):
    """Who forgot their password."""

    email = serializers.EmailField(max_length=254)


class ResetTokenInput(serializers.Serializer[Any]):
    """The token of the mail."""

    token = serializers.CharField(max_length=200)


class ResetInput(ResetTokenInput):
    """The token of the mail, and the new password."""

    password = serializers.CharField(max_length=1024, trim_whitespace=False)


class ChangePasswordInput(_TwoSpellings):
    """The present password and the new one."""

    currentPassword = serializers.CharField(  # noqa: N815
        source="current_password", max_length=1024, trim_whitespace=False
    )
    newPassword = serializers.CharField(source="new_password", max_length=1024, trim_whitespace=False)  # noqa: N815


class ErasureInput(_TwoSpellings):
    """The password, to show that it is the person who asks."""

    currentPassword = serializers.CharField(  # noqa: N815
        source="current_password", max_length=1024, trim_whitespace=False
    )


class ErasureOutput(serializers.Serializer[Any]):
    """The account is closed; its erasure goes on in the background. No token of it works any more."""

    success = serializers.BooleanField()
    message = serializers.CharField()
    task_id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=BackgroundTask.Status.choices)


class SettingsInput(serializers.Serializer[Any]):
    """Preferences by name; null forgets one. `round_up_…` are Kamioi's own, all others are kept as they are sent."""

    round_up_amount = serializers.IntegerField(min_value=1, max_value=100, required=False)
    round_up_enabled = serializers.BooleanField(required=False)
    round_up_rule = serializers.ChoiceField(choices=User.RoundUpRule.choices, required=False)

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """Kamioi's own are checked one by one, the others by name and size."""
        known: dict[str, Any] = super().to_internal_value(data)
        errors: dict[str, list[str]] = {}
        others = {str(name): value for name, value in data.items() if name not in self.fields}
        for name, value in others.items():
            if not SETTING_KEY.fullmatch(name):
                errors[name[:64]] = ["A name has up to 64 letters, digits, “_”, “.” and “-”."]
            elif len(text := json.dumps(value)) > SETTING_LENGTH or "\\u0000" in text:
                errors[name] = [f"A value has at most {SETTING_LENGTH:,} characters, and no NUL."]
        if len(others) > MAX_SETTINGS:
            errors["non_field_errors"] = [f"At most {MAX_SETTINGS} settings are kept."]
        if errors:
            raise serializers.ValidationError(errors)
        return known | others


class SettingsOutput(Answer):
    """Every preference."""

    data = serializers.DictField()  # type: ignore[assignment]


# --- Transactions -----------------------------------------------------------------------------------------------
class TransactionInput(serializers.Serializer[Any]):
    """A card purchase in dollars. Whatever else the body says (user, status, fee, ticker …) is the server's affair."""

    amount = money(min_value=Decimal("0.01"))
    merchant = serializers.CharField(max_length=255)
    date = MomentField(required=False)
    category = serializers.CharField(max_length=100, required=False, allow_blank=True, default="")
    description = serializers.CharField(max_length=500, required=False, allow_blank=True, default="")


class TransactionCreatedOutput(Answer):
    """The purchase is stored and waits to be processed."""

    transaction_id = serializers.IntegerField()
    status = serializers.ChoiceField(choices=Transaction.Status.choices)


class DayField(MomentField):
    """A moment; a date alone is its whole day: `end_of_day` says which end of it is meant."""

    def __init__(self, *, end_of_day: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.end_of_day = end_of_day

    def to_internal_value(self, data: str) -> datetime:
        """The aware moment, as a bound: the day after where a day is to be included."""
        moment = super().to_internal_value(data)
        if not self.end_of_day:
            return moment
        try:
            return moment + (timedelta(days=1) if len(data.strip()) <= 10 else timedelta(microseconds=1))
        except OverflowError:
            self.fail("invalid")


class TransactionFilterInput(serializers.Serializer[Any]):
    """What a list of transactions is narrowed to."""

    start_date = DayField(required=False, source="start")
    end_date = DayField(required=False, source="end", end_of_day=True)
    status = serializers.ChoiceField(choices=Transaction.Status.choices, required=False)
    ticker = serializers.CharField(max_length=12, required=False)
    merchant = serializers.CharField(max_length=255, required=False)


class TransactionOutput(serializers.Serializer[Any]):
    """A transaction. `amount` carries no sign: `type` tells a refund."""

    id = serializers.IntegerField()
    merchant = serializers.CharField()
    amount = money()
    date = serializers.DateTimeField()
    category = serializers.CharField()
    description = serializers.CharField()
    roundup = money()
    round_up = money()
    investable = money()
    total_debit = money()
    fee = money()
    status = serializers.ChoiceField(choices=Transaction.Status.choices)
    ticker = serializers.CharField(allow_null=True)
    shares = _shares(allow_null=True)
    price_per_share = serializers.DecimalField(max_digits=14, decimal_places=4, allow_null=True)
    stock_price = serializers.DecimalField(max_digits=14, decimal_places=4, allow_null=True)
    type = serializers.ChoiceField(choices=["purchase", "refund"])
    failure_reason = serializers.CharField()


class TransactionDetailOutput(Answer):
    """One transaction."""

    data = TransactionOutput()  # type: ignore[assignment]


class TransactionListData(serializers.Serializer[Any]):
    """The newest hundred transactions."""

    transactions = TransactionOutput(many=True)
    total = serializers.IntegerField(help_text="How many are in this reply.")
    user_id = serializers.IntegerField()


class TransactionListOutput(Answer):
    """The newest hundred transactions, as the front ends ask for them (neither `cursor` nor `limit`)."""

    data = TransactionListData()  # type: ignore[assignment]


class TransactionPageOutput(serializers.Serializer[Any]):
    """One page, newest first. Ask again with `cursor=next_cursor` while `has_more`."""

    data = TransactionOutput(many=True)  # type: ignore[assignment]
    next_cursor = serializers.CharField(allow_null=True)
    has_more = serializers.BooleanField()


@extend_schema_field(OpenApiTypes.BINARY)
class UploadField(serializers.FileField):
    """A file in a form."""


class BulkFileInput(serializers.Serializer[Any]):
    """A bank statement: CSV, Excel, OFX or QFX."""

    file = UploadField()


class QueuedOutput(Answer):
    """The work goes on in the background; ask `status_url` how far it is."""

    task_id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=BackgroundTask.Status.choices)
    status_url = serializers.CharField()


class TaskOutput(Answer):
    """How far a background task is. `percent` is null while the total is not known."""

    task_id = serializers.UUIDField()
    name = serializers.CharField()
    status = serializers.ChoiceField(choices=BackgroundTask.Status.choices)
    progress = serializers.IntegerField()
    total = serializers.IntegerField(allow_null=True)
    percent = serializers.FloatField(allow_null=True)
    result = serializers.DictField()
    error = serializers.CharField()
    rejects_url = serializers.CharField(required=False)


# --- Portfolio and messages -------------------------------------------------------------------------------------
class HoldingOutput(serializers.Serializer[Any]):
    """What is owned of one company; worth and gain are null while there is no quote."""

    symbol = serializers.CharField()
    name = serializers.CharField()
    shares = _shares()
    current_price = serializers.DecimalField(max_digits=14, decimal_places=4, allow_null=True)
    price_as_of = serializers.DateTimeField(allow_null=True)
    purchase_price = money()
    total_value = money(allow_null=True)
    gain_loss = money(allow_null=True)
    gain_loss_percent = money(allow_null=True)


class PortfolioData(serializers.Serializer[Any]):
    """Everything owned. Value and gain are of the holdings with a quote; `unpriced` counts the others."""

    total_value = money()
    total_invested = money()
    total_gain_loss = money()
    total_gain_loss_percent = money()
    holdings = HoldingOutput(many=True)
    unpriced = serializers.IntegerField()
    cash_balance = money(help_text="Set aside for orders that wait for the market to open.")
    last_updated = serializers.DateTimeField(allow_null=True)


class PortfolioOutput(Answer):
    """The caller's portfolio."""

    data = PortfolioData()  # type: ignore[assignment]


class NotificationOutput(serializers.Serializer[Any]):
    """A message for the customer."""

    id = serializers.IntegerField()
    title = serializers.CharField()
    message = serializers.CharField()
    type = serializers.CharField()
    read = serializers.BooleanField()
    created_at = serializers.DateTimeField()


class NotificationListOutput(Answer):
    """The newest hundred messages."""

    data = NotificationOutput(many=True)  # type: ignore[assignment]


# --- The customer -----------------------------------------------------------------------------------------------
class RoundUpTotal(serializers.Serializer[Any]):
    """Round-ups of completed purchases: of all time, and of the last thirty days."""

    total_roundups = money()
    monthly_roundups = money()
    count = serializers.IntegerField()
    monthly_count = serializers.IntegerField()


class RoundUpTotalOutput(Answer):
    """What was set aside."""

    data = RoundUpTotal()  # type: ignore[assignment]


class FeeTotal(serializers.Serializer[Any]):
    """Fees of completed purchases: of all time, and of the last thirty days."""

    total_fees = money()
    monthly_fees = money()
    count = serializers.IntegerField()
    monthly_count = serializers.IntegerField()


class FeeTotalOutput(Answer):
    """What was paid."""

    data = FeeTotal()  # type: ignore[assignment]


class GoalInput(serializers.Serializer[Any]):
    """A goal in dollars. Its kind is that of the address when it is left out."""

    title = serializers.CharField(max_length=120)
    target_amount = money(min_value=Decimal("0.01"))
    current_amount = money(min_value=Decimal(0), required=False)
    goal_type = serializers.ChoiceField(choices=Goal.Type.choices, required=False)


class GoalOutput(serializers.Serializer[Any]):
    """A goal; `progress` in percent."""

    id = serializers.IntegerField()
    user_id = serializers.IntegerField()
    title = serializers.CharField()
    target_amount = money()
    current_amount = money()
    progress = money()
    goal_type = serializers.ChoiceField(choices=Goal.Type.choices)
    created_at = serializers.DateTimeField()


class GoalListOutput(Answer):
    """The caller's goals, newest first."""

    data = GoalOutput(many=True)  # type: ignore[assignment]


class GoalDetailOutput(Answer):
    """One goal."""

    data = GoalOutput()  # type: ignore[assignment]


class StatementOutput(serializers.Serializer[Any]):
    """A month, to be downloaded from `url`."""

    id = serializers.CharField()
    type = serializers.CharField()
    period = serializers.CharField()
    date = serializers.DateField()
    size = serializers.CharField(allow_null=True)
    format = serializers.CharField()
    url = serializers.CharField()
    created_at = serializers.DateTimeField()


class StatementListOutput(Answer):
    """The caller's months, newest first."""

    data = StatementOutput(many=True)  # type: ignore[assignment]


class BankFileData(serializers.Serializer[Any]):
    """What was read. `processed` counts good rows: `added` and those that were here already, `duplicates`."""

    processed = serializers.IntegerField()
    processed_rows = serializers.IntegerField()
    total_rows = serializers.IntegerField()
    added = serializers.IntegerField()
    duplicates = serializers.IntegerField()
    error_count = serializers.IntegerField()
    errors = serializers.ListField(  # type: ignore[assignment]
        child=serializers.CharField(), help_text="The first hundred; all of them at `rejects_url`."
    )


class BankFileOutput(MessageOutput):
    """The file was read."""

    data = BankFileData()  # type: ignore[assignment]
    task_id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=BackgroundTask.Status.choices)
    status_url = serializers.CharField()
    rejects_url = serializers.CharField()
