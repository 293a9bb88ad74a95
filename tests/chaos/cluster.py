"""A cluster under load into which faults are injected, observed until it recovers, and verified afterwards.

The guarantees are checked from outside: the load records every answer of the API (an accepted purchase, a queued task)
and retries with the same `Idempotency-Key` until it has an answer; then PostgreSQL is read:
- every accepted purchase exists once in its final state: at a known merchant it is completed, with one posting and one
  change of the holding; at an unknown merchant it waits for a reviewer;
- the same holds for every row of an accepted statement; every task has an outcome, a failed one with a reason;
- nothing that was sent twice exists twice, whether it was answered or not;
- the books are correct (the checks of `verify_ledger`).

A cluster is *healthy* when no request has just failed and nothing has waited longer than `PATIENCE`. The recovery time
is the time from the injection to the last moment it was not healthy.
"""

import contextlib
import copy
import hashlib
import http.client
import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg2
import pytest
import redis
from celery import Celery
from django.conf import settings

from docker.local.topology import Cluster
from kamioi_site.messaging.broker import broker_settings
from tests import cluster as local
from tests.chaos.model import ModelServer
from transactions.services.ledger_verification import checks_of_rows

QUEUES = ("ai", "transactions", "analytics", "notifications", "bulk")
USERS = 64
MERCHANTS = 20
STATEMENT_ROWS = 150
# Seconds. A busy machine alone causes shorter waits.
PATIENCE = 5.0
_ANSWER = 12.0


def digest(token: str) -> str:
    """Return the hash of a token, as the database stores it."""
    return hashlib.sha256(token.encode()).hexdigest()


@dataclass
class Sent:
    """What the load sent and received: purchases and uploads by key, tasks by id."""

    purchases: set[str] = field(default_factory=set)
    uploads: set[str] = field(default_factory=set)
    accepted: dict[str, int] = field(default_factory=dict)
    statements: dict[str, str] = field(default_factory=dict)
    tasks: set[str] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)
    attempts: int = 0
    failures: int = 0
    failed_at: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """Result of the verification after an injection. Times in seconds."""

    fault: str
    injections: int
    accepted: int
    tasks: int
    failed_tasks: int
    lost: list[str]
    doubled: list[str]
    books: list[str]
    refused: list[str]
    failures: int
    recovery: float

    @property
    def problems(self) -> list[str]:
        """Everything that must not be."""
        return [*self.lost, *self.doubled, *self.books, *self.refused]


