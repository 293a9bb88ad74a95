"""What customers do besides buying: read their messages, set goals. Every function changes the given user's rows only."""

from collections.abc import Mapping
from typing import Any, Final

from django.db import transaction
from django.utils import timezone

from transactions.errors import TooManyGoals
from transactions.models import Goal, Notification, User

MOST_GOALS: Final = 100


def notification_read(*, user: User, notification_id: int) -> bool:
    """Mark a message as read; false when it is not the customer's."""
    return bool(Notification.objects.filter(user=user, pk=notification_id).update(read=True))


def notifications_read_all(*, user: User) -> int:
    """Mark every message as read. Returns how many were not."""
    return Notification.objects.filter(user=user, read=False).update(read=True)


def notification_delete(*, user: User, notification_id: int) -> bool:
    """Delete a message; false when it is not the customer's."""
    return bool(Notification.objects.filter(user=user, pk=notification_id).delete()[0])


@transaction.atomic
def goal_create(*, user: User, **values: Any) -> Goal:
    """A new goal. Raises TooManyGoals."""
    User.objects.select_for_update(no_key=True).get(pk=user.pk)  # two at once count each other
    if Goal.objects.filter(user=user).count() >= MOST_GOALS:
        raise TooManyGoals
    return Goal.objects.create(user=user, **values)


@transaction.atomic
def goal_update(*, user: User, goal_id: int, changes: Mapping[str, Any]) -> Goal | None:
    """Change a goal; None when it is not the customer's."""
    goal = Goal.objects.select_for_update().filter(user=user, pk=goal_id).first()
    if goal is None:
        return None
    for field, value in changes.items():
        setattr(goal, field, value)
    goal.updated_at = timezone.now()
    goal.save(update_fields=[*changes, "updated_at"])
    return goal


def goal_delete(*, user: User, goal_id: int) -> bool:
    """Delete a goal; false when it is not the customer's."""
    return bool(Goal.objects.filter(user=user, pk=goal_id).delete()[0])
