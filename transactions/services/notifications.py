"""Notifications of customers. Every function changes only the given user's rows."""

from transactions.models import Notification, User


def mark_notification_read(*, user: User, notification_id: int) -> bool:
    """Mark a notification as read; return False when it is not the user's."""
    return bool(Notification.objects.filter(user=user, pk=notification_id).update(read=True))


def mark_all_notifications_read(*, user: User) -> int:
    """Mark every notification as read. Returns how many were unread."""
    return Notification.objects.filter(user=user, read=False).update(read=True)


def delete_notification(*, user: User, notification_id: int) -> bool:
    """Delete a notification; return False when it is not the user's."""
    return bool(Notification.objects.filter(user=user, pk=notification_id).delete()[0])
