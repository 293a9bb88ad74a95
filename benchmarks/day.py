"""A whole day: purchases from the customers' bank files to booked, counted, sealed and verified, in seconds by stage.

Two processes import the files, one a customer, as the background task does. Two worker processes book. The digest of
the day is computed as its seal would contain it, but not stored: a day is sealed after it has ended. `peer` is `\\copy`
of the imported rows, all columns prepared, into one table with a primary key.
"""

import argparse
import multiprocessing
import os
import random
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.processing import measure_task, wake_two

_GOAL_SECONDS = 180
_TICKERS = 200


def _write_files(folder: Path, *, customers: int, rows: int) -> list[Path]:
    """Write a bank's CSV for each customer, newest first, and insert the merchants that the descriptors name."""
    from django.db import connection

    from transactions.rules.merchant_key import normalise

    chance = random.Random(customers)
    lines = (common.ROOT / "transactions" / "data" / "us_cities.txt").read_text().splitlines()
    cities = [line.split("\t")[0] for line in lines if line.endswith("\tlarge")]
    brands = [f"{first}{second}{last}ER MARKET" for first in "BCDFGHJK" for second in "AEIOU" for last in "LMNRSTVX"]
    keys = {normalise(f"{brand} #01000 {cities[0]} TX") for brand in brands}
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO merchants (merchant_key, display_name, ticker, company_name, category, status, source, reason,
                rejected_tickers, waiting_count, waiting_amount, created_at, updated_at)
            SELECT key, key, 'T' || 1 + n %% %(tickers)s, '', '', 'approved', 'seed', '', '[]', 0, 0, now(), now()
            FROM unnest(%(keys)s::text[]) WITH ORDINALITY AS names (key, n)
            """,
            {"keys": sorted(keys), "tickers": _TICKERS},
        )
    newest, paths = datetime.now(UTC) - timedelta(days=1), []
    for customer in range(1, customers + 1):
        paths.append(folder / f"{customer}.csv")
        lines = ["Transaction Date,Description,Category,Amount,Reference Number"]
        for number in range(rows):
            store, city = chance.randrange(1000, 1200), chance.choice(cities)
            when = newest - timedelta(days=30 * number // rows)
            lines.append(
                f'{when:%m/%d/%Y},"{chance.choice(brands)} #{store:05d} {city} TX",Groceries,'
                f"-{chance.randrange(100, 20_000) / 100:.2f},R{customer:06d}{number:05d}"
            )
        paths[-1].write_text("\n".join(lines) + "\n")
    return paths


def _import_files(paths: list[Path]) -> int:
    """Import one customer's file after the other in a separate process; return the rows stored."""
    import django

    django.setup()
    from django.core.files.base import ContentFile

    from transactions.models import User
    from transactions.services.ingest import run_statement_import, upload_statement

    stored = 0
    for path in paths:
        user = User.objects.get(pk=int(path.stem))
        content = ContentFile(path.read_bytes())
        imported = upload_statement(user=user, filename=path.name, content=content, requested_by=user, send=False)
        done = run_statement_import(task_id=imported.task_id)
        stored += done.rows_added if done else 0
    return stored


def _import_all(paths: list[Path]) -> int:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        return sum(pool.map(_import_files, [paths[0::2], paths[1::2]], chunksize=1))


def _count() -> None:
    from analytics.services.ledger_days import update_ledger_days
    from analytics.services.rollups import refresh_rollups

    refresh_rollups()
    for _ in range(2):  # the first sets the mark up to which the second counts
        update_ledger_days(settle=None)


def _seal() -> None:
    from django.db import transaction

    from transactions.services.ledger_seals import compute_days

    today = datetime.now(UTC).date()
    with transaction.atomic():
        compute_days(today - timedelta(days=1), today + timedelta(days=1))


def _verify() -> None:
    from transactions.services.ledger_verification import find_ledger_problems

    if problems := [str(problem) for problem in find_ledger_problems()]:
        raise SystemExit(f"{len(problems)} problems, the first: {problems[0]}")


def _timed(name: str, work: Callable[[], Any]) -> float:
    started = time.monotonic()
    work()
    seconds = time.monotonic() - started
    print(f"{name}: {seconds:.1f} s", flush=True)
    return round(seconds, 1)


def _copy_peer(path: Path) -> float:
    """Return the seconds of `\\copy` of the purchases into one table with a primary key."""
    common.run_psql(f"\\copy (SELECT * FROM transactions ORDER BY id) TO '{path}'")
    common.run_psql("CREATE TABLE peer (LIKE transactions); ALTER TABLE peer ADD PRIMARY KEY (id)")
    return common.run_psql(f"\\copy peer FROM '{path}'")


def main() -> None:
    """Run the benchmark and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=100, help="purchases in each customer's file")
    arguments = parser.parse_args()
    total = arguments.customers * arguments.rows

    common.fresh_database("kamioi_bench_day")
    common.seed_directory(users=arguments.customers, merchants=_TICKERS)

    from django.db import connection

    def database_size() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_database_size(current_database())")
            return int(cursor.fetchone()[0])

    with tempfile.TemporaryDirectory() as directory:
        os.environ["MEDIA_ROOT"] = directory
        paths = _write_files(Path(directory), customers=arguments.customers, rows=arguments.rows)
        common.settle()
        size, position = database_size(), common.wal_position()
        stages = {"import": _timed("import", lambda: _import_all(paths))}
        worker = common.start_workers()
        try:
            stages["book"] = _timed("book", lambda: measure_task(total, wake_two))
        finally:
            common.stop_workers(worker)
        stages["count"] = _timed("count", _count)
        stages["seal"] = _timed("seal", _seal)
        stages["verify"] = _timed("verify", _verify)
        written, grown = common.wal_position() - position, database_size() - size
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*), count(*) FILTER (WHERE status = 'completed') FROM transactions")
            stored, booked = cursor.fetchone()
        peer = _copy_peer(Path(directory) / "stored.tsv")
    common.drop_database("kamioi_bench_day")
    seconds = sum(stages.values())
    common.report(
        benchmark="day",
        ours=round(seconds, 1),
        peer=round(peer, 1),
        ratio=round(seconds / peer, 1),
        unit="s",
        peer_name="psql \\copy of the stored rows into one table with a primary key",
        stages=stages,
        rows=stored,
        booked=booked,
        bytes_a_purchase=round(grown / stored),
        wal_bytes_a_purchase=round(written / stored),
        goal=_GOAL_SECONDS,
        reached=seconds < _GOAL_SECONDS and booked == total,
    )


if __name__ == "__main__":
    main()
