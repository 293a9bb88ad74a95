"""Parsing of replies: the form of each entry is checked, not whether it is true."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from llm_center.providers import MerchantQuestion

_OWNERS = {"listed": True, "not_listed": False, "unknown": None}
_TICKER = re.compile(r"[A-Z][A-Z0-9.]{0,11}")
MAX_TOKENS = 10_000_000  # a larger usage count is an error of the server


class MalformedReplyError(Exception):
    """The server replied, but not in the requested form."""


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One merchant in a model's reply, well-formed but not verified."""

    listed: bool | None
    ticker: str | None
    company: str
    confidence: Decimal
    reason: str
    alternatives: tuple[str, ...]


@dataclass(slots=True)
class ParsedReply:
    """The valid entries of a reply by merchant key, and counts of the others."""

    entries: dict[str, ModelEntry] = field(default_factory=dict)
    invalid: int = 0
    missing: int = 0
    extra: int = 0
    duplicated: int = 0


def load_json(text: str | bytes | bytearray) -> dict[str, Any]:
    """Parse a JSON object, numbers as exact decimals."""
    try:
        value = json.loads(text, parse_float=Decimal, parse_constant=_reject_constant)
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise MalformedReplyError("not JSON") from error
    if not isinstance(value, dict):
        raise MalformedReplyError("not a JSON object")
    return value


def _reject_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def message_content(reply: dict[str, Any]) -> str:
    try:
        choice = reply["choices"][0]
        content = choice["message"]["content"]
    except (KeyError, IndexError, TypeError) as error:
        raise MalformedReplyError("no choices") from error
    if choice.get("finish_reason") == "length":
        raise MalformedReplyError("cut off at the token limit")
    if not isinstance(content, str):
        raise MalformedReplyError("no text")
    return content


def token_count(value: object) -> int:
    """Return a number of tokens, 0 for an impossible value."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_TOKENS else 0


def parse_reply(questions: Sequence[MerchantQuestion], content: str) -> ParsedReply:
    """Keep the well-formed entries and count the others.

    Raises:
        MalformedReplyError: the content is not a list of merchants.
    """
    rows = load_json(content).get("merchants")
    if not isinstance(rows, list):
        raise MalformedReplyError('no list of "merchants"')
    keys = {number: question.merchant_key for number, question in enumerate(questions, start=1)}
    entries: dict[int, ModelEntry | None] = {}  # None: an entry that broke the contract
    reply = ParsedReply()
    for row in rows:
        number = row.get("id") if isinstance(row, dict) else None
        if not isinstance(number, int) or isinstance(number, bool) or number not in keys:
            reply.extra += 1
            continue
        entry = _parse_entry(row)
        if number not in entries:
            entries[number] = entry
            continue
        reply.duplicated += 1
        first = entries[number]
        if first is None or entry is None or (first.listed, first.ticker) != (entry.listed, entry.ticker):
            entries[number] = None  # contradicting entries: neither can be trusted
    reply.entries = {keys[number]: entry for number, entry in entries.items() if entry is not None}
    reply.invalid = len(entries) - len(reply.entries)
    reply.missing = len(keys) - len(entries)
    return reply


def _parse_entry(row: dict[str, Any]) -> ModelEntry | None:
    """Parse one entry; None when it breaks the contract. Only the spelling of share classes is corrected."""
    owner, ticker, confidence = row.get("owner"), row.get("ticker"), row.get("confidence")
    if not isinstance(owner, str) or owner not in _OWNERS:
        return None
    if isinstance(confidence, bool) or not isinstance(confidence, int | Decimal) or not 0 <= confidence <= 1:
        return None
    if owner == "listed":
        if not isinstance(ticker, str) or not ticker.strip():
            return None
        ticker = _ticker(ticker)
    elif ticker is not None:
        return None
    alternatives = row.get("alternatives")
    return ModelEntry(
        listed=_OWNERS[owner],
        ticker=ticker,
        company=_single_line(row.get("company"), 200),
        confidence=Decimal(confidence).quantize(Decimal("0.0001")),
        reason=_single_line(row.get("reason"), 300),
        alternatives=tuple(
            _ticker(other)
            for other in (alternatives if isinstance(alternatives, list) else [])[:5]
            if isinstance(other, str)
        ),
    )


def _ticker(text: str) -> str:
    """Convert a ticker to the company table's spelling (BRK-B becomes BRK.B); quote an invalid one."""
    ticker = text.strip().upper().replace("-", ".").replace("/", ".")
    return ticker if _TICKER.fullmatch(ticker) else f"“{_single_line(ticker, 12)}”"


def _single_line(value: object, length: int) -> str:
    if not isinstance(value, str):
        return ""
    return " ".join("".join(char if char.isprintable() else " " for char in value[: 4 * length]).split())[:length]
