"""How every selector of analytics reads: from the replica, with a statement timeout.

Figures of a period come from the rollups (`analytics.models`, `migrations/sql/0001_views.sql`), whose size follows
days, not rows. All-time figures add the changes that the rollups have not consumed yet (`*_deltas`). Everything else
is read through an index, up to a limit that the selector names. A query that exceeds `STATEMENT_TIMEOUT_MS` raises
an error, so no page hangs. Amounts are `Decimal` dollars, days are UTC.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

from kamioi_site.db import replica

STATEMENT_TIMEOUT_MS: Final = 3_000


@contextmanager
def read_cursor() -> Iterator[replica.TimeoutCursor]:
    """Open a cursor on the replica whose statements time out."""
    with replica.read_cursor(milliseconds=STATEMENT_TIMEOUT_MS) as cursor:
        yield cursor


def fetch_rows(sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
    """Return all rows of a query."""
    with read_cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()


def rollups_refreshed_at() -> datetime | None:
    """Return when the rollups of transactions and mappings were last refreshed; None before the first time."""
    return fetch_rows("SELECT max(looked_at) FROM rollup_partitions")[0][0]


def ledger_counted_at() -> datetime | None:
    """Return the moment up to which `ledger_days` is complete; None before the first count."""
    rows = fetch_rows("SELECT counted_at FROM ledger_marks WHERE id = 1")
    return rows[0][0] if rows else None
