"""Orders that waited for the market to open."""

from datetime import datetime

from django.db import connection, transaction
from django.utils import timezone

from transactions.cache import invalidate_customers
from transactions.models import Transaction
from transactions.rules.market_hours import market_is_open
from transactions.services.processing.buckets import RELEASE_BATCH
from transactions.services.processing.wake import notify_workers
from transactions.sql import load_sql


def execute_orders(*, now: datetime | None = None) -> int:
    """Make the transactions of due orders pending, to be bought at the current price.

    Returns how many; nothing happens while the market is closed.
    """
    now = now or timezone.now()
    if not market_is_open(now):
        return 0
    moved = 0
    while True:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(load_sql("release_orders"), {"now": now, "limit": RELEASE_BATCH})
            count, user_ids = cursor.fetchone()
        invalidate_customers(user_ids)
        moved += count
        if count < RELEASE_BATCH:
            break
    if moved:
        notify_workers(priority=Transaction.Priority.RELEASE)
    return moved
