"""What a reviewer decides about a merchant, and what that sets in motion.

A decision is one database transaction: the directory row, an append-only `mapping_decisions` row, the log in
`llm_mappings`, and a background task that releases what waits. Two reviewers never overwrite each other: each says
which state of the merchant they looked at (`seen`, its `updated_at`), and the second one is told instead.

Where the setting `four_eyes_limit` is above zero, a decision that releases as many dollars or more needs two people:
the first asks (`PendingDecision`), another one decides the same. A person's decision can be undone for ten minutes:
the merchant is what it was before, and what was bought meanwhile is corrected by contra entries.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.utils import timezone

from llm_center.cache import invalidate_mappings
from llm_center.errors import DecisionNotAllowedError, InvalidTickerError, MerchantChangedError
from llm_center.live_settings import FOUR_EYES_LIMIT
from llm_center.models import LlmMapping, MappingDecision, PendingDecision
from llm_center.services.mapping_log import create_log_row, update_log_row
from llm_center.services.proposal_queue import merchant_snapshot
from llm_center.services.review.queue import WAITING_STATUSES
from transactions.models import BackgroundTask, Company, Merchant, User
from transactions.services.background_tasks import create_task, send_task

Action = MappingDecision.Action


@dataclass(frozen=True, slots=True)
class DecisionEffect:
    """What a decision will do, said before it is made."""

    action: Action
    count: int
    amount: Decimal
    ticker: str
    company_name: str
    text: str


@dataclass(frozen=True, slots=True)
class DecisionResult:
    """A decision made, and the task that releases what waited (None when nothing does).

    Where another reviewer has to agree, there is no decision yet but `pending`.
    """

    decision: MappingDecision | None
    task: BackgroundTask | None
    pending: PendingDecision | None = None


def merchant_effect(*, merchant: Merchant, action: Action, ticker: str = "") -> DecisionEffect:
    """What the decision will do to what waits now.

    Raises:
        InvalidTickerError: the ticker is unknown or not listed.
        DecisionNotAllowedError: the merchant has no ticker to approve.
    """
    company = _company(merchant, action, ticker)
    count, amount = merchant.waiting_count, merchant.waiting_amount
    things = "transaction" if count == 1 else "transactions"
    if company is not None:
        name = f"{company.ticker} ({company.name})"
        text = f"releases {count:,} {things}: ${amount:,.2f} of round-ups buys {name}; so will every later purchase"
    elif action == Action.NOT_LISTED:
        text = f"closes {count:,} {things}: the ${amount:,.2f} of round-ups is not invested, nor any later one"
    else:
        rejected = merchant.ticker or "the proposal"
        text = f"rejects {rejected} for good; {count:,} {things} with ${amount:,.2f} of round-ups go on waiting"
    return DecisionEffect(
        action=action,
        count=count,
        amount=amount,
        text=text,
        ticker=company.ticker if company else "",
        company_name=company.name if company else "",
    )


@transaction.atomic
def decide_merchant(
    *,
    merchant_id: int,
    action: Action,
    actor: User,
    expected_updated_at: datetime | None,
    ticker: str = "",
    reason: str = "",
    release: bool = True,
) -> DecisionResult:
    """Decide one merchant and send the release of what waits for it.

    Args:
        expected_updated_at: `updated_at` of the merchant that the reviewer looked at; None for a caller that looked at none.
        ticker: the right ticker, for `CORRECT`.
        release: false for a caller that releases many merchants at once.

    Raises:
        MerchantChangedError: the merchant is no longer what the reviewer saw.
        InvalidTickerError: the ticker is unknown or not listed.
        DecisionNotAllowedError: there is nothing to approve or to reject.
    """
    merchant = Merchant.objects.select_for_update().get(pk=merchant_id)
    if expected_updated_at is not None and merchant.updated_at != expected_updated_at:
        raise MerchantChangedError(_decision_message(merchant))
    company = _company(merchant, action, ticker)
    if action == Action.REJECT and merchant.status not in WAITING_STATUSES:
        raise DecisionNotAllowedError(
            "Only a proposal can be rejected; correct the ticker or say that it is not listed."
        )
    first = None
    limit = FOUR_EYES_LIMIT.get()
    if limit and action != Action.REJECT and merchant.waiting_amount >= limit:
        asked = _second_opinion(merchant, action, company, actor, reason)
        if isinstance(asked, PendingDecision):
            return DecisionResult(None, None, asked)
        first = asked
    now, before, since = timezone.now(), merchant_snapshot(merchant), _waiting_since(merchant)
    rejected = before["ticker"] if action != Action.APPROVE else None
    if rejected and (company is None or rejected != company.ticker) and rejected not in merchant.rejected_tickers:
        merchant.rejected_tickers = [*merchant.rejected_tickers, rejected]
    merchant.ticker = company.ticker if company else None
    merchant.company_name = company.name if company else ""
    merchant.status = {
        Action.APPROVE: Merchant.Status.APPROVED,
        Action.CORRECT: Merchant.Status.APPROVED,
        Action.NOT_LISTED: Merchant.Status.NOT_LISTED,
        Action.REJECT: Merchant.Status.REJECTED,
    }[action]
    if company:
        merchant.rejected_tickers = [ticker for ticker in merchant.rejected_tickers if ticker != company.ticker]
    merchant.source, merchant.decided_by, merchant.decided_at = Merchant.Source.ADMIN, actor, now
    # Nothing is sure about a merchant whose proposal was wrong; everything about one that a person decided.
    merchant.confidence = Decimal(0) if action == Action.REJECT else Decimal(1)
    merchant.save(update_fields=DECISION_FIELDS)
    decision = MappingDecision.objects.create(
        merchant_key=merchant.merchant_key,
        action=action,
        before=before,
        after=merchant_snapshot(merchant),
        reason=reason[:500],
        decided_by=actor,
        first_reviewer=first,
        decided_at=now,
        released_count=0 if action == Action.REJECT else merchant.waiting_count,
        waited_seconds=max(0, int((now - since).total_seconds())) if since else None,
    )
    _log(merchant, decision, reason)
    invalidate_mappings()
    task = None
    if release and action != Action.REJECT:
        task = _release([merchant], [decision], actor)
    return DecisionResult(decision, task)


DECISION_FIELDS = [
    "ticker",
    "company_name",
    "status",
    "rejected_tickers",
    "source",
    "decided_by",
    "decided_at",
    "confidence",
    "updated_at",
]


def _second_opinion(
    merchant: Merchant, action: Action, company: Company | None, actor: User, reason: str
) -> PendingDecision | User:
    """The first reviewer, when this is the second one agreeing; else what is asked of another reviewer now."""
    ticker = company.ticker if company else ""
    # Approving what was proposed and setting the same ticker are one opinion.
    same = {Action.APPROVE, Action.CORRECT} if company else {action}
    asked = PendingDecision.objects.filter(merchant=merchant).first()
    if asked and asked.requested_by_id != actor.pk and asked.action in same and asked.ticker == ticker:
        first = asked.requested_by
        asked.delete()
        return first
    pending, _ = PendingDecision.objects.update_or_create(
        merchant=merchant,
        defaults={
            "action": action,
            "ticker": ticker,
            "reason": reason[:500],
            "requested_by": actor,
            "requested_at": timezone.now(),
        },
    )
    return pending


def _company(merchant: Merchant, action: Action, ticker: str) -> Company | None:
    """The company that the decision leads to; None for the two decisions that lead to none."""
    if action in {Action.NOT_LISTED, Action.REJECT}:
        if action == Action.REJECT and merchant.ticker is None:
            raise DecisionNotAllowedError(
                "There is no proposal to reject. Correct the ticker, or say that it is not listed."
            )
        return None
    wanted = (merchant.ticker or "") if action == Action.APPROVE else ticker
    wanted = wanted.strip().upper().replace("-", ".")
    if not wanted:
        raise DecisionNotAllowedError(
            "There is no ticker to approve: nobody was proposed." if action == Action.APPROVE else "Give the ticker."
        )
    company = Company.objects.filter(ticker=wanted).first()
    if company is None:
        raise InvalidTickerError(f"{wanted} is not in the company table.")
    if not company.is_listed:
        raise InvalidTickerError(f"{wanted} ({company.name}) is not listed on a US exchange.")
    return company


def _waiting_since(merchant: Merchant) -> datetime | None:
    """When the merchant came into the queue: first seen, or by the decision that put it back. None when it is not there."""
    if merchant.status not in WAITING_STATUSES:
        return None
    last = (
        MappingDecision.objects.filter(merchant_key=merchant.merchant_key, undone_by=None)
        .exclude(action=Action.UNDO)
        .order_by("-pk")
        .values_list("decided_at", flat=True)
        .first()
    )
    return last or merchant.created_at


def _decision_message(merchant: Merchant) -> str:
    who = (merchant.decided_by.name or merchant.decided_by.email) if merchant.decided_by else "the system"
    at = f"{merchant.decided_at:%H:%M}" if merchant.decided_at else "just now"
    now = f"{merchant.get_status_display()}" + (f", {merchant.ticker}" if merchant.ticker else "")
    return f"{merchant.merchant_key} was changed meanwhile by {who} at {at} UTC and is now: {now}. Nothing was changed."


def _log(merchant: Merchant, decision: MappingDecision, reason: str) -> None:
    """Close the open proposals of the merchant, and write down the decision itself."""
    agreed = merchant.ticker is not None and decision.action in {Action.APPROVE, Action.CORRECT}
    open_rows = LlmMapping.objects.filter(
        merchant_name=merchant.display_name, merchant_key=merchant.merchant_key, status=LlmMapping.Status.PENDING
    )
    closed = {"decided_by": decision.decided_by, "ai_decided_at": decision.decided_at}
    if agreed:
        same = open_rows.filter(ticker=merchant.ticker)
        update_log_row(same, status=LlmMapping.Status.APPROVED, admin_approved=True, **closed)
    update_log_row(open_rows, status=LlmMapping.Status.REJECTED, **closed)
    create_log_row(
        merchant_name=merchant.display_name,
        merchant_key=merchant.merchant_key,
        ticker=merchant.ticker,
        category=merchant.category,
        confidence=merchant.confidence or Decimal(0),
        company_name=merchant.company_name,
        status=LlmMapping.Status.REJECTED if decision.action == Action.REJECT else LlmMapping.Status.APPROVED,
        admin_approved=decision.action != Action.REJECT,
        source=LlmMapping.Source.ADMIN,
        ai_reasoning=reason,
        decided_by=decision.decided_by,
        ai_decided_at=decision.decided_at,
        created_at=decision.decided_at,
    )


def _release(merchants: Sequence[Merchant], decisions: Sequence[MappingDecision], actor: User) -> BackgroundTask:
    task = create_task(
        name="release_merchants",
        user=actor,
        arguments={
            "merchant_keys": [merchant.merchant_key for merchant in merchants],
            "decision_ids": [decision.pk for decision in decisions],
        },
    )
    task.total = sum(merchant.waiting_count for merchant in merchants)
    task.save(update_fields=["total"])
    send_task(task=task)
    return task
