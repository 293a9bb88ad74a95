"""The task that checks the books."""

import logging

from celery import shared_task

from transactions.services.ledger import ledger_check

logger = logging.getLogger(__name__)


# It reads the whole ledger; the usual limit of five minutes is for work that somebody waits for.
@shared_task(name="verify_ledger", time_limit=6 * 3600, soft_time_limit=6 * 3600 - 60)
def verify_ledger() -> int:
    """Check that holdings, ledger and transactions agree; returns the number of differences."""
    done = ledger_check()
    if done.differences:
        logger.error("the ledger is wrong: %d differences", done.differences)
    return done.differences
