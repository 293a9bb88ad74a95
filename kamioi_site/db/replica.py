"""Which connection reads of analytics go over."""

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper


def read_connection() -> BaseDatabaseWrapper:
    """The connection for reads that may be a little behind: dashboards, reports, metrics. Never for a write."""
    return connections["default"]
