"""Processing on the Citus cluster of `CITUS_URL`: the claim of a batch beside the backlog, and purchases per second.

The database is empty, or one of an earlier run; the extension is there and the workers are added.
"""

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import time

from benchmarks import common


def _pending() -> int:
    from transactions.models import Transaction

    return Transaction.objects.filter(status="pending").count()


def _claim_seconds(rounds: int) -> dict[str, float]:
    """Return the median seconds of a claim, and of a whole batch of one row after it."""
    from django.db import connection, transaction

    from transactions.services.processing.buckets import ALL_BUCKETS, claim_buckets

    claims = []
    for _ in range(rounds):
        with transaction.atomic(), connection.cursor() as cursor:
            started = time.monotonic()
            buckets, places = claim_buckets(cursor, ALL_BUCKETS)
            claims.append(time.monotonic() - started)
            assert buckets
    return {"claim": round(statistics.median(claims), 3), "places": places}


def _work(deadline: float) -> int:
    from transactions.services.processing.batch import process_pending

    return process_pending(deadline=deadline).total


def _per_second(processes: int, seconds: float) -> float:
    """Return the purchases booked per second by so many processes; each ends its last batch."""
    from django.db import connections

    connections.close_all()
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        started = time.monotonic()
        booked = sum(pool.map(_work, [started + seconds] * processes, chunksize=1))
        return booked / (time.monotonic() - started)


def main() -> None:
    """Run the benchmark and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backlog", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--processes", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=30, help="of each measurement of the throughput")
    parser.add_argument("--rounds", type=int, default=9, help="claims, of which the median is reported")
    arguments = parser.parse_args()

    os.environ["DATABASE_URL"] = os.environ["CITUS_URL"]
    os.environ["DJANGO_SETTINGS_MODULE"] = "kamioi_site.settings.dev"
    os.environ["MARKET_ALWAYS_OPEN"] = "true"
    for command in (["migrate", "--verbosity", "0"], ["distribute"]):
        subprocess.run([sys.executable, "manage.py", *command], cwd=common.ROOT, check=True)

    import django

    django.setup()

    from django.db import connection

    from transactions.models import User

    with connection.cursor() as cursor:
        cursor.execute("UPDATE admin_settings SET value = '1000000000' WHERE key LIKE 'limit\\_%'")
        cursor.execute("SELECT count(*) FROM pg_dist_node WHERE shouldhaveshards")
        nodes = cursor.fetchone()[0]
        cursor.execute("SELECT count(*) FROM pg_dist_shard WHERE logicalrelid = 'transactions'::regclass")
        shards = cursor.fetchone()[0]
    if not User.objects.exists():
        common.seed_directory()
    claims = {}
    for backlog in arguments.backlog:
        if (missing := backlog - _pending()) > 0:
            common.seed_pending(missing)
        claims[backlog] = _claim_seconds(arguments.rounds)
        print(f"{backlog:,} pending: {claims[backlog]}", flush=True)
    rates = {}
    for processes in arguments.processes:
        rates[processes] = round(_per_second(processes, arguments.seconds))
        print(f"{processes} processes: {rates[processes]:,}/s", flush=True)
    common.report(benchmark="citus", nodes=nodes, shards=shards, claims=claims, per_second=rates)


if __name__ == "__main__":
    main()
