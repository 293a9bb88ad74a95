"""Trading hours: the regular sessions of the New York Stock Exchange, with its holidays and half days.

The market is open from the opening to the second before the close (9:30 to 15:59:59 New York time on a full day). With
`MARKET_ALWAYS_OPEN` it never closes; that is for demos and tests.
"""

from bisect import bisect_right
from datetime import UTC, datetime
from functools import lru_cache

from django.conf import settings


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


@lru_cache(maxsize=4)
def _sessions(year: int) -> tuple[list[datetime], list[datetime]]:
    """Return the openings and closes, in UTC, of the year and its neighbours.

    Cached per year, because the default calendar ends a year after it was made and a worker may run longer. Neighbours,
    because the opening after December 31 is in the next year.
    """
    # Imported here because it imports pandas: half a second and 60 MB that most processes never need.
    from exchange_calendars import get_calendar  # noqa: PLC0415

    calendar = get_calendar("XNYS", start=f"{year - 1}-01-01", end=f"{year + 1}-12-31")
    return (
        [time.to_pydatetime().astimezone(UTC) for time in calendar.opens],
        [time.to_pydatetime().astimezone(UTC) for time in calendar.closes],
    )