class SystemUnderTest:
    """One cluster, its customers and its load."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.sent = Sent()
        self.model: ModelServer | None = None
        # Names of tasks that may take longer while this fault lasts.
        self.slow_tasks: list[str] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._paused = threading.Event()
        self._threads: list[threading.Thread] = []
        self._number = 0

    # --- What runs -------------------------------------------------------------------------------------------
    @property
    def cluster(self) -> Cluster:
        """What runs now."""
        return local.running(self.home)

    def sql(self, query: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """Rows, straight from PostgreSQL."""
        connection = psycopg2.connect(self.cluster.direct_database_url, connect_timeout=5)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(query, parameters)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def redis(self) -> "redis.Redis":
        """The cluster's Redis."""
        return redis.Redis.from_url(self.cluster.environment["REDIS_URL"], socket_timeout=5)

    def sender(self) -> Celery:
        """An application that can put messages on the cluster's broker."""
        broker = broker_settings(self.cluster.environment["REDIS_URL"], queues=QUEUES)
        app = Celery("chaos", broker=broker.url, set_as_current=False)
        app.conf.update(
            broker_transport_options=broker.transport_options,
            task_queues=broker.queues,
            task_ignore_result=True,
            task_default_queue="transactions",
            task_routes=settings.CELERY_TASK_ROUTES,
        )
        return app

    def kill(self, name: str) -> None:
        """Kill the process with SIGKILL; its children are left to init (servers end their own)."""
        process = self.cluster.process(name)
        if process.pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if process.kind in {"worker", "web", "beat"}:
                os.killpg(process.pid, signal.SIGKILL)
            else:
                os.kill(process.pid, signal.SIGKILL)

    def children(self, name: str) -> list[psutil.Process]:
        """The children of that process."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.cluster.process(name).pid).children(recursive=True)
        return []

    # --- Customers ---------------------------------------------------------------------------------------------
    def furnish(self, *, sweep_seconds: int | None) -> None:
        """Create customers with tokens, a staff user and a directory with prices; set the interval of the sweep."""
        self.tokens = {number: f"chaos-{number}-{os.urandom(12).hex()}" for number in range(1, USERS + 1)}
        tokens = [(number, digest(token)) for number, token in self.tokens.items()]
        self.sql(
            """
            INSERT INTO users (id, password, is_superuser, email, name, account_type, user_guid, city, state, zip_code,
                phone, round_up_enabled, round_up_rule, round_up_amount, is_staff, is_active, created_at, updated_at)
            SELECT n, '!', n = 1, 'user' || n || '@example.com', '', 'individual', '', '', '', '', '', true, 'flat', 1,
                n = 1, true, now(), now() FROM generate_series(1, %(users)s) AS n;
            SELECT setval(pg_get_serial_sequence('users', 'id'), %(users)s);
            INSERT INTO companies (ticker, name, exchange, cik, is_listed, aliases)
            SELECT 'T' || n, 'Company ' || n, 'Nasdaq', '', true, '[]' FROM generate_series(1, %(merchants)s) AS n;
            INSERT INTO stock_prices (ticker, price, as_of, source)
            SELECT 'T' || n, 10 + n * 1.37, now(), 'chaos' FROM generate_series(1, %(merchants)s) AS n;
            INSERT INTO merchants (merchant_key, display_name, ticker, company_name, category, status, source, reason,
                rejected_tickers, waiting_count, waiting_amount, created_at, updated_at)
            SELECT 'SHOP' || chr(64 + n), 'Shop', 'T' || n, '', '', 'approved', 'seed', '', '[]', 0, 0, now(), now()
            FROM generate_series(1, %(merchants)s) AS n;
            """,
            {"users": USERS, "merchants": MERCHANTS},
        )
        for user, hashed in tokens:
            self.sql(
                "INSERT INTO api_tokens (user_id, digest, created_at, expires_at) "
                "VALUES (%s, %s, now(), now() + interval '1 day')",
                (user, hashed),
            )
        self.sql("UPDATE admin_settings SET value = '' WHERE key LIKE 'limit_%'")
        # It would stop the approvals of our shops, which no catalogue knows.
        self.sql("UPDATE django_celery_beat_periodictask SET enabled = false WHERE name = 'recheck_directory'")
        if sweep_seconds:
            self.sql(
                """
                WITH often AS (
                    INSERT INTO django_celery_beat_intervalschedule (every, period) VALUES (%s, 'seconds') RETURNING id
                )
                UPDATE django_celery_beat_periodictask SET interval_id = often.id, crontab_id = NULL, last_run_at = NULL
                FROM often WHERE name = 'sweep_stuck';
                UPDATE django_celery_beat_periodictasks SET last_update = now()
                """,
                (sweep_seconds,),
            )

    # --- Load ----------------------------------------------------------------------------------------------------
    def start_load(self, *, threads: int = 3, pause: float = 0.1) -> None:
        """Purchases, now and then a statement and a run of the queue."""
        for number in range(threads):
            thread = threading.Thread(target=self._drive, args=(random.Random(number), pause), daemon=True)
            thread.start()
            self._threads.append(thread)

    def end_load(self) -> None:
        """No more requests; those under way end."""
        self._over.set()
        self._paused.clear()
        for thread in self._threads:
            thread.join(60)

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """No new requests inside; those under way are asked until they have their answer or the patience is over."""
        self._paused.set()
        try:
            yield
        finally:
            self._paused.clear()

    def _next(self) -> int:
        with self._lock:
            self._number += 1
            return self._number

    def _drive(self, dice: random.Random, pause: float) -> None:
        while not self._over.is_set():
            if self._paused.is_set():
                time.sleep(0.05)
                continue
            number, luck = self._next(), dice.random()
            user = dice.randint(2, USERS)
            if luck < 0.03:
                self.upload(user, f"upload-{number}")
            elif luck < 0.04:
                self.run_queue(f"queue-{number}")
            else:
                self.purchase(user, f"purchase-{number}", known=luck > 0.06)
            time.sleep(pause * dice.random() * 2)

    def purchase(self, user: int, key: str, *, known: bool = True, shop: str = "") -> None:
        """Make one purchase at this merchant, at a known one or at an unknown one."""
        with self._lock:
            self.sent.purchases.add(key)
        shop = shop or (
            f"SHOP{chr(65 + hash(key) % MERCHANTS)}" if known else f"ZQXV {chr(65 + hash(key) % 26)}RBLE WORKS"
        )
        amount = f"{4 + hash(key) % 40}.50"
        found = self._ask(user, "/api/transactions", key, {"merchant": shop, "amount": amount, "description": key})
        if found is not None:
            with self._lock:
                self.sent.accepted[key] = found["transaction_id"]

    def upload(self, user: int, key: str, rows: int = STATEMENT_ROWS) -> str | None:
        """A statement, as a file in the body. Returns the id of its task."""
        with self._lock:
            self.sent.uploads.add(key)
        day = time.strftime("%Y-%m-%d", time.gmtime())
        lines = (f"{day},SHOP{chr(65 + n % MERCHANTS)},{3 + n % 50}.25,{key} row {n}" for n in range(rows))
        body = "date,merchant,debit,description\n" + "\n".join(lines) + "\n"
        found = self._ask(user, "/api/transactions/bulk", key, body.encode(), kind="text/csv")
        if found is None:
            return None
        with self._lock:
            self.sent.statements[key] = str(found["task_id"])
            self.sent.tasks.add(str(found["task_id"]))
        return str(found["task_id"])

    def run_queue(self, key: str) -> None:
        """Staff ask for a run of the LLM queue."""
        found = self._ask(1, "/api/admin/ai/process-queue", key, {})
        if found is not None:
            with self._lock:
                self.sent.tasks.add(str(found["task_id"]))

    def _ask(
        self, user: int, path: str, key: str, body: Any, *, kind: str = "application/json"
    ) -> dict[str, Any] | None:
        """Retry until there is an answer; None if the request was rejected or never answered."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.tokens[user]}", "Content-Type": kind, "Idempotency-Key": key}
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            with self._lock:
                self.sent.attempts += 1
            try:
                status, text = self._once("POST", path, data, headers)
            except (OSError, http.client.HTTPException, AssertionError):
                status, text = 599, b""
            if status < 300:
                found: dict[str, Any] = json.loads(text)
                return found
            # 409: the first attempt is still at work under this key.
            if status < 500 and status not in {409, 429}:
                with self._lock:
                    self.sent.refused.append(f"{path} {key}: {status} {text[:200]!r}")
                return None
            with self._lock:
                self.sent.failures += 1
                self.sent.failed_at = time.monotonic()
            time.sleep(0.2)
        return None

    def _once(self, method: str, path: str, data: bytes | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """One request: through nginx when there is one, else to a web process that runs."""
        cluster = self.cluster
        addresses = (
            [urlsplit(cluster.address).netloc]
            if cluster.kind("nginx")
            else [f"127.0.0.1:{web.port}" for web in cluster.kind("web") if web.pid]
        )
        if not addresses:
            raise OSError("no web process runs")
        connection = http.client.HTTPConnection(random.choice(addresses), timeout=_ANSWER)
        try:
            connection.request(method, path, data, dict(headers))
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()

    def get(self, path: str, *, user: int = 1, **headers: str) -> tuple[int, bytes]:
        """A GET of that user."""
        return self._once("GET", path, None, {"Authorization": f"Bearer {self.tokens[user]}"} | headers)

    def lose_a_message(self) -> str:
        """A task whose message is gone: only beat and the sweep bring it to its end. Returns its id."""
        ((task,),) = self.sql(
            "INSERT INTO background_tasks "
            "(id, name, user_id, arguments, status, progress, result, error, attempts, created_at)"
            " VALUES (gen_random_uuid(), 'run_llm_queue', 1, '{}', 'queued', 0, '{}', '', 0, now() - interval '1 hour')"
            " RETURNING id::text"
        )
        with self._lock:
            self.sent.tasks.add(task)
        return str(task)

    # --- Watching --------------------------------------------------------------------------------------------------
    def is_well(self) -> bool:
        """Whether requests are answered and nothing waits."""
        if time.monotonic() - self.sent.failed_at < 1.0:
            return False
        try:
            ((waits,),) = self.sql(
                """
                SELECT EXISTS (
                    SELECT FROM transactions
                    WHERE status = 'pending' AND updated_at < now() - %(patience)s * interval '1 s'
                )
                    OR EXISTS (SELECT FROM background_tasks WHERE finished_at IS NULL
                               AND name <> ALL (%(slow)s) AND created_at < now() - %(patience)s * interval '1 s')
                """,
                {"patience": PATIENCE, "slow": self.slow_tasks},
            )
        except (psycopg2.Error, AssertionError, OSError):
            return False
        return not waits

    def watch(self, since: float, *, at_least: float, calm: float, seconds: float) -> float:
        """Until the cluster has been well for `calm` seconds. Returns the recovery time from `since`.

        Raises:
            AssertionError: it was not, in so many seconds.
        """
        ill_at = since
        while True:
            now = time.monotonic()
            if not self.is_well():
                ill_at = time.monotonic()
            elif now - since >= at_least and now - ill_at >= calm:
                return round(ill_at - since, 1)
            assert now - since < seconds, f"not healthy {seconds:.0f} s after the injection: {self.complaint()}"
            time.sleep(0.2)

    def drain(self, *, seconds: float) -> None:
        """Until nothing is pending and no task is open; the load pauses meanwhile."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(psycopg2.Error, AssertionError):
                ((open_,),) = self.sql(
                    "SELECT (SELECT count(*) FROM transactions WHERE status = 'pending')"
                    " + (SELECT count(*) FROM background_tasks WHERE finished_at IS NULL)"
                )
                if not open_ and self._quiet():
                    return
            assert time.monotonic() < deadline, f"not drained in {seconds:.0f} s: {self.complaint()}"
            time.sleep(0.2)

    def _quiet(self) -> bool:
        """Whether every request that was sent has its answer."""
        with self._lock:
            answered = len(self.sent.accepted) + len(self.sent.statements) + len(self.sent.refused)
            return answered >= len(self.sent.purchases) + len(self.sent.uploads)

    def complaint(self) -> str:
        """What still waits, for the message of a failure."""
        with contextlib.suppress(psycopg2.Error, AssertionError, OSError):
            return str(
                self.sql("SELECT status, count(*) FROM transactions GROUP BY 1")
                + self.sql(
                    "SELECT name, status, attempts, error FROM background_tasks WHERE finished_at IS NULL LIMIT 5"
                )
            )
        return f"PostgreSQL does not answer; {self.sent.failures} requests failed"

    # --- Verification -------------------------------------------------------------------------------------------------
    def verify(self, fault: str, *, injections: int, recovery: float) -> Verdict:
        """Look at everything since the cluster was started."""
        with self._lock:  # the load continues
            sent = copy.deepcopy(self.sent)
        stored = dict(self.sql("SELECT id, status FROM transactions WHERE source = 'api'"))
        bookings = dict(
            self.sql("SELECT transaction_id, count(*) FROM ledger_transfers WHERE kind = 'purchase' GROUP BY 1")
        )
        lost = [f"purchase {key} is not there" for key, pk in sent.accepted.items() if pk not in stored]
        ends = {"completed", "needs_review", "not_listed", "failed"}
        lost += [f"purchase {pk} is {status}" for pk, status in stored.items() if status not in ends]
        lost += [
            f"{count} purchases at a shop of the directory are {status}"
            for status, count in self.sql(
                "SELECT status, count(*) FROM transactions "
                "WHERE starts_with(merchant_key, 'SHOP') AND status <> 'completed'"
                " AND merchant <> 'SHOPA #6666' GROUP BY 1"
            )
        ]
        completed = [pk for (pk,) in self.sql("SELECT id FROM transactions WHERE status = 'completed'")]
        lost += [f"transaction {pk} is completed and not booked" for pk in completed if not bookings.get(pk)]
        doubled = [f"transaction {pk} is booked {count} times" for pk, count in bookings.items() if count > 1]
        doubled += [
            f"{key} is there {count} times"
            for key, count in self.sql("SELECT description, count(*) FROM transactions GROUP BY 1 HAVING count(*) > 1")
        ]
        outcomes = {
            str(pk): (status, error, result.get("added") if isinstance(result, dict) else None)
            for pk, status, error, result in self.sql("SELECT id, status, error, result FROM background_tasks")
        }
        rows = dict(
            self.sql(
                "SELECT split_part(description, ' row ', 1), count(*) FROM transactions"
                " WHERE starts_with(description, 'upload-') GROUP BY 1"
            )
        )
        for task in sent.tasks:
            status, error, _ = outcomes.get(task, ("not there", "", None))
            if status not in {"completed", "failed"} or (status == "failed" and not error):
                lost.append(f"task {task} is {status}, {error!r}")
        for key, task in sent.statements.items():
            if (
                outcomes.get(task, ("",))[0] == "completed"
                and rows.get(key, 0) < STATEMENT_ROWS
                and not key.endswith("big")
            ):
                lost.append(f"{key}: {rows.get(key, 0)} of {STATEMENT_ROWS} rows")
        books = [" ".join(map(str, row)) for row in self.sql(*checks_of_rows())]
        return Verdict(
            fault=fault,
            injections=injections,
            accepted=len(sent.accepted) + sum(rows.get(key, 0) for key in sent.statements),
            tasks=len(sent.tasks),
            failed_tasks=sum(outcomes.get(task, ("",))[0] == "failed" for task in sent.tasks),
            lost=lost,
            doubled=doubled,
            books=books,
            refused=list(sent.refused),
            failures=sent.failures,
            recovery=recovery,
        )


@contextlib.contextmanager
def system_under_test(
    home: Path, *arguments: str, sweep_seconds: int | None, **environment: str
) -> Iterator[SystemUnderTest]:
    """A cluster with customers and a running load, until the end of the block."""
    environment |= {"API_RATE_AUTHENTICATED": "", "API_RATE_ANONYMOUS": ""}
    with local.local_cluster(home, *arguments, **environment), pytest.MonkeyPatch.context() as patch:
        # The cluster is a plain PostgreSQL; this process has no database that could be asked.
        patch.setattr("kamioi_site.db.sql_files.on_citus", lambda: False)
        system = SystemUnderTest(home)
        system.furnish(sweep_seconds=sweep_seconds)
        system.start_load()
        try:
            yield system
        finally:
            system.end_load()
