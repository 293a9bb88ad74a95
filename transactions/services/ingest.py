"""How purchases come in: one by one through the API, or as a whole statement in the background.

Both are idempotent through `transaction_keys`. A statement is streamed: a thread reads and prepares batches while
PostgreSQL stores the previous one. Each batch is one database transaction together with its rejected rows and the
import's counters, so a killed import resumes after its last batch, and nothing is stored twice or lost. Memory is that
of a few batches, whatever the size of the file.
"""

import io
import itertools
import queue
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from hashlib import blake2b
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
from transactions.models import BackgroundTask, StatementImport, Transaction, TransactionKey, User
from transactions.rules.merchant_key import normalise
from transactions.services.background_tasks import create_task, heartbeat, heartbeat_thread, run_task, send_task
from transactions.services.processing import notify_workers
from transactions.services.statement_undo import undo_for_repeat
from transactions.services.uploads import check_upload_quota
from transactions.sql import load_sql
from transactions.statements.excel import is_workbook
from transactions.statements.reader import check_questions, parse_statement
from transactions.statements.values import FIRST_DATE, StatementRow, as_csv

BATCH_ROWS = 20_000
# Batches that may wait between the reader and the database: enough to keep both busy.
_READ_AHEAD = 2
# Seconds between switches of Python's threads while a statement is read. With the default of 5 ms, the thread that
# feeds PostgreSQL waits that long for the reader after each of its calls: a tenth of the whole import.
_SWITCH_SECONDS = 0.0005
# psycopg2 takes the whole batch at once; with its default of 8 kB it acquires the GIL 300 times per batch.
_COPY_CHUNK = 1 << 24
_ASK_BYTES = 2_000_000
_MAX_AMOUNT = Decimal("9999999999.99")
_COPY_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


@dataclass(frozen=True, slots=True)
class CreatedTransaction:
    """What `create_transaction` stored, or had stored under the same key (`created` is false)."""

    transaction_id: int
    status: str
    created: bool


@dataclass(slots=True)
class _Batch:
    """Rows ready for COPY, and the rejected rows; `items` counts both."""

    lines: list[str] = field(default_factory=list)
    errors: list[RowError] = field(default_factory=list)
    items: int = 0


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
        cursor.execute(load_sql("create_transaction"), values)
        row = cursor.fetchone()
    if row is None:
        return _existing_transaction(values)
    invalidate_customers([user.pk])
    notify_workers(priority=Transaction.Priority.CUSTOMER)
    return CreatedTransaction(row[0], Transaction.Status.PENDING, created=True)


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
    send: bool = True,
    limited: bool = True,
    repeats: StatementImport | None = None,
) -> StatementImport:
    """Store the file and request its import in the background.

    A small text file is interpreted at once, so that its questions can be answered in the same request. Those of
    other files are in the `result` of the task, which then has failed.

    Args:
        answers: to questions that the file leaves open, by their keys.
        send: false for a caller that runs the import itself.
        limited: whether the customer's quota applies; not for staff.
        repeats: an import that is undone first.

    Raises:
        StatementQuestionsError: the file can be read in more than one way.
        StatementTooLargeError: more than `STATEMENT_MAX_BYTES`.
        UploadQuotaError: the customer uploaded too much.
    """
    size = content.size or 0
    if size > settings.STATEMENT_MAX_BYTES:
        raise StatementTooLargeError(
            f"{filename} has {size:,} bytes; at most {settings.STATEMENT_MAX_BYTES:,} are accepted. "
            "Split the file: rows in more than one part are stored once."
        )
    answers = dict(answers or {})
    if size <= _ASK_BYTES:
        _ask_questions(content, filename, answers)
    with transaction.atomic():
        if limited:
            check_upload_quota(user=user, size=size)
        task = create_task(name="ingest_statement", user=requested_by, arguments={"filename": filename})
        imported = StatementImport(
            task=task, user=user, filename=filename[:255], size=size, answers=answers, repeats=repeats
        )
        imported.file.save(f"{task.pk}.statement", content, save=False)
        imported.save()
        task.arguments |= {"statement_id": imported.pk}
        task.save(update_fields=["arguments"])
        if send:
            send_task(task=task)
    return imported


def _ask_questions(content: "File[bytes]", filename: str, answers: Mapping[str, str]) -> None:
    """Raise the questions that a text file leaves open; what cannot be read at all fails in the background."""
    file = cast("BinaryIO", content)
    if not is_workbook(file):
        try:
            check_questions(file, filename=filename, answers=answers)
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
        if done.rejects_omitted:
            task.result["rejects_omitted"] = done.rejects_omitted
    return StatementImport.objects.select_related("task").get(task=task)


def _undo_repeated(statement: StatementImport, task: BackgroundTask) -> None:
    """Undo the import that this one repeats, once the file is known to leave no question open."""
    if statement.repeats_id is None or statement.rows_done:
        return
    with statement.file.open("rb") as file:
        check_questions(cast("BinaryIO", file), filename=statement.filename, answers=statement.answers)
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
        items = _reject_old_rows(
            parse_statement(cast("BinaryIO", file), filename=imported.filename, answers=imported.answers),
            earliest_purchase_date(imported.user),
        )
        for batch in _read_ahead(itertools.islice(items, imported.rows_done)):
            _count_stored_batch(imported, batch)
        for batch in _read_ahead(items):
            _store_batch(imported, batch)
            if on_progress:
                on_progress(imported.rows_done)
    _delete_fingerprints(imported)
    return imported


