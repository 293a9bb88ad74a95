"""From pending to completed: transactions are processed in sets, each exactly once.

The state is in PostgreSQL alone. A worker takes advisory locks on user buckets (`user_id mod 64`), books one set of
their pending rows with one statement (`sql/book_pending.sql`) and commits; so two workers never see the same rows,
a worker killed at any moment leaves either everything or nothing of its set, and running twice finds nothing to do.
Messages only wake workers: a lost one is made good by `sweep_stuck`.
A row that the database refuses to book is found by halving its set, and ends as `failed` with the reason: it holds up nobody
else.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import cache, partial

from celery import current_app
from django.conf import settings
from django.db import DataError, IntegrityError, InternalError, connection, transaction
from django.db.backends.utils import CursorWrapper
from django.utils import timezone
from redis import RedisError

from kamioi_site.cache.namespaces import invalidate_cache
from kamioi_site.cache.redis import redis_client
from kamioi_site.messaging.broker import BROKER_ERRORS, message_priority
from kamioi_site.observability.metrics import TRANSACTIONS
from transactions.cache import invalidate_customers
from transactions.errors import SettingError
from transactions.legacy.state import legacy_in_charge
from transactions.models import USER_BUCKETS, Merchant, Setting, Transaction
from transactions.rules.market_hours import market_is_open, next_open
from transactions.services.background_tasks import recover_stuck_tasks
from transactions.sql import load_sql

logger = logging.getLogger(__name__)

# The first half of the advisory lock of a user bucket; the second half is the bucket.
BUCKET_LOCK = 7203
ALL_BUCKETS = list(range(USER_BUCKETS))
# A set is drawn from this many buckets at once: enough to fill it when each has little, few enough to leave the
# other workers some.
BUCKETS_A_SET = 16
# Rows a release moves per statement.
RELEASE_BATCH = 5000
# A wake-up that nobody answered in this time was lost; the next one is sent again.
WAKE_SECONDS = 10
# What the database says to a row that cannot be booked. Other errors are nobody's row's fault.
ROW_ERRORS = (DataError, IntegrityError)
# So many rows at most end as failed in one run. When more cannot be booked, it is not the rows: the run stops with the error.
MAX_FAILED = 50
# The generation of every cached read of the review queue.
REVIEW_QUEUE = "llm:queue"


@dataclass(slots=True)
class ProcessingResult:
    """What one call moved: transactions by the status they came to, and the dollars invested."""

    statuses: Counter[str] = field(default_factory=Counter)
    invested: Decimal = Decimal("0.00")
    sets: int = 0

    @property
    def total(self) -> int:
        """All transactions moved."""
        return self.statuses.total()


def process_pending(*, deadline: float | None = None, now: datetime | None = None) -> ProcessingResult:
    """Process pending transactions until none is left that this worker may take.

    Args:
        deadline: `time.monotonic()` at which to stop after the current set; one set is done in any case.
        now: the time that prices are judged by; the current time for each set when not given.
    """
    done = ProcessingResult()
    if legacy_in_charge():  # during the migration, before the cut-over
        return done
    while _process_batch_with_fallback(ALL_BUCKETS, done, now=now):
        if deadline is not None and time.monotonic() >= deadline:
            break
    return done


def process_transaction_now(*, transaction_id: int) -> ProcessingResult:
    """Process one transaction now, with whatever else its user's bucket holds. Waits for the bucket."""
    done = ProcessingResult()
    user_id = Transaction.objects.filter(pk=transaction_id).values_list("user_id", flat=True).first()
    if user_id is None or legacy_in_charge():
        return done
    while Transaction.objects.filter(pk=transaction_id, user_id=user_id, status=Transaction.Status.PENDING).exists():
        _process_batch_with_fallback([user_id % USER_BUCKETS], done, wait=True)
    return done


def _process_batch_with_fallback(
    candidates: Sequence[int], done: ProcessingResult, *, now: datetime | None = None, wait: bool = False
) -> int:
    """Book one set; when a row of it cannot be booked, the rest of it and that one apart. Returns how many rows moved."""
    held: list[int] = []
    try:
        return _process_batch(candidates, done, now=now, wait=wait, held=held)
    except ROW_ERRORS as error:
        logger.warning("a set cannot be booked as one: %s", _reason(error))
        return sum(_bisect_bucket(bucket, done, now=now) for bucket in held)


