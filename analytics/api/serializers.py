"""Input of the API of figures and account statements."""

from typing import Any

from rest_framework import serializers


class StatementInput(serializers.Serializer[Any]):
    """The month of an account statement."""

    period = serializers.RegexField(r"^\d{4}-(0[1-9]|1[0-2])$", help_text="A past month, like 2026-10.")


class SearchInput(serializers.Serializer[Any]):
    """A merchant as in a statement, a company, or a ticker."""

    query = serializers.CharField(max_length=255)
