"""Undoing a release: bookings are reversed, and the transactions become pending again."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from transactions.services.processing.buckets import ALL_BUCKETS, move_to_pending


@dataclass(slots=True)
class UndoReleaseResult:
    """Transactions made pending again, and how many of them had been bought."""

    moved: int = 0
    bought: int = 0


def undo_release(
    *,
    decision_id: int,
    merchant_key: str,
    ticker: str | None,
    since: datetime,
    on_progress: Callable[[int], None] | None = None,
) -> UndoReleaseResult:
    """Undo the effects of a decision that the directory no longer contains.

    Bookings are reversed by contra entries at the original price, never edited; the transactions become pending and are
    looked up again. Each user bucket is locked first: batches booked under the decision have committed by then, and
    later ones see the current directory. A second run finds nothing.

    Args:
        ticker: the ticker decided on; None for "not listed". Transactions with another outcome are left alone.
        since: when the decision was made.
    """
    moved, bought = move_to_pending(
        "undo_release",
        {
            "decision": decision_id,
            "merchant_key": merchant_key,
            "ticker": ticker,
            "since": since,
            "reference": f"undo of decision {decision_id}",
        },
        buckets=ALL_BUCKETS,
        on_progress=on_progress,
    )
    return UndoReleaseResult(moved, bought)
