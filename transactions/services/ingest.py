"""How purchases come in: one by one through the API, or as a whole statement in the background.

Both are idempotent through `transaction_keys`. A statement is streamed: a thread reads and prepares batches while
PostgreSQL stores the previous one. Each batch is one database transaction together with its rejected rows and the
import's counters, so a killed import resumes after its last batch, and nothing is stored twice or lost. Memory is that
of a few batches, whatever the size of the file.
"""

import io
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any, BinaryIO, cast
from uuid import UUID, uuid4

from django.conf import settings
from django.core.files.base import File
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from kamioi_site.imports.rows import RowError
from transactions.cache import invalidate_customers
from transactions.errors import (
    IdempotencyConflictError,
    InvalidTransactionError,
    StatementError,
    StatementQuestionsError,
    StatementStateError,
    StatementTooLargeError,
)
from transactions.live_settings import PURCHASE_HISTORY_DAYS
from transactions.models import USER_BUCKETS, BackgroundTask, StatementImport, Transaction, TransactionKey, User
from transactions.rules.merchant_key import normalise
from transactions.services.background_tasks import create_task, heartbeat, heartbeat_thread, run_task, send_task
from transactions.services.bank_accounts import account_of_file, learn_number, recall_for, remember_answers
from transactions.services.large_uploads import ask_to_confirm
from transactions.services.possible_duplicates import StoredRows, hold_possible_duplicates
from transactions.services.processing import notify_workers
from transactions.services.processing.buckets import lock_buckets
from transactions.services.statement_batches import Batch, Source, read_ahead
from transactions.services.statement_corrections import apply_corrections
from transactions.services.statement_undo import undo_for_repeat
from transactions.services.uploads import check_upload_quota
from transactions.sql import load_sql
from transactions.statements.excel import is_workbook
from transactions.statements.reader import Recall, Statement, nothing_remembered, open_statement
from transactions.statements.values import FIRST_DATE, StatementRow, as_csv

# psycopg2 takes the whole batch at once; with its default of 8 kB it acquires the GIL 300 times per batch.
_COPY_CHUNK = 1 << 24
# The first key of the advisory lock of a customer; the second is the customer's id.
_CUSTOMER_LOCK = 7204
_ASK_BYTES = 2_000_000
_MAX_AMOUNT = Decimal("9999999999.99")


@dataclass(frozen=True, slots=True)
class CreatedTransaction:
    """What `create_transaction` stored, or had stored under the same key (`created` is false)."""

    transaction_id: int
    status: str
    created: bool


def create_transaction(
    *,
    user: User,
    amount: Decimal,
    merchant: str,
    date: datetime | None = None,
    category: str = "",
    description: str = "",
    idempotency_key: str | None = None,
    fingerprint: UUID | None = None,
    source: str = "api",
) -> CreatedTransaction:
    """Store one purchase (`amount` in dollars, negative for a refund); it is processed in the background.

    One that a bank file has already is put on hold as a possible duplicate.

    A second call with the same `idempotency_key` returns what the first one stored.

    Args:
        fingerprint: hash of the whole request, which a second call must repeat.

    Raises:
        InvalidTransactionError: the amount, merchant or date is invalid.
        IdempotencyConflictError: the key was used for another purchase.
    """
    now = timezone.now()
    date = date or now
    merchant = merchant.strip()
    if not merchant:
        raise InvalidTransactionError("merchant: must not be empty")
    if amount == 0 or abs(amount) > _MAX_AMOUNT or amount != amount.quantize(Decimal("0.01")):
        raise InvalidTransactionError("amount: must be dollars and cents, not zero, at most 9,999,999,999.99")
    if date > now + timedelta(days=7):
        raise InvalidTransactionError("date: must not be more than a week from now")
    # The limit is read only for a purchase that may be too old.
    if date < user.created_at and date < (earliest := earliest_purchase_date(user)):
        raise InvalidTransactionError(f"date: must not be before {earliest.date()}, the first day of this account")
    values: dict[str, Any] = {
        "user": user.pk,
        "key": f"api:{idempotency_key or uuid4().hex}",
        "date": date,
        "merchant": merchant[:255],
        "merchant_key": normalise(merchant),
        "amount": amount,
        "category": category[:100],
        "description": description[:500],
        "source": source,
        "fingerprint": fingerprint,
        "now": now,
    }
    with connection.cursor() as cursor:
        cursor.execute(load_sql("create_transaction"), values | {"reason": Transaction.HoldReason.DUPLICATE})
        row = cursor.fetchone()
    if row is None:
        return _existing_transaction(values)
    invalidate_customers([user.pk])
    notify_workers(priority=Transaction.Priority.CUSTOMER)
    return CreatedTransaction(transaction_id=row[0], status=row[1], created=True)


