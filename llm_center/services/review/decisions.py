"""Decisions of reviewers.

A decision is one database transaction: the row in the directory, an append-only `mapping_decisions` row, the log in
`llm_mappings`, and a background task that releases the waiting transactions. Reviewers never overwrite each other: each
submits the version of the merchant they saw (its `updated_at`), and the second one gets an error. The legacy front end
sends no version; its decisions never replace a different one.

A decision counts from now on; with `include_booked`, a background task also corrects the merchant's booked purchases.

If the setting `four_eyes_limit` is above zero, a decision that releases or corrects that amount or more needs two
reviewers: the first one requests it (`PendingDecision`), and another one makes the same decision. `review.undo` reverts
a decision within ten minutes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import connection, transaction
from django.utils import timezone

from kamioi_site.formatting import money, plural
from llm_center.cache import invalidate_mappings
from llm_center.errors import DecisionNotAllowedError, InvalidTickerError, MerchantChangedError, OwnPurchasesError
from llm_center.live_settings import FOUR_EYES_LIMIT
from llm_center.models import LlmMapping, MappingDecision, PendingDecision
from llm_center.services.mapping_log import create_log_row, update_log_row
from llm_center.services.merchants import merchant_snapshot
from llm_center.services.review.corrections import request_correction
from llm_center.services.review.queue import WAITING_STATUSES
from llm_center.sql import load_sql
from transactions.models import BackgroundTask, Company, Merchant, Transaction, User
from transactions.rules.money import ZERO
from transactions.services.background_tasks import create_task, send_task
from transactions.services.processing import CorrectionEffect, correction_effect

Action = MappingDecision.Action

# Columns of a merchant that a decision writes.
DECISION_FIELDS = [
    "ticker",
    "company_name",
    "status",
    "rejected_tickers",
    "source",
    "decided_by",
    "decided_at",
    "decision_id",
    "confidence",
    "updated_at",
]
# Purchases that re-pointing a merchant concerns, and how many of them are summed.
_RECENT = timedelta(days=30)
_MAX_RECENT = 10_000
REJECTION_CORRECTS_NOTHING = "A rejection cannot correct purchases. Correct the ticker instead."
_STATUSES = {
    Action.APPROVE: Merchant.Status.APPROVED,
    Action.CORRECT: Merchant.Status.APPROVED,
    Action.NOT_LISTED: Merchant.Status.NOT_LISTED,
    Action.REJECT: Merchant.Status.REJECTED,
}


@dataclass(frozen=True, slots=True)
class DecisionEffect:
    """The consequences of a decision, shown before it is made."""

    action: Action
    count: int
    amount: Decimal
    ticker: str
    company_name: str
    text: str


@dataclass(frozen=True, slots=True)
class DecisionResult:
    """A decision, and the task that releases the waiting transactions and corrects the booked ones, if any.

    If a second approval is required, `decision` is None and `pending` is set.
    """

    decision: MappingDecision | None
    task: BackgroundTask | None
    pending: PendingDecision | None = None


def merchant_effect(*, merchant: Merchant, action: Action, actor: User, ticker: str = "") -> DecisionEffect:
    """Describe what the decision would do to the waiting transactions.

    Raises:
        OwnPurchasesError: purchases of the reviewer wait for the decision.
        InvalidTickerError: the ticker is unknown or not listed.
        DecisionNotAllowedError: the merchant has no ticker to approve.
    """
    if find_own_waiting(actor, [merchant.merchant_key]):
        raise OwnPurchasesError
    company = _company(merchant, action, ticker)
    count, amount = merchant.waiting_count, merchant.waiting_amount
    transactions = plural(count, "transaction")
    if company is not None:
        name = f"{company.ticker} ({company.name})"
        text = (
            f"releases {transactions} and invests {money(amount)} of round-ups in {name}, now and for future purchases"
        )
    elif action == Action.NOT_LISTED:
        text = f"closes {transactions} without investing {money(amount)} of round-ups, now and for future purchases"
    else:
        rejected = merchant.ticker or "the proposal"
        text = f"rejects {rejected} permanently; {transactions} with {money(amount)} of round-ups keep waiting"
    return DecisionEffect(
        action=action,
        count=count,
        amount=amount,
        text=text,
        ticker=company.ticker if company else "",
        company_name=company.name if company else "",
    )


def booked_effect(*, merchant: Merchant, action: Action, actor: User, ticker: str = "") -> CorrectionEffect:
    """Return what the decision would do to the booked purchases, if it includes them.

    Raises:
        OwnPurchasesError: purchases of the reviewer would be corrected.
        InvalidTickerError: the ticker is unknown or not listed.
        DecisionNotAllowedError: the merchant has no ticker to approve, or the decision is a rejection.
        CorrectionNotPossibleError: a company whose shares would be returned has no quote.
    """
    if action == Action.REJECT:
        raise DecisionNotAllowedError(REJECTION_CORRECTS_NOTHING)
    company = _company(merchant, action, ticker)
    effect = correction_effect(merchant_key=merchant.merchant_key, ticker=company.ticker if company else None)
    if effect.purchases and Transaction.objects.filter(user=actor, merchant_key=merchant.merchant_key).exists():
        raise OwnPurchasesError("Your own purchases would be corrected. Another reviewer must decide.")
    return effect


@transaction.atomic
def decide_merchant(
    *,
    merchant_id: int,
    action: Action,
    actor: User,
    expected_updated_at: datetime | None,
    ticker: str = "",
    reason: str = "",
    include_booked: bool = False,
    release: bool = True,
) -> DecisionResult:
    """Decide one merchant and schedule the release of its waiting transactions.

    Args:
        expected_updated_at: `updated_at` of the merchant as the reviewer saw it; None if it is unknown, which only
            allows decisions that contradict no other.
        ticker: the right ticker, for `CORRECT`.
        include_booked: correct the booked purchases as well.
        release: False for a caller that releases many merchants at once.

    Raises:
        MerchantChangedError: the merchant has changed since the reviewer saw it, or has been decided otherwise.
        InvalidTickerError: the ticker is unknown or not listed.
        DecisionNotAllowedError: there is nothing to approve or to reject.
        OwnPurchasesError: purchases of the reviewer wait for the decision.
        CorrectionNotPossibleError: a company whose shares would be returned has no quote.
    """
    merchant = Merchant.objects.select_for_update().get(pk=merchant_id)
    if expected_updated_at is not None and merchant.updated_at != expected_updated_at:
        raise MerchantChangedError(_decision_message(merchant))
    if find_own_waiting(actor, [merchant.merchant_key]):
        raise OwnPurchasesError
    company = _company(merchant, action, ticker)
    if expected_updated_at is None and _is_decided_otherwise(merchant, company):
        raise MerchantChangedError(_decision_message(merchant))
    if action == Action.REJECT and merchant.status not in WAITING_STATUSES:
        raise DecisionNotAllowedError("Only a proposal can be rejected; correct the ticker or mark it as not listed.")
    correction = booked_effect(merchant=merchant, action=action, actor=actor, ticker=ticker) if include_booked else None
    first_reviewer = None
    limit, corrected = FOUR_EYES_LIMIT.get(), correction.round_ups if correction else ZERO
    if action != Action.REJECT and needs_two_reviewers(
        merchant, company.ticker if company else None, limit=limit, corrected=corrected
    ):
        approval = _second_approval(merchant, action, company, actor, reason, include_booked=include_booked)
        if isinstance(approval, PendingDecision):
            return DecisionResult(None, None, approval)
        first_reviewer = approval
    now = timezone.now()
    before = merchant_snapshot(merchant)
    waiting_since = _waiting_since(merchant)
    rejected = before["ticker"] if action != Action.APPROVE else None
    if rejected and (company is None or rejected != company.ticker) and rejected not in merchant.rejected_tickers:
        merchant.rejected_tickers = [*merchant.rejected_tickers, rejected]
    if company:
        merchant.rejected_tickers = [ticker for ticker in merchant.rejected_tickers if ticker != company.ticker]
    merchant.ticker = company.ticker if company else None
    merchant.company_name = company.name if company else ""
    merchant.status = _STATUSES[action]
    merchant.source, merchant.decided_by, merchant.decided_at = Merchant.Source.ADMIN, actor, now
    # A reviewer's decision is certain; after a rejection nothing is known.
    merchant.confidence = Decimal(0) if action == Action.REJECT else Decimal(1)
    merchant.decision_id = None
    decision = MappingDecision.objects.create(
        merchant_key=merchant.merchant_key,
        action=action,
        before=before,
        after=merchant_snapshot(merchant),
        reason=reason[:500],
        decided_by=actor,
        first_reviewer=first_reviewer,
        decided_at=now,
        released_count=0 if action == Action.REJECT else merchant.waiting_count,
        corrected_count=correction.purchases if correction else 0,
        waited_seconds=max(0, int((now - waiting_since).total_seconds())) if waiting_since else None,
    )
    merchant.decision_id = decision.pk
    merchant.save(update_fields=DECISION_FIELDS)
    _log_decision(merchant, decision, reason)
    invalidate_mappings()
    task = None
    if correction and correction.purchases:
        task = request_correction(decision, actor=actor)
    elif release and action != Action.REJECT:
        task = request_release([decision], actor=actor)
    return DecisionResult(decision, task)


def request_release(decisions: Sequence[MappingDecision], *, actor: User) -> BackgroundTask:
    """Schedule the release of the transactions that waited for these decisions."""
    keys = [decision.merchant_key for decision in decisions]
    task = create_task(name="release_merchants", user=actor, arguments={"merchant_keys": keys})
    task.total = sum(decision.released_count for decision in decisions)
    task.save(update_fields=["total"])
    send_task(task=task)
    return task


def parse_version(text: str) -> datetime:
    """Parse the version of a merchant. Raises MerchantChangedError when the text is no version."""
    try:
        version = datetime.fromisoformat(text)
    except ValueError:
        raise MerchantChangedError from None
    if version.tzinfo is None:
        raise MerchantChangedError
    return version


def find_own_waiting(user: User, merchant_keys: Sequence[str]) -> set[str]:
    """Return those of the merchants for whose decision purchases of this user wait."""
    rows = Transaction.objects.filter(user=user, merchant_key__in=merchant_keys, status=Transaction.Status.NEEDS_REVIEW)
    return set(rows.values_list("merchant_key", flat=True).distinct())


def needs_two_reviewers(merchant: Merchant, ticker: str | None, *, limit: Decimal, corrected: Decimal = ZERO) -> bool:
    """Return whether the round-ups that a decision for this ticker concerns reach the limit; 0 is no limit.

    They are those of the waiting purchases and of the corrected ones. If an approved merchant gets another ticker or
    none, those of the waiting ones and its purchases of the last 30 days count too. From `_MAX_RECENT` such purchases
    on, two reviewers are always needed.
    """
    if not limit or merchant.waiting_amount + corrected >= limit:
        return bool(limit)
    if merchant.status != Merchant.Status.APPROVED or merchant.ticker == ticker:
        return False
    since = timezone.now() - _RECENT
    with connection.cursor() as cursor:
        cursor.execute(
            load_sql("recent_round_ups"), {"merchant_key": merchant.merchant_key, "since": since, "limit": _MAX_RECENT}
        )
        count, recent = cursor.fetchone()
    return count == _MAX_RECENT or merchant.waiting_amount + recent >= limit


def _is_decided_otherwise(merchant: Merchant, company: Company | None) -> bool:
    """Return whether the merchant has another company by decision, or the company was rejected by the last one."""
    match merchant.status:
        case Merchant.Status.APPROVED | Merchant.Status.NOT_LISTED:
            return merchant.ticker != (company.ticker if company else None)
        case Merchant.Status.REJECTED:
            return company is not None and company.ticker in merchant.rejected_tickers
        case _:
            return False


def _second_approval(
    merchant: Merchant, action: Action, company: Company | None, actor: User, reason: str, *, include_booked: bool
) -> PendingDecision | User:
    """Return the first reviewer if this decision confirms theirs; otherwise store it for confirmation."""
    ticker = company.ticker if company else ""
    # Approving the proposed ticker and setting the same ticker are the same decision.
    same_actions = {Action.APPROVE, Action.CORRECT} if company else {action}
    pending = PendingDecision.objects.filter(merchant=merchant).first()
    if (
        pending
        and pending.requested_by_id != actor.pk
        and pending.action in same_actions
        and (pending.ticker, pending.include_booked) == (ticker, include_booked)
    ):
        first_reviewer = pending.requested_by
        pending.delete()
        return first_reviewer
    pending, _ = PendingDecision.objects.update_or_create(
        merchant=merchant,
        defaults={
            "action": action,
            "ticker": ticker,
            "include_booked": include_booked,
            "reason": reason[:500],
            "requested_by": actor,
            "requested_at": timezone.now(),
        },
    )
    return pending


def _company(merchant: Merchant, action: Action, ticker: str) -> Company | None:
    """Return the company of the decision; None for the two decisions that have none."""
    if action in {Action.NOT_LISTED, Action.REJECT}:
        if action == Action.REJECT and merchant.ticker is None:
            raise DecisionNotAllowedError(
                "There is no proposal to reject. Correct the ticker, or mark the merchant as not listed."
            )
        return None
    ticker = (merchant.ticker or "") if action == Action.APPROVE else ticker
    ticker = ticker.strip().upper().replace("-", ".")
    if not ticker:
        raise DecisionNotAllowedError(
            "There is no proposed ticker to approve." if action == Action.APPROVE else "Enter the ticker."
        )
    company = Company.objects.filter(ticker=ticker).first()
    if company is None:
        raise InvalidTickerError(f"{ticker} is not in the company table.")
    if not company.is_listed:
        raise InvalidTickerError(f"{ticker} ({company.name}) is not listed on a US exchange.")
    return company


def _waiting_since(merchant: Merchant) -> datetime | None:
    """Return when the merchant entered the queue, by its creation or a decision; None if it is not there."""
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
    """Describe the current decision to a reviewer who saw an older state."""
    who = (merchant.decided_by.name or merchant.decided_by.email) if merchant.decided_by else "the system"
    at = f"{merchant.decided_at:%H:%M}" if merchant.decided_at else "just now"
    state = f"{merchant.get_status_display()}" + (f", {merchant.ticker}" if merchant.ticker else "")
    return f"{merchant.merchant_key} was changed by {who} at {at} UTC and is now: {state}. Your decision was not saved."


def _log_decision(merchant: Merchant, decision: MappingDecision, reason: str) -> None:
    """Close the open proposals of the merchant in the log, and add the decision."""
    open_rows = LlmMapping.objects.filter(
        merchant_name=merchant.display_name, merchant_key=merchant.merchant_key, status=LlmMapping.Status.PENDING
    )
    closed = {"decided_by": decision.decided_by, "ai_decided_at": decision.decided_at}
    if merchant.ticker is not None and decision.action in {Action.APPROVE, Action.CORRECT}:
        same = open_rows.filter(ticker=merchant.ticker)
        update_log_row(same, status=LlmMapping.Status.APPROVED, admin_approved=True, **closed)
    update_log_row(open_rows, status=LlmMapping.Status.REJECTED, **closed)
    rejected = decision.action == Action.REJECT
    create_log_row(
        merchant_name=merchant.display_name,
        merchant_key=merchant.merchant_key,
        ticker=merchant.ticker,
        category=merchant.category,
        confidence=merchant.confidence or Decimal(0),
        company_name=merchant.company_name,
        status=LlmMapping.Status.REJECTED if rejected else LlmMapping.Status.APPROVED,
        admin_approved=not rejected,
        source=LlmMapping.Source.ADMIN,
        ai_reasoning=reason,
        decided_by=decision.decided_by,
        ai_decided_at=decision.decided_at,
        created_at=decision.decided_at,
    )
