"""Goals with the keys of the legacy front end's form, beside the documented ones."""

from collections.abc import Mapping
from typing import Any, Final

from rest_framework.serializers import RegexField

from kamioi_site.api.legacy.names import NAMES, renamed
from transactions.api import serializers
from transactions.api.legacy.base import BannerErrors
from transactions.api.serializers import optional_text
from transactions.api.views import goals
from transactions.models import Goal
from transactions.selectors.customer import GoalRow

_DETAILS: Final = {"description": "", "department": "", "deadline": "", "status": ""}


class GoalInput(serializers.GoalInput):
    """A goal under the names of the form, with its details."""

    description = optional_text(length=1000)
    department = optional_text(length=100)
    deadline = RegexField(r"^([0-9]{4}-[0-9]{2}-[0-9]{2})?$", required=False, allow_blank=True)
    status = optional_text(length=30)

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if isinstance(data, Mapping):
            # The form's names win: it sends changes back in a row that still has the documented ones.
            data = {**data, **{name: data[key] for key, name in NAMES["goal"].items() if key in data}}
        values: dict[str, Any] = super().to_internal_value(data)
        details = {name: values.pop(name) for name in _DETAILS if name in values}
        return values | {"details": details} if details else values


class _Goals(BannerErrors):
    input_class: type[serializers.GoalInput] = GoalInput

    def row(self, goal: Goal) -> GoalRow:
        row: Any = super().row(goal)  # type: ignore[misc]  # of the documented view
        return row | renamed("goal", row) | _DETAILS | goal.details


class GoalListView(_Goals, goals.GoalListView):
    def payload(self, rows: list[GoalRow]) -> dict[str, object]:
        return super().payload(rows) | {"goals": rows}


class GoalView(_Goals, goals.GoalView):
    """One goal, under both sets of names."""
