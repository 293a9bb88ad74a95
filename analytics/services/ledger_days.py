"""The ledger by day, kind and accounts, extended by what was booked since the last count.

The ledger is append-only, so its days need no recount: rows are counted in the order of their ids. Rules:

* An id is assigned before its row is committed, so the newest ids are not final. A round records the highest id and
  which transactions were open; later rounds count up to that id once all of those have ended.
* The totals and the mark "counted up to this id" are written in one transaction: a round that is killed or repeated
  counts nothing twice.
* Rows that a synchronisation with the legacy system replaces (opening balances) need `recount_ledger_days`.
"""

import time
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from django.db import connection, transaction
from django.utils import timezone

from kamioi_site.db.replica import primary_reads
from transactions.models import LedgerTransfer
from transactions.services.detached_partitions import attached_from

STEP: Final = 2_000_000  # ids counted in one transaction
# Age of a usable mark: a transaction gets an id a moment before PostgreSQL numbers the transaction itself.
SETTLE: Final = timedelta(seconds=30)

_CREATE_MARK = (
    "INSERT INTO ledger_marks (id, counted_to, drawn_to, drawn_before) VALUES (1, 0, 0, 0) ON CONFLICT DO NOTHING"
)
# Locks the row: of two workers, the second waits and then finds nothing to count. Transactions are numbered across the
# server; a long one in another database must not stop the count.
_LOCK_MARK = """
    SELECT counted_to, drawn_to, drawn_before, drawn_at, coalesce(
        (
            SELECT min(open.number::text::bigint)
            FROM pg_snapshot_xip(pg_current_snapshot()) AS open (number)
            JOIN pg_stat_activity ON backend_xid = open.number::xid AND datname = current_database()
        ),
        pg_snapshot_xmax(pg_current_snapshot())::text::bigint
    )
    FROM ledger_marks WHERE id = 1 FOR UPDATE
"""
_HIGHEST_ID = "SELECT coalesce(max(id), %(first)s) FROM ledger_transfers WHERE id > %(first)s"
# Read after `_HIGHEST_ID`, never with it: every transaction that holds a smaller id has a smaller number than this.
_NEXT_TRANSACTION = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
_COUNT = """
    INSERT INTO ledger_days AS days (day, kind, debit_account, credit_account, rows, amount)
    SELECT (date AT TIME ZONE 'UTC')::date, kind, debit_account, credit_account, count(*), sum(amount)
    FROM ledger_transfers WHERE id > %(first)s AND id <= %(last)s
    GROUP BY 1, 2, 3, 4
    ON CONFLICT (day, kind, debit_account, credit_account)
    DO UPDATE SET rows = days.rows + excluded.rows, amount = days.amount + excluded.amount
"""


@dataclass(frozen=True, slots=True)
class LedgerCountResult:
    """Up to which id the days are counted, and whether settled ids remain."""

    counted_to: int
    more: bool


@primary_reads()
def update_ledger_days(*, deadline: float | None = None, settle: timedelta | None = SETTLE) -> LedgerCountResult:
    """Count what was booked before the last mark, in steps, until `deadline` (of `time.monotonic`); set a new mark.

    The next round counts what was booked after the last mark. With `settle=None` the caller guarantees that nothing
    else writes to the ledger, and open transactions are ignored.
    """
    while True:
        result = _count_step(settle)
        if not result.more or (deadline is not None and time.monotonic() >= deadline):
            return result


def _count_step(settle: timedelta | None) -> LedgerCountResult:
    now = timezone.now()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_CREATE_MARK)
        cursor.execute(_LOCK_MARK)
        counted_to, high_water_mark, open_before, marked_at, oldest_open = cursor.fetchone()
        # Every transaction that was open when the mark was set has ended: no smaller id can appear any more.
        settled = settle is None or marked_at is None or (oldest_open >= open_before and marked_at <= now - settle)
        if settled and counted_to < high_water_mark:
            last = min(counted_to + STEP, high_water_mark)
            cursor.execute(_COUNT, {"first": counted_to, "last": last})
            counted_to = last
        more, counted_at = settled and counted_to < high_water_mark, None
        if settled and not more:
            counted_at = marked_at
            cursor.execute(_HIGHEST_ID, {"first": counted_to})
            high_water_mark, marked_at = cursor.fetchone()[0], now
            cursor.execute(_NEXT_TRANSACTION)
            open_before = cursor.fetchone()[0]
        cursor.execute(
            "UPDATE ledger_marks SET counted_to = %s, drawn_to = %s, drawn_before = %s, drawn_at = %s, "
            "counted_at = coalesce(%s, counted_at) WHERE id = 1",
            [counted_to, high_water_mark, open_before, marked_at, counted_at],
        )
    return LedgerCountResult(counted_to, more)


@primary_reads()
def recount_ledger_days() -> None:
    """Count the whole ledger again, at the cost of its size; meanwhile the dashboards show the count as it grows.

    The days of detached months stay.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_CREATE_MARK)
        cursor.execute(_LOCK_MARK)
        cursor.execute(
            "UPDATE ledger_marks SET counted_to = 0, drawn_to = 0, drawn_at = NULL, counted_at = NULL WHERE id = 1"
        )
        first = attached_from(LedgerTransfer._meta.db_table) or date.min
        cursor.execute("DELETE FROM ledger_days WHERE day >= %s", [first])
    update_ledger_days()
