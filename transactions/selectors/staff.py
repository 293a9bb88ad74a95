"""Reads for staff: transactions of everybody, people, the journal. Every list is bounded, whatever the size of its
table.

A list of transactions looks at no more than `NUMBERED_ROWS_MAX` rows that fit what an index can answer (status, person, time) and
filters those by the rest; `capped` says that there were more.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import QuerySet
from django.db.models.functions import Lower

from kamioi_site.pagination import NUMBERED_ROWS_MAX
from transactions.models import Transaction, User
from transactions.rules.merchant_key import normalise

Status = Transaction.Status


@dataclass(frozen=True, slots=True)
class Found:
    """A page of rows as dictionaries, and how many rows fit in all; `capped` when no further was looked."""

    rows: list[dict[str, Any]]
    total: int
    capped: bool


@dataclass(frozen=True, slots=True)
class StaffTransactionFilter:
    """Which transactions. `search` is a part of the merchant's name, or a whole e-mail; money is in dollars."""

    statuses: Sequence[str] = ()
    search: str = ""
    account_type: str = ""
    since: datetime | None = None
    until: datetime | None = None
    category: str = ""
    min_amount: Decimal | None = None
    max_amount: Decimal | None = None


@dataclass(slots=True)
class _Where:
    """Conditions of a statement and their values."""

    parts: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)

    def add(self, condition: str, **values: Any) -> None:
        self.parts.append(condition)
        self.values |= values

    @property
    def sql(self) -> str:
        return " AND ".join(self.parts) or "true"


_COLUMNS = """rows.id, rows.user_id, rows.date, rows.merchant, rows.amount, rows.category, rows.description, rows.investable,
           rows.round_up, rows.fee, rows.total_debit, rows.ticker, rows.shares, rows.price_per_share, rows.status,
           rows.failure_reason, rows.created_at"""
# The window is what indexes answer, newest first; the person and the rest of the filter come after it. The counts come
# with the rows, and without them where there are none.
_PAGE = """,
    fitting AS MATERIALIZED (
        SELECT rows.*, users.email, users.name, users.account_type, users.is_staff
        FROM seen AS rows JOIN users ON users.id = rows.user_id WHERE {after}
    )
    SELECT (SELECT count(*) FROM seen) AS looked_at, (SELECT count(*) FROM fitting) AS total, page.*
    FROM (VALUES (1)) AS one LEFT JOIN LATERAL (
        SELECT * FROM fitting ORDER BY created_at DESC, id DESC LIMIT %(limit)s OFFSET %(skip)s
    ) AS page ON true
"""
_WINDOW = """
    WITH seen AS MATERIALIZED (
        SELECT {columns} FROM transactions AS rows WHERE {inside} ORDER BY rows.created_at DESC LIMIT %(window)s
    )
"""
# One status after the other: what waits is found by its own index, and sorted within the window only.
_WAITING_WINDOW = """
    WITH seen AS MATERIALIZED (
        (SELECT {columns} FROM transactions AS rows WHERE rows.status = 'pending' AND {inside} LIMIT %(window)s)
        UNION ALL
        (SELECT {columns} FROM transactions AS rows WHERE rows.status = 'needs_review' AND {inside} LIMIT %(window)s)
    )
"""


def transactions_page(chosen: StaffTransactionFilter, *, page: int, limit: int) -> Found:
    """Transactions of everybody, the newest to arrive first."""
    inside, after = _Where(), _Where()
    if chosen.statuses:
        inside.add("rows.status = ANY (%(statuses)s)", statuses=list(chosen.statuses))
    _times(inside, chosen)
    if "@" in chosen.search:
        person = User.objects.annotate(lower=Lower("email")).filter(lower=chosen.search.lower()).values_list("pk")
        inside.add("rows.user_id = ANY (%(people)s)", people=[row[0] for row in person[:1]])
    elif chosen.search:
        after.add("rows.merchant ILIKE %(search)s", search=f"%{_literal(chosen.search)}%")
    _rest(after, chosen)
    return _found(_WINDOW, inside, after, page=page, limit=limit)


def transactions_waiting_page(chosen: StaffTransactionFilter, *, page: int, limit: int) -> Found:
    """Transactions that are not processed, or whose merchant waits for a decision, the newest to arrive first."""
    inside, after = _Where(), _Where()
    if chosen.search:
        # The key of the whole name goes by an index; parts of a name are looked for in the window.
        key = normalise(chosen.search)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT EXISTS (SELECT 1 FROM transactions WHERE merchant_key = %s AND status = 'needs_review')", [key]
            )
            known = bool(key) and cursor.fetchone()[0]
        if known:
            inside.add("rows.merchant_key = %(key)s", key=key)
        else:
            after.add("rows.merchant ILIKE %(search)s", search=f"%{_literal(chosen.search)}%")
    _rest(after, chosen)
    return _found(_WAITING_WINDOW, inside, after, page=page, limit=limit)


def _times(where: _Where, chosen: StaffTransactionFilter) -> None:
    if chosen.since:
        where.add("rows.date >= %(since)s", since=chosen.since)
    if chosen.until:
        where.add("rows.date < %(until)s", until=chosen.until)


def _rest(where: _Where, chosen: StaffTransactionFilter) -> None:
    if chosen.account_type:
        where.add("users.account_type = %(account_type)s", account_type=chosen.account_type)
    if chosen.category:
        where.add("rows.category ILIKE %(category)s", category=_literal(chosen.category))
    if chosen.min_amount is not None:
        where.add("rows.amount >= %(min_amount)s", min_amount=chosen.min_amount)
    if chosen.max_amount is not None:
        where.add("rows.amount <= %(max_amount)s", max_amount=chosen.max_amount)


def _found(window: str, inside: _Where, after: _Where, *, page: int, limit: int) -> Found:
    statement = window.format(columns=_COLUMNS, inside=inside.sql) + _PAGE.format(after=after.sql)
    values = inside.values | after.values | {"window": NUMBERED_ROWS_MAX, "limit": limit, "skip": (page - 1) * limit}
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        names = [column.name for column in cursor.description]
        found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    looked_at, total = found[0]["looked_at"], found[0]["total"]
    return Found([row for row in found if row["id"] is not None], total, capped=looked_at >= NUMBERED_ROWS_MAX)


def _literal(text: str) -> str:
    """The text with nothing in it that LIKE reads as a pattern."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


# --- People -----------------------------------------------------------------------------------------------------
def people(*, search: str = "", account_type: str = "") -> QuerySet[User, User]:
    """People in no order; `search` is a whole e-mail, an account number, or an id."""
    found = User.objects.all()
    if account_type:
        found = found.filter(account_type=account_type)
    if not search:
        return found
    if "@" in search:
        return found.annotate(lower=Lower("email")).filter(lower=search.lower())
    if search.isascii() and search.isdigit() and len(search) < 19:
        return found.filter(pk=int(search))
    return found.filter(account_number=search)
