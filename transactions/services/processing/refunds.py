"""Refunds are linked to the purchase that they give back."""

from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from transactions.cache import invalidate_customers
from transactions.services.processing.buckets import BUCKET_LOCK
from transactions.sql import load_sql

# How many days before its refund a purchase may lie.
REFUND_DAYS = 120
# Customers whose refunds one statement matches.
_BATCH = 500


def match_refunds() -> int:
    """Link refunds to purchases of the same customer, merchant and amount. Returns how many were linked.

    Processing lists a refund in `unmatched_refunds`, and marks it to be checked again when a possible purchase comes
    later. A bucket that another worker has locked is left to that worker, or to the sweep.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT mod(user_id, 64) FROM unmatched_refunds WHERE NOT is_checked")
        buckets = [row[0] for row in cursor.fetchall()]
    linked = 0
    for bucket in buckets:
        customers = _BATCH
        while customers == _BATCH:
            matched, customers = _match_batch(bucket)
            linked += matched
    return linked


def _match_batch(bucket: int) -> tuple[int, int]:
    """Return how many refunds were linked, and for how many customers refunds were checked."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", [BUCKET_LOCK, bucket])
        if not cursor.fetchone()[0]:
            return 0, 0
        values: dict[str, Any] = {"bucket": bucket, "limit": _BATCH, "days": REFUND_DAYS, "now": timezone.now()}
        cursor.execute(load_sql("match_refunds"), values)
        matched, customers, user_ids = cursor.fetchone()
    invalidate_customers(user_ids)
    return matched, customers
