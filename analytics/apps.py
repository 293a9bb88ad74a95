"""Rollups, dashboards and reports over the data of the other apps."""

from django.apps import AppConfig


class AnalyticsConfig(AppConfig):
    name = "analytics"

    def ready(self) -> None:
        """Declare personal data, and register the metrics."""
        from analytics import metrics, privacy  # noqa: F401, PLC0415  # need the models

        privacy.declare()
