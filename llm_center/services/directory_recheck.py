"""The directory held against the catalogue: approvals that cannot be right stop investing and go to review.

Old approvals came from substring rules: SUBWAY became SBUX, MATTRESS became T (because of its ATT). What the catalogue
contradicts, and what nothing connects with the company, is proposed anew and waits for a person; a wrong purchase is
worse than none. What a person of ours decided (`source` admin) is left alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from django.db import transaction
from django.utils import timezone

from llm_center import matcher
from llm_center.catalogue import load_brands, load_companies
from llm_center.matcher import Proposal
from llm_center.models import MappingDecision
from llm_center.services.brands import refresh_catalogue
from llm_center.services.proposal_queue import (
    apply_proposal,
    auto_approval_threshold,
    merchant_snapshot,
    update_merchants,
)
from transactions.models import Company, Merchant
from transactions.rules.merchant_key import normalise

BATCH = 2000
# How many examples a report names.
EXAMPLES = 50
# Words of company names that connect nothing.
_EMPTY = frozenset(
    "INC CORP CORPORATION CO COMPANY COMPANIES GROUP HOLDINGS HOLDING LTD LIMITED PLC LLC THE OF AND INTERNATIONAL GLOBAL"
    " AMERICAN AMERICA UNITED STATES NATIONAL FIRST NEW GENERAL FINANCIAL SERVICES SERVICE BRANDS STORES ENTERPRISES"
    " INDUSTRIES SYSTEMS TECHNOLOGIES TECHNOLOGY SOLUTIONS PARTNERS TRUST CLASS COM SA NV AG SE ADR".split()
)


@dataclass(slots=True)
class RecheckResult:
    """Approved merchants looked at, those that the catalogue contradicts, those that nothing connects, and examples."""

    checked: int = 0
    contradicted: int = 0
    unconnected: int = 0
    unlisted: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def stopped(self) -> int:
        """Merchants that no longer invest."""
        return self.contradicted + self.unconnected + self.unlisted


def recheck_merchant_directory(
    *, dry_run: bool = False, on_progress: Callable[[int], None] | None = None
) -> RecheckResult:
    """Look at every approved merchant that no person of ours decided; stop those that cannot be right.

    A batch is one database transaction; running it again finds nothing more.

    Args:
        dry_run: only say what would be stopped.
        on_progress: called with the merchants looked at so far.
    """
    refresh_catalogue()
    _spellings.cache_clear()
    done, last = RecheckResult(), 0
    while True:
        with transaction.atomic():
            batch = list(
                Merchant.objects.select_for_update(of=("self",))
                .filter(status=Merchant.Status.APPROVED, pk__gt=last)
                .exclude(source=Merchant.Source.ADMIN)
                .order_by("pk")[:BATCH]
            )
            if not batch:
                return done
            last = batch[-1].pk
            _batch_check(batch, done, dry_run=dry_run)
        done.checked += len(batch)
        if on_progress:
            on_progress(done.checked)


def _batch_check(batch: Sequence[Merchant], done: RecheckResult, *, dry_run: bool) -> None:
    threshold = auto_approval_threshold() or matcher.PREFIX
    listed = set(
        Company.objects.filter(ticker__in={row.ticker for row in batch}, is_listed=True).values_list(
            "ticker", flat=True
        )
    )
    stopped, decisions, now = [], [], timezone.now()
    for merchant in batch:
        found = matcher.propose(merchant.merchant_key, merchant.display_name, merchant.category)
        why = _review_reason(merchant, found, listed=listed, threshold=threshold)
        if why is None:
            continue
        kind, reason = why
        setattr(done, kind, getattr(done, kind) + 1)
        if len(done.examples) < EXAMPLES:
            done.examples.append(f"{merchant.merchant_key} → {merchant.ticker}: {reason}")
        before = merchant_snapshot(merchant)
        if kind == "contradicted" and merchant.ticker not in merchant.rejected_tickers:
            merchant.rejected_tickers = [*merchant.rejected_tickers, merchant.ticker]
        apply_proposal(merchant, found, decided=False, now=now)
        merchant.status = Merchant.Status.PROPOSED
        merchant.reason = f"Was {before['ticker']} before: {reason} {found.reason}"
        merchant.decided_by, merchant.decided_at = None, None
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


def _review_reason(
    merchant: Merchant, found: Proposal, *, listed: set[str], threshold: object
) -> tuple[str, str] | None:
    """Why the approval cannot stand: the kind and a sentence; None when it can."""
    ticker = merchant.ticker or ""
    if ticker not in listed:
        return "unlisted", f"{ticker} is not a listed company."
    if found.ticker == ticker:
        return None
    sure = found.confidence >= threshold  # type: ignore[operator]
    if sure and found.ticker:
        return "contradicted", f"The catalogue says {found.ticker}."
    if sure and found.listed is False:
        return "contradicted", "The catalogue says that nobody can be invested in."
    if found.method == "look-alike":
        return "contradicted", "It only begins like a brand."
    if not _connected(merchant.merchant_key, ticker):
        return "unconnected", f"Nothing in the name connects it with {ticker}."
    return None


def _connected(merchant_key: str, ticker: str) -> bool:
    """Whether a brand of the company, or a telling word of its name, stands in the key as words."""
    text = f" {merchant_key} "
    return any(f" {spelling} " in text for spelling in _spellings().get(ticker, ()))


@lru_cache(maxsize=1)
def _spellings() -> dict[str, set[str]]:
    """Ticker → spellings of its brands and the telling words of its name."""
    found: dict[str, set[str]] = {}
    for brand in load_brands():
        if brand.ticker:
            found.setdefault(brand.ticker, set()).update(
                key for text in (brand.name, *brand.aliases) if (key := normalise(text))
            )
    for ticker, company in load_companies().items():
        words = [word for word in normalise(company.name).split() if word not in _EMPTY and len(word) > 3]
        if words:
            found.setdefault(ticker, set()).add(words[0])
    return found
