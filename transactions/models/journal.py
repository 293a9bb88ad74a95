"""Journal entries that staff write: drafts and posted entries."""

from decimal import Decimal
from typing import Final

from django.db import models
from django.db.models import Q
from django.utils import timezone


class JournalEntry(models.Model):
    """An entry of the company's own books, with its lines as they were entered.

    A draft is not in the ledger and may change. A posted entry consists of balanced transfers (kind `journal_entry`,
    its number as reference) and never changes; it is reversed by contra transfers (kind `journal_reverse`).
    """

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
    status = models.CharField(max_length=10, choices=Status, default=Status.DRAFT)
    created_by = models.ForeignKey("transactions.User", on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    posted_at = models.DateTimeField(null=True, blank=True)
    reversed_at = models.DateTimeField(null=True, blank=True)
    reversed_by = models.ForeignKey(
        "transactions.User", null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        db_table = "journal_entries"
        verbose_name_plural = "journal entries"
        indexes = [models.Index(fields=["-entry_date", "-id"], name="idx_journal_entries_date")]
        constraints = [
            models.CheckConstraint(condition=Q(amount__gt=Decimal(0)), name="journal_entries_amount_positive"),
            models.CheckConstraint(
                condition=Q(status="draft", posted_at=None, reversed_at=None)
                | Q(status="posted", posted_at__isnull=False, reversed_at=None)
                | Q(status="reversed", posted_at__isnull=False, reversed_at__isnull=False),
                name="journal_entries_status_fits_times",
            ),
        ]

    def __str__(self) -> str:
        return self.number

    @property
    def number(self) -> str:
        """Return the entry number, which is the reference of its transfers."""
        return f"JE-{self.pk}"


POSTED_KIND: Final = "journal_entry"


REVERSED_KIND: Final = "journal_reverse"
