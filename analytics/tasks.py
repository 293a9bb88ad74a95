"""The tasks of analytics; each only wakes a service."""

import logging
import time

from celery import shared_task

from analytics.services.ledger_days import update_ledger_days
from analytics.services.reports.generation import generate_account_statements, generate_report
from analytics.services.reports.requests import request_account_statements
from analytics.services.rollups import refresh_rollups

logger = logging.getLogger(__name__)

# Below the soft time limit: a long count ends between two steps, and the next round goes on.
RUN_SECONDS = 200


# The first run after a restore counts every row; it goes on where a killed one stood.
@shared_task(name="calculate_analytics", time_limit=3600, soft_time_limit=3540)
def calculate_analytics(recheck: int = 0) -> dict[str, int | float]:
    """Bring the figures up to date; with `recheck`, count anew so many partitions that were not looked at for longest."""
    done = refresh_rollups(recheck=recheck)
    if done.recounted:
        logger.info("counted anew: %s; %d figures changed", ", ".join(done.recounted), done.corrected)
    logger.info("analytics: %d changes taken up in %.1f s", done.deltas, done.seconds)
    return {"deltas": done.deltas, "recounted": len(done.recounted), "seconds": round(done.seconds, 3)}


@shared_task(name="count_ledger")
def count_ledger() -> int:
    """Take up what was booked since the last round into the days of the ledger."""
    return update_ledger_days(deadline=time.monotonic() + RUN_SECONDS).counted_to


# Rows are written as they are read; a worker that dies is made good by the sweep, not by the limit.
@shared_task(name="make_report", time_limit=6 * 3600, soft_time_limit=6 * 3600 - 60)
def make_report(task_id: str) -> None:
    """Make the report of this background task."""
    generate_report(task_id=task_id)


@shared_task(name="make_statements", time_limit=3 * 3600, soft_time_limit=3 * 3600 - 60)
def make_statements(task_id: str) -> None:
    """Make the monthly statements of this background task's customers."""
    generate_account_statements(task_id=task_id)


@shared_task(name="make_monthly_statements")
def make_monthly_statements() -> int:
    """Ask for last month's statements of all active customers; returns the number of sets."""
    return len(request_account_statements())
