"""Advisory locks: what a process holds while it waits for one."""

import threading

import pytest

from kamioi_site.db.locks import advisory_lock
from tests.database import owner_cursor
from tests.workers import wait_until

KEY = 7_310_001


@pytest.mark.django_db
def test_a_process_that_waits_for_the_lock_is_in_no_transaction_between_its_attempts() -> None:
    """CREATE INDEX CONCURRENTLY, which the holder may run, waits for the end of transactions with a snapshot."""
    acquired = threading.Event()

    def wait_for_the_lock() -> None:
        with advisory_lock(KEY, wait=60):
            acquired.set()

    def waiting_is_idle() -> bool:
        with owner_cursor() as cursor:  # what a transaction sees of the other sessions does not change
            cursor.execute(
                "SELECT state FROM pg_stat_activity"
                " WHERE datname = current_database() AND state LIKE 'idle%' AND query = 'ROLLBACK'"
            )
            return ("idle",) in cursor.fetchall()

    with advisory_lock(KEY):
        waiting = threading.Thread(target=wait_for_the_lock)
        waiting.start()
        wait_until("the end of an attempt", waiting_is_idle, seconds=30, every=0.01)
        assert not acquired.is_set()
    waiting.join()
    assert acquired.is_set()
