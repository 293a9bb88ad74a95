"""A day of 1,000,000 transactions and 10,000 concurrent users, compressed, on the local cluster, driven by locust.

The users are readers (lists, next pages, details, portfolio, messages, polling a task), one watcher with an open
event stream to eight readers, payers who make one purchase at a time, and banks that send the rest as statements.
Their activity follows the hours of a day. The cluster is `docker/local-cluster` (PostgreSQL and replica, PgBouncer,
Redis, three web processes behind nginx, five pools) on this machine, and locust runs beside it; its share of the
processors is shown.

    python -m benchmarks.load                                               # 200 users, 20,000 transactions, 40 s
    python -m benchmarks.load --users 10000 --transactions 1000000 --seconds 3600 --processes 2 --record

It prints p50, p95 and p99 by endpoint, errors, the age of the oldest work, processors by group, and which limit was
reached first: the machine, a process (which can use one processor), the backlog, or the response time. `--record`
writes benchmarks/load.md.
"""

import argparse
import contextlib
import csv
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import redis

from benchmarks import common
from docker.local.topology import Cluster, read_cluster

LIMIT_MS = 200  # the limit of p95
PAGE = common.ROOT / "benchmarks" / "load.md"
_OWN_ENVIRONMENT = (
    "DATABASE_URL",
    "MIGRATION_DATABASE_URL",
    "REDIS_URL",
    "REPLICA_URL",
    "CELERY_BROKER_URL",
    "DJANGO_SETTINGS_MODULE",
)

SEED = """
    UPDATE admin_settings SET value = '1000000000' WHERE key ~ '^limit_';
    INSERT INTO users (id, password, is_superuser, email, name, account_type, user_guid, city, state, zip_code,
        phone, round_up_enabled, round_up_rule, round_up_amount, is_staff, is_active, created_at, updated_at)
    SELECT n, '!', false, 'user' || n || '@example.com', '', 'individual', '', '', '', '', '', true, 'flat', 1,
        false, true, now(), now() FROM generate_series(1, %(users)s) AS n;
    SELECT setval(pg_get_serial_sequence('users', 'id'), %(users)s);
    INSERT INTO companies (ticker, name, exchange, cik, is_listed, aliases)
    SELECT 'T' || n, 'Company ' || n, 'Nasdaq', '', true, '[]' FROM generate_series(1, 20) AS n;
    INSERT INTO stock_prices (ticker, price, as_of, source)
    SELECT 'T' || n, 10 + n * 1.37, now(), 'benchmark' FROM generate_series(1, 20) AS n;
    INSERT INTO merchants (merchant_key, display_name, ticker, company_name, category, status, source, reason,
        rejected_tickers, waiting_count, waiting_amount, created_at, updated_at)
    SELECT 'SHOP' || chr(64 + n), 'Shop', 'T' || n, '', '', 'approved', 'admin', '', '[]', 0, 0, now(), now()
    FROM generate_series(1, 20) AS n;
    INSERT INTO api_tokens (user_id, digest, created_at, expires_at)
    SELECT ordinality, digest, now(), now() + interval '7 days'
    FROM unnest(%(digests)s) WITH ORDINALITY AS tokens (digest);
    INSERT INTO background_tasks (id, name, user_id, arguments, status, progress, total, result, error, attempts,
        created_at)
    SELECT gen_random_uuid(), 'benchmark', n, '{}', 'running', 1, 10, '{}', '', 1, now()
    FROM generate_series(1, %(users)s) AS n;
    INSERT INTO transactions (user_id, date, merchant, merchant_key, amount, total_debit, priority, source)
    SELECT n, now() - k * interval '6 hours', 'SHOPA', 'SHOPA', 4.50, 4.50, 9, 'statement'
    FROM generate_series(1, %(users)s) AS n, generate_series(1, 60) AS k;
    ANALYZE;
"""


@dataclass
class Samples:
    """Samples, one every other second. Processors by group: 1.0 is one that is always busy."""

    seconds: list[float] = field(default_factory=list)
    groups: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    busiest: list[tuple[float, str]] = field(default_factory=list)
    machine: list[float] = field(default_factory=list)
    wait: list[float] = field(default_factory=list)
    messages: list[int] = field(default_factory=list)