def earliest_purchase_date(user: User) -> datetime:
    """Return the first day whose purchases are accepted: a limit in days before the account was opened."""
    day = user.created_at.astimezone(UTC).date() - timedelta(days=PURCHASE_HISTORY_DAYS.get())
    return datetime.combine(max(day, FIRST_DATE), time(), UTC)


def _existing_transaction(values: dict[str, Any]) -> CreatedTransaction:
    key = TransactionKey.objects.get(user_id=values["user"], idempotency_key=values["key"])
    first = Transaction.objects.get(pk=key.transaction_id, user_id=key.user_id, date=key.date)
    if key.fingerprint and values["fingerprint"]:
        repeated = key.fingerprint == values["fingerprint"]
    else:  # not a request, or one from before fingerprints
        repeated = (first.amount, first.merchant) == (values["amount"], values["merchant"])
    if not repeated:
        raise IdempotencyConflictError
    return CreatedTransaction(first.pk, first.status, created=False)


def upload_statement(
    *,
    user: User,
    filename: str,
    content: "File[bytes]",
    requested_by: User,
    answers: Mapping[str, str] | None = None,
    account: str = "",
    send: bool = True,
    limited: bool = True,
    repeats: StatementImport | None = None,
) -> StatementImport:
    """Store the file and request its import in the background.

    A small text file is interpreted at once, so that its questions can be answered in the same request. Those of
    other files are in the `result` of the task, which then has failed.

    Args:
        answers: to questions that the file leaves open, by their keys; kept for later files of the account. `confirm`
            is "true" if a person has seen what a large file adds up to.
        account: the name or the last digits of the account, where neither the file nor its name contains it.
        send: false for a caller that runs the import itself.
        limited: whether the customer's quota applies; not for staff.
        repeats: an import that is undone first.

    Raises:
        StatementQuestionsError: the file can be read in more than one way, or is large and not confirmed.
        StatementTooLargeError: more than `STATEMENT_MAX_BYTES`.
        UnknownAccountError: the account may be one of several.
        UploadQuotaError: the customer uploaded too much.
    """
    size = content.size or 0
    if size > settings.STATEMENT_MAX_BYTES:
        raise StatementTooLargeError(
            f"{filename} has {size:,} bytes; at most {settings.STATEMENT_MAX_BYTES:,} are accepted. "
            "Split the file: rows in more than one part are stored once."
        )
    answers = dict(answers or {})
    with transaction.atomic():
        bank_account = account_of_file(user=user, filename=filename, chosen=account)
        if size <= _ASK_BYTES or not send:
            # A repeated import is given other answers than those that are remembered.
            recall = nothing_remembered if repeats else recall_for(user=user, account=bank_account)
            _ask_questions(content, filename, answers, recall, user)
        if limited:
            check_upload_quota(user=user, size=size)
        task = create_task(name="ingest_statement", user=requested_by, arguments={"filename": filename})
        imported = StatementImport(
            task=task,
            user=user,
            filename=filename[:255],
            size=size,
            answers=answers,
            bank_account=bank_account,
            is_account_chosen=bool(account.strip()),
            repeats=repeats,
        )
        imported.file.save(f"{task.pk}.statement", content, save=False)
        imported.save()
        task.arguments |= {"statement_id": imported.pk}
        task.save(update_fields=["arguments"])
        if send:
            send_task(task=task)
    return imported


