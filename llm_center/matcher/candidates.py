"""The ways in which a text may name a brand, from the strongest evidence to the weakest."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Final

from llm_center.catalogue import load_word_frequencies
from llm_center.matcher.index import Index, Spelling, compact_key
from llm_center.matcher.rules import AIRLINES, NEUTRAL
from transactions.rules.merchant_key import key_readings

# An airline's code and ten more digits; banks often truncate the name before it to a few letters.
_TICKET_NUMBER = re.compile(rf"(?<!\d)({'|'.join(AIRLINES)})\d{{10}}(?!\d)")
_AIRLINE_WORDS = frozenset(word for words in AIRLINES.values() for word in words)
_FUZZY_CUTOFF = 88.0
_SIMILAR_WORDS = 60.0
_SHORTEST_GLUED, _LONGEST_GLUED = 6, 24
# A similar spelling has at least this share of the letters: a little below cutoff / (200 - cutoff).
_SHORTEST = 0.78
_NO_KEYS: tuple[list[str], list[int]] = ([], [])
# Terminals and services of small shops. Chains have their own.
_SMALL_SHOP = re.compile(
    r"\b(?:GOSQ\.COM|SQC?|TST|TOAST|CLV|CLOVER\.?|SUMUP|I?ZETTLE|ZTL|SPO|SPOTON|LS|LIGHTSPEED|VAGARO|MINDBODY|SHOPKEEP"
    r"|GLOFOX|BOULEVARD|FSP|PAR|CKE|PY|SPI) ?[*-]"
)
_ONLINE = re.compile(r"\b(?:PAYPAL|PYPL|PP|SP|STRIPE|SHOPIFY|WPY|EB|ETSY|GUMROAD|PADDLE|FS|IN|BT) ?\*")
_TOLL_FREE = re.compile(r"(?<!\d)8(?:00|33|44|55|66|77|88)(?:\d{7}(?!\d)|-(?!\d{4}(?!\d)))")
_NO_LETTERS = {code: None for code in range(128) if not chr(code).isalnum()}
# Each alternative starts with a digit: the search skips everything else.
_STORE_NUMBER = re.compile(r"\d(?:(?<=#.)|(?<=# .)|(?<=[A-Z'&] .)\d{1,5}(?= |$)|(?<=[A-Z].)\d{2,4}(?= |$))")
_STORE = re.compile(r"\bSTORE\b")


@dataclass(frozen=True, slots=True)
class Match:
    """A spelling found in a text.

    Attributes:
        letters: of the key that the spelling explains.
        before, after: the other words of the key.
        strength: how much of the spelling was found, or how similar it is, from 0 to 1.
        is_disputed: whether several owners use the spelling, or several spellings start like the text.
    """

    spelling: Spelling
    method: str
    letters: int
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    strength: float = 1.0
    is_disputed: bool = False
    rivals: tuple[Spelling, ...] = ()


class Text:
    """A merchant's key with the bank's text, both in capitals.

    Attributes:
        letters: of the key, without blanks.
        wrapper: whether a terminal for small shops, and whether an online payment service, is named: 0 or 1 each.
        store_number: 1 when the text has a number like that of a store.
        toll_free: 1 when it has a telephone number without charge, as businesses in many places have.
        payee: letters and digits before the last star, after which a product or a reference follows.
    """

    __slots__ = ("descriptor", "key", "letters", "payee", "store_number", "tokens", "toll_free", "wrapper")

    def __init__(self, key: str, descriptor: str) -> None:
        self.key, self.descriptor = key, descriptor
        self.tokens = key.split()
        self.letters = len(key) - len(self.tokens) + 1
        is_store = _STORE_NUMBER.search(descriptor) or ("STORE" in descriptor and _STORE.search(descriptor))
        self.store_number = 1.0 if is_store else 0.0
        self.toll_free = 1.0 if "8" in descriptor and _TOLL_FREE.search(descriptor) else 0.0
        self.payee = descriptor.rpartition("*")[0].translate(_NO_LETTERS) if "*" in descriptor else ""
        self.wrapper = (0.0, 0.0)
        if "*" in descriptor or "TST-" in descriptor:
            self.wrapper = (1.0 if _SMALL_SHOP.search(descriptor) else 0.0, 1.0 if _ONLINE.search(descriptor) else 0.0)


def find_matches(index: Index, text: Text) -> Iterator[Match]:
    """Yield at most one match of each kind."""
    for find in FINDERS:
        match = find(index, text)
        if match is not None:
            yield match


def _exact(index: Index, text: Text) -> Match | None:
    spelling = index.spellings.get(text.key)
    if spelling is None:
        return None
    return Match(spelling, "exact", text.letters, is_disputed=text.key in index.disputed)


def _domain(index: Index, text: Text) -> Match | None:
    """Match a web address, which identifies its owner however the shop's own name is written: BESTBUY.COM."""
    if "." not in text.key:
        return None
    tokens = text.tokens
    for position, token in enumerate(tokens):
        if "." not in token:
            continue
        name = token.rsplit(".", 1)[0]
        whole = " ".join(tokens[: position + 1])
        spelling = index.spellings.get(token) or index.spellings.get(whole)
        if spelling is None:
            spelling = index.compact.get(compact_key(" ".join([*tokens[:position], name])))
            spelling = spelling or (index.compact.get(compact_key(name)) if position == 0 else None)
        if spelling is not None and spelling.key not in index.disputed and compact_key(name) not in index.disputed:
            return Match(spelling, "domain", len(whole), after=tuple(tokens[position + 1 :]))
    return None


