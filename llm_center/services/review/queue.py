"""The review queue: merchants that wait for a decision."""

from dataclasses import dataclass
from decimal import Decimal

from django.db.models import Count, QuerySet, Sum

from llm_center.cache import QUEUE_COUNT
from transactions.models import Merchant

WAITING_STATUSES = (Merchant.Status.PROPOSED, Merchant.Status.REJECTED)


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """A part of the review queue: the start of the key, the proposed ticker, and the minimum confidence (0 to 1)."""

    prefix: str = ""
    ticker: str = ""
    confidence: Decimal = Decimal(0)

    def merchants(self) -> QuerySet[Merchant]:
        """Return the waiting merchants that match, unordered."""
        rows = Merchant.objects.filter(status__in=WAITING_STATUSES)
        if self.prefix:
            rows = rows.filter(merchant_key__startswith=self.prefix.strip().upper())
        if self.ticker:
            rows = rows.filter(ticker=self.ticker.strip().upper())
        if self.confidence:
            rows = rows.filter(confidence__gte=self.confidence)
        return rows


def queue_totals() -> tuple[int, int, Decimal]:
    """Return the merchants in the queue, their waiting transactions, and the dollars of round-ups.

    A partial index covers the queue, so this reads few pages.
    """
    sums = Merchant.objects.filter(status__in=WAITING_STATUSES).aggregate(
        merchants=Count("pk"), count=Sum("waiting_count"), amount=Sum("waiting_amount")
    )
    return sums["merchants"], sums["count"] or 0, sums["amount"] or Decimal("0.00")


def queue_totals_cached() -> tuple[int, int, Decimal]:
    """Return `queue_totals`, computed once for all readers until the queue changes."""
    return QUEUE_COUNT.get(queue_totals)
