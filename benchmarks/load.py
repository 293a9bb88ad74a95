"""A day of 1,000,000 transactions and 10,000 people at once, compressed, on the local cluster, driven by locust.

Who is there: readers (lists, next pages, details, portfolio, messages, polling a task), one in nine a watcher with an event
stream open, payers who buy one thing at a time, and banks that send the rest as statements. How often they act follows the
hours of a day. The cluster is `docker/local-cluster` (PostgreSQL and replica, PgBouncer, Redis, three web processes behind
nginx, five pools) on this machine, and locust runs beside it: what it takes of the processors is shown as well.

    python -m benchmarks.load                                               # 200 people, 20,000 transactions, 40 s
    python -m benchmarks.load --users 10000 --transactions 1000000 --seconds 3600 --processes 2 --record

Printed: p50, p95 and p99 by endpoint, errors, how long the oldest work waited, processors by group, and which limit was met
first: a processor, a process that can use but one, the wait, or the answer time. `--record` writes benchmarks/load.md.
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

LIMIT_MS = 200  # what 95 of 100 answers are to be under
PAGE = common.ROOT / "benchmarks" / "load.md"
_OTHER_ENVIRONMENT = ("DATABASE_URL", "REDIS_URL", "REPLICA_URL", "CELERY_BROKER_URL", "DJANGO_SETTINGS_MODULE")

FURNISH = """
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
    SELECT ordinality, digest, now(), now() + interval '7 days' FROM unnest(%(digests)s) WITH ORDINALITY AS given (digest);
    INSERT INTO background_tasks (id, name, user_id, arguments, status, progress, total, result, error, attempts, created_at)
    SELECT gen_random_uuid(), 'benchmark', n, '{}', 'running', 1, 10, '{}', '', 1, now() FROM generate_series(1, %(users)s) AS n;
    INSERT INTO transactions (user_id, date, merchant, merchant_key, amount, total_debit, priority, source)
    SELECT n, now() - k * interval '6 hours', 'SHOPA', 'SHOPA', 4.50, 4.50, 9, 'statement'
    FROM generate_series(1, %(users)s) AS n, generate_series(1, 60) AS k;
    ANALYZE;
