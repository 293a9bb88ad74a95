"""Figures over everything: rollups, dashboards, reports."""

from django.apps import AppConfig


class AnalyticsConfig(AppConfig):
    """The room of figures; it reads the other rooms and is read by nobody."""

    name = "analytics"

    def ready(self) -> None:
        """Say what is held about people here."""
        from analytics import privacy  # noqa: PLC0415  # it needs the models

        privacy.declare()
