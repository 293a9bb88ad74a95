"""The merchant directory: one row per normalised merchant, whatever the number of purchases.

It lives here, and not in the LLM Center that fills it, because processing joins it in every statement.
"""

from decimal import Decimal

from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Coalesce
from django.utils import timezone


class Merchant(models.Model):
    """One merchant: its company, if any, and how much money waits for a decision on it."""

    class Status(models.TextChoices):
        """State of the question which listed company owns the merchant."""

        PROPOSED = "proposed", "awaiting a decision"
        APPROVED = "approved", "invests"
        NOT_LISTED = "not_listed", "no listed company"
        REJECTED = "rejected", "proposal rejected, awaiting a decision"

    class Source(models.TextChoices):
        """Origin of the current proposal or decision."""

        SEED = "seed"
        MATCHER = "matcher"
        LLM = "llm", "LLM"
        ADMIN = "admin"
        LEGACY = "legacy"
        INGEST = "ingest", "statement"

    merchant_key = models.CharField(max_length=120, unique=True)
    display_name = models.CharField(max_length=255)
    ticker = models.CharField(max_length=12, null=True, blank=True)
    company_name = models.CharField(max_length=200, blank=True)
    category = models.CharField(max_length=100, blank=True)
    status = models.CharField(max_length=12, choices=Status, default=Status.PROPOSED)
    confidence = models.DecimalField(max_digits=5, decimal_places=4, null=True, blank=True)
    stated_confidence = models.DecimalField(
        max_digits=5,
        decimal_places=4,
        null=True,
        blank=True,
        help_text="The confidence stated by the source, before calibration.",
    )
    source = models.CharField(max_length=10, choices=Source, default=Source.INGEST)
    reason = models.TextField(blank=True)
    alternatives = models.JSONField(
        default=list, db_default=models.Value([], models.JSONField()), blank=True, help_text="Other possible companies."
    )
    rejected_tickers = models.JSONField(default=list, blank=True, help_text="Never proposed again for this merchant.")
    decided_by = models.ForeignKey("transactions.User", null=True, blank=True, on_delete=models.PROTECT)
    decided_at = models.DateTimeField(null=True, blank=True)
    decision_id = models.BigIntegerField(
        "decision",
        null=True,
        blank=True,
        help_text="The current decision in `mapping_decisions`; empty if none is recorded there.",
    )
    waiting_count = models.PositiveIntegerField("waiting", default=0)
    waiting_amount = models.DecimalField(max_digits=14, decimal_places=2, default=Decimal(0))
    review_priority = models.GeneratedField(
        expression=F("waiting_amount") * (Value(Decimal(1)) - Coalesce(F("confidence"), Value(Decimal(0)))),
        output_field=models.DecimalField(max_digits=18, decimal_places=6),
        db_persist=True,
        help_text="Waiting dollars × (1 − confidence): the order of the review queue.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "merchants"
        indexes = [
            # The review queue, the most valuable decision first.
            models.Index(
                fields=["-review_priority", "id"],
                name="idx_merchants_queue",
                condition=Q(status__in=["proposed", "rejected"]),
            ),
            # Merchants without a proposal: the queue of `process_llm_queue`.
            models.Index(
                fields=["id"], name="idx_merchants_unproposed", condition=Q(status="proposed", source="ingest")
            ),
            models.Index(fields=["ticker"], name="idx_merchants_ticker", condition=Q(ticker__isnull=False)),
            # The admin list, by either filter.
            models.Index(fields=["status", "-id"], name="idx_merchants_status"),
            models.Index(fields=["source", "-id"], name="idx_merchants_source"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["proposed", "approved", "not_listed", "rejected"]),
                name="merchants_status_known",
            ),
            models.CheckConstraint(
                condition=~Q(status="approved") | Q(ticker__isnull=False), name="merchants_approved_has_ticker"
            ),
            models.CheckConstraint(
                condition=~Q(status="not_listed") | Q(ticker__isnull=True), name="merchants_not_listed_has_no_ticker"
            ),
            models.CheckConstraint(
                condition=Q(confidence__isnull=True) | Q(confidence__gte=0, confidence__lte=1),
                name="merchants_confidence_0_to_1",
            ),
            models.CheckConstraint(condition=Q(waiting_amount__gte=0), name="merchants_waiting_amount_not_negative"),
        ]

    def __str__(self) -> str:
        return self.merchant_key
