"""What a reviewer decides about a merchant, and what that sets in motion.

A decision is one database transaction: the directory row, an append-only `mapping_decisions` row, the log in
`llm_mappings`, and a background task that releases what waits. Two reviewers never overwrite each other: each says
which state of the merchant they looked at (`seen`, its `updated_at`), and the second one is told instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.db.models import Sum
from django.utils import timezone

from llm_center.errors import DecisionRefused, MerchantChanged, TickerRefused
from llm_center.models import LlmMapping, MappingDecision
from llm_center.services.proposals import merchant_state
from transactions.models import BackgroundTask, Company, Merchant, User
from transactions.services.background import task_create, task_send

Action = MappingDecision.Action
WAITING = (Merchant.Status.PROPOSED, Merchant.Status.REJECTED)


@dataclass(frozen=True, slots=True)
class Effect:
    """What a decision will do, said before it is made."""

    action: Action
    count: int
    amount: Decimal
    ticker: str
    company_name: str
    text: str


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision made, and the task that releases what waited (None when nothing does)."""

    decision: MappingDecision
    task: BackgroundTask | None


def merchant_effect(*, merchant: Merchant, action: Action, ticker: str = "") -> Effect:
    """What the decision will do to what waits now.

    Raises:
        TickerRefused: the ticker is unknown or not listed.
        DecisionRefused: the merchant has no ticker to approve.
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
    return Effect(
        action=action, count=count, amount=amount, text=text,
        ticker=company.ticker if company else "", company_name=company.name if company else "",
    )  # fmt: skip


@transaction.atomic
def merchant_decide(
    *, merchant_id: int, action: Action, by: User, seen: datetime | None, ticker: str = "", reason: str = ""
) -> Decided:
    """Decide one merchant and send the release of what waits for it.

    Args:
        seen: `updated_at` of the merchant that the reviewer looked at; None for a caller that looked at none.
        ticker: the right ticker, for `CORRECT`.

    Raises:
        MerchantChanged: the merchant is no longer what the reviewer saw.
        TickerRefused: the ticker is unknown or not listed.
        DecisionRefused: there is nothing to approve or to reject.
    """
    merchant = Merchant.objects.select_for_update().get(pk=merchant_id)
    if seen is not None and merchant.updated_at != seen:
        raise MerchantChanged(_changed(merchant))
    company = _company(merchant, action, ticker)
    if action == Action.REJECT and merchant.status not in WAITING:
        raise DecisionRefused("Only a proposal can be rejected; correct the ticker or say that it is not listed.")
    now, before = timezone.now(), merchant_state(merchant)
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
    merchant.source, merchant.decided_by, merchant.decided_at = Merchant.Source.ADMIN, by, now
    if action != Action.REJECT:
        merchant.confidence = Decimal(1)
    merchant.save(
        update_fields=[
            "ticker", "company_name", "status", "rejected_tickers", "source", "decided_by", "decided_at", "confidence",
            "updated_at",
        ]
    )  # fmt: skip
    decision = MappingDecision.objects.create(
        merchant_key=merchant.merchant_key, action=action, before=before, after=merchant_state(merchant),
        reason=reason[:500], decided_by=by, released_count=0 if action == Action.REJECT else merchant.waiting_count,
        decided_at=now,
    )  # fmt: skip
    _log(merchant, decision, reason)
    return Decided(decision, None if action == Action.REJECT else _release([merchant], by))


@transaction.atomic
def merchants_decide(*, merchant_ids: Sequence[int], action: Action, by: User) -> tuple[list[Decided], list[str]]:
    """Decide several merchants alike. Returns what was decided and a sentence for each that was not.

    A merchant that somebody decided meanwhile is left alone.
    """
    decided, refused = [], []
    for merchant_id in sorted(merchant_ids):
        merchant = Merchant.objects.get(pk=merchant_id)
        try:
            if merchant.status not in WAITING:
                raise MerchantChanged(_changed(merchant))
            with transaction.atomic():
                decided.append(merchant_decide(merchant_id=merchant_id, action=action, by=by, seen=merchant.updated_at))
        except (MerchantChanged, DecisionRefused, TickerRefused) as error:
            refused.append(f"{merchant.merchant_key}: {error}")
    return decided, refused


def queue_totals() -> tuple[int, int, Decimal]:
    """Merchants in the queue, transactions that wait for them, and the dollars of their round-ups.

    The queue is a part of the directory with an index of its own; one look at it is a look at a few pages.
    """
    waiting = Merchant.objects.filter(status__in=WAITING)
    sums = waiting.aggregate(count=Sum("waiting_count"), amount=Sum("waiting_amount"))
    return waiting.count(), sums["count"] or 0, sums["amount"] or Decimal("0.00")


def _company(merchant: Merchant, action: Action, ticker: str) -> Company | None:
    """The company that the decision leads to; None for the two decisions that lead to none."""
    if action in {Action.NOT_LISTED, Action.REJECT}:
        if action == Action.REJECT and merchant.ticker is None:
            raise DecisionRefused("There is no proposal to reject. Correct the ticker, or say that it is not listed.")
        return None
    wanted = (merchant.ticker or "") if action == Action.APPROVE else ticker
    wanted = wanted.strip().upper().replace("-", ".")
    if not wanted:
        raise DecisionRefused(
            "There is no ticker to approve: nobody was proposed." if action == Action.APPROVE else "Give the ticker."
        )
    company = Company.objects.filter(ticker=wanted).first()
    if company is None:
        raise TickerRefused(f"{wanted} is not in the company table.")
    if not company.is_listed:
        raise TickerRefused(f"{wanted} ({company.name}) is not listed on a US exchange.")
    return company


def _changed(merchant: Merchant) -> str:
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
        open_rows.filter(ticker=merchant.ticker).update(
            status=LlmMapping.Status.APPROVED, admin_approved=True, **closed
        )
    open_rows.update(status=LlmMapping.Status.REJECTED, **closed)
    LlmMapping.objects.create(
        merchant_name=merchant.display_name, merchant_key=merchant.merchant_key, ticker=merchant.ticker,
        category=merchant.category, confidence=merchant.confidence or Decimal(0), company_name=merchant.company_name,
        status=LlmMapping.Status.REJECTED if decision.action == Action.REJECT else LlmMapping.Status.APPROVED,
        admin_approved=decision.action != Action.REJECT, source=LlmMapping.Source.ADMIN, ai_reasoning=reason,
        decided_by=decision.decided_by, ai_decided_at=decision.decided_at, created_at=decision.decided_at,
    )  # fmt: skip


def _release(merchants: Sequence[Merchant], by: User) -> BackgroundTask:
    task = task_create(
        name="release_merchants",
        user=by,
        arguments={"merchant_keys": [merchant.merchant_key for merchant in merchants]},
    )
    task.total = sum(merchant.waiting_count for merchant in merchants)
    task.save(update_fields=["total"])
    task_send(task=task)
    return task