def _command(home: Path, *arguments: str) -> None:
    inherited = {name: value for name, value in os.environ.items() if name not in _OWN_ENVIRONMENT}
    without_limits = {
        "API_RATE_AUTHENTICATED": "",
        "API_RATE_ANONYMOUS": "",
        "EVENT_STREAMS_MAX": "100000",
        "LOG_LEVEL": "WARNING",
    }
    done = subprocess.run(
        [str(common.ROOT / "docker" / "local-cluster"), *arguments],
        env=inherited | without_limits | {"KAMIOI_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(done.stdout + done.stderr)


def _sql(cluster: Cluster, query: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    with contextlib.closing(psycopg2.connect(cluster.direct_database_url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(query, parameters)
            return cursor.fetchall() if cursor.description else []


def _seed(cluster: Cluster, users: int, tokens: Path) -> None:
    new_tokens = [secrets.token_hex(16) for _ in range(users)]
    _sql(cluster, SEED, {"users": users, "digests": [hashlib.sha256(one.encode()).hexdigest() for one in new_tokens]})
    tasks = dict(_sql(cluster, "SELECT user_id, id::text FROM background_tasks WHERE name = 'benchmark'"))
    tokens.write_text(json.dumps([(number, one, tasks[number]) for number, one in enumerate(new_tokens, start=1)]))


class Sampler:
    """Samples processes, database and broker."""

    def __init__(self, cluster: Cluster, locust: psutil.Process) -> None:
        self.cluster, self.samples = cluster, Samples()
        self.roots = [
            (process.kind if process.kind != "worker" else process.name, process.pid) for process in cluster.processes
        ]
        self.roots.append(("locust", locust.pid))
        self.spent: dict[int, float] = {}
        self.redis = redis.Redis.from_url(cluster.environment["REDIS_URL"])
        self.database = psycopg2.connect(cluster.direct_database_url)
        self.database.autocommit = True
        self.began = self.last = time.monotonic()
        psutil.cpu_percent()

    def sample(self) -> None:
        """Take one sample."""
        now = time.monotonic()
        groups: dict[str, float] = defaultdict(float)
        busiest = (0.0, "")
        for kind, pid in self.roots:
            with contextlib.suppress(psutil.Error):
                root = psutil.Process(pid)
                for process in [root, *root.children(recursive=True)]:
                    with contextlib.suppress(psutil.Error):
                        used = sum(process.cpu_times()[:2])
                        share = (used - self.spent.get(process.pid, used)) / max(0.1, now - self.last)
                        self.spent[process.pid] = used
                        groups[kind] += share
                        if kind != "locust":
                            busiest = max(busiest, (share, kind))
        self.last = now
        with self.database.cursor() as cursor:
            cursor.execute(
                "SELECT greatest("
                "(SELECT extract(epoch FROM now() - min(updated_at)) FROM transactions WHERE status = 'pending'),"
                " (SELECT extract(epoch FROM now() - min(created_at)) FROM background_tasks"
                "  WHERE finished_at IS NULL AND name <> 'benchmark'), 0)"
            )
            self.samples.wait.append(float((cursor.fetchone() or [0])[0]))
        keys = [
            key
            for key in self.redis.scan_iter(count=1000)
            if key.split(b"\x06")[0] in {b"transactions", b"bulk", b"ai", b"analytics", b"notifications"}
        ]
        self.samples.messages.append(sum(self.redis.llen(key) for key in keys))
        self.samples.seconds.append(now - self.began)
        self.samples.machine.append(psutil.cpu_percent() / 100)
        self.samples.busiest.append(busiest)
        for kind in dict(self.roots):
            self.samples.groups[kind].append(groups[kind])


def _mean(values: list[float]) -> float:
    return round(sum(values) / max(1, len(values)), 2)


def _first_limit(samples: Samples, slow_at: float | None) -> str:
    """Return which limit was reached first, and when. The first two samples are the start-up."""
    reached: list[tuple[float, str]] = []
    for number, at in enumerate(samples.seconds):
        if number < 2:
            continue
        top = max(
            (group for group in samples.groups if group != "locust"), key=lambda group: samples.groups[group][number]
        )
        if samples.machine[number] >= 0.95:
            reached.append(
                (at, f"the processors of the machine ({top} uses most of them, {samples.groups[top][number]:.2f})")
            )
        share, kind = samples.busiest[number]
        if share >= 0.95:
            reached.append((at, f"a process of `{kind}`, which can use only one processor"))
        if samples.wait[number] >= 30:
            reached.append((at, "the backlog: the oldest work waited 30 s"))
    if slow_at is not None:
        reached.append((slow_at, f"the response time: p95 over {LIMIT_MS} ms"))
    if not reached:
        return "none"
    at, what = min(reached)
    return f"{what}, after {at:.0f} s"


def _slow_at(history: Path, *, after: float) -> float | None:
    """Return when (seconds) p95 first exceeded the limit, after all users had started."""
    with contextlib.suppress(OSError, ValueError, KeyError, IndexError):
        rows = [row for row in csv.DictReader(history.open()) if row["Name"] == "Aggregated"]
        for row in rows:
            if float(row["Timestamp"]) - float(rows[0]["Timestamp"]) < after:
                continue
            if row["95%"] not in {"N/A", ""} and float(row["95%"]) > LIMIT_MS and int(row["Total Request Count"]) > 50:
                return float(row["Timestamp"]) - float(rows[0]["Timestamp"])
    return None


def _within_limit(history: Path, *, after: float) -> tuple[int, int]:
    """Return the highest request rate with p95 within the limit and no failure, and the share (percent) of such time.

    Both are of the time after all users had started.
    """
    good: list[float] = []
    seen = 0
    with contextlib.suppress(OSError):
        rows = [row for row in csv.DictReader(history.open()) if row["Name"] == "Aggregated"]
        for row in rows:
            if float(row["Timestamp"]) - float(rows[0]["Timestamp"]) >= after and row["95%"] not in {"N/A", ""}:
                seen += 1
                if float(row["95%"]) <= LIMIT_MS and not float(row["Failures/s"]):
                    good.append(float(row["Requests/s"]))
    return round(max(good, default=0)), round(100 * len(good) / max(1, seen))


def _endpoints(stats: Path) -> list[dict[str, Any]]:
    def number(text: str) -> int:
        return round(float(text)) if text not in {"N/A", ""} else 0

    return [
        {
            "name": row["Name"],
            "requests": int(row["Request Count"]),
            "errors": int(row["Failure Count"]),
            "p50": number(row["50%"]),
            "p95": number(row["95%"]),
            "p99": number(row["99%"]),
        }
        for row in csv.DictReader(stats.open())
        if int(row["Request Count"])
    ]


def _errors(failures: Path) -> list[str]:
    """Return the kinds of errors, most frequent first: `503 at GET transactions: 1,234`."""
    with contextlib.suppress(OSError):
        rows = [(int(row["Occurrences"]), row["Name"], row["Error"]) for row in csv.DictReader(failures.open())]
        return [f"{error[:100]} at {name}: {times:,}" for times, name, error in sorted(rows, reverse=True)]
    return []


def _page(figures: dict[str, Any], endpoints: list[dict[str, Any]]) -> str:
    lines = [
        "# Load",
        "",
        f"{figures['users']:,} concurrent users, a reader sending a request every {figures['think']:g} s, and a day of"
        f" {figures['transactions']:,}"
        f" transactions in {figures['seconds']:,} s on {figures['processors']} processors, locust beside it"
        f" ({time.strftime('%Y-%m-%d', time.gmtime())}).",
        "",
        "| endpoint | requests | errors | p50 ms | p95 ms | p99 ms |",
        "|---|--:|--:|--:|--:|--:|",
        *(
            f"| {row['name']} | {row['requests']:,} | {row['errors']:,} |"
            f" {row['p50']:,} | {row['p95']:,} | {row['p99']:,} |"
            for row in endpoints
        ),
        "",
        f"- **Transactions**: {figures['stored']:,} stored, {figures['completed']:,} completed,"
        f" {figures['rate']:,} a second; the backlog was processed {figures['drained_after']:,} s after the end."
        f" Books wrong: {figures['books_wrong']}.",
        f"- **Oldest work**: waited {figures['wait_p95']:,} s (p95), {figures['wait_most']:,} s at most;"
        f" messages in the broker: at most"
        f" {figures['messages_most']:,}.",
        f"- **Within the limit**: p95 under {LIMIT_MS} ms in {figures['limit_percent']} % of the time,"
        f" with up to {figures['limit_rate']:,} requests a second.",
        f"- **Saturates first**: {figures['first_limit']}.",
        f"- **Errors**: {'; '.join(figures['error_kinds'][:5]) or 'none'}.",
        "",
        "| group | processors, mean | at most |",
        "|---|--:|--:|",
        *(f"| {group} | {mean:.2f} | {most:.2f} |" for group, (mean, most) in figures["processors_by_group"].items()),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--transactions", type=int, default=20_000, help="of the day; sent within --seconds")
    parser.add_argument("--seconds", type=int, default=40, help="how long the day takes")
    parser.add_argument("--by-api", type=float, default=0.05, help="share that is posted one at a time")
    parser.add_argument("--statement-rows", type=int, default=200)
    parser.add_argument("--think", type=float, default=10, help="mean seconds between two requests of a reader")
    parser.add_argument("--processes", type=int, default=1, help="of locust")
    parser.add_argument("--drain", type=int, default=600, help="seconds to wait for the backlog afterwards")
    parser.add_argument("--record", action="store_true", help="write benchmarks/load.md")
    arguments = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="kamioi-load-"))
    home.chmod(0o755)
    try:
        _command(home, "--port", "0", "start")
        figures, page = _measure(home, arguments)
    finally:
        with contextlib.suppress(SystemExit):
            _command(home, "stop")
        shutil.rmtree(home, ignore_errors=True)
    print(page)
    if arguments.record:
        PAGE.write_text(page)
    common.report(**figures)


def _measure(home: Path, arguments: argparse.Namespace) -> tuple[dict[str, Any], str]:
    cluster = read_cluster(home / "cluster")
    assert cluster
    tokens = home / "tokens.json"
    _seed(cluster, arguments.users, tokens)
    while _open_work(cluster):
        time.sleep(0.5)
    before = _count(cluster)
    plan = {
        "tokens": str(tokens),
        "users": arguments.users,
        "transactions": arguments.transactions,
        "seconds": arguments.seconds,
        "by_api": arguments.by_api,
        "statement_rows": arguments.statement_rows,
        "think": arguments.think,
    }
    many = ["--processes", str(arguments.processes)] if arguments.processes > 1 else []
    with (home / "locust.log").open("wb") as log:
        locust = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "locust",
                "-f",
                str(common.ROOT / "benchmarks" / "load_users.py"),
                "--headless",
                "--host",
                cluster.address,
                "--csv",
                str(home / "load"),
                "--csv-full-history",
                "--only-summary",
                *many,
            ],
            cwd=common.ROOT,
            env=os.environ | {"LOAD_PLAN": json.dumps(plan)},
            stdout=log,
            stderr=log,
        )
        sampler = Sampler(cluster, psutil.Process(locust.pid))
        try:
            while locust.poll() is None:
                sampler.sample()
                time.sleep(2 if arguments.seconds > 120 else 1)
        finally:
            if locust.poll() is None:
                locust.terminate()
                locust.wait(60)
    if not (home / "load_stats.csv").exists():
        raise SystemExit((home / "locust.log").read_text()[-3000:])
    ended = time.monotonic()
    while _open_work(cluster) and time.monotonic() - ended < arguments.drain:
        time.sleep(0.5)
    drained = round(time.monotonic() - ended, 1)
    stored, completed = (now - then for now, then in zip(_count(cluster), before, strict=True))
    verified = subprocess.run(
        [sys.executable, "manage.py", "verify_ledger", "--all"],
        cwd=common.ROOT,
        env=os.environ | {"DATABASE_URL": cluster.direct_database_url},
        capture_output=True,
        text=True,
        check=False,
    )
    books = len(verified.stdout.splitlines()) if verified.returncode else 0
    endpoints, samples = _endpoints(home / "load_stats.csv"), sampler.samples
    everything = endpoints[-1]
    waits = sorted(samples.wait)
    limit_rate, limit_percent = _within_limit(home / "load_stats_history.csv", after=arguments.seconds / 10)
    figures: dict[str, Any] = {
        "benchmark": "load",
        "users": arguments.users,
        "transactions": arguments.transactions,
        "seconds": arguments.seconds,
        "think": arguments.think,
        "processors": psutil.cpu_count(),
        "ours": everything["p95"],
        "peer": LIMIT_MS,
        "ratio": round(everything["p95"] / LIMIT_MS, 2),
        "p50": everything["p50"],
        "p99": everything["p99"],
        "requests": everything["requests"],
        "errors": everything["errors"],
        "error_kinds": _errors(home / "load_failures.csv"),
        "stored": stored,
        "completed": completed,
        "rate": round(stored / arguments.seconds),
        "drained_after": drained,
        "books_wrong": books,
        "wait_p95": round(waits[int(len(waits) * 0.95)], 1) if waits else 0,
        "wait_most": round(max(waits, default=0), 1),
        "limit_rate": limit_rate,
        "limit_percent": limit_percent,
        "messages_most": max(samples.messages, default=0),
        "machine": _mean(samples.machine),
        "first_limit": _first_limit(samples, _slow_at(home / "load_stats_history.csv", after=arguments.seconds / 10)),
        "processors_by_group": {
            group: (_mean(shares[1:]), round(max(shares[1:], default=0), 2))
            for group, shares in sorted(samples.groups.items(), key=lambda item: -sum(item[1]))
        },
    }
    return figures, _page(figures, endpoints)


def _open_work(cluster: Cluster) -> bool:
    ((open_,),) = _sql(
        cluster,
        "SELECT EXISTS (SELECT FROM transactions WHERE status = 'pending')"
        " OR EXISTS (SELECT FROM background_tasks WHERE finished_at IS NULL AND name <> 'benchmark')",
    )
    return bool(open_)


def _count(cluster: Cluster) -> tuple[int, int]:
    """Return the numbers of stored and of completed transactions."""
    ((stored, completed),) = _sql(
        cluster, "SELECT count(*), count(*) FILTER (WHERE status = 'completed') FROM transactions"
    )
    return stored, completed


if __name__ == "__main__":
    main()
