"""Every page of the review queue with 14M mappings stored and 200,000 merchants waiting.

The mappings come from a legacy database through `migrate_from_sqlite copy`; the waiting merchants have three purchases
each. A page is measured completely, in one process: session, queries, evidence, template. The peer is the limit of
300 ms; `queries` is their number per page, with a full and with an empty queue.
"""

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import common
from benchmarks.migration import write_legacy

_NAME = "kamioi_bench_review"
_LIMIT_MS = 300


def _fill(waiting: int) -> None:
    """Insert waiting merchants, most with a proposal, and their purchases."""
    common._run(
        """
        INSERT INTO merchants (merchant_key, display_name, ticker, company_name, category, status, confidence,
            source, reason,
            alternatives, rejected_tickers, waiting_count, waiting_amount, created_at, updated_at)
        SELECT 'SHOP ' || upper(md5(n::text)), 'SHOP ' || n, CASE WHEN n %% 3 > 0 THEN tickers.ticker END, '',
            'Shopping', 'proposed',
               CASE WHEN n %% 3 > 0 THEN (n %% 90) / 100.0 END, 'matcher', 'The name begins like a brand.', '[]',
                   '[]', 3, 3 + n %% 40,
               now(), now()
        FROM generate_series(1, %(waiting)s) AS n
        JOIN (SELECT ticker, row_number() OVER (ORDER BY ticker) AS place FROM companies WHERE is_listed LIMIT 500)
            AS tickers
          ON tickers.place = 1 + n %% 500;
        INSERT INTO transactions (user_id, date, merchant, merchant_key, amount, round_up, fee, total_debit, status,
            priority, source)
        SELECT 1 + n %% 2000, now() - (n %% 60) * interval '1 day', 'SHOP ' || n || ' TX',
            'SHOP ' || upper(md5(n::text)), 10, 1, 0, 11,
               'needs_review', 9, 'statement'
        FROM generate_series(1, %(waiting)s) AS n, generate_series(1, 3);
        INSERT INTO stock_prices (ticker, price, as_of, source)
        SELECT ticker, 50, now(), 'benchmark' FROM companies WHERE is_listed LIMIT 500;
        """,
        waiting=waiting,
    )
    common.settle()
    common._run("VACUUM ANALYZE merchants")
    common._run("ANALYZE llm_mappings")


def _pages(rounds: int) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Return milliseconds and queries of each kind of page."""
    from django.core.cache import cache
    from django.db import connection
    from django.test import Client, override_settings
    from django.test.utils import CaptureQueriesContext
    from django.urls import reverse

    from transactions.models import Merchant, User

    user = User.objects.filter(is_superuser=True).first() or User.objects.create_superuser(
        "bench@example.com", "x" * 20
    )
    client = Client()
    client.force_login(user)
    queue = reverse("admin:llm_center_reviewmerchant_changelist")
    mappings = reverse("admin:llm_center_llmmapping_changelist")
    took: dict[str, list[float]] = {}
    queries: dict[str, int] = {}

    def get(kind: str, address: str) -> str:
        cache.delete("llm:queue:live")  # every page here computes the badge's count
        started = time.perf_counter()
        reply = client.get(address)
        took.setdefault(kind, []).append((time.perf_counter() - started) * 1000)
        if reply.status_code != 200:
            raise SystemExit(f"{address}: {reply.status_code}")
        return str(reply.content.decode())

    with override_settings(ALLOWED_HOSTS=["*"]):
        get("first", queue)
        took.clear()
        for _ in range(rounds):
            page = get("first page of the queue", queue)
            for _ in range(3):
                following = re.search(r'href="([^"]+)" rel="next"', page)
                if following is None:
                    break
                page = get("next pages of the queue", queue + following[1].replace("&amp;", "&"))
            get("search in the queue", queue + "?q=SHOP+A")
            get("mappings, newest", mappings)
            get("mappings of one status", mappings + "?status__exact=rejected")
            merchant = Merchant.objects.filter(status="proposed", ticker__isnull=False).first()
            if merchant:
                get("a decision", reverse("admin:llm_center_reviewmerchant_decide", args=[merchant.pk, "approve"]))
        for kind, address in (("queue", queue), ("mappings", mappings)):
            with CaptureQueriesContext(connection) as captured:
                client.get(address)
            queries[kind] = len(captured)
    return took, queries


def main() -> None:
    """Run the benchmark and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mappings", type=int, default=14_000_000)
    parser.add_argument("--waiting", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--legacy", type=Path, help="a legacy database to use instead of generating one")
    arguments = parser.parse_args()
    common.fresh_database(_NAME)
    subprocess.run(
        [sys.executable, "manage.py", "import_companies"], cwd=common.ROOT, check=True, stdout=subprocess.DEVNULL
    )
    subprocess.run([sys.executable, "manage.py", "collectstatic", "--noinput", "-v0"], cwd=common.ROOT, check=True)
    _, empty_queries = _pages(1)
    with tempfile.TemporaryDirectory() as directory:
        path = arguments.legacy or Path(directory) / "kamioi.db"
        if arguments.legacy is None:
            write_legacy(path, mappings=arguments.mappings, transactions=max(1000, arguments.mappings // 70))
        subprocess.run(
            [sys.executable, "manage.py", "migrate_from_sqlite", "copy", str(path)],
            cwd=common.ROOT,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    _fill(arguments.waiting)
    took, queries = _pages(arguments.rounds)
    worst = {}
    for kind, times in took.items():
        ordered = sorted(times)
        worst[kind] = round(ordered[int(len(ordered) * 0.95) - 1])
        print(f"{kind}: p50 {statistics.median(ordered):.0f} ms, p95 {worst[kind]} ms", flush=True)
    common.drop_database(_NAME)
    slowest = max(worst.values())
    common.report(
        benchmark="review_queue",
        ours=slowest,
        peer=_LIMIT_MS,
        ratio=round(slowest / _LIMIT_MS, 2),
        unit="ms, p95 of the slowest page",
        peer_name="the limit",
        pages=worst,
        mappings=arguments.mappings,
        waiting=arguments.waiting,
        queries=queries,
        queries_empty=empty_queries,
        goal=_LIMIT_MS,
        reached=slowest < _LIMIT_MS,
    )


if __name__ == "__main__":
    main()
