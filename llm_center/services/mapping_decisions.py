"""Decisions on rows of the log, as the legacy front end makes them: each settles the row's merchant."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from django.contrib.admin.models import DELETION
from django.db import transaction
from django.utils import timezone

from kamioi_site.admin.audit_log import audit_log
from kamioi_site.errors import KamioiError
from llm_center.errors import BulkRowError, DecisionNotAllowedError, InvalidTickerError, MappingAlreadyDecidedError
from llm_center.models import LlmMapping
from llm_center.services.mapping_log import create_log_row, delete_log_row, update_log_row
from llm_center.services.matching import propose_owner
from llm_center.services.proposal_queue import auto_approval_threshold
from llm_center.services.review.bulk import request_bulk_decision
from llm_center.services.review.decisions import (
    REJECTION_CORRECTS_NOTHING,
    Action,
    DecisionResult,
    booked_effect,
    decide_merchant,
    parse_version,
)
from llm_center.services.review.queue import WAITING_STATUSES, QueueFilter
from transactions.models import BackgroundTask, Company, Merchant, User
from transactions.rules.merchant_key import normalise
from transactions.services.background_tasks import create_task, send_task
from transactions.services.processing import CorrectionEffect

MAX_BULK_MAPPINGS = 500
# Alternatives that a merchant keeps for its reviewer.
MAX_ALTERNATIVES = 10


@dataclass(frozen=True, slots=True)
class MappingDecisionResult:
    """A decided row. `decided` is None if its merchant already had that decision."""

    mapping: LlmMapping
    merchant: Merchant
    decided: DecisionResult | None


@transaction.atomic
def approve_mapping(
    *, mapping_id: int, actor: User, notes: str = "", version: str | None = None, include_booked: bool = False
) -> MappingDecisionResult:
    """Approve the row's ticker for its merchant and all waiting transactions; a second approval changes nothing.

    Raises LlmMapping.DoesNotExist, and the errors of `decide_merchant`.

    Args:
        version: of the merchant as the reviewer saw it; None if it is unknown.
        include_booked: correct the merchant's booked purchases as well.
    """
    mapping = LlmMapping.objects.get(pk=mapping_id)
    if not mapping.ticker:
        raise DecisionNotAllowedError("This mapping has no ticker to approve.")
    merchant = _get_or_create_merchant(mapping)
    decided = None
    approved = merchant.status == Merchant.Status.APPROVED and merchant.ticker == mapping.ticker
    if include_booked or not (approved and merchant.decided_by_id):
        decided = decide_merchant(
            merchant_id=merchant.pk,
            action=Action.CORRECT,
            ticker=mapping.ticker,
            actor=actor,
            expected_updated_at=None if version is None else parse_version(version),
            reason=notes,
            include_booked=include_booked,
        )
    if decided is None or decided.decision is not None:  # otherwise a second approval is required first
        _close_mapping(mapping, LlmMapping.Status.APPROVED, actor)
    merchant.refresh_from_db()
    return MappingDecisionResult(mapping, merchant, decided)


def correction_of_mapping(*, mapping_id: int, actor: User) -> CorrectionEffect:
    """Return what approving the row would do to booked purchases, if it includes them. Raises as `approve_mapping`."""
    mapping = LlmMapping.objects.get(pk=mapping_id)
    merchant = Merchant.objects.filter(merchant_key=mapping.merchant_key).first() or Merchant()
    return booked_effect(merchant=merchant, action=Action.CORRECT, actor=actor, ticker=mapping.ticker or "")


@transaction.atomic
def reject_mapping(
    *, mapping_id: int, actor: User, notes: str = "", version: str | None = None, include_booked: bool = False
) -> MappingDecisionResult:
    """Reject the row's ticker, so that it is never proposed for its merchant again.

    Raises LlmMapping.DoesNotExist, and the errors of `decide_merchant`.

    Args:
        version: of the merchant as the reviewer saw it; None if it is unknown.
        include_booked: refused, because a rejection has no other company.
    """
    mapping = LlmMapping.objects.get(pk=mapping_id)
    if include_booked:
        raise DecisionNotAllowedError(REJECTION_CORRECTS_NOTHING)
    merchant, decided = _get_or_create_merchant(mapping), None
    if mapping.ticker and merchant.ticker == mapping.ticker:
        decided = decide_merchant(
            merchant_id=merchant.pk,
            action=Action.REJECT,
            actor=actor,
            expected_updated_at=None if version is None else parse_version(version),
            reason=notes,
        )
    elif mapping.ticker and mapping.ticker not in merchant.rejected_tickers:
        merchant.rejected_tickers = [*merchant.rejected_tickers, mapping.ticker]
        merchant.save(update_fields=["rejected_tickers", "updated_at"])
    _close_mapping(mapping, LlmMapping.Status.REJECTED, actor)
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
    """Propose an owner. It waits in the log and is shown to the merchant's reviewer; nothing is approved.

    Raises DecisionNotAllowedError: the name contains no merchant.
    """
    mapping = create_log_row(
        merchant_name=merchant_name[:255],
        merchant_key=_merchant_key(merchant_name),
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
    """Change an undecided proposal. It keeps waiting, and the reviewer sees the new ticker.

    Raises LlmMapping.DoesNotExist, BulkRowError, MappingAlreadyDecidedError, InvalidTickerError,
    DecisionNotAllowedError.
    """
    mapping = _get_open_mapping(mapping_id)
    key = _merchant_key(merchant_name)
    company = Company.objects.filter(ticker=ticker).first()
    if company is None or not company.is_listed:
        raise InvalidTickerError(f"{ticker} is not a listed company.")
    before = str(mapping)
    changes = {
        "merchant_name": merchant_name[:255],
        "merchant_key": key,
        "ticker": ticker,
        "category": category[:100],
        "company_name": (company.name if company_name is None else company_name)[:200],
    }
    _update_mapping(mapping, status=mapping.status, **changes)
    for name, value in changes.items():
        setattr(mapping, name, value)
    _show_to_reviewers(mapping, actor)
    audit_log(actor, f"{before} became {mapping}", target=mapping)
    return mapping


@transaction.atomic
def correct_decided_mapping(
    *, mapping_id: int, merchant_name: str, ticker: str, category: str, actor: User
) -> DecisionResult:
    """Correct the ticker of an approved row's merchant from now on, if the row is still its decision.

    Raises LlmMapping.DoesNotExist, MappingAlreadyDecidedError, and the errors of `decide_merchant`.
    """
    mapping = LlmMapping.objects.get(pk=mapping_id)
    if (merchant_name, category) != (mapping.merchant_name, mapping.category):
        raise MappingAlreadyDecidedError("This mapping has been decided: only its ticker can be corrected.")
    merchant = Merchant.objects.select_for_update().filter(merchant_key=mapping.merchant_key).first()
    current = merchant is not None and (merchant.status, merchant.ticker) == (mapping.status, mapping.ticker)
    if merchant is None or not current or mapping.status != LlmMapping.Status.APPROVED or ticker == mapping.ticker:
        raise MappingAlreadyDecidedError
    return decide_merchant(
        merchant_id=merchant.pk,
        action=Action.CORRECT,
        ticker=ticker,
        actor=actor,
        expected_updated_at=merchant.updated_at,
    )


@transaction.atomic
def teach_mapping(*, merchant_name: str, ticker: str, category: str, actor: User) -> MappingDecisionResult:
    """Propose an owner and approve it at once. Raises as `submit_mapping` and `approve_mapping`."""
    mapping = submit_mapping(
        merchant_name=merchant_name,
        ticker=ticker,
        category=category,
        company_name="",
        confidence=Decimal(1),
        notes="",
        actor=actor,
        source=LlmMapping.Source.ADMIN,
    )
    return approve_mapping(mapping_id=mapping.pk, actor=actor)


@transaction.atomic
def delete_mapping(*, mapping_id: int, actor: User) -> None:
    """Delete an undecided proposal. Raises LlmMapping.DoesNotExist, BulkRowError, MappingAlreadyDecidedError."""
    mapping = _get_open_mapping(mapping_id)
    audit_log(actor, f"{mapping} ({mapping.source})", target=mapping, action=DELETION)
    delete_log_row(LlmMapping.objects.filter(pk=mapping.pk, created_at=mapping.created_at))


@dataclass(frozen=True, slots=True)
class ReconsiderResult:
    """The matcher's new proposal for a row. `stored` is true if the row was updated with it."""

    mapping: LlmMapping
    ticker: str | None
    confidence: Decimal
    reason: str
    verdict: str
    milliseconds: float
    stored: bool


