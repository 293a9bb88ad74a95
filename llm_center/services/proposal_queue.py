"""The LLM queue: unknown merchants get a proposal, and confident proposals are decided automatically.

Work is done per merchant, not per purchase: one proposal settles every waiting and future purchase. A proposal is
decided without a reviewer when its confidence reaches the setting `confidence_threshold`, `auto_approval_enabled` is
true, and it names a listed owner or states that there is nothing to buy. Everything else waits in the review queue with
its reason.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import connection, transaction
from django.utils import timezone

from kamioi_site.db.distribution import limits_per_shard
from kamioi_site.live_settings import stored_values
from llm_center import matcher
from llm_center.live_settings import AUTO_APPROVAL_ENABLED, BATCH_SIZE, CONFIDENCE_THRESHOLD, MONTHLY_BUDGET, PROVIDER
from llm_center.matcher import Proposal
from llm_center.models import LlmMapping, MappingDecision, ProposalClaim
from llm_center.providers import Answer, BatchResult, MatcherProvider, MerchantQuestion, Provider, get_provider
from llm_center.selectors import descriptor_samples
from llm_center.services.mapping_log import LogRow, insert_log_rows
from llm_center.services.matching import propose_owners
from llm_center.services.merchants import apply_proposal, merchant_snapshot, record_decisions, update_merchants
from llm_center.sql import load_sql
from transactions.models import Company, Merchant
from transactions.services.processing import release_waiting_transactions

BATCH = 500
# A worker that has not answered in this time is considered dead, and its merchants are claimed by others.
CLAIM_EXPIRES = timedelta(minutes=10)
# What the matcher could not decide waits for the model. The matcher tries only merchants stored since.
RECENT = timedelta(minutes=10)


@dataclass(slots=True)
class ProposalRunResult:
    """Merchants processed, those proposed a ticker, those decided automatically, and transactions released.

    `problems` are reasons why a model was not used: errors, an open circuit breaker, a spent budget.
    """

    processed: int = 0
    proposed: int = 0
    decided: int = 0
    released: int = 0
    problems: list[str] = field(default_factory=list)


def auto_approval_threshold() -> Decimal | None:
    """Return the confidence from which a proposal needs no reviewer; None when every proposal needs one.

    Raises:
        SettingError: a setting is invalid.
    """
    enabled, threshold = stored_values(AUTO_APPROVAL_ENABLED, CONFIDENCE_THRESHOLD)
    return CONFIDENCE_THRESHOLD.value_of(threshold) if AUTO_APPROVAL_ENABLED.value_of(enabled) else None


def get_queue_provider(*, threshold: Decimal | None) -> Provider:
    """Return the provider that the admin's settings or else the environment select.

    Raises:
        SettingError, ProviderConfigError: a value is invalid.
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
    """Propose an owner for each merchant without a proposal, the oldest first.

    Several workers may run it at once: each claims its merchants, calls the provider outside any database transaction
    (a model takes seconds), and writes proposals and decisions in one. Claims of a killed worker expire.

    Args:
        deadline: `time.monotonic()` after which no further batch starts.
        on_progress: called with the counts so far after each batch.
        should_continue: called before each batch; the run ends when it returns False.
    """
    run = ProposalRunResult()
    while (deadline is None or time.monotonic() < deadline) and should_continue():
        threshold = auto_approval_threshold()
        provider = get_queue_provider(threshold=threshold)
        claimed = _claim()
        if not claimed:
            break
        questions = _questions(claimed, with_samples=provider.name != "matcher")
        result = propose_owners(questions, provider=provider, deadline=deadline)
        run.problems = sorted({*run.problems, *result.usage.errors})
        keys = _store_answers(claimed, result, run, threshold=threshold, now=timezone.now())
        if keys:
            # After the commit: purchases that arrive meanwhile are found by the release, which locks the buckets.
            run.released += release_waiting_transactions(merchant_keys=keys)
        if on_progress:
            on_progress(run)
    return run


def match_merchants(*, deadline: float | None = None) -> ProposalRunResult:
    """Ask the matcher about merchants as soon as they are stored, so that a purchase at a known brand does not wait.

    With a model configured, only what the matcher decides is stored; the rest is left for `propose_merchants`.
    """
    threshold = auto_approval_threshold()
    matcher_provider = MatcherProvider()
    if get_queue_provider(threshold=threshold).name == matcher_provider.name:
        return propose_merchants(deadline=deadline)
    run, last = ProposalRunResult(), 0
    while threshold is not None and (deadline is None or time.monotonic() < deadline):
        claimed = _claim(after=last, since=timezone.now() - RECENT)
        if not claimed:
            break
        last = claimed[-1].pk
        result = propose_owners(_questions(claimed, with_samples=False), provider=matcher_provider)
        chosen = [
            (merchant, answer)
            for merchant, answer in zip(claimed, result.answers, strict=True)
            if _may_decide(answer.proposal, answer, threshold)
        ]
        decided = replace(result, answers=tuple(answer for _, answer in chosen))
        keys = _store_answers([row for row, _ in chosen], decided, run, threshold=threshold, now=timezone.now())
        ProposalClaim.objects.filter(merchant_id__in=[row.pk for row in claimed]).delete()
        if keys:
            run.released += release_waiting_transactions(merchant_keys=keys)
    return run


