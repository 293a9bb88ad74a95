"""Runs of the legacy migration and the rows it could not convert."""

from django.db import models
from django.utils import timezone


class MigrationRun(models.Model):
    """One run of the legacy migration and its progress."""

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
    """A complete row of the legacy database that could not be migrated, with the reason."""

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
