"""Figures over everything: rollups, dashboards, reports."""

from django.apps import AppConfig


class AnalyticsConfig(AppConfig):
    """The room of figures; it reads the other rooms and is read by nobody."""

    name = "analytics"

    def ready(self) -> None:
        """Register the figures for Prometheus."""
        from analytics import metrics  # noqa: F401, PLC0415  # its groups import models of other rooms
