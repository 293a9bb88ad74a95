"""What the API of statements takes and answers."""

from typing import Any

from rest_framework import serializers


class StatementInput(serializers.Serializer[Any]):
    """Which month."""

    period = serializers.RegexField(r"^\d{4}-(0[1-9]|1[0-2])$", help_text="A month that is over, like 2026-10.")
