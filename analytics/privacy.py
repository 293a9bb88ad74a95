"""What analytics stores about users: numbers."""

from analytics.models import CustomerMonth, Report
from analytics.services.reports.generation import erase_reports
from transactions.services.privacy import personal_data_table


def declare() -> None:
    """Declare the tables of analytics."""
    personal_data_table(CustomerMonth, "kept")
    personal_data_table(Report, "deleted", erase=erase_reports)
