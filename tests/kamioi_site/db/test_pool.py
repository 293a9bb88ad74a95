"""The connection pool under threads, forks, a prefork pool, ASGI and a restarted server.

Each case is a small program in a separate process, because forks and pool sizes concern the whole process.
"""

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

ROOT = Path(__file__).resolve().parents[3]

PRELUDE = """
import gc, os, sys, threading, time
import django
django.setup()
from django.db import connection, transaction
from dj_db_conn_pool.core import pool_container

def backend(seconds=0):
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid() FROM pg_sleep(%s)", [seconds])
        return cursor.fetchone()[0]
"""


def _program(text: str, **environment: str) -> list[str]:
    """Run the program against the test server's own `postgres` database; its output, line by line."""
    database = urlunsplit(urlsplit(os.environ["DATABASE_URL"])._replace(path="/postgres"))
    settings = {"DJANGO_SETTINGS_MODULE": "kamioi_site.settings.test", "DATABASE_URL": database, **environment}
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(text)],
        cwd=ROOT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.splitlines()


def test_forty_threads_at_once_each_have_a_connection_and_the_next_forty_use_the_kept_ones():
    (first, second, kept), *_ = [
        map(int, line.split())
        for line in _program(
            """
            def wave():
                seen, gate = [], threading.Barrier(40)
                def one():
                    gate.wait()
                    seen.append(backend(0.3))
                    connection.close()
                threads = [threading.Thread(target=one) for _ in range(40)]
                [thread.start() for thread in threads]
                [thread.join() for thread in threads]
                return seen
            first = wave()
            second = wave()
            print(len(first), len(second), len(set(first) & set(second)))
            """
        )
    ]
    assert (first, second) == (40, 40)
    assert kept == 20  # the size of the pool; what went over it was closed


def test_a_full_pool_waits_and_then_raises_a_clear_error():
    lines = _program(
        """
        from django.db.utils import OperationalError
        gate, results = threading.Barrier(5), []
        def one():
            gate.wait()
            started = time.monotonic()
            try:
                backend(3)
                results.append("served")
            except OperationalError as error:
                results.append(f"{time.monotonic() - started:.0f} s: {error}")
            finally:
                connection.close()
        threads = [threading.Thread(target=one) for _ in range(5)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        print(*sorted(results), sep="\\n")
        """,
        DATABASE_POOL_SIZE="2",
        DATABASE_POOL_OVERFLOW="1",
        DATABASE_POOL_WAIT="1",
    )
    refused = (
        "1 s: All 3 database connections of this process are in use and none was released in 1 s "
        "(DATABASE_POOL_SIZE, DATABASE_POOL_OVERFLOW, DATABASE_POOL_WAIT)."
    )
    assert lines == [refused, refused, "served", "served", "served"]


@pytest.mark.parametrize("leave", ["sys.exit(0)", "os._exit(0)"])
def test_a_forked_child_opens_its_own_connections_and_leaves_the_parents_transaction_alone(leave):
    parent, child, after = _program(
        f"""
        def idle():
            backend()
            connection.close()
        thread = threading.Thread(target=idle)  # leaves a second connection waiting in the pool
        thread.start()
        thread.join()
        with transaction.atomic():
            mine = backend()
            print(mine, flush=True)
            with connection.cursor() as cursor:
                cursor.execute("CREATE TEMPORARY TABLE ours (n int) ON COMMIT DROP")
                cursor.execute("INSERT INTO ours VALUES (1)")
            pid = os.fork()
            if pid == 0:
                gc.collect()
                assert not connection.in_atomic_block
                print(backend(), flush=True)
                connection.close()
                gc.collect()
                {leave}
            assert os.waitpid(pid, 0)[1] == 0
            with connection.cursor() as cursor:
                cursor.execute("SELECT count(*), pg_backend_pid() FROM ours")
                print(*cursor.fetchone())
        """
    )
    assert child != parent
    assert after == f"1 {parent}"


