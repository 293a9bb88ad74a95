"""Trading hours: the regular sessions of the New York Stock Exchange, with its holidays and half days.

The market is open from the opening to the second before the close (9:30 to 15:59:59 New York time on a full day). With
`MARKET_ALWAYS_OPEN` it never closes; that is for demos and tests. `data/market_closures.csv` lists the weekdays without
a full session.
"""

import csv
from bisect import bisect_right
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from django.conf import settings

_NEW_YORK: Final = ZoneInfo("America/New_York")
_OPENS, _CLOSES = time(9, 30), time(16, 0)
_CLOSURES: Final = Path(__file__).resolve().parent.parent / "data" / "market_closures.csv"


def market_is_open(now: datetime) -> bool:
    """Return whether shares can be bought at `now` (an aware time).

    Raises:
        ValueError: `now` has no time zone.
    """
    if settings.MARKET_ALWAYS_OPEN:
        return True
    now = _utc(now)
    opens, closes = _sessions(now.year)
    started = bisect_right(opens, now)
    return started > 0 and now < closes[started - 1]


def oldest_execution_price(now: datetime) -> datetime:
    """Return from when on a quote is new enough to buy at.

    `EXECUTION_PRICE_MAX_AGE` applies in trading hours only: at other times, which matter with `MARKET_ALWAYS_OPEN`, the
    last quote is that of the close.
    """
    is_trading = market_is_open(now) and not settings.MARKET_ALWAYS_OPEN
    return now - (settings.EXECUTION_PRICE_MAX_AGE if is_trading else settings.PRICE_MAX_AGE)


def next_open(now: datetime) -> datetime:
    """Return the first opening after `now`, in UTC; `now` itself with `MARKET_ALWAYS_OPEN`.

    Raises:
        ValueError: `now` has no time zone.
    """
    now = _utc(now)
    if settings.MARKET_ALWAYS_OPEN:
        return now
    opens, _ = _sessions(now.year)
    return opens[bisect_right(opens, now)]


def _utc(now: datetime) -> datetime:
    if now.tzinfo is None:
        raise ValueError("the market needs a time with a time zone")
    return now.astimezone(UTC)


@cache
def _closures() -> dict[date, time | None]:
    """Return the weekdays without a full session: when they close early, or None for the whole day."""
    with _CLOSURES.open(encoding="utf-8", newline="") as file:
        return {
            date.fromisoformat(row["date"]): time.fromisoformat(row["closes"]) if row["closes"] else None
            for row in csv.DictReader(file)
        }


@lru_cache(maxsize=4)
def _sessions(year: int) -> tuple[list[datetime], list[datetime]]:
    """Return the openings and closes, in UTC, of the year and its neighbours: the next opening may be in the next year.

    Raises:
        ValueError: the closures of a year are not in the file.
    """
    closures = _closures()
    if not min(closures).year < year < max(closures).year:
        raise ValueError(f"{_CLOSURES.name} has no closures of the market around {year}")
    opens, closes = list[datetime](), list[datetime]()
    day = date(year - 1, 1, 1)
    while day.year <= year + 1:
        close = closures.get(day, _CLOSES)
        if day.weekday() < 5 and close is not None:
            opens.append(datetime.combine(day, _OPENS, _NEW_YORK).astimezone(UTC))
            closes.append(datetime.combine(day, close, _NEW_YORK).astimezone(UTC))
        day += timedelta(days=1)
    return opens, closes
