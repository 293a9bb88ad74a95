"""Orders that waited for the market to open."""

from datetime import datetime

from django.utils import timezone

from transactions.rules.market_hours import market_is_open
from transactions.services.processing.buckets import move_to_pending


def execute_orders(*, now: datetime | None = None) -> int:
    """Make the transactions of due orders pending, to be bought at the current price.

    Returns how many; nothing happens while the market is closed.
    """
    now = now or timezone.now()
    if not market_is_open(now):
        return 0
    moved, *_ = move_to_pending("release_orders", {"now": now})
    return moved
