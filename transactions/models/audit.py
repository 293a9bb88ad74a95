"""The audit trail of staff. A trigger in PostgreSQL rejects updates and deletes."""

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.utils import timezone


class AuditEvent(models.Model):
    """One action of a staff user, or a login attempt to a staff account.

    Written by `transactions.audit` for every request that changes or downloads data, in the admin and the API. What
    changed is in the object's own history; this row records who did it, when and from where.
    """

    class Kind(models.TextChoices):
        CHANGE = "change", "change"
        DOWNLOAD = "download", "download"
        LOG_IN = "log_in", "login"
        LOG_OUT = "log_out", "logout"
        LOG_IN_FAILED = "log_in_failed", "failed login"

    at = models.DateTimeField(default=timezone.now, editable=False)
    user = models.ForeignKey(
        "transactions.User",
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="The account that was used.",
    )
    kind = models.CharField(max_length=13, choices=Kind)
    action = models.CharField(max_length=200, help_text="HTTP method and view name.")
    target = models.CharField(max_length=500, blank=True, help_text="The rows, as identified by the URL and the form.")
    status = models.PositiveSmallIntegerField(null=True, help_text="HTTP status of the response.")
    address = models.GenericIPAddressField(null=True, help_text="IP address of the client.")
    request_id = models.CharField(max_length=64, blank=True)

    class Meta:
        db_table = "audit_events"
        indexes = [
            models.Index(fields=["user", "-id"], name="idx_audit_events_user"),
            models.Index(fields=["kind", "-id"], name="idx_audit_events_kind"),
            BrinIndex(fields=["at"], name="idx_audit_events_at", autosummarize=True),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} {self.action} {self.target}"
