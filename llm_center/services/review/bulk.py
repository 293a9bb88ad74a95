"""Decisions on many merchants of the review queue, in the background."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.db.models import Count, QuerySet, Sum

from kamioi_site.errors import KamioiError
from llm_center.errors import DecisionNotAllowedError
from llm_center.models import MappingDecision
from llm_center.services.review.decisions import Action, decide_merchant
from llm_center.services.review.queue import QueueFilter
from transactions.models import BackgroundTask, Merchant, User
from transactions.services.background_tasks import create_task, send_task
from transactions.services.processing import release_waiting_transactions

# Merchants decided in one database transaction.
BATCH = 200
# Messages about skipped merchants that a result keeps.
MAX_MESSAGES = 100


@dataclass(frozen=True, slots=True)
class BulkEffect:
    """The consequences of a bulk decision: merchants, transactions, dollars, and the first merchants."""

    merchants: int
    transactions: int
    amount: Decimal
    first: list[Merchant]


def bulk_effect(*, queue_filter: QueueFilter, action: Action) -> BulkEffect:
    """Return what `run_bulk_decision` would do now.

    Raises:
        DecisionNotAllowedError: the action cannot be made in bulk, or the filter is empty.
    """
    merchants = _bulk_merchants(queue_filter, action)
    sums = merchants.aggregate(count=Count("pk"), transactions=Sum("waiting_count"), amount=Sum("waiting_amount"))
    return BulkEffect(
        merchants=sums["count"],
        transactions=sums["transactions"] or 0,
        amount=sums["amount"] or Decimal("0.00"),
        first=list(merchants.order_by("-review_priority", "id")[:20]),
    )


def request_bulk_decision(*, queue_filter: QueueFilter, action: Action, actor: User, until: datetime) -> BackgroundTask:
    """Schedule a bulk decision.

    Args:
        until: when the reviewer loaded the page; merchants that changed later are skipped.

    Raises:
        DecisionNotAllowedError: the action cannot be made in bulk, or the filter is empty.
    """
    total = _bulk_merchants(queue_filter, action).filter(updated_at__lte=until).count()
    with transaction.atomic():
        task = create_task(
            name="decide_merchants",
            user=actor,
            arguments={
                "starts": queue_filter.prefix,
                "ticker": queue_filter.ticker,
                "confidence": str(queue_filter.confidence),
                "action": action.value,
                "until": until.isoformat(),
            },
        )
        task.total = total
        task.save(update_fields=["total"])
        send_task(task=task)
    return task


def run_bulk_decision(
    *,
    queue_filter: QueueFilter,
    action: Action,
    actor: User,
    until: datetime,
    on_progress: Callable[[int], None] | None = None,
) -> tuple[int, int, list[str]]:
    """Decide the matching merchants, one batch per database transaction.

    Decided merchants leave the queue, so a run after a crash continues with the rest.

    Returns:
        Merchants decided, transactions released, and a message for each skipped merchant (the first 100).
    """
    decided, released, last_id, skipped = 0, 0, 0, list[str]()
    while True:
        batch = list(
            _bulk_merchants(queue_filter, action).filter(updated_at__lte=until, pk__gt=last_id).order_by("pk")[:BATCH]
        )
        if not batch:
            return decided, released, skipped
        last_id = batch[-1].pk
        decisions: list[MappingDecision] = []
        with transaction.atomic():
            for merchant in batch:
                try:
                    with transaction.atomic():
                        outcome = decide_merchant(
                            merchant_id=merchant.pk,
                            action=action,
                            actor=actor,
                            expected_updated_at=merchant.updated_at,
                            release=False,
                        )
                except KamioiError as error:
                    skipped.append(f"{merchant.merchant_key}: {error}")
                    continue
                if outcome.decision is None:
                    skipped.append(f"{merchant.merchant_key}: a second approval is required")
                else:
                    decisions.append(outcome.decision)
        if decisions:
            released += release_waiting_transactions(merchant_keys=[decision.merchant_key for decision in decisions])
        decided, skipped = decided + len(decisions), skipped[:MAX_MESSAGES]
        if on_progress:
            on_progress(decided + len(skipped))


def _bulk_merchants(queue_filter: QueueFilter, action: Action) -> QuerySet[Merchant]:
    if action not in {Action.APPROVE, Action.NOT_LISTED}:
        raise DecisionNotAllowedError(
            "In bulk, merchants can only be approved or closed as not listed. Make other decisions one by one."
        )
    if queue_filter == QueueFilter():
        raise DecisionNotAllowedError("Select merchants by the start of the name, the ticker or the confidence.")
    merchants = queue_filter.merchants()
    return merchants.filter(ticker__isnull=False) if action == Action.APPROVE else merchants
