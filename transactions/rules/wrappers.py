"""What banks, processors and platforms put before the merchant's name in a descriptor.

The table is `data/wrappers.toml`, which explains how a prefix is written. Here each row becomes a pattern, and a text
is compared only with those that start with its first two letters. All text is upper case and folded.
"""

import itertools
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FILE = Path(__file__).parent.parent / "data" / "wrappers.toml"
EDGES = " -*:#./@"
DATE = r"(?:\d{1,2}/\d{1,2}(?:/\d{2,4})?|\d{4}-\d\d-\d\d|\d\d-\d\d-\d{2,4})"
_GROUP = re.compile(r"\(([^()]*)\)")
_STAR = r" ?\*+ ?"
_SIGNS = {" ": "[ *]*", "*": _STAR, "#": r"\d+", "@": "[A-Z0-9]{9}"}
_BANK_SIGNS = {"#": r"(?!1800 )(?:\d{4,}|\d+\.\d\d)", "%": "[A-Z][A-Z0-9]*"}
_WORD_END = "(?![A-Z0-9])"
_NAME = r"(?= ?[^ \d*]{3,}(?: |$))"
# What banks write after their wording: the number of a card or a terminal, a category of merchants, a date, a time.
_DETAILS = (
    r"(?:(?:(?:ON |DATE )?" + DATE + r"(?!\d)|(?:@ ?)?\d\d:\d\d(?::\d\d)?(?: ?[AP]M?\b)?|(?!1800 )\d{4,12}(?= +[A-Z\d])"
    r"|#?\d{6,}/|#\d{4,} |X+\d{2,4}(?!\d)|\*+\d{4,}|AUT \d{6}|CARD \d{4}(?= )|TRANSACTION(?= \d)) *[-,]? *)*"
)
_UNKNOWN = re.compile(r"[A-Z]{2,8} ?\*+ ?(?=[A-Z0-9])")
_WORD = re.compile(r"(?<![A-Z0-9])[A-Z&']{3,}(?![A-Z0-9])")


@dataclass(frozen=True, slots=True)
class Wrapper:
    """One row of the table. `key` is the merchant key if the wrapper's owner was paid, else empty."""

    prefix: str
    kind: str
    key: str = ""
    then: str = ""
    unless: tuple[str, ...] = ()

    def pattern(self, literal: str) -> str:
        """Return the regular expression of one of the prefixes of the row."""
        body = literal.rstrip(" *~")
        end = literal[len(body) :]
        text = "".join(_SIGNS.get(c) or re.escape(c) for c in body)
        if "*" in end:
            text += _STAR
        elif end == " ":
            text += " (?=[A-Z&]{2})"
        elif not end and body[-1].isalnum():
            text += _WORD_END
        if self.unless:
            text += f"(?!{'|'.join(map(re.escape, self.unless))})"
        return text + (_NAME if self.then else "")


def expand(prefix: str) -> list[str]:
    """Expand a prefix with alternatives: ``A(|B)`` is A and AB."""
    parts = _GROUP.split(prefix)
    choices = [part.split("|") if number % 2 else [part] for number, part in enumerate(parts)]
    return ["".join(choice) for choice in itertools.product(*choices)]


def _read() -> tuple[dict[str, Any], tuple[Wrapper, ...]]:
    table = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    wrappers = []
    for row in table["wrappers"]:
        if (row["says"] == "paid") != ("key" in row):
            raise ValueError(f"wrappers.toml: {row['prefix']} needs a key if it was paid, and only then")
        unless = tuple(row.get("unless", ()))
        wrappers.append(Wrapper(row["prefix"], row["kind"], row.get("key", ""), row.get("then", ""), unless))
    return table, tuple(wrappers)


_TABLE, WRAPPERS = _read()
_SUFFIX, _SUFFIX_KEY = _TABLE["paid_suffix"], _TABLE["paid_suffix_key"]


