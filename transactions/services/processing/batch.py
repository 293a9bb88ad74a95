"""Booking of batches of pending transactions."""

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from django.conf import settings
from django.db import DataError, IntegrityError, connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from kamioi_site.db.distribution import on_citus, restored_error_codes
from kamioi_site.observability.metrics import TRANSACTIONS
from transactions.cache import invalidate_customers, merchants_waiting, review_queue_changed
from transactions.migration_phase import legacy_owns_data
from transactions.models import USER_BUCKETS, LimitReason, Transaction
from transactions.rules.market_hours import market_is_open, next_open, oldest_execution_price
from transactions.services.platform_fees import fee_on
from transactions.services.processing.buckets import ALL_BUCKETS, claim_buckets, lock_buckets
from transactions.services.processing.limits import limit_parameters, notify_held
from transactions.services.processing.refunds import match_refunds
from transactions.sql import load_sql

logger = logging.getLogger(__name__)

# The errors of a row that cannot be booked. Other errors are not the fault of any row.
ROW_ERRORS = (DataError, IntegrityError)
# Rows that may end as failed in one run. If more cannot be booked, the rows are not the cause: the run stops with the
# error.
MAX_FAILED = 50


@dataclass(slots=True)
class ProcessingResult:
    """Transactions by the status they reached, and the dollars invested."""

    statuses: Counter[str] = field(default_factory=Counter)
    invested: Decimal = Decimal("0.00")
    batches: int = 0

    @property
    def total(self) -> int:
        return self.statuses.total()


def process_pending(*, deadline: float | None = None, now: datetime | None = None) -> ProcessingResult:
    """Process pending transactions until this worker can claim no more.

    Args:
        deadline: `time.monotonic()` after which no further batch is started; the first one always is.
        now: the time at which prices must be current; the current time of each batch when not given.
    """
    result = ProcessingResult()
    if legacy_owns_data():  # during the migration, before the cut-over
        return result
    while _process_batch_with_fallback(ALL_BUCKETS, result, now=now):
        if deadline is not None and time.monotonic() >= deadline:
            break
    match_refunds()
    return result


def process_transaction_now(*, transaction_id: int) -> ProcessingResult:
    """Process one transaction, and whatever else is pending in its user's bucket. Waits for the bucket."""
    row = Transaction.objects.with_ids(transaction_id)
    user_id = row.values_list("user_id", flat=True).first()
    if user_id is None or legacy_owns_data():
        return ProcessingResult()
    pending = row.filter(user_id=user_id, status=Transaction.Status.PENDING)
    result = process_until_gone(pending, [user_id % USER_BUCKETS])
    match_refunds()
    return result


def process_until_gone(pending: QuerySet[Transaction], buckets: Sequence[int]) -> ProcessingResult:
    """Process these pending transactions, and whatever is more urgent in their buckets. Waits for the buckets."""
    result = ProcessingResult()
    while pending.exists():
        _process_batch_with_fallback(buckets, result, wait=True)
    return result


def _process_batch_with_fallback(
    candidates: Sequence[int], result: ProcessingResult, *, now: datetime | None = None, wait: bool = False
) -> int:
    """Book one batch; if a row cannot be booked, book the rest bucket by bucket. Returns the number of rows moved."""
    locked_buckets: list[int] = []
    try:
        return _process_batch(candidates, result, now=now, wait=wait, locked_buckets=locked_buckets)
    except ROW_ERRORS as error:
        logger.warning("a batch cannot be booked as a whole: %s", _database_message(error))
        return sum(_bisect_bucket(bucket, result, now=now) for bucket in locked_buckets)


