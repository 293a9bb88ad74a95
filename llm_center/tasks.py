"""The Celery tasks of the LLM Center; each only calls a service."""

import logging
import time
from datetime import datetime
from decimal import Decimal

from celery import shared_task
from django.utils import timezone

from kamioi_site.messaging.wake import clear_wake
from llm_center.apps import MATCHER_WAKE
from llm_center.services import proposal_queue
from llm_center.services.amortization import amortize_month
from llm_center.services.calibration import fit_and_store_calibration
from llm_center.services.directory_recheck import recheck_merchant_directory
from llm_center.services.mapping_imports import run_mapping_import
from llm_center.services.proposal_queue import propose_merchants
from llm_center.services.review.bulk import run_bulk_decision
from llm_center.services.review.corrections import run_correction
from llm_center.services.review.decisions import Action
from llm_center.services.review.queue import QueueFilter
from llm_center.services.review.undo import run_undo
from llm_center.services.staff_maintenance import is_queue_enabled, rebuild_mapping_indexes, remove_duplicate_mappings
from transactions.models import BackgroundTask
from transactions.services.background_tasks import claim_first, heartbeat

logger = logging.getLogger(__name__)

# Below the soft time limit: a long queue stops between two batches, and the next run continues.
RUN_SECONDS = 200


@shared_task(name="process_llm_queue")
def process_llm_queue() -> dict[str, int]:
    """Propose owners of unknown merchants and decide the confident ones; does nothing while the queue is disabled."""
    if not is_queue_enabled():
        return {"seen": 0, "proposed": 0, "decided": 0, "released": 0}
    run = propose_merchants(deadline=time.monotonic() + RUN_SECONDS, should_continue=is_queue_enabled)
    if run.processed:
        logger.info("merchants: %d processed, %d proposed, %d decided", run.processed, run.proposed, run.decided)
    for problem in run.problems:
        logger.warning("the model was not used: %s", problem)
    return {"seen": run.processed, "proposed": run.proposed, "decided": run.decided, "released": run.released}


@shared_task(name="match_merchants")
def match_merchants() -> dict[str, int]:
    """Ask the matcher about merchants that have just been stored; does nothing while the queue is disabled."""
    clear_wake(MATCHER_WAKE)
    if not is_queue_enabled():
        return {}
    run = proposal_queue.match_merchants(deadline=time.monotonic() + RUN_SECONDS)
    return {"seen": run.processed, "decided": run.decided, "released": run.released}


@shared_task(name="run_llm_queue", time_limit=3600, soft_time_limit=3540)
@claim_first
def run_llm_queue(task: BackgroundTask) -> None:
    """Run the queue once on request, with progress."""
    run = propose_merchants(
        deadline=time.monotonic() + RUN_SECONDS,
        on_progress=lambda so_far: heartbeat(task=task, progress=so_far.processed),
    )
    task.progress = task.total = run.processed
    task.result = {
        "processed_count": run.processed,
        "auto_approved": run.decided,
        "review_required": run.processed - run.decided,
        "rejected": 0,
        "released": run.released,
        "problems": run.problems,
    }


@shared_task(name="decide_merchants", time_limit=3600, soft_time_limit=3540)
@claim_first
def decide_merchants(task: BackgroundTask) -> None:
    arguments = task.arguments
    assert task.user is not None  # noqa: S101  # bulk decisions are requested by a reviewer
    decided, released, skipped = run_bulk_decision(
        queue_filter=QueueFilter(arguments["starts"], arguments["ticker"], Decimal(arguments["confidence"])),
        action=Action(arguments["action"]),
        actor=task.user,
        until=datetime.fromisoformat(arguments["until"]),
        on_progress=lambda count: heartbeat(task=task, progress=count, total=task.total),
    )
    task.progress = decided + len(skipped)
    task.result = {"decided": decided, "released": released, "refused": skipped}


@shared_task(name="undo_decision", time_limit=3600, soft_time_limit=3540)
@claim_first
def undo_decision(task: BackgroundTask) -> None:
    result = run_undo(
        decision_id=task.arguments["decision_id"], on_progress=lambda moved: heartbeat(task=task, progress=moved)
    )
    task.progress = task.total = result.moved
    task.result = {"put_back": result.moved, "taken_back": result.bought}


@shared_task(name="correct_purchases", time_limit=6 * 3600, soft_time_limit=6 * 3600 - 60)
@claim_first
def correct_purchases(task: BackgroundTask) -> None:
    """Correct what was booked before a decision, with progress."""
    run_correction(task)


# A large file takes longer than five minutes; its batches are short, and the sweep detects a dead worker.
@shared_task(name="import_mappings", time_limit=6 * 3600, soft_time_limit=6 * 3600 - 60)
def import_mappings(task_id: str) -> None:
    run_mapping_import(task_id=task_id)


@shared_task(name="remove_duplicates", time_limit=6 * 3600, soft_time_limit=6 * 3600 - 60)
@claim_first
def remove_duplicates(task: BackgroundTask) -> None:
    """Remove exact duplicates of uploaded rows from the log."""
    result = remove_duplicate_mappings(on_progress=lambda rows: heartbeat(task=task, progress=rows))
    task.progress = task.total = result.rows
    task.result = {
        "duplicates_removed": result.removed,
        "total_mappings": result.rows - result.removed,
        "unique_merchants": result.merchants,
    }


@shared_task(name="rebuild_indexes", time_limit=6 * 3600, soft_time_limit=6 * 3600 - 60)
@claim_first
def rebuild_indexes(task: BackgroundTask) -> None:
    task.result = rebuild_mapping_indexes(on_progress=lambda count: heartbeat(task=task, progress=count))


@shared_task(name="refit_calibration")
def refit_calibration() -> dict[str, int | None]:
    """Fit the calibration of confidence to the reviewers' decisions."""
    fits = fit_and_store_calibration()
    return {source: fit.observations if fit else None for source, fit in fits.items()}


@shared_task(name="monthly_llm_amortization")
def monthly_llm_amortization() -> dict[str, str | int]:
    """Post this month's amortization of the LLM data assets, and any month missed before."""
    result = amortize_month(month=timezone.now().date())
    if result.charges:
        logger.info("amortization: %d charges, $%s", len(result.charges), result.total)
    return {"charges": len(result.charges), "amount": str(result.total)}


@shared_task(name="recheck_directory", time_limit=3600, soft_time_limit=3540)
def recheck_directory() -> dict[str, int]:
    result = recheck_merchant_directory()
    if result.stopped:
        logger.warning("%d of %d approved merchants went to review", result.stopped, result.checked)
    return {"seen": result.checked, "stopped": result.stopped}
