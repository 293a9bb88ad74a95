"""Review of merchants: the queue, the decisions, and what is pending before one is made.

The merchant directory itself, `merchants`, belongs to the transactions app.
"""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from transactions.models import Merchant


class ReviewMerchant(Merchant):
    """A merchant in the review queue: a proxy with separate permissions."""

    class Meta:
        proxy = True
        verbose_name = "merchant to review"
        verbose_name_plural = "review queue"


class MappingDecision(models.Model):
    """A decision on a merchant: who, what, when, why. Rows are never changed."""

    class Action(models.TextChoices):
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
        help_text="The first of two reviewers, where two must agree.",
    )
    undoes = models.OneToOneField("self", null=True, blank=True, on_delete=models.PROTECT, related_name="undone_by")
    automatic = models.BooleanField(default=False)
    released_count = models.PositiveIntegerField("released", default=0)
    corrected_count = models.PositiveIntegerField(
        "corrected", default=0, db_default=0, help_text="Booked purchases that the decision corrects too."
    )
    waited_seconds = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="Time in the review queue before the decision; empty if it was not in the queue.",
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
    """A merchant whose proposal a worker is requesting; the claim expires after ten minutes."""

    merchant = models.OneToOneField(Merchant, on_delete=models.CASCADE, primary_key=True, related_name="+")
    claimed_at = models.DateTimeField()

    class Meta:
        db_table = "proposal_claims"

    def __str__(self) -> str:
        return str(self.merchant_id)


class PendingDecision(models.Model):
    """A decision on a large amount that a second reviewer must confirm."""

    merchant = models.OneToOneField(Merchant, on_delete=models.CASCADE, related_name="pending_decision")
    action = models.CharField(max_length=12, choices=MappingDecision.Action)
    ticker = models.CharField(max_length=12, blank=True)
    include_booked = models.BooleanField(
        "also what was booked", default=False, db_default=False, help_text="Whether booked purchases are corrected too."
    )
    reason = models.CharField(max_length=500, blank=True)
    requested_by = models.ForeignKey("transactions.User", on_delete=models.PROTECT, related_name="+")
    requested_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "pending_decisions"

    def __str__(self) -> str:
        booked = ", also what was booked" if self.include_booked else ""
        return f"{self.get_action_display()} {self.ticker}".strip() + booked
