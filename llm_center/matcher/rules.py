"""Rules over the words around a spelling. The word lists are in `data/matcher_words.toml`."""

import tomllib
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache

from llm_center.catalogue import DATA
from llm_center.matcher.index import Spelling
from llm_center.matcher.proposal import DOUBTFUL, GUESS, IN_CONTEXT, PREFIX, WEAK, Proposal
from transactions.rules.places import is_place

with (DATA / "matcher_words.toml").open("rb") as _file:
    _LISTS = tomllib.load(_file)
_NEUTRAL, _ADDRESS, _ANCHORS, _FOREIGN = (
    frozenset(_LISTS[name].split()) for name in ("neutral", "address", "anchors", "foreign")
)
_CATEGORIES = [(tuple(row["prefixes"]), frozenset(row["words"].split())) for row in _LISTS["categories"]]
_BANK_CATEGORIES = [(row["words"], tuple(row["allowed"])) for row in _LISTS["bank_categories"]]
# The first three digits of a ticket number: the airline's spelling, then the first words of truncated keys.
AIRLINES: dict[str, list[str]] = _LISTS["airlines"]
GENERIC_COMPANY_WORDS = frozenset(_LISTS["generic_company_words"].split())


@lru_cache(maxsize=512)
def _fitting_words(category: str) -> frozenset[str]:
    """Return the words that may follow a brand of this category."""
    return _NEUTRAL.union(*(words for prefixes, words in _CATEGORIES if category.startswith(prefixes)))


def score_suffix(spelling: Spelling, size: int, suffix: list[str]) -> tuple[Decimal, str]:
    """Return the confidence in a spelling of `size` words, given the words after it, and a remark for the reason."""
    fitting = _fitting_words(spelling.brand.category)
    ambiguous = spelling.kind in ("common", "known")
    if not ambiguous:
        fitting |= _ADDRESS
    if ambiguous and len(suffix) > 1 and suffix[0] in ("OF", "AT") and is_place(" ".join(suffix[1:])):
        suffix = []  # LOWES OF CARY
    unfit = [token for token in suffix if token not in fitting and not token.isdigit()]
    if spelling.brand.category == "shop/car" and (unfit or "OF" in suffix):
        return WEAK, "but it may be a dealer"
    if unfit and suffix[-len(unfit) :] == unfit and is_place(" ".join(unfit)):
        unfit = []
    if ambiguous:
        if unfit:
            return GUESS, f"which is also a common word, and “{' '.join(unfit)}” does not fit"
        strong = spelling.kind == "known" or (suffix and suffix[0] in fitting and suffix[0] in _ANCHORS)
        return (IN_CONTEXT if strong else DOUBTFUL), "and the following words fit"
    foreign = [token for token in unfit if token in _FOREIGN]
    if foreign:
        return WEAK, f"but “{foreign[0]}” is a different trade"
    if not unfit:
        return PREFIX, "and the following words fit"
    if size == 1 and len(spelling.key) < 5:
        return WEAK, "but the name is short and the following words do not fit"
    return IN_CONTEXT, "a distinctive name"


def apply_bank_category(proposal: Proposal, category: str) -> Proposal:
    """Lower the confidence if the bank's category contradicts the brand; the bank may know more than the name."""
    text = category.upper()
    for words, allowed in _BANK_CATEGORIES:
        if any(word in text for word in words):
            if not proposal.category.startswith(allowed) and proposal.confidence > DOUBTFUL:
                reason = f"{proposal.reason} But the bank's category is “{category}”."
                return replace(proposal, confidence=DOUBTFUL, reason=reason)
            return proposal
    return proposal
