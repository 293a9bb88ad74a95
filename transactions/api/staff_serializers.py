"""What the API for staff takes and answers: chosen transactions, settings, people, journal entries, the check of the books."""

from decimal import Decimal
from typing import Any

from rest_framework import serializers

from kamioi_site.api.views import IdField
from transactions.api.serializers import Answer, MessageOutput, TransactionOutput, money
from transactions.models import JournalEntry, Setting, User


# --- Transactions -----------------------------------------------------------------------------------------------
class Pagination(serializers.Serializer[Any]):
    """Where a page lies. Rows are counted to 10,000, beyond that `total_is_capped`."""

    page = serializers.IntegerField()
    limit = serializers.IntegerField()
    total = serializers.IntegerField()
    total_pages = serializers.IntegerField()
    totalPages = serializers.IntegerField()  # noqa: N815  # the front ends read either spelling
    has_next = serializers.BooleanField()
    has_prev = serializers.BooleanField()
    total_is_capped = serializers.BooleanField()


class WaitingTransaction(serializers.Serializer[Any]):
    """A transaction that is not processed, or waits for its merchant."""

    id = serializers.IntegerField()
    merchant = serializers.CharField()
    amount = money()
    category = serializers.CharField()
    status = serializers.CharField()
    created_at = serializers.DateTimeField()
    user_id = serializers.IntegerField()
    user_email = serializers.CharField()
    user_name = serializers.CharField()
    description = serializers.CharField()
    round_up = money()
    ticker = serializers.CharField(allow_null=True)


class TradingLimits(serializers.Serializer[Any]):
    """What may be sent to the market at once."""

    max_orders = serializers.IntegerField()
    max_amount = money()


class WaitingOutput(Answer):
    """A page of what waits."""

    transactions = WaitingTransaction(many=True)
    pagination = Pagination()
    trading_limits = TradingLimits()


class SelectedInput(serializers.Serializer[Any]):
    """Which transactions; `force` lifts the limit of dollars."""

    transaction_ids = serializers.ListField(child=IdField(), min_length=1, max_length=500)
    force = serializers.BooleanField(required=False, default=False)


class OneTransactionInput(serializers.Serializer[Any]):
    """Which transaction."""

    transaction_id = IdField()


class SelectedResult(serializers.Serializer[Any]):
    """What the directory says of one: `mapped`, `no_match`, `closed` or `not_found`."""

    transaction_id = serializers.IntegerField()
    merchant = serializers.CharField()
    ticker = serializers.CharField(allow_null=True)
    status = serializers.CharField()
    reason = serializers.CharField()


class SelectedOutput(MessageOutput):
    """What goes on its way; `task_id` is null where nothing does."""

    processed = serializers.IntegerField()
    mapped = serializers.IntegerField()
    no_match = serializers.IntegerField()
    results = SelectedResult(many=True)
    amount_processed = money()
    warnings = serializers.ListField(child=serializers.CharField())
    task_id = serializers.UUIDField(allow_null=True)


class SelectedRefused(serializers.Serializer[Any]):
    """A limit is exceeded, or (`errors`) the request cannot be read. Nothing was sent."""

    success = serializers.BooleanField(default=False)
    error = serializers.CharField()
    limit_exceeded = serializers.BooleanField(required=False)
    warnings = serializers.ListField(child=serializers.CharField(), required=False)
    limits = TradingLimits(required=False)
    requested_amount = money(required=False)
    requested_orders = serializers.IntegerField(required=False)
    errors = serializers.DictField(required=False)  # type: ignore[assignment]  # the name is part of the documented shape


class StaffTransaction(TransactionOutput):
    """A transaction and whose it is, in both spellings."""

    user_id = serializers.IntegerField()
    userId = serializers.IntegerField()  # noqa: N815
    user_name = serializers.CharField()
    user_email = serializers.CharField()
    user_role = serializers.CharField()
    account_type = serializers.CharField()
    dashboard = serializers.CharField()
    roundUp = money()  # noqa: N815
    stockPrice = money(allow_null=True)  # noqa: N815


