"""Undoing a reviewer's decision within ten minutes.

The merchant gets its previous state back, and purchases made in the meantime are corrected by contra entries.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from kamioi_site.formatting import money, plural
from llm_center.cache import invalidate_mappings
from llm_center.errors import UndoNotAllowedError
from llm_center.models import LlmMapping, MappingDecision
from llm_center.services.mapping_log import update_log_row
from llm_center.services.merchants import merchant_snapshot
from llm_center.services.review.decisions import DECISION_FIELDS, Action, DecisionResult
from transactions.models import Merchant, User
from transactions.services.background_tasks import create_task, send_task
from transactions.services.processing import UndoReleaseResult, undo_release
from transactions.sql import load_sql

UNDO_WINDOW = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class UndoEffect:
    """The consequences of undoing a decision."""

    transactions: int
    bought: int
    customers: int
    amount: Decimal
    fees: Decimal

    @property
    def text(self) -> str:
        text = f"puts {plural(self.transactions, 'transaction')} back"
        if self.bought:
            text += (
                f"; {self.bought:,} of them bought shares for {money(self.amount)} (and {money(self.fees)} of fees)"
                f" for {plural(self.customers, 'customer')}, which contra entries reverse"
            )
        return text


def undoable_decisions(*, actor: User) -> QuerySet[MappingDecision]:
    """Return this reviewer's decisions that can still be undone, newest first."""
    return (
        MappingDecision.objects.filter(
            decided_by=actor, automatic=False, decided_at__gt=timezone.now() - UNDO_WINDOW, undone_by=None
        )
        .exclude(action=Action.UNDO)
        .order_by("-pk")
    )


def undo_effect(*, decision: MappingDecision) -> UndoEffect:
    with connection.cursor() as cursor:
        cursor.execute(load_sql("undo_effect"), {"decision": decision.pk, "merchant_key": decision.merchant_key})
        return UndoEffect(*cursor.fetchone())


@transaction.atomic
def request_undo(*, decision_id: int, actor: User, reason: str = "") -> DecisionResult:
    """Restore the merchant's previous state and schedule a task that reverses the purchases.

    Raises:
        UndoNotAllowedError: too late, already undone, automatic, or the merchant was decided again since.
    """
    decision = MappingDecision.objects.get(pk=decision_id)
    merchant = Merchant.objects.select_for_update().get(merchant_key=decision.merchant_key)
    if decision.automatic or decision.action == Action.UNDO:
        raise UndoNotAllowedError("Only a reviewer's decision can be undone; correct the merchant instead.")
    if MappingDecision.objects.filter(undoes=decision).exists():
        raise UndoNotAllowedError("This decision has already been undone.")
    if decision.decided_at <= timezone.now() - UNDO_WINDOW:
        raise UndoNotAllowedError("This decision is older than ten minutes; correct the merchant instead.")
    if merchant.decision_id != decision.pk:
        raise UndoNotAllowedError(f"{merchant.merchant_key} has been decided again since.")
    previous, before, now = decision.before, merchant_snapshot(merchant), timezone.now()
    for name in ("status", "ticker", "company_name", "source", "rejected_tickers"):
        setattr(merchant, name, previous[name])
    merchant.confidence = None if previous["confidence"] is None else Decimal(previous["confidence"])
    merchant.decided_by_id = previous["decided_by"]
    merchant.decided_at = previous["decided_at"] and datetime.fromisoformat(previous["decided_at"])
    merchant.decision_id = previous["decision_id"]
    merchant.save(update_fields=DECISION_FIELDS)
    undo = MappingDecision.objects.create(
        merchant_key=merchant.merchant_key,
        action=Action.UNDO,
        before=before,
        after=merchant_snapshot(merchant),
        reason=reason[:500],
        decided_by=actor,
        undoes=decision,
        decided_at=now,
    )
    log = LlmMapping.objects.filter(
        merchant_name=merchant.display_name, merchant_key=merchant.merchant_key, ai_decided_at=decision.decided_at
    )
    update_log_row(log.filter(source=LlmMapping.Source.ADMIN), status=LlmMapping.Status.REJECTED, admin_approved=False)
    update_log_row(
        log.exclude(source=LlmMapping.Source.ADMIN),
        status=LlmMapping.Status.PENDING,
        admin_approved=False,
        decided_by=None,
    )
    invalidate_mappings()
    if decision.action == Action.REJECT:
        return DecisionResult(undo, None)
    task = create_task(name="undo_decision", user=actor, arguments={"decision_id": decision.pk})
    send_task(task=task)
    return DecisionResult(undo, task)


def run_undo(*, decision_id: int, on_progress: Callable[[int], None] | None = None) -> UndoReleaseResult:
    """Reverse the purchases of an undone decision; a second run finds none."""
    decision = MappingDecision.objects.get(pk=decision_id)
    return undo_release(decision_id=decision.pk, merchant_key=decision.merchant_key, on_progress=on_progress)
