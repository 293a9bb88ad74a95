"""Journal entries that staff write: drafts, posted entries, and their reversals.

A draft is not in the ledger and may change. Posting moves it to the posted entries, under the same id. The application
can only add posted entries and reversals, not change or delete them.
"""

from decimal import Decimal
from typing import Final

from django.db import models
from django.db.models import Q
from django.utils import timezone

POSTED_KIND: Final = "journal_entry"
REVERSED_KIND: Final = "journal_reverse"


class JournalRecord(models.Model):
    """The fields of drafts and posted entries."""

    class Status(models.TextChoices):
        DRAFT = "draft"
        POSTED = "posted"
        REVERSED = "reversed"

    entry_date = models.DateField()
    reference = models.CharField(max_length=100, blank=True)
    description = models.CharField(max_length=500, blank=True)
    location = models.CharField(max_length=100, blank=True)
    department = models.CharField(max_length=100, blank=True)
    transaction_type = models.CharField(max_length=50, blank=True)
    vendor_name = models.CharField(max_length=200, blank=True)
    customer_name = models.CharField(max_length=200, blank=True)
    amount = models.DecimalField(max_digits=14, decimal_places=2, help_text="Sum of the debits, in dollars.")
    lines = models.JSONField(help_text="[{account_code, debit, credit, description}], dollars as text.")
    created_by = models.ForeignKey("transactions.User", on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    changed_by = models.ForeignKey(
        "transactions.User",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="Who last changed the draft.",
    )

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.number

    @property
    def number(self) -> str:
        """Return the entry number, which is the reference of its transfers."""
        return f"JE-{self.pk}"


class JournalDraft(JournalRecord):
    """An entry that is not posted. Every entry starts as one, so that drafts and posted entries share their numbers."""

    class Meta:
        db_table = "journal_drafts"
        indexes = [models.Index(fields=["-entry_date", "-id"], name="idx_journal_drafts_date")]
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=Decimal(0)), name="journal_drafts_amount_positive")
        ]

    @property
    def status(self) -> JournalRecord.Status:
        return self.Status.DRAFT


class JournalEntry(JournalRecord):
    """A posted entry, with its lines as they were entered: balanced transfers with its number as reference."""

    id = models.BigIntegerField("ID", primary_key=True, help_text="The id of the draft.")
    posted_by = models.ForeignKey(
        "transactions.User",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="Empty if the entry was posted before this was recorded.",
    )
    posted_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "journal_entries"
        verbose_name_plural = "journal entries"
        indexes = [models.Index(fields=["-entry_date", "-id"], name="idx_journal_entries_date")]
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=Decimal(0)), name="journal_entries_amount_positive")
        ]

    @property
    def status(self) -> JournalRecord.Status:
        return self.Status.REVERSED if hasattr(self, "reversal") else self.Status.POSTED


class JournalReversal(models.Model):
    """The reversal of a posted entry by contra transfers (kind `journal_reverse`)."""

    entry = models.OneToOneField(JournalEntry, primary_key=True, on_delete=models.PROTECT, related_name="reversal")
    reversed_by = models.ForeignKey("transactions.User", on_delete=models.PROTECT, related_name="+")
    reversed_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "journal_reversals"

    def __str__(self) -> str:
        return f"reversal of JE-{self.entry_id}"
