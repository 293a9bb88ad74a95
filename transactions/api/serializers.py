"""What the API takes and answers. Input serializers check; output serializers are the documented shapes of the schema.

Replies are built by the selectors as typed dictionaries with the same keys (a test holds the two together), as
DRF's field-by-field rendering of a hundred rows costs more than the query that reads them.
"""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

from django.utils.dateparse import parse_date, parse_datetime
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from transactions.models import BackgroundTask, Transaction, User


def _money(**options: Any) -> serializers.DecimalField:
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


# --- Accounts ---------------------------------------------------------------------------------------------------
class LogInInput(serializers.Serializer[Any]):
    """Credentials."""

    email = serializers.CharField(max_length=254)
    password = serializers.CharField(max_length=1024, trim_whitespace=False)


class PersonOutput(serializers.Serializer[Any]):
    """Who is logged in. `role` and `dashboard` are the account type, `admin` for staff under /api/admin/."""

    id = serializers.IntegerField()
    email = serializers.CharField()
    name = serializers.CharField()
    role = serializers.CharField()
    dashboard = serializers.CharField()
    account_number = serializers.CharField(allow_null=True)
    permissions = serializers.ListField(child=serializers.CharField(), required=False)


class MeOutput(serializers.Serializer[Any]):
    """The caller."""

    success = serializers.BooleanField()
    user = PersonOutput()


class LogInOutput(MeOutput):
    """The caller, and the token for `Authorization: Bearer`."""

    token = serializers.CharField()


class MessageOutput(serializers.Serializer[Any]):
    """Done."""

    success = serializers.BooleanField()
    message = serializers.CharField()


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


# --- Transactions -----------------------------------------------------------------------------------------------
class TransactionInput(serializers.Serializer[Any]):
    """A card purchase in dollars. Whatever else the body says (user, status, fee, ticker …) is the server's affair."""

    amount = _money(min_value=Decimal("0.01"))
    merchant = serializers.CharField(max_length=255)
    date = MomentField(required=False)
    category = serializers.CharField(max_length=100, required=False, allow_blank=True, default="")
    description = serializers.CharField(max_length=500, required=False, allow_blank=True, default="")


class TransactionCreatedOutput(serializers.Serializer[Any]):
    """The purchase is stored and waits to be processed."""

    success = serializers.BooleanField()
    transaction_id = serializers.IntegerField()
    status = serializers.ChoiceField(choices=Transaction.Status.choices)


class TransactionOutput(serializers.Serializer[Any]):
    """A transaction. `amount` carries no sign: `type` tells a refund."""

    id = serializers.IntegerField()
    merchant = serializers.CharField()
    amount = _money()
    date = serializers.DateTimeField()
    category = serializers.CharField()
    description = serializers.CharField()
    roundup = _money()
    round_up = _money()
    investable = _money()
    total_debit = _money()
    fee = _money()
    status = serializers.ChoiceField(choices=Transaction.Status.choices)
    ticker = serializers.CharField(allow_null=True)
    shares = _shares(allow_null=True)
    price_per_share = serializers.DecimalField(max_digits=14, decimal_places=4, allow_null=True)
    stock_price = serializers.DecimalField(max_digits=14, decimal_places=4, allow_null=True)
    type = serializers.ChoiceField(choices=["purchase", "refund"])
    failure_reason = serializers.CharField()


class TransactionDetailOutput(serializers.Serializer[Any]):
    """One transaction."""

    success = serializers.BooleanField()
    data = TransactionOutput()  # type: ignore[assignment]


class TransactionListData(serializers.Serializer[Any]):
    """The newest hundred transactions."""

    transactions = TransactionOutput(many=True)
    total = serializers.IntegerField(help_text="How many are in this reply.")
    user_id = serializers.IntegerField()


class TransactionListOutput(serializers.Serializer[Any]):
    """The newest hundred transactions, as the front ends ask for them (neither `cursor` nor `limit`)."""

    success = serializers.BooleanField()
    data = TransactionListData()  # type: ignore[assignment]


class TransactionPageOutput(serializers.Serializer[Any]):
    """One page, newest first. Ask again with `cursor=next_cursor` while `has_more`."""

    data = TransactionOutput(many=True)  # type: ignore[assignment]
    next_cursor = serializers.CharField(allow_null=True)
    has_more = serializers.BooleanField()


class BulkFileInput(serializers.Serializer[Any]):
    """A bank statement: CSV, OFX or QFX."""

    file = serializers.FileField()


class QueuedOutput(serializers.Serializer[Any]):
    """The work goes on in the background; ask `status_url` how far it is."""

    success = serializers.BooleanField()
    task_id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=BackgroundTask.Status.choices)
    status_url = serializers.CharField()


class TaskOutput(serializers.Serializer[Any]):
    """How far a background task is. `percent` is null while the total is not known."""

    success = serializers.BooleanField()
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
    purchase_price = _money()
    total_value = _money(allow_null=True)
    gain_loss = _money(allow_null=True)
    gain_loss_percent = _money(allow_null=True)


class PortfolioData(serializers.Serializer[Any]):
    """Everything owned. Value and gain are of the holdings with a quote; `unpriced` counts the others."""

    total_value = _money()
    total_invested = _money()
    total_gain_loss = _money()
    total_gain_loss_percent = _money()
    holdings = HoldingOutput(many=True)
    unpriced = serializers.IntegerField()
    cash_balance = _money(help_text="Set aside for orders that wait for the market to open.")
    last_updated = serializers.DateTimeField(allow_null=True)


class PortfolioOutput(serializers.Serializer[Any]):
    """The caller's portfolio."""

    success = serializers.BooleanField()
    data = PortfolioData()  # type: ignore[assignment]


class NotificationOutput(serializers.Serializer[Any]):
    """A message for the customer."""

    id = serializers.IntegerField()
    title = serializers.CharField()
    message = serializers.CharField()
    type = serializers.CharField()
    read = serializers.BooleanField()
    created_at = serializers.DateTimeField()


class NotificationListOutput(serializers.Serializer[Any]):
    """The newest hundred messages."""

    success = serializers.BooleanField()
    data = NotificationOutput(many=True)  # type: ignore[assignment]
