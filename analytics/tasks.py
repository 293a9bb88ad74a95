"""The tasks of this room; each only wakes a service."""

import time

from celery import shared_task

from analytics.services.ledger_days import ledger_days_count

# Below the soft time limit: a long count ends between two steps, and the next round goes on.
RUN_SECONDS = 200


@shared_task(name="count_ledger")
def count_ledger() -> int:
    """Take up what was booked since the last round into the days of the ledger."""
    return ledger_days_count(deadline=time.monotonic() + RUN_SECONDS).counted_to
