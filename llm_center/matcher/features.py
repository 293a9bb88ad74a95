"""What a match, and a text without one, prove: numbers for the models of `model.py`."""

from collections.abc import Iterable
from typing import Final

from llm_center.catalogue import load_local_words, load_word_frequencies
from llm_center.matcher.candidates import Match, Text
from llm_center.matcher.index import compact_key
from llm_center.matcher.rules import ANCHORS, FOREIGN, fitting_words, split_unfit
from transactions.rules.places import is_place, is_town

METHODS: Final = (
    "exact", "domain", "prefix", "compact", "joined", "truncated", "beginning", "ticket", "address", "star", "inside",
    "similar",
)  # fmt: skip
_PROFESSION: Final = frozenset(
    "DR DDS DMD MD DO DC OD DVM PLLC PC PA LLP LAW ESQ CPA REV FAMILY BROS SONS LLC COOP CO-OP ASSN ASSOC".split()
)
_PUBLIC: Final = frozenset(
    "CITY TOWN VILLAGE COUNTY CNTY BOROUGH TWP TOWNSHIP DEPT DMV DMS RMV COURT CLERK TREASURER PARK PARKS RECREATION"
    " PARKING METER UNIV UNIVERSITY COLLEGE SCHOOL SCHOOLS ISD USD ACADEMY LIBRARY USPS POST TOLL TRANSIT MTA METRO"
    " AUTHORITY WATER SEWER MUNICIPAL MUSEUM ZOO CHURCH MINISTRY MINISTRIES TEMPLE SYNAGOGUE PARISH DIOCESE FOUNDATION"
    " SOCIETY CHARITY CHARITIES YMCA CLUB ASSOCIATION".split()
)


def match_features(match: Match, text: Text) -> list[float]:
    """Return the features of a match, in the order of `MATCH_FEATURES`."""
    spelling, after = match.spelling, match.after
    unfit = split_unfit(spelling, after)
    is_place_after = bool(unfit) and is_place(" ".join(unfit))
    if is_place_after:
        unfit = []
    one_word = " " not in spelling.key
    common, known = float(spelling.kind == "common"), float(spelling.kind == "known" and one_word)
    is_town_after = bool(unfit) and is_town(" ".join(unfit))
    fitting = fitting_words(spelling.brand.category) if unfit else ()
    small_shop, online = text.wrapper
    first = spelling.key.partition(" ")[0]
    return [
        *_METHOD_ROWS[match.method],
        match.letters / text.letters - 0.7 if text.letters else 0.0,
        common,
        known,
        float(spelling.is_place),
        spelling.rarity - 0.6,
        (spelling.rarity - 0.6) * one_word,
        min(spelling.key.count(" "), 3) / 3,
        min(len(unfit), 4) / 4,
        common * bool(unfit),
        known * bool(unfit),
        float(not is_town_after and any(word in FOREIGN and word not in fitting for word in unfit)),
        float(is_place_after),
        float(bool(after) and not unfit and not is_place_after),
        float(bool(after) and after[0] in ANCHORS),
        min(len(match.before), 3) / 3,
        float(match.is_disputed),
        match.strength - 1 if match.method in _PARTIAL else 0.0,
        (match.strength - 0.88) * 8 if match.method == "similar" else 0.0,
        small_shop,
        online,
        text.store_number,
        common * text.store_number,
        float(len(spelling.key) <= 3),
        local_word_score(after) if after else 0.0,
        float(not _PROFESSION.isdisjoint(after)),
        float(not _PUBLIC.isdisjoint(after)),
        float(spelling.brand.category == "shop/car"),
        float(spelling.brand.category.startswith(_BANKS)),
        (spelling.rarity - 0.6) * bool(unfit),
        min(spelling.key.count(" "), 3) / 3 * bool(unfit),
        float(is_town_after),
        text.toll_free,
        float(bool(text.payee) and text.payee.endswith(compact_key(spelling.key))),
        float(len(first) > 3 and text.descriptor.count(first) > 1),
        small_shop * (not spelling.brand.category.startswith(_OVER_THE_COUNTER)),
    ]


