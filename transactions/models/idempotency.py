"""Stored responses of requests with an `Idempotency-Key`."""

from django.db import models
from django.utils import timezone


class IdempotencyKey(models.Model):
    """The stored response of a request, by user and `Idempotency-Key`: the same request gets the same response.

    Written in the transaction that did the work, so neither exists without the other. Expires after
    `IDEMPOTENCY_KEY_HOURS`.
    """

    user = models.ForeignKey("transactions.User", on_delete=models.CASCADE, db_constraint=False, db_index=False)
    key = models.CharField(max_length=100)
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of method, URL and body.")
    status = models.PositiveSmallIntegerField(default=0)
    answer = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "idempotency_keys"
        indexes = [models.Index(fields=["created_at"], name="idx_idempotency_keys_created")]
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="idempotency_keys_once_per_user")]

    def __str__(self) -> str:
        return self.key
