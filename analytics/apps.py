"""Figures over everything: rollups, dashboards, reports."""

from django.apps import AppConfig


class AnalyticsConfig(AppConfig):
    """The room of figures; it reads the other rooms and is read by nobody."""

    name = "analytics"
