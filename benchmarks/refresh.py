"""The cost of a refresh of analytics after 10,000 changes, with 1M, 14M and 50M rows in `llm_mappings` already.

`ratio` is the median refresh at the largest size over that at the smallest; `peer` is a full recount of every figure at
the largest size, in the same run. The rows are spread over two years; `transactions` has a fifth as many. The real
services make the changes: current and late proposals, decisions on older rows, purchases that arrive and are processed.

Sizes come from `--sizes` or REFRESH_SIZES (`1000000,14000000,50000000`). The server generates the rows, and
indexes that neither a refresh nor the changes use are dropped: the largest size then takes about 12 GB of disk.
"""

import argparse
import os
import statistics
import time

from benchmarks import common

USERS, TICKERS, MONTHS, CHANGES = 20_000, 200, 24, 10_000
SHARE = 5  # mappings per transaction
STEP = 1_000_000

_MAPPINGS = """
    INSERT INTO llm_mappings (merchant_name, merchant_key, ticker, category, confidence, status, admin_approved,
        ai_processed,
        company_name, source, created_at, ai_model_version, ai_reasoning, ai_auto_approved)
    SELECT 'MERCHANT ' || n %% 100000, 'M' || n %% 100000, 'T' || 1 + n %% %(tickers)s, '', (n %% 10001) / 10000.0,
           (ARRAY['approved', 'approved', 'approved', 'pending', 'rejected'])[1 + n %% 5], n %% 5 < 3, true, '',
           (ARRAY['bulk', 'bulk', 'matcher', 'llm'])[1 + n %% 4], now() - random() * %(days)s * interval '1 day', '',
               '', false
    FROM generate_series(1, %(rows)s) AS n
"""
_TRANSACTIONS = """
    INSERT INTO transactions (user_id, date, merchant, merchant_key, amount, total_debit, status, ticker, shares,
        price_per_share, investable, round_up, fee, priority, source)
    SELECT 1 + (random() * (%(users)s - 1))::int, now() - random() * %(days)s * interval '1 day',
        'MERCHANT ' || n %% %(tickers)s,
           'M' || 1 + n %% %(tickers)s, 4.50, 5.75, 'completed', 'T' || 1 + n %% %(tickers)s, 0.01, 100, 1, 1, 0.25,
               9, 'statement'
    FROM generate_series(1, %(rows)s) AS n
"""


def _prepare() -> None:
    """Create partitions for two years, and drop the indexes that are not needed here."""
    from datetime import UTC, datetime

    from dateutil.relativedelta import relativedelta
    from django.db import connection

    from kamioi_site.db.partitions import ensure_partitions
    from llm_center.models import LlmMapping
    from transactions.models import LedgerTransfer, Transaction

    months = [datetime.now(UTC) - relativedelta(months=back) for back in range(MONTHS + 1)]
    for model in (Transaction, LlmMapping, LedgerTransfer):
        ensure_partitions(model, months)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid IN ('transactions'::regclass, "
            "'llm_mappings'::regclass) AND NOT indisprimary AND indpred IS NULL"
        )
        for (name,) in cursor.fetchall():
            cursor.execute(f"DROP INDEX {name}")


