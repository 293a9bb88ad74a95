"""Write `market_closures.csv` from the package `exchange_calendars`. Run `python -m tests.market_closures`.

`transactions/data/README.md` names the source, its licence and the columns. Run it after an upgrade of the package: the
exchange adds closures, such as days of mourning. A test compares the file with the package, day by day.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

FILE = Path(__file__).resolve().parent.parent / "transactions" / "data" / "market_closures.csv"
FIRST, LAST = 2000, 2060


def rows() -> Iterator[tuple[date, str]]:
    """Each weekday without a full session: the date, and the time of an early close in New York or nothing."""
    from exchange_calendars import get_calendar

    calendar = get_calendar("XNYS", start=f"{FIRST}-01-01", end=f"{LAST}-12-31")
    closes = {
        session.date(): close.tz_convert("America/New_York").strftime("%H:%M")
        for session, close in calendar.closes.items()
    }
    day = date(FIRST, 1, 1)
    while day.year <= LAST:
        if day.weekday() < 5 and closes.get(day) != "16:00":
            yield day, closes.get(day, "")
        day += timedelta(days=1)


def text() -> str:
    """The content of the file."""
    return "date,closes\n" + "".join(f"{day},{closes}\n" for day, closes in rows())


if __name__ == "__main__":
    FILE.write_text(text())
