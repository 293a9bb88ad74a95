"""The API on a migrated legacy database of 14M mappings and 10M transactions, with 200 concurrent clients.

The legacy file is generated and copied by `migrate_from_sqlite copy`, as in production. `--legacy FILE` uses an
existing file, `--keep` keeps the database for the next run, and `--reuse` uses that one. Two gunicorn workers serve,
wrk (Debian: `apt-get install wrk`) sends the requests, and both share the processors with PostgreSQL.

`ours` is requests per second of a customer's list of transactions, 50 rows a page, authenticated by token and rate
limited; every URL is requested once, so none is cached. `peer` is the same rows from a bare FastAPI and asyncpg app
with two uvicorn workers in the same run (`benchmarks/peers/bare_list.py`). Paced: each client waits about a second
between requests. The other figures: the cached list, a page after 100,000 others, one transaction, approving, and the
dashboards cold and cached, one request at a time.
"""

import argparse
import http.client
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.latency import _percentile, _start_web
from benchmarks.migration import write_legacy

_NAME = "kamioi_bench_api"
_STAFF = "bench@kamioi.example"
_CLIENTS = 200
_PAGE = 50
_RUN = itertools.count(int(time.time()) % 40)
_PAUSE = 1000  # milliseconds between two requests of a paced client

# Each line of the file is "METHOD path token body". Each thread sends its share, over and over.
# `once`, the number of the run, adds a unique timestamp to the path, so that no URL is requested twice.
_LUA = """
local lines, at, step, count = {}, 0, 1, 0
local threads = 0
function setup(thread) thread:set("number", threads); threads = threads + 1 end
function init(args)
  for line in io.lines(args[1]) do lines[#lines + 1] = line end
  once = args[2] ~= "again" and tonumber(args[2])
  pause = tonumber(args[3])
  if pause == 0 then delay = nil end
  math.randomseed(number + 1)
  at = number + 1
end
function delay() return math.random(pause / 2, pause * 3 / 2) end
function request()
  local method, path, token, body = lines[at]:match("^(%S+) (%S+) (%S+) ?(.*)$")
  at = at + 2
  if at > #lines then at = number + 1 end
  count = count + 1
  if once then path = path .. string.format("&start_date=2020-01-01T0%d:%02d:00.%06d", number, once, count) end
  local headers = {["Authorization"] = "Bearer " .. token, ["Content-Type"] = "application/json"}
  return wrk.format(method, path, headers, body ~= "" and body or nil)
end
function done(summary, latency, requests)
  local errors = summary.errors
  local line = 'FIGURES {"p50": %.1f, "p95": %.1f, "p99": %.1f, "rps": %.1f, "requests": %d, "errors": %d}\\n'
  io.write(string.format(line,
    latency:percentile(50) / 1000, latency:percentile(95) / 1000, latency:percentile(99) / 1000,
    summary.requests / (summary.duration / 1e6), summary.requests,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


def _prepare(arguments: argparse.Namespace) -> None:
    """Create the database from a legacy file, or use that of the last run."""
    if arguments.reuse:
        common.start_servers()
        os.environ["DJANGO_SETTINGS_MODULE"] = "kamioi_site.settings.dev"
        os.environ["DATABASE_URL"] = common.url_of_database(_NAME)
        import django

        django.setup()
        return
    common.fresh_database(_NAME)
    with tempfile.TemporaryDirectory(prefix="kamioi-bench-") as directory:
        path = Path(arguments.legacy) if arguments.legacy else Path(directory) / "kamioi.db"
        if not arguments.legacy:
            print("Writing the legacy file ...", flush=True)
            write_legacy(path, mappings=arguments.mappings, transactions=arguments.transactions)
        print("Copying it ...", flush=True)
        for command in (["migrate_from_sqlite", "copy", str(path)], ["calculate_analytics"]):
            subprocess.run(
                [sys.executable, "manage.py", *command], cwd=common.ROOT, check=True, stdout=subprocess.DEVNULL
            )
    print("Settling ...", flush=True)
    common._run("VACUUM (ANALYZE) transactions")
    common._run("VACUUM (ANALYZE) llm_mappings")
    common._run("CHECKPOINT")


def _people(count: int) -> list[tuple[int, str]]:
    """Return customers with many rows and a token for each: (id, token)."""
    from transactions.models import ApiToken, User

    users = User.objects.filter(is_staff=False, is_active=True).order_by("id")[:count]
    return [(user.pk, ApiToken.issue(user=user)[1]) for user in users]


def _staff() -> str:
    from transactions.models import ApiToken, User

    user = User.objects.filter(email=_STAFF).first() or User.objects.create_superuser(
        _STAFF, "a password of the benchmark"
    )
    return ApiToken.issue(user=user)[1]


@contextmanager
def _bare_app(port: int) -> Iterator[None]:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "uvicorn",
            "benchmarks.peers.bare_list:app",
            "--workers",
            "2",
            "--port",
            str(port),
            "--log-level",
            "warning",
        ],
        cwd=common.ROOT,
    )
    try:
        _wait(port, "/list/1?limit=1")
        yield
    finally:
        process.terminate()
        process.wait(20)


def _wait(port: int, path: str) -> None:
    for _ in range(150):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise RuntimeError("the peer did not start")


def _wrk(
    port: int, lines: list[str], *, seconds: int, clients: int = _CLIENTS, once: bool = False, pause: int = 0
) -> dict[str, float]:
    """Send these requests over and over, `pause` milliseconds apart; return rate and latencies."""
    with tempfile.TemporaryDirectory(prefix="kamioi-wrk-") as directory:
        script, requests = Path(directory) / "requests.lua", Path(directory) / "requests.txt"
        script.write_text(_LUA)
        requests.write_text("\n".join(lines) + "\n")
        out = subprocess.run(
            [
                "wrk",
                "-t2",
                f"-c{clients}",
                f"-d{seconds}s",
                "--timeout",
                "30s",
                "-s",
                str(script),
                f"http://127.0.0.1:{port}",
                "--",
                str(requests),
                f"{next(_RUN)}" if once else "again",
                str(pause),
            ],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    figures: dict[str, float] = json.loads(out[out.index("FIGURES ") + 8 :].splitlines()[0])
    return figures


def _deep(token: str) -> list[str]:
    """Return pages of mappings with about 100,000 pages before them, or as many as there are."""
    from django.db import connection

    from kamioi_site.pagination import encode_cursor

    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM llm_mappings")
        rows = cursor.fetchone()[0]
        before = min(100_000 * _PAGE, rows * 9 // 10)
        cursor.execute(
            "SELECT created_at, id FROM llm_mappings ORDER BY created_at DESC, id DESC OFFSET %s LIMIT 200", [before]
        )
        rows_after = cursor.fetchall()
    print(f"deep page: {before // _PAGE:,} pages before it", flush=True)
    return [
        f"GET /api/admin/llm-center/mappings?limit={_PAGE}&cursor={encode_cursor([at, pk], 'mappings:all:')} {token}"
        for at, pk in rows_after
    ]


def _pending(count: int) -> list[int]:
    """Create pending proposals, each for another merchant; return their ids."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO companies (ticker, name, exchange, cik, is_listed, aliases) "
            "VALUES ('BENCH', 'Bench Inc.', 'Nasdaq', '', true, '[]') ON CONFLICT DO NOTHING"
        )
        cursor.execute(
            """
            WITH made AS (
                INSERT INTO merchants (merchant_key, display_name, ticker, company_name, category, status, source,
                    reason, rejected_tickers, waiting_count, waiting_amount, created_at, updated_at)
                SELECT 'BENCH ' || floor(extract(epoch FROM now())) || ' ' || n, 'BENCH ' || n, 'BENCH', '', '',
                    'proposed', 'matcher', '', '[]', 0, 0, now(), now()
                FROM generate_series(1, %s) AS n
                RETURNING merchant_key, display_name
            )
            INSERT INTO llm_mappings (merchant_name, merchant_key, ticker, category, confidence, status, admin_approved,
                ai_processed, company_name, source, created_at)
            SELECT display_name, merchant_key, 'BENCH', '', 0.8, 'pending', false, true, '', 'matcher', now() FROM made
            RETURNING id
            """,
            [count],
        )
        return [row[0] for row in cursor.fetchall()]


