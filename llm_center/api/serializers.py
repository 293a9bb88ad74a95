"""Input of the LLM Center's API."""

from decimal import Decimal
from typing import Any

from rest_framework import serializers

from kamioi_site.api.fields import DecimalField, IdField, TextField, TickerField, UploadField


def _notes() -> TextField:
    return TextField(required=False, allow_blank=True, max_length=500, default="")


def _version() -> TextField:
    message = "Required: the `merchant_version` of the mapping as you saw it."
    return TextField(max_length=40, error_messages={"required": message})


class NotesInput(serializers.Serializer[Any]):
    """The reason for a decision."""

    notes = _notes()


class DecideInput(NotesInput):
    """The mapping to decide, and the reason."""

    mapping_id = IdField()


class ManyInput(serializers.Serializer[Any]):
    """The mappings to decide."""

    mapping_ids = serializers.ListField(child=IdField(), min_length=1, max_length=500)


class VersionInput(NotesInput):
    """The version of the merchant that the reviewer saw, the reason, and whether to correct what was booked as well."""

    merchant_version = _version()
    include_booked = serializers.BooleanField(required=False, default=False)


class VersionedMapping(serializers.Serializer[Any]):
    """A mapping, and the version of its merchant that the reviewer saw."""

    mapping_id = IdField()
    merchant_version = _version()


class VersionedManyInput(serializers.Serializer[Any]):
    """The mappings to decide."""

    mappings = serializers.ListField(child=VersionedMapping(), min_length=1, max_length=500)


class EditInput(serializers.Serializer[Any]):
    """The corrected proposal; the company name defaults to that of the listed company."""

    merchant_name = TextField(max_length=255)
    ticker = TickerField()
    category = TextField(max_length=100, required=False, allow_blank=True, default="")
    company_name = TextField(max_length=200, required=False, allow_null=True, default=None)


class ApprovePendingInput(serializers.Serializer[Any]):
    """The lowest confidence to approve, 0.5 to 1: a wrong purchase is worse than none."""

    min_confidence = DecimalField(
        pattern=r"^(1(\.0{1,4})?|0?\.[5-9][0-9]{0,3})$",
        min_value=Decimal("0.5"),
        max_value=Decimal(1),
        places=4,
        required=False,
        default=Decimal("0.8"),
    )


class UploadInput(serializers.Serializer[Any]):
    """A file of mappings: CSV with merchant and ticker, optionally category, company, confidence and notes."""

    file = UploadField()


class SubmitInput(serializers.Serializer[Any]):
    """A proposed company. `confidence` is 0 to 1, or percent."""

    merchant_name = TextField(max_length=255)
    ticker = TickerField(required=False, allow_blank=True, default="")
    ticker_symbol = TickerField(required=False, allow_blank=True, default="")
    category = TextField(required=False, allow_blank=True, max_length=100, default="")
    company_name = TextField(required=False, allow_blank=True, max_length=200, default="")
    confidence = DecimalField(
        pattern=r"^(100(\.0{1,40})?|[0-9]{1,2}(\.[0-9]{1,40})?|\.[0-9]{1,40})$",
        min_value=Decimal(0),
        max_value=Decimal(100),
        required=False,
        default=Decimal(0),
    )
    notes = _notes()
    transaction_id = IdField(required=False, allow_null=True, default=None)


class AmortizeInput(serializers.Serializer[Any]):
    """The date of the entry, today by default."""

    entry_date = serializers.DateField(required=False)


class LookupInput(serializers.Serializer[Any]):
    """The text of a statement, or the name of a company."""

    company_name = TextField(max_length=255)


class LookupQuery(serializers.Serializer[Any]):
    """The same in the query string."""

    company = TextField(max_length=255)
