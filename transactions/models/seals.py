"""Seals of the books: one row per day, each chained to the one before."""

import hashlib
import json
from decimal import Context
from typing import Any, Final

from django.db import models
from django.utils import timezone

# Precedes the first seal.
FIRST_CHAIN: Final = "0" * 64
# Weighted totals have more digits than Python's default context keeps.
EXACT: Final = Context(prec=80)


class LedgerSeal(models.Model):
    """A day of the ledger and of the audit trail as they were after its end; written once.

    A day consists of the rows created on it, whatever their `date`: a journal entry may have an earlier one.
    `balances`, `holdings` and `cost` are running totals, from which a verification continues with the rows of later
    days. The last two add the shares and the cost of each customer's and the house's positions, each multiplied by a
    weight that depends on the customer and the ticker, so that shares moved between customers change the total.
    """

    day = models.DateField(unique=True)
    rows = models.BigIntegerField()
    sums = models.JSONField(help_text="Account → debits less credits of the day, dollars as text.")
    balances = models.JSONField(help_text="Account → debits less credits up to the end of the day, dollars as text.")
    holdings = models.DecimalField(max_digits=60, decimal_places=8)
    cost = models.DecimalField(max_digits=60, decimal_places=2)
    digest = models.CharField(max_length=64, help_text="SHA-256 over the day's ledger rows.")
    events = models.BigIntegerField(help_text="Audit events up to the end of the day.")
    last_event_id = models.BigIntegerField(help_text="The newest of them.")
    events_digest = models.CharField(max_length=64, help_text="SHA-256 over the day's audit events.")
    chain = models.CharField(max_length=64, help_text="SHA-256 over the chain of the day before and this seal.")
    sealed_at = models.DateTimeField()

    class Meta:
        db_table = "ledger_seals"

    def __str__(self) -> str:
        return f"{self.day}"

    def content(self) -> dict[str, Any]:
        """Return what the chain covers, as it is logged and written to the file."""
        return {
            "day": f"{self.day}",
            "rows": self.rows,
            "sums": self.sums,
            "balances": self.balances,
            "holdings": f"{self.holdings:.8f}",
            "cost": f"{self.cost:.2f}",
            "digest": self.digest,
            "events": self.events,
            "last_event_id": self.last_event_id,
            "events_digest": self.events_digest,
            "sealed_at": self.sealed_at.isoformat(),
        }

    def day_content(self, previous: "LedgerSeal | None") -> dict[str, Any]:
        """Return what the seal states about the ledger rows of its day alone.

        Args:
            previous: the seal of the day before.
        """
        holdings, cost = self.holdings, self.cost
        if previous:
            holdings, cost = EXACT.subtract(holdings, previous.holdings), EXACT.subtract(cost, previous.cost)
        return {
            "rows": self.rows,
            "sums": self.sums,
            "holdings": f"{holdings:.8f}",
            "cost": f"{cost:.2f}",
            "digest": self.digest,
        }

    def chain_after(self, previous: str) -> str:
        """Return the chain that this seal must have after the one with the chain `previous`."""
        text = previous + json.dumps(self.content(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


class DetachedPartition(models.Model):
    """A detached month or year of the ledger or of purchases.

    Its rows cannot be recounted. The seals of the days on which rows of the ledger's partition were written are checked
    as a chain, and `remaining` has what those days still contain.
    """

    table = models.CharField(max_length=63)
    name = models.CharField(max_length=63, unique=True)
    end = models.DateField(help_text="The first day after it: all rows from before are detached.")
    remaining = models.JSONField(
        default=dict, help_text="Day → rows, sums, holdings, cost and digest of the rows written on it that are left."
    )
    detached_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "detached_partitions"

    def __str__(self) -> str:
        return self.name
