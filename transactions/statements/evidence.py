"""How a file is interpreted: kinds of evidence, their strength, and the questions that stay open.

Nothing here reads files. Each piece of evidence speaks for one answer to one question. Proof beats support; where
the strongest evidence disagrees, or there is none, the question is asked. How many rows speak for an answer is never
evidence.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class Strength(IntEnum):
    """How much a kind of evidence says."""

    HINT = 1
    SUPPORT = 2
    PROOF = 3


# kind → strength and what the preview shows
KINDS: Final[dict[str, tuple[Strength, str]]] = {
    # date order
    "only reading": (Strength.PROOF, "“{}” can be read in no other order"),
    "sorted": (Strength.SUPPORT, "the rows are sorted in this order only"),
    "not in the future": (Strength.SUPPORT, "“{}” would lie in the future"),
    "one month": (Strength.SUPPORT, "all rows are then in one month"),
    "American": (Strength.SUPPORT, "dates with slashes are American"),
    "remembered": (Strength.SUPPORT, "as answered for an earlier file of this account"),
    # which sign is spending
    "words beside the amount": (Strength.PROOF, "the column “{}” agrees with the signs"),
    "running balance": (Strength.SUPPORT, "the running balance follows from the amounts"),
    "description": (Strength.SUPPORT, "“{}”"),
    "plus sign": (Strength.SUPPORT, "money in has a plus sign: “{}”"),
    "only minus signs": (Strength.SUPPORT, "all amounts have a minus sign"),
    "many payees": (Strength.HINT, "{} different payees against a few on the other side"),
    "card": (Strength.HINT, "card issuers write purchases without a sign"),
}

# Habits of countries and banks: they do not contradict what was answered about this bank.
_HABITS: Final = {"American", "one month"}
ASKED_AGAIN: Final = " This file contradicts the answer for an earlier one."

ANSWER_KEYS: Final = ("date_order", "spending", "columns", "balance")
# Not about the content of the file: "true" imports a large one.
CONFIRM: Final = "confirm"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One observation that speaks for `answer`; `example` is the text that shows it."""

    kind: str
    answer: str
    example: str = ""

    @property
    def strength(self) -> Strength:
        return KINDS[self.kind][0]

    def __str__(self) -> str:
        return KINDS[self.kind][1].format(self.example)


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer to a question: its value, its label, and how sample rows would be stored."""

    value: str
    label: str
    samples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """What the file does not say. `key` names the answer, in the API and as option of the command."""

    key: str
    text: str
    choices: tuple[Choice, ...]


def decide(evidence: Iterable[Evidence]) -> str | None:
    """Return the answer for which the strongest evidence speaks; None without evidence or when it disagrees."""
    found = list(evidence)
    strongest = max((item.strength for item in found), default=None)
    answers = {item.answer for item in found if item.strength == strongest}
    return answers.pop() if len(answers) == 1 else None


def decide_or_recall(evidence: Sequence[Evidence], remembered: str | None) -> str | None:
    """Return the remembered answer unless the file itself speaks for another one; without any, `decide`."""
    if remembered is None:
        return decide(evidence)
    contradicted = any(
        item.answer != remembered and item.strength > Strength.HINT and item.kind not in _HABITS for item in evidence
    )
    return None if contradicted else remembered


def reasons_for(answer: str, evidence: Sequence[Evidence]) -> list[str]:
    """Return why the answer was chosen, strongest first, each reason once."""
    kinds: dict[str, str] = {}
    for item in sorted(evidence, key=lambda item: -item.strength):
        if item.answer == answer:
            kinds.setdefault(item.kind, str(item))
    return list(kinds.values())
