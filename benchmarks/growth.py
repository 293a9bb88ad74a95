"""The cost of processing a transaction with 0.1M, 1M and 10M transactions already stored.

The history is completed transactions with their purchase in the ledger, spread over two years; the
pending ones are of the last 60 days. `ratio` is the cost at the largest size over the cost at the smallest.
"""

import argparse
import statistics

from benchmarks import common
from benchmarks.processing import measure_task, wake_two


def _grow(target: int) -> None:
    """Insert history up to `target` stored transactions."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM transactions")
        missing = target - cursor.fetchone()[0]
        while missing > 0:
            batch = min(missing, 500_000)
            cursor.execute(
                """
                WITH history AS (
                    INSERT INTO transactions (user_id, date, merchant, merchant_key, amount, total_debit, status,
                        ticker, shares, price_per_share, investable, round_up, fee, priority, source)
                    SELECT 1 + (random() * 1999)::int, now() - random() * interval '730 days',
                        'MERCHANT ' || n %% 200 || ' SEATTLE WA', 'M' || 1 + n %% 200, 4.50, 5.75, 'completed',
                        'T' || 1 + n %% 200, 0.01, 100, 1, 1, 0.25, 9, 'statement'
                    FROM generate_series(1, %s) AS n
                    RETURNING id, user_id, date, ticker
                )
                INSERT INTO ledger_transfers
                    (user_id, date, transaction_id, kind, debit_account, credit_account, amount, ticker, shares)
                SELECT user_id, date, id, 'purchase', '20100', '22100', 1, ticker, 0.01 FROM history
                """,
                [batch],
            )
            missing -= batch
    common.settle()


def main() -> None:
    """Run the benchmark and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--rows", type=int, default=100_000, help="pending transactions of one measurement")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()

    common.fresh_database("kamioi_bench_growth")
    common.seed_directory()

    from datetime import UTC, datetime

    from dateutil.relativedelta import relativedelta

    from kamioi_site.db.partitions import ensure_partitions
    from transactions.models import LedgerTransfer, Transaction

    months = [datetime.now(UTC) - relativedelta(months=back) for back in range(26)]
    for model in (Transaction, LedgerTransfer):
        ensure_partitions(model, months)
    worker = common.start_workers()
    microseconds: dict[str, float] = {}
    try:
        for size in arguments.sizes:
            _grow(size)
            rates = []
            for _ in range(arguments.rounds):
                common.seed_pending(arguments.rows)
                rates.append(measure_task(arguments.rows, wake_two))
            microseconds[str(size)] = round(1e6 / statistics.median(rates), 1)
            print(f"{size:>12,} stored: {microseconds[str(size)]} µs a transaction", flush=True)
    finally:
        common.stop_workers(worker)
    common.drop_database("kamioi_bench_growth")
    costs = list(microseconds.values())
    common.report(
        benchmark="growth",
        ours=costs[-1],
        peer=costs[0],
        ratio=round(costs[-1] / costs[0], 2),
        unit="µs a transaction",
        cost_by_stored=microseconds,
        goal=1.2,
        reached=costs[-1] <= 1.2 * costs[0],
    )


if __name__ == "__main__":
    main()
