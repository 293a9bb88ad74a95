"""Long-running actions in the background."""

import uuid
from typing import TYPE_CHECKING, Final

from django.db import models
from django.db.models import Q
from django.utils import timezone

if TYPE_CHECKING:
    from transactions.models import User

# Task → the permission to view it: that of the data which its arguments, result and errors tell something about.
VIEW_PERMISSIONS: Final = {
    "ingest_statement": "transactions.view_statementimport",
    "preview_statement": "transactions.view_statementimport",
    "undo_statement": "transactions.view_statementimport",
    "export_person": "transactions.view_user",
    "erase_person": "transactions.view_user",
    "process_selected": "transactions.view_transaction",
    "process_backlog": "transactions.view_transaction",
    "settle_held_purchases": "transactions.view_transaction",
    "announce_platform_fee": "transactions.view_platformfee",
    "verify_ledger": "transactions.view_ledgertransfer",
    "make_report": "analytics.view_report",
    "make_statements": "analytics.view_report",
    "run_llm_queue": "llm_center.view_llmmapping",
    "decide_merchants": "llm_center.view_reviewmerchant",
    "release_merchants": "llm_center.view_reviewmerchant",
    "correct_purchases": "llm_center.view_reviewmerchant",
    "undo_decision": "llm_center.view_reviewmerchant",
    "import_mappings": "llm_center.view_mappingimport",
    "remove_duplicates": "transactions.change_backgroundtask",
    "rebuild_indexes": "transactions.change_backgroundtask",
}


class BackgroundTask(models.Model):
    """A long-running action: its state, progress and result, independent of the fate of its message."""

    class Status(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        COMPLETED = "completed"
        FAILED = "failed"
        CANCELLED = "cancelled"

    OPEN: Final = (Status.QUEUED, Status.RUNNING)

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
                condition=Q(status__in=["queued", "running", "completed", "failed", "cancelled"]),
                name="background_tasks_status_known",
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.status}"

    @property
    def is_open(self) -> bool:
        return self.status in self.OPEN

    def is_visible_to(self, user: "User") -> bool:
        """Whether the task is the user's own, or the user is staff who may view the data of such tasks."""
        return self.user_id == user.pk or (user.is_staff and user.has_perm(VIEW_PERMISSIONS.get(self.name, "")))
