"""The LLM queue: merchants that nobody knows get a proposal; what is sure enough is decided at once.

Work is done merchant by merchant, not purchase by purchase: one proposal settles every waiting and future purchase.
A proposal is decided without a reviewer when its confidence reaches the setting `confidence_threshold` and
`auto_approval_enabled` is true, and only in two ways: an owner that the company table lists, or the knowledge that
there is nobody to invest in. Everything else waits in the review queue with its reason.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection, transaction
from django.utils import timezone
from psycopg2.extras import Json, execute_values

from llm_center import matcher
from llm_center.cache import invalidate_mappings
from llm_center.calibration import Calibration
from llm_center.live_settings import AUTO_APPROVAL_ENABLED, BATCH_SIZE, CONFIDENCE_THRESHOLD, MONTHLY_BUDGET, PROVIDER
from llm_center.matcher import Proposal
from llm_center.models import LlmMapping, MappingDecision, ProposalClaim
from llm_center.providers import BatchResult, MerchantQuestion, Provider, get_provider
from llm_center.selectors import descriptor_samples
from llm_center.services.brands import refresh_catalogue
from llm_center.services.calibration import calibrate
from llm_center.services.mapping_log import record_log_deltas
from transactions.models import Company, Merchant
from transactions.services.processing import release_waiting_transactions

logger = logging.getLogger(__name__)

BATCH = 500
# A worker that has not answered in this time is dead; others ask again.
CLAIM_EXPIRES = timedelta(minutes=10)


@dataclass(slots=True)
class ProposalRunResult:
    """Merchants looked at, those with a ticker proposed, those decided without a reviewer, transactions released.

    `problems` are what kept a model from being asked: its errors, an open circuit, a spent budget.
    """

    processed: int = 0
    proposed: int = 0
    decided: int = 0
    released: int = 0
    problems: list[str] = field(default_factory=list)


def auto_approval_threshold() -> Decimal | None:
    """The confidence from which a proposal needs no reviewer; None when every proposal needs one.

    Raises:
        SettingError: a setting has a value that cannot be read; nothing is approved on a guess.
    """
    return CONFIDENCE_THRESHOLD.get() if AUTO_APPROVAL_ENABLED.get() else None


def get_queue_provider(*, threshold: Decimal | None) -> Provider:
    """The provider that the admin's settings choose; the environment's where they say nothing.

    Raises:
        SettingError, ProviderMisconfigured: a value that cannot work.
    """
    return get_provider(
        PROVIDER.stored() or None,  # unchecked: `get_provider` rejects unknown names itself
        model_threshold=threshold,
        batch_size=BATCH_SIZE.get(),
        monthly_budget=MONTHLY_BUDGET.get(),
    )


def propose_merchants(
    *,
    deadline: float | None = None,
    on_progress: Callable[[ProposalRunResult], None] | None = None,
    should_continue: Callable[[], bool] = lambda: True,
) -> ProposalRunResult:
    """Propose an owner for each merchant that has no proposal yet, the oldest question first.

    Several workers may run it at once: each claims its merchants, asks the provider outside of any database
    transaction (a model takes seconds), and writes proposals and decisions in one. A killed worker's claims expire.

    Args:
        deadline: `time.monotonic()` at which to stop after the current batch.
        on_progress: called with the figures so far after each batch.
        should_continue: asked before each batch; the run ends when it says no.
    """
    done = ProposalRunResult()
    refresh_catalogue()
    while (deadline is None or time.monotonic() < deadline) and should_continue():
        threshold = auto_approval_threshold()
        chosen = get_queue_provider(threshold=threshold)
        claimed = _claim()
        if not claimed:
            break
        questions = _questions(claimed, with_samples=chosen.name != "matcher")
        result = chosen.propose_batch(questions, deadline=deadline)
        done.problems = sorted({*done.problems, *result.usage.errors})
        keys = _store_answers(claimed, result, done, threshold=threshold, now=timezone.now())
        if keys:
            # After the commit: what a worker parks meanwhile is found by the release, which locks the buckets.
            done.released += release_waiting_transactions(merchant_keys=keys)
        if on_progress:
            on_progress(done)
    return done


def _claim() -> list[Merchant]:
    """Merchants without a proposal that nobody else is asking about, claimed for this worker."""
    now = timezone.now()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_CLAIM, {"now": now, "expired": now - CLAIM_EXPIRES, "most": BATCH})
        ids = [row[0] for row in cursor.fetchall()]
    return list(Merchant.objects.filter(pk__in=ids).order_by("id")) if ids else []


_CLAIM = """
    WITH wanted AS (
        SELECT id FROM merchants
        WHERE status = 'proposed' AND source = 'ingest'
          AND NOT EXISTS (
              SELECT FROM proposal_claims WHERE merchant_id = merchants.id AND claimed_at > %(expired)s
          )
        ORDER BY id LIMIT %(most)s FOR UPDATE SKIP LOCKED
    )
    INSERT INTO proposal_claims (merchant_id, claimed_at) SELECT id, %(now)s FROM wanted
    ON CONFLICT (merchant_id) DO UPDATE SET claimed_at = excluded.claimed_at
        WHERE proposal_claims.claimed_at <= %(expired)s
    RETURNING merchant_id
