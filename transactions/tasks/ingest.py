"""The task that reads an uploaded statement."""

from celery import shared_task

from transactions.models import StatementImport
from transactions.services.background import task_heartbeat, task_run
from transactions.services.ingest import statement_ingest


# The usual limit of five minutes would kill a large file again and again; each batch is short, and a worker that dies
# is made good by the sweep, not by the limit.
@shared_task(name="ingest_statement", time_limit=6 * 3600, soft_time_limit=6 * 3600 - 60)
def ingest_statement(task_id: str) -> None:
    """Read the statement of this background task into pending transactions."""
    with task_run(task_id=task_id) as task:
        if task is None:
            return
        statement = StatementImport.objects.get(task=task)
        done = statement_ingest(statement_id=statement.pk, report=lambda rows: task_heartbeat(task=task, progress=rows))
        task.progress = task.total = done.rows_done
        task.result = {
            "rows": done.rows_done,
            "added": done.rows_added,
            "duplicates": done.rows_duplicate,
            "rejected": done.rows_rejected,
        }
