"""Decisions that name a row of the log, as the legacy front end makes them: they settle the row's merchant."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.db import transaction
from django.utils import timezone

from kamioi_site.errors import KamioiError
from llm_center.errors import DecisionRefused
from llm_center.models import LlmMapping
from llm_center.services.log import log_create, log_update
from llm_center.services.review import WAITING, Action, Decided, merchant_decide
from transactions.models import BackgroundTask, Merchant, User
from transactions.normalise import normalise
from transactions.services.background import task_create, task_send

MOST_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class MappingDecided:
    """A row that was decided. `decided` is None where its merchant was settled that way already."""

    mapping: LlmMapping
    merchant: Merchant
    decided: Decided | None


@transaction.atomic
def mapping_approve(*, mapping_id: int, by: User, notes: str = "") -> MappingDecided:
    """The row's ticker is right: so for its merchant, and for what waits there. Approving twice is approving once.

    Raises LlmMapping.DoesNotExist, TickerRefused, DecisionRefused.
    """
    mapping = LlmMapping.objects.get(pk=mapping_id)
    if not mapping.ticker:
        raise DecisionRefused("This mapping has no ticker to approve.")
    merchant = _merchant(mapping)
    decided = None
    settled = merchant.status == Merchant.Status.APPROVED and merchant.ticker == mapping.ticker
    if not (settled and merchant.decided_by_id):
        decided = merchant_decide(
            merchant_id=merchant.pk, action=Action.CORRECT, ticker=mapping.ticker, by=by, seen=None, reason=notes
        )
    if decided is None or decided.decision is not None:  # else another reviewer has to agree first
        _mapping_close(mapping, LlmMapping.Status.APPROVED, by)
    merchant.refresh_from_db()
    return MappingDecided(mapping, merchant, decided)


@transaction.atomic
def mapping_reject(*, mapping_id: int, by: User, notes: str = "") -> MappingDecided:
    """The row's ticker is wrong, and is never proposed for its merchant again. Raises LlmMapping.DoesNotExist."""
    mapping = LlmMapping.objects.get(pk=mapping_id)
    merchant, decided = _merchant(mapping), None
    if mapping.ticker and merchant.ticker == mapping.ticker and merchant.status in WAITING:
        decided = merchant_decide(merchant_id=merchant.pk, action=Action.REJECT, by=by, seen=None, reason=notes)
    elif mapping.ticker and merchant.ticker == mapping.ticker:
        raise DecisionRefused(
            f"{mapping.ticker} is approved for {merchant.merchant_key}; correct it in the review queue, so that what was "
            "bought can be undone."
        )
    elif mapping.ticker and mapping.ticker not in merchant.rejected_tickers:
        merchant.rejected_tickers = [*merchant.rejected_tickers, mapping.ticker]
        merchant.save(update_fields=["rejected_tickers", "updated_at"])
    _mapping_close(mapping, LlmMapping.Status.REJECTED, by)
    merchant.refresh_from_db()
    return MappingDecided(mapping, merchant, decided)


@transaction.atomic
def mapping_submit(
    *, merchant_name: str, ticker: str, category: str, company_name: str, confidence: Decimal, notes: str, by: User, source: str,
    transaction_id: int | None = None,
) -> LlmMapping:  # fmt: skip
    """Somebody proposes an owner. It waits in the log, and beside the merchant in the review queue; nothing is approved.

    Raises DecisionRefused: nothing of the name names a merchant.
    """
    key = normalise(merchant_name)
    if not key:
        raise DecisionRefused("Nothing of this name names a merchant.")
    mapping = log_create(
        merchant_name=merchant_name[:255], merchant_key=key, ticker=ticker or None, category=category[:100],
        company_name=company_name[:200], confidence=confidence, source=source, user=by, ai_reasoning=notes,
        transaction_id=transaction_id,
    )  # fmt: skip
    merchant = _merchant(mapping)
    told = {"ticker": ticker, "company_name": company_name[:200], "brand": f"proposed by {by.email}"}
    if ticker and merchant.status in WAITING and ticker not in {one["ticker"] for one in merchant.alternatives}:
        merchant.alternatives = [*merchant.alternatives, told][-10:]
        merchant.save(update_fields=["alternatives", "updated_at"])
    return mapping


def queue_run_request(*, by: User) -> BackgroundTask:
    """Ask for a run of the LLM queue now; the task says what it did."""
    with transaction.atomic():
        task = task_create(name="run_llm_queue", user=by, arguments={})
        task_send(task=task)
    return task


def mappings_decide(*, mapping_ids: Sequence[int], approve: bool, by: User) -> tuple[int, list[dict[str, object]]]:
    """Several rows, each by itself: (how many were decided, [{mapping_id, error}] of the others).

    Raises DecisionRefused for more than 500 at once.
    """
    if len(mapping_ids) > MOST_AT_ONCE:
        raise DecisionRefused(f"At most {MOST_AT_ONCE} mappings at once.")
    done = 0
    refused: list[dict[str, object]] = []
    for mapping_id in dict.fromkeys(mapping_ids):
        try:
            (mapping_approve if approve else mapping_reject)(mapping_id=mapping_id, by=by)
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


def _mapping_close(mapping: LlmMapping, status: str, by: User) -> None:
    mapping.status, mapping.admin_approved = status, status == LlmMapping.Status.APPROVED
    mapping.decided_by, mapping.ai_decided_at = by, timezone.now()
    log_update(
        LlmMapping.objects.filter(pk=mapping.pk, created_at=mapping.created_at),
        status=status,
        admin_approved=mapping.admin_approved,
        decided_by=by,
        ai_decided_at=mapping.ai_decided_at,
    )
