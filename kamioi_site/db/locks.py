"""Advisory locks that outlive single transactions, on a connection beside Django's pool."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg2
import psycopg2.extensions
from django.db import connection

from kamioi_site.errors import KamioiError

logger = logging.getLogger(__name__)

# How often the holder of a lock sends a query, so that PgBouncer does not end its idle transaction.
KEEPALIVE_SECONDS = 60.0


class LockBusyError(KamioiError):
    """Another process holds the lock."""


def connection_string() -> str:
    """Return the address of the current database for libpq and ADBC, with the password."""
    return psycopg2.extensions.make_dsn(
        **{
            name: value
            for name, value in connection.get_connection_params().items()
            if name not in ("cursor_factory", "context", "connection_factory") and value not in (None, "")
        }
    )


@contextmanager
def advisory_lock(key: int, *, wait: float = 0) -> Iterator[None]:
    """Hold the lock while the block runs; waits `wait` seconds for another holder.

    The lock belongs to a transaction that stays open, so that PgBouncer's transaction pooling reserves its connection,
    and ends with the process, however that ends. The transaction has no snapshot, and each attempt to get the lock is
    a separate transaction: CREATE INDEX CONCURRENTLY waits until a transaction ends that has a snapshot for only a
    moment, and the holder of the lock may run it.

    Raises:
        LockBusyError: another process still holds the lock.
    """
    done = threading.Event()
    lock = psycopg2.connect(connection_string())
    try:
        with lock.cursor() as cursor:
            deadline = time.monotonic() + wait
            while True:
                cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
                cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [key])
                if cursor.fetchone()[0]:
                    break
                lock.rollback()
                if time.monotonic() >= deadline:
                    raise LockBusyError
                time.sleep(0.05)
        keepalive = threading.Thread(target=_keep_alive, args=(lock, done), daemon=True)
        keepalive.start()
        try:
            yield
        finally:
            done.set()
            keepalive.join()
            # The server ends a closed connection, and releases its locks, some time later; it answers a rollback
            # only when they are released.
            with suppress(psycopg2.Error):  # the connection was lost, and the lock with it
                lock.rollback()
    finally:
        lock.close()


def _keep_alive(lock: Any, done: threading.Event) -> None:
    """Send a query on the lock's connection every `KEEPALIVE_SECONDS` until the lock is released."""
    while not done.wait(KEEPALIVE_SECONDS):
        try:
            with lock.cursor() as cursor:
                cursor.execute("SHOW idle_in_transaction_session_timeout")  # takes no snapshot
        except psycopg2.Error as error:
            logger.error("lost an advisory lock: %s", str(error).strip())
            return
