"""A customer's transactions: the latest, filtered pages by cursor, and everything as CSV.

Filters on dates are a range of the index (user_id, date). Filters on status, ticker and merchant scan the customer's
own rows, at most `SCAN_ROWS` per page, so no filter costs more than that. A page may therefore be short while more rows
follow. Amounts are dollars (`Decimal`), times aware UTC.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from hashlib import blake2b
from operator import attrgetter
from typing import Annotated, Any, Final, Literal, TypedDict, cast

from django.db.models import Q, QuerySet

from kamioi_site.db.prepared import prepared_statement
from kamioi_site.http.downloads import csv_line
from kamioi_site.pagination import Keyset, Page, ResidualFilter, decode_cursor, encode_cursor, keyset_page
from transactions.migration_phase import KAMIOI, ReadSource
from transactions.models import Transaction, User
from transactions.models.transactions import TransactionQuerySet

NO_PURCHASE: Final = "No matching purchase."
NEWEST = 100  # rows in the lists of the legacy front end
_CSV_PAGE_ROWS: Final = 2_000
_KEYSET: Final = Keyset("-date", "-id")


class TransactionFields(TypedDict):
    """What every list of transactions contains: `amount` has no sign, `type` is "purchase" or "refund"."""

    id: int
    merchant: str
    amount: Decimal
    date: datetime
    category: str
    description: str
    roundup: Decimal
    round_up: Decimal
    investable: Decimal
    total_debit: Decimal
    fee: Decimal
    ticker: str | None
    shares: Decimal | None
    price_per_share: Decimal | None
    stock_price: Decimal | None
    type: Annotated[str, Literal["purchase", "refund"]]
    failure_reason: str
    related_id: Annotated[int | None, "The purchase that this refund gives back, or the refund of this purchase."]


class TransactionRow(TransactionFields):
    """A transaction in the API."""

    status: Annotated[str, Transaction.Status]


TRANSACTION_FIELDS: Final = (
    *("id", "merchant", "amount", "date", "category", "description", "round_up", "investable", "total_debit", "fee"),
    *("status", "ticker", "shares", "price_per_share", "failure_reason", "related_id"),
)
_COLUMNS: Final = ", ".join(TRANSACTION_FIELDS)
_field_values: Final = attrgetter(*TRANSACTION_FIELDS)
_NEWEST: Final = f"SELECT {_COLUMNS} FROM transactions WHERE user_id = %s ORDER BY date DESC, id DESC LIMIT %s"  # noqa: S608


def to_transaction_row(values: Sequence[Any]) -> TransactionRow:
    """Return the transaction with these values of `TRANSACTION_FIELDS`."""
    row = dict(zip(TRANSACTION_FIELDS, values, strict=True))
    if row["amount"] < 0:
        row["type"], row["amount"] = "refund", -row["amount"]
        if row["status"] == Transaction.Status.REFUNDED and row["related_id"] is None:
            row["failure_reason"] = NO_PURCHASE
    else:
        row["type"] = "purchase"
    row["roundup"], row["stock_price"] = row["round_up"], row["price_per_share"]
    return cast("TransactionRow", row)


def transaction_row(transaction: Transaction) -> TransactionRow:
    return to_transaction_row(_field_values(transaction))


def transaction_rows(transactions: Iterable[Transaction]) -> list[TransactionRow]:
    return [transaction_row(transaction) for transaction in transactions]


def transactions_of(user: User) -> TransactionQuerySet:
    """Return the customer's transactions, unordered."""
    return Transaction.objects.filter(user=user)


def newest_transactions(user: User, source: ReadSource = KAMIOI) -> list[TransactionRow]:
    """Return the latest hundred."""
    legacy_rows = source.legacy.transactions(NEWEST) if source.legacy else None
    if legacy_rows is not None:
        return transaction_rows(legacy_rows)
    with prepared_statement(_NEWEST, [user.pk, NEWEST]) as cursor:
        return list(map(to_transaction_row, cursor.fetchall()))