def _by_start(wrappers: Iterable[Wrapper]) -> dict[str, tuple[re.Pattern[str], list[str]]]:
    """Return, by first two letters, the pattern of all prefixes and the merchant key of each of its groups."""
    rows: dict[str, list[tuple[str, Wrapper]]] = defaultdict(list)
    for wrapper in wrappers:
        for literal in expand(wrapper.prefix):
            rows[literal[:2]].append((literal, wrapper))
    patterns = {}
    for start, entries in rows.items():
        # The longest prefix first; of equal ones, that with a condition.
        entries.sort(key=lambda entry: (-len(entry[0].rstrip(" *~")), -len(entry[1].then)))
        text = "|".join(f"({wrapper.pattern(literal)})" for literal, wrapper in entries)
        patterns[start] = (re.compile(text), ["", *(wrapper.key for _, wrapper in entries)])
    return patterns


_WITH_STAR = _by_start(WRAPPERS)
_WITHOUT_STAR = _by_start(wrapper for wrapper in WRAPPERS if not wrapper.prefix.endswith("*"))


def _bank_pattern() -> tuple[re.Pattern[str], frozenset[str]]:
    """Return the pattern of banks' wording at the front, and the words it can start with."""
    wording = sorted((each for row in _TABLE["bank_wording"] for each in expand(row)), key=len, reverse=True)
    rows = ["".join(_BANK_SIGNS.get(c) or re.escape(c) for c in each) for each in wording]
    qualifiers, words = _TABLE["bank_qualifiers"], _TABLE["bank_words"]
    signed = "|".join(row for row in rows if row[-1] in "/:")
    plain = "|".join(row for row in rows if row[-1] not in "/:")
    front = "|".join(map(re.escape, qualifiers))
    text = (
        rf"(?:(?:X*\d{{4}} +)?(?:(?:{front})[ -]+)*"
        rf"(?:{signed}|(?:{plain})(?=[ :*#/-]|$)|(?:{'|'.join(words)})(?= [A-Z]))[ :*#/-]*{_DETAILS})+"
    )
    starts = frozenset(re.split(r"[ :/-]", each)[0] for each in (*wording, *qualifiers, *words))
    return re.compile(text), starts


_BANK, _BANK_STARTS = _bank_pattern()
_LEADING_DATE = re.compile(DATE + r" +(?=[A-Z]{2})")
# A bank's record of a PayPal transfer names the merchant far behind.
_PAYPAL_TRANSFER = re.compile(r"ORIG CO NAME: ?PAYPAL .*? IND ID: ?([A-Z].*?) ?(?:IND NAME:|ORIG ID:|TRN:|$)")
# Wording that a sign follows (ORIG CO NAME:PAYPAL, POS-DEBIT), that a number precedes, and a date.
_BANK_NUMBER = re.compile("X*\\d{4} |" + DATE + " |(?:" + "|".join(sorted(_BANK_STARTS)) + ")[:*/-]")


def _without_bank_wording(text: str) -> str:
    """Remove a date and a bank's wording from the front; text that is nothing else stays."""
    if text[0].isdigit() and (match := _LEADING_DATE.match(text)):
        text = text[match.end() :]
    if transfer := _PAYPAL_TRANSFER.match(text):
        return transfer[1]
    match = _BANK.match(text)
    return (text[match.end() :].strip(EDGES) or text) if match else text


def unwrap(text: str) -> tuple[str, str]:
    """Remove what is before the merchant's name.

    Returns the rest, and the merchant key if a wrapper names who was paid: then the rest is of no interest.
    """
    text = text.strip(EDGES)
    if "  " in text:
        text = " ".join(text.split())
    # Most descriptors start with the merchant: compare only what can match.
    first = text.partition(" ")[0]
    if first in _BANK_STARTS or (not first.isalpha() and _BANK_NUMBER.match(text)):
        text = _without_bank_wording(text)
    starts = _WITH_STAR if "*" in text else _WITHOUT_STAR
    while (entry := starts.get(text[:2])) is not None:
        match = entry[0].match(text)
        if match is None:
            break
        key = entry[1][match.lastindex or 0]
        if key:
            return text, key
        rest = text[match.end() :].lstrip(EDGES)
        if not rest:
            break
        text = rest
    if _SUFFIX in text:
        return text, _SUFFIX_KEY
    return text, ""


def after_unknown(text: str) -> str:
    """Return what follows a star after a short prefix (``XYZ*JOES TAVERN``), or nothing if that is only a reference."""
    match = _UNKNOWN.match(text)
    rest = text[match.end() :] if match else ""
    return rest if _WORD.search(rest) else ""
