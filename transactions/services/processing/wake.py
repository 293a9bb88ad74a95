"""Messages that wake the workers which process transactions, one in flight for each priority."""

from kamioi_site.messaging.broker import message_priority
from kamioi_site.messaging.wake import clear_wake, wake


def notify_workers(*, priority: int) -> None:
    """Wake the workers after this transaction commits; `sweep_stuck` does it where a message is lost."""
    wake("process_transactions", key=str(priority), kwargs={"priority": priority}, priority=message_priority(priority))


def clear_notification(*, priority: int) -> None:
    """From here on a new row sends a new message; the task calls it before it looks for work."""
    clear_wake(str(priority))
