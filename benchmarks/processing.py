"""Transactions fully processed per second, beside `pgbench -N` on the same server and beside a per-row ORM loop.

`ours`: pending → completed with three ledger rows, holding and notification, through the task `process_transactions`
on a real Celery worker with two processes, fsync and synchronous_commit on. `peer`: `pgbench -N`, 4 clients.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from decimal import Decimal

from benchmarks import common


def _per_row_loop(rows: int) -> float:
    """Return the rows per second of a simple loop: one database transaction per row, objects loaded and saved."""
    from django.conf import settings
    from django.db import transaction
    from django.utils import timezone

    from transactions.models import Holding, LedgerTransfer, Merchant, Notification, Receivable, StockPrice, Transaction
    from transactions.rules.money import purchase_of

    started = time.monotonic()
    for pk in list(Transaction.objects.filter(status="pending").order_by("id").values_list("pk", flat=True)[:rows]):
        with transaction.atomic():
            row = Transaction.objects.select_for_update(of=("self",)).select_related("user").get(pk=pk)
            merchant = Merchant.objects.get(merchant_key=row.merchant_key)
            assert merchant.ticker
            quote = StockPrice.objects.filter(ticker=merchant.ticker).latest("as_of")
            bought = purchase_of(
                row.amount,
                price=quote.price,
                platform_fee=settings.PLATFORM_FEE,
                max_share=Decimal("0.25"),
                enabled=row.user.round_up_enabled,
                rule=row.user.round_up_rule,
                flat=row.user.round_up_amount,
            )
            row.status, row.ticker, row.price_per_share = "completed", merchant.ticker, quote.price
            row.round_up, row.fee, row.total_debit = bought.round_up, bought.fee, bought.total_debit
            row.investable, row.shares, row.updated_at = bought.investable, bought.shares, timezone.now()
            row.save()
            today = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
            base = {"user_id": row.user_id, "date": today, "transaction_id": row.pk}
            for kind, debit, credit, amount in (
                ("round_up", "11100", "20100", bought.round_up),
                ("fee", "11100", "40100", bought.fee),
            ):
                LedgerTransfer.objects.create(
                    kind=kind, debit_account=debit, credit_account=credit, amount=amount, **base
                )
            LedgerTransfer.objects.create(
                kind="purchase",
                debit_account="20100",
                credit_account="22100",
                amount=bought.investable,
                ticker=merchant.ticker,
                shares=bought.shares,
                **base,
            )
            owed, _ = Receivable.objects.select_for_update().get_or_create(
                user=row.user, part="booked", defaults={"amount": 0}
            )
            owed.amount += bought.round_up + bought.fee
            owed.save()
            holding, _ = Holding.objects.select_for_update().get_or_create(user=row.user, ticker=merchant.ticker)
            holding.shares += bought.shares
            holding.cost_basis += bought.investable
            holding.save()
            Notification.objects.create(
                user=row.user, title=f"You own more {merchant.ticker}", message="…", type="investment_success"
            )
    return rows / (time.monotonic() - started)


def _settings_of_the_server() -> dict[str, str]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit')")
        return dict(cursor.fetchall())


def measure_task(rows: int, wake: Callable[[], None]) -> float:
    """Return the transactions per second from the message to the last commit, polled without loading the server."""
    from django.db import connection

    started = time.monotonic()
    wake()
    while True:
        time.sleep(0.05)
        with connection.cursor() as cursor:
            cursor.execute("SELECT EXISTS (SELECT FROM transactions WHERE status = 'pending')")
            if not cursor.fetchone()[0]:
                return rows / (time.monotonic() - started)


def wake_two() -> None:
    """Send one message for each of the two worker processes."""
    from kamioi_site.celery import app

    for _ in range(2):
        app.send_task("process_transactions", priority=9)


def main() -> None:
    """Run the benchmark and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3, help="pairs of pgbench and ours; medians are reported")
    parser.add_argument("--seconds", type=int, default=15, help="length of one pgbench run")
    arguments = parser.parse_args()

    common.fresh_database("kamioi_bench_processing")
    server = _settings_of_the_server()
    if set(server.values()) != {"on"}:
        raise SystemExit(f"fsync and synchronous_commit must be on: {server}")
    common.seed_directory()
    worker = common.start_workers()
    pairs = []
    try:
        for number in range(arguments.rounds):
            tps = common.pgbench_tps(seconds=arguments.seconds)
            common.seed_pending(arguments.rows)
            rate = measure_task(arguments.rows, wake_two)
            pairs.append((rate / tps, rate, tps))
            print(f"round {number + 1}: {rate:,.0f}/s, pgbench -N {tps:,.0f} tps, {rate / tps:.1f}x", flush=True)
    finally:
        common.stop_workers(worker)
    common.seed_pending(2000)
    loop = _per_row_loop(1000)

    from transactions.services.ledger_verification import find_ledger_problems

    problems = sum(1 for _ in find_ledger_problems())
    # Each figure is a separate median: `ratio` is the median of the rounds' ratios, not ours / peer.
    ratio, ours, peer = map(statistics.median, zip(*pairs, strict=True))
    common.drop_database("kamioi_bench_processing")
    common.report(
        benchmark="processing",
        ours=round(ours),
        peer=round(peer),
        ratio=round(ratio, 2),
        unit="transactions/s",
        peer_name="pgbench -N, 4 clients",
        orm_loop=round(loop),
        ratio_to_orm_loop=round(ours / loop, 1),
        ledger_problems=problems,
        goal=6.0,
        reached=bool(Decimal(str(ratio)) >= 6),
    )


if __name__ == "__main__":
    main()
