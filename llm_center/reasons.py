"""The text that explains a proposal, divided for reviewers into a summary and the evidence for and against it."""

import re
from dataclasses import dataclass
from typing import Final

# As the matcher writes evidence: "…; for it: a place follows; against it: the name is very short. Starbucks belongs …".
_EVIDENCE: Final = re.compile(r"; (for|against) it: (.+?)(?=; (?:for|against) it: |\.(?:\s|$)|$)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason in parts. Without any evidence, `summary` is the whole text."""

    summary: str
    pro: tuple[str, ...] = ()
    con: tuple[str, ...] = ()


def split_reason(text: str) -> Reason:
    """Divide the reason of a proposal; text in another form stays as it is."""
    parts = [(side, phrase.strip()) for side, phrase in _EVIDENCE.findall(text)]
    return Reason(
        _EVIDENCE.sub("", text) if parts else text,
        tuple(phrase for side, phrase in parts if side == "for"),
        tuple(phrase for side, phrase in parts if side == "against"),
    )
