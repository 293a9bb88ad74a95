"""Releases: transactions that waited for a decision on their merchant become pending again."""

from collections.abc import Callable, Sequence
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from transactions.cache import invalidate_customers, review_queue_changed
from transactions.models import USER_BUCKETS, Transaction
from transactions.services.processing.buckets import ALL_BUCKETS, BUCKETS_PER_BATCH, RELEASE_BATCH, lock_buckets
from transactions.services.processing.wake import notify_workers
from transactions.sql import load_sql


def release_waiting_transactions(
    *, merchant_keys: Sequence[str], decision_ids: Sequence[int] = (), on_progress: Callable[[int], None] | None = None
) -> int:
    """Make every transaction that waits for these merchants pending, ahead of bulk imports. Returns how many.

    A batch in progress may still park rows because it read the merchant before the decision. Each bucket is therefore
    locked before its rows are read: rows parked earlier are visible by then, and later batches see the decision.

    Args:
        decision_ids: the decision on each key; it records what it released, so that it can be undone.
        on_progress: called after each batch with the number released so far.
    """
    released, keys = 0, list(merchant_keys)
    parameters: dict[str, Any] = {
        "merchant_keys": keys,
        "decisions": list(decision_ids) or [None] * len(keys),
        "limit": RELEASE_BATCH,
    }
    for start in range(0, USER_BUCKETS, BUCKETS_PER_BATCH):
        buckets = ALL_BUCKETS[start : start + BUCKETS_PER_BATCH]
        while True:
            with transaction.atomic(), connection.cursor() as cursor:
                lock_buckets(cursor, buckets)
                cursor.execute(load_sql("release_merchants"), {**parameters, "buckets": buckets, "now": timezone.now()})
                moved, user_ids = cursor.fetchone()
            invalidate_customers(user_ids)
            released += moved
            if on_progress and moved:
                on_progress(released)
            if moved < RELEASE_BATCH:
                break
    _recount_waiting(keys)
    if released:
        notify_workers(priority=Transaction.Priority.RELEASE)
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