@dataclass(frozen=True, slots=True)
class TransactionFilter:
    """A filter over transactions; None and empty values do not filter. `start` is inclusive, `end` exclusive."""

    start: datetime | None = None
    end: datetime | None = None
    status: str = ""
    ticker: str = ""
    merchant: str = ""  # part of the merchant's name, case-insensitive

    @property
    def key(self) -> str:
        """Identify this filter in cursors and cache keys; empty when nothing is filtered."""
        values = (self.start, self.end, self.status, self.ticker, self.merchant)  # `astuple` copies, and is slow
        return blake2b(repr(values).encode(), digest_size=9).hexdigest() if any(values) else ""

    def rows(self, user: User) -> QuerySet[Transaction, Transaction]:
        """Return the customer's rows in the date range, which the index serves."""
        dates = Q()
        if self.start:
            dates &= Q(date__gte=self.start)
        if self.end:
            dates &= Q(date__lt=self.end)
        return Transaction.objects.filter(dates, user=user)

    @property
    def residual(self) -> ResidualFilter | None:
        """Return the part of the filter that no index serves."""
        conditions = {
            "status = %s": self.status,
            "ticker = %s": self.ticker,
            "strpos(lower(merchant), lower(%s)) > 0": self.merchant,
        }
        active = {condition: value for condition, value in conditions.items() if value}
        return ResidualFilter(" AND ".join(active), tuple(active.values())) if active else None


def transactions_page(user: User, filters: TransactionFilter, *, cursor: str | None, limit: int) -> Page[Transaction]:
    """Return one page, newest first. A cursor is only valid for the customer and filter that it was issued for."""
    return keyset_page(
        filters.rows(user),
        time_field="date",
        cursor=cursor,
        limit=limit,
        scope=_cursor_scope(user, filters),
        residual=filters.residual,
    )


def transaction_page_rows(
    user: User, filters: TransactionFilter, *, cursor: str | None, limit: int
) -> tuple[list[TransactionRow], str | None]:
    """Return the rows of one page and the next cursor, like `transactions_page` but without model instances."""
    if filters.residual is not None:
        page = transactions_page(user, filters, cursor=cursor, limit=limit)
        return transaction_rows(page.rows), page.next_cursor
    scope = _cursor_scope(user, filters)
    conditions: list[str] = ["user_id = %s"]
    values: list[Any] = [user.pk]
    if filters.start:
        conditions, values = [*conditions, "date >= %s"], [*values, filters.start]
    if filters.end:
        conditions, values = [*conditions, "date < %s"], [*values, filters.end]
    if cursor:
        last_date, last_id = decode_cursor(cursor, scope)
        condition, parameters = _KEYSET.after_sql([datetime.fromisoformat(last_date), last_id])
        conditions, values = [*conditions, condition], [*values, *parameters]
    where = " AND ".join(conditions)
    sql = f"SELECT {_COLUMNS} FROM transactions WHERE {where} ORDER BY date DESC, id DESC LIMIT %s"  # noqa: S608
    with prepared_statement(sql, [*values, limit + 1]) as query:
        rows = list(map(to_transaction_row, query.fetchall()))
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]
    return rows[:limit], encode_cursor([last["date"], last["id"]], scope)


def _cursor_scope(user: User, filters: TransactionFilter) -> str:
    return f"transactions:{user.pk}:{filters.key}" if filters.key else f"transactions:{user.pk}"


_CSV_COLUMNS: Final = (
    *("id", "date", "merchant", "category", "description", "type", "amount", "round_up", "fee", "total_debit"),
    *("investable", "status", "ticker", "shares", "price_per_share"),
)


def transactions_csv(user: User, filters: TransactionFilter) -> Iterator[str]:
    """Yield the filtered transactions as CSV lines, newest first.

    Each page is a separate query: no connection or cursor stays open in between, and memory is that of one page.
    """
    yield csv_line(_CSV_COLUMNS)
    cursor: str | None = None
    while True:
        page = transactions_page(user, filters, cursor=cursor, limit=_CSV_PAGE_ROWS)
        for row in transaction_rows(page.rows):
            values: dict[str, Any] = {**row, "date": row["date"].isoformat()}
            yield csv_line([values[column] for column in _CSV_COLUMNS])
        if page.next_cursor is None:
            return
        cursor = page.next_cursor
