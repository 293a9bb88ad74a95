"""Bytes per row of every table that grows with use, indexes included, in a database filled by the real statements.

The real service processes the purchases, so ledger entries, holdings, notifications and row updates are those of
production. They arrive in rounds, with a VACUUM after each, as autovacuum does it: the index entries of pending rows
leave pages that the next round fills again. `ours` is the total size of one purchase.
"""

import argparse

from benchmarks import common

# Mappings with texts and reasons as long as those of real proposals.
_MAPPINGS = """
    INSERT INTO llm_mappings (merchant_name, merchant_key, ticker, category, confidence, status, admin_approved,
        ai_processed, company_name, source, user_id, ai_model_version, ai_reasoning, ai_auto_approved, ai_processing_ms,
        ai_decided_at, created_at)
    SELECT 'MERCHANT NAME ' || n || ' SEATTLE WA', 'MERCHANT NAME ' || n, CASE WHEN n % 3 > 0 THEN 'T' || n % 200 END,
        'Food and Drink', 0.9 + (n % 90) / 1000.0, 'approved', n % 10 > 0, true, 'Company ' || n % 200, 'matcher',
            1 + n % 2000,
        'matcher-3', 'The name is a brand of the company; nothing else is called so.', n % 10 > 0, 12, now(), now()
    FROM generate_series(1, %(rows)s) AS n
"""
_KEYS = """
    INSERT INTO transaction_keys (user_id, idempotency_key, transaction_id, date)
    SELECT user_id, md5(id::text)::uuid || '.1', id, date FROM transactions
"""
_SIZES = """
    SELECT sum(pg_total_relation_size(member)), sum(pg_relation_size(member))
    FROM (SELECT relid AS member FROM pg_partition_tree(%s::regclass) UNION SELECT %s::regclass) AS members
"""
_PER_PURCHASE = ("transactions", "transaction_keys", "ledger_transfers", "notifications")
_OTHERS = ("llm_mappings", "merchants", "holdings", "users")


def main() -> None:
    """Run the benchmark and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()

    common.fresh_database("kamioi_bench_row_sizes")
    common.seed_directory()

    from django.db import connection

    from transactions.services.processing import process_pending

    log = 0
    for number in range(arguments.rounds):
        common.seed_pending(arguments.rows // arguments.rounds, checkpoint=not number)
        before = common.wal_position()
        while process_pending().total:
            pass
        log += common.wal_position() - before
    sizes: dict[str, dict[str, float]] = {}
    with connection.cursor() as cursor:
        cursor.execute(_MAPPINGS.replace(" % ", " %% "), {"rows": arguments.rows})
        cursor.execute(_KEYS)
        for table in (*_PER_PURCHASE, *_OTHERS):
            cursor.execute(f"VACUUM ANALYZE {table}")
            cursor.execute(f"SELECT count(*) FROM {table}")
            (rows,) = cursor.fetchone()
            cursor.execute(_SIZES, [table, table])
            whole, heap = map(int, cursor.fetchone())
            sizes[table] = {
                "rows": rows,
                "per_purchase": round(rows / arguments.rows, 2),
                "bytes": round(whole / rows),
                "heap_bytes": round(heap / rows),
            }
            print(table, sizes[table], flush=True)
    total = sum(sizes[table]["bytes"] * sizes[table]["per_purchase"] for table in _PER_PURCHASE)
    common.drop_database("kamioi_bench_row_sizes")
    common.report(
        benchmark="row_sizes",
        ours=round(total),
        unit="bytes a purchase, indexes included",
        tables={table: found["bytes"] for table, found in sizes.items()},
        wal_bytes=round(log / arguments.rows),
        rows=arguments.rows,
        rounds=arguments.rounds,
    )


if __name__ == "__main__":
    main()
