"""What this room holds about people: numbers."""

from analytics.models import CustomerMonth
from transactions.services.privacy import person_table


def declare() -> None:
    """Declare the tables."""
    person_table(CustomerMonth, "kept")
