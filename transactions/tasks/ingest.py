"""Tasks of uploads: the import of a statement, and the expiry of files."""

import logging

from celery import shared_task

from transactions.services import uploads
from transactions.services.ingest import run_statement_import

logger = logging.getLogger(__name__)


# The default limit of five minutes would kill the import of a large file again and again. Each batch is short, and a
# dead worker is detected by the sweep, not by the limit.
@shared_task(name="ingest_statement", time_limit=6 * 3600, soft_time_limit=6 * 3600 - 60)
def ingest_statement(task_id: str) -> None:
    run_statement_import(task_id=task_id)


@shared_task(name="expire_uploads")
def expire_uploads() -> int:
    count = uploads.expire_uploads()
    if count:
        logger.info("the files of %s imports deleted", count)
    return count
