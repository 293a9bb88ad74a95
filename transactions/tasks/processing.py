"""Tasks that move transactions. They only wake services: the state is in PostgreSQL."""

import logging
import time

from celery import shared_task

from transactions.models import Transaction
from transactions.services import processing
from transactions.services.background_tasks import heartbeat, run_task
from transactions.services.manual_processing import run_selection

logger = logging.getLogger(__name__)

# Below the soft time limit, so that a long backlog ends between two sets and not inside one.
RUN_SECONDS = 200


@shared_task(name="process_transactions")
def process_transactions(priority: int = Transaction.Priority.BULK) -> dict[str, int]:
    """Process pending transactions in sets until none is left; a backlog longer than a run wakes the next one."""
    processing.clear_notification(priority=priority)
    deadline = time.monotonic() + RUN_SECONDS
    done = processing.process_pending(deadline=deadline)
    if time.monotonic() >= deadline:
        processing.notify_workers(priority=Transaction.Priority.BULK)
    if done.total:
        logger.info("processed %d transactions in %d sets: %s", done.total, done.sets, dict(done.statuses))
    return dict(done.statuses)


@shared_task(name="process_transaction")
def process_transaction(transaction_id: int) -> dict[str, int]:
    """Process one transaction now."""
    return dict(processing.process_transaction_now(transaction_id=transaction_id).statuses)


# A merchant may have millions of waiting rows: each batch is short, and a killed worker is made good by the sweep.
@shared_task(name="release_merchants", time_limit=3600, soft_time_limit=3540)
def release_merchants(task_id: str) -> None:
    """Put what waits for the decided merchants of this background task back to work."""
    with run_task(task_id=task_id) as task:
        if task is None:
            return
        released = processing.release_waiting_transactions(
            merchant_keys=task.arguments["merchant_keys"],
            decision_ids=task.arguments.get("decision_ids", ()),
            on_progress=lambda rows: heartbeat(task=task, progress=rows, total=task.total),
        )
        task.progress = task.total = released
        task.result = {"released": released}


@shared_task(name="execute_queued_orders")
def execute_queued_orders() -> int:
    """At the open, execute the orders that waited for it."""
    return processing.execute_orders()


@shared_task(name="sweep_stuck")
def sweep_stuck() -> None:
    """Take up what lost messages and killed workers left behind."""
    processing.recover_stuck()


@shared_task(name="process_selected", time_limit=3600, soft_time_limit=3540)
def process_selected(task_id: str) -> None:
    """Process the transactions that staff chose."""
    with run_task(task_id=task_id) as task:
        if task is None:
            return
        ids = task.arguments["transaction_ids"]
        statuses = run_selection(
            transaction_ids=ids, on_progress=lambda done: heartbeat(task=task, progress=done, total=task.total)
        )
        task.progress, task.result = len(ids), {"processed": len(ids), "statuses": statuses}


@shared_task(name="process_backlog")
def process_backlog(task_id: str) -> None:
    """Process what is pending, as somebody asked; a backlog longer than a run goes on by itself."""
    with run_task(task_id=task_id) as task:
        if task is None:
            return
        deadline = time.monotonic() + RUN_SECONDS
        done = processing.process_pending(deadline=deadline)
        if time.monotonic() >= deadline:
            processing.notify_workers(priority=Transaction.Priority.BULK)
        found, status = done.statuses, Transaction.Status
        task.progress = task.total = done.total
        task.result = {
            "processed": done.total,
            "mapped": found[status.COMPLETED] + found[status.MAPPED] + found[status.AWAITING_PRICE],
            "queued": found[status.MAPPED],
            "review": found[status.NEEDS_REVIEW],
            "errors": found[status.FAILED],
            "invested": str(done.invested),
        }
