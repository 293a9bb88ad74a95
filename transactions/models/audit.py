"""The trail of what staff did. PostgreSQL itself refuses to change or delete a row of it."""

from django.db import models
from django.utils import timezone


class AuditEvent(models.Model):
    """One action of a member of staff, or an attempt to log in to an account of theirs.

    Written by `transactions.audit` for every request that changes something or takes data out, whatever the page or
    the API it went through. What changed stands in the object's own history; here stands who did it, when and from
    where.
    """

    class Kind(models.TextChoices):
        """What sort of thing was done."""

        CHANGE = "change", "changed something"
        DOWNLOAD = "download", "took data out"
        LOG_IN = "log_in", "logged in"
        LOG_OUT = "log_out", "logged out"
        LOG_IN_FAILED = "log_in_failed", "failed to log in"

    at = models.DateTimeField(default=timezone.now, editable=False)
    user = models.ForeignKey(
        "transactions.User", null=True, on_delete=models.PROTECT, related_name="+", help_text="Whose account was used."
    )
    kind = models.CharField(max_length=13, choices=Kind)
    action = models.CharField(max_length=200, help_text="Method and name of the address.")
    target = models.CharField(
        max_length=500, blank=True, help_text="Which rows, as the address and the form name them."
    )
    status = models.PositiveSmallIntegerField(null=True, help_text="Of the HTTP answer.")
    address = models.GenericIPAddressField(null=True, help_text="Of the caller.")
    request_id = models.CharField(max_length=64, blank=True)

    class Meta:
        db_table = "audit_events"
        indexes = [
            models.Index(fields=["user", "-id"], name="idx_audit_events_user"),
            models.Index(fields=["kind", "-id"], name="idx_audit_events_kind"),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} {self.action} {self.target}"
