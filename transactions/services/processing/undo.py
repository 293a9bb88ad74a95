"""Undoing a release: bookings are reversed, and the transactions become pending again."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from transactions.cache import invalidate_customers
from transactions.models import USER_BUCKETS, Transaction
from transactions.services.processing.buckets import ALL_BUCKETS, BUCKETS_PER_BATCH, RELEASE_BATCH, lock_buckets
from transactions.services.processing.wake import notify_workers
from transactions.sql import load_sql


@dataclass(slots=True)
class UndoReleaseResult:
    """Transactions made pending again, and how many of them had been bought."""

    moved: int = 0
    bought: int = 0


def undo_release(
    *,
    decision_id: int,
    merchant_key: str,
    ticker: str | None,
    since: datetime,
    on_progress: Callable[[int], None] | None = None,
) -> UndoReleaseResult:
    """Undo the effects of a decision that the directory no longer contains.

    Bookings are reversed by contra entries at the original price, never edited; the transactions become pending and are
    looked up again. Each user bucket is locked first: batches booked under the decision have committed by then, and
    later ones see the current directory. A second run finds nothing.

    Args:
        ticker: the ticker decided on; None for "not listed". Transactions with another outcome are left alone.
        since: when the decision was made.
    """
    result = UndoReleaseResult()
    parameters: dict[str, Any] = {
        "decision": decision_id,
        "merchant_key": merchant_key,
        "ticker": ticker,
        "since": since,
        "limit": RELEASE_BATCH,
        "reference": f"undo of decision {decision_id}",
    }
    for start in range(0, USER_BUCKETS, BUCKETS_PER_BATCH):
        buckets = ALL_BUCKETS[start : start + BUCKETS_PER_BATCH]
        while True:
            with transaction.atomic(), connection.cursor() as cursor:
                lock_buckets(cursor, buckets)
                cursor.execute(load_sql("undo_release"), {**parameters, "buckets": buckets, "now": timezone.now()})
                moved, bought, user_ids = cursor.fetchone()
            invalidate_customers(user_ids)
            result.moved += moved
            result.bought += bought
            if on_progress and moved:
                on_progress(result.moved)
            if moved < RELEASE_BATCH:
                break
    if result.moved:
        notify_workers(priority=Transaction.Priority.RELEASE)
    return result
