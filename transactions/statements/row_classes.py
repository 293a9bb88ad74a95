"""What a row of a bank file is: a purchase, a refund, or money moved, by the words in it."""

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

from transactions.statements.rule_words import STEM, alternatives, needed_words

Direction = Literal["", "in", "out"]

_data = tomllib.loads((Path(__file__).parent / "data" / "row_classes.toml").read_text(encoding="utf-8"))
_OUT: Final = frozenset(_data["directions"]["out"].split())
_IN: Final = frozenset(_data["directions"]["in"].split())
_STATUSES: Final = {word: kind for kind, words in _data["statuses"].items() for word in words.split()}
TRNTYPE_CLASSES: Final[dict[str, str]] = _data["trntypes"]
GENERIC_MERCHANTS: Final = frozenset(_data["merchants"]["generic"])
_UNPOSTED: Final = re.compile(_data["unposted"]["text"])
# Classes of rules for rows that move no money between accounts.
_NOT_MONEY_MOVED: Final = frozenset(("purchase", "refund", "balance"))
CURRENCIES: Final = frozenset(_data["unposted"]["currencies"].split())
_PAIRS: Final = [pair.split() for pair in _data["directions"]["pairs"]]


@dataclass(frozen=True, slots=True)
class RowRule:
    """The rule that matched: the class, or "balance" for a line that is no transaction, and the way the money went."""

    row_class: str
    direction: Direction


_RULES: Final = [
    (
        RowRule(rule["class"], rule.get("direction", "")),
        {field: re.compile(rule[field]) for field in ("type", "category") if field in rule},
        [rule["text"]] if isinstance(rule.get("text"), str) else rule.get("text", []),
    )
    for rule in _data["rules"]
]
_WORD: Final = re.compile("[A-Z]+")
_ANY: Final = frozenset(("",))  # what a rule needs that no word was found for


@lru_cache(maxsize=1)
def _text_rules() -> tuple[list[tuple[RowRule, re.Pattern[str], frozenset[str]]], dict[str, list[int]]]:
    """Return the alternatives of all rules over the text, in order, and which of them need each word.

    The third part of an alternative are further words of which a text must have one.
    """
    rules: list[tuple[RowRule, re.Pattern[str], frozenset[str]]] = []
    by_word: dict[str, list[int]] = {}
    for rule, _, patterns in _RULES:
        for part in (part for pattern in patterns for part in alternatives(pattern)):
            needed = needed_words(part) or [_ANY]
            for word in needed[0]:
                by_word.setdefault(word, []).append(len(rules))
            rules.append((rule, re.compile(part), needed[min(1, len(needed) - 1)]))
    return rules, by_word


def match_rule(text: str, type_text: str = "", category: str = "") -> RowRule | None:
    """Return the first rule for the text, else for the type, else for the category; None when no rule matches."""
    if rule := _match_text(text.upper()):
        return rule
    if type_text and (rule := _match("type", type_text.upper())):
        return rule
    return _match("category", category.upper()) if category else None


def _match_text(text: str) -> RowRule | None:
    rules, by_word = _text_rules()
    words = {word[:STEM] for word in _WORD.findall(text)} | _ANY
    # Most texts have none of the words that a rule needs.
    found = [by_word[word] for word in words if word in by_word]
    if not found:
        return None
    cleaned = _cleaned(text)
    for number in sorted(set[int]().union(*found)):
        rule, pattern, also = rules[number]
        if not also.isdisjoint(words) and pattern.search(cleaned):
            return rule
    return None


@lru_cache(maxsize=10_000)
def _match(field: str, text: str) -> RowRule | None:
    cleaned = _cleaned(text)
    return next((rule for rule, patterns, _ in _RULES if field in patterns and patterns[field].search(cleaned)), None)


def _cleaned(text: str) -> str:
    return " ".join(text.replace("_", " ").split())


def is_balance_line(text: str) -> bool:
    """Whether a description is that of a balance or a total."""
    upper = text.upper()
    if not any(word in upper for word in ("BALANCE", "TOTAL", "DUE")):
        return False
    rule = match_rule(text)
    return rule is not None and rule.row_class == "balance"


def is_unposted(text: str) -> bool:
    """Whether a description marks the transaction as pending."""
    upper = text.upper()
    return any(word in upper for word in ("PENDING", "AUTH", "HOLD")) and bool(_UNPOSTED.search(upper))


@lru_cache(maxsize=1_000)
def unposted_reason(status: str) -> str:
    """Return why a row with this status is no transaction yet, or none any more; empty for a posted one."""
    kinds = {_STATUSES.get(word) for word in re.findall(r"[a-z]+", status.lower())}
    if "denied" in kinds:
        return f"“{status.strip()}”: the bank did not carry out the transaction"
    return f"“{status.strip()}”: the transaction is not posted yet" if "pending" in kinds else ""


def match_money_rule(text: str, type_text: str = "", category: str = "") -> RowRule | None:
    """Return the rule by which a row only moves money: a transfer, a loan, a fee; None when it is anything else."""
    rule = match_rule(text, type_text, category)
    return None if rule is None or rule.row_class in _NOT_MONEY_MOVED else rule


def excluded_class(text: str, type_text: str, category: str, *, is_spending: bool) -> str:
    """Return the class of a posted row that is neither a purchase nor a refund; else an empty string."""
    rule = match_money_rule(text, type_text, category)
    if rule is None:
        return ""
    # "Deposit" or "interest paid" beside money spent says that the words mean something else here.
    if rule.direction and (rule.direction == "out") != is_spending:
        return ""
    return rule.row_class


def word_direction(word: str) -> Direction:
    """Return what the words of a type column say, such as "POS Debit" or "ACH_CREDIT"; empty when they say both."""
    cleaned = " ".join(re.findall(r"[a-z]+", word.lower()))
    cleaned = re.sub(r"\bcredit card\b", "", cleaned)
    tokens = set(re.sub(r"\b(?:money|funds|paid) (in|out)\b", r"\1", cleaned).split())
    out, into = bool(tokens & _OUT), bool(tokens & _IN)
    return "" if out == into else "out" if out else "in"


def pair_of(values: Iterable[str]) -> tuple[str, str] | None:
    """Return the pair of signs or letters (out, in) that all values belong to."""
    found = {value.strip().lower() for value in values if value.strip()}
    for out, into in _PAIRS:
        if found and found <= {out, into}:
            return out, into
    return None
