"""Transactions that wait become pending again: after a decision or its undoing, at market opening, or when stuck."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from transactions.cache import review_queue_changed
from transactions.models import Company, Merchant, Transaction
from transactions.rules.market_hours import market_is_open
from transactions.services.background_tasks import recover_stuck_tasks
from transactions.services.processing.buckets import ALL_BUCKETS, move_to_pending
from transactions.services.processing.limits import release_within_limits
from transactions.services.processing.refunds import match_refunds
from transactions.services.processing.wake import notify_workers
from transactions.sql import load_sql


def release_waiting_transactions(
    *, merchant_keys: Sequence[str], on_progress: Callable[[int], None] | None = None
) -> int:
    """Make every transaction that waits for these merchants pending, ahead of bulk imports. Returns how many.

    A batch in progress may still park rows because it read the merchant before the decision. Each bucket is therefore
    locked before its rows are read: rows parked earlier are visible by then, and later batches see the decision.

    Args:
        on_progress: called after each batch with the number released so far.
    """
    keys = list(merchant_keys)
    released, *_ = move_to_pending(
        "release_merchants", {"merchant_keys": keys}, buckets=ALL_BUCKETS, on_progress=on_progress
    )
    _recount_waiting(keys)
    return released


def _recount_waiting(merchant_keys: Sequence[str]) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        # Lock first: a batch that parks rows for a merchant locks its row until commit, so the count then includes
        # them.
        cursor.execute(
            "SELECT FROM merchants WHERE merchant_key = ANY (%s) ORDER BY merchant_key FOR UPDATE",
            [list(merchant_keys)],
        )
        cursor.execute(load_sql("recount_waiting"), {"merchant_keys": list(merchant_keys)})
        review_queue_changed.send(sender=None)


@dataclass(slots=True)
class UndoReleaseResult:
    """Transactions made pending again, and how many of them had been bought."""

    moved: int = 0
    bought: int = 0


def undo_release(
    *, decision_id: int, merchant_key: str, on_progress: Callable[[int], None] | None = None
) -> UndoReleaseResult:
    """Undo the effects of a decision that the directory no longer contains.

    Bookings are reversed by contra entries at the original price, never edited; the transactions become pending and are
    looked up again. Each user bucket is locked first: batches booked under the decision have committed by then, and
    later ones see the current directory. A second run finds nothing.
    """
    moved, bought = move_to_pending(
        "undo_release",
        {
            "decision": decision_id,
            "merchant_key": merchant_key,
            "priority": Transaction.Priority.RELEASE,
            "reference": f"undo of decision {decision_id}",
        },
        buckets=ALL_BUCKETS,
        on_progress=on_progress,
    )
    return UndoReleaseResult(moved, bought)


def execute_orders(*, now: datetime | None = None) -> int:
    """Make the transactions of due orders pending, to be bought at the current price.

    Returns how many; nothing happens while the market is closed.
    """
    now = now or timezone.now()
    if not market_is_open(now):
        return 0
    moved, *_ = move_to_pending("release_orders", {"now": now})
    return moved


def recover_stuck() -> None:
    """Resume what a lost message or a killed worker left behind. Cheap when there is nothing to do."""
    if Transaction.objects.filter(status=Transaction.Status.PENDING).exists():
        notify_workers(priority=Transaction.Priority.BULK)
    recover_stuck_tasks()
    match_refunds()
    # Last, because it moves rows itself: an error here must not keep the messages above from being sent.
    # Purchases of a company that was delisted would come back at once; they rest until it is listed or mapped again.
    listed = Company.objects.filter(ticker=OuterRef("ticker"), is_listed=True)
    decided = Merchant.objects.filter(
        Q(status=Merchant.Status.NOT_LISTED) | Q(Exists(listed), status=Merchant.Status.APPROVED), waiting_count__gt=0
    )
    if keys := list(decided.values_list("merchant_key", flat=True)[:1000]):
        release_waiting_transactions(merchant_keys=keys)
    release_within_limits()