class StaffTransactionStats(serializers.Serializer[Any]):
    """Sums over all transactions; the counts by account type are null where there are too many customers to count at once."""

    totalTransactions = serializers.IntegerField()  # noqa: N815
    totalRoundUps = money()  # noqa: N815
    availableToInvest = money()  # noqa: N815
    totalInvested = money()  # noqa: N815
    userTransactions = serializers.IntegerField(allow_null=True)  # noqa: N815
    familyTransactions = serializers.IntegerField(allow_null=True)  # noqa: N815
    businessTransactions = serializers.IntegerField(allow_null=True)  # noqa: N815


class StaffTransactionsOutput(Answer):
    """A page of everybody's transactions, and the sums over all."""

    transactions = StaffTransaction(many=True)
    total = serializers.IntegerField()
    pagination = Pagination()
    stats = StaffTransactionStats()


# --- Settings ---------------------------------------------------------------------------------------------------
class SettingOutput(serializers.ModelSerializer[Setting]):
    """A setting; the value is text, `type` says how it is read."""

    class Meta:
        model = Setting
        fields = ("key", "value", "type", "description")


class StaffSettingsOutput(Answer):
    """Every setting."""

    data = SettingOutput(many=True)  # type: ignore[assignment]  # the name is part of the documented shape


class SettingsSavedOutput(StaffSettingsOutput):
    """Every setting as it is now."""

    message = serializers.CharField()


# --- People -----------------------------------------------------------------------------------------------------
class StaffPersonOutput(serializers.ModelSerializer[User]):
    """A person; nothing of their password."""

    role = serializers.CharField(source="account_type")
    dashboard = serializers.CharField(source="account_type")
    status = serializers.SerializerMethodField()

    class Meta:
        model = User
        fields = (
            "id",
            "email",
            "name",
            "role",
            "dashboard",
            "account_type",
            "account_number",
            "city",
            "state",
            "zip_code",
            "phone",
            "round_up_amount",
            "round_up_enabled",
            "round_up_rule",
            "is_active",
            "is_staff",
            "status",
            "created_at",
            "updated_at",
            "last_login",
        )

    def get_status(self, person: User) -> str:
        """active or inactive."""
        return "active" if person.is_active else "inactive"


class PeopleOutput(Answer):
    """A page of people, newest first; ask again with `cursor=next_cursor` while `has_more`. `users` and `data` are the same."""

    users = StaffPersonOutput(many=True)
    data = StaffPersonOutput(many=True)  # type: ignore[assignment]  # the name is part of the documented shape
    next_cursor = serializers.CharField(allow_null=True)
    has_more = serializers.BooleanField()


class PersonDetailOutput(Answer):
    """One person. `user` and `data` are the same."""

    user = StaffPersonOutput()
    data = StaffPersonOutput()  # type: ignore[assignment]  # the name is part of the documented shape


class PersonRemovedOutput(MessageOutput):
    """`deleted` where nothing was booked for the person, else the account is closed."""

    deleted = serializers.BooleanField()


class PersonInput(serializers.Serializer[Any]):
    """What may be changed about a person; what is left out stays."""

    name = serializers.CharField(max_length=150, required=False, allow_blank=True)
    email = serializers.EmailField(max_length=254, required=False)
    account_type = serializers.ChoiceField(choices=User.AccountType.choices, required=False)
    city = serializers.CharField(max_length=100, required=False, allow_blank=True)
    state = serializers.CharField(max_length=50, required=False, allow_blank=True)
    zip_code = serializers.CharField(max_length=20, required=False, allow_blank=True)
    phone = serializers.CharField(max_length=40, required=False, allow_blank=True)
    round_up_amount = serializers.IntegerField(min_value=1, max_value=100, required=False)
    round_up_enabled = serializers.BooleanField(required=False)
    is_active = serializers.BooleanField(required=False)


class PersonStatusInput(serializers.Serializer[Any]):
    """Whether the account is open: `status` or `is_active`."""

    status = serializers.ChoiceField(choices=["active", "inactive", "suspended"], required=False)
    is_active = serializers.BooleanField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """One of the two."""
        if not attrs:
            raise serializers.ValidationError({"status": ["Say active or inactive."]})
        return {"is_active": attrs.get("is_active", attrs.get("status") == "active")}


