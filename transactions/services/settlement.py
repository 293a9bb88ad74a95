"""Collection of what customers owe, and the house's orders at the broker.

Both settle with the provider `SETTLEMENT_PROVIDER`. `paper` settles at once and moves no money; without a provider both
refuse. Each holds an advisory lock until it commits, so that of two runs the second finds nothing left to do.

Collection goes by ledger ids, not by days: a posting with the date of an earlier day, which a release or an import
makes, is collected with the next run. The ids up to the mark are final once every transaction that was open when the
mark was read has ended.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.conf import settings
from django.db import DataError, IntegrityError, connection, transaction
from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from kamioi_site.db.distribution import restored_error_codes
from kamioi_site.db.replica import primary_reads
from transactions.errors import SettlementError
from transactions.migration_phase import legacy_owns_data
from transactions.rules.market_hours import oldest_execution_price
from transactions.rules.money import ZERO
from transactions.sql import load_sql

logger = logging.getLogger(__name__)

_COLLECTION_LOCK: Final = 7_203_020
_SETTLEMENT_LOCK: Final = 7_203_021
# How long a collection waits for the transactions that were open when it began.
WAIT_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.05
# Tickers settled by one statement.
BATCH: Final = 500

_COLLECTED_TO = "SELECT coalesce(max(collected_to), 0) FROM collections"
_HIGHEST_ID = "SELECT coalesce(max(id), %(first)s) FROM ledger_transfers WHERE id > %(first)s"
# Read after `_HIGHEST_ID`, never with it. An INSERT locks the table before it takes an id, and holds the lock until the
# transaction ends: who holds a smaller id without having committed is among these.
_OPEN_WRITERS = """
    SELECT virtualtransaction FROM pg_locks
    WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND granted AND pid IS DISTINCT FROM pg_backend_pid()
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND relation IN (SELECT relid FROM pg_partition_tree('ledger_transfers'))
"""


@dataclass(frozen=True, slots=True)
class CollectionResult:
    """Customers with a posting, and dollars collected from and returned to them."""

    customers: int = 0
    amount: Decimal = ZERO
    returned: Decimal = ZERO


@dataclass(slots=True)
class SettlementResult:
    """Orders filled, dollars of buys and sells, what they cost more than customers paid, and tickers that are left.

    `short` lists the left tickers of which the broker holds fewer shares than customers own.
    """

    orders: int = 0
    bought: Decimal = ZERO
    sold: Decimal = ZERO
    difference: Decimal = ZERO
    without_quote: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    short: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Unsettled:
    """The shares and the cost that a position lacks; negative what it has too much."""

    ticker: str
    shares: Decimal
    cost: Decimal
    price: Decimal | None


@primary_reads()
def collect_round_ups(*, now: datetime | None = None, wait: float = WAIT_SECONDS) -> CollectionResult:
    """Collect what every customer came to owe since the last collection.

    Args:
        wait: seconds to wait for open transactions that write to the ledger.

    Raises:
        SettlementError: there is no provider, the legacy system owns the data, or a transaction stays open.
    """
    _check_provider()
    with connection.cursor() as cursor:
        last = _final_ledger_id(cursor, wait)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_COLLECTION_LOCK])
        cursor.execute(_COLLECTED_TO)
        first = cursor.fetchone()[0]
        if first >= last:
            return CollectionResult()
        cursor.execute(load_sql("collect_round_ups"), {"first": first, "last": last, "now": now or timezone.now()})
        row = cursor.fetchone()
    return CollectionResult(*row) if row else CollectionResult()


def _final_ledger_id(cursor: CursorWrapper, wait: float) -> int:
    """Return the highest id of the ledger, once no transaction can commit a smaller one any more."""
    cursor.execute(_COLLECTED_TO)
    cursor.execute(_HIGHEST_ID, {"first": cursor.fetchone()[0]})
    highest: int = cursor.fetchone()[0]
    deadline, waiting_for = time.monotonic() + wait, _open_writers(cursor)
    while waiting_for := waiting_for & _open_writers(cursor):
        if time.monotonic() >= deadline:
            raise SettlementError("A transaction that writes to the ledger has been open for too long. Try again.")
        time.sleep(_POLL_SECONDS)
    return highest


def _open_writers(cursor: CursorWrapper) -> set[str]:
    cursor.execute(_OPEN_WRITERS)
    return {row[0] for row in cursor.fetchall()}


@primary_reads()
def settle_positions(
    *, now: datetime | None = None, on_progress: Callable[[int, int], None] | None = None
) -> SettlementResult:
    """Fill one order at the newest quote for each ticker of which the broker holds more or less than customers own.

    Args:
        now: the time at which quotes must be current.
        on_progress: called with the tickers settled so far and their total.

    Raises:
        SettlementError: there is no provider, or the legacy system owns the data.
    """
    _check_provider()
    now, result = now or timezone.now(), SettlementResult()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_SETTLEMENT_LOCK])
        cursor.execute(load_sql("find_unsettled"), {"now": now, "oldest_price": oldest_execution_price(now)})
        unsettled = [_Unsettled(*row) for row in cursor.fetchall()]
        priced = [row for row in unsettled if row.price is not None or not row.shares]
        result.without_quote = [row.ticker for row in unsettled if row.price is None and row.shares]
        for start in range(0, len(priced), BATCH):
            _settle(priced[start : start + BATCH], result, now=now)
            if on_progress:
                on_progress(min(start + BATCH, len(priced)), len(priced))
    left = {*result.without_quote, *result.failed}
    result.short = [row.ticker for row in unsettled if row.ticker in left and row.shares > 0]
    if result.short:
        logger.error("the broker holds fewer shares than customers own: %s", ", ".join(result.short[:50]))
    return result


def _settle(rows: Sequence[_Unsettled], result: SettlementResult, *, now: datetime) -> None:
    """Settle these tickers in one statement; if one of them fails, settle the others without it."""
    values: dict[str, Any] = {
        "tickers": [row.ticker for row in rows],
        "shares": [row.shares for row in rows],
        "costs": [row.cost for row in rows],
        "prices": [row.price for row in rows],
        "now": now,
    }
    try:
        with restored_error_codes(), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(load_sql("settle_positions"), values)
            orders, bought, sold, difference = cursor.fetchone()
    except (DataError, IntegrityError) as error:
        if len(rows) > 1:
            middle = len(rows) // 2
            _settle(rows[:middle], result, now=now)
            _settle(rows[middle:], result, now=now)
            return
        result.failed[rows[0].ticker] = str(error).partition("\n")[0]
        logger.error("%s cannot be settled: %s", rows[0].ticker, result.failed[rows[0].ticker])
        return
    result.orders += orders
    result.bought += bought
    result.sold += sold
    result.difference += difference


def _check_provider() -> None:
    if not settings.SETTLEMENT_PROVIDER:
        raise SettlementError("SETTLEMENT_PROVIDER is not set: nothing can be collected or bought.")
    if legacy_owns_data():
        raise SettlementError("The legacy system still owns the data.")
