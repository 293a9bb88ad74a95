"""From pending to completed: transactions are processed in batches, each transaction exactly once.

All state is in PostgreSQL. A worker takes advisory locks on user buckets (`user_id mod 64`), books one batch of their
pending rows with one statement (`sql/book_pending.sql`) and commits. So two workers never process the same rows, a
worker that is killed leaves either all or none of its batch, and a second run finds nothing to do. Messages only wake
workers; `sweep_stuck` makes up for a lost one. A row that the database rejects is found by bisection and ends as
`failed` with the reason; the other rows go through.
"""

from transactions.services.processing.batch import ProcessingResult, process_pending, process_transaction_now
from transactions.services.processing.corrections import CorrectionEffect, correct_bookings, correction_effect
from transactions.services.processing.holds import request_hold_settlement, settle_held_purchases
from transactions.services.processing.limits import release_within_limits
from transactions.services.processing.reclassify import reclassify_transactions
from transactions.services.processing.release import (
    UndoReleaseResult,
    execute_orders,
    recover_stuck,
    release_waiting_transactions,
    undo_release,
)
from transactions.services.processing.wake import clear_notification, notify_workers

__all__ = [
    "CorrectionEffect",
    "ProcessingResult",
    "UndoReleaseResult",
    "clear_notification",
    "correct_bookings",
    "correction_effect",
    "execute_orders",
    "notify_workers",
    "process_pending",
    "process_transaction_now",
    "reclassify_transactions",
    "recover_stuck",
    "release_waiting_transactions",
    "release_within_limits",
    "request_hold_settlement",
    "settle_held_purchases",
    "undo_release",
]
