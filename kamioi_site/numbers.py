"""Numbers from outside. Python also reads `１２` and `1_000`, which no bank writes and no reader expects."""

import re
from decimal import Decimal
from typing import Any, Final

from django import forms

_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")


def is_number(text: str) -> bool:
    """Whether the text is a number in ASCII digits, without separators of thousands."""
    return _NUMBER.fullmatch(text.strip()) is not None


def parse_decimal(text: str) -> Decimal:
    """Convert text to a finite number. Raises ValueError."""
    if not is_number(text):
        raise ValueError(text)
    return Decimal(text.strip())


class _NumberField:
    """Refuse text that Python reads as a number and no reader does."""

    def to_python(self: Any, value: Any) -> Any:
        """Validate the value."""
        if isinstance(value, str) and value.strip() and not is_number(value):
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid")
        return super().to_python(value)  # type: ignore[misc]


class FormDecimalField(_NumberField, forms.DecimalField):
    """A decimal number of a form."""


class FormIntegerField(_NumberField, forms.IntegerField):
    """A whole number of a form."""
