"""Closed periods: months of the books that accept no more postings.

Months are closed in order. `ledger_transfers_period_closed` refuses every posting dated before the end of the last
closed month; it is one constraint of the whole table, so new partitions have it too. Reopening starts with the last
closed month and needs two persons; the database holds that as well.

Bookings of customers carry the day on which they are made, so a closed month never stops one: a batch that runs over
midnight ends long before `CLOSE_DELAY` has passed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from dateutil.relativedelta import relativedelta
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models import Count, Max, Sum
from django.utils import timezone

from kamioi_site.admin.audit_log import audit_log
from kamioi_site.db.distribution import violated_constraint
from kamioi_site.db.partitions import ensure_partitions
from kamioi_site.db.replica import primary_reads
from transactions.errors import PeriodClosedError, PeriodError
from transactions.models import LedgerSeal, LedgerTransfer, PeriodClosing, User
from transactions.rules.money import ZERO
from transactions.services.detached_partitions import attached_from
from transactions.services.ledger_seals import ONE_DAY, start_of
from transactions.services.ledger_verification import find_ledger_problems

CLOSE_DELAY: Final = timedelta(hours=6)
_CONSTRAINT: Final = "ledger_transfers_period_closed"
_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended('close_period', 0))"
_LOCK_NOT_AVAILABLE: Final = "55P03"


def open_from() -> date:
    """Return the first day that accepts postings."""
    last = PeriodClosing.objects.filter(reopened_at=None).aggregate(last=Max("month"))["last"]
    return last + relativedelta(months=1) if last else date.min


@contextmanager
def posting_on(day: date) -> Iterator[None]:
    """Post to the ledger with this date within the block. Raises PeriodClosedError when its month is closed."""
    if day < open_from():
        raise PeriodClosedError(day)
    try:
        yield
    except IntegrityError as error:  # closed since
        if violated_constraint(error) == _CONSTRAINT:
            raise PeriodClosedError(day) from error
        raise


@primary_reads()
def close_period(*, month: date, actor: User | None) -> PeriodClosing:
    """Close a month; a repeated call completes an interrupted one.

    Args:
        actor: None for the command line.

    Raises:
        PermissionDenied: the actor may not close periods.
        PeriodError: with the reason why the month cannot be closed.
    """
    _check_permission(actor, "transactions.close_period")
    month = month.replace(day=1)
    closing = PeriodClosing.objects.filter(month=month, reopened_at=None).first()
    if closing is None:
        _check_closable(month)
        ensure_partitions(LedgerTransfer, [month])
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_LOCK)
            _check_order(month)  # another call may have closed or reopened months meanwhile
            closing = PeriodClosing.objects.create(month=month, closed_by=actor)
            _enforce_closings()
            if actor is not None:
                audit_log(actor, "Closed", target=closing)
    elif closing.rows is not None:
        raise PeriodError(f"{closing} is closed already.")
    # Only now no row can be added. Counting takes a while, and the table is not locked any more.
    for name, value in _count(month).items():
        setattr(closing, name, value)
    closing.save(update_fields=["rows", "amount"])
    return closing


@transaction.atomic
def request_reopening(*, closing_id: int, actor: User, reason: str) -> PeriodClosing:
    """Request that another person reopens the last closed month. Raises PermissionDenied, PeriodError."""
    closing = _last_closing(closing_id, actor)
    if closing.requested_by:
        raise PeriodError(f"{closing.requested_by} has requested it already.")
    if not reason.strip():
        raise PeriodError("Give a reason.")
    closing.requested_by, closing.reopening_reason = actor, reason.strip()[:500]
    closing.save(update_fields=["requested_by", "reopening_reason"])
    audit_log(actor, f"Reopening requested: {closing.reopening_reason}", target=closing)
    return closing


@transaction.atomic
def approve_reopening(*, closing_id: int, actor: User) -> PeriodClosing:
    """Reopen a month as another person requested. Raises PermissionDenied, PeriodError."""
    closing = _last_closing(closing_id, actor)
    if closing.requested_by is None:
        raise PeriodError("The reopening of this period is not requested.")
    if closing.requested_by == actor:
        raise PeriodError("Another person must approve your request.")
    closing.reopened_by, closing.reopened_at = actor, timezone.now()
    closing.save(update_fields=["reopened_by", "reopened_at"])
    audit_log(actor, "Reopening approved", target=closing)
    _enforce_closings()
    return closing


@transaction.atomic
def reject_reopening(*, closing_id: int, actor: User) -> PeriodClosing:
    """Remove a request to reopen a month, one's own too. Raises PermissionDenied, PeriodError."""
    closing = _last_closing(closing_id, actor)
    closing.requested_by, closing.reopening_reason = None, ""
    closing.save(update_fields=["requested_by", "reopening_reason"])
    audit_log(actor, "Reopening rejected", target=closing)
    return closing


