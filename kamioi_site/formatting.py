"""How pages, lists and reports show values: money with sign and separators, shares as percent, days without midnight.

A minus is a hyphen, which the PDF fonts have.
"""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Final

from django.utils.formats import date_format

EMPTY: Final = "–"


def number(value: Decimal | float | None, places: int | None = None) -> str:
    """Format a number with thousands separators and these decimal places; by default, without trailing zeros."""
    if value is None:
        return EMPTY
    if places is not None or isinstance(value, int):
        return f"{value:,.{places or 0}f}"
    return f"{value:,.8f}".rstrip("0").rstrip(".")


def money(value: Decimal | int | None, places: int = 8) -> str:
    """Format dollars, as in `-$1,234.50`; places beyond cents are shown only where they are not zero."""
    if value is None:
        return EMPTY
    text = f"{abs(value):,.{places}f}"
    beyond_cents = len(text) - (places - 2)
    return f"{'-' if value < 0 else ''}${text[:beyond_cents]}{text[beyond_cents:].rstrip('0')}"


def percent(share: Decimal | float | None) -> str:
    """Format a share of one, as in `12.3%` or `80%`."""
    return EMPTY if share is None else f"{number(round(100 * Decimal(share), 1))}%"


def plural(count: int, noun: str) -> str:
    """Format a count with its noun, as in `1 day` or `1,200 days`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def moment(value: datetime | date | None) -> str:
    """Format a day, with the time (UTC) unless it is midnight: banks write days, not times."""
    if value is None:
        return EMPTY
    if isinstance(value, datetime):
        value = value.astimezone(UTC)
        return date_format(value, "M j, Y" if value.time() == time() else "M j, Y, H:i")
    return date_format(value, "M j, Y")


def month(value: date | None) -> str:
    """Format a month, given by its first day."""
    return EMPTY if value is None else date_format(value, "M Y")


def code(value: str) -> str:
    """Format a code: `undo_round_up` as undo round up, `shop/books` as books."""
    return value.rpartition("/")[2].replace("_", " ") or EMPTY


def duration(seconds: float) -> str:
    """Format a duration in the largest unit that is full."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
