"""The log of proposals, the append-only record of decisions, and the assets of the LLM Center.

`llm_mappings` is split by month on `created_at`; its database key is (id, created_at). The directory itself,
`merchants`, lives with the transactions that are looked up in it.
"""

from decimal import Decimal
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone

from kamioi_site.db.indexes import NamedIndex
from kamioi_site.db.partitions import MonthlyPartitionedModel
from llm_center.models.assets import AmortizationEntry as AmortizationEntry
from llm_center.models.assets import AssetEvent as AssetEvent
from llm_center.models.assets import LlmDataAsset as LlmDataAsset
from llm_center.models.calls import LlmCall as LlmCall
from llm_center.models.deltas import MappingDelta as MappingDelta
from llm_center.models.imports import MappingImport as MappingImport
from llm_center.models.imports import MappingImportKey as MappingImportKey
from llm_center.models.imports import MappingImportReject as MappingImportReject
from llm_center.models.learning import CalibrationFit as CalibrationFit
from transactions.models import Merchant


class CatalogueBrand(models.Model):
    """A brand of the catalogue: its spellings, its owner, and the owner's ticker or why there is none.

    Filled from the shipped data; what is edited here stays when the data of the next release is imported.
    """

    class Reason(models.TextChoices):
        """Why nothing can be bought."""

        LISTED = "", "listed"
        PRIVATE = "private"
        FAMILY = "family"
        COOPERATIVE = "cooperative", "co-operative"
        MUTUAL = "mutual", "owned by its members"
        STATE = "state"
        GOVERNMENT = "government", "state, city or authority"
        OTC = "otc", "over the counter or abroad only"
        NOT_A_PURCHASE = "not-a-purchase", "money moved, not spent"
        UNKNOWN = "unknown", "nobody looked"

    name = models.CharField(max_length=200, unique=True)
    aliases = models.JSONField(default=list, blank=True, help_text="Other spellings, as statements write them.")
    owner = models.CharField(max_length=200, blank=True)
    ticker = models.CharField(max_length=12, blank=True, help_text="Of the listed company that owns the brand.")
    reason = models.CharField(max_length=20, blank=True, choices=Reason, help_text="Why there is no ticker.")
    category = models.CharField(max_length=100, blank=True)
    source = models.CharField(max_length=100, blank=True)
    edited = models.BooleanField(
        default=False, db_default=False, help_text="Changed by hand: an import leaves it alone."
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        db_table = "catalogue_brands"
        verbose_name = "brand"
        ordering = ["name"]
        indexes = [models.Index(fields=["-updated_at"], name="idx_catalogue_brands_updated")]
        constraints = [
            models.CheckConstraint(
                condition=(~Q(ticker="") & Q(reason="")) | (Q(ticker="") & ~Q(reason="")),
                name="catalogue_brands_ticker_or_reason",
            )
        ]

    def __str__(self) -> str:
        return self.name


class LlmMapping(MonthlyPartitionedModel):
    """One proposal that a merchant belongs to a ticker, and what was decided about it."""

    partition_column: ClassVar[str] = "created_at"

    class Status(models.TextChoices):
        """What was decided."""

        PENDING = "pending"
        APPROVED = "approved"
        REJECTED = "rejected"

    class Source(models.TextChoices):
        """Where the proposal came from."""

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
    ai_processed = models.BooleanField(default=False)
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
    ai_model_version = models.CharField(max_length=100, blank=True, default="")
    ai_reasoning = models.TextField(blank=True, default="")
    ai_auto_approved = models.BooleanField(default=False)
    ai_processing_ms = models.PositiveIntegerField(null=True, blank=True)
    ai_decided_at = models.DateTimeField(null=True, blank=True)
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
        return f"{self.merchant_name} → {self.ticker or 'nobody'}"


class ReviewMerchant(Merchant):
    """A merchant that waits for a decision: the review queue's view of the directory, with rights of its own."""

    class Meta:
        proxy = True
        verbose_name = "merchant to review"
        verbose_name_plural = "review queue"


class MappingDecision(models.Model):
    """Who decided what about a merchant, when, and why. Rows are added and never changed."""

    class Action(models.TextChoices):
        """What was decided."""

        APPROVE = "approve"
        CORRECT = "correct", "correct the ticker"
        NOT_LISTED = "not_listed", "not listed"
        REJECT = "reject"
        UNDO = "undo"

    merchant_key = models.CharField(max_length=120, db_index=True)
    action = models.CharField(max_length=12, choices=Action)
    before = models.JSONField()
    after = models.JSONField()
    reason = models.CharField(max_length=500, blank=True)
    decided_by = models.ForeignKey("transactions.User", null=True, blank=True, on_delete=models.PROTECT)
    first_reviewer = models.ForeignKey(
        "transactions.User",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="Who asked for it first, where two have to agree.",
    )
    undoes = models.OneToOneField("self", null=True, blank=True, on_delete=models.PROTECT, related_name="undone_by")
    automatic = models.BooleanField(default=False)
    released_count = models.PositiveIntegerField(default=0)
    waited_seconds = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="How long the merchant had been waiting for a decision; empty where it was not.",
    )
    decided_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "mapping_decisions"
        constraints = [
            models.CheckConstraint(
                condition=Q(action__in=["approve", "correct", "not_listed", "reject", "undo"]),
                name="mapping_decisions_action_known",
            ),
            models.CheckConstraint(
                condition=Q(automatic=True) | Q(decided_by__isnull=False), name="mapping_decisions_somebody_decided"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.merchant_key}"


class ProposalClaim(models.Model):
    """A merchant that a worker is asking a provider about; after ten minutes the worker is taken for dead."""

    merchant = models.OneToOneField(Merchant, on_delete=models.CASCADE, primary_key=True, related_name="+")
    claimed_at = models.DateTimeField()

    class Meta:
        db_table = "proposal_claims"

    def __str__(self) -> str:
        return str(self.merchant_id)


class PendingDecision(models.Model):
    """A decision on much money that one reviewer asked for and another has to confirm."""

    merchant = models.OneToOneField(Merchant, on_delete=models.CASCADE, related_name="pending_decision")
    action = models.CharField(max_length=12, choices=MappingDecision.Action)
    ticker = models.CharField(max_length=12, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    requested_by = models.ForeignKey("transactions.User", on_delete=models.PROTECT, related_name="+")
    requested_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "pending_decisions"

    def __str__(self) -> str:
        return f"{self.action} {self.merchant_id}"
