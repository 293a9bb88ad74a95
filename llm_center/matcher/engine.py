"""The search for a proposal."""

from dataclasses import dataclass, replace
from decimal import Decimal

from llm_center.matcher.candidates import FINDERS, GUESSES, Match, Text
from llm_center.matcher.features import PHRASES, leading_brand, match_features, unlisted_features
from llm_center.matcher.index import Index, get_index
from llm_center.matcher.model import load_models
from llm_center.matcher.proposal import GUESS, MONEY, NO_MATCH, Proposal, brand_alternatives, brand_proposal
from llm_center.matcher.rules import bank_category_fits
from transactions.rules.merchant_key import normalise
from transactions.statements.row_classes import match_money_rule

# A match of this score needs no further search.
_CERTAIN = 0.9
# The most that a match is worth whose category the bank contradicts: it may know more than the name.
_CONTRADICTED = 0.8
# A name at the start that reaches this score is who was paid.
_BETTER_THAN_A_GUESS = 0.4
# The reason names this many pieces of evidence, if they move the score by at least _NOTABLE.
_EVIDENCE = 3
_NOTABLE = 0.4


@dataclass(frozen=True, slots=True)
class _Scored:
    match: Match
    features: list[float]
    score: float


def propose(merchant_key: str, descriptor: str = "", category: str = "") -> Proposal:
    """Propose the company that owns a merchant, from these arguments alone.

    Args:
        merchant_key: the result of `normalise`; any text is accepted.
        descriptor: the bank's raw text, optional evidence.
        category: the bank's category, optional evidence.
    """
    index = get_index()
    key = merchant_key.strip()
    if not key:
        return NO_MATCH
    if (moved := _money_moved(descriptor or key, category)) is not None:
        return moved
    text = Text(key, descriptor.upper() or key)
    scored = [] if _is_other_merchant(index, text) else score_matches(index, text)
    best = max(scored, key=lambda found: found.score) if scored else None
    # A brand whose owner is unknown is no local merchant.
    if best is not None and best.score >= (0.5 if best.match.spelling.brand.is_unknown else _CERTAIN):
        return _proposal(best, [found.match for found in scored], category)
    listed = max([found.score for found in scored if found.match.spelling.brand.ticker], default=0.0)
    private = max([found.score for found in scored if is_private(found.match)], default=0.0)
    unlisted = load_models()["unlisted"]
    leading = leading_brand(found.match for found in scored)
    closed, bound = unlisted.confidence(
        unlisted.score(unlisted_features(text, listed, private, leading, has_match=bool(scored)))
    )
    if best is not None:
        proposal = _proposal(best, [found.match for found in scored], category)
        if (proposal.ticker and proposal.confidence >= GUESS) or (
            proposal.listed is not None and proposal.confidence >= closed
        ):
            return proposal
        alternatives = proposal.alternatives or brand_alternatives([best.match.spelling.brand], None)
    else:
        proposal, alternatives = NO_MATCH, ()
    if closed < 0.5:
        return proposal
    return Proposal(
        None,
        False,
        "",
        proposal.category,
        _decimal(closed),
        "local",
        "A name like those of local or private merchants; no listed company has such a brand.",
        alternatives,
        bound=_decimal(bound),
    )


def propose_descriptor(descriptor: str) -> Proposal:
    return propose(normalise(descriptor), descriptor)


def score_matches(index: Index, text: Text) -> list[_Scored]:
    """Return the matches with their scores; the search ends with a certain one."""
    model, scored = load_models()["match"], list[_Scored]()
    for find in FINDERS:
        if scored and find in GUESSES and any(found.score >= _BETTER_THAN_A_GUESS for found in scored):
            break
        match = find(index, text)
        if match is None:
            continue
        features = match_features(match, text)
        score = model.score(features)
        scored.append(_Scored(match, features, score))
        if score >= _CERTAIN:
            break
    return scored


def is_private(match: Match) -> bool:
    """Whether the owner is known and cannot be bought."""
    brand = match.spelling.brand
    return not brand.ticker and not brand.is_unknown


def _is_other_merchant(index: Index, text: Text) -> bool:
    """Whether the key starts like a brand but is known to be a different merchant."""
    tokens = text.tokens
    if tokens[0] not in index.others_start:
        return False
    return text.key not in index.spellings and any(" ".join(tokens[:size]) in index.others for size in (1, 2, 3))


def _money_moved(descriptor: str, category: str) -> Proposal | None:
    """Close what moves money, whatever name it contains: paying a bank's card is no purchase at the bank."""
    rule = match_money_rule(descriptor, category=category)
    if rule is None:
        return None
    what = rule.row_class.replace("_", " ")
    return replace(
        NO_MATCH,
        listed=False,
        category="money",
        confidence=MONEY,
        bound=MONEY,
        method="money",
        reason=f"Money moved ({what}).",
    )


def _proposal(best: _Scored, matches: list[Match], category: str) -> Proposal:
    model = load_models()["match"]
    confidence, bound = model.confidence(best.score)
    spelling = best.match.spelling
    reason = f"“{spelling.key}” {_PHRASES[best.match.method]}{_evidence(best)}."
    if bank_category_fits(category, spelling.brand.category) is False and best.match.method != "exact":
        confidence, bound = min(confidence, _CONTRADICTED), min(bound, _CONTRADICTED)
        reason += f" But the bank's category is “{category}”."
    rivals = [match.spelling.brand for match in matches if match is not best.match]
    rivals += [rival.brand for match in matches for rival in match.rivals]
    return brand_proposal(
        spelling.brand,
        _decimal(confidence),
        best.match.method,
        reason,
        bound=_decimal(bound),
        alternatives=brand_alternatives(rivals, spelling.brand.ticker) if rivals else (),
    )


_PHRASES = {
    "exact": "is a known spelling",
    "domain": "has this web address",
    "prefix": "is at the start",
    "compact": "is written without spaces",
    "joined": "is written together with what follows",
    "truncated": "is cut off",
    "beginning": "starts like this",
    "ticket": "has such ticket numbers",
    "address": "has the web address in the text",
    "star": "is paid through an unknown service",
    "inside": "appears inside the text",
    "similar": "is spelled similarly",
}


def _evidence(best: _Scored) -> str:
    """Return what else raised or lowered the score, strongest first, in words."""
    parts = [
        (abs(part), "for" if part > 0 else "against", phrase)
        for weight, value, phrases in zip(load_models()["match"].weights, best.features, PHRASES, strict=True)
        if value and abs(part := weight * value) >= _NOTABLE and (phrase := phrases[part < 0])
    ]
    parts.sort(reverse=True)
    return "".join(f"; {side} it: {phrase}" for _, side, phrase in parts[:_EVIDENCE])


def _decimal(value: float) -> Decimal:
    return Decimal(f"{value:.4f}")
