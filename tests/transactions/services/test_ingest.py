"""Ingestion of statements and single purchases: idempotent, resumable, without losses."""

from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command
from django.db import connection

from tests.factories import make_user
from transactions.errors import (
    IdempotencyConflictError,
    InvalidTransactionError,
    StatementError,
    StatementTooLargeError,
)
from transactions.live_settings import PURCHASE_HISTORY_DAYS
from transactions.models import BackgroundTask, Setting, StatementImport, Transaction, TransactionKey, User
from transactions.services import statement_batches
from transactions.services.background_tasks import MAX_ATTEMPTS, create_task, recover_stuck_tasks, run_task
from transactions.services.ingest import create_transaction, ingest_statement_file, upload_statement
from transactions.tasks import ingest_statement

pytestmark = pytest.mark.django_db

HEADER = "Date,Description,Amount\n"
ROWS = [f"2025-03-{day:02d},STARBUCKS #{day:04d} SEATTLE WA,-{day}.50\n" for day in range(1, 29)]


def _upload(user: User, text: str | bytes, filename: str = "bank.csv") -> StatementImport:
    content = ContentFile(text.encode() if isinstance(text, str) else text)
    return upload_statement(user=user, filename=filename, content=content, requested_by=user, send=False)


def _ingest(user: User, text: str | bytes) -> StatementImport:
    return ingest_statement_file(statement_id=_upload(user, text).pk)


def _fingerprints() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM statement_fingerprints")
        return cursor.fetchone()[0]


def test_a_statement_becomes_pending_transactions() -> None:
    user = make_user()
    done = _ingest(user, HEADER + "".join(ROWS))
    assert (done.rows_done, done.rows_added, done.rows_duplicate, done.rows_rejected) == (28, 28, 0, 0)
    first = Transaction.objects.order_by("date").first()
    assert first
    assert (first.merchant, first.merchant_key) == ("STARBUCKS #0001 SEATTLE WA", "STARBUCKS")
    assert (first.amount, first.total_debit, first.status, first.priority) == (
        Decimal("1.50"),
        Decimal("1.50"),
        "pending",
        9,
    )
    assert _fingerprints() == 0


def test_the_import_of_a_row_and_the_days_of_an_import_are_stored() -> None:
    user = make_user()
    first, second = _ingest(user, HEADER + "".join(ROWS[3:5])), _ingest(user, HEADER + "".join(ROWS[:5]))
    assert (first.first_date, first.last_date) == (datetime(2025, 3, 4, tzinfo=UTC), datetime(2025, 3, 5, tzinfo=UTC))
    second.refresh_from_db()
    assert (second.first_date, second.last_date) == (datetime(2025, 3, 1, tzinfo=UTC), datetime(2025, 3, 3, tzinfo=UTC))
    stored = Transaction.objects.order_by("date").values_list("statement_id", flat=True)
    assert list(stored) == [second.pk] * 3 + [first.pk] * 2


def _tables() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace")
        return int(cursor.fetchone()[0])


@pytest.mark.parametrize("history_days", ["", "120"])
def test_no_statement_of_a_customer_creates_a_table(history_days: str) -> None:
    Setting.objects.filter(key=PURCHASE_HISTORY_DAYS.key).update(value=history_days)
    months = [f"{1990 + month // 12}-{month % 12 + 1:02d}-15" for month in range(12 * 36)]
    before = _tables()
    done = _ingest(make_user(), HEADER + "".join(f"{month},X SHOP,-1.00\n" for month in months))
    assert (done.rows_added, done.rows_rejected) == ((0, 432) if history_days else (432, 0))
    assert _tables() == before


def test_purchases_long_before_the_account_was_opened_are_rejected_with_the_reason() -> None:
    Setting.objects.filter(key=PURCHASE_HISTORY_DAYS.key).update(value="120")
    user = make_user(created_at=datetime(2025, 5, 1, 15, tzinfo=UTC))
    done = _ingest(user, HEADER + "2024-12-31,X SHOP,-1.00\n2025-01-01,X SHOP,-1.00\n2025-06-01,X SHOP,-1.00\n")
    assert (done.rows_done, done.rows_added, done.rows_rejected) == (3, 2, 1)
    reject = done.rejects.get()
    assert (reject.row_number, reject.field) == (2, "date")
    assert reject.reason == "before 2025-01-01, the first day of this account"
    with pytest.raises(InvalidTransactionError, match="must not be before 2025-01-01"):
        create_transaction(user=user, amount=Decimal(1), merchant="X SHOP", date=datetime(2024, 12, 31, 23, tzinfo=UTC))


