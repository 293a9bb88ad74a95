"""Input of the API of figures and account statements."""

from typing import Any

from rest_framework import serializers

from kamioi_site.api.fields import TextField


class StatementInput(serializers.Serializer[Any]):
    """The month of an account statement."""

    period = serializers.RegexField(r"^[0-9]{4}-(0[1-9]|1[0-2])$", help_text="A past month, like 2026-10.")


class PeriodInput(serializers.Serializer[Any]):
    """The days of a period, both included."""

    start_date = serializers.DateField(required=False, input_formats=["%Y-%m-%d"], help_text="First day (UTC).")
    end_date = serializers.DateField(required=False, input_formats=["%Y-%m-%d"], help_text="Last day (UTC).")


class SearchInput(serializers.Serializer[Any]):
    """A merchant as in a statement, a company, or a ticker."""

    query = TextField(max_length=255)
