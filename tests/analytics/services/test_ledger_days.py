"""Counting the ledger by day."""

from decimal import Decimal

import pytest
from django.utils import timezone

from analytics.models import LedgerDay
from analytics.services.ledger_days import recount_ledger_days, update_ledger_days
from tests.analytics.rows import NOW, settle_ledger
from tests.database import owner_cursor
from tests.workers import wait_until
from transactions.models import LedgerTransfer

pytestmark = pytest.mark.django_db


@pytest.mark.as_owner
def test_counting_the_ledger_again_counts_nothing_twice(monkeypatch):
    monkeypatch.setattr("analytics.services.ledger_days.STEP", 2)
    moment = timezone.now()
    first = LedgerTransfer.objects.order_by("-pk").values_list("pk", flat=True).first() or 0

    def book(count: int) -> None:
        for _ in range(count):
            LedgerTransfer.objects.create(
                date=moment, kind="journal", debit_account="10100", credit_account="30900", amount=Decimal("1.50")
            )

    book(5)
    for _ in range(3):
        update_ledger_days(settle=NOW)
        settle_ledger()
    book(4)
    for _ in range(3):
        update_ledger_days(settle=NOW)
        settle_ledger()
    day = LedgerDay.objects.get(kind="journal")
    assert (day.rows, day.amount, day.day) == (9, Decimal("13.50"), moment.date())
    monkeypatch.undo()  # ids may have gone far before this test
    LedgerTransfer.objects.filter(pk__gt=first + 1, kind="journal").order_by("pk").first().delete()
    recount_ledger_days()
    settle_ledger()
    update_ledger_days(settle=NOW)
    assert LedgerDay.objects.get(kind="journal").rows == 8


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_a_long_transaction_in_another_database_does_not_stop_the_count():
    with owner_cursor("postgres") as cursor:
        cursor.execute("BEGIN; SELECT pg_current_xact_id()")
        LedgerTransfer.objects.create(
            date=timezone.now(), kind="journal", debit_account="10100", credit_account="30900", amount=Decimal(1)
        )
        update_ledger_days(settle=NOW)
        assert update_ledger_days(settle=NOW).counted_to > 0


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_a_booking_that_commits_late_is_counted():
    """The count waits for an open transaction that holds a smaller id."""
    from threading import Event, Thread

    from django.db import connections, transaction

    booked, may_commit = Event(), Event()

    def book() -> LedgerTransfer:
        return LedgerTransfer.objects.create(
            date=timezone.now(), kind="journal", debit_account="10100", credit_account="30900", amount=Decimal(1)
        )

    def late() -> None:
        with transaction.atomic():
            book()
            booked.set()
            may_commit.wait(20)
        connections.close_all()

    thread = Thread(target=late)
    thread.start()
    assert booked.wait(20)
    newest = book()
    update_ledger_days(settle=NOW)
    assert update_ledger_days(settle=NOW).counted_to == 0  # the transaction with the smaller id is still open
    may_commit.set()
    thread.join()
    # The transaction of the thread is gone from the server's list a moment after its commit.
    wait_until("the count", lambda: update_ledger_days(settle=NOW).counted_to == newest.pk)
    assert LedgerDay.objects.get().rows == 2