def test_the_processes_of_a_prefork_pool_do_not_share_connections():
    (line,) = _program(
        """
        import billiard
        from billiard.pool import Pool
        def task(number):
            return os.getpid(), backend(0.1), number
        parent = backend()  # Celery's parent process has used the database before it forks
        pool = Pool(3)
        results = pool.map(task, range(30), chunksize=1)
        again = backend()
        pool.close()
        pool.join()
        pairs = {(process, server) for process, server, _ in results}
        assert [number for *_, number in results] == list(range(30))
        print(len({p for p, _ in pairs}), len({s for _, s in pairs}), len(pairs), parent == again,
              parent in {s for _, s in pairs})
        """
    )
    assert line == "3 3 3 True False"


def test_concurrent_asgi_requests_are_served_and_give_every_connection_back():
    (line,) = _program(
        """
        import asyncio, types
        from asgiref.testing import ApplicationCommunicator
        from django.core.asgi import get_asgi_application
        from django.http import HttpResponse
        from django.test import override_settings
        from django.urls import path

        urls = types.ModuleType("urls")
        urls.urlpatterns = [path("", lambda request: HttpResponse(str(backend(0.05))))]

        async def request(application):
            scope = {"type": "http", "http_version": "1.1", "method": "GET", "path": "/", "query_string": b"",
                     "headers": [(b"host", b"testserver")], "asgi": {"version": "3.0"}}
            talk = ApplicationCommunicator(application, scope)
            await talk.send_input({"type": "http.request", "body": b""})
            start = await talk.receive_output(timeout=30)
            await talk.receive_output(timeout=30)
            await talk.wait(timeout=30)
            return start["status"]

        async def main():
            application = get_asgi_application()
            return await asyncio.gather(*(request(application) for _ in range(100)))

        with override_settings(ROOT_URLCONF=urls, MIDDLEWARE=[]):
            statuses = asyncio.run(main())
        print(len(statuses), set(statuses), pool_container["default"].checkedout())
        """
    )
    assert line == "100 {200} 0"


def test_a_restarted_server_fails_no_request(tmp_path):
    lines = _program(
        """
        from kamioi_site.local import embedded_servers
        os.environ.pop("DATABASE_URL")  # Django has read it; now the embedded servers are found by KAMIOI_HOME
        def requests():
            served, gate = [], threading.Barrier(8)
            def one():
                gate.wait()
                served.append(backend(0.1))
                connection.close()
            threads = [threading.Thread(target=one) for _ in range(8)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
            return served
        before = requests()
        embedded_servers.stop_servers(["postgres"])
        embedded_servers.ensure_servers()
        after = requests()
        print(len(before), len(after), len(set(before) & set(after)))
        embedded_servers.stop_servers(["postgres"])
        """,
        KAMIOI_HOME=str(tmp_path),
        DATABASE_URL=_own_server(tmp_path),
    )
    assert lines == ["8 8 0"]


def _own_server(here: Path) -> str:
    """Start a PostgreSQL in `here`; returns its address."""
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    done = subprocess.run(
        [sys.executable, "-m", "kamioi_site.local.embedded_servers", "with-servers", "printenv", "DATABASE_URL"],
        cwd=ROOT,
        env=environment | {"KAMIOI_HOME": str(here)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


def test_a_connection_that_the_server_has_just_closed_is_not_reused():
    """Within the seconds in which connections are only looked at."""
    lines = _program(
        """
        first = backend()
        connection.close()
        again = backend()
        connection.close()
        import psycopg2
        killer = psycopg2.connect(os.environ["DATABASE_URL"])
        killer.autocommit = True
        killer.cursor().execute("SELECT pg_terminate_backend(%s)", [first])
        killer.close()
        time.sleep(0.3)
        print(again == first, backend() != first)
        connection.close()
        """
    )
    assert lines[0] == "True True"
