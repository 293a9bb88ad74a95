"""NYSE trading hours, as a table. Times are in New York, as the exchange publishes them."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from pytest_django import Settings

from tests import market_closures
from transactions.rules.market_hours import market_is_open, next_open

NEW_YORK = ZoneInfo("America/New_York")


def new_york(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)


@pytest.fixture(autouse=True)
def _real_hours(settings: Settings) -> None:
    settings.MARKET_ALWAYS_OPEN = False


@pytest.mark.parametrize(
    ("moment", "is_open", "opens_next"),
    [
        # A regular week in November, New York on standard time.
        ("2026-11-23 00:00", False, "2026-11-23 09:30"),
        ("2026-11-23 09:29:59", False, "2026-11-23 09:30"),
        ("2026-11-23 09:30", True, "2026-11-24 09:30"),
        ("2026-11-23 12:00", True, "2026-11-24 09:30"),
        ("2026-11-23 15:59:59.999999", True, "2026-11-24 09:30"),
        ("2026-11-23 16:00", False, "2026-11-24 09:30"),
        # The same hours in July, on daylight saving time.
        ("2026-07-15 09:29:59", False, "2026-07-15 09:30"),
        ("2026-07-15 09:30", True, "2026-07-16 09:30"),
        ("2026-07-15 15:59:59", True, "2026-07-16 09:30"),
        ("2026-07-15 16:00", False, "2026-07-16 09:30"),
        # Thanksgiving, and the half day after it, which leads into a weekend.
        ("2026-11-25 16:00", False, "2026-11-27 09:30"),
        ("2026-11-26 11:00", False, "2026-11-27 09:30"),
        ("2026-11-27 12:59:59", True, "2026-11-30 09:30"),
        ("2026-11-27 13:00", False, "2026-11-30 09:30"),
        ("2026-11-27 15:00", False, "2026-11-30 09:30"),
        # Weekends, and a holiday moved from Saturday to Friday (Independence Day 2026).
        ("2026-11-21 12:00", False, "2026-11-23 09:30"),
        ("2026-11-22 12:00", False, "2026-11-23 09:30"),
        ("2026-07-02 16:00", False, "2026-07-06 09:30"),
        ("2026-07-03 11:00", False, "2026-07-06 09:30"),
        # The clocks go forward on 2026-03-08 and back on 2026-11-01.
        ("2026-03-06 16:00", False, "2026-03-09 09:30"),
        ("2026-03-09 09:30", True, "2026-03-10 09:30"),
        ("2026-10-30 16:00", False, "2026-11-02 09:30"),
        ("2026-11-02 09:29:59", False, "2026-11-02 09:30"),
        # Christmas Eve closes at one; the year ends; the next opening is in the next year.
        ("2026-12-24 13:00", False, "2026-12-28 09:30"),
        ("2026-12-31 16:00", False, "2027-01-04 09:30"),
        ("2027-01-01 12:00", False, "2027-01-04 09:30"),
        # Far ahead.
        ("2040-03-14 10:00", True, "2040-03-15 09:30"),
    ],
)
def test_the_market_is_open_in_the_hours_of_the_exchange(moment: str, is_open: bool, opens_next: str) -> None:
    now = new_york(moment)
    assert market_is_open(now) is is_open
    assert market_is_open(now.astimezone(UTC)) is is_open
    assert next_open(now) == new_york(opens_next)


def test_the_opening_shifts_in_utc_with_daylight_saving_time() -> None:
    assert next_open(new_york("2026-03-06 16:00")) == datetime(2026, 3, 9, 13, 30, tzinfo=UTC)
    assert next_open(new_york("2026-03-05 16:00")) == datetime(2026, 3, 6, 14, 30, tzinfo=UTC)
    assert next_open(new_york("2026-03-05 16:00")).tzinfo is UTC


def test_a_time_without_a_time_zone_is_rejected() -> None:
    with pytest.raises(ValueError, match="time zone"):
        market_is_open(datetime(2026, 11, 23, 12, 0))  # noqa: DTZ001
    with pytest.raises(ValueError, match="time zone"):
        next_open(datetime(2026, 11, 23, 12, 0))  # noqa: DTZ001


def test_a_market_that_never_closes_is_open_on_sunday(settings: Settings) -> None:
    settings.MARKET_ALWAYS_OPEN = True
    sunday = new_york("2026-11-22 03:00")
    assert market_is_open(sunday)
    assert next_open(sunday) == sunday


def test_the_file_of_closures_agrees_with_the_calendar_of_the_exchange() -> None:
    assert market_closures.FILE.read_text() == market_closures.text()


def test_a_year_without_closures_is_refused_instead_of_being_open_every_weekday() -> None:
    with pytest.raises(ValueError, match="no closures of the market around 2099"):
        market_is_open(new_york("2099-01-05 12:00"))
