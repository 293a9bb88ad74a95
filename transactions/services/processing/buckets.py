"""Locks on user buckets, by which workers share out the pending rows."""

from collections.abc import Sequence

from django.db.backends.utils import CursorWrapper

from transactions.models import USER_BUCKETS
from transactions.sql import load_sql

# The first key of the advisory lock of a user bucket; the second is the bucket.
BUCKET_LOCK = 7203
ALL_BUCKETS = list(range(USER_BUCKETS))
# A batch takes rows from this many buckets: enough to fill it when each holds few, and some are left for other workers.
BUCKETS_PER_BATCH = 16
# Rows that one statement of a release, an undo or the execution of orders moves.
RELEASE_BATCH = 5000


def lock_buckets(cursor: CursorWrapper, buckets: Sequence[int]) -> None:
    """Wait for these buckets, in ascending order, until commit. Processing only ever tries, so nothing deadlocks."""
    for bucket in sorted(buckets):
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [BUCKET_LOCK, bucket])


def claim_buckets(cursor: CursorWrapper, candidates: Sequence[int]) -> list[int]:
    """Lock free buckets with pending rows, the most urgent first."""
    cursor.execute(
        load_sql("claim_buckets"), {"buckets": list(candidates), "limit": BUCKETS_PER_BATCH, "lock": BUCKET_LOCK}
    )
    return [row[0] for row in cursor.fetchall()]


def claim_buckets_on_citus(cursor: CursorWrapper, candidates: Sequence[int], *, size: int) -> list[int]:
    """Lock free buckets with pending rows until they fill a batch of `size`, the most urgent first.

    One bucket with a large backlog is enough, so that the shards sort no more rows than they must.
    """
    cursor.execute(load_sql("waiting_buckets_sharded"), {"buckets": list(candidates)})
    buckets: list[int] = []
    pending = 0
    for bucket, rows in cursor.fetchall():
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", [BUCKET_LOCK, bucket])
        if cursor.fetchone()[0]:
            buckets.append(bucket)
            pending += rows
            if pending >= size or len(buckets) == BUCKETS_PER_BATCH:
                break
    return buckets
