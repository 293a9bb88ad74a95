"""Generation and storage of report files.

A report is (kind, month, customer), in two files; generating it again replaces them. The statements of all customers
are generated in batches by customer id; a batch that is retried writes only what is missing.
"""

import hashlib
import io
import logging
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import IO, Any, cast

from django.core.files.base import File
from django.core.files.storage import default_storage
from django.db import connection, transaction
from django.utils import timezone

from analytics.errors import BooksOutOfBalanceError
from analytics.models import Report
from analytics.services.reports.delivery import announce_reports, mail_connection
from analytics.services.reports.output import Files, ProgressCallback
from analytics.sql import load_sql
from transactions.models import BackgroundTask, User
from transactions.services.background_tasks import claim_first, heartbeat_thread, run_task

logger = logging.getLogger(__name__)
Kind = Report.Kind


@dataclass(frozen=True, slots=True)
class _ReportSpec:
    kind: str
    period: date
    user: User | None
    task: BackgroundTask


def generate_report(*, task_id: str) -> None:
    """Generate the report of this task, which records the result."""
    with run_task(task_id=task_id) as task:
        if task is None:
            return
        arguments = task.arguments
        user = User.objects.get(pk=arguments["user"]) if arguments.get("user") else None
        spec = _ReportSpec(arguments["kind"], date.fromisoformat(arguments["period"]), user, task)
        with heartbeat_thread(task=task) as on_progress:
            reports = _generate(spec, on_progress=on_progress)
        task.progress = task.total = reports[0].rows
        task.result = {report.format: report.pk for report in reports} | {"rows": reports[0].rows}
        for report in reports:
            task.result[f"{report.format}_bytes"] = report.size
    if task.status == BackgroundTask.Status.COMPLETED:
        announce_reports(reports, to=task.user)


@claim_first
def generate_account_statements(task: BackgroundTask) -> None:
    """Generate the missing statements of this task's customers; one whose books differ is skipped and reported."""
    period = date.fromisoformat(task.arguments["period"])
    user_ids = _users_without_statement(period, task.arguments["first"], task.arguments["last"])
    out_of_balance: list[int] = []
    generated = 0
    with heartbeat_thread(task=task) as on_progress, mail_connection() as mail:
        for number, pk in enumerate(user_ids, start=1):
            on_progress(number)
            spec = _ReportSpec(Kind.STATEMENT, period, User.objects.get(pk=pk), task)
            try:
                reports = _generate(spec, on_progress=lambda _: None)
            except BooksOutOfBalanceError:
                logger.error("statement of %s: the books of customer %d are out of balance", period, pk)
                out_of_balance.append(pk)
                continue
            generated += 1
            announce_reports(reports, to=reports[0].user, mail=mail)
    task.progress = task.total = len(user_ids)
    task.result = {"made": generated, "books_differ": out_of_balance[:100]}


def _users_without_statement(period: date, first: int, last: int) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(load_sql("users_without_statement"), {"month": period, "first": first, "last": last})
        return [row[0] for row in cursor.fetchall()]


def _generate(spec: _ReportSpec, *, on_progress: ProgressCallback) -> list[Report]:
    """Write both files, then replace the old ones, both in one transaction."""
    with tempfile.TemporaryFile() as pdf, tempfile.TemporaryFile() as plain:
        with _text_wrapper(plain) as csv:
            rows = _write(Files(pdf, csv), spec, on_progress)
        stored: list[str] = []
        try:
            with transaction.atomic():
                return [
                    _store(spec, format_, cast("IO[bytes]", file), rows, stored)
                    for format_, file in ((Report.Format.PDF, pdf), (Report.Format.CSV, plain))
                ]
        except BaseException:
            for name in stored:
                default_storage.delete(name)
            raise


@contextmanager
def _text_wrapper(file: IO[bytes]) -> Iterator[IO[str]]:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=False)
    text.write("\ufeff")  # spreadsheets need it to read UTF-8
    yield text
    text.flush()
    text.detach()


def _write(files: Files, spec: _ReportSpec, on_progress: ProgressCallback) -> int:
    # Imported here: reportlab is slow to import, and only workers need it.
    from analytics.services.reports.account_statement import write_account_statement  # noqa: PLC0415
    from analytics.services.reports.finance import write_finance_report  # noqa: PLC0415
    from analytics.services.reports.reconciliation import write_reconciliation_report  # noqa: PLC0415

    match spec.kind:
        case Kind.STATEMENT:
            assert spec.user is not None  # noqa: S101  # checked by the request
            return write_account_statement(files, user=spec.user, month=spec.period, on_progress=on_progress)
        case Kind.FINANCE:
            return write_finance_report(files, month=spec.period, on_progress=on_progress)
        case _:
            return write_reconciliation_report(files, month=spec.period, on_progress=on_progress)


def _store(spec: _ReportSpec, format_: str, file: IO[bytes], rows: int, stored: list[str]) -> Report:
    file.seek(0)
    digest = hashlib.file_digest(cast("Any", file), "sha256")
    size = file.tell()
    file.seek(0)
    # A thousand directories of customers a month, so that no directory grows with their number.
    directory = f"{spec.user.pk % 1000:03d}" if spec.user else "books"
    path = f"reports/{spec.period:%Y/%m}/{directory}/{uuid.uuid4().hex}.{format_}"
    name = default_storage.save(path, File(file))
    stored.append(name)
    key: dict[str, Any] = {"kind": spec.kind, "period": spec.period, "user": spec.user, "format": format_}
    replaced = Report.objects.select_for_update().filter(**key).first()
    values: dict[str, Any] = {
        "task": spec.task,
        "file": name,
        "size": size,
        "sha256": digest.hexdigest(),
        "rows": rows,
        "made_at": timezone.now(),
        "mailed_at": None,
    }
    report, _ = Report.objects.update_or_create(**key, defaults=values)
    if replaced is not None:
        transaction.on_commit(partial(default_storage.delete, str(replaced.file.name)))
    return report


def erase_reports(user: User) -> int:
    """Delete the statements of an erased user, the files with the commit; returns how many."""
    reports = list(Report.objects.filter(user=user))
    for report in reports:
        transaction.on_commit(partial(default_storage.delete, str(report.file.name)))
    Report.objects.filter(pk__in=[report.pk for report in reports]).delete()
    return len(reports)