"""


def _questions(merchants: Sequence[Merchant], *, with_samples: bool) -> list[MerchantQuestion]:
    samples = descriptor_samples([row.merchant_key for row in merchants]) if with_samples else {}
    return [
        MerchantQuestion(
            row.merchant_key,
            tuple(dict.fromkeys([row.display_name, *(samples[row.merchant_key][0] if samples else [])])),
            row.category,
        )
        for row in merchants
    ]


@transaction.atomic
def _store_answers(
    claimed: Sequence[Merchant],
    result: BatchResult,
    done: ProposalRunResult,
    *,
    threshold: Decimal | None,
    now: datetime,
) -> list[str]:
    """Write proposals, log and decisions of one batch. Returns the keys of the merchants that are decided now.

    A merchant that a reviewer decided while the provider was asked is left as it is.
    """
    answers = dict(zip([row.pk for row in claimed], result.answers, strict=True))
    merchants = list(
        Merchant.objects.select_for_update()
        .filter(pk__in=list(answers), status=Merchant.Status.PROPOSED, source=Merchant.Source.INGEST)
        .order_by("merchant_key")
    )
    ProposalClaim.objects.filter(merchant_id__in=list(answers)).delete()
    if not merchants:
        return []
    elapsed = result.usage.milliseconds // len(claimed)
    tickers = {answer.proposal.ticker for answer in answers.values() if answer.proposal.ticker}
    listed = dict(Company.objects.filter(ticker__in=tickers, is_listed=True).values_list("ticker", "name"))
    decisions, log, keys = [], [], []
    calibrations: dict[str, Calibration] = {}
    for merchant in merchants:
        answer = answers[merchant.pk]
        proposal = _validate_ticker(calibrate(answer.proposal, calibrations), merchant, listed)
        decided = (
            threshold is not None
            and answer.corroborated
            and proposal.confidence >= threshold
            and proposal.listed is not None
        )
        before = merchant_snapshot(merchant)
        apply_proposal(merchant, proposal, decided=decided, now=now)
        by_model = proposal.method == "llm"
        log.append(
            (
                merchant.display_name,
                merchant.merchant_key,
                proposal.ticker,
                merchant.category,
                proposal.confidence,
                LlmMapping.Status.APPROVED if decided else LlmMapping.Status.PENDING,
                decided,
                True,
                merchant.company_name,
                LlmMapping.Source.LLM if by_model else LlmMapping.Source.MATCHER,
                now,
                (result.usage.model if by_model else f"matcher/{proposal.method}")[:100],
                proposal.reason + (f" {answer.fallback}" if answer.fallback else ""),
                decided,
                elapsed,
                now,
            )
        )
        done.processed += 1
        done.proposed += proposal.ticker is not None
        if decided:
            done.decided += 1
            keys.append(merchant.merchant_key)
            decisions.append(
                (
                    merchant.merchant_key,
                    MappingDecision.Action.APPROVE if proposal.ticker else MappingDecision.Action.NOT_LISTED,
                    Json(before),
                    Json(merchant_snapshot(merchant)),
                    proposal.reason[:500],
                    True,
                    merchant.waiting_count,
                    now,
                    max(0, int((now - merchant.created_at).total_seconds())),
                )
            )
    update_merchants(merchants, now)
    with connection.cursor() as cursor:
        execute_values(cursor.cursor, _LOG, log, page_size=BATCH)
        record_log_deltas((now, row[5], row[9], row[6], row[4]) for row in log)
        if decisions:
            execute_values(cursor.cursor, _DECISIONS, decisions, page_size=BATCH)
    return keys


# As tuples: making and compiling model instances takes longer than everything else that is done for a merchant.
_LOG = """
    INSERT INTO llm_mappings (merchant_name, merchant_key, ticker, category, confidence, status, admin_approved, ai_processed,
        company_name, source, created_at, ai_model_version, ai_reasoning, ai_auto_approved, ai_processing_ms, ai_decided_at)
    VALUES %s
