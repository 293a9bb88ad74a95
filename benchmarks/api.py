"""The API over a migrated legacy database of 14M mappings and 10M transactions, under 200 clients at a time.

The legacy file is written and carried over by `migrate_from_sqlite copy`, as in production; `--legacy FILE` takes one that is
there, `--keep` leaves the database for the next run, `--reuse` takes it. Two gunicorn workers serve, wrk (Debian: `apt-get
install wrk`) asks, and both share the machine's processors with PostgreSQL.

`ours` is requests a second of the list of a customer's transactions, 50 rows a page, log-in by token, rate limit counted; no
page is asked for twice, so none is cached. `peer` is the same rows from a bare FastAPI and asyncpg app with two uvicorn workers
in the same run (`benchmarks/peers/bare_list.py`). Paced: every client waits about a second between an answer and its next
request. The other figures: the list from the cache, a page so deep that 100,000 lie before it, one transaction, approving, and
the dashboards cold and cached, one caller at a time.
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
_PAUSE = 1000  # milliseconds between an answer and the next request of a client who is paced

# Each line of the file is "METHOD path token body"; every thread takes its share, again from the start when all were asked.
# `once`, the number of the run, adds a moment of its own to the path, so that nothing is asked for twice.
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
  io.write(string.format('FIGURES {"p50": %.1f, "p95": %.1f, "p99": %.1f, "rps": %.1f, "requests": %d, "errors": %d}\\n',
    latency:percentile(50) / 1000, latency:percentile(95) / 1000, latency:percentile(99) / 1000,
    summary.requests / (summary.duration / 1e6), summary.requests,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


def _prepare(arguments: argparse.Namespace) -> None:
    """The database: made from a legacy file, or the one of the run before."""
    if arguments.reuse:
        common.ensure_servers()
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
        print("Carrying it over ...", flush=True)
        for command in (["migrate_from_sqlite", "copy", str(path)], ["calculate_analytics"]):
            subprocess.run(
                [sys.executable, "manage.py", *command], cwd=common.ROOT, check=True, stdout=subprocess.DEVNULL
            )
    print("Settling ...", flush=True)
    common._run("VACUUM (ANALYZE) transactions")
    common._run("VACUUM (ANALYZE) llm_mappings")
    common._run("CHECKPOINT")


def _people(count: int) -> list[tuple[int, str]]:
    """Customers with many rows, and a token for each: (id, token)."""
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
    raise RuntimeError("the bare app did not start")


def _wrk(
    port: int, lines: list[str], *, seconds: int, clients: int = _CLIENTS, once: bool = False, pause: int = 0
) -> dict[str, float]:
    """Requests a second and milliseconds of these requests, asked over and over; `pause`: milliseconds between two of a client."""
    with tempfile.TemporaryDirectory(prefix="kamioi-wrk-") as directory:
        script, asked = Path(directory) / "ask.lua", Path(directory) / "asked.txt"
        script.write_text(_LUA)
        asked.write_text("\n".join(lines) + "\n")
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
                str(asked),
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
    """Pages of the log of mappings with some 100,000 pages of fifty before them, or as many as there are."""
    from django.db import connection

    from kamioi_site.pagination import encode_cursor

    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM llm_mappings")
        rows = cursor.fetchone()[0]
        before = min(100_000 * _PAGE, rows * 9 // 10)
        cursor.execute(
            "SELECT created_at, id FROM llm_mappings ORDER BY created_at DESC, id DESC OFFSET %s LIMIT 200", [before]
        )
        found = cursor.fetchall()
    print(f"deep page: {before // _PAGE:,} pages before it", flush=True)
    return [
        f"GET /api/admin/llm-center/mappings?limit={_PAGE}&cursor={encode_cursor([at, pk], 'mappings:all:')} {token}"
        for at, pk in found
    ]


def _pending(count: int) -> list[int]:
    """Proposals of merchants of their own that wait for a reviewer."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO companies (ticker, name, exchange, cik, is_listed, aliases) "
            "VALUES ('BENCH', 'Bench Inc.', 'Nasdaq', '', true, '[]') ON CONFLICT DO NOTHING"
        )
        cursor.execute(
            """
            WITH made AS (
                INSERT INTO merchants (merchant_key, display_name, ticker, company_name, category, status, source, reason,
                    rejected_tickers, waiting_count, waiting_amount, created_at, updated_at)
                SELECT 'BENCH ' || floor(extract(epoch FROM now())) || ' ' || n, 'BENCH ' || n, 'BENCH', '', '', 'proposed',
                    'matcher', '', '[]', 0, 0, now(), now()
                FROM generate_series(1, %s) AS n
                RETURNING merchant_key, display_name
            )
            INSERT INTO llm_mappings (merchant_name, merchant_key, ticker, category, confidence, status, admin_approved,
                ai_processed, company_name, source, created_at)
            SELECT display_name, merchant_key, 'BENCH', '', 0.8, 'pending', false, true, '', 'matcher', now() FROM made RETURNING id
            """,
            [count],
        )
        return [row[0] for row in cursor.fetchall()]