# --- Journal ----------------------------------------------------------------------------------------------------
class LineInput(serializers.Serializer[Any]):
    """A line: dollars on one side of an account."""

    account_code = serializers.CharField(max_length=10)
    debit = money(required=False, default=Decimal(0), min_value=Decimal(0))
    credit = money(required=False, default=Decimal(0), min_value=Decimal(0))
    description = serializers.CharField(max_length=200, required=False, allow_blank=True, default="")


class EntryInput(serializers.Serializer[Any]):
    """An entry: `lines`, or `from_account` (credited), `to_account` (debited) and `amount`. `posted` books it at once."""

    date = serializers.DateField(required=False)
    reference = serializers.CharField(max_length=100, required=False, allow_blank=True)
    description = serializers.CharField(max_length=500, required=False, allow_blank=True)
    location = serializers.CharField(max_length=100, required=False, allow_blank=True)
    department = serializers.CharField(max_length=100, required=False, allow_blank=True)
    transaction_type = serializers.CharField(max_length=50, required=False, allow_blank=True)
    vendor_name = serializers.CharField(max_length=200, required=False, allow_blank=True)
    customer_name = serializers.CharField(max_length=200, required=False, allow_blank=True)
    status = serializers.ChoiceField(choices=["draft", "posted"], required=False)
    lines = LineInput(many=True, required=False)
    from_account = serializers.CharField(max_length=10, required=False)
    to_account = serializers.CharField(max_length=10, required=False)
    amount = money(required=False, min_value=Decimal("0.01"))

    def validate_lines(self, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """A hundred at most."""
        if not 2 <= len(lines) <= 100:
            raise serializers.ValidationError("An entry has 2 to 100 lines.")
        return lines


class LineOutput(serializers.Serializer[Any]):
    """A line as it was written, or a side of a transfer."""

    account_code = serializers.CharField()
    debit = money()
    credit = money()
    description = serializers.CharField()


class EntryOutput(serializers.Serializer[Any]):
    """An entry of the company's books: `JE-…` somebody wrote, `LT-…` the system booked."""

    id = serializers.CharField()
    date = serializers.DateField()
    reference = serializers.CharField()
    description = serializers.CharField()
    location = serializers.CharField()
    department = serializers.CharField()
    transaction_type = serializers.CharField()
    vendor_name = serializers.CharField()
    customer_name = serializers.CharField()
    amount = money()
    from_account = serializers.CharField(allow_null=True)
    to_account = serializers.CharField(allow_null=True)
    status = serializers.ChoiceField(choices=JournalEntry.Status.choices)
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField(allow_null=True)
    lines = LineOutput(many=True)


class JournalOutput(Answer):
    """A page of entries, newest day first. `entries` and `data` are the same."""

    entries = EntryOutput(many=True)
    data = EntryOutput(many=True)  # type: ignore[assignment]  # the name is part of the documented shape
    next_cursor = serializers.CharField(allow_null=True)
    has_more = serializers.BooleanField()


class EntryDetailOutput(Answer):
    """One entry. `entry` and `data` are the same."""

    message = serializers.CharField(required=False)
    entry = EntryOutput()
    data = EntryOutput()  # type: ignore[assignment]  # the name is part of the documented shape


class EntryRemovedOutput(MessageOutput):
    """A draft is gone; a posted entry is reversed, and `entry` shows it."""

    reversed = serializers.BooleanField()
    entry = EntryOutput(allow_null=True)


class ConsistencyData(serializers.Serializer[Any]):
    """The last check of the books that ended; all null before the first. `status` is never, completed or failed."""

    status = serializers.CharField()
    is_consistent = serializers.BooleanField(allow_null=True)
    problems = serializers.IntegerField(allow_null=True)
    examples = serializers.ListField(child=serializers.CharField())
    checked_at = serializers.DateTimeField(allow_null=True)
    seconds = serializers.FloatField(allow_null=True)
    error = serializers.CharField()
    task_id = serializers.UUIDField(allow_null=True)


class ConsistencyOutput(Answer):
    """Whether the books are right."""

    data = ConsistencyData()  # type: ignore[assignment]  # the name is part of the documented shape


class StaffQueuedOutput(MessageOutput):
    """The work goes on in the background; ask `status_url` how far it is."""

    task_id = serializers.UUIDField()
    status = serializers.CharField()
    status_url = serializers.CharField()
