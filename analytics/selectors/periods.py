"""Periods of whole UTC days."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from dateutil.relativedelta import relativedelta
from django.utils import timezone


@dataclass(frozen=True, slots=True)
class Period:
    """The days from `first` to `last`, both included."""

    first: date
    last: date

    @classmethod
    def of_days(cls, days: int, *, today: date | None = None) -> "Period":
        """Return the last `days` days including today."""
        last = today or utc_today()
        return cls(last - timedelta(days=days - 1), last)

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def previous(self) -> "Period":
        """The period of the same length that ends the day before this one starts."""
        return Period(self.first - timedelta(days=self.days), self.first - timedelta(days=1))


def months_before(day: date, months: int) -> date:
    """Return the first day of the month that lies this many months before."""
    years, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    return date(years, month + 1, 1)


def utc_today() -> date:
    return timezone.now().date()


def month_bounds(month: date) -> tuple[datetime, datetime]:
    """Return the first moment of the month, and of the next one, in UTC."""
    start = datetime(month.year, month.month, 1, tzinfo=UTC)
    return start, start + relativedelta(months=1)


def month_name(month: date) -> str:
    return f"{month:%B %Y}"
