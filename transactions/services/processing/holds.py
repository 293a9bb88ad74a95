"""Purchases on hold, because the customer is suspended or has not verified the e-mail address.

Possible duplicates are on hold too, but only a person's decision settles them; see `services.possible_duplicates`. For
purchases that exceed a limit see `limits`.

Processing puts them on hold. A background task, created in the transaction that ends the cause, settles them.
"""

from transactions.models import USER_BUCKETS, BackgroundTask, Transaction, User
from transactions.services.background_tasks import create_task, send_task
from transactions.services.processing.buckets import move_to_pending

_CANCELLED = "Cancelled while it was on hold."


def request_hold_settlement(*, user: User, cancel: bool = False) -> BackgroundTask:
    """Settle the user's purchases on hold after this transaction commits."""
    task = create_task(name="settle_held_purchases", user=user, arguments={"user_id": user.pk, "cancel": cancel})
    send_task(task=task)
    return task


def settle_held_purchases(*, user_id: int, cancel: bool = False) -> int:
    """Make purchases on hold pending, to be decided again, or cancel them. Returns how many.

    The user's bucket is locked first: a batch that read the user before the change has committed by then.
    """
    settled, *_ = move_to_pending(
        "settle_held",
        {
            "user": user_id,
            "status": Transaction.Status.FAILED if cancel else Transaction.Status.PENDING,
            "failure": _CANCELLED if cancel else "",
            "duplicate": Transaction.HoldReason.DUPLICATE,
        },
        buckets=[user_id % USER_BUCKETS],
    )
    return settled
