"""Rules over the words around a spelling. The word lists are in `data/matcher_words.toml`."""

import re
import tomllib
from collections.abc import Sequence
from functools import lru_cache

from llm_center.catalogue import DATA
from llm_center.matcher.index import Spelling
from transactions.rules.places import is_place

with (DATA / "matcher_words.toml").open("rb") as _file:
    _LISTS = tomllib.load(_file)
NEUTRAL, _ADDRESS, ANCHORS, FOREIGN = (
    frozenset(_LISTS[name].split()) for name in ("neutral", "address", "anchors", "foreign")
)
_CATEGORIES = [(tuple(row["prefixes"]), frozenset(row["words"].split())) for row in _LISTS["categories"]]
_BANK_CATEGORIES = [(row["words"], tuple(row["allowed"])) for row in _LISTS["bank_categories"]]
_REFERENCE = re.compile(r"[\d.]|^(?:HTTPS?|WWW)")
# The first three digits of a ticket number: the airline's spelling, then the first words of truncated keys.
AIRLINES: dict[str, list[str]] = _LISTS["airlines"]
GENERIC_COMPANY_WORDS = frozenset(_LISTS["generic_company_words"].split())


@lru_cache(maxsize=512)
def fitting_words(category: str) -> frozenset[str]:
    """Return the words that may follow a brand of this category."""
    return NEUTRAL.union(*(words for prefixes, words in _CATEGORIES if category.startswith(prefixes)))


def split_unfit(spelling: Spelling, words: Sequence[str]) -> list[str]:
    """Return the words after a spelling that do not fit its category; numbers, references and addresses aside."""
    words = [word for word in words if word.isalpha() or not _REFERENCE.search(word)]
    if not words:
        return []
    fitting = fitting_words(spelling.brand.category)
    if spelling.kind == "":
        return [word for word in words if word not in fitting and word not in _ADDRESS]
    if len(words) > 1 and words[0] in ("OF", "AT") and is_place(" ".join(words[1:])):
        return []  # LOWES OF CARY
    return [word for word in words if word not in fitting]


def bank_category_fits(category: str, brand_category: str) -> bool | None:
    """Return whether the bank's category fits the brand's; None when it is too general."""
    text = category.upper()
    for words, allowed in _BANK_CATEGORIES if text else ():
        if any(word in text for word in words):
            return brand_category.startswith(allowed)
    return None
