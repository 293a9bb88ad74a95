"""The task that reads an uploaded statement."""

from celery import shared_task

from transactions.services.ingest import run_statement_import


# The usual limit of five minutes would kill a large file again and again; each batch is short, and a worker that dies
# is made good by the sweep, not by the limit.
@shared_task(name="ingest_statement", time_limit=6 * 3600, soft_time_limit=6 * 3600 - 60)
def ingest_statement(task_id: str) -> None:
    """Read the statement of this background task into pending transactions."""
    run_statement_import(task_id=task_id)
