"""Correction of what was booked before a decision, as a background task whose result is the report."""

from django.db import transaction

from kamioi_site.admin.audit_log import audit_log
from llm_center.models import MappingDecision
from transactions.models import BackgroundTask, Merchant, User
from transactions.services.background_tasks import create_task, send_task, store_result
from transactions.services.processing import correct_bookings, release_waiting_transactions

CORRECTION = "correct_purchases"


def request_correction(decision: MappingDecision, *, actor: User) -> BackgroundTask:
    """Schedule the release of the waiting transactions and the correction of the booked ones."""
    task = create_task(
        name=CORRECTION, user=actor, arguments={"merchant_keys": [decision.merchant_key], "decision_id": decision.pk}
    )
    task.total = decision.corrected_count
    task.save(update_fields=["total"])
    send_task(task=task)
    return task


def run_correction(task: BackgroundTask) -> None:
    """Release and correct the purchases; a second run continues where the first one ended."""
    decision = MappingDecision.objects.get(pk=task.arguments["decision_id"])
    merchant = Merchant.objects.get(merchant_key=decision.merchant_key)
    release_waiting_transactions(merchant_keys=[merchant.merchant_key])
    correct_bookings(task=task, merchant=merchant, decision_id=decision.pk)
    with transaction.atomic():
        store_result(task=task, result=task.result)
        audit_log(task.user, ". ".join(task.result["summary"]), target=merchant)
