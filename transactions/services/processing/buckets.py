"""Locks on user buckets, by which workers share out the pending rows."""

from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from transactions.cache import invalidate_customers
from transactions.models import USER_BUCKETS, Transaction
from transactions.services.processing.wake import notify_workers
from transactions.sql import load_sql

# The first key of the advisory lock of a user bucket; the second is the bucket.
BUCKET_LOCK = 7203
ALL_BUCKETS = list(range(USER_BUCKETS))
# A batch takes rows from this many buckets: enough to fill it when each holds few, and some are left for other workers.
BUCKETS_PER_BATCH = 16
# Rows that one statement of `move_to_pending` moves.
MOVE_BATCH = 5000


def lock_buckets(cursor: CursorWrapper, buckets: Sequence[int]) -> None:
    """Wait for these buckets, in ascending order, until commit. Processing only ever tries, so nothing deadlocks."""
    for bucket in sorted(buckets):
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [BUCKET_LOCK, bucket])


def claim_buckets(cursor: CursorWrapper, candidates: Sequence[int]) -> tuple[list[int], int]:
    """Lock free buckets with pending rows, the most urgent first; also return in how many places their rows are."""
    cursor.execute(
        load_sql("claim_buckets"), {"buckets": list(candidates), "limit": BUCKETS_PER_BATCH, "lock": BUCKET_LOCK}
    )
    rows = cursor.fetchall()
    return [bucket for bucket, _ in rows], sum(places for _, places in rows)


def move_to_pending(
    statement: str,
    parameters: Mapping[str, Any],
    *,
    buckets: Sequence[int] = (),
    on_progress: Callable[[int], None] | None = None,
) -> list[int]:
    """Run `sql/<statement>.sql` until it finds no more rows, committing each batch, and wake the workers.

    The statement makes up to %(limit)s transactions pending and returns one or more counts, the moved rows first, and
    the user ids. Returns the sums of the counts.

    Args:
        buckets: the user buckets that the statement requires locks on, as %(buckets)s.
        on_progress: called after each batch with the number of rows moved so far.
    """
    totals = [0]
    starts = range(0, len(buckets), BUCKETS_PER_BATCH)
    for locked in [[*buckets[start : start + BUCKETS_PER_BATCH]] for start in starts] or [[]]:
        while True:
            with transaction.atomic(), connection.cursor() as cursor:
                lock_buckets(cursor, locked)
                values = {"now": timezone.now(), **parameters, "buckets": locked, "limit": MOVE_BATCH}
                cursor.execute(load_sql(statement), values)
                *counts, user_ids = cursor.fetchone()
            invalidate_customers(user_ids)
            totals = [total + count for total, count in zip_longest(totals, counts, fillvalue=0)]
            if on_progress and counts[0]:
                on_progress(totals[0])
            if counts[0] < MOVE_BATCH:
                break
    if totals[0]:
        notify_workers(priority=Transaction.Priority.RELEASE)
    return totals
