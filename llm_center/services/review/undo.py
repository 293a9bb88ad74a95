from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from llm_center.cache import invalidate_mappings
from llm_center.errors import UndoNotAllowedError
from llm_center.models import LlmMapping, MappingDecision
from llm_center.services.mapping_log import update_log_row
from llm_center.services.proposal_queue import merchant_snapshot
from llm_center.services.review.decisions import DECISION_FIELDS, Action, DecisionResult
from transactions.models import Merchant, User
from transactions.services.background_tasks import create_task, send_task
from transactions.services.processing import UndoReleaseResult, undo_release
from transactions.sql import load_sql

UNDO_WINDOW = timedelta(minutes=10)


# --- Undo -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class UndoEffect:
    """What undoing a decision will take back."""

    transactions: int
    bought: int
    customers: int
    amount: Decimal
    fees: Decimal

    @property
    def text(self) -> str:
        """In a sentence."""
        said = f"puts {self.transactions:,} transaction{'' if self.transactions == 1 else 's'} back"
        if self.bought:
            said += (
                f"; {self.bought:,} of them bought shares for ${self.amount:,.2f} (and ${self.fees:,.2f} of fees) of"
                f" {self.customers:,} customer{'' if self.customers == 1 else 's'}, which contra entries take back"
            )
        return said


def undoable_decisions(*, actor: User) -> QuerySet[MappingDecision]:
    """Decisions of this reviewer that can still be undone, newest first."""
    return (
        MappingDecision.objects.filter(
            decided_by=actor, automatic=False, decided_at__gt=timezone.now() - UNDO_WINDOW, undone_by=None
        )
        .exclude(action=Action.UNDO)
        .order_by("-pk")
    )


def undo_effect(*, decision: MappingDecision) -> UndoEffect:
    """What was settled by the decision and would be taken back."""
    with connection.cursor() as cursor:
        cursor.execute(
            load_sql("undo_effect"),
            {
                "decision": decision.pk,
                "merchant_key": decision.merchant_key,
                "ticker": decision.after["ticker"],
                "since": decision.decided_at,
            },
        )
        return UndoEffect(*cursor.fetchone())


@transaction.atomic
def request_undo(*, decision_id: int, actor: User, reason: str = "") -> DecisionResult:
    """Undo a decision: the merchant is what it was, and a task takes back what the decision led to.

    Raises:
        UndoNotAllowedError: too late, undone already, automatic, or the merchant was decided again since.
    """
    decision = MappingDecision.objects.select_for_update(of=("self",)).get(pk=decision_id)
    merchant = Merchant.objects.select_for_update().get(merchant_key=decision.merchant_key)
    if decision.automatic or decision.action == Action.UNDO:
        raise UndoNotAllowedError("Only a person's decision can be undone; correct the merchant instead.")
    if MappingDecision.objects.filter(undoes=decision).exists():
        raise UndoNotAllowedError("This decision was undone already.")
    if decision.decided_at <= timezone.now() - UNDO_WINDOW:
        raise UndoNotAllowedError("This decision is older than ten minutes; correct the merchant instead.")
    if merchant.decided_at != decision.decided_at:
        raise UndoNotAllowedError(f"{merchant.merchant_key} was decided again since.")
    state, now = decision.before, timezone.now()
    before = merchant_snapshot(merchant)
    merchant.status, merchant.ticker, merchant.company_name = state["status"], state["ticker"], state["company_name"]
    merchant.confidence = None if state["confidence"] is None else Decimal(state["confidence"])
    merchant.source, merchant.rejected_tickers = state["source"], state["rejected_tickers"]
    merchant.decided_by_id = state["decided_by"]
    merchant.decided_at = state["decided_at"] and datetime.fromisoformat(state["decided_at"])
    merchant.save(update_fields=DECISION_FIELDS)
    undone = MappingDecision.objects.create(
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
        return DecisionResult(undone, None)
    task = create_task(name="undo_decision", user=actor, arguments={"decision_id": decision.pk})
    send_task(task=task)
    return DecisionResult(undone, task)


def run_undo(*, decision_id: int, on_progress: Callable[[int], None] | None = None) -> UndoReleaseResult:
    """Take back what an undone decision led to; running it again finds nothing more."""
    decision = MappingDecision.objects.get(pk=decision_id)
    return undo_release(
        decision_id=decision.pk,
        merchant_key=decision.merchant_key,
        ticker=decision.after["ticker"],
        since=decision.decided_at,
        on_progress=on_progress,
    )
