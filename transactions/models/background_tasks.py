"""Long-running actions in the background."""

import uuid

from django.db import models
from django.db.models import Q
from django.utils import timezone


class BackgroundTask(models.Model):
    """A long-running action: its state, progress and result, independent of the fate of its message."""

    class Status(models.TextChoices):
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
    # The number of changes of the row, counted by a trigger.
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
