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
    bank_account = models.ForeignKey(
        "transactions.BankAccount",
        null=True,
        blank=True,
        db_index=False,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="Of all its rows; empty where the rows name their account, or nothing does.",
    )
    is_account_chosen = models.BooleanField(
        default=False, db_default=False, help_text="A person chose the account; otherwise the file's name has it."
    )
    layout = models.CharField(max_length=32, blank=True, default="", db_default="", help_text="Digest of the headings.")
    rows_duplicate = models.BigIntegerField("duplicates", default=0)
    rows_held = models.BigIntegerField("possible duplicates", default=0, db_default=0)
    # Of the rows that the import stored.
    first_date = models.DateTimeField(null=True, blank=True)
    last_date = models.DateTimeField(null=True, blank=True)
    repeats = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
        help_text="The import of the same file that this one replaces.",
    )
    # Set from the request on: no further batch is stored.
    undo_task = models.ForeignKey(
        BackgroundTask, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    undone_at = models.DateTimeField(null=True, blank=True)
    rows_deleted = models.BigIntegerField(default=0, db_default=0, help_text="Removed by the undo: never invested.")
    rows_reversed = models.BigIntegerField(default=0, db_default=0, help_text="Reversed in the ledger by the undo.")

    class State(models.TextChoices):
        """What has become of the import: the status of its task, until it is undone."""

        QUEUED = "queued"
        RUNNING = "running"
        COMPLETED = "completed"
        FAILED = "failed"
        UNDOING = "undoing", "being undone"
        UNDO_FAILED = "undo_failed", "undo failed"
        UNDONE = "undone"
        CANCELLED = "cancelled"

    class Meta:
        db_table = "statement_imports"
        indexes = [
            models.Index(fields=["user", "-id"], name="idx_statement_imports_user"),
            # The quota of a customer, and files that expire.
            models.Index(fields=["user", "created_at"], name="idx_statement_imports_quota"),
            models.Index(fields=["created_at"], name="idx_statement_imports_files", condition=~Q(file="")),
        ]

    @property
    def state(self) -> str:
        """Return the state; reads `task` and `undo_task`."""
        if self.undo_task is None:
            return self.task.status
        if self.undone_at is None:
            return self.State.UNDOING if self.undo_task.is_open else self.State.UNDO_FAILED
        is_cancelled = self.task.status == BackgroundTask.Status.CANCELLED
        return self.State.CANCELLED if is_cancelled else self.State.UNDONE


class StatementReject(ImportReject):
    """A row of a statement that could not be read."""

    statement = models.ForeignKey(StatementImport, on_delete=models.CASCADE, related_name="rejects", db_index=False)

    class Meta:
        db_table = "statement_rejects"
        constraints = [
            models.UniqueConstraint(fields=["statement", "row_number"], name="statement_rejects_once_per_row")
        ]
