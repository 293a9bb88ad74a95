"""What this room holds about people: numbers."""

from analytics.models import CustomerMonth, Report
from analytics.services.reports.generation import erase_reports
from transactions.services.privacy import person_table


def declare() -> None:
    """Declare the tables."""
    person_table(CustomerMonth, "kept")
    person_table(Report, "deleted", erase=erase_reports)
