"""Releases: transactions that waited for a decision on their merchant become pending again."""

from collections.abc import Callable, Sequence

from django.db import connection, transaction

from transactions.cache import review_queue_changed
from transactions.services.processing.buckets import ALL_BUCKETS, move_to_pending
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
    keys = list(merchant_keys)
    decisions: list[int | None] = [*decision_ids] or [None] * len(keys)
    released, *_ = move_to_pending(
        "release_merchants",
        {"merchant_keys": keys, "decisions": decisions},
        buckets=ALL_BUCKETS,
        on_progress=on_progress,
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
