"""What the LLM Center's API takes and answers; money and confidence are JSON numbers."""

from decimal import Decimal
from typing import Any

from rest_framework import serializers

from kamioi_site.api.views import IdField
from transactions.api.serializers import Answer, ErrorOutput, MessageOutput, QueuedOutput
from transactions.api.staff_serializers import StaffQueuedOutput

__all__ = ["ErrorOutput", "MessageOutput", "QueuedOutput"]


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


class MappingOutput(Answer):
    """One row."""

    data = MappingRowOutput()  # type: ignore[assignment]  # the name is part of the documented shape


class LegacyMappings(serializers.Serializer[Any]):
    """Rows and where the page lies; totals stop being counted at 10,000."""

    mappings = MappingRowOutput(many=True)
    pagination = serializers.DictField()


class LegacyPageOutput(Answer):
    """A page by number, as the legacy system has it."""

    data = LegacyMappings()  # type: ignore[assignment]  # the name is part of the documented shape


class DecideInput(serializers.Serializer[Any]):
    """Which mapping, and why."""

    mapping_id = IdField()
    notes = serializers.CharField(required=False, allow_blank=True, max_length=500, default="")


class NotesInput(serializers.Serializer[Any]):
    """Why."""

    notes = serializers.CharField(required=False, allow_blank=True, max_length=500, default="")


class DecidedOutput(MessageOutput):
    """What was decided; `task_id` is of the release of what waited."""

    mapping_id = serializers.IntegerField()
    status = serializers.CharField()
    task_id = serializers.UUIDField(allow_null=True)
    investment_details = serializers.DictField(required=False)


class ManyInput(serializers.Serializer[Any]):
    """Which mappings."""

    mapping_ids = serializers.ListField(child=IdField(), min_length=1, max_length=500)


class ManyOutput(MessageOutput):
    """How many, and what was refused."""

    approved_count = serializers.IntegerField(required=False)
    rejected_count = serializers.IntegerField(required=False)
    refused = serializers.ListField(child=serializers.DictField())


class EditInput(serializers.Serializer[Any]):
    """What the proposal says from now on; without a company's name the listed one."""

    merchant_name = serializers.CharField(max_length=255)
    ticker = serializers.CharField(max_length=12)
    category = serializers.CharField(max_length=100, required=False, allow_blank=True, default="")
    company_name = serializers.CharField(max_length=200, required=False, allow_null=True, default=None)


class ReconsideredData(serializers.Serializer[Any]):
    """What the matcher makes of a row; times are milliseconds, `stored` says whether the row carries the answer."""

    mapping_id = serializers.IntegerField()
    ai_status = serializers.ChoiceField(choices=["approved", "review_required", "uncertain"])
    ai_confidence = serializers.FloatField()
    ai_reasoning = serializers.CharField()
    ai_auto_approved = serializers.BooleanField()
    processing_time = serializers.FloatField()
    model_version = serializers.CharField()
    ai_model_version = serializers.CharField()
    suggested_ticker = serializers.CharField(allow_null=True)
    ai_processing_duration = serializers.FloatField()
    stored = serializers.BooleanField()


class ReconsideredOutput(Answer):
    """What came of a second look."""

    data = ReconsideredData()  # type: ignore[assignment]  # the name is part of the documented shape


class ApprovePendingInput(serializers.Serializer[Any]):
    """How sure a proposal must be, 0.5 to 1. A wrong purchase is worse than none, so what is less sure is looked at one by one."""

    min_confidence = serializers.DecimalField(
        max_digits=5,
        decimal_places=4,
        min_value=Decimal("0.5"),
        max_value=Decimal(1),
        required=False,
        default=Decimal("0.8"),
    )


class ApprovePendingOutput(StaffQueuedOutput):
    """The work goes on in the background; `approved_count` is null until the task's `result` has it as `decided`."""

    approved_count = serializers.IntegerField(allow_null=True)


class UploadInput(serializers.Serializer[Any]):
    """A file of mappings: CSV with merchant and ticker, and if it has them category, company, confidence, notes."""

    file = serializers.FileField()


class UploadedRows(serializers.Serializer[Any]):
    """What came of the rows; null while the task works. `errors` are the first fifty."""

    processed_rows = serializers.IntegerField(allow_null=True)
    total_rows = serializers.IntegerField(allow_null=True)
    valid_rows = serializers.IntegerField(allow_null=True)
    errors = serializers.ListField(child=serializers.CharField())  # type: ignore[assignment]  # part of the documented shape
    error_count = serializers.IntegerField(allow_null=True)
    processing_time = serializers.FloatField(allow_null=True)
    rows_per_second = serializers.FloatField(allow_null=True)
    job_id = serializers.UUIDField()
    status = serializers.CharField()


class UploadOutput(MessageOutput):
    """A small file is read at once, a larger one in the background."""

    task_id = serializers.UUIDField()
    data = UploadedRows()  # type: ignore[assignment]  # the name is part of the documented shape


class UploadJob(serializers.Serializer[Any]):
    """The job to ask the progress of."""

    job_id = serializers.UUIDField()
    status = serializers.CharField()
    method = serializers.CharField()


class FastUploadOutput(MessageOutput):
    """The file is kept and read in the background."""

    task_id = serializers.UUIDField()
    data = UploadJob()  # type: ignore[assignment]  # the name is part of the documented shape


class UploadProgress(serializers.Serializer[Any]):
    """How far the job is; `total_rows` is null until the file is read."""

    job_id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=["queued", "processing", "completed", "failed"])
    processed_rows = serializers.IntegerField()
    total_rows = serializers.IntegerField(allow_null=True)
    valid_rows = serializers.IntegerField()
    error_count = serializers.IntegerField()
    errors = serializers.ListField(child=serializers.CharField())  # type: ignore[assignment]  # part of the documented shape
    error = serializers.CharField()
    progress = serializers.FloatField(allow_null=True)
    processing_time = serializers.FloatField(allow_null=True)
    rows_per_second = serializers.FloatField(allow_null=True)


class UploadProgressOutput(Answer):
    """How far the job is."""

    data = UploadProgress()  # type: ignore[assignment]  # the name is part of the documented shape


class SubmitInput(serializers.Serializer[Any]):
    """A proposed owner. `confidence` is 0 to 1, or percent."""

    merchant_name = serializers.CharField(max_length=255)
    ticker = serializers.CharField(required=False, allow_blank=True, max_length=12, default="")
    ticker_symbol = serializers.CharField(required=False, allow_blank=True, max_length=12, default="")
    category = serializers.CharField(required=False, allow_blank=True, max_length=100, default="")
    company_name = serializers.CharField(required=False, allow_blank=True, max_length=200, default="")
    confidence = serializers.DecimalField(
        required=False,
        min_value=Decimal(0),
        max_value=Decimal(100),
        max_digits=40,
        decimal_places=36,
        default=Decimal(0),
    )
    notes = serializers.CharField(required=False, allow_blank=True, max_length=500, default="")
    transaction_id = IdField(required=False, allow_null=True, default=None)


class SubmittedOutput(Answer):
    """Where the proposal stands in the log."""

    mapping_id = serializers.IntegerField()
    message = serializers.CharField()


class AmortizeInput(serializers.Serializer[Any]):
    """The day that the entry is for; today when absent."""

    entry_date = serializers.DateField(required=False)


class DataOutput(Answer):
    """Figures."""

    data = serializers.DictField()  # type: ignore[assignment]  # the name is part of the documented shape


class LookupInput(serializers.Serializer[Any]):
    """The text of a statement, or a company's name."""

    company_name = serializers.CharField(max_length=255)