def next_to_close() -> date | None:
    """Return the first open month with ledger rows; None if there is none."""
    rows = LedgerTransfer.objects.filter(date__gte=start_of(open_from())).order_by("date")
    first: datetime | None = rows.values_list("date", flat=True).first()
    return first.astimezone(UTC).date().replace(day=1) if first else None


def _check_permission(actor: User | None, permission: str) -> None:
    if actor is not None and not actor.has_perm(permission):
        raise PermissionDenied


def _check_closable(month: date) -> None:
    end = start_of(month + relativedelta(months=1))
    if timezone.now() < end + CLOSE_DELAY:
        raise PeriodError(f"{month:%B %Y} can be closed from {end + CLOSE_DELAY:%Y-%m-%d %H:%M} UTC on.")
    _check_order(month)
    last = LedgerSeal.objects.order_by("-day").values_list("day", flat=True).first()
    if last is None or last < (end - ONE_DAY).date():
        raise PeriodError(f"{month:%B %Y} is not sealed yet. The log of seal_ledger has the reason.")
    # Read to the end: a suspended query would keep the table from being changed.
    if problems := list(find_ledger_problems(everything=False)):
        raise PeriodError(f"verify_ledger finds {len(problems)} problems, such as {problems[0]}.")


def _check_order(month: date) -> None:
    if month < open_from():
        raise PeriodError(f"The books are closed up to {open_from() - ONE_DAY} already.")
    first = next_to_close()
    if first is not None and first < month:
        raise PeriodError(f"Close {first:%B %Y} first.")


def _last_closing(closing_id: int, actor: User) -> PeriodClosing:
    """Return the closing, locked, if the actor may reopen it and no later month is closed."""
    _check_permission(actor, "transactions.reopen_period")
    with connection.cursor() as cursor:
        cursor.execute(_LOCK)
    closing = PeriodClosing.objects.get(pk=closing_id)
    if closing.reopened_at:
        raise PeriodError(f"{closing} was reopened already.")
    first = attached_from(LedgerTransfer._meta.db_table)
    if first is not None and closing.month < first:
        raise PeriodError(f"The ledger rows of {closing} are detached.")
    if later := PeriodClosing.objects.filter(reopened_at=None, month__gt=closing.month).order_by("-month").first():
        raise PeriodError(f"Reopen {later} first.")
    return closing


def _enforce_closings() -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT kamioi_enforce_closings()")
    except OperationalError as error:
        if getattr(error.__cause__, "pgcode", None) == _LOCK_NOT_AVAILABLE:
            raise PeriodError("The ledger is in use, maybe by a verification. Try again later.") from error
        raise


def _count(month: date) -> dict[str, Any]:
    end = start_of(month + relativedelta(months=1))
    rows = LedgerTransfer.objects.filter(date__gte=start_of(month), date__lt=end)
    return rows.aggregate(rows=Count("pk"), amount=Sum("amount", default=ZERO))
