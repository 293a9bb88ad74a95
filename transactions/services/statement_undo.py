"""Undoing an import as a whole, and cancelling one that is still being read.

Rows that were never invested are deleted with their keys, so the same file can be imported again. Rows that were are
kept as `undone`, and contra entries reverse their bookings. From the request on, the import stores no further batch
(`StatementImport.undo_task`), so cancelling is the undo of an import that has not ended.

The work is done in batches under the lock of the customer's bucket, each one transaction together with its counters. A
killed worker's successor finds only the rows that are left, and two workers never take the same row.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.utils import timezone

from kamioi_site.admin.audit_log import audit_log
from kamioi_site.db.distribution import restored_error_codes
from kamioi_site.formatting import money, plural
from kamioi_site.imports.rows import ImportBusyError
from transactions.cache import invalidate_customers, review_queue_changed
from transactions.errors import StatementStateError, UndoNotPossibleError
from transactions.models import USER_BUCKETS, BackgroundTask, Notification, StatementImport, User
from transactions.services.background_tasks import cancel_task, claim_first, create_task, heartbeat, send_task
from transactions.services.processing.buckets import MOVE_BATCH, lock_buckets
from transactions.sql import load_sql


@dataclass(frozen=True, slots=True)
class StatementUndoEffect:
    """The consequences of undoing an import, as far as it is not undone yet.

    Attributes:
        spent: dollars of the purchases that are deleted.
        invested, fees: dollars that contra entries give back.
        missing: tickers of which the customer holds less than the import bought, which makes an undo impossible.
    """

    deleted: int = 0
    reversed: int = 0
    spent: Decimal = Decimal("0.00")
    invested: Decimal = Decimal("0.00")
    fees: Decimal = Decimal("0.00")
    missing: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        text = f"deletes {plural(self.deleted, 'transaction')} ({money(self.spent)} of purchases)"
        if self.reversed:
            text += (
                f" and reverses {plural(self.reversed, 'purchase')} of shares by contra entries: "
                f"{money(self.invested)} invested and {money(self.fees)} of fees"
            )
        return text


def may_undo(statement: StatementImport, actor: User) -> bool:
    """Whether the user may undo, cancel and repeat this import: the customer, or staff with the permission."""
    return actor.pk == statement.user_id or (actor.is_staff and actor.has_perm("transactions.change_statementimport"))


def undo_effect(statement: StatementImport) -> StatementUndoEffect:
    if statement.first_date is None:
        return StatementUndoEffect()
    with connection.cursor() as cursor:
        cursor.execute(
            load_sql("statement_undo_effect"),
            {
                "user": statement.user_id,
                "statement": statement.pk,
                "first": statement.first_date,
                "last": statement.last_date,
            },
        )
        deleted, reversed_, spent, invested, fees, missing = cursor.fetchone()
    return StatementUndoEffect(deleted, reversed_, spent, invested, fees, tuple(missing))


@transaction.atomic
def request_statement_undo(*, statement_id: int, actor: User | None, send: bool = True) -> StatementImport:
    """Undo the import in the background; `undo_task` shows the progress. A repeated request changes nothing.

    Args:
        actor: None for the command line.
        send: false for a caller that runs the task itself.

    Raises:
        PermissionDenied: it is another customer's import.
        StatementStateError: the file is still being read.
        UndoNotPossibleError: shares have been sold since, or the import is too old.
    """
    statement = lock_statement(statement_id, actor)
    if statement.state in (
        StatementImport.State.UNDOING,
        StatementImport.State.UNDONE,
        StatementImport.State.CANCELLED,
    ):
        return statement
    if statement.task.is_open:
        raise StatementStateError(f"{statement.filename} is still being read. Cancel it instead.")
    return _request(statement, actor, f"undo: {check_undo(statement).text}", send=send)


@transaction.atomic
def cancel_statement_import(*, statement_id: int, actor: User | None, send: bool = True) -> StatementImport:
    """Stop an import and remove what it stored. One that is queued does not start; a batch in progress ends first.

    Raises:
        PermissionDenied: it is another customer's import.
        StatementStateError: the import has ended.
    """
    statement = lock_statement(statement_id, actor)
    if statement.task.status == BackgroundTask.Status.CANCELLED:
        return statement
    if not cancel_task(task=statement.task):
        raise StatementStateError(f"The import of {statement.filename} has already ended. Undo it instead.")
    return _request(statement, actor, "cancelled", send=send)


def undo_for_repeat(*, statement_id: int, task: BackgroundTask) -> None:
    """Undo an import within the task that imports its file again, unless nothing is left to undo.

    Raises:
        ImportBusyError: another worker undoes it.
        UndoNotPossibleError: shares have been sold since.
    """
    with transaction.atomic():
        statement = lock_statement(statement_id, task.user)
        if statement.undone_at is not None or not statement.rows_added:
            return
        if statement.undo_task is not None and statement.undo_task.is_open and statement.undo_task != task:
            raise ImportBusyError
        statement.undo_task = task
        statement.save(update_fields=["undo_task"])
    undo_statement(statement_id=statement_id, task=task)


def lock_statement(statement_id: int, actor: User | None) -> StatementImport:
    """Lock the import until commit, which waits for a batch in progress. Raises PermissionDenied."""
    rows = StatementImport.objects.select_for_update(of=("self",)).select_related("task", "undo_task", "user")
    statement = rows.get(pk=statement_id)
    if actor is not None and not may_undo(statement, actor):
        raise PermissionDenied
    return statement


def check_undo(statement: StatementImport) -> StatementUndoEffect:
    """Return the effect of an undo. Raises UndoNotPossibleError."""
    if statement.rows_added and statement.first_date is None:
        raise UndoNotPossibleError(
            f"{statement.filename} was imported before imports could be undone: its transactions are not known."
        )
    effect = undo_effect(statement)
    if effect.missing:
        raise UndoNotPossibleError(
            f"{statement.filename} bought more {', '.join(effect.missing)} than the customer still holds. "
            "Nothing was changed."
        )
    return effect


def _request(statement: StatementImport, actor: User | None, message: str, *, send: bool) -> StatementImport:
    task = create_task(name="undo_statement", user=actor, arguments={"statement_id": statement.pk})
    statement.undo_task = task
    statement.save(update_fields=["undo_task"])
    log_for_staff(statement, actor, message)
    if send:
        send_task(task=task)
    return statement


def log_for_staff(statement: StatementImport, actor: User | None, message: str) -> None:
    """Log what staff did to a customer's import; what customers do to their own is in the task."""
    if actor is not None and actor.pk != statement.user_id:
        audit_log(actor, message, target=statement)


