"""A real prefork worker on the test's database: tasks through the broker, and a kill -9 in the middle of them."""

from contextlib import suppress
from decimal import Decimal

import psutil
import pytest
from celery import current_app
from django.db import connection

from tests.factories import make_company, make_merchant, make_user
from tests.workers import celery_worker, wait_until
from transactions.models import Holding, LedgerTransfer, Transaction
from transactions.services.ingest import create_transaction
from transactions.services.ledger_verification import find_ledger_problems
from transactions.services.processing import recover_stuck

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)
ROWS = 20_000
USERS = 64


@pytest.fixture
def pending() -> int:
    """Many purchases of many customers wait at a known merchant."""
    users = [make_user().pk for _ in range(USERS)]
    make_company("SBUX", "95.00")
    make_merchant("STARBUCKS", "SBUX")
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO transactions (user_id, date, merchant, merchant_key, amount, total_debit, source, priority)"
            " SELECT (%s::bigint[])[1 + n %% %s], now() - interval '1 day', 'STARBUCKS', 'STARBUCKS', 4.50, 4.50,"
            " 'test', 9 FROM generate_series(1, %s) AS n",
            [users, USERS, ROWS],
        )
    return ROWS


def test_a_purchase_at_a_known_brand_is_booked_without_the_queue() -> None:
    make_company("SBUX", "95.00")
    with celery_worker():
        create_transaction(user=make_user(), merchant="STARBUCKS STORE 01234 SEATTLE WA", amount=Decimal("4.50"))
        wait_until("the booking", lambda: _completed() == 1)
    _booked_once(1)


def _send() -> None:
    current_app.send_task("process_transactions", kwargs={"priority": Transaction.Priority.BULK})


def _completed() -> int:
    return Transaction.objects.filter(status="completed").count()


def _recovered(rows: int) -> bool:
    """Whether all is booked; if not, do what beat does every minute.

    One message is not enough after a kill: the worker hands it to a dead child before it notices the death, or a new
    child finds all rows locked because PostgreSQL still ends the transaction of the killed.
    """
    recover_stuck()
    return _completed() == rows


def _booked_once(rows: int) -> None:
    assert LedgerTransfer.objects.filter(kind="purchase").count() == rows
    assert LedgerTransfer.objects.filter(kind="fee").count() == rows
    owned = sum((row.shares for row in Holding.objects.all()), Decimal(0))
    assert owned == sum(
        (row.shares for row in LedgerTransfer.objects.filter(kind="purchase") if row.shares), Decimal(0)
    )
    assert list(find_ledger_problems()) == []


def test_a_worker_processes_what_waits(pending):
    with celery_worker():
        _send()
        wait_until("everything booked", lambda: _completed() == pending)
    _booked_once(pending)


def test_children_killed_in_the_middle_of_their_work_lose_and_double_nothing(pending):
    killed = 0
    with celery_worker(concurrency=2) as worker:
        _send()
        _send()
        for part in (1, 8_000):
            wait_until("some work", lambda part=part: _completed() >= part)
            for child in worker.children(recursive=True):
                with suppress(psutil.NoSuchProcess):  # it has ended already
                    child.kill()
                    killed += 1
        wait_until("everything booked", lambda: _recovered(pending), seconds=120, every=3)
    assert killed >= 2
    _booked_once(pending)
