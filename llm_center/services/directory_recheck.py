"""Recheck of the merchant directory against the catalogue: approvals that cannot be right stop investing.

Old approvals came from substring rules: SUBWAY became SBUX, MATTRESS became T (because of its ATT). What the catalogue
contradicts, or what has no connection to the company, is proposed again and waits for a reviewer; a wrong purchase is
worse than none. Merchants decided by a reviewer (source `admin`) are skipped.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache

from django.db import transaction
from django.utils import timezone

from llm_center.catalogue import load_brands, load_companies
from llm_center.matcher import PREFIX, Proposal
from llm_center.matcher.rules import GENERIC_COMPANY_WORDS
from llm_center.models import MappingDecision
from llm_center.providers import MerchantQuestion
from llm_center.services.matching import propose_owners
from llm_center.services.merchants import apply_proposal, merchant_snapshot, update_merchants
from llm_center.services.proposal_queue import auto_approval_threshold
from transactions.models import Company, Merchant
from transactions.rules.merchant_key import normalise

BATCH = 2000
# Examples that a report lists.
EXAMPLES = 50


@dataclass(slots=True)
class RecheckResult:
    """Approved merchants checked, those stopped by reason, and examples."""

    checked: int = 0
    contradicted: int = 0
    unconnected: int = 0
    unlisted: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def stopped(self) -> int:
        return self.contradicted + self.unconnected + self.unlisted


def recheck_merchant_directory(
    *, dry_run: bool = False, on_progress: Callable[[int], None] | None = None
) -> RecheckResult:
    """Check every approved merchant that no reviewer decided, and stop those that cannot be right.

    Each batch is one database transaction; a second run finds nothing more.

    Args:
        dry_run: only report what would be stopped.
        on_progress: called with the number of merchants checked so far.
    """
    _company_spellings.cache_clear()
    result, last_id = RecheckResult(), 0
    while True:
        with transaction.atomic():
            batch = list(
                Merchant.objects.select_for_update(of=("self",))
                .filter(status=Merchant.Status.APPROVED, pk__gt=last_id)
                .exclude(source=Merchant.Source.ADMIN)
                .order_by("pk")[:BATCH]
            )
            if not batch:
                return result
            last_id = batch[-1].pk
            _check_batch(batch, result, dry_run=dry_run)
        result.checked += len(batch)
        if on_progress:
            on_progress(result.checked)


def _check_batch(batch: Sequence[Merchant], result: RecheckResult, *, dry_run: bool) -> None:
    threshold = auto_approval_threshold() or PREFIX
    tickers = {row.ticker for row in batch}
    listed = set(Company.objects.filter(ticker__in=tickers, is_listed=True).values_list("ticker", flat=True))
    proposals = propose_owners(
        [MerchantQuestion(row.merchant_key, (row.display_name,), row.category) for row in batch]
    ).proposals
    stopped, decisions, now = [], [], timezone.now()
    for merchant, proposal in zip(batch, proposals, strict=True):
        kind, reason = _review_reason(merchant, proposal, listed=listed, threshold=threshold)
        if not kind:
            continue
        setattr(result, kind, getattr(result, kind) + 1)
        if len(result.examples) < EXAMPLES:
            result.examples.append(f"{merchant.merchant_key} → {merchant.ticker}: {reason}")
        before = merchant_snapshot(merchant)
        if kind == "contradicted" and merchant.ticker not in merchant.rejected_tickers:
            merchant.rejected_tickers = [*merchant.rejected_tickers, merchant.ticker]
        apply_proposal(merchant, proposal)
        merchant.status = Merchant.Status.PROPOSED
        merchant.reason = f"Was {before['ticker']} before: {reason} {proposal.reason}"
        merchant.decided_by, merchant.decided_at, merchant.decision_id = None, None, None
        stopped.append(merchant)
        decisions.append(
            MappingDecision(
                merchant_key=merchant.merchant_key,
                action=MappingDecision.Action.REJECT,
                before=before,
                after=merchant_snapshot(merchant),
                reason=reason[:500],
                automatic=True,
                decided_at=now,
            )
        )
    if stopped and not dry_run:
        update_merchants(stopped, now)
        MappingDecision.objects.bulk_create(decisions)


def _review_reason(merchant: Merchant, proposal: Proposal, *, listed: set[str], threshold: Decimal) -> tuple[str, str]:
    """Return why the approval needs a review: the counter of the result and a sentence, both empty if it does not."""
    ticker = merchant.ticker or ""
    if ticker not in listed:
        return "unlisted", f"{ticker} is not a listed company."
    if proposal.ticker == ticker:
        return "", ""
    if proposal.proven >= threshold and proposal.ticker:
        return "contradicted", f"The catalogue has {proposal.ticker}."
    if proposal.proven >= threshold and proposal.listed is False:
        return "contradicted", "According to the catalogue, there is nothing to buy."
    if proposal.method == "look-alike":
        return "contradicted", "The name only starts like a brand."
    if not _is_connected(merchant.merchant_key, ticker):
        return "unconnected", f"Nothing in the name connects it with {ticker}."
    return "", ""


def _is_connected(merchant_key: str, ticker: str) -> bool:
    """Return whether the key contains a brand of the company, or a distinctive word of its name."""
    text = f" {merchant_key} "
    return any(f" {spelling} " in text for spelling in _company_spellings().get(ticker, ()))


@lru_cache(maxsize=1)
def _company_spellings() -> dict[str, set[str]]:
    """Return, by ticker, the spellings of the company's brands and the first distinctive word of its name."""
    spellings: dict[str, set[str]] = {}
    for brand in load_brands():
        if brand.ticker:
            spellings.setdefault(brand.ticker, set()).update(
                key for text in (brand.name, *brand.aliases) if (key := normalise(text))
            )
    for ticker, company in load_companies().items():
        words = normalise(company.name).split()
        distinctive = [word for word in words if word not in GENERIC_COMPANY_WORDS and len(word) > 3]
        if distinctive:
            spellings.setdefault(ticker, set()).add(distinctive[0])
    return spellings