def test_the_same_file_twice_adds_nothing() -> None:
    user = make_user()
    _ingest(user, HEADER + "".join(ROWS))
    again = _ingest(user, HEADER + "".join(ROWS))
    assert (again.rows_added, again.rows_duplicate) == (0, 28)
    assert Transaction.objects.count() == TransactionKey.objects.count() == 28


def test_the_order_of_the_rows_does_not_matter() -> None:
    user = make_user()
    _ingest(user, HEADER + "".join(ROWS))
    assert _ingest(user, HEADER + "".join(reversed(ROWS))).rows_added == 0


@pytest.mark.parametrize("batch_rows", [1, 2, 3, 20_000])
def test_equal_purchases_on_one_day_are_stored_separately(batch_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statement_batches, "BATCH_ROWS", batch_rows)
    user = make_user()
    coffee = "2025-03-01,COFFEE HUT,-4.00\n"
    assert _ingest(user, HEADER + coffee * 2 + ROWS[4] + coffee).rows_added == 4
    assert _ingest(user, HEADER + coffee * 2 + ROWS[4] + coffee).rows_added == 0
    assert _ingest(user, HEADER + coffee * 4).rows_added == 1


def test_an_overlapping_statement_adds_only_new_rows() -> None:
    user = make_user()
    _ingest(user, HEADER + "".join(ROWS[:20]))
    done = _ingest(user, HEADER + "".join(ROWS[10:]))
    assert (done.rows_added, done.rows_duplicate) == (8, 10)


def test_two_customers_may_have_the_same_purchase() -> None:
    assert _ingest(make_user(), HEADER + ROWS[0]).rows_added == 1
    assert _ingest(make_user(), HEADER + ROWS[0]).rows_added == 1


def test_bad_rows_are_reported_and_good_rows_are_stored() -> None:
    done = _ingest(make_user(), HEADER + ROWS[0] + "2025-03-02,SHOP,twelve\nnot a date,=SHOP(),-3.00\n" + ROWS[2])
    assert (done.rows_added, done.rows_rejected) == (2, 2)
    assert list(done.rejects.order_by("row_number").values_list("row_number", "field")) == [(3, "amount"), (4, "date")]
    download = "".join(done.rejects_csv())
    assert download.startswith("row,field,reason,original\r\n3,amount,")
    assert "SHOP,twelve" in download


def test_special_characters_survive_the_copy() -> None:
    text = HEADER + '2025-03-01,"BACK\\SLASH ""Q"" é","-1.00"\n'
    _ingest(make_user(), text)
    assert Transaction.objects.get().merchant == 'BACK\\SLASH "Q" é'


@pytest.mark.parametrize("stop_after", [1, 3, 6])
def test_a_killed_import_resumes_after_its_last_batch(stop_after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statement_batches, "BATCH_ROWS", 4)
    user = make_user()
    rows = (
        ROWS[:10] + ["2025-03-01,COFFEE HUT,-4.00\n"] * 9 + ROWS[10:] + ["2025-03-01,COFFEE HUT,-4.00\n", "bad,row,\n"]
    )
    statement = _upload(user, HEADER + "".join(rows))

    class Killed(BaseException):
        pass

    batches = iter(range(stop_after))

    def report(rows_done: int) -> None:
        if next(batches, None) is None:
            raise Killed

    with pytest.raises(Killed):
        ingest_statement_file(statement_id=statement.pk, on_progress=report)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM statement_fingerprints")  # as a crash of PostgreSQL does with an unlogged table
    done = ingest_statement_file(statement_id=statement.pk)
    assert (done.rows_done, done.rows_added, done.rows_rejected) == (39, 38, 1)
    assert Transaction.objects.count() == 38
    assert _ingest(user, HEADER + "".join(rows)).rows_added == 0


