"""The legacy migration through a real PgBouncer in transaction pooling: copy, comparison, dual-write."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import ClassVar

import psycopg2
import psycopg2.extensions
import pytest
from django.conf import settings
from django.db import connection

from kamioi_site.db.roles import as_owner
from tests.docker.servers import console, django_through_pgbouncer
from tests.transactions.legacy.conftest import run_copy
from tests.workers import wait_until
from transactions.legacy.load.migration_lock import LegacyCopyError, migration_lock
from transactions.legacy.sync.outbox import enable_dual_write, get_outbox_status
from transactions.legacy.validate.validation import validate
from transactions.models import User
from transactions.tasks import legacy_dual_write

# A copy holds its lock, loads through a second connection and reports through a third.
SERVERS = 4


@pytest.fixture
def pooled(target: None) -> Iterator[dict[str, str]]:
    """Route Django's connections, which are the owner's here, through PgBouncer; return its address."""
    with as_owner(), django_through_pgbouncer(pool_size=SERVERS) as reached, pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "MIGRATION_DATABASE_URL", "")
        yield reached


def test_a_legacy_file_is_copied_and_kept_up_to_date(pooled: dict[str, str], legacy: Path) -> None:
    run_copy(legacy)
    assert User.objects.filter(pk=1).exists()
    assert validate(legacy, samples=5).clean

    enable_dual_write()
    User.objects.filter(pk=1).update(city="Tacoma")
    assert legacy_dual_write() == 1
    assert get_outbox_status().pending == 0
    with closing(sqlite3.connect(legacy)) as there:
        assert there.execute("SELECT city FROM users WHERE id = 1").fetchone() == ("Tacoma",)

    def server_states() -> set[object]:
        return {row["state"] for row in console(pooled, "SHOW SERVERS") if row["database"] != "pgbouncer"}

    # PgBouncer notices closed clients some time later.
    wait_until("every server is released", lambda: server_states() == {"idle"}, seconds=20)


def test_the_lock_excludes_others_until_its_holder_is_done(pooled: dict[str, str]) -> None:
    held, leave = threading.Event(), threading.Event()

    def holder() -> None:
        with migration_lock():
            held.set()
            leave.wait(20)

    thread = threading.Thread(target=holder)
    thread.start()
    assert held.wait(20)
    try:
        with pytest.raises(LegacyCopyError, match="Another copy or sync is running"), migration_lock():
            pass
    finally:
        leave.set()
        thread.join(20)
    with migration_lock(wait=5):
        pass


class ConnectionOfABusyServer(psycopg2.extensions.connection):
    """A connection whose server does not notice yet that it was closed."""

    opened: ClassVar[list["ConnectionOfABusyServer"]] = []

    def close(self) -> None:
        self.opened.append(self)  # else the garbage collector would end the connection


def test_the_lock_is_free_when_its_holder_returns(target: None, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = partial(psycopg2.connect, connection_factory=ConnectionOfABusyServer)
    monkeypatch.setattr("kamioi_site.db.locks.psycopg2.connect", connect)
    try:
        with migration_lock():
            pass
        with pytest.raises(RuntimeError), migration_lock():
            raise RuntimeError
        with migration_lock():
            pass
    finally:
        for opened in ConnectionOfABusyServer.opened:
            psycopg2.extensions.connection.close(opened)


def test_the_lock_sends_queries_while_it_is_held(target: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kamioi_site.db.locks.KEEPALIVE_SECONDS", 0.01)
    with migration_lock(), connection.cursor() as cursor:
        for _ in range(500):
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE query = 'SHOW idle_in_transaction_session_timeout'"
            )
            if cursor.fetchone()[0] == 1:
                break
            time.sleep(0.01)
        else:
            pytest.fail("no query was sent on the connection of the lock")
        with pytest.raises(LegacyCopyError), migration_lock():
            pass
