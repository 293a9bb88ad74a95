"""The Celery tasks of analytics; each calls one service."""

import logging
import time

from celery import shared_task

from analytics.services.ledger_days import update_ledger_days
from analytics.services.reports.generation import generate_account_statements, generate_report
from analytics.services.reports.requests import request_account_statements
from analytics.services.rollups import refresh_rollups

logger = logging.getLogger(__name__)

# Below the soft time limit: a long count stops between two steps, and the next round continues.
RUN_SECONDS = 200


# The first run after a restore counts every row; after a kill, the next run continues.
@shared_task(name="calculate_analytics", time_limit=3600, soft_time_limit=3540)
def calculate_analytics(recheck: int = 0) -> dict[str, int | float]:
    """Refresh the rollups; with `recheck`, recount this many partitions, those verified longest ago."""
    result = refresh_rollups(recheck=recheck)
    if result.recounted:
        logger.info("recounted %s; %d totals corrected", ", ".join(result.recounted), result.corrected)
    logger.info("analytics: %d changes applied in %.1f s", result.deltas, result.seconds)
    return {"deltas": result.deltas, "recounted": len(result.recounted), "seconds": round(result.seconds, 3)}


@shared_task(name="count_ledger")
def count_ledger() -> int:
    """Count the bookings since the last round into the ledger days."""
    return update_ledger_days(deadline=time.monotonic() + RUN_SECONDS).counted_to


# Rows are written as they are read. If a worker dies, the sweep sends the task again; the limit is for hangs only.
@shared_task(name="make_report", time_limit=6 * 3600, soft_time_limit=6 * 3600 - 60)
def make_report(task_id: str) -> None:
    generate_report(task_id=task_id)


@shared_task(name="make_statements", time_limit=3 * 3600, soft_time_limit=3 * 3600 - 60)
def make_statements(task_id: str) -> None:
    generate_account_statements(task_id=task_id)


@shared_task(name="make_monthly_statements")
def make_monthly_statements() -> int:
    """Request last month's statements of all active customers; returns the number of batches."""
    return len(request_account_statements())
