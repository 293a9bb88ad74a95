"""The Celery tasks of the app; each only calls a service, because all state is in PostgreSQL."""

import logging
import time

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from kamioi_site.errors import KamioiError
from transactions.legacy.sync.outbox import send_outbox
from transactions.market.price_refresh import refresh_stock_prices
from transactions.models import BackgroundTask, Transaction
from transactions.rules.market_hours import market_is_open
from transactions.services import email_addresses, members, processing, settlement, uploads
from transactions.services.accounts import send_password_reset_email
from transactions.services.background_tasks import claim_first, heartbeat
from transactions.services.idempotency import delete_expired_idempotency_keys
from transactions.services.ingest import run_statement_import
from transactions.services.ledger_seals import seal_days
from transactions.services.ledger_verification import request_ledger_check, run_ledger_check
from transactions.services.manual_processing import run_selection
from transactions.services.platform_fees import send_fee_notices
from transactions.services.privacy import run_erasure, run_export
from transactions.services.statement_previews import run_preview
from transactions.services.statement_undo import run_statement_undo

logger = logging.getLogger(__name__)

# Below the soft time limit, so that a run ends between two batches and not within one.
RUN_SECONDS = 200
LEGACY_RUN_SECONDS = 50


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


# The default limit of five minutes would kill the import of a large file again and again. Each batch is short, and a
# dead worker is detected by the sweep, not by the limit.
@shared_task(name="ingest_statement", time_limit=6 * 3600, soft_time_limit=6 * 3600 - 60)
def ingest_statement(task_id: str) -> None:
    run_statement_import(task_id=task_id)


@shared_task(name="undo_statement", time_limit=6 * 3600, soft_time_limit=6 * 3600 - 60)
def undo_statement(task_id: str) -> None:
    run_statement_undo(task_id=task_id)


@shared_task(name="preview_statement")
def preview_statement(task_id: str) -> None:
    """Read the first rows of a workbook for the page that waits for them."""
    run_preview(task_id)


@shared_task(name="expire_uploads")
def expire_uploads() -> int:
    count = uploads.expire_uploads()
    if count:
        logger.info("the files of %s imports deleted", count)
    return count


@shared_task(name="refresh_prices")
def refresh_prices() -> dict[str, int | str]:
    """Fetch quotes and release the transactions that waited for them.

    It is sent every five minutes. While the market is closed only every third message does something.
    """
    now = timezone.now()
    if not settings.PRICE_PROVIDER or (now.minute % 15 >= 5 and not market_is_open(now)):
        return {}
    result = refresh_stock_prices()
    if result.error:
        logger.error("prices: %s", result.error)
    for quote in result.rejected[:20]:
        logger.warning("quote of %s rejected: %s", quote.ticker or "?", quote.reason)
    return {
        "stored": result.stored,
        "refused": len(result.rejected),
        "released": result.released,
        "error": result.error,
    }


@shared_task(name="announce_platform_fee", time_limit=3600, soft_time_limit=3540)
@claim_first
def announce_platform_fee(task: BackgroundTask) -> None:
    """Notify the customers of a new platform fee."""
    send_fee_notices(task=task, on_progress=lambda done: heartbeat(task=task, progress=done))


@shared_task(name="check_ledger")
def check_ledger() -> str:
    """Request the daily verification."""
    return str(request_ledger_check(actor=None).pk)


# The first run seals all days since the first booking; a killed one is resumed by the next.
@shared_task(name="seal_ledger", time_limit=12 * 3600, soft_time_limit=12 * 3600 - 60)
def seal_ledger() -> int:
    """Seal the days that are complete."""
    return len(seal_days())


# One statement reads the whole ledger: hours for billions of rows.
@shared_task(name="verify_ledger", time_limit=12 * 3600, soft_time_limit=12 * 3600 - 60)
def verify_ledger(task_id: str) -> None:
    run_ledger_check(task_id=task_id)


# One statement reads what was posted since the last collection.
@shared_task(name="collect_round_ups", time_limit=3600, soft_time_limit=3540)
def collect_round_ups() -> dict[str, int | str]:
    """Collect what customers owe; without a provider nothing happens."""
    if not settings.SETTLEMENT_PROVIDER:
        return {}
    result = settlement.collect_round_ups()
    return {"customers": result.customers, "amount": str(result.amount), "returned": str(result.returned)}


@shared_task(name="settle_positions")
def settle_positions() -> dict[str, int | str]:
    """Settle the house's positions while the market is open; without a provider nothing happens."""
    if not settings.SETTLEMENT_PROVIDER or not market_is_open(timezone.now()):
        return {}
    result = settlement.settle_positions()
    return {"orders": result.orders, "bought": str(result.bought), "sold": str(result.sold)}


@shared_task(name="export_person", time_limit=3600, soft_time_limit=3540)
def export_person(task_id: str) -> None:
    run_export(task_id=task_id)


@shared_task(name="erase_person", time_limit=3600, soft_time_limit=3540)
def erase_person(task_id: str) -> None:
    run_erasure(task_id=task_id)


@shared_task(name="send_password_reset", autoretry_for=(OSError,), retry_backoff=True, max_retries=3)
def send_password_reset(email: str) -> bool:
    """Send a link for a new password if the address is registered."""
    return send_password_reset_email(email=email)


@shared_task(name="send_account_email", autoretry_for=(OSError,), retry_backoff=True, max_retries=3)
def send_account_email(kind: str, user_id: int) -> bool:
    """Send one of the e-mails about an account."""
    return email_addresses.send_account_email(kind=kind, user_id=user_id)


@shared_task(name="send_invitation", autoretry_for=(OSError,), retry_backoff=True, max_retries=3)
def send_invitation(member_id: int) -> bool:
    """Send an invitation to become a member of an account."""
    return members.send_invitation(member_id=member_id)


@shared_task(name="apply_due_email_changes")
def apply_due_email_changes() -> int:
    """Apply verified changes of e-mail addresses whose delay has passed."""
    return email_addresses.apply_due_email_changes()


@shared_task(name="expire_idempotency_keys")
def expire_idempotency_keys() -> int:
    count = delete_expired_idempotency_keys()
    if count:
        logger.info("%s idempotency keys deleted", count)
    return count


@shared_task(name="legacy_dual_write")
def legacy_dual_write() -> int:
    """Write pending rows to the legacy file; when it is missing or locked, they stay pending."""
    total, deadline = 0, time.monotonic() + LEGACY_RUN_SECONDS
    try:
        while time.monotonic() < deadline and (sent := send_outbox()):
            total += sent
    except KamioiError as error:
        logger.warning("dual-write: %s", error)
    return total
