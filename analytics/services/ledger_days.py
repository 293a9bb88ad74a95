"""The ledger by day, kind and accounts, kept up to date by what was added since the last count.

The ledger is append-only, so its days need no recount: rows are taken up in the order of their ids. Rules that hold here:

* An id is drawn before its row is committed, so the newest ids are not final. A round notes how far ids have been drawn
  and which transactions were under way; the next rounds count up to there once all of those have ended.
* The figures and the mark "counted up to this id" are written in one transaction: killed or run twice, nothing is counted twice.
* Rows that a synchronisation with the legacy system replaces (opening balances) are made right by `recount_ledger_days`.
"""

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from django.db import connection, transaction
from django.utils import timezone

from kamioi_site.db.replica import primary_reads

STEP: Final = 2_000_000
"""Ids taken up by one transaction."""
SETTLE: Final = timedelta(seconds=30)
"""A mark rests this long: a transaction draws an id a moment before PostgreSQL numbers the transaction itself."""

_MAKE = "INSERT INTO ledger_marks (id, counted_to, drawn_to, drawn_before) VALUES (1, 0, 0, 0) ON CONFLICT DO NOTHING"
# The row is locked first: of two workers the second waits and then finds nothing left.
_MARK = """
    SELECT counted_to, drawn_to, drawn_before, drawn_at, pg_snapshot_xmin(pg_current_snapshot())::text::bigint
    FROM ledger_marks WHERE id = 1 FOR UPDATE
"""
_DRAWN = "SELECT coalesce(max(id), 0) FROM ledger_transfers"
# Asked after `_DRAWN`, never with it: whoever drew a smaller id has a smaller number than this.
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
class LedgerCounted:
    """What a round did: up to which id the days are counted, and whether settled ids are left for the next round."""

    counted_to: int
    more: bool


@primary_reads()
def update_ledger_days(*, deadline: float | None = None, settle: timedelta = SETTLE) -> LedgerCounted:
    """Take up what was booked before the last mark, in steps, until `deadline` (of `time.monotonic`); then set a new mark.

    What was booked after the last mark is counted by the next round.
    """
    while True:
        done = _step(settle)
        if not done.more or (deadline is not None and time.monotonic() >= deadline):
            return done


def _step(settle: timedelta) -> LedgerCounted:
    now = timezone.now()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_MAKE)
        cursor.execute(_MARK)
        counted_to, drawn_to, drawn_before, drawn_at, oldest_running = cursor.fetchone()
        # Everything that ran when the mark was set has ended: up to there nothing can appear any more.
        settled = drawn_at is None or (oldest_running >= drawn_before and drawn_at <= now - settle)
        if settled and counted_to < drawn_to:
            last = min(counted_to + STEP, drawn_to)
            cursor.execute(_COUNT, {"first": counted_to, "last": last})
            counted_to = last
        more, counted_at = settled and counted_to < drawn_to, None
        if settled and not more:
            counted_at = drawn_at
            cursor.execute(_DRAWN)
            drawn_to, drawn_at = cursor.fetchone()[0], now
            cursor.execute(_NEXT_TRANSACTION)
            drawn_before = cursor.fetchone()[0]
        cursor.execute(
            "UPDATE ledger_marks SET counted_to = %s, drawn_to = %s, drawn_before = %s, drawn_at = %s, "
            "counted_at = coalesce(%s, counted_at) WHERE id = 1",
            [counted_to, drawn_to, drawn_before, drawn_at, counted_at],
        )
    return LedgerCounted(counted_to, more)


@primary_reads()
def recount_ledger_days() -> None:
    """Count the whole ledger anew. Its cost follows the size of the ledger; the dashboards show it as it grows."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_MAKE)
        cursor.execute(_MARK)
        cursor.execute(
            "UPDATE ledger_marks SET counted_to = 0, drawn_to = 0, drawn_at = NULL, counted_at = NULL WHERE id = 1"
        )
        cursor.execute("DELETE FROM ledger_days")
    update_ledger_days()
