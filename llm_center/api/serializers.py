"""What the LLM Center's API takes and answers; money and confidence are JSON numbers."""

from typing import Any

from rest_framework import serializers

from transactions.api.serializers import ErrorOutput, QueuedOutput

__all__ = ["ErrorOutput", "QueuedOutput"]


class MappingRowOutput(serializers.Serializer[Any]):
    """A row of the log as the legacy screens know it. `admin_approved` is 1, 0 or -1."""

    id = serializers.IntegerField()
    merchant_name = serializers.CharField()
    ticker = serializers.CharField(allow_null=True)
    category = serializers.CharField()
    confidence = serializers.FloatField()
    admin_approved = serializers.IntegerField()
    user_id = serializers.IntegerField(allow_null=True)
    created_at = serializers.DateTimeField()
    company_name = serializers.CharField()
    status = serializers.CharField()
    transaction_id = serializers.IntegerField(allow_null=True)
    ai_processed = serializers.BooleanField()
    ai_attempted = serializers.BooleanField()
    ai_status = serializers.CharField()
    ai_confidence = serializers.FloatField()
    ai_reasoning = serializers.CharField()
    ai_model_version = serializers.CharField()
    ai_processing_duration = serializers.IntegerField(allow_null=True)
    ai_processing_time = serializers.DateTimeField(allow_null=True)
    suggested_ticker = serializers.CharField(allow_null=True)
    user_email = serializers.CharField(allow_null=True)
    user_account_number = serializers.CharField(allow_null=True)
    user_name = serializers.CharField(allow_null=True)
    approval_source = serializers.CharField()
    approval_status_label = serializers.CharField()
    display_status = serializers.CharField()


class MappingPageOutput(serializers.Serializer[Any]):
    """A page by cursor."""

    data = MappingRowOutput(many=True)  # type: ignore[assignment]  # the name is part of the documented shape
    next_cursor = serializers.CharField(allow_null=True)
    has_more = serializers.BooleanField()


class MappingOutput(serializers.Serializer[Any]):
    """One row."""

    success = serializers.BooleanField()
    data = MappingRowOutput()  # type: ignore[assignment]  # the name is part of the documented shape


class LegacyMappings(serializers.Serializer[Any]):
    """Rows and where the page lies; totals stop being counted at 10,000."""

    mappings = MappingRowOutput(many=True)
    pagination = serializers.DictField()


class LegacyPageOutput(serializers.Serializer[Any]):
    """A page by number, as the legacy system has it."""

    success = serializers.BooleanField()
    data = LegacyMappings()  # type: ignore[assignment]  # the name is part of the documented shape


class DecideInput(serializers.Serializer[Any]):
    """Which mapping, and why."""

    mapping_id = serializers.IntegerField(min_value=1)
    notes = serializers.CharField(required=False, allow_blank=True, max_length=500, default="")


class NotesInput(serializers.Serializer[Any]):
    """Why."""

    notes = serializers.CharField(required=False, allow_blank=True, max_length=500, default="")


class DecidedOutput(serializers.Serializer[Any]):
    """What was decided; `task_id` is of the release of what waited."""

    success = serializers.BooleanField()
    message = serializers.CharField()
    mapping_id = serializers.IntegerField()
    status = serializers.CharField()
    task_id = serializers.UUIDField(allow_null=True)
    investment_details = serializers.DictField(required=False)


class ManyInput(serializers.Serializer[Any]):
    """Which mappings."""

    mapping_ids = serializers.ListField(child=serializers.IntegerField(min_value=1), min_length=1, max_length=500)


class ManyOutput(serializers.Serializer[Any]):
    """How many, and what was refused."""

    success = serializers.BooleanField()
    message = serializers.CharField()
    approved_count = serializers.IntegerField(required=False)
    rejected_count = serializers.IntegerField(required=False)
    refused = serializers.ListField(child=serializers.DictField())


class QueueOutput(serializers.Serializer[Any]):
    """What waits."""

    success = serializers.BooleanField()
    data = serializers.DictField()  # type: ignore[assignment]  # the name is part of the documented shape


class SubmitInput(serializers.Serializer[Any]):
    """A proposed owner. `confidence` is 0 to 1, or percent."""

    merchant_name = serializers.CharField(max_length=255)
    ticker = serializers.CharField(required=False, allow_blank=True, max_length=12, default="")
    ticker_symbol = serializers.CharField(required=False, allow_blank=True, max_length=12, default="")
    category = serializers.CharField(required=False, allow_blank=True, max_length=100, default="")
    company_name = serializers.CharField(required=False, allow_blank=True, max_length=200, default="")
    confidence = serializers.FloatField(required=False, min_value=0, max_value=100, default=0)
    notes = serializers.CharField(required=False, allow_blank=True, max_length=500, default="")
    transaction_id = serializers.IntegerField(required=False, allow_null=True, min_value=1, default=None)


class SubmittedOutput(serializers.Serializer[Any]):
    """Where the proposal stands in the log."""

    success = serializers.BooleanField()
    mapping_id = serializers.IntegerField()
    message = serializers.CharField()


class AmortizeInput(serializers.Serializer[Any]):
    """The day that the entry is for; today when absent."""

    entry_date = serializers.DateField(required=False)


class DataOutput(serializers.Serializer[Any]):
    """Figures."""

    success = serializers.BooleanField()
    data = serializers.DictField()  # type: ignore[assignment]  # the name is part of the documented shape


class LookupInput(serializers.Serializer[Any]):
    """The text of a statement, or a company's name."""

    company_name = serializers.CharField(max_length=255)
