"""How the admin shows rows: columns formatted by the type of their fields, statuses as coloured labels."""

from collections.abc import Callable
from typing import Any, Final

from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.http import HttpRequest
from unfold.decorators import display

from kamioi_site.formatting import EMPTY, code, moment, money, month, number, percent

# Decimal columns in dollars that have more places than cents.
MONEY_COLUMNS: Final = {"price", "price_per_share", "cost", "review_priority"}
# Decimal columns between 0 and 1.
SHARE_COLUMNS: Final = {"confidence", "stated_confidence"}
# Columns with the first day of a month, and columns with a code such as `undo_round_up`.
MONTH_COLUMNS: Final = {"month", "period"}
CODE_COLUMNS: Final = {"kind", "status", "type"}
STATUS_LABELS: Final = {
    "completed": "success",
    "approved": "success",
    "executed": "success",
    "done": "success",
    "pending": "info",
    "queued": "info",
    "running": "info",
    "mapped": "info",
    "proposed": "info",
    "needs_review": "warning",
    "awaiting_price": "warning",
    "on_hold": "warning",
    "excluded": "default",
    "rejected": "warning",
    "differs": "warning",
    "failed": "danger",
    "cancelled": "danger",
    "not_listed": "default",
    "refunded": "default",
    "undone": "default",
    "undoing": "info",
    "undo_failed": "danger",
}


def _formatter(field: Any) -> tuple[Callable[[Any], str], bool] | None:
    """Return how to format a column and whether it holds numbers; None leaves it to Django."""
    if field.primary_key or field.is_relation or field.choices:
        return None
    match field:
        case models.DateField(name=name) if name in MONTH_COLUMNS:
            return month, False
        case models.CharField(name=name) if name in CODE_COLUMNS:
            return code, False
        case models.DateField():
            return moment, False
        case models.DecimalField(name=name, max_digits=5) if name in SHARE_COLUMNS:
            return percent, True
        case models.DecimalField(name=name, decimal_places=places):
            return (money if places == 2 or name in MONEY_COLUMNS else number), True
        case models.FloatField() | models.IntegerField() if not field.name.endswith("_id"):
            return number, True
    return None


def _column(model: type[models.Model], name: Any) -> Any:
    try:
        field: Any = model._meta.get_field(name)
    except FieldDoesNotExist:
        return name
    formatter = _formatter(field) if isinstance(field, models.Field) else None
    if formatter is None:
        return name
    text, is_number = formatter

    @display(description=field.verbose_name)
    def column(row: models.Model) -> str:
        return text(getattr(row, name))

    # Django writes the function's name into the CSS class of the heading and of the cells.
    column.__name__ = f"{name} {'num' if is_number else 'moment'}"
    return column


def readonly_text(field: Any) -> str:
    """Format the value of a form's read-only field as the lists do."""
    column, _, value = field.resolved_field or (None, None, None)
    formatter = _formatter(column) if isinstance(column, models.Field) else None
    text: str = formatter[0](value) if formatter else field.contents()
    return text


class FormattedListMixin:
    """Formats the date, money and number columns of `list_display` by the type of their fields."""

    model: type[models.Model]
    empty_value_display = EMPTY

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        columns = super().get_list_display(request)  # type: ignore[misc]  # of ModelAdmin
        return [_column(self.model, column) for column in columns]


class StatusMixin:
    """Shows the column `status` as a coloured label."""

    @display(description="Status", label=STATUS_LABELS)
    def status_label(self, row: Any) -> tuple[str, str]:
        return row.status, row.status.replace("_", " ")


class ReversalMixin:
    """Shows when and by whom a row was reversed, from the related row `reversal`."""

    @display(description="Reversed at")
    def reversed_at(self, row: Any) -> str:
        reversal = getattr(row, "reversal", None)
        return moment(reversal and reversal.reversed_at)

    @display(description="Reversed by")
    def reversed_by(self, row: Any) -> str:
        reversal = getattr(row, "reversal", None)
        return str(reversal.reversed_by) if reversal else EMPTY


class TaskStatusMixin:
    """Shows the status of the row's background task as a coloured label."""

    @display(description="Status", label=STATUS_LABELS)
    def status(self, row: Any) -> tuple[str, str]:
        return row.task.status, row.task.status