"""


@dataclass
class Samples:
    """What was seen every other second. Processors by group: 1.0 is one of them busy all the while."""

    seconds: list[float] = field(default_factory=list)
    groups: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    busiest: list[tuple[float, str]] = field(default_factory=list)
    machine: list[float] = field(default_factory=list)
    wait: list[float] = field(default_factory=list)
    messages: list[int] = field(default_factory=list)


def _command(home: Path, *arguments: str) -> None:
    kept = {name: value for name, value in os.environ.items() if name not in _OTHER_ENVIRONMENT}
    lifted = {
        "API_RATE_AUTHENTICATED": "",
        "API_RATE_ANONYMOUS": "",
        "EVENT_STREAMS_MAX": "100000",
        "LOG_LEVEL": "WARNING",
    }
    done = subprocess.run(
        [str(common.ROOT / "docker" / "local-cluster"), *arguments],
        env=kept | lifted | {"KAMIOI_HOME": str(home)},
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


def _furnish(cluster: Cluster, users: int, tokens: Path) -> None:
    given = [secrets.token_hex(16) for _ in range(users)]
    _sql(cluster, FURNISH, {"users": users, "digests": [hashlib.sha256(one.encode()).hexdigest() for one in given]})
    tasks = dict(_sql(cluster, "SELECT user_id, id::text FROM background_tasks WHERE name = 'benchmark'"))
    tokens.write_text(json.dumps([(number, one, tasks[number]) for number, one in enumerate(given, start=1)]))


class Sampler:
    """Looks at processes, the database and the broker."""

    def __init__(self, cluster: Cluster, locust: psutil.Process) -> None:
        self.cluster, self.found = cluster, Samples()
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

    def look(self) -> None:
        """One sample."""
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
                "SELECT greatest((SELECT extract(epoch FROM now() - min(updated_at)) FROM transactions WHERE status = 'pending'),"
                " (SELECT extract(epoch FROM now() - min(created_at)) FROM background_tasks"
                "  WHERE finished_at IS NULL AND name <> 'benchmark'), 0)"
            )
            self.found.wait.append(float((cursor.fetchone() or [0])[0]))
        keys = [
            key
            for key in self.redis.scan_iter(count=1000)
            if key.split(b"\x06")[0] in {b"transactions", b"bulk", b"ai", b"analytics", b"notifications"}
        ]
        self.found.messages.append(sum(self.redis.llen(key) for key in keys))
        self.found.seconds.append(now - self.began)
        self.found.machine.append(psutil.cpu_percent() / 100)
        self.found.busiest.append(busiest)
        for kind in dict(self.roots):
            self.found.groups[kind].append(groups[kind])


def _mean(values: list[float]) -> float:
    return round(sum(values) / max(1, len(values)), 2)


def _first_limit(found: Samples, slow_at: float | None) -> str:
    """What was met first, and when. The first two samples are the start of everything."""
    met: list[tuple[float, str]] = []
    for number, at in enumerate(found.seconds):
        if number < 2:
            continue
        top = max((group for group in found.groups if group != "locust"), key=lambda group: found.groups[group][number])
        if found.machine[number] >= 0.95:
            met.append(
                (at, f"the processors of the machine ({top} takes most of them, {found.groups[top][number]:.2f})")
            )
        share, kind = found.busiest[number]
        if share >= 0.95:
            met.append((at, f"a process of `{kind}`, which can use one processor"))
        if found.wait[number] >= 30:
            met.append((at, "the work: the oldest waited 30 s"))
    if slow_at is not None:
        met.append((slow_at, f"the answers: p95 over {LIMIT_MS} ms"))
    if not met:
        return "nothing: no limit was met"
    at, what = min(met)
    return f"{what}, after {at:.0f} s"


def _slow_at(history: Path, *, after: float) -> float | None:
    """When (seconds) p95 of the last seconds' answers was over the limit for the first time, everybody having come in."""
    with contextlib.suppress(OSError, ValueError, KeyError, IndexError):
        rows = [row for row in csv.DictReader(history.open()) if row["Name"] == "Aggregated"]
        for row in rows:
            if float(row["Timestamp"]) - float(rows[0]["Timestamp"]) < after:
                continue
            if row["95%"] not in {"N/A", ""} and float(row["95%"]) > LIMIT_MS and int(row["Total Request Count"]) > 50:
                return float(row["Timestamp"]) - float(rows[0]["Timestamp"])
    return None


