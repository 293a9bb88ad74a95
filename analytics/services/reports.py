"""Reports: asked for, made in the background, kept as private files, told of by mail.

A report is (kind, month, customer), in two files. Asking for it twice is one task; making it again puts new files in the
place of the old ones. Statements of all customers are made once a month, in sets of customers by their ids; a set that
is tried again makes what is missing and leaves what stands.
"""

import hashlib
import io
import logging
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from typing import IO, Any, Final, cast

from dateutil.relativedelta import relativedelta
from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import default_storage
from django.core.mail import EmailMessage, get_connection
from django.db import connection, transaction
from django.urls import reverse
from django.utils import timezone

from analytics.errors import BooksOutOfBalanceError, InvalidReportError
from analytics.models import Report
from analytics.services.report_contents import (
    Files,
    ProgressCallback,
    month_bounds,
    month_name,
    write_account_statement,
    write_finance_report,
    write_reconciliation_report,
)
from transactions.models import BackgroundTask, Notification, Transaction, User
from transactions.selectors.customer import MONTHS, StatementRow, statements
from transactions.services.background_tasks import heartbeat_thread, retry_task, run_task, send_task

logger = logging.getLogger(__name__)

TASK: Final = "make_report"
SET_TASK: Final = "make_statements"
SET: Final = 500
"""Customer ids of one set: a worker makes their statements one after another, in minutes."""
_NAMESPACE: Final = uuid.UUID("5b1f4f2e-6c0a-4b7e-9d55-6a1d1c7e0a11")
Kind = Report.Kind


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One report, with the task that makes it."""

    kind: str
    period: date
    user: User | None
    task: BackgroundTask


# --- asking -----------------------------------------------------------------------------------------------------------
def request_report(
    *, kind: str, period: date, user: User | None = None, requested_by: User | None, again: bool = False
) -> BackgroundTask:
    """The task that makes this report. Asking while it is under way, or when it is made already, answers the same task.

    Args:
        period: any day of the month. It must be over: a statement of half a month is none.
        user: whose statement; None for the other kinds.
        requested_by: who gets the mail; a customer for their own statement, or a member of staff.
        again: make it anew though it is made.

    Raises InvalidReportError.
    """
    period = period.replace(day=1)
    _check(kind, period, user)
    name = f"{kind}:{period:%Y-%m}:{user.pk if user else ''}:{requested_by.pk if requested_by else ''}"
    with transaction.atomic():
        task, made = BackgroundTask.objects.get_or_create(
            pk=uuid.uuid5(_NAMESPACE, name),
            defaults={
                "name": TASK,
                "user": requested_by,
                "arguments": {"kind": kind, "period": period.isoformat(), "user": user.pk if user else None},
            },
        )
        if made:
            send_task(task=task)
    if task.status == BackgroundTask.Status.FAILED:
        retry_task(task_id=task.pk)
    elif again and task.status == BackgroundTask.Status.COMPLETED:
        BackgroundTask.objects.filter(pk=task.pk, status=BackgroundTask.Status.COMPLETED).update(
            status=BackgroundTask.Status.FAILED, error="to be made again"
        )
        retry_task(task_id=task.pk)
    task.refresh_from_db()
    return task


def _check(kind: str, period: date, user: User | None) -> None:
    if kind not in Kind.values:
        raise InvalidReportError(f"There is no report {kind!r}.")
    if (kind == Kind.STATEMENT) != (user is not None):
        raise InvalidReportError("A statement is one customer's; the other reports are nobody's.")
    _, end = month_bounds(period)
    if end > timezone.now():
        raise InvalidReportError(f"{month_name(period)} is not over yet.")
    if user is not None and not Transaction.objects.filter(user=user, date__lt=end).order_by("date").exists():
        raise InvalidReportError(f"There is nothing to state up to {month_name(period)}.")


def parse_period(text: str) -> date:
    """The month of `2026-10`. Raises InvalidReportError."""
    try:
        return date.fromisoformat(f"{text.strip()}-01")
    except ValueError:
        raise InvalidReportError("A month is written like 2026-10.") from None


def request_account_statements(*, today: date | None = None) -> list[BackgroundTask]:
    """The tasks that make last month's statements, a set of customers each. Asking again adds only sets that are new."""
    period = ((today or timezone.now().date()) - relativedelta(months=1)).replace(day=1)
    with connection.cursor() as cursor:
        # An index-only scan of the month: one row a customer.
        cursor.execute(
            "SELECT DISTINCT user_id / %s FROM customer_months WHERE month = %s AND rows > 0 ORDER BY 1", [SET, period]
        )
        sets = [row[0] for row in cursor.fetchall()]
    tasks = []
    for number in sets:
        with transaction.atomic():
            task, made = BackgroundTask.objects.get_or_create(
                pk=uuid.uuid5(_NAMESPACE, f"statements:{period:%Y-%m}:{number}"),
                defaults={
                    "name": SET_TASK,
                    "arguments": {"period": period.isoformat(), "first": number * SET, "last": (number + 1) * SET - 1},
                },
            )
            if made:
                send_task(task=task)
        tasks.append(task)
    return tasks