def test_the_task_reports_its_result_and_runs_once(django_capture_on_commit_callbacks) -> None:
    statement = _upload(make_user(), HEADER + "".join(ROWS))
    ingest_statement(str(statement.task_id))
    ingest_statement(str(statement.task_id))
    task = BackgroundTask.objects.get(pk=statement.task_id)
    assert (task.status, task.progress, task.total, task.attempts) == ("completed", 28, 28, 1)
    assert task.result == {"rows": 28, "added": 28, "duplicates": 0, "rejected": 0}


def test_a_file_that_cannot_be_read_fails_the_task_with_the_reason() -> None:
    statement = _upload(make_user(), b"\x00\x01\x02\x03" * 50)
    ingest_statement(str(statement.task_id))
    task = BackgroundTask.objects.get(pk=statement.task_id)
    assert task.status == "failed"
    assert task.error
    with pytest.raises(StatementError):
        ingest_statement_file(statement_id=statement.pk)


def test_a_file_that_is_too_large_is_rejected_immediately(settings) -> None:
    settings.STATEMENT_MAX_BYTES = 10
    with pytest.raises(StatementTooLargeError, match="at most 10"):
        _upload(make_user(), HEADER)
    assert not BackgroundTask.objects.exists()


def test_the_sweep_resends_lost_tasks_and_finally_fails_them() -> None:
    task = create_task(name="ingest_statement", user=make_user(), arguments={})
    assert recover_stuck_tasks() == 0
    BackgroundTask.objects.update(created_at="2025-01-01T00:00:00Z")
    assert recover_stuck_tasks() == 1
    with run_task(task_id=task.pk) as first, run_task(task_id=task.pk) as second:
        assert first is not None
        assert second is None
    BackgroundTask.objects.update(status="running", heartbeat_at="2025-01-01T00:00:00Z", attempts=MAX_ATTEMPTS)
    assert recover_stuck_tasks() == 0
    task.refresh_from_db()
    assert (task.status, task.error) == ("failed", f"given up after {MAX_ATTEMPTS} attempts")


def test_one_purchase_takes_one_query_and_is_idempotent(django_assert_num_queries) -> None:
    user = make_user()
    with django_assert_num_queries(1):
        first = create_transaction(user=user, amount=Decimal("4.50"), merchant="SQ *Joe's", idempotency_key="k1")
    again = create_transaction(user=user, amount=Decimal("4.50"), merchant="SQ *Joe's", idempotency_key="k1")
    assert (first.created, again.created, again.transaction_id) == (True, False, first.transaction_id)
    with pytest.raises(IdempotencyConflictError):
        create_transaction(user=user, amount=Decimal("4.51"), merchant="SQ *Joe's", idempotency_key="k1")
    assert create_transaction(user=user, amount=Decimal("4.50"), merchant="SQ *Joe's").created
    assert Transaction.objects.count() == 2


@pytest.mark.parametrize(("amount", "merchant"), [("0", "X"), ("1.234", "X"), ("99999999999", "X"), ("1", "  ")])
def test_an_invalid_purchase_is_rejected(amount: str, merchant: str) -> None:
    with pytest.raises(InvalidTransactionError):
        create_transaction(user=make_user(), amount=Decimal(amount), merchant=merchant)


def test_the_command_imports_and_reports(tmp_path: Path) -> None:
    make_user("Ann@example.com")
    file = tmp_path / "bank.csv"
    file.write_text(HEADER + ROWS[0] + "2025-03-02,SHOP,twelve\n")
    out = StringIO()
    call_command("ingest_statement", file, "--user", "ann@EXAMPLE.com", "--dry-run", stdout=out)
    assert "Nothing was changed" in out.getvalue()
    assert not Transaction.objects.exists()
    call_command("ingest_statement", file, "--user", "ann@EXAMPLE.com", "--rejects", tmp_path / "bad.csv", stdout=out)
    assert "1 added, 0 duplicates, 1 rejected" in out.getvalue()
    assert "row 3: amount" in out.getvalue()
    assert "twelve" in (tmp_path / "bad.csv").read_text()


def test_the_command_reports_errors(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no file"):
        call_command("ingest_statement", tmp_path / "none.csv", "--user", "x@example.com")
    file = tmp_path / "bank.csv"
    file.write_bytes(b"\x00\x01" * 100)
    with pytest.raises(CommandError, match="no user"):
        call_command("ingest_statement", file, "--user", "x@example.com")
    make_user("x@example.com")
    with pytest.raises(CommandError):
        call_command("ingest_statement", file, "--user", "x@example.com")
