"""What a customer sees while the legacy system still answers them: read from its file, in the shapes of the API.

The waffle flag `kamioi_reads` decides for whom. Without a migration under way there is no flag, and this costs nothing.
"""

import logging
import sqlite3
import zlib
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from typing import Any, TypeVar

from django.db import connection
from django.db.models.signals import m2m_changed, post_delete, post_save
from django.utils import timezone
from waffle import get_waffle_flag_model

from kamioi_site.cache.namespaces import invalidate_cache
from kamioi_site.errors import KamioiError
from transactions.cache import READS_GENERATION
from transactions.legacy import rules
from transactions.legacy.state import READS_FLAG, state_read
from transactions.models import Notification, Transaction, User

logger = logging.getLogger(__name__)

T = TypeVar("T")

_no_flag_under: str | None = None


def _flag_changed(**_: Any) -> None:
    invalidate_cache(READS_GENERATION)


def connect() -> None:
    """Watch the flag."""
    flag: Any = get_waffle_flag_model()
    for sender in (flag, flag.users.through, flag.groups.through):
        for change in (post_save, post_delete, m2m_changed):
            change.connect(_flag_changed, sender=sender, dispatch_uid=f"legacy reads {change!r}")


def reads_from_kamioi(user: User, *, generation: str = "") -> bool:
    """Whether this customer is answered from Kamioi's own data.

    Args:
        generation: the present one of `READS_GENERATION`, where the caller knows it: then that there is no flag is
            asked once for each.

    The flag's percentage is of customers, not of requests as django-waffle has it (front ends carry no cookies): each stays on
    the same side, and a larger percentage only adds some.
    """
    global _no_flag_under  # noqa: PLW0603  # a fact about the process
    if generation:
        if generation == _no_flag_under:
            return True
        if not get_waffle_flag_model().objects.filter(name=READS_FLAG).exists():
            _no_flag_under = generation
            return True
    flag = get_waffle_flag_model().get(READS_FLAG)
    if flag.pk is None:
        return True
    decided = flag.is_active_for_user(user)
    return (
        zlib.crc32(f"{READS_FLAG}:{user.pk}".encode()) % 1000 < (flag.percent or 0) * 10
        if decided is None
        else bool(decided)
    )


def from_legacy(user: User, read: Callable[[User, sqlite3.Connection, int], T]) -> T | None:
    """What `read` makes of the legacy file, if this customer is still answered from it; else None.

    None too when the file cannot be read now: Kamioi's own copy is seconds behind at most.
    """
    if reads_from_kamioi(user):
        return None
    state = state_read()
    if state is None or state.phase not in ("legacy", "rolled back"):
        return None
    with connection.cursor() as cursor:
        cursor.execute("SELECT legacy_id FROM legacy_ids WHERE source_table = 'users' AND user_id = %s", [user.pk])
        found = cursor.fetchone()
    if found is None:
        return None
    try:
        with closing(sqlite3.connect(f"{state.path.as_uri()}?mode=ro", uri=True, timeout=1)) as source:
            source.text_factory = bytes
            return read(user, source, found[0])
    except (sqlite3.Error, KamioiError) as error:
        logger.warning("the legacy file cannot be read, Kamioi's copy answers: %s", error)
        return None


def _rows(source: sqlite3.Connection, sql: str, *parameters: Any) -> list[tuple[int, dict[str, Any]]]:
    cursor = source.execute(sql, parameters)
    names = [column[0] for column in cursor.description]
    return [(row[0], dict(zip(names[1:], row[1:], strict=True))) for row in cursor.fetchall()]


def transactions(user: User, source: sqlite3.Connection, legacy_id: int, limit: int) -> list[Transaction]:
    """The newest purchases, converted as `copy` would do it; never saved."""
    from transactions.legacy.columns import batch_of_rows  # noqa: PLC0415  # Arrow is loaded only when it is needed
    from transactions.legacy.source import LegacyTable  # noqa: PLC0415
    from transactions.legacy.tables import TRANSACTIONS, Ids, MerchantKeys, transactions_convert  # noqa: PLC0415

    rows = _rows(
        source,
        "SELECT rowid, * FROM transactions WHERE user_id = ? ORDER BY date DESC, rowid DESC LIMIT ?",
        legacy_id,
        limit,
    )
    if not rows:
        return []
    names = tuple(rows[0][1])
    table = LegacyTable("transactions", names, ("",) * len(names), ("id",), True)
    converted = transactions_convert(
        batch_of_rows(table, TRANSACTIONS, rows),
        users=Ids([(legacy_id, user.pk)]),
        keys=MerchantKeys(),
        now=timezone.now(),
    )
    made = [Transaction(**row) for row in converted.to_pylist()]
    return sorted(made, key=lambda row: (row.date, row.pk), reverse=True)


def notifications(user: User, source: sqlite3.Connection, legacy_id: int, limit: int) -> list[Notification]:
    """The newest messages; never saved."""
    return [
        Notification(
            id=rowid,
            user=user,
            title=(rules.text(row.get("title"))[0] or "")[:120],
            message=rules.text(row.get("message"))[0] or "",
            type=rules.text(row.get("type"))[0] or "info",
            read=_is_true(row.get("read")),
            created_at=_when(row.get("created_at")),
        )
        for rowid, row in _rows(
            source, "SELECT rowid, * FROM notifications WHERE user_id = ? ORDER BY rowid DESC LIMIT ?", legacy_id, limit
        )
    ]


def holdings(_: User, source: sqlite3.Connection, legacy_id: int) -> list[tuple[str, Decimal, Decimal]]:
    """(ticker, shares, cost) of each company."""
    owned: dict[str, tuple[Decimal, Decimal]] = {}
    for _rowid, row in _rows(source, "SELECT rowid, * FROM portfolios WHERE user_id = ?", legacy_id):
        ticker = rules.ticker(row.get("ticker"))
        try:
            shares = Decimal(repr(rules.number(row.get("shares")) or 0.0)).quantize(Decimal("1e-8"))
            price = Decimal(repr(rules.number(row.get("average_price")) or 0.0))
        except rules.Unreadable:
            continue
        cost = (shares * price).quantize(Decimal("0.01"))
        if ticker and shares > 0 and cost > 0:
            before = owned.get(ticker, (Decimal(0), Decimal(0)))
            owned[ticker] = (before[0] + shares, before[1] + cost)
    return [(ticker, shares, cost) for ticker, (shares, cost) in sorted(owned.items())]


def _is_true(value: Any) -> bool:
    try:
        return rules.boolean(value) == 1
    except rules.Unreadable:
        return False


def _when(value: Any) -> Any:
    try:
        return rules.moment(value) or timezone.now()
    except rules.Unreadable:
        return timezone.now()
