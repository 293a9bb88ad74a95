"""Admin pages of this app, by subject."""

from analytics.admin import reports, rollups

__all__ = ["reports", "rollups"]