def _bisect_bucket(bucket: int, done: ProcessingResult, *, now: datetime | None) -> int:
    """Book what is pending in the bucket, in ever smaller sets before a row that cannot be booked, and fail that row."""
    size, moved = settings.PROCESS_BATCH_SIZE, 0
    while True:
        try:
            booked = _process_batch([bucket], done, now=now, wait=True, size=size)
        except ROW_ERRORS as error:
            if size > 1:
                size = -(-size // 8)
                continue
            if done.statuses[Transaction.Status.FAILED] >= MAX_FAILED:
                raise
            booked = _fail_first_row(bucket, error, done, now=now)
        moved += booked
        if booked < size:
            return moved
        size = min(size * 2, settings.PROCESS_BATCH_SIZE)


def _fail_first_row(bucket: int, error: Exception, done: ProcessingResult, *, now: datetime | None) -> int:
    """End the first pending row of the bucket as failed, if it still cannot be booked. Returns 1, or 0 when none waits."""
    now = now or timezone.now()
    with transaction.atomic(), connection.cursor() as cursor:
        _lock_buckets(cursor, [bucket])
        try:  # somebody else may have booked the row that failed, and another one stands first
            with transaction.atomic():
                return _process_batch([bucket], done, now=now, wait=True, size=1)
        except ROW_ERRORS as again:
            error = again
        cursor.execute(
            load_sql("fail_first"),
            {"bucket": bucket, "reason": f"It cannot be booked: {_reason(error)}"[:255], "now": now},
        )
        found = cursor.fetchone()
    if found is None:
        return 0
    transaction_id, user_id = found
    logger.error("transaction %s cannot be booked: %s", transaction_id, _reason(error))
    done.statuses[Transaction.Status.FAILED] += 1
    TRANSACTIONS.labels(Transaction.Status.FAILED).inc()
    invalidate_customers([user_id])
    return 1


def _reason(error: Exception) -> str:
    """What the database said, without the row's values, which stand in its detail."""
    diagnosis = getattr(error.__cause__, "diag", None)
    return str(getattr(diagnosis, "message_primary", None) or type(error).__name__)


def _process_batch(
    candidates: Sequence[int],
    done: ProcessingResult,
    *,
    now: datetime | None = None,
    wait: bool = False,
    size: int | None = None,
    held: list[int] | None = None,
) -> int:
    """Lock, book and commit one set. Returns how many rows moved; 0 when nothing could be locked.

    Args:
        size: rows of the set; `PROCESS_BATCH_SIZE` when not given.
        held: the buckets that were locked are added to it.
    """
    now = now or timezone.now()
    fee = platform_fee()
    market_open = market_is_open(now)
    with transaction.atomic(), connection.cursor() as cursor:
        # Figures for the planner: a set fits into memory, and compiling the statement would cost more than it saves.
        cursor.execute(
            "SET LOCAL work_mem = '64MB'; SET LOCAL jit = off; "
            "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')"
        )
        sharded = cursor.fetchone()[0]
        size = size or settings.PROCESS_BATCH_SIZE
        if sharded:
            # `merchants` is written after shards in the same statement: through the same connections.
            cursor.execute("SET LOCAL citus.multi_shard_modify_mode = 'sequential'")
        if wait:
            _lock_buckets(cursor, candidates)
            buckets = list(candidates)
        elif sharded:
            buckets = _sharded_claim(cursor, candidates, size=size)
        else:
            cursor.execute(
                load_sql("claim_buckets"), {"buckets": list(candidates), "most": BUCKETS_A_SET, "lock": BUCKET_LOCK}
            )
            buckets = [row[0] for row in cursor.fetchall()]
        if not buckets:
            return 0
        if held is not None:
            held.extend(buckets)
        cursor.execute("SELECT EXISTS (SELECT 1 FROM orders WHERE status = 'queued')")
        any_orders = cursor.fetchone()[0]
        try:
            cursor.execute(
                _book_statement(sharded=sharded),
                {
                    "buckets": buckets,
                    "per_bucket": -(-size // len(buckets)),
                    "now": now,
                    "oldest_price": now - settings.PRICE_MAX_AGE,
                    "platform_fee": fee,
                    "market_open": market_open,
                    "next_open": now if market_open else next_open(now),
                    "any_orders": any_orders,
                },
            )
        except InternalError as error:
            # What a shard says to rows that are copied to it comes without its code.
            if sharded and " violates " in str(error):
                raise IntegrityError(str(error)) from error.__cause__
            raise
        rows = cursor.fetchall()
    if any(status == Transaction.Status.NEEDS_REVIEW for status, *_ in rows):
        invalidate_cache(REVIEW_QUEUE)
    for status, count, invested, _ in rows:
        done.statuses[status] += count
        TRANSACTIONS.labels(status).inc(count)
        done.invested += invested
    done.sets += 1
    invalidate_customers(user_id for row in rows for user_id in row[3])
    return sum(row[1] for row in rows)


@cache
def _book_statement(*, sharded: bool) -> str:
    """The statement that books a set: the same on Citus, but for how it finds the rows."""
    first = load_sql("first_pending_sharded" if sharded else "first_pending")
    return load_sql("book_pending").replace("{first_pending}", first)


def _sharded_claim(cursor: CursorWrapper, candidates: Sequence[int], *, size: int) -> list[int]:
    """On Citus: lock buckets with pending work that nobody else holds, until they fill a set. Most urgent first.

    Where much waits a bucket is enough, so that the shards sort no more of it than they must.
    """
    cursor.execute(load_sql("waiting_buckets_sharded"), {"buckets": list(candidates)})
    buckets: list[int] = []
    waiting = 0
    for bucket, rows in cursor.fetchall():
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", [BUCKET_LOCK, bucket])
        if cursor.fetchone()[0]:
            buckets.append(bucket)
            waiting += rows
            if waiting >= size or len(buckets) == BUCKETS_A_SET:
                break
    return buckets


def _lock_buckets(cursor: object, buckets: Sequence[int]) -> None:
    """Wait for these buckets, in ascending order, until commit. Processing only ever tries, so nothing deadlocks."""
    for bucket in sorted(buckets):
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [BUCKET_LOCK, bucket])  # type: ignore[attr-defined]


def platform_fee() -> Decimal:
    """The fee of a purchase that invests, in dollars, from the admin setting `platform_fee`.

    Raises:
        SettingError: the setting is not an amount; nothing is processed with a wrong fee.
    """
    text = Setting.objects.filter(key="platform_fee").values_list("value", flat=True).first()
    if text is None:
        return settings.PLATFORM_FEE
    try:
        fee = Decimal(text)
    except InvalidOperation:
        fee = Decimal("NaN")
    if not (fee.is_finite() and 0 <= fee <= 100 and fee == fee.quantize(Decimal("0.01"))):
        raise SettingError(f"the setting platform_fee is {text!r}; it must be dollars and cents from 0 to 100")
    return fee


def release_waiting_transactions(
    *, merchant_keys: Sequence[str], decision_ids: Sequence[int] = (), on_progress: Callable[[int], None] | None = None
) -> int:
    """Put every transaction that waits for these merchants back to work, ahead of bulk. Returns how many.

    A set that is being processed may still park rows for the merchant as unknown, with the directory of a moment
    ago. Therefore each bucket is locked before its rows are looked for: what was parked is visible then, and what
    comes after it sees the decision.

    Args:
        decision_ids: the reviewer's decision on each key; it remembers what it released, so that it can be undone.
        on_progress: called with the number released so far, after each batch.
    """
    released, keys = 0, list(merchant_keys)
    for start in range(0, USER_BUCKETS, BUCKETS_A_SET):
        buckets = ALL_BUCKETS[start : start + BUCKETS_A_SET]
        while True:
            with transaction.atomic(), connection.cursor() as cursor:
                _lock_buckets(cursor, buckets)
                cursor.execute(
                    load_sql("release_merchants"),
                    {
                        "merchant_keys": keys,
                        "decisions": list(decision_ids) or [None] * len(keys),
                        "buckets": buckets,
                        "most": RELEASE_BATCH,
                        "now": timezone.now(),
                    },
                )
                moved, user_ids = cursor.fetchone()
            invalidate_customers(user_ids)
            released += moved
            if on_progress and moved:
                on_progress(released)
            if moved < RELEASE_BATCH:
                break
    _recount_waiting(keys)
    if released:
        notify_workers(priority=Transaction.Priority.RELEASE)
    return released


def _recount_waiting(merchant_keys: Sequence[str]) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        # Locked first: who parks rows for a merchant holds its row until commit, so the count after it sees them.
        cursor.execute(
            "SELECT FROM merchants WHERE merchant_key = ANY (%s) ORDER BY merchant_key FOR UPDATE",
            [list(merchant_keys)],
        )
        cursor.execute(load_sql("recount_waiting"), {"merchant_keys": list(merchant_keys)})
        invalidate_cache(REVIEW_QUEUE)


@dataclass(slots=True)
class UndoReleaseResult:
    """What taking a decision back moved: transactions put back to work, and those of them that had been bought."""

    moved: int = 0
    bought: int = 0


def undo_release(
    *,
    decision_id: int,
    merchant_key: str,
    ticker: str | None,
    since: datetime,
    on_progress: Callable[[int], None] | None = None,
) -> UndoReleaseResult:
    """Take back what a decision led to, after the directory no longer says so.

    What was booked is corrected by contra entries at the price it was bought for, never by an edit; the transactions
    become pending and are looked up anew. Locks each user bucket first: a set booked under the decision has committed
    then, and the next one sees the directory of now. Running it again finds nothing.

    Args:
        ticker: what the decision said; None for "not listed". Transactions with another outcome are left alone.
        since: when it was decided.
    """
    done = UndoReleaseResult()
    for start in range(0, USER_BUCKETS, BUCKETS_A_SET):
        buckets = ALL_BUCKETS[start : start + BUCKETS_A_SET]
        while True:
            with transaction.atomic(), connection.cursor() as cursor:
                _lock_buckets(cursor, buckets)
                cursor.execute(
                    load_sql("undo_release"),
                    {
                        "decision": decision_id,
                        "merchant_key": merchant_key,
                        "ticker": ticker,
                        "since": since,
                        "buckets": buckets,
                        "most": RELEASE_BATCH,
                        "reference": f"undo of decision {decision_id}",
                        "now": timezone.now(),
                    },
                )
                moved, bought, user_ids = cursor.fetchone()
            invalidate_customers(user_ids)
            done.moved += moved
            done.bought += bought
            if on_progress and moved:
                on_progress(done.moved)
            if moved < RELEASE_BATCH:
                break
    if done.moved:
        notify_workers(priority=Transaction.Priority.RELEASE)
    return done


def execute_orders(*, now: datetime | None = None) -> int:
    """At the open: put the transactions of due orders back to work, to be bought at the price of now.

    Returns how many. While the market is closed nothing happens.
    """
    now = now or timezone.now()
    if not market_is_open(now):
        return 0
    moved = 0
    while True:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(load_sql("release_orders"), {"now": now, "most": RELEASE_BATCH})
            count, user_ids = cursor.fetchone()
        invalidate_customers(user_ids)
        moved += count
        if count < RELEASE_BATCH:
            break
    if moved:
        notify_workers(priority=Transaction.Priority.RELEASE)
    return moved


def recover_stuck() -> None:
    """Make good what a lost message or a killed worker left behind. Cheap when there is nothing to do."""
    if Transaction.objects.filter(status=Transaction.Status.PENDING).exists():
        notify_workers(priority=Transaction.Priority.BULK)
    recover_stuck_tasks()
    # Last: it moves rows itself, and what goes wrong there must keep nothing else from being sent.
    decided = Merchant.objects.filter(
        waiting_count__gt=0, status__in=[Merchant.Status.APPROVED, Merchant.Status.NOT_LISTED]
    )
    if keys := list(decided.values_list("merchant_key", flat=True)[:1000]):
        release_waiting_transactions(merchant_keys=keys)


def notify_workers(*, priority: int) -> None:
    """Wake the workers after this transaction commits. Many calls make one message.

    A flag in Redis says that a message is under way; the worker lowers it before it looks for work, so a row
    committed after the flag was raised is either seen by that worker or raises the flag anew.
    """
    transaction.on_commit(partial(_wake, priority))


def _wake(priority: int) -> None:
    try:
        if redis_client().set(_wake_key(priority), 1, nx=True, ex=WAKE_SECONDS) is None:
            return
    except RedisError:
        logger.warning("Redis is away: the wake-up is sent without its flag")
    try:
        current_app.send_task(
            "process_transactions",
            kwargs={"priority": priority},
            priority=message_priority(priority),
            retry=False,
            ignore_result=True,
        )
    except BROKER_ERRORS:
        logger.warning("the broker is away: sweep_stuck will take the work up")


def clear_notification(*, priority: int) -> None:
    """Lower the flag: from here on a new row sends a new message."""
    try:
        redis_client().delete(_wake_key(priority))
    except RedisError:
        logger.warning("Redis is away: the wake-up flag expires by itself")


def _wake_key(priority: int) -> str:
    return f"kamioi:wake:{priority}"
