"""Decisions that name a row of the log, as the legacy front end makes them: they settle the row's merchant."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from django.contrib.admin.models import DELETION
from django.db import transaction
from django.utils import timezone

from kamioi_site.admin.audit_log import audit_log
from kamioi_site.errors import KamioiError
from llm_center import matcher
from llm_center.errors import BulkRowError, DecisionNotAllowedError, InvalidTickerError, MappingAlreadyDecidedError
from llm_center.models import LlmMapping
from llm_center.services.brands import refresh_catalogue
from llm_center.services.calibration import calibrate
from llm_center.services.mapping_log import create_log_row, delete_log_row, update_log_row
from llm_center.services.proposal_queue import auto_approval_threshold
from llm_center.services.review.bulk import request_bulk_decision
from llm_center.services.review.decisions import Action, DecisionResult, decide_merchant
from llm_center.services.review.queue import WAITING_STATUSES, QueueFilter
from transactions.models import BackgroundTask, Company, Merchant, User
from transactions.rules.merchant_key import normalise
from transactions.services.background_tasks import create_task, send_task

MAX_BULK_MAPPINGS = 500


@dataclass(frozen=True, slots=True)
class MappingDecisionResult:
    """A row that was decided. `decided` is None where its merchant was settled that way already."""

    mapping: LlmMapping
    merchant: Merchant
    decided: DecisionResult | None


@transaction.atomic
def approve_mapping(*, mapping_id: int, actor: User, notes: str = "") -> MappingDecisionResult:
    """The row's ticker is right: so for its merchant, and for what waits there. Approving twice is approving once.

    Raises LlmMapping.DoesNotExist, InvalidTickerError, DecisionNotAllowedError.
    """
    mapping = LlmMapping.objects.get(pk=mapping_id)
    if not mapping.ticker:
        raise DecisionNotAllowedError("This mapping has no ticker to approve.")
    merchant = _merchant(mapping)
    decided = None
    settled = merchant.status == Merchant.Status.APPROVED and merchant.ticker == mapping.ticker
    if not (settled and merchant.decided_by_id):
        decided = decide_merchant(
            merchant_id=merchant.pk,
            action=Action.CORRECT,
            ticker=mapping.ticker,
            actor=actor,
            expected_updated_at=None,
            reason=notes,
        )
    if decided is None or decided.decision is not None:  # else another reviewer has to agree first
        _mapping_close(mapping, LlmMapping.Status.APPROVED, actor)
    merchant.refresh_from_db()
    return MappingDecisionResult(mapping, merchant, decided)


@transaction.atomic
def reject_mapping(*, mapping_id: int, actor: User, notes: str = "") -> MappingDecisionResult:
    """The row's ticker is wrong, and is never proposed for its merchant again. Raises LlmMapping.DoesNotExist."""
    mapping = LlmMapping.objects.get(pk=mapping_id)
    merchant, decided = _merchant(mapping), None
    if mapping.ticker and merchant.ticker == mapping.ticker and merchant.status in WAITING_STATUSES:
        decided = decide_merchant(
            merchant_id=merchant.pk, action=Action.REJECT, actor=actor, expected_updated_at=None, reason=notes
        )
    elif mapping.ticker and merchant.ticker == mapping.ticker:
        raise DecisionNotAllowedError(
            f"{mapping.ticker} is approved for {merchant.merchant_key}; correct it in the review queue, so that what was "
            "bought can be undone."
        )
    elif mapping.ticker and mapping.ticker not in merchant.rejected_tickers:
        merchant.rejected_tickers = [*merchant.rejected_tickers, mapping.ticker]
        merchant.save(update_fields=["rejected_tickers", "updated_at"])
    _mapping_close(mapping, LlmMapping.Status.REJECTED, actor)
    merchant.refresh_from_db()
    return MappingDecisionResult(mapping, merchant, decided)


