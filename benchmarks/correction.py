"""Correcting a merchant's booked purchases, from the decision to everything booked again and verified.

`ours`: 100,000 purchases of 10,000 customers, booked and settled in one company, are corrected to another one through
the task `correct_purchases` on a real Celery worker with two processes. `peer`: the rate at which the same worker
booked these purchases in the first place. A correction reverses and books each purchase.
"""

import argparse
import time
from decimal import Decimal
from itertools import pairwise
from typing import Any

from benchmarks import common
from benchmarks.processing import measure_task, wake_two

WRONG, RIGHT = "T1", "T2"
GOAL_SECONDS = 60


def main() -> None:
    """Run the benchmark and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=10_000)
    arguments = parser.parse_args()

    common.fresh_database("kamioi_bench_correction")
    from django.utils import timezone

    from llm_center.services.review.decisions import Action, booked_effect, decide_merchant
    from transactions.models import BackgroundTask, LedgerTransfer, Merchant, StockPrice, Transaction, User
    from transactions.services.ledger_verification import find_ledger_problems
    from transactions.services.settlement import settle_positions

    common.seed_directory(users=arguments.users, merchants=2)
    common.seed_pending(arguments.rows, users=arguments.users, merchants=1, days=360)
    worker = common.start_workers()
    try:
        peer = measure_task(arguments.rows, wake_two)
        settle_positions()
        quote = StockPrice.objects.get(ticker=WRONG)
        StockPrice.objects.create(
            ticker=WRONG, price=quote.price * Decimal("1.07"), as_of=timezone.now(), source="later"
        )
        common.settle()
        reviewer = User.objects.create_superuser("reviewer@example.com", "!", id=arguments.users + 1)
        merchant = Merchant.objects.get(merchant_key="M1")
        moments = [time.monotonic()]
        effect = booked_effect(merchant=merchant, action=Action.CORRECT, actor=reviewer, ticker=RIGHT)
        moments.append(time.monotonic())
        print("; ".join(effect.lines), flush=True)
        decided = decide_merchant(
            merchant_id=merchant.pk,
            action=Action.CORRECT,
            actor=reviewer,
            expected_updated_at=merchant.updated_at,
            ticker=RIGHT,
            include_booked=True,
        )
        assert decided.task
        moments.append(time.monotonic())
        _wait_for(decided.task)
        moments.append(time.monotonic())
    finally:
        common.stop_workers(worker)
    report = BackgroundTask.objects.get(pk=decided.task.pk).result
    moments.append(time.monotonic())
    problems = sum(1 for _ in find_ledger_problems())
    moments.append(time.monotonic())
    showing, deciding, correcting, _, verifying = (end - start for start, end in pairwise(moments))
    seconds = deciding + correcting + verifying
    settle_positions()
    same = (
        report["purchases"] == arguments.rows
        and report["returned"] == [row.as_json() for row in effect.returned]
        and Decimal(report["shares_bought"]) == effect.shares_bought
        and not Transaction.objects.exclude(status="completed", ticker=RIGHT).exists()
    )
    rest = LedgerTransfer.objects.filter(
        kind="broker_diff", ticker=WRONG, created_at__gte=decided.task.created_at
    ).count()
    common.drop_database("kamioi_bench_correction")
    common.report(
        benchmark="correction",
        purchases=arguments.rows,
        customers=report["customers"],
        seconds_effect=round(showing, 2),
        seconds_decision=round(deciding, 2),
        seconds_correction=round(correcting, 2),
        seconds_verification=round(verifying, 2),
        seconds=round(seconds, 2),
        ours=round(arguments.rows / correcting),
        peer=round(peer),
        ratio=round(arguments.rows / correcting / peer, 2),
        unit="purchases/s",
        peer_name="processing of the same purchases",
        as_the_effect_showed=same,
        execution_differences=rest,
        ledger_problems=problems,
        goal=GOAL_SECONDS,
        reached=seconds < GOAL_SECONDS and same and not problems and not rest,
    )


def _wait_for(task: Any) -> None:
    while task.is_open:
        time.sleep(0.05)
        task.refresh_from_db()
    if task.status != "completed":
        raise SystemExit(f"the correction failed: {task.error}")


if __name__ == "__main__":
    main()
