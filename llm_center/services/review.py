"""What a reviewer decides about a merchant, and what that sets in motion.

A decision is one database transaction: the directory row, an append-only `mapping_decisions` row, the log in
`llm_mappings`, and a background task that releases what waits. Two reviewers never overwrite each other: each says
which state of the merchant they looked at (`seen`, its `updated_at`), and the second one is told instead.

Where the setting `four_eyes_limit` is above zero, a decision that releases as many dollars or more needs two people:
the first asks (`PendingDecision`), another one decides the same. A person's decision can be undone for ten minutes:
the merchant is what it was before, and what was bought meanwhile is corrected by contra entries.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation

from django.db import connection, transaction
from django.db.models import Count, QuerySet, Sum
from django.utils import timezone

from kamioi_site.errors import KamioiError
from llm_center.cache import QUEUE_COUNT, invalidate_mappings
from llm_center.errors import DecisionNotAllowedError, InvalidTickerError, MerchantChangedError, UndoNotAllowedError
from llm_center.models import LlmMapping, MappingDecision, PendingDecision
from llm_center.services.mapping_log import create_log_row, update_log_row
from llm_center.services.proposal_queue import merchant_state
from transactions.errors import SettingError
from transactions.models import BackgroundTask, Company, Merchant, Setting, User
from transactions.services.background_tasks import create_task, send_task
from transactions.services.processing import UndoReleaseResult, release_waiting_transactions, undo_release
from transactions.sql import load_sql

Action = MappingDecision.Action
UNDO_WINDOW = timedelta(minutes=10)
# Merchants decided in one database transaction when many are.
BULK_BATCH = 200
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
class DecisionResult:
    """A decision made, and the task that releases what waited (None when nothing does).

    Where another reviewer has to agree, there is no decision yet but `pending`.
    """

    decision: MappingDecision | None
    task: BackgroundTask | None
    pending: PendingDecision | None = None


def merchant_effect(*, merchant: Merchant, action: Action, ticker: str = "") -> Effect:
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
    return Effect(
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
    seen: datetime | None,
    ticker: str = "",
    reason: str = "",
    release: bool = True,
) -> DecisionResult:
    """Decide one merchant and send the release of what waits for it.

    Args:
        seen: `updated_at` of the merchant that the reviewer looked at; None for a caller that looked at none.
        ticker: the right ticker, for `CORRECT`.
        release: false for a caller that releases many merchants at once.

    Raises:
        MerchantChangedError: the merchant is no longer what the reviewer saw.
        InvalidTickerError: the ticker is unknown or not listed.
        DecisionNotAllowedError: there is nothing to approve or to reject.
    """
    merchant = Merchant.objects.select_for_update().get(pk=merchant_id)
    if seen is not None and merchant.updated_at != seen:
        raise MerchantChangedError(_changed(merchant))
    company = _company(merchant, action, ticker)
    if action == Action.REJECT and merchant.status not in WAITING:
        raise DecisionNotAllowedError(
            "Only a proposal can be rejected; correct the ticker or say that it is not listed."
        )
    first = None
    limit = four_eyes_limit()
    if limit and action != Action.REJECT and merchant.waiting_amount >= limit:
        asked = _second_opinion(merchant, action, company, actor, reason)
        if isinstance(asked, PendingDecision):
            return DecisionResult(None, None, asked)
        first = asked
    now, before, since = timezone.now(), merchant_state(merchant), _waiting_since(merchant)
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
    merchant.save(update_fields=_DECIDED_FIELDS)
    decision = MappingDecision.objects.create(
        merchant_key=merchant.merchant_key,
        action=action,
        before=before,
        after=merchant_state(merchant),
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


_DECIDED_FIELDS = [
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


def four_eyes_limit() -> Decimal:
    """Dollars of waiting round-ups from which two reviewers have to agree; 0 when one is always enough.

    Raises:
        SettingError: the setting is not an amount; nobody decides on a guess.
    """
    text = Setting.objects.filter(key="four_eyes_limit").values_list("value", flat=True).first() or "0"
    try:
        limit = Decimal(text)
    except InvalidOperation:
        limit = Decimal("NaN")
    if not (limit.is_finite() and limit >= 0):
        raise SettingError(f"the setting four_eyes_limit is {text!r}; it must be dollars, 0 for no limit")
    return limit


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


# --- Many at once -----------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class QueueFilter:
    """A part of the review queue: by the beginning of the key, the proposed ticker, and the confidence in 0..1."""

    starts: str = ""
    ticker: str = ""
    confidence: Decimal = Decimal(0)

    def merchants(self) -> QuerySet[Merchant]:
        """Those that wait and fit, in no order."""
        found = Merchant.objects.filter(status__in=WAITING)
        if self.starts:
            found = found.filter(merchant_key__startswith=self.starts.strip().upper())
        if self.ticker:
            found = found.filter(ticker=self.ticker.strip().upper())
        if self.confidence:
            found = found.filter(confidence__gte=self.confidence)
        return found


@dataclass(frozen=True, slots=True)
class BulkEffect:
    """What deciding a part of the queue will do: merchants, transactions, dollars, and the first of them."""

    merchants: int
    transactions: int
    amount: Decimal
    first: list[Merchant]


def bulk_effect(*, chosen: QueueFilter, action: Action) -> BulkEffect:
    """What `run_bulk_decision` will do to what waits now.

    Raises:
        DecisionNotAllowedError: the decision is not one for many merchants, or the filter takes everything.
    """
    found = _bulk_merchants(chosen, action)
    sums = found.aggregate(merchants=Count("pk"), transactions=Sum("waiting_count"), amount=Sum("waiting_amount"))
    return BulkEffect(
        merchants=sums["merchants"],
        transactions=sums["transactions"] or 0,
        amount=sums["amount"] or Decimal("0.00"),
        first=list(found.order_by("-review_priority", "id")[:20]),
    )


def request_bulk_decision(*, chosen: QueueFilter, action: Action, actor: User, until: datetime) -> BackgroundTask:
    """Decide a part of the queue in the background.

    Args:
        until: when the reviewer looked; a merchant that changed after that is left alone.

    Raises:
        DecisionNotAllowedError: the decision is not one for many merchants, or the filter takes everything.
    """
    total = _bulk_merchants(chosen, action).filter(updated_at__lte=until).count()
    with transaction.atomic():
        task = create_task(
            name="decide_merchants",
            user=actor,
            arguments={
                "starts": chosen.starts,
                "ticker": chosen.ticker,
                "confidence": str(chosen.confidence),
                "action": action.value,
                "until": until.isoformat(),
            },
        )
        task.total = total
        task.save(update_fields=["total"])
        send_task(task=task)
    return task


def run_bulk_decision(
    *,
    chosen: QueueFilter,
    action: Action,
    actor: User,
    until: datetime,
    on_progress: Callable[[int], None] | None = None,
) -> tuple[int, int, list[str]]:
    """Decide a part of the queue, a batch a database transaction.

    What is decided no longer waits, so that running it again after a kill goes on with the rest.

    Returns:
        Merchants decided, transactions released, and a sentence for each merchant that was left alone (the first 100).
    """
    decided, released, last, refused = 0, 0, 0, list[str]()
    while True:
        batch = list(
            _bulk_merchants(chosen, action).filter(updated_at__lte=until, pk__gt=last).order_by("pk")[:BULK_BATCH]
        )
        if not batch:
            return decided, released, refused
        last = batch[-1].pk
        made: list[MappingDecision] = []
        with transaction.atomic():
            for merchant in batch:
                try:
                    with transaction.atomic():
                        outcome = decide_merchant(
                            merchant_id=merchant.pk, action=action, actor=actor, seen=merchant.updated_at, release=False
                        )
                except KamioiError as error:
                    refused.append(f"{merchant.merchant_key}: {error}")
                    continue
                if outcome.decision is None:
                    refused.append(f"{merchant.merchant_key}: another reviewer has to agree")
                else:
                    made.append(outcome.decision)
        if made:
            released += release_waiting_transactions(
                merchant_keys=[decision.merchant_key for decision in made],
                decision_ids=[decision.pk for decision in made],
            )
        decided, refused = decided + len(made), refused[:100]
        if on_progress:
            on_progress(decided + len(refused))


def _bulk_merchants(chosen: QueueFilter, action: Action) -> QuerySet[Merchant]:
    if action not in {Action.APPROVE, Action.NOT_LISTED}:
        raise DecisionNotAllowedError(
            "Many merchants can be approved or closed as not listed; the rest is decided one by one."
        )
    if chosen == QueueFilter():
        raise DecisionNotAllowedError("Say which merchants: by the beginning, the ticker or the confidence.")
    found = chosen.merchants()
    return found.filter(ticker__isnull=False) if action == Action.APPROVE else found


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
    before = merchant_state(merchant)
    merchant.status, merchant.ticker, merchant.company_name = state["status"], state["ticker"], state["company_name"]
    merchant.confidence = None if state["confidence"] is None else Decimal(state["confidence"])
    merchant.source, merchant.rejected_tickers = state["source"], state["rejected_tickers"]
    merchant.decided_by_id = state["decided_by"]
    merchant.decided_at = state["decided_at"] and datetime.fromisoformat(state["decided_at"])
    merchant.save(update_fields=_DECIDED_FIELDS)
    undone = MappingDecision.objects.create(
        merchant_key=merchant.merchant_key,
        action=Action.UNDO,
        before=before,
        after=merchant_state(merchant),
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


def queue_totals() -> tuple[int, int, Decimal]:
    """Merchants in the queue, transactions that wait for them, and the dollars of their round-ups.

    The queue is a part of the directory with an index of its own; one look at it is a look at a few pages.
    """
    sums = Merchant.objects.filter(status__in=WAITING).aggregate(
        merchants=Count("pk"), count=Sum("waiting_count"), amount=Sum("waiting_amount")
    )
    return sums["merchants"], sums["count"] or 0, sums["amount"] or Decimal("0.00")


def queue_totals_cached() -> tuple[int, int, Decimal]:
    """`queue_totals`, counted once for everybody who looks until something in the queue changes."""
    return QUEUE_COUNT.get(queue_totals)


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
    if merchant.status not in WAITING:
        return None
    last = (
        MappingDecision.objects.filter(merchant_key=merchant.merchant_key, undone_by=None)
        .exclude(action=Action.UNDO)
        .order_by("-pk")
        .values_list("decided_at", flat=True)
        .first()
    )
    return last or merchant.created_at


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