@transaction.atomic
def submit_mapping(
    *,
    merchant_name: str,
    ticker: str,
    category: str,
    company_name: str,
    confidence: Decimal,
    notes: str,
    actor: User,
    source: str,
    transaction_id: int | None = None,
) -> LlmMapping:
    """Somebody proposes an owner. It waits in the log, and beside the merchant in the review queue; nothing is approved.

    Raises DecisionNotAllowedError: nothing of the name names a merchant.
    """
    key = normalise(merchant_name)
    if not key:
        raise DecisionNotAllowedError("Nothing of this name names a merchant.")
    mapping = create_log_row(
        merchant_name=merchant_name[:255],
        merchant_key=key,
        ticker=ticker or None,
        category=category[:100],
        company_name=company_name[:200],
        confidence=confidence,
        source=source,
        user=actor,
        ai_reasoning=notes,
        transaction_id=transaction_id,
    )
    _show_to_reviewers(mapping, actor)
    return mapping


@transaction.atomic
def edit_mapping(
    *, mapping_id: int, merchant_name: str, ticker: str, category: str, company_name: str | None, actor: User
) -> LlmMapping:
    """Change a proposal that nobody decided yet. It goes on waiting, and the reviewer sees the new ticker beside the merchant.

    Raises LlmMapping.DoesNotExist, BulkRowError, MappingAlreadyDecidedError, InvalidTickerError, DecisionNotAllowedError.
    """
    mapping = _open_mapping(mapping_id)
    key = normalise(merchant_name)
    if not key:
        raise DecisionNotAllowedError("Nothing of this name names a merchant.")
    company = Company.objects.filter(ticker=ticker).first()
    if company is None or not company.is_listed:
        raise InvalidTickerError(f"{ticker} is not a listed company.")
    before = f"{mapping.merchant_name} → {mapping.ticker or 'nobody'}"
    changes = {
        "merchant_name": merchant_name[:255],
        "merchant_key": key,
        "ticker": ticker,
        "category": category[:100],
        "company_name": (company.name if company_name is None else company_name)[:200],
    }
    update_log_row(
        LlmMapping.objects.filter(pk=mapping.pk, created_at=mapping.created_at), status=mapping.status, **changes
    )
    for name, value in changes.items():
        setattr(mapping, name, value)
    _show_to_reviewers(mapping, actor)
    audit_log(actor, f"{before} became {mapping.merchant_name} → {mapping.ticker}", target=mapping)
    return mapping


@transaction.atomic
def delete_mapping(*, mapping_id: int, actor: User) -> None:
    """Take a proposal that nobody decided out of the log. Raises LlmMapping.DoesNotExist, BulkRowError, MappingAlreadyDecidedError."""
    mapping = _open_mapping(mapping_id)
    message = f"{mapping.merchant_name} → {mapping.ticker or 'no company'} ({mapping.source})"
    audit_log(actor, message, target=mapping, action=DELETION)
    delete_log_row(LlmMapping.objects.filter(pk=mapping.pk, created_at=mapping.created_at))


def _open_mapping(mapping_id: int) -> LlmMapping:
    mapping = LlmMapping.objects.select_for_update(of=("self",)).get(pk=mapping_id)
    if mapping.source == LlmMapping.Source.BULK:
        raise BulkRowError
    if mapping.status != LlmMapping.Status.PENDING:
        raise MappingAlreadyDecidedError
    return mapping


@dataclass(frozen=True, slots=True)
class ReconsiderResult:
    """What the matcher makes of a row now. `stored` says whether the row carries it."""

    mapping: LlmMapping
    ticker: str | None
    confidence: Decimal
    reason: str
    verdict: str
    milliseconds: float
    stored: bool


