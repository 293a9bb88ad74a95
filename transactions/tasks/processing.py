"""Tasks that move transactions. They only call services: all state is in PostgreSQL."""

import logging
import time

from celery import shared_task

from transactions.models import BackgroundTask, Transaction
from transactions.services import processing
from transactions.services.background_tasks import claim_first, heartbeat
from transactions.services.manual_processing import run_selection

logger = logging.getLogger(__name__)

# Below the soft time limit, so that a run ends between two batches and not within one.
RUN_SECONDS = 200


@shared_task(name="process_transactions")
def process_transactions(priority: int = Transaction.Priority.BULK) -> dict[str, int]:
    """Process pending transactions in batches until none is left; a longer backlog wakes the next run."""
    processing.clear_notification(priority=priority)
    result = _process_for_one_run()
    if result.total:
        logger.info("processed %d transactions in %d batches: %s", result.total, result.batches, dict(result.statuses))
    return dict(result.statuses)


def _process_for_one_run() -> processing.ProcessingResult:
    deadline = time.monotonic() + RUN_SECONDS
    result = processing.process_pending(deadline=deadline)
    if time.monotonic() >= deadline:
        processing.notify_workers(priority=Transaction.Priority.BULK)
    return result


@shared_task(name="process_transaction")
def process_transaction(transaction_id: int) -> dict[str, int]:
    return dict(processing.process_transaction_now(transaction_id=transaction_id).statuses)


# A merchant may have millions of waiting rows. Each batch is short, and `sweep_stuck` resumes after a killed worker.
@shared_task(name="release_merchants", time_limit=3600, soft_time_limit=3540)
@claim_first
def release_merchants(task: BackgroundTask) -> None:
    """Release the transactions that wait for the merchants decided on in this background task."""
    released = processing.release_waiting_transactions(
        merchant_keys=task.arguments["merchant_keys"],
        decision_ids=task.arguments.get("decision_ids", ()),
        on_progress=lambda rows: heartbeat(task=task, progress=rows, total=task.total),
    )
    task.progress = task.total = released
    task.result = {"released": released}


@shared_task(name="settle_held_purchases")
@claim_first
def settle_held_purchases(task: BackgroundTask) -> None:
    """Release or cancel a customer's purchases on hold."""
    task.progress = task.total = processing.settle_held_purchases(**task.arguments)
    task.result = {"settled": task.total}


@shared_task(name="execute_queued_orders")
def execute_queued_orders() -> int:
    return processing.execute_orders()


@shared_task(name="sweep_stuck")
def sweep_stuck() -> None:
    """Resume what lost messages and killed workers left behind."""
    processing.recover_stuck()


@shared_task(name="process_selected", time_limit=3600, soft_time_limit=3540)
@claim_first
def process_selected(task: BackgroundTask) -> None:
    """Process the transactions that staff selected."""
    ids = task.arguments["transaction_ids"]
    statuses = run_selection(
        transaction_ids=ids, on_progress=lambda done: heartbeat(task=task, progress=done, total=task.total)
    )
    task.progress, task.result = len(ids), {"processed": len(ids), "statuses": statuses}


@shared_task(name="process_backlog")
@claim_first
def process_backlog(task: BackgroundTask) -> None:
    """Process the backlog on request; what remains after this run is processed by the next ones."""
    result, status = _process_for_one_run(), Transaction.Status
    count = result.statuses
    task.progress = task.total = result.total
    task.result = {
        "processed": result.total,
        "mapped": count[status.COMPLETED] + count[status.MAPPED] + count[status.AWAITING_PRICE],
        "queued": count[status.MAPPED],
        "review": count[status.NEEDS_REVIEW],
        "errors": count[status.FAILED],
        "invested": str(result.invested),
    }