_BANKS: Final = (
    "amenity/bank",
    "amenity/money_transfer",
    "finance",
    "office/financial",
    "office/mortgage",
    "shop/money_lender",
)
# Trades that have terminals like those of small shops.
_OVER_THE_COUNTER: Final = ("amenity/", "shop/", "leisure", "tourism")
_PARTIAL: Final = frozenset(("truncated", "beginning", "joined"))
_METHOD_ROWS: Final = {name: tuple(float(name == other) for other in METHODS) for name in METHODS}
# Name, and the words for it where it raises the score and where it lowers it.
_MATCH_FEATURES: Final = (
    *((f"found as {name}", "", "") for name in METHODS),
    ("share of the name", "it is most of the name", "much of the name is something else"),
    ("common word", "", "it is also an ordinary word or family name"),
    ("known word", "on statements the word means the brand", "it is also an ordinary word"),
    ("place", "", "it is also a place"),
    ("rarity", "its words are rare", "its words are frequent in English"),
    ("rarity of one word", "the word is rare", "the word is frequent in English"),
    ("words", "several words agree", ""),
    ("unfit words", "", "words follow that do not fit"),
    ("unfit words after a common one", "", "an ordinary word, and the words after it do not fit"),
    ("unfit words after a known one", "", "an ordinary word, and the words after it do not fit"),
    ("another trade", "", "another trade follows"),
    ("place after it", "a place follows", ""),
    ("fitting words after it", "the words after it fit", ""),
    ("trade after it", "its trade follows", ""),
    ("words before it", "", "other words come first"),
    ("several owners", "", "several owners use the name"),
    ("missing part", "", "a part of it is missing"),
    ("similarity", "only a letter differs", ""),
    ("small shop", "", "charged through a terminal for small shops"),
    ("online payment", "charged through a payment service", "charged through a payment service"),
    ("store number", "a store number follows", ""),
    ("store number after a common word", "a store number follows", "a number follows an ordinary word"),
    ("short", "", "the name is very short"),
    ("local words", "", "words of local merchants follow"),
    ("profession", "", "a profession or a family is named"),
    ("public body", "", "a public or charitable body is named"),
    ("car dealer", "", "it may be a dealer"),
    ("bank", "", "money at a bank is seldom a purchase"),
    ("unfit words after a rare one", "its words are rare", ""),
    ("unfit words after several", "several words agree", ""),
    ("town after it", "a town follows", ""),
    ("toll-free number", "a toll-free number follows", ""),
    ("star after it", "a star and a product or a reference follow", ""),
    ("named twice", "it is named twice", ""),
    ("small shop of another trade", "", "such companies have no terminals of small shops"),
)
MATCH_FEATURES: Final = tuple(name for name, _, _ in _MATCH_FEATURES)
# What to write about each feature: (for, against); empty where the reviewer needs no words.
PHRASES: Final = tuple((raises, lowers) for _, raises, lowers in _MATCH_FEATURES)


def leading_brand(matches: Iterable[Match]) -> float:
    """Return 1 when the text starts with a listed brand's name that is no ordinary word, less when it may be one."""
    return max(
        (
            0.5 if match.spelling.kind and " " not in match.spelling.key else 1.0
            for match in matches
            if match.spelling.brand.ticker and match.spelling.kind != "common" and not match.before
        ),
        default=0.0,
    )


def unlisted_features(text: Text, best: float, private: float, leading: float, *, has_match: bool) -> list[float]:
    """Return the features of a text that may belong to no listed company, in the order of `UNLISTED_FEATURES`.

    Args:
        best: confidence of the best match with a listed owner.
        private: confidence of the best match with an owner that cannot be bought.
        leading: see `leading_brand`.
    """
    tokens, descriptor = text.tokens, text.descriptor
    frequencies, weights = load_word_frequencies(), load_local_words()
    score = highest = frequency = 0.0
    for token in tokens:
        if token in weights:
            score += weights[token]
            highest = max(weights[token], highest)
        frequency += frequencies.get(token, 0.0)
    return [
        best,
        1.0 if best > 0.5 else 0.0,
        private,
        1.0 if has_match else 0.0,
        max(-4.0, min(score, 8.0)) / 4,
        highest / 2,
        *text.wrapper,
        text.store_number,
        1.0 if "." in text.key else 0.0,
        0.0 if _PROFESSION.isdisjoint(descriptor.split()) else 1.0,
        0.0 if _PUBLIC.isdisjoint(tokens) else 1.0,
        min(len(tokens), 5) / 5,
        1.0 if len(tokens) == 1 else 0.0,
        frequency / len(tokens) / 6,
        0.0 if tokens[0] in frequencies else 1.0,
        1.0 if "*" in descriptor or descriptor[0] == "#" else 0.0,
        1.0 if "'S " in descriptor else 0.0,
        1.0 if " & " in text.key else 0.0,
        text.toll_free,
        0.0 if FOREIGN.isdisjoint(tokens) else 1.0,
        leading,
    ]


UNLISTED_FEATURES: Final = (
    "a listed brand matches",
    "a listed brand matches well",
    "a private brand matches",
    "something matches",
    "words of local merchants",
    "a word of local merchants",
    "small shop terminal",
    "online payment service",
    "store number",
    "web address",
    "a profession or family",
    "a public or charitable body",
    "number of words",
    "one word",
    "common words",
    "rare first word",
    "star",
    "a person's name",
    "two names",
    "toll-free number",
    "a trade",
    "a listed brand's name first",
)


def local_word_score(words: list[str] | tuple[str, ...]) -> float:
    """Return how much more often these words occur with local merchants than with brands, as a sum of log odds."""
    weights = load_local_words()
    return sum(weights.get(word, 0.0) for word in words)
