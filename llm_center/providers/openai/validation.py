"""Validation of a model's entry against the company table and the matcher's own proposal."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from llm_center.matcher import DOUBTFUL, MAX_ALTERNATIVES, NOTHING, Alternative, Proposal
from llm_center.providers import Answer
from llm_center.providers.openai.parsing import ModelEntry
from transactions.models import Company

# The highest confidence of an entry that only the model supports; auto-approval thresholds start at 0.5.
UNCORROBORATED = Decimal("0.49")
# Evidence that the text around a name cannot fake: not a name found somewhere inside, nor a similar spelling.
_STRONG_METHODS = frozenset({"exact", "domain", "prefix", "truncated", "compact", "ticket"})


def listed_companies(entries: Iterable[ModelEntry], proposals: Sequence[Proposal]) -> dict[str, str]:
    """Return the names of the listed companies among all tickers of a batch, in one query."""
    tickers = {ticker for entry in entries for ticker in (entry.ticker, *entry.alternatives) if ticker}
    if not tickers:
        return {}
    tickers |= {proposal.ticker for proposal in proposals if proposal.ticker}
    return dict(Company.objects.filter(ticker__in=tickers, is_listed=True).values_list("ticker", "name"))


def validate_entry(entry: ModelEntry, own: Proposal, listed: Mapping[str, str], *, model: str) -> Answer:
    """Return the answer for a model's entry, given the matcher's own proposal and the listed companies.

    The two agree when they name the same ticker, or both know that there is none, and the matcher recognized the name
    itself. The matcher's proposal then stays as it is, with its own confidence. Everything else is left to a reviewer.
    So a model never causes an approval: customers write the descriptors, and the text in one of them can manipulate the
    answers to all merchants of a request.
    """
    if entry.listed is None:
        return _own_answer(entry, own, f"{model} knows no owner.")
    if entry.ticker is not None and entry.ticker not in listed:
        reason = f"{model} proposed {entry.ticker}, which the company table does not list. {own.reason}"
        alternatives = _alternatives(entry, own, listed, selected=None)
        proposal = Proposal(None, None, "", own.category, NOTHING, "llm", reason, alternatives)
        return Answer(proposal, corroborated=False, stated_confidence=entry.confidence)
    if (
        own.listed is entry.listed
        and own.ticker == entry.ticker
        and own.confidence >= DOUBTFUL
        and own.method in _STRONG_METHODS
    ):
        return _own_answer(entry, own, f"{model} agrees.")
    remark = f"Only the model supports this (stated confidence {entry.confidence:.2f}). The catalogue: {own.reason}"
    proposal = Proposal(
        ticker=entry.ticker,
        listed=entry.listed,
        company_name=listed[entry.ticker] if entry.ticker else entry.company,
        category=own.category,
        confidence=min(entry.confidence, UNCORROBORATED),
        method="llm",
        reason=f"{model}: {entry.reason or 'no reason given'} — {remark}",
        alternatives=_alternatives(entry, own, listed, selected=entry.ticker),
    )
    return Answer(proposal, corroborated=False, stated_confidence=entry.confidence)


def _own_answer(entry: ModelEntry, own: Proposal, remark: str) -> Answer:
    """Return the matcher's proposal with a remark about the model."""
    return Answer(replace(own, reason=f"{own.reason} {remark}"), corroborated=True, stated_confidence=entry.confidence)


def _alternatives(
    entry: ModelEntry, own: Proposal, listed: Mapping[str, str], *, selected: str | None
) -> tuple[Alternative, ...]:
    """Return other candidates for a reviewer: the matcher's proposal, then its alternatives, then the model's."""
    candidates: dict[str, Alternative] = {}
    if own.ticker and own.ticker in listed:
        candidates[own.ticker] = Alternative(own.ticker, listed[own.ticker], "")
    for other in own.alternatives:
        candidates.setdefault(other.ticker, other)
    for ticker in entry.alternatives:
        if ticker in listed:
            candidates.setdefault(ticker, Alternative(ticker, listed[ticker], ""))
    candidates.pop(selected or "", None)
    return tuple(candidates.values())[:MAX_ALTERNATIVES]
