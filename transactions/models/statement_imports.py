"""Uploaded bank statements and the rows that could not be read."""

from django.db import models
from django.db.models import Q

from kamioi_site.imports.models import ImportReject, ResumableImport
from transactions.models.background_tasks import BackgroundTask


class StatementImport(ResumableImport):
    """One uploaded statement."""

    task = models.OneToOneField(BackgroundTask, on_delete=models.PROTECT, related_name="statement")
    user = models.ForeignKey("transactions.User", on_delete=models.PROTECT, related_name="statements")
    file = models.FileField(upload_to="statements/%Y/%m/")
    # Answers to what the file leaves open, by the keys of the questions.
    answers = models.JSONField(default=dict, blank=True, db_default=models.Value({}, models.JSONField()))
    rows_duplicate = models.BigIntegerField("duplicates", default=0)
    # Of the rows that the import stored.
    first_date = models.DateTimeField(null=True, blank=True)
    last_date = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "statement_imports"
        indexes = [
            models.Index(fields=["user", "-id"], name="idx_statement_imports_user"),
            # The quota of a customer, and files that expire.
            models.Index(fields=["user", "created_at"], name="idx_statement_imports_quota"),
            models.Index(fields=["created_at"], name="idx_statement_imports_files", condition=~Q(file="")),
        ]


class StatementReject(ImportReject):
    """A row of a statement that could not be read."""

    statement = models.ForeignKey(StatementImport, on_delete=models.CASCADE, related_name="rejects", db_index=False)

    class Meta:
        db_table = "statement_rejects"
        constraints = [
            models.UniqueConstraint(fields=["statement", "row_number"], name="statement_rejects_once_per_row")
        ]