def _prefix(index: Index, text: Text) -> Match | None:
    tokens = text.tokens
    spelling, size = index.longest_prefix(tokens)
    if spelling is None or size == len(tokens):
        return None
    shorter, _ = index.longest_prefix(tokens[: size - 1])
    is_at = tokens[size] == "AT" and spelling.kind == ""  # STARBUCKS AT HYATT REGENCY
    return Match(
        spelling,
        "prefix",
        text.letters if is_at else sum(map(len, tokens[:size])),
        after=() if is_at else tuple(tokens[size:]),
        is_disputed=spelling.key in index.disputed,
        rivals=(shorter,) if shorter else (),
    )


def _compact(index: Index, text: Text) -> Match | None:
    """Match a spelling that is written without spaces, or joined with a number or the next word."""
    compact = compact_key(text.key)
    spelling = index.compact.get(compact)
    if spelling is not None and compact not in index.disputed and spelling.key not in index.disputed:
        return Match(spelling, "compact", text.letters)
    tokens = text.tokens
    first = tokens[0].rstrip("0123456789")
    if first != tokens[0] and len(first) >= 3:
        found, size = index.longest_prefix([first, *tokens[1:]])
        if found is not None and found.key not in index.disputed:
            letters = len(found.key.replace(" ", ""))
            return Match(found, "joined", letters, after=tuple(tokens[size:]), strength=min(1.0, len(first) / 8))
    for size in (3, 2, 1):  # BEST BUY written BESTBUY before other words, and the other way round
        if len(tokens) >= max(size, 2) and " ".join(tokens[:size]) not in index.spellings:
            found = index.compact.get(compact_key("".join(tokens[:size])))
            if found is not None and found.key not in index.disputed and len(found.key) >= 6:
                return Match(found, "joined", sum(map(len, tokens[:size])), after=tuple(tokens[size:]))
    for size in range(min(len(tokens[0]) - 2, _LONGEST_GLUED), _SHORTEST_GLUED - 1, -1):  # VERIZONRECURRING PAY
        found = index.compact.get(tokens[0][:size])
        if found is not None and found.key not in index.disputed and tokens[0][size:] in NEUTRAL:
            return Match(found, "joined", len(tokens[0]), after=tuple(tokens[1:]))
    return None


def _truncated(index: Index, text: Text) -> Match | None:
    """Match the beginning of a longer spelling: banks cut names."""
    key = text.key
    if len(key) < 8:
        return None
    matches = index.starting_with(key)
    if not matches:
        return None
    shortest = min(matches, key=lambda match: len(match.key))
    is_inside_a_word = shortest.key[len(key) : len(key) + 1] not in ("", " ")
    owners = {match.brand.ticker: match for match in matches}
    rivals = tuple(match for ticker, match in owners.items() if ticker != shortest.brand.ticker)
    return Match(
        shortest,
        "truncated" if is_inside_a_word else "beginning",
        text.letters,
        strength=len(key) / len(shortest.key),
        is_disputed=bool(rivals),
        rivals=rivals,
    )


