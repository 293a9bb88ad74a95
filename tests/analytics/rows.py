"""Rows that several tests of analytics create."""

from datetime import date, timedelta
from decimal import Decimal

from django.db import connection
from django.utils import timezone

from analytics.models import MappingDay, TransactionDay


def create_volume(
    day: date, status: str, rows: int, *, ticker: str = "", investable: str = "0", fee: str = "0"
) -> None:
    TransactionDay.objects.create(
        day=day,
        status=status,
        ticker=ticker,
        rows=rows,
        amount=Decimal(10 * rows),
        round_up=Decimal(investable),
        fee=Decimal(fee),
        investable=Decimal(investable),
    )


def create_proposals(day: date, status: str, rows: int, *, automatic: bool = False, confidence: str = "0.9") -> None:
    MappingDay.objects.create(
        day=day, status=status, source="llm", automatic=automatic, rows=rows, confidence=rows * Decimal(confidence)
    )


def today() -> date:
    """Return the day of the test, which is not always the one on which the session began."""
    return timezone.now().date()


NOW = timedelta(0)


def settle_ledger() -> None:
    """Treat the transaction of the test, which stays open during the test, as ended."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE ledger_marks SET drawn_before = 0")
