"""Sealing a day of the ledger, and verifying the books with and without recounting what is sealed.

The ledger holds purchases with three rows each, spread over the last `days` days. `ratio` is a verification from the
last seal over one of everything.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

from benchmarks import common


def _fill(rows: int, days: int) -> None:
    """Insert completed purchases with their postings and holdings: `rows` rows of the ledger."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH purchase AS (
                INSERT INTO transactions (user_id, date, merchant, merchant_key, amount, total_debit, status, ticker,
                    shares, price_per_share, investable, round_up, fee, priority, source)
                SELECT 1 + n %% 2000, at, 'MERCHANT ' || n %% 200 || ' SEATTLE WA', 'M' || 1 + n %% 200, 4.50, 5.75,
                    'completed', 'T' || 1 + n %% 200, 0.01, 100, 1, 1, 0.25, 9, 'statement'
                FROM generate_series(1, %(rows)s / 3) AS n
                CROSS JOIN LATERAL (
                    SELECT date_trunc('day', now(), 'UTC') - (1 + n %% %(days)s) * interval '1 day'
                           + n %% 72000 * interval '1 second' AS at
                ) AS moment
                RETURNING id, user_id, date, ticker
            ),
            booked AS (
                INSERT INTO ledger_transfers (user_id, date, transaction_id, kind, debit_account, credit_account,
                    amount, ticker, shares, created_at)
                SELECT user_id, date_trunc('day', purchase.date, 'UTC'), id, entry.kind, debit, credit, amount,
                    CASE entry.kind WHEN 'purchase' THEN ticker END, shares, purchase.date
                FROM purchase CROSS JOIN (VALUES
                    ('round_up', '11100', '20100', 1, NULL), ('fee', '11100', '40100', 0.25, NULL),
                    ('purchase', '20100', '22100', 1, 0.01)
                ) AS entry (kind, debit, credit, amount, shares)
            )
            INSERT INTO holdings (user_id, ticker, shares, cost_basis, updated_at)
            SELECT user_id, ticker, count(*) * 0.01, count(*), now() FROM purchase GROUP BY user_id, ticker
            """,
            {"rows": rows, "days": days},
        )
        common.settle()
        cursor.execute("VACUUM ANALYZE ledger_transfers")


def _seconds(work: Callable[[], Any]) -> float:
    started = time.monotonic()
    work()
    return round(time.monotonic() - started, 2)


def main() -> None:
    """Run the benchmark and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the ledger")
    parser.add_argument("--days", type=int, default=1)
    arguments = parser.parse_args()

    common.fresh_database("kamioi_bench_seals")
    common.seed_directory()

    from datetime import UTC, datetime

    from dateutil.relativedelta import relativedelta

    from kamioi_site.db.partitions import ensure_partitions
    from transactions.models import LedgerTransfer, Transaction
    from transactions.services.ledger_seals import seal_days
    from transactions.services.ledger_verification import find_ledger_problems

    months = [datetime.now(UTC) - relativedelta(months=back) for back in range(3)]
    for model in (Transaction, LedgerTransfer):
        ensure_partitions(model, months)
    _fill(arguments.rows, arguments.days)
    unsealed = _seconds(lambda: _assert_none(find_ledger_problems()))
    sealing = _seconds(seal_days)
    since_seal = _seconds(lambda: _assert_none(find_ledger_problems(everything=False)))
    everything = _seconds(lambda: _assert_none(find_ledger_problems()))
    common.drop_database("kamioi_bench_seals")
    common.report(
        benchmark="seals",
        ours=since_seal,
        peer=everything,
        ratio=round(since_seal / everything, 3),
        unit="s",
        rows=arguments.rows,
        days=arguments.days,
        seal=sealing,
        verify_without_seals=unsealed,
        verify_since_seal=since_seal,
        verify_everything=everything,
    )


def _assert_none(problems: Any) -> None:
    found = [str(problem) for problem in problems]
    if found:
        raise RuntimeError(f"{len(found)} problems, the first: {found[0]}")


if __name__ == "__main__":
    main()
