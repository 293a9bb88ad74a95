"""Requests for reports, each of which is one background task however often it is made."""

import uuid
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from dateutil.relativedelta import relativedelta
from django.db import connection, transaction
from django.utils import timezone

from analytics.errors import InvalidReportError
from analytics.models import Report
from analytics.selectors.periods import month_bounds, month_name
from analytics.selectors.reports import account_statements
from transactions.models import BackgroundTask, Transaction, User
from transactions.services.background_tasks import retry_task, send_task

TASK: Final = "make_report"
BATCH_TASK: Final = "make_statements"
BATCH_SIZE: Final = 500  # customer ids in one task, whose statements are written one after another in minutes
_NAMESPACE: Final = uuid.UUID("5b1f4f2e-6c0a-4b7e-9d55-6a1d1c7e0a11")
Kind = Report.Kind


def request_report(
    *, kind: str, period: date, user: User | None = None, requested_by: User | None, again: bool = False
) -> BackgroundTask:
    """Return the task that generates this report, creating it at the first request.

    Args:
        period: any day of the month, which must be over.
        user: the customer of an account statement; None for the other kinds.
        requested_by: who gets the e-mail: the customer, or a member of staff.
        again: generate a completed report once more.

    Raises InvalidReportError.
    """
    period = period.replace(day=1)
    _validate(kind, period, user)
    name = f"{kind}:{period:%Y-%m}:{user.pk if user else ''}:{requested_by.pk if requested_by else ''}"
    arguments = {"kind": kind, "period": period.isoformat(), "user": user.pk if user else None}
    task = _get_or_send(name, name=TASK, user=requested_by, arguments=arguments)
    if task.status == BackgroundTask.Status.FAILED:
        retry_task(task_id=task.pk)
    elif again and task.status == BackgroundTask.Status.COMPLETED:
        BackgroundTask.objects.filter(pk=task.pk, status=BackgroundTask.Status.COMPLETED).update(
            status=BackgroundTask.Status.FAILED, error="requested again"
        )
        retry_task(task_id=task.pk)
    task.refresh_from_db()
    return task


def _get_or_send(key: str, **defaults: Any) -> BackgroundTask:
    with transaction.atomic():
        task, created = BackgroundTask.objects.get_or_create(pk=uuid.uuid5(_NAMESPACE, key), defaults=defaults)
        if created:
            send_task(task=task)
    return task


def _validate(kind: str, period: date, user: User | None) -> None:
    if kind not in Kind.values:
        raise InvalidReportError(f"Unknown report {kind!r}.")
    if (kind == Kind.STATEMENT) != (user is not None):
        raise InvalidReportError("An account statement needs a customer; the other reports have none.")
    _, end = month_bounds(period)
    if end > timezone.now():
        raise InvalidReportError(f"{month_name(period)} is not over yet.")
    if user is not None and not Transaction.objects.filter(user=user, date__lt=end).order_by("date").exists():
        raise InvalidReportError(f"There are no transactions up to {month_name(period)}.")


def open_statement_requests(user: User) -> list[BackgroundTask]:
    """Return the user's own requests for statements that are not done, newest first."""
    tasks = BackgroundTask.objects.filter(name=TASK, status__in=BackgroundTask.OPEN, user=user)
    return list(tasks.filter(arguments__user=user.pk).order_by("-created_at")[:20])


@dataclass(frozen=True, slots=True)
class StatementState:
    """A statement as PDF: that is made (`id` of the report), or is being made (of the task)."""

    id: int | str
    period: date
    at: datetime
    is_made: bool


def statement_states(user: User) -> list[StatementState]:
    """Return the user's statements that are being made, and those that are made, each newest first."""
    tasks = [
        StatementState(str(task.pk), date.fromisoformat(task.arguments["period"]), task.created_at, is_made=False)
        for task in open_statement_requests(user)
    ]
    reports = [
        StatementState(report.pk, report.period, report.made_at, is_made=True)
        for report in account_statements(user)
        if report.format == Report.Format.PDF
    ]
    return [*tasks, *reports]


def parse_period(text: str) -> date:
    """Return the first day of a month like `2026-10`. Raises InvalidReportError."""
    try:
        return date.fromisoformat(f"{text.strip()}-01")
    except ValueError:
        raise InvalidReportError("Write the month as YYYY-MM, for example 2026-10.") from None


def request_account_statements(*, today: date | None = None) -> list[BackgroundTask]:
    """Return the tasks that generate last month's statements of all customers, creating those that are missing."""
    period = ((today or timezone.now().date()) - relativedelta(months=1)).replace(day=1)
    with connection.cursor() as cursor:
        # An index-only scan of the month: one row per customer.
        cursor.execute(
            "SELECT DISTINCT user_id / %s FROM customer_months WHERE month = %s AND rows > 0 ORDER BY 1",
            [BATCH_SIZE, period],
        )
        batches = [row[0] for row in cursor.fetchall()]
    tasks = []
    for batch in batches:
        first, last = batch * BATCH_SIZE, (batch + 1) * BATCH_SIZE - 1
        arguments = {"period": period.isoformat(), "first": first, "last": last}
        tasks.append(_get_or_send(f"statements:{period:%Y-%m}:{batch}", name=BATCH_TASK, arguments=arguments))
    return tasks
