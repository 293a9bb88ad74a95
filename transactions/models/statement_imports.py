"""Uploaded bank statements and the rows that could not be read."""

from django.db import models
from django.utils import timezone

from transactions.models.background_tasks import BackgroundTask


class StatementImport(models.Model):
    """One uploaded statement. `rows_done` is written with each batch, so a killed import goes on where it stood."""

    task = models.OneToOneField(BackgroundTask, on_delete=models.PROTECT, related_name="statement")
    user = models.ForeignKey("transactions.User", on_delete=models.PROTECT, related_name="statements")
    filename = models.CharField(max_length=255)
    file = models.FileField(upload_to="statements/%Y/%m/")
    size = models.BigIntegerField(default=0)
    rows_done = models.BigIntegerField(default=0)
    rows_added = models.BigIntegerField(default=0)
    rows_duplicate = models.BigIntegerField(default=0)
    rows_rejected = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "statement_imports"
        indexes = [models.Index(fields=["user", "-id"], name="idx_statement_imports_user")]

    def __str__(self) -> str:
        return self.filename


class StatementReject(models.Model):
    """A row of a statement that could not be read: where, which field, why, and the row itself."""

    statement = models.ForeignKey(StatementImport, on_delete=models.CASCADE, related_name="rejects", db_index=False)
    row_number = models.BigIntegerField()
    field = models.CharField(max_length=30)
    reason = models.CharField(max_length=255)
    raw = models.TextField(blank=True)

    class Meta:
        db_table = "statement_rejects"
        constraints = [
            models.UniqueConstraint(fields=["statement", "row_number"], name="statement_rejects_once_per_row")
        ]

    def __str__(self) -> str:
        return f"row {self.row_number}: {self.reason}"