def _timed(
    port: int, path: str, headers: dict[str, str], rounds: int, before: Callable[[], Any] = lambda: None
) -> dict[str, float]:
    """Return the milliseconds of one client that repeats a request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    milliseconds = []
    for _ in range(rounds):
        before()
        begin = time.perf_counter()
        connection.request("GET", path, headers=headers)
        reply = connection.getresponse()
        reply.read()
        milliseconds.append((time.perf_counter() - begin) * 1000)
        if reply.status != 200:
            raise SystemExit(f"{path} returned {reply.status}")
    return {"p50": round(_percentile(milliseconds, 0.5), 1), "p95": round(_percentile(milliseconds, 0.95), 1)}


def _session() -> str:
    """Return a session cookie for the admin."""
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore

    from transactions.models import User

    user = User.objects.get(email=_STAFF)
    store = SessionStore()
    store[SESSION_KEY], store[HASH_SESSION_KEY] = str(user.pk), user.get_session_auth_hash()
    store["staff_session_started"] = store["staff_session_seen"] = time.time()
    store[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    store.create()
    return f"sessionid={store.session_key}"


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mappings", type=int, default=14_000_000)
    parser.add_argument("--transactions", type=int, default=10_000_000)
    parser.add_argument("--legacy", help="an existing legacy file")
    parser.add_argument("--reuse", action="store_true", help="use the database of a run with --keep")
    parser.add_argument("--keep", action="store_true", help="keep the database")
    parser.add_argument("--seconds", type=int, default=15, help="for each figure")
    parser.add_argument("--clients", type=int, default=_CLIENTS)
    parser.add_argument("--port", type=int, default=8766)
    arguments = parser.parse_args()
    os.environ["LOG_LEVEL"] = "WARNING"
    if shutil.which("wrk") is None:
        raise SystemExit("this benchmark needs wrk: apt-get install wrk")
    for rate in ("AUTHENTICATED", "DASHBOARD", "ANONYMOUS"):
        os.environ[f"API_RATE_{rate}"] = "100000000/m"
    _prepare(arguments)
    # Pages refer to static files by hash.
    subprocess.run([sys.executable, "manage.py", "collectstatic", "--noinput", "-v", "0"], cwd=common.ROOT, check=True)

    from django.core.cache import cache

    from kamioi_site.cache.namespaces import clear_caches
    from transactions.models import Transaction

    people, staff = _people(200), _staff()
    newest = {
        user: Transaction.objects.filter(user_id=user).order_by("-date").values_list("pk", flat=True)[:25]
        for user, _ in people
    }
    lists = [f"GET /api/user/transactions?limit={_PAGE} {token}" for _, token in people]
    details = [f"GET /api/transactions/{pk} {token}" for user, token in people for pk in newest[user]]
    random.Random(7).shuffle(details)
    approvals = [
        f'POST /api/admin/llm-center/approve {staff} {{"mapping_id":{pk}}}' for pk in _pending(300 * arguments.seconds)
    ]
    figures: dict[str, dict[str, float]] = {}
    web = _start_web(arguments.port)
    try:
        seconds, clients = arguments.seconds, arguments.clients
        # Warm up both sides: connections and prepared statements.
        others = [f"GET /api/user/transactions?limit={_PAGE - 1} {token}" for _, token in people]
        _wrk(arguments.port, others, seconds=min(seconds, 8), clients=clients, once=True)
        runs: list[tuple[str, list[str], bool, int]] = [
            ("list", lists, True, 0),
            ("list_paced", lists, True, _PAUSE),
            ("warm_up", lists, False, 0),
            ("list_cached", lists, False, 0),
            ("detail", details, False, 0),
            ("deep_page", _deep(staff), False, 0),
        ]
        for name, lines, once, pause in runs:
            figures[name] = _wrk(arguments.port, lines, seconds=seconds, clients=clients, once=once, pause=pause)
            print(name, figures[name], flush=True)
        del figures["warm_up"]  # filled the cache
        figures["approve"] = _wrk(arguments.port, approvals, seconds=min(seconds, 10), clients=8)
        print("approve", figures["approve"], flush=True)
        bearer, cookie = {"Authorization": f"Bearer {staff}"}, {"Cookie": _session()}
        pages = {"api": ("/api/admin/llm-center/dashboard", bearer)} | {
            name: (f"/admin/dashboards/{name}/", cookie)
            for name in ("llm-center", "transactions", "finance", "operations")
        }
        for name, (path, headers) in pages.items():
            figures[f"dashboard_{name}_cold"] = _timed(arguments.port, path, headers, 15, before=clear_caches)
            figures[f"dashboard_{name}_cached"] = _timed(arguments.port, path, headers, 60)
            print(name, figures[f"dashboard_{name}_cold"], figures[f"dashboard_{name}_cached"], flush=True)
    finally:
        web.terminate()
        web.wait(30)
        cache.clear()
    with _bare_app(arguments.port + 1):
        bare_requests = [f"GET /list/{user}?limit={_PAGE} none" for user, _ in people]
        _wrk(arguments.port + 1, bare_requests, seconds=min(seconds, 8), clients=clients)
        bare = _wrk(arguments.port + 1, bare_requests, seconds=seconds, clients=clients)
        figures["bare_paced"] = _wrk(arguments.port + 1, bare_requests, seconds=seconds, clients=clients, pause=_PAUSE)
    print("bare", bare, figures["bare_paced"], flush=True)
    if not arguments.keep:
        common.drop_database(_NAME)
    ours = figures["list"]["rps"]
    common.report(
        benchmark="api",
        ours=ours,
        peer=bare["rps"],
        ratio=round(ours / bare["rps"], 2),
        unit="requests/s of a list, uncached",
        cached_ratio=round(figures["list_cached"]["rps"] / bare["rps"], 2),
        bare=bare,
        goal=0.5,
        reached=ours >= 0.5 * bare["rps"],
        **figures,
    )


if __name__ == "__main__":
    main()
