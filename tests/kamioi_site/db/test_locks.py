"""Advisory locks: what a process holds while it waits for one."""

import threading
from contextlib import closing

import psycopg2
import pytest

from kamioi_site.db.locks import advisory_lock, connection_string
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
        with observer.cursor() as cursor:
            cursor.execute(
                "SELECT state FROM pg_stat_activity"
                " WHERE datname = current_database() AND state LIKE 'idle%' AND query = 'ROLLBACK'"
            )
            return ("idle",) in cursor.fetchall()

    with closing(psycopg2.connect(connection_string())) as observer, advisory_lock(KEY):
        observer.autocommit = True  # what a transaction sees of other sessions does not change
        waiting = threading.Thread(target=wait_for_the_lock)
        waiting.start()
        wait_until("the end of an attempt", waiting_is_idle, seconds=30, every=0.01)
        assert not acquired.is_set()
    waiting.join()
    assert acquired.is_set()