# --- reading ----------------------------------------------------------------------------------------------------------
def get_report(user: User, report_id: int) -> Report | None:
    """The customer's own statement of this number."""
    return Report.objects.filter(user=user, pk=report_id, kind=Kind.STATEMENT).first()


def account_statement_rows(user: User, *, export_url: str, download_url: Callable[[int], str]) -> list[StatementRow]:
    """A customer's statements, newest first: what is made, and of months without one the transactions as they are exported."""
    reports = Report.objects.filter(user=user, kind=Kind.STATEMENT).order_by("-period", "-format")[: 2 * MONTHS]
    made = [
        StatementRow(
            id=str(report.pk),
            type="monthly",
            period=f"{report.period:%Y-%m}",
            date=(month_bounds(report.period)[1] - timedelta(days=1)).date(),
            size=_size(report.size),
            format=report.get_format_display(),
            url=download_url(report.pk),
            created_at=report.made_at,
        )
        for report in reports
    ]
    months = {row["period"] for row in made}
    others = [row for row in statements(user, export_url=export_url) if row["period"] not in months]
    # Sorting keeps the order of the formats within a month.
    return sorted([*made, *others], key=lambda row: row["period"], reverse=True)


def _size(count: int) -> str:
    """Bytes for people."""
    return f"{count / 1024**2:,.1f} MB" if count >= 1024**2 else f"{max(1, round(count / 1024)):,} KB"


# --- making -----------------------------------------------------------------------------------------------------------
def generate_report(*, task_id: str) -> None:
    """Make the report of this task; its outcome stands in the task."""
    with run_task(task_id=task_id) as task:
        if task is None:
            return
        asked = task.arguments
        user = User.objects.get(pk=asked["user"]) if asked.get("user") else None
        with heartbeat_thread(task=task) as told:
            reports = _make(_Wanted(asked["kind"], date.fromisoformat(asked["period"]), user, task), on_progress=told)
        task.progress = task.total = reports[0].rows
        task.result = {report.format: report.pk for report in reports} | {"rows": reports[0].rows}
        for report in reports:
            task.result[f"{report.format}_bytes"] = report.size
    if task.status == BackgroundTask.Status.COMPLETED:
        _tell(reports, to=task.user)


def generate_account_statements(*, task_id: str) -> None:
    """Make what is missing of the statements of this task's customers. One whose books differ is left out and said."""
    with run_task(task_id=task_id) as task:
        if task is None:
            return
        period = date.fromisoformat(task.arguments["period"])
        ids = _active(period, task.arguments["first"], task.arguments["last"])
        refused: list[int] = []
        made = 0
        with heartbeat_thread(task=task) as told, _mailing() as mail:
            for number, pk in enumerate(ids, start=1):
                told(number)
                try:
                    reports = _make(
                        _Wanted(Kind.STATEMENT, period, User.objects.get(pk=pk), task), on_progress=lambda _: None
                    )
                except BooksOutOfBalanceError:
                    logger.error("statement of %s: the books of customer %d differ", period, pk)
                    refused.append(pk)
                    continue
                made += 1
                _tell(reports, to=reports[0].user, mail=mail)
        task.progress = task.total = len(ids)
        task.result = {"made": made, "books_differ": refused[:100]}


_ACTIVE = """
    SELECT user_id FROM customer_months
    WHERE month = %(month)s AND rows > 0 AND user_id BETWEEN %(first)s AND %(last)s
      AND NOT EXISTS (
          SELECT FROM reports WHERE reports.user_id = customer_months.user_id AND kind = 'statement'
             AND reports.period = %(month)s AND format = 'csv'
      )
      AND EXISTS (SELECT FROM users WHERE users.id = customer_months.user_id AND erased_at IS NULL)
    ORDER BY user_id
"""


def _active(period: date, first: int, last: int) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(_ACTIVE, {"month": period, "first": first, "last": last})
        return [row[0] for row in cursor.fetchall()]


