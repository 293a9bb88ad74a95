"""Which column of a statement holds which field, by its heading or by its content."""

import re
import tomllib
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Final

from transactions.statements.values import (
    UnreadableFieldError,
    is_day_first,
    parse_amount,
    parse_date,
    uses_decimal_comma,
)

_words = tomllib.loads((Path(__file__).parent / "data" / "words.toml").read_text(encoding="utf-8"))
_HEADINGS: Final[dict[str, list[str]]] = {field: keys.split() for field, keys in _words["headings"].items()}
TYPE_HEADINGS: Final[list[str]] = _words["type_headings"].split()
DEBIT_WORDS: Final = frozenset(_words["debit_words"])
CREDIT_WORDS: Final = frozenset(_words["credit_words"])
_MAX_COLUMNS: Final = 200  # a wider row is never a header: a line of commas must not cost minutes


def heading_key(heading: str) -> str:
    """Return a heading as `words.toml` spells it."""
    key = re.sub(r"[^a-z0-9]", "", heading.lower())
    return re.sub(r"(?<=[a-z])(?:inusd|usd|usdollars)$", "", key)


def match_headings(headings: Sequence[str]) -> dict[str, int]:
    """Return field → position for the known headings."""
    if len(headings) > _MAX_COLUMNS:
        return {}
    positions: dict[str, int] = {}
    for position, heading in enumerate(headings):
        positions.setdefault(heading_key(heading), position)
    positions.pop("", None)
    columns: dict[str, int] = {}
    for field, keys in _HEADINGS.items():
        for key in keys:
            if key in positions and positions[key] not in columns.values():
                columns[field] = positions[key]
                break
    if "debit" in columns or "credit" in columns:
        columns.pop("amount", None)
    return columns


def has_money(columns: dict[str, int]) -> bool:
    return "amount" in columns or "debit" in columns or "credit" in columns


def guess_columns(rows: list[list[str]], today: date) -> dict[str, int]:
    """Return the positions for a file without a header (Wells Fargo: date, amount, *, blank, description).

    These are the first column with dates in four cells of five, the first other one with amounts, and the one with most
    letters. Empty when unclear.
    """
    rows = [row for row in rows if any(row)]
    width = max(map(len, rows), default=0)
    if width > _MAX_COLUMNS:
        return {}
    dates: list[int] = []
    amounts: list[int] = []
    letters: dict[int, int] = {}
    for position in range(width):
        cells = [row[position] if position < len(row) else "" for row in rows]
        day_first = is_day_first(cells)
        if 5 * sum(_is_date(text, day_first, today) for text in cells) >= 4 * len(rows):
            dates.append(position)
        elif 5 * sum(map(_is_amount, cells)) >= 4 * len(rows):
            amounts.append(position)
        else:
            letters[position] = sum(sum(map(str.isalpha, text)) for text in cells)
    if not dates or not amounts or not any(letters.values()):
        return {}
    return {"date": dates[0], "amount": amounts[0], "description": max(letters, key=lambda column: letters[column])}


def _is_date(text: str, day_first: bool, today: date) -> bool:
    try:
        parse_date(text, day_first=day_first, today=today)
    except UnreadableFieldError:
        return False
    return True


def _is_amount(text: str) -> bool:
    try:
        return bool(text and parse_amount(text, european=uses_decimal_comma([text])))
    except UnreadableFieldError:
        return False