@claim_first
def run_statement_undo(task: BackgroundTask) -> None:
    """Undo the import of this background task."""
    statement = undo_statement(statement_id=task.arguments["statement_id"], task=task)
    task.progress = task.total = statement.rows_deleted + statement.rows_reversed
    task.result = {"deleted": statement.rows_deleted, "reversed": statement.rows_reversed}


def undo_statement(*, statement_id: int, task: BackgroundTask) -> StatementImport:
    """Delete or reverse the rows that are left of the import, and notify the customer once it is done.

    Raises UndoNotPossibleError.
    """
    statement = StatementImport.objects.select_related("task").get(pk=statement_id)
    effect = check_undo(statement)
    total = statement.rows_deleted + statement.rows_reversed + effect.deleted + effect.reversed
    since = statement.first_date
    while since is not None:
        since = _undo_batch(statement, since)
        statement.refresh_from_db(fields=["rows_deleted", "rows_reversed"])
        heartbeat(task=task, progress=statement.rows_deleted + statement.rows_reversed, total=total)
    _finish(statement)
    return statement


def _undo_batch(statement: StatementImport, since: datetime) -> datetime | None:
    """Undo one batch of rows from this date on. Returns the date to continue from, None after the last batch."""
    try:
        with restored_error_codes(), transaction.atomic(), connection.cursor() as cursor:
            lock_buckets(cursor, [statement.user_id % USER_BUCKETS])
            cursor.execute(
                load_sql("undo_statement"),
                {
                    "user": statement.user_id,
                    "statement": statement.pk,
                    "since": since,
                    "last": statement.last_date,
                    "limit": MOVE_BATCH,
                    "reference": f"undo of import {statement.pk}",
                    "now": timezone.now(),
                },
            )
            deleted, kept, last, waiting, related, gone = cursor.fetchone()
            if related:
                values = {"user": statement.user_id, "ids": related, "gone": gone, "now": timezone.now()}
                cursor.execute(load_sql("unlink_refunds"), values)
            if waiting != "[]":
                cursor.execute(load_sql("reduce_waiting"), {"waiting": waiting})
                review_queue_changed.send(sender=None)
            StatementImport.objects.filter(pk=statement.pk).update(
                rows_deleted=F("rows_deleted") + deleted, rows_reversed=F("rows_reversed") + kept
            )
    except IntegrityError as error:
        if "holdings_not_negative" in str(error):
            raise UndoNotPossibleError(f"Shares that {statement.filename} bought were sold meanwhile.") from error
        raise
    invalidate_customers([statement.user_id])
    return last if deleted + kept == MOVE_BATCH else None


def _finish(statement: StatementImport) -> None:
    """Mark the import as undone and notify the customer; only the first of two workers does."""
    is_cancelled = statement.task.status == BackgroundTask.Status.CANCELLED
    with transaction.atomic():
        now = timezone.now()
        if StatementImport.objects.filter(pk=statement.pk, undone_at=None).update(undone_at=now):
            text = f"{plural(statement.rows_deleted, 'transaction')} of {statement.filename} deleted"
            if statement.rows_reversed:
                text += f", {plural(statement.rows_reversed, 'purchase')} of shares reversed"
            Notification.objects.create(
                user_id=statement.user_id,
                title="Your import was cancelled" if is_cancelled else "Your import was undone",
                message=f"{text}.",
                type="info",
            )
    statement.refresh_from_db(fields=["undone_at"])
