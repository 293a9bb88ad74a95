"""Figures over everything: rollups, dashboards, reports."""

from django.apps import AppConfig


class AnalyticsConfig(AppConfig):
    """The room of figures; it reads the other rooms and is read by nobody."""

    name = "analytics"

    def ready(self) -> None:
        """Say what is held about people here, and register the figures for Prometheus."""
        from analytics import metrics, privacy  # noqa: F401, PLC0415  # they need the models

        privacy.declare()