def _ask_questions(
    content: "File[bytes]", filename: str, answers: Mapping[str, str], recall: Recall, user: User
) -> None:
    """Raise the questions that a text file leaves open; what cannot be read at all fails in the background."""
    file = cast("BinaryIO", content)
    if not is_workbook(file):
        try:
            statement = open_statement(file, filename=filename, answers=answers, recall=recall)
            rows = reject_old_rows(statement.rows(), earliest_purchase_date(user))
            ask_to_confirm(rows, user=user, filename=filename, answers=answers)
        except StatementQuestionsError:
            raise
        except StatementError:
            pass
    file.seek(0)


def run_statement_import(
    *, task_id: UUID | str, on_progress: Callable[[int], None] | None = None
) -> StatementImport | None:
    """Run the import as its background task; return None when it is done or another worker runs it.

    The reason why a file is unreadable is stored in the task's `error`.
    """
    with run_task(task_id=task_id) as task:
        if task is None:
            return None

        def report_progress(rows: int, task: BackgroundTask = task) -> None:
            heartbeat(task=task, progress=rows)
            set_progress(rows)
            if on_progress:
                on_progress(rows)

        statement = StatementImport.objects.get(task=task)
        try:
            # A workbook may wait for its turn, and is read whole, before the first batch reports progress.
            with heartbeat_thread(task=task) as set_progress:
                _undo_repeated(statement, task)
                done = ingest_statement_file(statement_id=statement.pk, on_progress=report_progress)
        except StatementQuestionsError as error:
            task.result = dict(error.details or {})
            raise
        task.progress = task.total = done.rows_done
        task.result = {
            "rows": done.rows_done,
            "added": done.rows_added,
            "duplicates": done.rows_duplicate,
            "rejected": done.rows_rejected,
        }
        if done.rows_held:
            task.result["possible_duplicates"] = done.rows_held
        if done.rejects_omitted:
            task.result["rejects_omitted"] = done.rejects_omitted
    return StatementImport.objects.select_related("task").get(task=task)


def _undo_repeated(statement: StatementImport, task: BackgroundTask) -> None:
    """Undo the import that this one repeats, once the file is known to leave no question open."""
    if statement.repeats_id is None or statement.rows_done:
        return
    with statement.file.open("rb") as file:
        found = open_statement(cast("BinaryIO", file), filename=statement.filename, answers=statement.answers)
        _ask_to_confirm(statement, found)
    undo_for_repeat(statement_id=statement.repeats_id, task=task)


def ingest_statement_file(*, statement_id: int, on_progress: Callable[[int], None] | None = None) -> StatementImport:
    """Store the statement's rows as pending transactions, from where the last attempt stopped.

    Args:
        on_progress: called after each batch with the number of rows read so far, good and bad.

    Raises:
        StatementError: the file cannot be read at all.
        ImportBusyError: another worker stored a batch meanwhile.
    """
    imported = StatementImport.objects.select_related("user").get(pk=statement_id)
    _delete_fingerprints(imported)
    with imported.file.open("rb") as file:
        source = _open_source(imported, cast("BinaryIO", file))
        if not imported.rows_done:
            _ask_to_confirm(imported, source.statement)
        items = reject_old_rows(source.statement.rows(), earliest_purchase_date(imported.user))
        for batch in read_ahead(itertools.islice(items, imported.rows_done), source):
            _count_stored_batch(imported, batch)
        for batch in read_ahead(items, source):
            _store_batch(imported, batch, source)
            if on_progress:
                on_progress(imported.rows_done)
    _delete_fingerprints(imported)
    return imported


def _ask_to_confirm(imported: StatementImport, statement: Statement) -> None:
    rows = reject_old_rows(statement.rows(), earliest_purchase_date(imported.user))
    ask_to_confirm(rows, user=imported.user, filename=imported.filename, answers=imported.answers)


def _open_source(imported: StatementImport, file: BinaryIO) -> Source:
    """Interpret the file, and keep its answers for later files. Raises StatementError."""
    user, account = imported.user, imported.bank_account
    recall = nothing_remembered if imported.repeats_id else recall_for(user=user, account=account)
    statement = open_statement(file, filename=imported.filename, answers=imported.answers, recall=recall)
    if imported.is_account_chosen and len(statement.accounts) > 1:
        names = ", ".join(map(str, statement.accounts.values()))
        raise StatementError(f"{imported.filename}: the file has several accounts ({names}); do not choose one.")
    if imported.is_account_chosen and account:
        for hint in statement.accounts.values():
            learn_number(account=account, hint=hint)
    imported.layout = statement.layout_digest
    imported.save(update_fields=["layout"])
    remember_answers(user=user, account=account, layout=imported.layout, answers=imported.answers)
    return Source(
        statement,
        imported,
        has_history=_has_history(imported),
        same_layout=list(
            StatementImport.objects.filter(user=user, layout=imported.layout).values_list("pk", flat=True)
        ),
    )


