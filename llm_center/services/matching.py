"""Proposals as every caller gets them: from the current catalogue, with calibrated confidence."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from llm_center.calibration import Calibration
from llm_center.matcher import Proposal
from llm_center.providers import BatchResult, MatcherProvider, MerchantQuestion, Provider
from llm_center.services.brands import refresh_catalogue
from llm_center.services.calibration import get_calibration
from transactions.rules.merchant_key import normalise

CHUNK = 1_000


def propose_owners(
    questions: Sequence[MerchantQuestion], *, provider: Provider | None = None, deadline: float | None = None
) -> BatchResult:
    """Propose the owner of each merchant, in order; the matcher answers unless another provider is given.

    Args:
        deadline: see `Provider.propose_batch`.
    """
    refresh_catalogue()
    result = (provider or MatcherProvider()).propose_batch(questions, deadline=deadline)
    calibrations = {source: get_calibration(source) for source in {answer.proposal.source for answer in result.answers}}
    answers = tuple(
        replace(answer, proposal=_calibrated(answer.proposal, calibrations[answer.proposal.source]))
        for answer in result.answers
    )
    return replace(result, answers=answers)


def _calibrated(proposal: Proposal, calibration: Calibration) -> Proposal:
    confidence = calibration.apply(proposal.confidence)
    bound = None if proposal.bound is None else min(proposal.bound, confidence)
    return replace(proposal, confidence=confidence, bound=bound, stated_confidence=proposal.confidence)


def propose_owner(merchant_key: str, descriptor: str = "", category: str = "") -> Proposal:
    """Propose the owner of one merchant with the matcher."""
    samples = (descriptor,) if descriptor else ()
    return propose_owners([MerchantQuestion(merchant_key, samples, category)]).proposals[0]


def propose_descriptors(descriptors: Iterable[str]) -> Iterator[tuple[str, Proposal]]:
    """Propose the owner of each raw descriptor with the matcher, in constant memory."""
    remaining = iter(descriptors)
    while chunk := list(islice(remaining, CHUNK)):
        questions = [MerchantQuestion(normalise(descriptor), (descriptor,)) for descriptor in chunk]
        yield from zip(chunk, propose_owners(questions).proposals, strict=True)
