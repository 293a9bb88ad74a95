"""Savings goals of customers. Every function changes only the given user's rows."""

from collections.abc import Mapping
from typing import Any, Final

from django.db import transaction
from django.utils import timezone

from transactions.errors import TooManyGoalsError
from transactions.models import Goal, User

MAX_GOALS: Final = 100


@transaction.atomic
def create_goal(*, user: User, **values: Any) -> Goal:
    """Create a goal. Raises TooManyGoalsError."""
    User.objects.select_for_update(no_key=True).get(pk=user.pk)  # so that simultaneous requests see each other's goals
    if Goal.objects.filter(user=user).count() >= MAX_GOALS:
        raise TooManyGoalsError
    return Goal.objects.create(user=user, **values)


@transaction.atomic
def update_goal(*, user: User, goal_id: int, changes: Mapping[str, Any]) -> Goal | None:
    """Change a goal; return None when it is not the user's. `details` are added to those that it has."""
    goal = Goal.objects.select_for_update().filter(user=user, pk=goal_id).first()
    if goal is None:
        return None
    for field, value in changes.items():
        setattr(goal, field, goal.details | value if field == "details" else value)
    goal.updated_at = timezone.now()
    goal.save(update_fields=[*changes, "updated_at"])
    return goal


def delete_goal(*, user: User, goal_id: int) -> bool:
    """Delete a goal; return False when it is not the user's."""
    return bool(Goal.objects.filter(user=user, pk=goal_id).delete()[0])