"""
_DECISIONS = """
    INSERT INTO mapping_decisions (merchant_key, action, before, after, reason, automatic, released_count, decided_at,
        waited_seconds)
    VALUES %s
"""


def _validate_ticker(proposal: Proposal, merchant: Merchant, listed: dict[str, str]) -> Proposal:
    """The proposal without a ticker that is not listed, or that a reviewer has rejected for this merchant before."""
    if proposal.ticker is None:
        return proposal
    if proposal.ticker not in listed:
        note = f"{proposal.ticker} is not listed in the company table. {proposal.reason}"
    elif proposal.ticker in merchant.rejected_tickers:
        note = f"{proposal.ticker} was rejected for this merchant before. {proposal.reason}"
    else:
        return proposal
    return Proposal(None, None, "", proposal.category, matcher.NOTHING, proposal.method, note, proposal.alternatives)


def apply_proposal(merchant: Merchant, proposal: Proposal, *, decided: bool, now: datetime) -> None:
    """Write the proposal into the row, and the decision where it needs no reviewer. Nothing is saved."""
    merchant.ticker = proposal.ticker
    merchant.company_name = proposal.company_name[:200]
    merchant.category = (merchant.category or proposal.category)[:100]
    merchant.confidence = proposal.confidence
    merchant.stated_confidence = proposal.stated_confidence
    merchant.reason = proposal.reason
    merchant.source = Merchant.Source.LLM if proposal.method == "llm" else Merchant.Source.MATCHER
    merchant.alternatives = [
        {"ticker": other.ticker, "company_name": other.company_name, "brand": other.brand}
        for other in proposal.alternatives
    ]
    if decided:
        merchant.status = Merchant.Status.APPROVED if proposal.ticker else Merchant.Status.NOT_LISTED
        merchant.decided_at = now


def merchant_snapshot(merchant: Merchant) -> dict[str, Any]:
    """What a decision changes, for its record and for undoing it."""
    return {
        "status": merchant.status,
        "ticker": merchant.ticker,
        "company_name": merchant.company_name,
        "confidence": None if merchant.confidence is None else str(merchant.confidence),
        "raw_confidence": None if merchant.stated_confidence is None else str(merchant.stated_confidence),
        "source": merchant.source,
        "rejected_tickers": merchant.rejected_tickers,
        "decided_by": merchant.decided_by_id,
        "decided_at": merchant.decided_at and merchant.decided_at.isoformat(),
    }


def update_merchants(merchants: Sequence[Merchant], now: datetime) -> None:
    """One statement for the batch; what waits is left alone, because processing adds to it meanwhile."""
    invalidate_mappings()
    with connection.cursor() as cursor:
        execute_values(
            cursor.cursor,
            "UPDATE merchants SET ticker = new.ticker, company_name = new.company_name, category = new.category, "
            "confidence = new.confidence::numeric, stated_confidence = new.stated::numeric, reason = new.reason, "
            "source = new.source, status = new.status, "
            "alternatives = new.alternatives, rejected_tickers = new.rejected, decided_by_id = new.decided_by, "
            "decided_at = new.decided_at, updated_at = new.updated_at "
            "FROM (VALUES %s) AS new (id, ticker, company_name, category, confidence, stated, reason, source, status, "
            "alternatives, rejected, decided_by, decided_at, updated_at) WHERE merchants.id = new.id",
            [
                (
                    row.pk,
                    row.ticker,
                    row.company_name,
                    row.category,
                    row.confidence,
                    row.stated_confidence,
                    row.reason,
                    row.source,
                    row.status,
                    Json(row.alternatives),
                    Json(row.rejected_tickers),
                    row.decided_by_id,
                    row.decided_at,
                    now,
                )
                for row in merchants
            ],
            template="(%s, %s::text, %s, %s, %s, %s, %s, %s, %s, %s::jsonb, %s::jsonb, %s::bigint, %s::timestamptz, %s::timestamptz)",
            page_size=BATCH,
        )