def _bisect_bucket(bucket: int, result: ProcessingResult, *, now: datetime | None) -> int:
    """Book the pending rows of a bucket in batches that shrink towards a bad row, and fail that row."""
    size, moved = settings.PROCESS_BATCH_SIZE, 0
    while True:
        try:
            booked = _process_batch([bucket], result, now=now, wait=True, size=size)
        except ROW_ERRORS as error:
            if size > 1:
                size = -(-size // 8)
                continue
            if result.statuses[Transaction.Status.FAILED] >= MAX_FAILED:
                raise
            booked = _fail_first_row(bucket, error, result, now=now)
        moved += booked
        if booked < size:
            return moved
        size = min(size * 2, settings.PROCESS_BATCH_SIZE)


def _fail_first_row(bucket: int, error: Exception, result: ProcessingResult, *, now: datetime | None) -> int:
    """Fail the bucket's first pending row if it still cannot be booked. Returns 1, or 0 when none is pending."""
    now = now or timezone.now()
    with transaction.atomic(), connection.cursor() as cursor:
        lock_buckets(cursor, [bucket])
        try:  # another worker may have moved the bad row meanwhile, so that a different one is first
            with transaction.atomic():
                return _process_batch([bucket], result, now=now, wait=True, size=1)
        except ROW_ERRORS as second_error:
            error = second_error
        cursor.execute(
            load_sql("fail_first"),
            {"bucket": bucket, "reason": f"It cannot be booked: {_database_message(error)}"[:255], "now": now},
        )
        row = cursor.fetchone()
    if row is None:
        return 0
    transaction_id, user_id = row
    logger.error("transaction %s cannot be booked: %s", transaction_id, _database_message(error))
    result.statuses[Transaction.Status.FAILED] += 1
    TRANSACTIONS.labels(Transaction.Status.FAILED).inc()
    invalidate_customers([user_id])
    return 1


def _database_message(error: Exception) -> str:
    """Return the database's primary message; its detail would contain the row's values."""
    diagnostics = getattr(error.__cause__, "diag", None)
    return str(getattr(diagnostics, "message_primary", None) or type(error).__name__)


def _process_batch(
    candidates: Sequence[int],
    result: ProcessingResult,
    *,
    now: datetime | None = None,
    wait: bool = False,
    size: int | None = None,
    locked_buckets: list[int] | None = None,
) -> int:
    """Lock, book and commit one batch. Returns the number of rows moved; 0 when no bucket could be locked.

    Args:
        size: rows of the batch; `PROCESS_BATCH_SIZE` when not given.
        locked_buckets: a list to which the locked buckets are added.
    """
    now = now or timezone.now()
    fee = fee_on(now)
    market_open = market_is_open(now)
    limits = limit_parameters()
    with transaction.atomic(), connection.cursor() as cursor:
        # Hints for the planner: a batch fits into memory, and compiling the statement would cost more than it saves.
        cursor.execute("SET LOCAL work_mem = '64MB'; SET LOCAL jit = off")
        if wait:
            lock_buckets(cursor, candidates)
            buckets, places = list(candidates), len(candidates)
        if not wait or on_citus():  # on Citus also to find in how many shards the rows are
            buckets, places = claim_buckets(cursor, candidates)
        if not buckets:
            return 0
        if locked_buckets is not None:
            locked_buckets.extend(buckets)
        size = size or settings.PROCESS_BATCH_SIZE
        cursor.execute("SELECT EXISTS (SELECT 1 FROM orders WHERE status = 'queued')")
        any_orders = cursor.fetchone()[0]
        with restored_error_codes():
            cursor.execute(
                load_sql("book_pending"),
                {
                    "buckets": buckets,
                    "size": size,
                    "per_place": -(-size // places),
                    "now": now,
                    "oldest_price": oldest_execution_price(now),
                    "platform_fee": fee.fee,
                    "max_share": fee.max_share,
                    "market_open": market_open,
                    "next_open": now if market_open else next_open(now),
                    "any_orders": any_orders,
                    "suspended": Transaction.HoldReason.SUSPENDED,
                    "unverified": Transaction.HoldReason.UNVERIFIED,
                }
                | limits,
            )
            rows = cursor.fetchall()
            waiting = next((merchants for *_, merchants in rows if merchants), None)
            if waiting:
                cursor.execute(load_sql("add_waiting"), {"waiting": waiting, "now": now})
        for _, reason, _, _, user_ids, _ in rows:
            if reason in LimitReason:
                notify_held(cursor, user_ids=user_ids, reason=reason, now=now)
    if waiting:
        review_queue_changed.send(sender=None)
        merchants_waiting.send(sender=None)
    for status, _, count, invested, *_ in rows:
        result.statuses[status] += count
        TRANSACTIONS.labels(status).inc(count)
        result.invested += invested
    result.batches += 1
    invalidate_customers(user_id for row in rows for user_id in row[4])
    return sum(row[2] for row in rows)
