"""Lookup tables over every spelling in the catalogue, built once per process."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from llm_center.catalogue import Brand, load_brands, load_word_frequencies, load_words
from transactions.rules.merchant_key import normalise_uncached
from transactions.rules.places import is_place


@dataclass(frozen=True, slots=True)
class Spelling:
    """One way to write a brand, as a merchant key.

    `kind` is "", "common" or "known"; see `catalogue.load_words`. `rarity` is that of its rarest word, from 0 for
    the most frequent words of English to 1. `is_place`: it is also the name of a place.
    """

    key: str
    brand: Brand
    kind: str
    rarity: float
    is_place: bool


class Index:
    """The spellings by key, by compact key, and by their first three and eight characters."""

    def __init__(self, brands: Iterable[Brand]) -> None:
        words = load_words()
        self.others = {key for key, kind in words.items() if kind == "other"}
        self.others_start = {key.split()[0] for key in self.others}
        self.spellings: dict[str, Spelling] = {}
        self.disputed: set[str] = set()
        for brand in brands:
            for text in (brand.name, *brand.aliases):
                key = normalise_uncached(text)
                is_cut = key not in words or (words[key] == "common" and text.upper().startswith(f"{key} "))
                if " " in text and " " not in key and is_cut and _rarity(key) < _FREQUENT:
                    continue  # what is left of United Online and of Rue La La is an ordinary word
                if len(key) > 1 or key == "76":
                    self._add(key, brand, words.get(key, ""))
        # The number of tokens of the longest spelling that starts with a token.
        self.longest: dict[str, int] = {}
        for key in self.spellings:
            first, _, rest = key.partition(" ")
            self.longest[first] = max(self.longest.get(first, 1), len(rest.split()) + 1)
        # Without spaces and punctuation; spellings of a few letters would collide with words.
        self.compact: dict[str, Spelling] = {}
        for key, spelling in self.spellings.items():
            compact = compact_key(key)
            is_word = compact != key and _rarity(compact) < _FREQUENT  # SPRI NG is no SPRING
            is_distinctive = spelling.kind == "" or (spelling.kind == "known" and " " in key)
            if len(compact) >= 5 and is_distinctive and not is_word:
                known = self.compact.setdefault(compact, spelling)
                if known.brand.ticker != spelling.brand.ticker:
                    self.disputed.add(compact)
        # Those of at least six characters, in order of length, and the lengths.
        by_initials: dict[str, list[str]] = {}
        for key in sorted(self.spellings, key=len):
            if len(key) >= 6:
                by_initials.setdefault(key[:3], []).append(key)
        self.by_initials = {initials: (keys, [len(key) for key in keys]) for initials, keys in by_initials.items()}
        self.by_start: dict[str, list[str]] = {}
        for key in sorted(self.spellings):
            if len(key) >= 8:
                self.by_start.setdefault(key[:8], []).append(key)

    def _add(self, key: str, brand: Brand, kind: str) -> None:
        known = self.spellings.get(key)
        if known is None or (known.brand.is_unknown and not brand.is_unknown):
            self.spellings[key] = Spelling(key, brand, kind, _rarity(key), is_place(key))
        elif known.brand.ticker != brand.ticker and not brand.is_unknown:
            # Two owners use one spelling. A brand's own name takes precedence over an alias; otherwise it is disputed.
            if normalise_uncached(brand.name) == key and normalise_uncached(known.brand.name) != key:
                self.spellings[key] = Spelling(key, brand, kind, _rarity(key), is_place(key))
            elif normalise_uncached(known.brand.name) != key or normalise_uncached(brand.name) == key:
                self.disputed.add(key)

    def longest_prefix(self, tokens: list[str], start: int = 0) -> tuple[Spelling | None, int]:
        """Return the longest spelling that the tokens from a position start with, and its number of tokens."""
        longest = self.longest.get(tokens[start]) if tokens else None
        if longest is not None:
            for size in range(min(len(tokens) - start, longest), 0, -1):
                spelling = self.spellings.get(" ".join(tokens[start : start + size]))
                if spelling is not None:
                    return spelling, size
        return None, 0

    def starting_with(self, text: str) -> list[Spelling]:
        """Return the spellings that start with a text of at least eight characters, in order."""
        return [self.spellings[key] for key in self.by_start.get(text[:8], ()) if key.startswith(text)]


# Words that occur more than once in 400,000 words.
_FREQUENT = 1 - 3.4 / 8


def _rarity(key: str) -> float:
    frequencies = load_word_frequencies()
    return 1 - min(frequencies.get(word, 0.0) for word in key.split()) / 8


def compact_key(key: str) -> str:
    return key.replace(" ", "").replace("&", "").replace(".", "")


@lru_cache(maxsize=1)
def get_index() -> Index:
    return Index(load_brands())


def clear_index() -> None:
    """Drop the index after the catalogue has changed."""
    get_index.cache_clear()