def _claim(*, after: int = 0, since: datetime | None = None) -> list[Merchant]:
    """Claim merchants without a proposal that no other worker has claimed, with greater ids and stored since then.

    Returns only the columns of a question: `_store_answers` reads the others again, locked.
    """
    now = timezone.now()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            load_sql("claim_merchants"),
            {"now": now, "expired": now - CLAIM_EXPIRES, "limit": BATCH, "after": after, "since": since},
        )
        ids = [row[0] for row in cursor.fetchall()]
    columns = ("merchant_key", "display_name", "category")
    return list(Merchant.objects.filter(pk__in=ids).only(*columns).order_by("id")) if ids else []


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
    run: ProposalRunResult,
    *,
    threshold: Decimal | None,
    now: datetime,
) -> list[str]:
    """Write proposals, log and decisions of a batch; return the keys of the merchants decided.

    A merchant that a reviewer decided in the meantime is skipped.
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
    tickers = {answer.proposal.ticker for answer in answers.values() if answer.proposal.ticker}
    listed = set(Company.objects.filter(ticker__in=tickers, is_listed=True).values_list("ticker", flat=True))
    proposals = {row.pk: _validate_ticker(answers[row.pk].proposal, row, listed) for row in merchants}
    needs_more = _own_input_threshold(threshold) if threshold is not None else None
    own_input = _only_own_input(
        [
            row.merchant_key
            for row in merchants
            if _may_decide(proposals[row.pk], answers[row.pk], threshold)
            and not _may_decide(proposals[row.pk], answers[row.pk], needs_more)
        ]
    )
    decided_merchants: list[tuple[Merchant, MappingDecision]] = []
    log = []
    for merchant in merchants:
        answer = answers[merchant.pk]
        proposal = proposals[merchant.pk]
        decided = _may_decide(proposal, answer, threshold) and merchant.merchant_key not in own_input
        before = merchant_snapshot(merchant) if decided else {}
        apply_proposal(merchant, proposal)
        if decided:
            merchant.status = Merchant.Status.APPROVED if proposal.ticker else Merchant.Status.NOT_LISTED
            merchant.decided_at = now
        log.append(_log_row(merchant, proposal, answer, result, decided=decided, now=now))
        run.processed += 1
        run.proposed += proposal.ticker is not None
        if decided:
            run.decided += 1
            action = MappingDecision.Action.APPROVE if proposal.ticker else MappingDecision.Action.NOT_LISTED
            decision = MappingDecision(
                merchant_key=merchant.merchant_key,
                action=action,
                before=before,
                after=merchant_snapshot(merchant),
                reason=proposal.reason[:500],
                automatic=True,
                released_count=merchant.waiting_count,
                waited_seconds=max(0, int((now - merchant.created_at).total_seconds())),
                decided_at=now,
            )
            decided_merchants.append((merchant, decision))
    record_decisions(decided_merchants)
    update_merchants(merchants, now)
    insert_log_rows(log)
    return [merchant.merchant_key for merchant, _ in decided_merchants]


def _may_decide(proposal: Proposal, answer: Answer, threshold: Decimal | None) -> bool:
    """Return whether the proposal needs no reviewer."""
    return (
        threshold is not None and answer.corroborated and proposal.listed is not None and proposal.proven >= threshold
    )


def _own_input_threshold(threshold: Decimal) -> Decimal:
    """Return the threshold for a name that only one customer entered: halfway to certainty."""
    return (1 + threshold) / 2


def _only_own_input(keys: Sequence[str]) -> set[str]:
    """Return the keys that no bank file has, and that a single customer entered."""
    if not keys:
        return set()
    with limits_per_shard(), connection.cursor() as cursor:
        cursor.execute(load_sql("own_input"), {"keys": list(keys)})
        return {key for (key,) in cursor.fetchall()}


def _log_row(
    merchant: Merchant, proposal: Proposal, answer: Answer, result: BatchResult, *, decided: bool, now: datetime
) -> LogRow:
    model = result.usage.model if proposal.source == "llm" else f"matcher/{proposal.method}"
    return LogRow(
        merchant_name=merchant.display_name,
        merchant_key=merchant.merchant_key,
        ticker=proposal.ticker,
        category=merchant.category,
        confidence=proposal.confidence,
        status=LlmMapping.Status.APPROVED if decided else LlmMapping.Status.PENDING,
        company_name=merchant.company_name,
        source=proposal.source,
        created_at=now,
        admin_approved=decided,
        ai_reasoning=proposal.reason + (f" {answer.fallback}" if answer.fallback else ""),
        ai_model_version=model[:100],
        ai_auto_approved=decided,
        ai_processing_ms=result.usage.milliseconds // len(result.answers),
        ai_decided_at=now,
    )


def _validate_ticker(proposal: Proposal, merchant: Merchant, listed: set[str]) -> Proposal:
    """Remove a ticker that is not listed, or that a reviewer has rejected for this merchant."""
    if proposal.ticker is None:
        return proposal
    if proposal.ticker not in listed:
        note = f"{proposal.ticker} is not listed in the company table. {proposal.reason}"
    elif proposal.ticker in merchant.rejected_tickers:
        note = f"{proposal.ticker} was rejected for this merchant before. {proposal.reason}"
    else:
        return proposal
    return Proposal(None, None, "", proposal.category, matcher.NOTHING, proposal.method, note, proposal.alternatives)
