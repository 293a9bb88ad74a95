"""Closed months of the books, and their reopening by two persons."""

from django.db import models
from django.db.models import F, Q
from django.utils import timezone


class PeriodClosing(models.Model):
    """The closing of a month, and its reopening if there was one; a month that is closed again gets a new row.

    The books are closed up to the end of the last closed month: the constraint `ledger_transfers_period_closed` refuses
    every earlier posting (`kamioi_enforce_closings`).
    """

    month = models.DateField(help_text="Its first day.")
    rows = models.BigIntegerField(null=True, help_text="Ledger rows of the month.")
    amount = models.DecimalField(max_digits=20, decimal_places=2, null=True, help_text="Their sum in dollars.")
    closed_at = models.DateTimeField(default=timezone.now, editable=False)
    closed_by = models.ForeignKey(
        "transactions.User",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="Empty when closed by the command.",
    )
    reopening_reason = models.CharField(max_length=500, blank=True)
    requested_by = models.ForeignKey(
        "transactions.User",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        verbose_name="reopening requested by",
    )
    reopened_by = models.ForeignKey(
        "transactions.User",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        verbose_name="reopening approved by",
    )
    reopened_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "period_closings"
        verbose_name = "closed period"
        permissions = [
            ("close_period", "Can close periods"),
            ("reopen_period", "Can request and approve the reopening of periods"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["month"], condition=Q(reopened_at=None), name="period_closings_closed_once"
            ),
            models.CheckConstraint(condition=Q(month__day=1), name="period_closings_first_of_month"),
            models.CheckConstraint(
                condition=Q(requested_by=None, reopening_reason="")
                | (Q(requested_by__isnull=False) & ~Q(reopening_reason="")),
                name="period_closings_request_has_reason",
            ),
            models.CheckConstraint(
                condition=Q(reopened_at=None, reopened_by=None)
                | (
                    Q(reopened_at__isnull=False, reopened_by__isnull=False, requested_by__isnull=False)
                    & ~Q(reopened_by=F("requested_by"))
                ),
                name="period_closings_reopened_by_two_persons",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.month:%B %Y}"

    @property
    def state(self) -> str:
        """Return closed, reopening requested, or reopened."""
        if self.reopened_at:
            return "reopened"
        return "reopening requested" if self.requested_by_id else "closed"
