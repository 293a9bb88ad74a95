"""The log of proposals and the counters derived from it.

`llm_mappings` is partitioned by month on `created_at`; its primary key in the database is (id, created_at).
"""

from decimal import Decimal
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from kamioi_site.db.indexes import NamedIndex
from kamioi_site.db.partitions import MonthlyPartitionedModel


class LlmMapping(MonthlyPartitionedModel):
    """One proposed ticker of a merchant, and the decision on it."""

    partition_column: ClassVar[str] = "created_at"

    class Status(models.TextChoices):
        PENDING = "pending"
        APPROVED = "approved"
        REJECTED = "rejected"

    class Source(models.TextChoices):
        USER = "user"
        BULK = "bulk"
        MATCHER = "matcher"
        LLM = "llm", "LLM"
        ADMIN = "admin"
        LEGACY = "legacy"

    transaction_id = models.BigIntegerField(null=True, blank=True)
    merchant_name = models.CharField(max_length=255)
    merchant_key = models.CharField(max_length=120)
    ticker = models.CharField(max_length=12, null=True, blank=True)
    category = models.CharField(max_length=100, blank=True, default="")
    confidence = models.DecimalField(max_digits=5, decimal_places=4, default=Decimal(0))
    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING)
    admin_approved = models.BooleanField(default=False)
    ai_processed = models.BooleanField("AI processed", default=False)
    company_name = models.CharField(max_length=200, blank=True, default="")
    user = models.ForeignKey(
        "transactions.User",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    source = models.CharField(max_length=10, choices=Source)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    ai_model_version = models.CharField("model version", max_length=100, blank=True, default="")
    ai_reasoning = models.TextField("AI reasoning", blank=True, default="")
    ai_auto_approved = models.BooleanField("auto-approved", default=False)
    ai_processing_ms = models.PositiveIntegerField("AI processing (ms)", null=True, blank=True)
    ai_decided_at = models.DateTimeField("AI decided at", null=True, blank=True)
    decided_by = models.ForeignKey(
        "transactions.User",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )

    class Meta:
        db_table = "llm_mappings"
        verbose_name = "LLM mapping"
        indexes = [
            NamedIndex(fields=["status", "-created_at"], name="idx_llm_mappings_status_created"),
            NamedIndex(
                fields=["admin_approved"], name="idx_llm_mappings_admin_approved", condition=Q(admin_approved=False)
            ),
            NamedIndex(fields=["user", "status"], name="idx_llm_mappings_user_id_status"),
            NamedIndex(fields=["merchant_name", "ticker"], name="idx_llm_mappings_merchant_ticker"),
            NamedIndex(fields=["merchant_key"], name="idx_llm_mappings_merchant_key"),
            NamedIndex(fields=["-created_at"], name="idx_llm_mappings_created_at"),
            NamedIndex(
                fields=["id"], name="idx_llm_mappings_pending", condition=Q(admin_approved=False) & ~Q(source="bulk")
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["pending", "approved", "rejected"]), name="llm_mappings_status_known"
            ),
            models.CheckConstraint(
                condition=Q(confidence__gte=0, confidence__lte=1), name="llm_mappings_confidence_0_to_1"
            ),
            models.CheckConstraint(
                condition=Q(source__in=["user", "bulk", "matcher", "llm", "admin", "legacy"]),
                name="llm_mappings_source_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.merchant_name} → {self.ticker or 'no company'}"


class MappingDelta(models.Model):
    """The change in rows of a (day, status, source, automatic) by one write to the log.

    Inserted with the rows themselves; consumed and deleted by `analytics.services.rollups`, which compares `writes`,
    the number of rows written, with the log to detect uncounted writes.
    """

    day = models.DateField(help_text="UTC date of `created_at`.")
    status = models.CharField(max_length=10)
    source = models.CharField(max_length=10)
    automatic = models.BooleanField()
    rows = models.IntegerField()
    confidence = models.DecimalField(max_digits=18, decimal_places=4, help_text="Sum over the rows.")
    writes = models.IntegerField()

    class Meta:
        db_table = "mapping_deltas"

    def __str__(self) -> str:
        return f"{self.day} {self.status} {self.rows:+d}"
