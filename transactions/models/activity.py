"""What people see of the work: notifications, goals, uploaded statements, background tasks, answered requests, migrations."""

import uuid
from decimal import Decimal

from django.db import models
from django.db.models import Q
from django.utils import timezone


class Notification(models.Model):
    """A message for one customer."""

    user = models.ForeignKey("transactions.User", on_delete=models.PROTECT, db_constraint=False, db_index=False)
    title = models.CharField(max_length=120)
    message = models.TextField()
    type = models.CharField(max_length=30, default="info")
    read = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "notifications"
        indexes = [models.Index(fields=["user", "-id"], name="idx_notifications_user_id")]

    def __str__(self) -> str:
        return self.title


class Goal(models.Model):
    """What a customer saves for, in dollars."""

    class Type(models.TextChoices):
        """Whose goal it is."""

        PERSONAL = "personal"
        FAMILY = "family"
        BUSINESS = "business"

    user = models.ForeignKey(
        "transactions.User", on_delete=models.PROTECT, db_constraint=False, db_index=False, related_name="goals"
    )
    title = models.CharField(max_length=120)
    target_amount = models.DecimalField(max_digits=14, decimal_places=2)
    current_amount = models.DecimalField(max_digits=14, decimal_places=2, default=Decimal(0))
    goal_type = models.CharField(max_length=10, choices=Type, default=Type.PERSONAL)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "goals"
        indexes = [models.Index(fields=["user", "-id"], name="idx_goals_user")]
        constraints = [
            models.CheckConstraint(condition=Q(target_amount__gt=0), name="goals_target_positive"),
            models.CheckConstraint(condition=Q(current_amount__gte=0), name="goals_current_not_negative"),
            models.CheckConstraint(
                condition=Q(goal_type__in=["personal", "family", "business"]), name="goals_type_known"
            ),
        ]

    def __str__(self) -> str:
        return self.title


class IdempotencyKey(models.Model):
    """(user, `Idempotency-Key`) → what was asked and what was answered: sent again, the answer is given again.

    Written in the transaction that did the work, so neither exists without the other. Forgotten after
    `IDEMPOTENCY_KEY_HOURS`.
    """

    user = models.ForeignKey("transactions.User", on_delete=models.CASCADE, db_constraint=False, db_index=False)
    key = models.CharField(max_length=100)
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of method, address and body.")
    status = models.PositiveSmallIntegerField(default=0)
    answer = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "idempotency_keys"
        indexes = [models.Index(fields=["created_at"], name="idx_idempotency_keys_created")]
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="idempotency_keys_once_per_user")]

    def __str__(self) -> str:
        return self.key


class BackgroundTask(models.Model):
    """A long action that somebody asked for: state, progress and outcome, whatever became of the message.

    `idempotency_key` makes asking twice one task.
    """

    class Status(models.TextChoices):
        """Where the task stands."""

        QUEUED = "queued"
        RUNNING = "running"
        COMPLETED = "completed"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=60)
    user = models.ForeignKey("transactions.User", null=True, blank=True, on_delete=models.PROTECT)
    arguments = models.JSONField(default=dict, blank=True)
    status = models.CharField(max_length=10, choices=Status, default=Status.QUEUED)
    progress = models.BigIntegerField(default=0)
    total = models.BigIntegerField(null=True, blank=True)
    result = models.JSONField(default=dict, blank=True)
    error = models.TextField(blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    # How often the row has changed; a trigger counts, so whoever writes need not.
    version = models.PositiveBigIntegerField(default=0, db_default=0, editable=False)

    class Meta:
        db_table = "background_tasks"
        indexes = [
            models.Index(fields=["-created_at"], name="idx_background_tasks_created"),
            models.Index(fields=["status", "-created_at", "-id"], name="idx_background_tasks_status"),
            models.Index(fields=["name", "-created_at"], name="idx_background_tasks_name"),
            models.Index(
                fields=["created_at"], name="idx_background_tasks_open", condition=Q(status__in=["queued", "running"])
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["queued", "running", "completed", "failed"]),
                name="background_tasks_status_known",
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.status}"


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


class MigrationRun(models.Model):
    """One run of the legacy migration: what it did, how far it came."""

    command = models.CharField(max_length=40)
    source = models.CharField(max_length=500, blank=True)
    status = models.CharField(max_length=12, default="running")
    details = models.JSONField(default=dict, blank=True)
    rows_done = models.BigIntegerField(default=0)
    rows_total = models.BigIntegerField(null=True, blank=True)
    started_at = models.DateTimeField(default=timezone.now, editable=False)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "migration_runs"

    def __str__(self) -> str:
        return f"{self.command} {self.status}"


class MigrationReject(models.Model):
    """A row of the legacy database that could not be carried over, whole, with the reason."""

    run = models.ForeignKey(MigrationRun, null=True, on_delete=models.SET_NULL, related_name="rejects")
    table_name = models.CharField(max_length=100)
    legacy_id = models.CharField(max_length=100, blank=True)
    row = models.JSONField()
    reason = models.CharField(max_length=255)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolved_by = models.ForeignKey(
        "transactions.User", null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        db_table = "migration_rejects"
        indexes = [models.Index(fields=["table_name", "legacy_id"], name="idx_migration_rejects_row")]

    def __str__(self) -> str:
        return f"{self.table_name} {self.legacy_id}"