def reconsider_mapping(*, mapping_id: int) -> ReconsiderResult:
    """Run the matcher on a row again; nothing is approved.

    The new proposal is stored if the row is an open proposal of the matcher or a model. Rows written by users and
    decided rows are not changed. Models are used only by the queue, because they take seconds.

    Raises LlmMapping.DoesNotExist.
    """
    mapping = LlmMapping.objects.get(pk=mapping_id)
    started = time.perf_counter()
    proposal = propose_owner(mapping.merchant_key, mapping.merchant_name, mapping.category)
    milliseconds = round((time.perf_counter() - started) * 1000, 3)
    if proposal.ticker and not Company.objects.filter(ticker=proposal.ticker, is_listed=True).exists():
        reason = f"{proposal.ticker} is not listed. {proposal.reason}"
        proposal = replace(proposal, ticker=None, confidence=Decimal(0), reason=reason)
    threshold = auto_approval_threshold()
    if not proposal.confidence:
        verdict = "uncertain"
    else:
        verdict = "approved" if threshold is not None and proposal.proven >= threshold else "review_required"
    stored = False
    if mapping.source in {LlmMapping.Source.MATCHER, LlmMapping.Source.LLM}:
        stored = bool(
            _update_mapping(
                mapping,
                only_status=LlmMapping.Status.PENDING,
                ticker=proposal.ticker,
                company_name=proposal.company_name[:200],
                confidence=proposal.confidence,
                ai_processed=True,
                ai_reasoning=proposal.reason,
                ai_model_version="matcher",
                ai_processing_ms=int(milliseconds),
                source=LlmMapping.Source.MATCHER,
            )
        )
    return ReconsiderResult(
        mapping, proposal.ticker, proposal.confidence, proposal.reason, verdict, milliseconds, stored
    )


