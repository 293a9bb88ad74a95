"""A customer's transactions, filtered: pages by cursor, and the whole as CSV.

Dates are a range of the index (user_id, date). Status, ticker and merchant are looked for among the customer's own rows,
`SCAN_ROWS` of them a page at most, so no filter costs more than that; a page may be short while there are more.
"""

from collections.abc import Iterator
from dataclasses import astuple, dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final

from django.db.models import Q, QuerySet

from kamioi_site.api.views import Page, ResidualFilter, decode_cursor, encode_cursor, keyset_page
from kamioi_site.db.prepared import prepared_statement
from kamioi_site.http.downloads import csv_line
from transactions.models import Transaction, User
from transactions.selectors.customer import SHOWN, TransactionRow, rows_shown, transaction_rows

_EXPORTED_AT_ONCE: Final = 2_000


@dataclass(frozen=True, slots=True)
class TransactionFilter:
    """What is asked for; None and empty ask for everything. `start` is included, `end` is not."""

    start: datetime | None = None
    end: datetime | None = None
    status: str = ""
    ticker: str = ""
    merchant: str = ""
    """Part of the merchant's name, in any case."""

    @property
    def key(self) -> str:
        """Stands for this filter in cursors and cache keys; empty without one."""
        given = astuple(self)
        return blake2b(repr(given).encode(), digest_size=9).hexdigest() if any(given) else ""

    def rows(self, user: User) -> QuerySet[Transaction, Transaction]:
        """The customer's rows of these dates: what the index gives."""
        dates = Q()
        if self.start:
            dates &= Q(date__gte=self.start)
        if self.end:
            dates &= Q(date__lt=self.end)
        return Transaction.objects.filter(dates, user=user)

    @property
    def sieve(self) -> ResidualFilter | None:
        """What has to be looked for among them."""
        given = [
            (condition, value)
            for condition, value in [
                ("status = %s", self.status),
                ("ticker = %s", self.ticker),
                ("strpos(lower(merchant), lower(%s)) > 0", self.merchant),
            ]
            if value
        ]
        if not given:
            return None
        return ResidualFilter(" AND ".join(condition for condition, _ in given), tuple(value for _, value in given))


def transactions_page(user: User, wanted: TransactionFilter, *, cursor: str | None, limit: int) -> Page[Transaction]:
    """One page, newest first. A cursor belongs to the customer and the filter it was made for."""
    return keyset_page(
        wanted.rows(user), time_field="date", cursor=cursor, limit=limit, scope=_scope(user, wanted), sieve=wanted.sieve
    )


def transactions_shown(
    user: User, wanted: TransactionFilter, *, cursor: str | None, limit: int
) -> tuple[list[TransactionRow], str | None]:
    """The rows of one page in the shape of the front ends, and the cursor of the next. As `transactions_page`, without objects."""
    if wanted.sieve is not None:
        page = transactions_page(user, wanted, cursor=cursor, limit=limit)
        return transaction_rows(page.rows), page.next_cursor
    scope = _scope(user, wanted)
    conditions: list[str] = ["user_id = %s"]
    values: list[Any] = [user.pk]
    if wanted.start:
        conditions, values = [*conditions, "date >= %s"], [*values, wanted.start]
    if wanted.end:
        conditions, values = [*conditions, "date < %s"], [*values, wanted.end]
    if cursor:
        at, last_id = decode_cursor(cursor, scope)
        # The plain bound on the time lets PostgreSQL skip the later months; the rest only breaks ties.
        conditions, values = [*conditions, "date <= %s AND (date < %s OR id < %s)"], [*values, at, at, last_id]
    sql = f"SELECT {SHOWN} FROM transactions WHERE {' AND '.join(conditions)} ORDER BY date DESC, id DESC LIMIT %s"  # noqa: S608
    with prepared_statement(sql, [*values, limit + 1]) as query:
        rows = rows_shown(query.fetchall())
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]
    return rows[:limit], encode_cursor(last["date"], last["id"], scope)


def _scope(user: User, wanted: TransactionFilter) -> str:
    """Whose cursor it is, and of which filter."""
    return f"transactions:{user.pk}:{wanted.key}" if wanted.key else f"transactions:{user.pk}"


COLUMNS: Final = (
    "id",
    "date",
    "merchant",
    "category",
    "description",
    "type",
    "amount",
    "round_up",
    "fee",
    "total_debit",
    "investable",
    "status",
    "ticker",
    "shares",
    "price_per_share",
)


def transactions_csv(user: User, wanted: TransactionFilter) -> Iterator[str]:
    """Everything that is asked for, newest first, line by line. Each page is a query of its own: no connection and no
    cursor is held in between, and memory is that of one page.
    """
    yield csv_line(COLUMNS)
    cursor: str | None = None
    while True:
        page = transactions_page(user, wanted, cursor=cursor, limit=_EXPORTED_AT_ONCE)
        for row in page.rows:
            yield csv_line(
                [
                    row.pk,
                    row.date.isoformat(),
                    row.merchant,
                    row.category,
                    row.description,
                    "refund" if row.amount < 0 else "purchase",
                    abs(row.amount),
                    row.round_up,
                    row.fee,
                    row.total_debit,
                    row.investable,
                    row.status,
                    row.ticker,
                    row.shares,
                    row.price_per_share,
                ]
            )
        if page.next_cursor is None:
            return
        cursor = page.next_cursor