def _ticket(index: Index, text: Text) -> Match | None:
    if text.tokens[0] not in _AIRLINE_WORDS:
        return None
    ticket = _TICKET_NUMBER.search(text.descriptor)
    if ticket is None or text.tokens[0] not in AIRLINES[ticket[1]]:
        return None
    spelling = index.spellings.get(AIRLINES[ticket[1]][0])
    return Match(spelling, "ticket", text.letters) if spelling else None


def _text_domain(index: Index, text: Text) -> Match | None:
    """Match a web address in the bank's text that is not in the key: HELP.UBER.COM."""
    if "." not in text.descriptor:
        return None
    for part in text.descriptor.replace("*", " ").split():
        labels = part.split("/")[0].strip(".,").split(".")
        if len(labels) < 2 or labels[-1] not in ("COM", "NET", "TV", "ORG"):
            continue
        spelling = index.spellings.get(".".join(labels[-2:])) or index.compact.get(labels[-2].replace("-", ""))
        if spelling is not None and spelling.key not in index.disputed:
            return Match(spelling, "address", 0, before=tuple(text.tokens))
    return None


def _star(index: Index, text: Text) -> Match | None:
    """Match what follows an unknown prefix and a star: XYZ*HULU.COM may be paid through XYZ.

    Only a whole name: an unknown prefix may also be a shop that names a product.
    """
    if "*" not in text.descriptor:
        return None
    for key in key_readings(text.descriptor)[1:]:
        spelling = index.spellings.get(key)
        if spelling is not None and key not in index.disputed:
            return Match(spelling, "star", text.letters)
    return None


def _inside(index: Index, text: Text) -> Match | None:
    tokens = text.tokens
    for start in range(1, len(tokens)):
        spelling, size = index.longest_prefix(tokens, start)
        if spelling is None or spelling.kind == "common":
            continue
        is_distinctive = spelling.kind == "" or size > 1 or "".join(tokens[:start]).isdigit()
        if is_distinctive and len(spelling.key) >= (3 if spelling.kind else 4):
            return Match(
                spelling,
                "inside",
                sum(map(len, tokens[start : start + size])),
                before=tuple(token for token in tokens[:start] if not token.isdigit()),
                after=tuple(tokens[start + size :]),
                is_disputed=spelling.key in index.disputed,
            )
    return None


def _fuzzy(index: Index, text: Text) -> Match | None:
    """Match a spelling that is a typo away."""
    if len(text.key) < 6:
        return None
    keys, lengths = index.by_initials.get(text.key[:3], _NO_KEYS)
    size = len(text.key)
    first, last = bisect_left(lengths, size * _SHORTEST), bisect_right(lengths, size / _SHORTEST)
    match = _most_similar()(text.key, keys[first:last]) if first < last else None
    if match is None:
        return None
    spelling = index.spellings[match[0]]
    words = spelling.key.split()
    if len(words) != len(text.tokens):
        if compact_key(spelling.key) != compact_key(text.key):
            return None
    elif any(
        word != other and (word in load_word_frequencies() or _ratio()(word, other) < _SIMILAR_WORDS)
        for word, other in zip(text.tokens, words, strict=True)
    ):
        return None  # another word, not a typo: SALOON is not SALOMON
    return Match(spelling, "similar", text.letters, strength=match[1] / 100, is_disputed=spelling.key in index.disputed)


@lru_cache(maxsize=1)
def _ratio() -> Callable[[str, str], float]:
    from rapidfuzz import fuzz  # noqa: PLC0415  # large; few processes match merchants

    return fuzz.ratio


@lru_cache(maxsize=1)
def _most_similar() -> Callable[[str, list[str]], tuple[str, float, int] | None]:
    from rapidfuzz import process  # noqa: PLC0415  # as above

    return partial(process.extractOne, scorer=_ratio(), score_cutoff=_FUZZY_CUTOFF)


FINDERS: Final = (_exact, _domain, _prefix, _compact, _truncated, _ticket, _text_domain, _star, _inside, _fuzzy)
# These only count where nothing better is found.
GUESSES: Final = (_inside, _fuzzy)
