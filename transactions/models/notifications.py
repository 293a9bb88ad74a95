"""Messages for customers."""

from django.db import models
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