def _make(wanted: _Wanted, *, on_progress: ProgressCallback) -> list[Report]:
    """Write both files, then put them in the place of the old ones, both at once."""
    with tempfile.TemporaryFile() as pdf, tempfile.TemporaryFile() as plain:
        with _as_text(plain) as csv:
            rows = _write(Files(pdf, csv), wanted, on_progress)
        stored: list[str] = []
        try:
            with transaction.atomic():
                reports = [
                    _store(wanted, format_, cast("IO[bytes]", file), rows, stored)
                    for format_, file in ((Report.Format.PDF, pdf), (Report.Format.CSV, plain))
                ]
        except BaseException:
            for name in stored:
                default_storage.delete(name)
            raise
    return reports


@contextmanager
def _as_text(file: IO[bytes]) -> Iterator[IO[str]]:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=False)
    text.write("\ufeff")  # spreadsheets read names right only with it
    yield text
    text.flush()
    text.detach()


def _write(files: Files, wanted: _Wanted, on_progress: ProgressCallback) -> int:
    match wanted.kind:
        case Kind.STATEMENT:
            assert wanted.user is not None  # noqa: S101  # a statement has its customer
            return write_account_statement(files, user=wanted.user, month=wanted.period, on_progress=on_progress)
        case Kind.FINANCE:
            return write_finance_report(files, month=wanted.period, on_progress=on_progress)
        case _:
            return write_reconciliation_report(files, month=wanted.period, on_progress=on_progress)


def _store(wanted: _Wanted, format_: str, file: IO[bytes], rows: int, stored: list[str]) -> Report:
    file.seek(0)
    digest, size = hashlib.sha256(), 0
    while piece := file.read(1 << 16):
        digest.update(piece)
        size += len(piece)
    file.seek(0)
    # A directory for a thousandth of the customers: no directory grows with their number.
    shelf = f"{wanted.user.pk % 1000:03d}" if wanted.user else "books"
    place = f"reports/{wanted.period:%Y/%m}/{shelf}/{uuid.uuid4().hex}.{format_}"
    name = default_storage.save(place, File(file))
    stored.append(name)
    key: dict[str, Any] = {"kind": wanted.kind, "period": wanted.period, "user": wanted.user, "format": format_}
    before = Report.objects.select_for_update().filter(**key).first()
    values: dict[str, Any] = {
        "task": wanted.task,
        "file": name,
        "size": size,
        "sha256": digest.hexdigest(),
        "rows": rows,
        "made_at": timezone.now(),
        "mailed_at": None,
    }
    report, _ = Report.objects.update_or_create(**key, defaults=values)
    if before is not None:
        old = before.file.name
        transaction.on_commit(partial(default_storage.delete, str(old)))
    return report


@contextmanager
def _mailing() -> Iterator[Any]:
    """One connection to the mail server for a whole set; each mail tries for itself where it cannot be opened."""
    mail = get_connection()
    try:
        mail.open()
    except Exception:  # whatever a mail server does, the reports are made
        logger.warning("the mail server is away", exc_info=True)
    try:
        yield mail
    finally:
        with suppress(Exception):
            mail.close()


def erase_reports(user: User) -> int:
    """Delete the statements of somebody who is erased; the files go with the commit. Returns how many."""
    reports = list(Report.objects.filter(user=user))
    for report in reports:
        transaction.on_commit(partial(default_storage.delete, str(report.file.name)))
    Report.objects.filter(pk__in=[report.pk for report in reports]).delete()
    return len(reports)


# --- telling ----------------------------------------------------------------------------------------------------------
def _tell(reports: Iterable[Report], *, to: User | None, mail: Any = None) -> None:
    """A mail with a link, never the figures. Mail that cannot be sent is logged: the report is there all the same."""
    reports = [report for report in reports if report.mailed_at is None]
    if not reports or to is None or not to.is_active:
        return
    first = reports[0]
    own = first.user_id == to.pk
    what = "Your statement" if own else f"The report “{first.get_kind_display()}”"
    if own:
        Notification.objects.create(
            user=to,
            title=f"{what} is ready",
            message=f"{what} of {month_name(first.period)} can be downloaded.",
            type="statement",
        )
    link = settings.STATEMENTS_URL if own else settings.SITE_URL + reverse("admin:analytics_report_changelist")
    message = EmailMessage(
        subject=f"{what} of {month_name(first.period)} is ready",
        body=(
            f"Hello{f' {to.name}' if to.name else ''},\n\n{what} of {month_name(first.period)} is ready, as PDF and as CSV:\n\n{link}\n\n"
            "You will be asked to log in.\n\nKamioi\n"
        ),
        to=[to.email],
        connection=mail,
    )
    try:
        message.send()
    except Exception:  # whatever a mail server does, the report stands
        logger.exception("no mail about report %s", first.pk)
        return
    Report.objects.filter(pk__in=[report.pk for report in reports]).update(mailed_at=timezone.now())
