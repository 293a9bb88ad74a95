"""Tasks that verify the ledger."""

import logging

from celery import shared_task

from transactions.services.ledger_verification import request_ledger_check, run_ledger_check

logger = logging.getLogger(__name__)


@shared_task(name="check_ledger")
def check_ledger() -> str:
    """Request the daily verification."""
    return str(request_ledger_check(actor=None).pk)


# One statement reads the whole ledger: hours for billions of rows.
@shared_task(name="verify_ledger", time_limit=12 * 3600, soft_time_limit=12 * 3600 - 60)
def verify_ledger(task_id: str) -> None:
    run_ledger_check(task_id=task_id)