def _has_history(imported: StatementImport) -> bool:
    """Whether the customer has rows of another source, or another import is adding some."""
    others = StatementImport.objects.filter(user=imported.user_id, task__status__in=BackgroundTask.OPEN)
    return (
        Transaction.objects.filter(user=imported.user_id).exclude(statement_id=imported.pk).exists()
        or others.exclude(pk=imported.pk).exists()
    )


def reject_old_rows(items: Iterable[StatementRow | RowError], earliest: datetime) -> Iterator[StatementRow | RowError]:
    reason = f"before {earliest.date()}, the first day of this account"
    for item in items:
        if isinstance(item, RowError) or item.date >= earliest:
            yield item
        else:
            raw = as_csv([str(item.date.date()), item.merchant, str(item.amount), item.description])
            yield RowError(item.row_number, "date", reason, raw)


def _count_stored_batch(imported: StatementImport, batch: Batch) -> None:
    """Count the fingerprints of a batch that an earlier attempt stored."""
    with transaction.atomic(), connection.cursor() as cursor:
        _stage(cursor, batch)
        cursor.execute(load_sql("count_fingerprints"), {"statement": imported.pk})


def _store_batch(imported: StatementImport, batch: Batch, source: Source) -> None:
    """Store the rows, rejected rows and counters of one batch in one database transaction."""
    with transaction.atomic(), connection.cursor() as cursor:
        if batch.corrections:
            lock_buckets(cursor, [imported.user_id % USER_BUCKETS])
        if imported.lock_for_batch().undo_task_id is not None:
            raise StatementStateError(f"The import of {imported.filename} was cancelled or undone.")
        if source.has_history:  # batches of two imports of a customer see each other's rows
            cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_CUSTOMER_LOCK, imported.user_id % 2**31])
        corrected = apply_corrections(user=imported.user, rows=batch.corrections)
        batch.errors += corrected.errors
        batch.lines += [source.copy_line(row, batch.accounts) for row in corrected.rows]
        _stage(cursor, batch)
        values = {
            "statement": imported.pk,
            "user": imported.user_id,
            "account": imported.bank_account_id,
            "account_ids": [source.account_id(text) for text in batch.accounts],
            "suffix": f"@{imported.bank_account_id}" if imported.bank_account_id else "",
            "has_history": source.has_history,
            "now": timezone.now(),
        }
        cursor.execute(load_sql("ingest_staged"), values)
        added, first, last, first_id, last_id, taken, known = cursor.fetchone()
        duplicates, held = len(batch.lines) - added + corrected.duplicates, 0
        if added:
            imported.first_date = min(first, imported.first_date or first)
            imported.last_date = max(last, imported.last_date or last)
            imported.save(update_fields=["first_date", "last_date"])
            if source.has_history:
                held = hold_possible_duplicates(
                    user=imported.user,
                    statement_id=imported.pk,
                    same_layout=source.same_layout,
                    rows=StoredRows(first_id, last_id, first, last, taken or ()),
                    known={int(line): repeated for line, repeated in json.loads(known or "{}").items()},
                )
        added += corrected.replaced
        imported.record_batch(
            rows=batch.items, added=added, errors=batch.errors, rows_duplicate=duplicates, rows_held=held
        )
        if added:
            invalidate_customers([imported.user_id])
            notify_workers(priority=Transaction.Priority.BULK)


def _stage(cursor: CursorWrapper, batch: Batch) -> None:
    cursor.execute(load_sql("stage_statement"))
    cursor.copy_expert("COPY staged FROM STDIN", io.StringIO("".join(batch.lines)), _COPY_CHUNK)
    cursor.execute("ANALYZE staged (fingerprint)")


def _delete_fingerprints(imported: StatementImport) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM statement_fingerprints WHERE statement_id = %s", [imported.pk])
