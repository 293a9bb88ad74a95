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

# Merchants decided in one database transaction when many are.
BATCH = 200


@dataclass(frozen=True, slots=True)
class BulkEffect:
    """What deciding a part of the queue will do: merchants, transactions, dollars, and the first of them."""

    merchants: int
    transactions: int
    amount: Decimal
    first: list[Merchant]


def bulk_effect(*, queue_filter: QueueFilter, action: Action) -> BulkEffect:
    """What `run_bulk_decision` will do to what waits now.

    Raises:
        DecisionNotAllowedError: the decision is not one for many merchants, or the filter takes everything.
    """
    found = _bulk_merchants(queue_filter, action)
    sums = found.aggregate(merchants=Count("pk"), transactions=Sum("waiting_count"), amount=Sum("waiting_amount"))
    return BulkEffect(
        merchants=sums["merchants"],
        transactions=sums["transactions"] or 0,
        amount=sums["amount"] or Decimal("0.00"),
        first=list(found.order_by("-review_priority", "id")[:20]),
    )


def request_bulk_decision(*, queue_filter: QueueFilter, action: Action, actor: User, until: datetime) -> BackgroundTask:
    """Decide a part of the queue in the background.

    Args:
        until: when the reviewer looked; a merchant that changed after that is left alone.

    Raises:
        DecisionNotAllowedError: the decision is not one for many merchants, or the filter takes everything.
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
    """Decide a part of the queue, a batch a database transaction.

    What is decided no longer waits, so that running it again after a kill goes on with the rest.

    Returns:
        Merchants decided, transactions released, and a sentence for each merchant that was left alone (the first 100).
    """
    decided, released, last, refused = 0, 0, 0, list[str]()
    while True:
        batch = list(
            _bulk_merchants(queue_filter, action).filter(updated_at__lte=until, pk__gt=last).order_by("pk")[:BATCH]
        )
        if not batch:
            return decided, released, refused
        last = batch[-1].pk
        made: list[MappingDecision] = []
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
                    refused.append(f"{merchant.merchant_key}: {error}")
                    continue
                if outcome.decision is None:
                    refused.append(f"{merchant.merchant_key}: another reviewer has to agree")
                else:
                    made.append(outcome.decision)
        if made:
            released += release_waiting_transactions(
                merchant_keys=[decision.merchant_key for decision in made],
                decision_ids=[decision.pk for decision in made],
            )
        decided, refused = decided + len(made), refused[:100]
        if on_progress:
            on_progress(decided + len(refused))


def _bulk_merchants(queue_filter: QueueFilter, action: Action) -> QuerySet[Merchant]:
    if action not in {Action.APPROVE, Action.NOT_LISTED}:
        raise DecisionNotAllowedError(
            "Many merchants can be approved or closed as not listed; the rest is decided one by one."
        )
    if queue_filter == QueueFilter():
        raise DecisionNotAllowedError("Say which merchants: by the beginning, the ticker or the confidence.")
    found = queue_filter.merchants()
    return found.filter(ticker__isnull=False) if action == Action.APPROVE else found