def _held(history: Path, *, after: float) -> tuple[int, int]:
    """The most requests a second of which 95 of 100 were answered within the limit and none failed, over ten seconds; and
    what share (percent) of the time was so. Everybody has come in by then.
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
    """The kinds of errors, most frequent first: `503 at GET transactions: 1,234`."""
    with contextlib.suppress(OSError):
        rows = [(int(row["Occurrences"]), row["Name"], row["Error"]) for row in csv.DictReader(failures.open())]
        return [f"{error[:100]} at {name}: {times:,}" for times, name, error in sorted(rows, reverse=True)]
    return []


def _page(figures: dict[str, Any], endpoints: list[dict[str, Any]]) -> str:
    lines = [
        "# Load",
        "",
        f"{figures['users']:,} people at once, a reader asking every {figures['think']:g} s, and a day of {figures['transactions']:,}"
        f" transactions in {figures['seconds']:,} s on {figures['processors']} processors, locust beside it"
        f" ({time.strftime('%Y-%m-%d', time.gmtime())}).",
        "",
        "| endpoint | requests | errors | p50 ms | p95 ms | p99 ms |",
        "|---|--:|--:|--:|--:|--:|",
        *(
            f"| {row['name']} | {row['requests']:,} | {row['errors']:,} | {row['p50']:,} | {row['p95']:,} | {row['p99']:,} |"
            for row in endpoints
        ),
        "",
        f"- **Transactions**: {figures['stored']:,} stored, {figures['completed']:,} completed,"
        f" {figures['rate']:,} a second; the rest was done {figures['drained_after']:,} s after the end."
        f" Books wrong: {figures['books_wrong']}.",
        f"- **Oldest work**: waited {figures['wait_p95']:,} s (p95), {figures['wait_most']:,} s at most; messages in the broker: at most"
        f" {figures['messages_most']:,}.",
        f"- **Held**: p95 under {LIMIT_MS} ms in {figures['held_percent']} % of the time,"
        f" with up to {figures['held_rate']:,} requests a second.",
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
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--transactions", type=int, default=20_000, help="of the day; they come within --seconds")
    parser.add_argument("--seconds", type=int, default=40, help="how long the day takes")
    parser.add_argument("--by-api", type=float, default=0.05, help="share that is posted one by one")
    parser.add_argument("--statement-rows", type=int, default=200)
    parser.add_argument("--think", type=float, default=10, help="seconds between two pages of a reader, on the average")
    parser.add_argument("--processes", type=int, default=1, help="of locust")
    parser.add_argument("--drain", type=int, default=600, help="seconds to wait for the work to be done afterwards")
    parser.add_argument("--record", action="store_true", help="write benchmarks/load.md")
    told = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="kamioi-load-"))
    home.chmod(0o755)
    try:
        _command(home, "--port", "0", "start")
        figures, page = _measure(home, told)
    finally:
        with contextlib.suppress(SystemExit):
            _command(home, "stop")
        shutil.rmtree(home, ignore_errors=True)
    print(page)
    if told.record:
        PAGE.write_text(page)
    common.report(**figures)


def _measure(home: Path, told: argparse.Namespace) -> tuple[dict[str, Any], str]:
    cluster = read_cluster(home / "cluster")
    assert cluster
    tokens = home / "tokens.json"
    _furnish(cluster, told.users, tokens)
    while _open_work(cluster):
        time.sleep(0.5)
    before = _count(cluster)
    plan = {
        "tokens": str(tokens),
        "users": told.users,
        "transactions": told.transactions,
        "seconds": told.seconds,
        "by_api": told.by_api,
        "statement_rows": told.statement_rows,
        "think": told.think,
    }
    many = ["--processes", str(told.processes)] if told.processes > 1 else []
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
                sampler.look()
                time.sleep(2 if told.seconds > 120 else 1)
        finally:
            if locust.poll() is None:
                locust.terminate()
                locust.wait(60)
    if not (home / "load_stats.csv").exists():
        raise SystemExit((home / "locust.log").read_text()[-3000:])
    ended = time.monotonic()
    while _open_work(cluster) and time.monotonic() - ended < told.drain:
        time.sleep(0.5)
    drained = round(time.monotonic() - ended, 1)
    stored, completed = (now - then for now, then in zip(_count(cluster), before, strict=True))
    from transactions.sql import load_sql

    books = len(_sql(cluster, load_sql("verify_ledger"), {}))
    endpoints, found = _endpoints(home / "load_stats.csv"), sampler.found
    everything = endpoints[-1]
    waits = sorted(found.wait)
    held_rate, held_percent = _held(home / "load_stats_history.csv", after=told.seconds / 10)
    figures: dict[str, Any] = {
        "benchmark": "load",
        "users": told.users,
        "transactions": told.transactions,
        "seconds": told.seconds,
        "think": told.think,
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
        "rate": round(stored / told.seconds),
        "drained_after": drained,
        "books_wrong": books,
        "wait_p95": round(waits[int(len(waits) * 0.95)], 1) if waits else 0,
        "wait_most": round(max(waits, default=0), 1),
        "held_rate": held_rate,
        "held_percent": held_percent,
        "messages_most": max(found.messages, default=0),
        "machine": _mean(found.machine),
        "first_limit": _first_limit(found, _slow_at(home / "load_stats_history.csv", after=told.seconds / 10)),
        "processors_by_group": {
            group: (_mean(shares[1:]), round(max(shares[1:], default=0), 2))
            for group, shares in sorted(found.groups.items(), key=lambda item: -sum(item[1]))
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
    """Transactions stored, and completed."""
    ((stored, completed),) = _sql(
        cluster, "SELECT count(*), count(*) FILTER (WHERE status = 'completed') FROM transactions"
    )
    return stored, completed


if __name__ == "__main__":
    main()
