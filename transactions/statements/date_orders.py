"""In which order the dates of a file are written: month, day or year first."""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final

from transactions.errors import StatementError
from transactions.statements.evidence import ASKED_AGAIN, Choice, Evidence, Question, decide_or_recall, reasons_for
from transactions.statements.values import FUTURE_DAYS, UnreadableFieldError, parse_date

DATE_ORDERS: Final = {"mdy": "month first", "dmy": "day first", "ymd": "year first"}
_NUMERIC_DAY = re.compile(r"\s*([0-9]{1,2})([-/.])([0-9]{1,2})\2([0-9]{4}|[0-9]{2})(?![0-9])")
_ISO_DAY = re.compile(r"\s*[0-9]{4}-[0-9]{2}-[0-9]{2}")
_PREAMBLE_DAY = re.compile(r"(?<![0-9/.-])[0-9]{1,2}([-/.])[0-9]{1,2}\1(?:[0-9]{4}|[0-9]{2})(?![0-9/.-])")
_RECENT_DAYS: Final = 3 * 365


@dataclass(frozen=True, slots=True)
class DateOrder:
    """The order, and why."""

    order: str
    reasons: list[str] = field(default_factory=list)


def decide_date_order(
    dates: list[str],
    *,
    rows: list[str],
    preamble: Iterable[str],
    today: date,
    answer: str,
    remembered: Callable[[], Mapping[str, str]],
    is_sheet: bool,
) -> DateOrder | Question:
    """Return the order that the evidence proves, or the question that it leaves open.

    Args:
        dates: the distinct cells of the date column.
        rows: the cells of the first rows, in the order of the file.
        preamble: the cells above the header, which may name the period.
        answer: given to the question.
        remembered: returns the answers about earlier files.

    Raises:
        StatementError: a spreadsheet has changed some of the dates.
    """
    texts = [text for text in dates if _NUMERIC_DAY.match(text)]
    if not texts:
        return DateOrder("ymd" if any(re.match(r"\s*[0-9]{4}", text) for text in dates) else "mdy")
    if is_sheet and any(map(_ISO_DAY.match, dates)) and any(_day(text, "mdy") is None for text in texts):
        # Excel converts the days that it can read, with day and month exchanged, and leaves the others as text.
        raise StatementError(
            "The date column contains both dates and text: a spreadsheet has changed some of them. "
            "Download the statement again and upload it unchanged."
        )
    if answer:
        return DateOrder(answer)
    orders = _orders(texts, today)
    evidence = list(_evidence(texts, rows, preamble, orders, today))
    kept = remembered().get("date_order")
    decided = decide_or_recall(evidence, kept)
    if kept and decided:
        evidence.append(Evidence("remembered", kept))
    if decided is None and not kept and len(orders) == 2 and all(_is_same_day(text) for text in texts):
        decided = "mdy"  # 05/05/2026 is one day in both orders
    if decided in orders:
        return DateOrder(decided, reasons_for(decided, evidence))
    return _question(texts, orders, ASKED_AGAIN if kept else "")


def _orders(texts: list[str], today: date) -> list[str]:
    """Return the orders to try; the year comes first only where each day is then within the last years."""
    recent = today - timedelta(days=_RECENT_DAYS)
    days = [_day(text, "ymd") for text in texts]
    return ["mdy", "dmy", "ymd"] if all(day and recent <= day <= today for day in days) else ["mdy", "dmy"]


def _evidence(
    texts: list[str], rows: list[str], preamble: Iterable[str], orders: list[str], today: date
) -> Iterator[Evidence]:
    period = (match[0] for cell in preamble for match in _PREAMBLE_DAY.finditer(cell))
    for text in itertools.chain(texts, period):
        read = {order: day for order in orders if (day := _day(text, order))}
        past = [order for order, day in read.items() if (day - today).days <= FUTURE_DAYS]
        if len(read) == 1:
            yield Evidence("only reading", next(iter(read)), text)
        elif len(past) == 1:
            yield Evidence("not in the future", past[0], text)
    slashes = all("/" in text for text in texts)
    if slashes:
        yield Evidence("American", "mdy")
    days = {order: [day for text in rows if (day := _day(text, order))] for order in orders}
    is_sorted = {order: found in (sorted(found), sorted(found, reverse=True)) for order, found in days.items()}
    months = {order: len({(day.year, day.month) for day in found}) for order, found in days.items()}
    for order in orders:
        distinct = len(set(days[order]))
        others = [other for other in orders if other != order]
        if distinct >= 3 and is_sorted[order] and not any(is_sorted[other] for other in others):
            yield Evidence("sorted", order)
        # Alone it decides nothing: one payment a month has the same look.
        if slashes and distinct >= 2 and months[order] == 1 and all(months[other] > 1 for other in others):
            yield Evidence("one month", order)


def _question(texts: list[str], orders: list[str], again: str) -> Question:
    example = next((text for text in texts if not _is_same_day(text)), texts[0])
    choices = []
    for order in orders:
        read = [(text, day) for text in texts if (day := _day(text, order))][:3]
        samples = tuple(f"{text.strip()} is {day:%B} {day.day}, {day.year}" for text, day in read)
        if samples:
            choices.append(Choice(order, f"The {DATE_ORDERS[order].replace(' first', '')} comes first", samples))
    return Question("date_order", f"Which day is “{example.strip()}”?{again}", tuple(choices))


def _day(text: str, order: str) -> date | None:
    match = _NUMERIC_DAY.match(text)
    if match is None:
        return None
    try:
        # The range is checked where rows are read; here only the calendar counts.
        parsed: datetime = parse_date(match[0], order=order, today=date(9999, 1, 1))
    except UnreadableFieldError:
        return None
    return parsed.date()


def _is_same_day(text: str) -> bool:
    match = _NUMERIC_DAY.match(text)
    return match is not None and int(match[1]) == int(match[3])
