"""Changes that customers make to their notifications."""

from transactions.models import Notification, User


def mark_notification_read(*, user: User, notification_id: int) -> bool:
    """Mark a message as read; false when it is not the customer's."""
    return bool(Notification.objects.filter(user=user, pk=notification_id).update(read=True))


def mark_all_notifications_read(*, user: User) -> int:
    """Mark every message as read. Returns how many were not."""
    return Notification.objects.filter(user=user, read=False).update(read=True)


def delete_notification(*, user: User, notification_id: int) -> bool:
    """Delete a message; false when it is not the customer's."""
    return bool(Notification.objects.filter(user=user, pk=notification_id).delete()[0])