def request_pending_approval(*, min_confidence: Decimal, actor: User) -> BackgroundTask:
    """Schedule the approval of every waiting merchant with at least this confidence.

    Raises DecisionNotAllowedError: the confidence is 0.
    """
    return request_bulk_decision(
        queue_filter=QueueFilter(confidence=min_confidence), action=Action.APPROVE, actor=actor, until=timezone.now()
    )


def request_queue_run(*, actor: User) -> BackgroundTask:
    with transaction.atomic():
        task = create_task(name="run_llm_queue", user=actor, arguments={})
        send_task(task=task)
    return task


def decide_mappings(
    *, versions: Mapping[int, str | None], approve: bool, actor: User
) -> tuple[int, list[dict[str, object]]]:
    """Decide several rows one by one; return the number decided, and [{mapping_id, error}] of the others.

    Raises DecisionNotAllowedError: more than `MAX_BULK_MAPPINGS` rows.

    Args:
        versions: of the merchants of the rows, by the id of the row; None if it is unknown.
    """
    if len(versions) > MAX_BULK_MAPPINGS:
        raise DecisionNotAllowedError(f"At most {MAX_BULK_MAPPINGS} mappings at once.")
    decided = 0
    errors: list[dict[str, object]] = []
    for mapping_id, version in versions.items():
        try:
            (approve_mapping if approve else reject_mapping)(mapping_id=mapping_id, actor=actor, version=version)
        except LlmMapping.DoesNotExist:
            errors.append({"mapping_id": mapping_id, "error": "There is no such mapping."})
        except KamioiError as error:
            errors.append({"mapping_id": mapping_id, "error": str(error)})
        else:
            decided += 1
    return decided, errors


def _merchant_key(merchant_name: str) -> str:
    key = normalise(merchant_name)
    if not key:
        raise DecisionNotAllowedError("This name contains no merchant.")
    return key


def _get_open_mapping(mapping_id: int) -> LlmMapping:
    mapping = LlmMapping.objects.select_for_update(of=("self",)).get(pk=mapping_id)
    if mapping.source == LlmMapping.Source.BULK:
        raise BulkRowError
    if mapping.status != LlmMapping.Status.PENDING:
        raise MappingAlreadyDecidedError
    return mapping


def _get_or_create_merchant(mapping: LlmMapping) -> Merchant:
    merchant, _ = Merchant.objects.select_for_update().get_or_create(
        merchant_key=mapping.merchant_key,
        defaults={"display_name": mapping.merchant_name, "source": Merchant.Source.INGEST},
    )
    return merchant


def _show_to_reviewers(mapping: LlmMapping, actor: User) -> None:
    """Add the proposed ticker to the merchant's alternatives while it waits for a decision."""
    merchant = _get_or_create_merchant(mapping)
    known = {row["ticker"] for row in merchant.alternatives}
    if mapping.ticker and merchant.status in WAITING_STATUSES and mapping.ticker not in known:
        brand = f"proposed by {actor.email}"
        row = {"ticker": mapping.ticker, "company_name": mapping.company_name, "brand": brand}
        merchant.alternatives = [*merchant.alternatives, row][-MAX_ALTERNATIVES:]
        merchant.save(update_fields=["alternatives", "updated_at"])


def _close_mapping(mapping: LlmMapping, status: str, actor: User) -> None:
    mapping.status, mapping.admin_approved = status, status == LlmMapping.Status.APPROVED
    mapping.decided_by, mapping.ai_decided_at = actor, timezone.now()
    _update_mapping(
        mapping,
        status=status,
        admin_approved=mapping.admin_approved,
        decided_by=actor,
        ai_decided_at=mapping.ai_decided_at,
    )


@transaction.atomic
def _update_mapping(mapping: LlmMapping, *, only_status: str = "", **values: object) -> int:
    """Update the row, if it still has `only_status` where that is given; return the number of rows updated."""
    rows = LlmMapping.objects.filter(pk=mapping.pk, created_at=mapping.created_at)
    return update_log_row(rows.filter(status=only_status) if only_status else rows, **values)