def _reject_old_rows(items: Iterable[StatementRow | RowError], earliest: datetime) -> Iterator[StatementRow | RowError]:
    reason = f"before {earliest.date()}, the first day of this account"
    for item in items:
        if isinstance(item, RowError) or item.date >= earliest:
            yield item
        else:
            raw = as_csv([str(item.date.date()), item.merchant, str(item.amount), item.description])
            yield RowError(item.row_number, "date", reason, raw)


def _read_ahead(items: Iterable[StatementRow | RowError]) -> Iterator[_Batch]:
    """Yield batches that a thread prepares while the caller stores the previous one. Re-raises errors of the thread."""
    ready: queue.Queue[_Batch | BaseException | None] = queue.Queue(_READ_AHEAD)
    stop = threading.Event()

    def offer(value: _Batch | BaseException | None) -> bool:
        while not stop.is_set():
            try:
                ready.put(value, timeout=0.2)
            except queue.Full:
                continue
            return True
        return False

    def read() -> None:
        try:
            for batch in _batches(items):
                if not offer(batch):
                    return
            offer(None)
        except BaseException as error:  # noqa: BLE001, RUF100  # raised in the caller, whatever it is
            offer(error)

    reader = threading.Thread(target=read, name="statement-reader", daemon=True)
    default_switch_interval = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    reader.start()
    try:
        while (value := ready.get()) is not None:
            if isinstance(value, BaseException):
                raise value
            yield value
    finally:
        stop.set()
        reader.join()
        sys.setswitchinterval(default_switch_interval)


def _batches(items: Iterable[StatementRow | RowError]) -> Iterator[_Batch]:
    batch = _Batch()
    for item in items:
        batch.items += 1
        if isinstance(item, RowError):
            batch.errors.append(item)
        else:
            batch.lines.append(_copy_line(item))
        if batch.items >= BATCH_ROWS:
            yield batch
            batch = _Batch()
    if batch.items:
        yield batch


def _copy_line(row: StatementRow) -> str:
    """Return the row in the text format of COPY, with the fingerprint that identifies the purchase."""
    date = row.date.isoformat()
    text = f"{row.merchant}\t{row.category}\t{row.description}"
    if "\\" in text or "\n" in text or "\r" in text or text.count("\t") != 2:
        merchant, category, description = (
            part.translate(_COPY_ESCAPES) for part in (row.merchant, row.category, row.description)
        )
    else:
        merchant, category, description = row.merchant, row.category, row.description
    identity = f"{date}\x1f{row.amount}\x1f{row.merchant}\x1f{row.description}\x1f{row.reference}"
    if row.account:
        identity += f"\x1f{row.account}"
    # The day comes first: a statement is ordered by day, so its rows are neighbours in the indexes too.
    fingerprint = f"{row.date.toordinal():08x}{blake2b(identity.encode(), digest_size=12).hexdigest()}"
    return (
        f"{row.row_number}\t{fingerprint}\t{date}\t{merchant}\t{normalise(row.merchant)}\t{row.amount}\t"
        f"{category}\t{description}\t{row.row_class}\n"
    )


def _count_stored_batch(imported: StatementImport, batch: _Batch) -> None:
    """Count the fingerprints of a batch that an earlier attempt stored."""
    with transaction.atomic(), connection.cursor() as cursor:
        _stage(cursor, batch)
        cursor.execute(load_sql("count_fingerprints"), {"statement": imported.pk})


def _store_batch(imported: StatementImport, batch: _Batch) -> None:
    """Store the rows, rejected rows and counters of one batch in one database transaction."""
    with transaction.atomic(), connection.cursor() as cursor:
        if imported.lock_for_batch().undo_task_id is not None:
            raise StatementStateError(f"The import of {imported.filename} was cancelled or undone.")
        _stage(cursor, batch)
        cursor.execute(
            load_sql("ingest_staged"), {"statement": imported.pk, "user": imported.user_id, "now": timezone.now()}
        )
        added, first, last = cursor.fetchone()
        duplicates = len(batch.lines) - added
        if added:
            imported.first_date = min(first, imported.first_date or first)
            imported.last_date = max(last, imported.last_date or last)
            imported.save(update_fields=["first_date", "last_date"])
        imported.record_batch(rows=batch.items, added=added, errors=batch.errors, rows_duplicate=duplicates)
        if added:
            invalidate_customers([imported.user_id])
            notify_workers(priority=Transaction.Priority.BULK)


def _stage(cursor: CursorWrapper, batch: _Batch) -> None:
    cursor.execute(load_sql("stage_statement"))
    cursor.copy_expert("COPY staged FROM STDIN", io.StringIO("".join(batch.lines)), _COPY_CHUNK)
    cursor.execute("ANALYZE staged (fingerprint)")


def _delete_fingerprints(imported: StatementImport) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM statement_fingerprints WHERE statement_id = %s", [imported.pk])
