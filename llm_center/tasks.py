"""The tasks of the LLM Center; each only wakes a service."""

import logging
import time
from datetime import datetime
from decimal import Decimal

from celery import shared_task
from django.utils import timezone

from llm_center.services.amortization import amortize_month
from llm_center.services.calibration import fit_and_store_calibration
from llm_center.services.directory_recheck import recheck_merchant_directory
from llm_center.services.mapping_imports import run_mapping_import
from llm_center.services.proposal_queue import propose_merchants
from llm_center.services.review.bulk import run_bulk_decision
from llm_center.services.review.decisions import Action
from llm_center.services.review.queue import QueueFilter
from llm_center.services.review.undo import run_undo
from llm_center.services.staff_maintenance import is_queue_enabled, rebuild_mapping_indexes, remove_duplicate_mappings
from transactions.services.background_tasks import heartbeat, run_task

logger = logging.getLogger(__name__)

# Below the soft time limit: a long queue ends between two batches, and the next run goes on.
RUN_SECONDS = 200


@shared_task(name="process_llm_queue")
def process_llm_queue() -> dict[str, int]:
    """Propose owners for the merchants that nobody knows, and decide what is sure enough; nothing while it is switched off."""
    if not is_queue_enabled():
        return {"seen": 0, "proposed": 0, "decided": 0, "released": 0}
    done = propose_merchants(deadline=time.monotonic() + RUN_SECONDS, should_continue=is_queue_enabled)
    if done.processed:
        logger.info("merchants: %d seen, %d proposed, %d decided", done.processed, done.proposed, done.decided)
    for problem in done.problems:
        logger.warning("the model was not asked: %s", problem)
    return {"seen": done.processed, "proposed": done.proposed, "decided": done.decided, "released": done.released}


@shared_task(name="run_llm_queue", time_limit=3600, soft_time_limit=3540)
def run_llm_queue(task_id: str) -> None:
    """A run of the queue that somebody asked for, with progress."""
    with run_task(task_id=task_id) as task:
        if task is None:
            return
        done = propose_merchants(
            deadline=time.monotonic() + RUN_SECONDS,
            on_progress=lambda so_far: heartbeat(task=task, progress=so_far.processed),
        )
        task.progress = task.total = done.processed
        task.result = {
            "processed_count": done.processed,
            "auto_approved": done.decided,
            "review_required": done.processed - done.decided,
            "rejected": 0,
            "released": done.released,
            "problems": done.problems,
        }


@shared_task(name="decide_merchants", time_limit=3600, soft_time_limit=3540)
def decide_merchants(task_id: str) -> None:
    """Decide a part of the review queue as somebody asked."""
    with run_task(task_id=task_id) as task:
        if task is None:
            return
        asked = task.arguments
        assert task.user is not None  # noqa: S101  # somebody asked
        decided, released, refused = run_bulk_decision(
            queue_filter=QueueFilter(asked["starts"], asked["ticker"], Decimal(asked["confidence"])),
            action=Action(asked["action"]),
            actor=task.user,
            until=datetime.fromisoformat(asked["until"]),
            on_progress=lambda seen: heartbeat(task=task, progress=seen, total=task.total),
        )
        task.progress = decided + len(refused)
        task.result = {"decided": decided, "released": released, "refused": refused}


@shared_task(name="undo_decision", time_limit=3600, soft_time_limit=3540)
def undo_decision(task_id: str) -> None:
    """Take back what an undone decision led to."""
    with run_task(task_id=task_id) as task:
        if task is None:
            return
        done = run_undo(
            decision_id=task.arguments["decision_id"], on_progress=lambda moved: heartbeat(task=task, progress=moved)
        )
        task.progress = task.total = done.moved
        task.result = {"put_back": done.moved, "taken_back": done.bought}


# A large file takes longer than five minutes; its batches are short, and the sweep finds a dead worker.
@shared_task(name="import_mappings", time_limit=6 * 3600, soft_time_limit=6 * 3600 - 60)
def import_mappings(task_id: str) -> None:
    """Import an uploaded file of mappings."""
    run_mapping_import(task_id=task_id)


@shared_task(name="remove_duplicates", time_limit=6 * 3600, soft_time_limit=6 * 3600 - 60)
def remove_duplicates(task_id: str) -> None:
    """Take exact duplicates of uploaded rows out of the log."""
    with run_task(task_id=task_id) as task:
        if task is None:
            return
        done = remove_duplicate_mappings(on_progress=lambda rows: heartbeat(task=task, progress=rows))
        task.progress = task.total = done.rows
        task.result = {
            "duplicates_removed": done.removed,
            "total_mappings": done.rows - done.removed,
            "unique_merchants": done.merchants,
        }


@shared_task(name="rebuild_indexes", time_limit=6 * 3600, soft_time_limit=6 * 3600 - 60)
def rebuild_indexes(task_id: str) -> None:
    """Rebuild what is broken, as somebody asked."""
    with run_task(task_id=task_id) as task:
        if task is None:
            return
        task.result = rebuild_mapping_indexes(on_progress=lambda done: heartbeat(task=task, progress=done))


@shared_task(name="refit_calibration")
def refit_calibration() -> dict[str, int | None]:
    """Fit the calibration of confidence on what reviewers decided."""
    done = fit_and_store_calibration()
    return {source: fit.observations if fit else None for source, fit in done.items()}


@shared_task(name="monthly_llm_amortization")
def monthly_llm_amortization() -> dict[str, str | int]:
    """Book this month's charges of the LLM data assets, and what was missed before."""
    done = amortize_month(month=timezone.now().date())
    if done.charges:
        logger.info("amortization: %d charges, $%s", len(done.charges), done.total)
    return {"charges": len(done.charges), "amount": str(done.total)}


@shared_task(name="recheck_directory", time_limit=3600, soft_time_limit=3540)
def recheck_directory() -> dict[str, int]:
    """Stop approvals that the catalogue contradicts."""
    done = recheck_merchant_directory()
    if done.stopped:
        logger.warning("%d of %d approved merchants went to review", done.stopped, done.checked)
    return {"seen": done.checked, "stopped": done.stopped}
