"""Reads for staff: all users' transactions, and users. Every list is bounded, whatever the size of its table.

A list of transactions takes at most `NUMBERED_ROWS_MAX` rows that match what an index can filter by (status, user,
time), and filters those by the rest; `capped` marks that there may be more.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.contrib.auth.models import Permission
from django.db import connection
from django.db.models import QuerySet

from kamioi_site.db.distribution import limits_per_shard
from kamioi_site.pagination import NUMBERED_ROWS_MAX
from transactions.models import Transaction, User
from transactions.rules.merchant_key import normalise

_STAFF_MAX: Final = 500  # listed members of staff


@dataclass(frozen=True, slots=True)
class StaffTransactionPage:
    """A page of rows as dictionaries and the total; `capped` when the total covers only the window."""

    rows: list[dict[str, Any]]
    total: int
    capped: bool


@dataclass(frozen=True, slots=True)
class StaffTransactionFilter:
    """Which transactions to list. `search` is part of the merchant's name, or a whole e-mail; amounts are dollars."""

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


_COLUMNS = """rows.id, rows.user_id, rows.date, rows.merchant, rows.amount, rows.category, rows.description,
           rows.investable, rows.round_up, rows.fee, rows.total_debit, rows.ticker, rows.shares, rows.price_per_share,
           rows.status, rows.failure_reason, rows.related_id, rows.created_at"""
# One status after the other, because the index of the days begins with it.
_WINDOW = """
    WITH candidates AS MATERIALIZED (
        SELECT newest.*
        FROM unnest(%(statuses)s::text[]) AS listed (status)
        CROSS JOIN LATERAL (
            SELECT {columns} FROM transactions AS rows WHERE rows.status = listed.status AND {indexed}
            ORDER BY rows.date DESC, rows.id DESC LIMIT %(window)s
        ) AS newest
        ORDER BY newest.date DESC, newest.id DESC LIMIT %(window)s
    )
"""
# An index finds the waiting rows of each status, and only the window is sorted.
_WAITING_WINDOW = """
    WITH candidates AS MATERIALIZED (
        (SELECT {columns} FROM transactions AS rows WHERE rows.status = 'pending' AND {indexed} LIMIT %(window)s)
        UNION ALL
        (SELECT {columns} FROM transactions AS rows WHERE rows.status = 'needs_review' AND {indexed} LIMIT %(window)s)
    )
"""
# The counts come with the rows; the outer join returns them when there is no row.
_PAGE = """,
    matches AS MATERIALIZED (
        SELECT rows.*, users.email, users.name, users.account_type, users.is_staff
        FROM candidates AS rows JOIN users ON users.id = rows.user_id WHERE {residual}
    )
    SELECT (SELECT count(*) FROM candidates) AS scanned, (SELECT count(*) FROM matches) AS total, page.*
    FROM (VALUES (1)) AS one LEFT JOIN LATERAL (
        SELECT * FROM matches ORDER BY date DESC, id DESC LIMIT %(limit)s OFFSET %(offset)s
    ) AS page ON true
"""


def transactions_page(filters: StaffTransactionFilter, *, page: int, limit: int) -> StaffTransactionPage:
    """Return all users' transactions, newest first."""
    indexed, residual = _Where(values={"statuses": list(filters.statuses or Transaction.Status.values)}), _Where()
    if filters.since:
        indexed.add("rows.date >= %(since)s", since=filters.since)
    if filters.until:
        indexed.add("rows.date < %(until)s", until=filters.until)
    if "@" in filters.search:
        users = User.objects.with_email(filters.search)
        indexed.add("rows.user_id = ANY (%(users)s)", users=list(users.values_list("pk", flat=True)[:1]))
    elif filters.search:
        residual.add("rows.merchant ILIKE %(search)s", search=f"%{escape_like(filters.search)}%")
    _add_residual(residual, filters)
    with limits_per_shard():
        return _run(_WINDOW, indexed, residual, page=page, limit=limit)


def transactions_waiting_page(filters: StaffTransactionFilter, *, page: int, limit: int) -> StaffTransactionPage:
    """Return transactions that are pending or whose merchant awaits a decision, newest first."""
    indexed, residual = _Where(), _Where()
    if filters.search:
        # An index serves the key of a whole name; parts of a name are searched within the window.
        key = normalise(filters.search)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT EXISTS (SELECT 1 FROM transactions WHERE merchant_key = %s AND status = 'needs_review')", [key]
            )
            key_exists = bool(key) and cursor.fetchone()[0]
        if key_exists:
            indexed.add("rows.merchant_key = %(key)s", key=key)
        else:
            residual.add("rows.merchant ILIKE %(search)s", search=f"%{escape_like(filters.search)}%")
    _add_residual(residual, filters)
    return _run(_WAITING_WINDOW, indexed, residual, page=page, limit=limit)


def _add_residual(where: _Where, filters: StaffTransactionFilter) -> None:
    if filters.account_type:
        where.add("users.account_type = %(account_type)s", account_type=filters.account_type)
    if filters.category:
        where.add("rows.category ILIKE %(category)s", category=escape_like(filters.category))
    if filters.min_amount is not None:
        where.add("rows.amount >= %(min_amount)s", min_amount=filters.min_amount)
    if filters.max_amount is not None:
        where.add("rows.amount <= %(max_amount)s", max_amount=filters.max_amount)


def _run(window: str, indexed: _Where, residual: _Where, *, page: int, limit: int) -> StaffTransactionPage:
    sql = window.format(columns=_COLUMNS, indexed=indexed.sql) + _PAGE.format(residual=residual.sql)
    values = (
        indexed.values | residual.values | {"window": NUMBERED_ROWS_MAX, "limit": limit, "offset": (page - 1) * limit}
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        names = [column.name for column in cursor.description]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    scanned, total = rows[0]["scanned"], rows[0]["total"]
    return StaffTransactionPage(
        [row for row in rows if row["id"] is not None], total, capped=scanned >= NUMBERED_ROWS_MAX
    )


def escape_like(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def search_users(*, search: str = "", account_type: str = "") -> QuerySet[User, User]:
    """Return users, unordered; `search` is a whole e-mail, an account number, or an id."""
    users = User.objects.with_email(search) if "@" in search else User.objects.all()
    if account_type:
        users = users.filter(account_type=account_type)
    if not search or "@" in search:
        return users
    if search.isascii() and search.isdigit() and len(search) < 19:
        return users.filter(pk=int(search))
    return users.filter(account_number=search)


def staff_members() -> list[tuple[User, frozenset[str]]]:
    """Return the accounts of staff with their permissions (`app.name`), newest first; a superuser needs none."""

    def names(permissions: Iterable[Permission]) -> set[str]:
        return {f"{permission.content_type.app_label}.{permission.codename}" for permission in permissions}

    users = User.objects.filter(is_staff=True).order_by("-pk")[:_STAFF_MAX]
    related = ("groups__permissions__content_type", "user_permissions__content_type")
    return [
        (
            user,
            frozenset(
                names(user.user_permissions.all()).union(*(names(g.permissions.all()) for g in user.groups.all()))
            ),
        )
        for user in users.prefetch_related(*related)
    ]