def _timed(
    port: int, path: str, headers: dict[str, str], rounds: int, before: Callable[[], Any] = lambda: None
) -> dict[str, float]:
    """Milliseconds of one caller who asks again and again."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    taken = []
    for _ in range(rounds):
        before()
        begin = time.perf_counter()
        connection.request("GET", path, headers=headers)
        reply = connection.getresponse()
        reply.read()
        taken.append((time.perf_counter() - begin) * 1000)
        if reply.status != 200:
            raise SystemExit(f"{path} answers {reply.status}")
    return {"p50": round(_percentile(taken, 0.5), 1), "p95": round(_percentile(taken, 0.95), 1)}


def _session() -> str:
    """A cookie of the admin for the pages."""
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore

    from transactions.models import User

    user = User.objects.get(email=_STAFF)
    store = SessionStore()
    store[SESSION_KEY], store[HASH_SESSION_KEY] = str(user.pk), user.get_session_auth_hash()
    store[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    store.create()
    return f"sessionid={store.session_key}"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mappings", type=int, default=14_000_000)
    parser.add_argument("--transactions", type=int, default=10_000_000)
    parser.add_argument("--legacy", help="a legacy file to carry over instead of writing one")
    parser.add_argument("--reuse", action="store_true", help="the database that a run with --keep left")
    parser.add_argument("--keep", action="store_true", help="leave the database")
    parser.add_argument("--seconds", type=int, default=15, help="for each figure")
    parser.add_argument("--clients", type=int, default=_CLIENTS)
    parser.add_argument("--port", type=int, default=8766)
    arguments = parser.parse_args()
    os.environ["LOG_LEVEL"] = "WARNING"
    if shutil.which("wrk") is None:
        raise SystemExit("wrk asks the questions: apt-get install wrk")
    for rate in ("AUTHENTICATED", "DASHBOARD", "ANONYMOUS"):
        os.environ[f"API_RATE_{rate}"] = "100000000/m"
    _prepare(arguments)
    # Pages name their static files by content.
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
        # Connections are opened and statements planned before anything is measured, on both sides.
        others = [f"GET /api/user/transactions?limit={_PAGE - 1} {token}" for _, token in people]
        _wrk(arguments.port, others, seconds=min(seconds, 8), clients=clients, once=True)
        asked: list[tuple[str, list[str], bool, int]] = [
            ("list", lists, True, 0),
            ("list_paced", lists, True, _PAUSE),
            ("kept", lists, False, 0),
            ("list_cached", lists, False, 0),
            ("detail", details, False, 0),
            ("deep_page", _deep(staff), False, 0),
        ]
        for name, lines, once, pause in asked:
            figures[name] = _wrk(arguments.port, lines, seconds=seconds, clients=clients, once=once, pause=pause)
            print(name, figures[name], flush=True)
        # The first answers to `lists` were computed, and kept.
        del figures["kept"]
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
        asked_bare = [f"GET /list/{user}?limit={_PAGE} none" for user, _ in people]
        _wrk(arguments.port + 1, asked_bare, seconds=min(seconds, 8), clients=clients)
        bare = _wrk(arguments.port + 1, asked_bare, seconds=seconds, clients=clients)
        figures["bare_paced"] = _wrk(arguments.port + 1, asked_bare, seconds=seconds, clients=clients, pause=_PAUSE)
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
        reached=ours >= 0.5 * bare["rps"] and figures["list_cached"]["rps"] >= bare["rps"],
        **figures,
    )


if __name__ == "__main__":
    main()