def reconsider_mapping(*, mapping_id: int) -> ReconsiderResult:
    """Look a row up anew with the matcher; nothing is approved by it.

    An open proposal of a machine takes the answer over. What a person wrote, and what is decided, stays as it is. A model is
    asked by the queue alone: it takes seconds.

    Raises LlmMapping.DoesNotExist.
    """
    mapping = LlmMapping.objects.get(pk=mapping_id)
    refresh_catalogue()
    started = time.perf_counter()
    found = calibrate(matcher.propose(mapping.merchant_key, mapping.merchant_name, mapping.category), {})
    milliseconds = round((time.perf_counter() - started) * 1000, 3)
    if found.ticker and not Company.objects.filter(ticker=found.ticker, is_listed=True).exists():
        found = replace(
            found, ticker=None, confidence=Decimal(0), reason=f"{found.ticker} is not listed. {found.reason}"
        )
    threshold = auto_approval_threshold()
    if not found.confidence:
        verdict = "uncertain"
    else:
        verdict = "approved" if threshold is not None and found.confidence >= threshold else "review_required"
    machine = mapping.source in {LlmMapping.Source.MATCHER, LlmMapping.Source.LLM}
    stored = machine and mapping.status == LlmMapping.Status.PENDING
    if stored:
        with transaction.atomic():
            open_row = LlmMapping.objects.filter(
                pk=mapping.pk, created_at=mapping.created_at, status=LlmMapping.Status.PENDING
            )
            # The confidence is summed in the figures of the day: out with the old one, in with the new one.
            written = update_log_row(
                open_row,
                ticker=found.ticker,
                company_name=found.company_name[:200],
                confidence=found.confidence,
                ai_processed=True,
                ai_reasoning=found.reason,
                ai_model_version="matcher",
                ai_processing_ms=int(milliseconds),
                source=LlmMapping.Source.MATCHER,
            )
        stored = written > 0
    return ReconsiderResult(mapping, found.ticker, found.confidence, found.reason, verdict, milliseconds, stored)


def request_pending_approval(*, min_confidence: Decimal, actor: User) -> BackgroundTask:
    """Approve, in the background, every waiting merchant whose proposal is at least this sure, as of now.

    Raises DecisionNotAllowedError: no confidence is named.
    """
    return request_bulk_decision(
        queue_filter=QueueFilter(confidence=min_confidence), action=Action.APPROVE, actor=actor, until=timezone.now()
    )


def _show_to_reviewers(mapping: LlmMapping, actor: User) -> None:
    """Show the proposed ticker beside the merchant, where that still waits for a decision."""
    merchant = _merchant(mapping)
    known = {one["ticker"] for one in merchant.alternatives}
    if mapping.ticker and merchant.status in WAITING_STATUSES and mapping.ticker not in known:
        told = {"ticker": mapping.ticker, "company_name": mapping.company_name, "brand": f"proposed by {actor.email}"}
        merchant.alternatives = [*merchant.alternatives, told][-10:]
        merchant.save(update_fields=["alternatives", "updated_at"])


def request_queue_run(*, actor: User) -> BackgroundTask:
    """Ask for a run of the LLM queue now; the task says what it did."""
    with transaction.atomic():
        task = create_task(name="run_llm_queue", user=actor, arguments={})
        send_task(task=task)
    return task


def decide_mappings(*, mapping_ids: Sequence[int], approve: bool, actor: User) -> tuple[int, list[dict[str, object]]]:
    """Several rows, each by itself: (how many were decided, [{mapping_id, error}] of the others).

    Raises DecisionNotAllowedError for more than 500 at once.
    """
    if len(mapping_ids) > MAX_BULK_MAPPINGS:
        raise DecisionNotAllowedError(f"At most {MAX_BULK_MAPPINGS} mappings at once.")
    done = 0
    refused: list[dict[str, object]] = []
    for mapping_id in dict.fromkeys(mapping_ids):
        try:
            (approve_mapping if approve else reject_mapping)(mapping_id=mapping_id, actor=actor)
        except LlmMapping.DoesNotExist:
            refused.append({"mapping_id": mapping_id, "error": "There is no such mapping."})
        except KamioiError as error:
            refused.append({"mapping_id": mapping_id, "error": str(error)})
        else:
            done += 1
    return done, refused


def _merchant(mapping: LlmMapping) -> Merchant:
    merchant, _ = Merchant.objects.get_or_create(
        merchant_key=mapping.merchant_key,
        defaults={"display_name": mapping.merchant_name, "source": Merchant.Source.INGEST},
    )
    return merchant


def _mapping_close(mapping: LlmMapping, status: str, actor: User) -> None:
    mapping.status, mapping.admin_approved = status, status == LlmMapping.Status.APPROVED
    mapping.decided_by, mapping.ai_decided_at = actor, timezone.now()
    update_log_row(
        LlmMapping.objects.filter(pk=mapping.pk, created_at=mapping.created_at),
        status=status,
        admin_approved=mapping.admin_approved,
        decided_by=actor,
        ai_decided_at=mapping.ai_decided_at,
    )
