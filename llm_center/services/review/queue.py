from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Count, QuerySet, Sum

from llm_center.cache import QUEUE_COUNT
from transactions.models import Merchant

WAITING_STATUSES = (Merchant.Status.PROPOSED, Merchant.Status.REJECTED)


# --- Many at once -----------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class QueueFilter:
    """A part of the review queue: by the beginning of the key, the proposed ticker, and the confidence in 0..1."""

    prefix: str = ""
    ticker: str = ""
    confidence: Decimal = Decimal(0)

    def merchants(self) -> QuerySet[Merchant]:
        """Those that wait and fit, in no order."""
        found = Merchant.objects.filter(status__in=WAITING_STATUSES)
        if self.prefix:
            found = found.filter(merchant_key__startswith=self.prefix.strip().upper())
        if self.ticker:
            found = found.filter(ticker=self.ticker.strip().upper())
        if self.confidence:
            found = found.filter(confidence__gte=self.confidence)
        return found


def queue_totals() -> tuple[int, int, Decimal]:
    """Merchants in the queue, transactions that wait for them, and the dollars of their round-ups.

    The queue is a part of the directory with an index of its own; one look at it is a look at a few pages.
    """
    sums = Merchant.objects.filter(status__in=WAITING_STATUSES).aggregate(
        merchants=Count("pk"), count=Sum("waiting_count"), amount=Sum("waiting_amount")
    )
    return sums["merchants"], sums["count"] or 0, sums["amount"] or Decimal("0.00")


def queue_totals_cached() -> tuple[int, int, Decimal]:
    """`queue_totals`, counted once for everybody who looks until something in the queue changes."""
    return QUEUE_COUNT.get(queue_totals)
