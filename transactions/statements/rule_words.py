"""Which words a regular expression needs, so that most expressions are never tried on a text.

Understands what `data/row_classes.toml` uses: groups, alternatives, repetition, classes and lookahead. What it does not
know is a gap: a word beside it is not needed.
"""

import re
from typing import Final

_SIGN: Final = re.compile(r"(\((?:\?(?:[:=!]|<[=!]))?|\\.|\[[^]]*\]|.)((?:[*+?]|\{[\d,]*\})\??)?")
_LOOKS: Final = ("(?=", "(?!", "(?<=", "(?<!")
_GAP: Final = "\0"
_MOST: Final = 1_000  # spellings of a word; one with more is a gap
STEM: Final = 6  # letters of a word that count, so that FINANC\w* needs a word too


def alternatives(pattern: str) -> list[str]:
    """Divide a pattern at the bars that are outside of all groups."""
    parts, depth = [""], 0
    for sign in re.findall(r"\\.|\[[^]]*\]|.", pattern):
        depth += (sign == "(") - (sign == ")")
        if sign == "|" and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    return parts


def needed_words(alternative: str) -> list[frozenset[str]]:
    """Return sets of words by their first letters, the smallest first: each text that matches has a word of each."""
    needed: list[frozenset[str]] = []
    # The open groups: how each starts, and the texts of each of its alternatives; a blank is what separates words.
    groups: list[tuple[str, list[set[str]]]] = [("", [{_GAP}])]
    for sign, repeat in _SIGN.findall(alternative):
        if sign[0] == "(":
            groups.append((sign, [{""}]))
            continue
        if sign == "|":
            groups[-1][1].append({""})
            continue
        if sign == ")":
            start, inside = groups.pop()
            texts = {""} if start in _LOOKS else set[str]().union(*inside)
        else:
            texts = {_text(sign)}
        if repeat and repeat != "?":
            edges = [" " if all(text[at:][:1] == " " for text in texts) else "" for at in (0, -1)]
            texts = texts | {_GAP.join(edges)}
        if repeat[:1] in ("?", "*") or repeat.startswith("{0"):
            texts = texts | {""}
        before = groups[-1][1]
        before[-1] = {first + second for first in before[-1] for second in texts}
        if len(before[-1]) > _MOST:
            before[-1] = {_GAP}
        if len(groups) == 1 and all(text.endswith(" ") for text in before[-1]):
            words = frozenset(max(map(_stem, text.split()), key=len, default="") for text in before[-1])
            if "" not in words:
                needed.append(words)
            before[-1] = {" "}
    return sorted(needed, key=len)


def _stem(word: str) -> str:
    letters, gap, _ = word.partition(_GAP)
    return "" if gap and len(letters) < STEM else letters[:STEM]


def _text(sign: str) -> str:
    """Return what one sign matches: a letter, a blank for anything that separates words, or a gap."""
    if sign.isalpha():
        return sign
    if sign in (".", r"\w", r"\S", r"\D", r"\W", r"\B") or sign.startswith("[^"):
        return _GAP
    return _GAP if sign[0] == "[" and re.search(r"[A-Z]|\\[wSDW]", sign) else " "