def _grow(target: int) -> None:
    """Fill both tables up to `target` mappings."""
    from django.db import connection

    with connection.cursor() as cursor:
        for table, statement, rows_needed in (
            ("llm_mappings", _MAPPINGS, target),
            ("transactions", _TRANSACTIONS, target // SHARE),
        ):
            cursor.execute(f"SELECT count(*) FROM {table}")
            missing = rows_needed - cursor.fetchone()[0]
            while missing > 0:
                rows = min(missing, STEP)
                cursor.execute(statement, {"rows": rows, "users": USERS, "tickers": TICKERS, "days": MONTHS * 30})
                missing -= rows
        cursor.execute("VACUUM (ANALYZE) llm_mappings")
        cursor.execute("VACUUM (ANALYZE) transactions")
        cursor.execute("CHECKPOINT")


def _change() -> None:
    """Write 10,000 rows through the services."""
    import random
    from datetime import timedelta
    from decimal import Decimal

    from django.db import connection, transaction
    from django.utils import timezone

    from llm_center.models import LlmMapping
    from llm_center.services.mapping_log import record_log_deltas, update_log_row
    from transactions.models import User
    from transactions.services.ingest import create_transaction
    from transactions.services.processing import process_pending

    now, chance = timezone.now(), random.Random()
    part = CHANGES // 4
    # New proposals, some of them late.
    times = [now - timedelta(days=chance.randint(0, 600) if n % 5 == 0 else 0) for n in range(part)]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO llm_mappings (merchant_name, merchant_key, category, confidence, status, admin_approved, "
            "ai_processed, "
            "company_name, source, created_at, ai_model_version, ai_reasoning, ai_auto_approved) "
            "SELECT 'NEW', 'NEW', '', 0.5, 'pending', false, true, '', 'llm', at, '', '', false "
            "FROM unnest(%s::timestamptz[]) AS at RETURNING id",
            [times],
        )
        record_log_deltas((at, "pending", "llm", False, Decimal("0.5")) for at in times)
    # Older ones get decisions.
    day = now - timedelta(days=chance.randint(30, 600))
    chosen = LlmMapping.objects.filter(created_at__gte=day, created_at__lt=day + timedelta(days=7)).values_list(
        "pk", flat=True
    )
    keys = list(chosen[:part])
    update_log_row(
        LlmMapping.objects.filter(pk__in=keys, created_at__gte=day, created_at__lt=day + timedelta(days=7)),
        status=chance.choice(["approved", "rejected", "pending"]),
    )
    # Purchases arrive and are processed.
    users = list(User.objects.order_by("pk")[:200])
    for n in range(part):
        create_transaction(
            user=chance.choice(users),
            amount=Decimal(chance.randint(100, 9000)) / 100,
            merchant=f"M{1 + n % TICKERS}",
            date=now - timedelta(days=chance.randint(0, 3), seconds=chance.randint(0, 3600)),
        )
    process_pending()


def main() -> None:
    """Run the benchmark and print the figures."""
    sizes = [int(size) for size in os.environ.get("REFRESH_SIZES", "1000000,14000000,50000000").split(",")]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=sizes)
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("REFRESH_ROUNDS", "7")))
    arguments = parser.parse_args()

    common.fresh_database("kamioi_bench_refresh")
    common.seed_directory(users=USERS, merchants=TICKERS)
    _prepare()

    from analytics.services.rollups import rebuild_rollups, refresh_rollups, verify_rollups

    milliseconds: dict[str, float] = {}
    recount: dict[str, float] = {}
    deltas = 0
    for size in sorted(arguments.sizes):
        _grow(size)
        recount[str(size)] = round(rebuild_rollups().seconds, 2)
        _change()
        refresh_rollups()  # caches and plans
        seconds = []
        for _ in range(arguments.rounds):
            _change()
            started = time.monotonic()
            done = refresh_rollups()
            seconds.append(time.monotonic() - started)
            deltas = done.deltas
            if done.recounted:
                raise SystemExit(f"counted writes were not recognised: {done.recounted} were recounted")
        milliseconds[str(size)] = round(1000 * statistics.median(seconds), 1)
        print(
            f"{size:>12,} mappings: a refresh {milliseconds[str(size)]} ms "
            f"({min(seconds) * 1000:.0f}–{max(seconds) * 1000:.0f}, "
            f"{deltas:,} deltas), a full recount {recount[str(size)]} s",
            flush=True,
        )
    differences = sum(1 for _ in verify_rollups())
    common.drop_database("kamioi_bench_refresh")
    costs, largest = list(milliseconds.values()), str(max(arguments.sizes))
    ratio = costs[-1] / costs[0]
    common.report(
        benchmark="refresh",
        ours=costs[-1],
        peer=round(1000 * recount[largest], 1),
        ratio=round(ratio, 2),
        unit="ms a refresh",
        peer_name="a full recount of every figure at the largest size",
        changes=CHANGES,
        deltas=deltas,
        refresh_ms_by_rows=milliseconds,
        recount_s_by_rows=recount,
        speed_up=round(1000 * recount[largest] / costs[-1], 1),
        differences=differences,
        goal=1.3,
        reached=ratio <= 1.3 and not differences,
    )


if __name__ == "__main__":
    main()
