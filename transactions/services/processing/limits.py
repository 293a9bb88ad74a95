"""Limits of what is set aside for a customer, as round-ups and fees.

They are checked when purchases are booked, in the order of their dates and ids: one that would exceed a limit is held
as a whole, and a smaller one after it may still fit.

- **Day**: purchases made on one day (UTC). Not those booked on it: a bank file of three months is booked at once, while
  hundreds of purchases made on the same day are more likely an error.
- **Month**: what is booked in a calendar month (UTC), whatever the dates of the purchases.
- **Balance owed**: what was booked and is not collected yet.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from kamioi_site.live_settings import current_values
from transactions.live_settings import DAY_LIMIT, MONTH_LIMIT, OWED_LIMIT
from transactions.models import LimitReason
from transactions.rules.market_hours import market_is_open
from transactions.services.processing.buckets import move_to_pending
from transactions.sql import load_sql

_NOTICE: Final = "Some purchases are on hold"


def limit_parameters() -> dict[str, Any]:
    """Return the parameters of `sql/check_limits.sql`. Raises SettingError."""
    day, month, owed = current_values(DAY_LIMIT, MONTH_LIMIT, OWED_LIMIT)
    return {
        "day_limit": day,
        "month_limit": month,
        "owed_limit": owed,
        "is_limited": not (day is month is owed is None),
        "over_day": LimitReason.DAY,
        "over_month": LimitReason.MONTH,
        "over_owed": LimitReason.OWED,
    }


def release_within_limits(*, now: datetime | None = None) -> int:
    """Make purchases pending that a limit held and that fit now. Returns how many.

    They fit when a setting was raised, the balance owed was collected, a month has begun, or an import was undone.
    While the market is closed nothing is booked, so they stay on hold.
    """
    if not market_is_open(now or timezone.now()):
        return 0
    released, *_ = move_to_pending("release_within_limits", limit_parameters())
    return released


def notify_held(cursor: CursorWrapper, *, user_ids: Sequence[int], reason: str, now: datetime) -> None:
    """Notify customers whose purchases a limit holds, each at most once a day."""
    message = f"{reason} Nothing is charged for purchases on hold. They are invested when the limit allows it."
    cursor.execute(load_sql("notify_held"), {"users": list(user_ids), "title": _NOTICE, "message": message, "now": now})
