"""Input of the staff API: selected transactions, users, journal entries."""

from decimal import Decimal
from typing import Any

from rest_framework import serializers

from kamioi_site.api.fields import BooleanField, EmailField, IdField, MoneyField, TextField
from transactions.api.serializers import optional_text, round_up_field
from transactions.models import User
from transactions.rules.money import ZERO


class SelectedInput(serializers.Serializer[Any]):
    """The transactions to process; `force` lifts the limit on the amount."""

    transaction_ids = serializers.ListField(child=IdField(), min_length=1, max_length=500)
    force = BooleanField(required=False, default=False)


class OneTransactionInput(serializers.Serializer[Any]):
    """The transaction to process."""

    transaction_id = IdField()


def held_purchases_field() -> serializers.ChoiceField:
    """Return a field that tells what happens to purchases on hold."""
    return serializers.ChoiceField(
        choices=["release", "cancel"],
        required=False,
        help_text="What happens to purchases on hold when the account is opened again; `release` by default.",
    )


class UserInput(serializers.Serializer[Any]):
    """The fields of a user to change."""

    name = optional_text(length=150)
    email = EmailField(max_length=254, required=False)
    account_type = serializers.ChoiceField(choices=User.AccountType.choices, required=False)
    city = optional_text(length=100)
    state = optional_text(length=50)
    zip_code = optional_text(length=20)
    phone = optional_text(length=40)
    round_up_amount = round_up_field()
    round_up_enabled = BooleanField(required=False)
    is_active = BooleanField(required=False)
    held_purchases = held_purchases_field()


class UserStatusInput(serializers.Serializer[Any]):
    """Whether the account is open: `status` or `is_active`."""

    status = serializers.ChoiceField(choices=["active", "inactive", "suspended"], required=False)
    is_active = BooleanField(required=False)
    held_purchases = held_purchases_field()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Require one of the two."""
        if not {"status", "is_active"} & attrs.keys():
            raise serializers.ValidationError("Send status “active” or “inactive”.")
        attrs.setdefault("is_active", attrs.pop("status", "") == "active")
        return attrs


class LineInput(serializers.Serializer[Any]):
    """A line: dollars on one side of an account."""

    account_code = TextField(max_length=10)
    debit = MoneyField(zero=True, required=False, default=Decimal(0))
    credit = MoneyField(zero=True, required=False, default=Decimal(0))
    description = TextField(max_length=200, required=False, allow_blank=True, default="")


class EntryInput(serializers.Serializer[Any]):
    """A journal entry: `lines`, or `from_account` (credit), `to_account` (debit) and `amount`."""

    date = serializers.DateField(required=False)
    reference = optional_text(length=100)
    description = optional_text(length=500)
    location = optional_text(length=100)
    department = optional_text(length=100)
    transaction_type = optional_text(length=50)
    vendor_name = optional_text(length=200)
    customer_name = optional_text(length=200)
    status = serializers.ChoiceField(choices=["draft", "posted"], required=False)
    lines = serializers.ListField(
        child=LineInput(),
        min_length=2,
        max_length=100,
        required=False,
        error_messages=dict.fromkeys(("min_length", "max_length"), "An entry has 2 to 100 lines."),
    )
    from_account = TextField(max_length=10, required=False)
    to_account = TextField(max_length=10, required=False)
    amount = MoneyField(required=False)
    total_debit = MoneyField(zero=True, required=False, help_text="Checked against the sum of the lines.")
    total_credit = MoneyField(zero=True, required=False, help_text="Checked against the sum of the lines.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse totals that are not those of the lines."""
        for side in ("debit", "credit"):
            total = sum((line[side] for line in attrs.get("lines", [])), ZERO)
            if attrs.pop(f"total_{side}", total) != total:
                raise serializers.ValidationError({"lines": [f"Their {side}s are ${total:,}, not total_{side}."]})
        return attrs
