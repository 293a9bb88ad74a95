"""Undoing, cancelling and repeating an import as a whole."""

from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.exceptions import PermissionDenied
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.utils import timezone

from analytics.services.rollups import verify_rollups
from kamioi_site.imports.models import expire_imports
from tests.factories import make_company, make_merchant, make_staff, make_user
from transactions.errors import (
    StatementExpiredError,
    StatementQuestionsError,
    StatementStateError,
    UndoNotPossibleError,
)
from transactions.models import (
    BackgroundTask,
    Holding,
    LedgerTransfer,
    Merchant,
    Notification,
    Order,
    StatementImport,
    Transaction,
    TransactionKey,
    UnmatchedRefund,
    User,
)
from transactions.services import ingest, statement_batches, statement_undo
from transactions.services.background_tasks import retry_task
from transactions.services.ingest import run_statement_import, upload_statement
from transactions.services.ledger_verification import find_ledger_problems
from transactions.services.processing import process_pending
from transactions.services.statement_repeats import repeat_statement
from transactions.services.statement_undo import (
    cancel_statement_import,
    request_statement_undo,
    run_statement_undo,
    undo_effect,
)

pytestmark = pytest.mark.django_db
CLOSED = datetime(2026, 1, 3, 15, tzinfo=UTC)  # a Saturday
HEADER = "Date,Description,Amount\n"
# Two purchases of a listed company, one of an unknown merchant, a refund, a transfer, an unreadable row.
TEXT = (
    f"{HEADER}2026-03-01,STARBUCKS #1,-4.50\n2026-03-02,STARBUCKS #2,-5.50\n2026-04-03,UNKNOWN SHOP LLC,-9.20\n"
    "2026-04-04,STARBUCKS #3,2.25\n2026-04-05,ONLINE TRANSFER TO SAV ...1234,-100.00\n2026-04-06,X,many\n"
)


@pytest.fixture(autouse=True)
def _market() -> None:
    make_company("SBUX", "95.00")
    make_merchant("STARBUCKS", "SBUX")


@pytest.fixture
def user() -> User:
    return make_user()


def upload(user: User, text: str = TEXT, **options: Any) -> StatementImport:
    return upload_statement(
        user=user, filename="bank.csv", content=ContentFile(text.encode()), requested_by=user, send=False, **options
    )


def imported(user: User, text: str = TEXT, *, process: bool = True, **options: Any) -> StatementImport:
    done = run_statement_import(task_id=upload(user, text, **options).task_id)
    assert done is not None
    if process:
        process_pending()
    return done


def undo(statement: StatementImport, actor: User | None = None) -> StatementImport:
    asked = request_statement_undo(statement_id=statement.pk, actor=actor, send=False)
    run_statement_undo(task_id=asked.undo_task_id)
    return StatementImport.objects.select_related("task", "undo_task").get(pk=statement.pk)


def assert_books_agree() -> None:
    assert list(find_ledger_problems()) == []
    assert [str(difference) for difference in verify_rollups()] == []


def statuses(user: User) -> list[str]:
    return sorted(Transaction.objects.filter(user=user).values_list("status", flat=True))


def test_rows_never_invested_are_deleted_and_bookings_are_reversed(user: User) -> None:
    statement = imported(user)
    assert statuses(user) == ["completed", "completed", "excluded", "needs_review", "refunded"]
    booked = list(LedgerTransfer.objects.filter(user_id=user.pk).order_by("id"))
    waiting = Merchant.objects.get(waiting_count=1)

    done = undo(statement)

    assert (done.state, done.rows_deleted, done.rows_reversed) == ("undone", 3, 2)
    assert done.undone_at is not None
    assert statuses(user) == ["undone", "undone"]
    row = Transaction.objects.filter(user=user).order_by("date")[0]
    assert (row.amount, row.total_debit, row.round_up, row.fee, row.ticker, row.shares) == (
        *(Decimal("4.50"), Decimal("4.50"), Decimal(0), Decimal(0)),
        *(None, None),
    )
    holding = Holding.objects.get(user=user)
    assert (holding.shares, holding.cost_basis) == (0, 0)
    entries = list(LedgerTransfer.objects.filter(user_id=user.pk).order_by("id"))
    assert entries[: len(booked)] == booked
    assert sorted((row.kind, row.amount, row.debit_account, row.credit_account) for row in entries[len(booked) :]) == (
        sorted((f"undo_{row.kind}", row.amount, row.credit_account, row.debit_account) for row in booked)
    )
    assert {row.reference for row in entries[len(booked) :]} == {f"undo of import {statement.pk}"}
    waiting.refresh_from_db()
    assert (waiting.waiting_count, waiting.waiting_amount) == (0, 0)
    assert done.rejects.count() == 1
    assert Notification.objects.filter(user=user, title="Your import was undone").count() == 1
    assert BackgroundTask.objects.get(pk=done.undo_task_id).result == {"deleted": 3, "reversed": 2}
    assert_books_agree()


def test_the_same_file_can_be_imported_again_after_an_undo_and_undone_again(user: User) -> None:
    first = imported(user)
    undo(first)
    again = imported(user)
    assert (again.rows_added, again.rows_duplicate) == (5, 0)
    assert statuses(user) == ["completed", "completed", "excluded", "needs_review", "refunded", "undone", "undone"]
    undone_id = Transaction.objects.filter(status="undone")[0].pk
    assert Transaction.objects.with_ids(undone_id).get().statement_id == first.pk
    undo(again)
    assert statuses(user) == ["undone"] * 4
    assert TransactionKey.objects.filter(user=user).count() == 4
    assert_books_agree()


def test_only_the_rows_of_this_import_and_customer_are_undone(user: User) -> None:
    earlier = imported(user, f"{HEADER}2026-03-01,STARBUCKS #1,-4.50\n2026-04-20,STARBUCKS #9,-1.00\n")
    statement = imported(user)
    other = make_user()
    imported(other)
    assert statement.rows_duplicate == 1
    undo(statement)
    assert statuses(user) == ["completed", "completed", "undone"]
    assert set(Transaction.objects.filter(user=user, status="completed").values_list("statement_id", flat=True)) == {
        earlier.pk
    }
    assert len(statuses(other)) == 5
    assert_books_agree()


def test_a_refund_whose_purchase_is_deleted_waits_for_another(user: User) -> None:
    first = imported(user, f"{HEADER}2026-03-01,UNKNOWN SHOP LLC,-9.20\n2026-03-01,STARBUCKS,-4.50\n")
    second = imported(
        user, f"{HEADER}2026-03-02,UNKNOWN SHOP LLC,9.20\n2026-03-02,STARBUCKS,4.50\n", answers={"spending": "negative"}
    )
    assert Transaction.objects.filter(related_id__isnull=False).count() == 4
    undo(first)
    refunds = Transaction.objects.filter(statement_id=second.pk)
    assert set(refunds.values_list("status", "related_id")) == {("refunded", None)}
    assert not Transaction.objects.filter(related_id__isnull=False).exists()
    assert UnmatchedRefund.objects.count() == 2
    assert_books_agree()
    again = imported(user, f"{HEADER}2026-03-01,UNKNOWN SHOP LLC,-9.20\n2026-03-01,STARBUCKS,-4.50\n")
    assert refunds.filter(related_id__isnull=False).count() == 2
    undo(second)
    assert not UnmatchedRefund.objects.exists()
    assert set(Transaction.objects.filter(statement_id=again.pk).values_list("related_id")) == {(None,)}
    assert_books_agree()


def test_an_order_that_waits_for_the_market_is_removed(user: User, settings: Any) -> None:
    settings.MARKET_ALWAYS_OPEN = False
    statement = imported(user, process=False)
    process_pending(now=CLOSED)
    assert Order.objects.filter(status="queued").count() == 2
    done = undo(statement)
    assert (done.rows_deleted, done.rows_reversed) == (5, 0)
    assert not Order.objects.exists()
    assert not Transaction.objects.exists()
    assert not TransactionKey.objects.exists()
    assert_books_agree()


def test_pending_rows_are_deleted_and_never_booked(user: User) -> None:
    statement = imported(user, process=False)
    undo(statement)
    assert process_pending().total == 0
    assert not Transaction.objects.exists()
    assert_books_agree()


@pytest.mark.parametrize("batch", [1, 2])
def test_a_killed_undo_continues_and_reverses_nothing_twice(
    user: User, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statement_undo, "MOVE_BATCH", batch)
    statement = imported(user)

    class Killed(BaseException):
        pass

    asked = request_statement_undo(statement_id=statement.pk, actor=user, send=False)
    with monkeypatch.context() as patch:
        patch.setattr(statement_undo, "heartbeat", lambda **_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            run_statement_undo(task_id=asked.undo_task_id)
    assert StatementImport.objects.get(pk=statement.pk).undone_at is None
    BackgroundTask.objects.filter(pk=asked.undo_task_id).update(status="queued", finished_at=None)

    run_statement_undo(task_id=asked.undo_task_id)
    run_statement_undo(task_id=asked.undo_task_id)

    done = StatementImport.objects.select_related("task", "undo_task").get(pk=statement.pk)
    assert (done.state, done.rows_deleted, done.rows_reversed) == ("undone", 3, 2)
    assert done.undo_task is not None
    assert (done.undo_task.progress, done.undo_task.total) == (5, 5)
    assert LedgerTransfer.objects.filter(kind="undo_purchase").count() == 2
    assert Notification.objects.filter(title="Your import was undone").count() == 1
    assert_books_agree()


def test_a_repeated_request_and_a_second_worker_change_nothing(user: User) -> None:
    statement = imported(user)
    first = request_statement_undo(statement_id=statement.pk, actor=user, send=False)
    second = request_statement_undo(statement_id=statement.pk, actor=user, send=False)
    assert first.undo_task_id == second.undo_task_id
    run_statement_undo(task_id=first.undo_task_id)
    task = BackgroundTask.objects.get(pk=first.undo_task_id)
    statement_undo.undo_statement(statement_id=statement.pk, task=task)  # a worker that was taken for dead
    assert request_statement_undo(statement_id=statement.pk, actor=user).undo_task_id == first.undo_task_id
    assert LedgerTransfer.objects.filter(kind="undo_purchase").count() == 2
    assert_books_agree()


def test_nothing_changes_when_the_shares_are_no_longer_there(user: User) -> None:
    statement = imported(user)
    Holding.objects.filter(user=user).update(shares=Decimal("0.001"))
    before = statuses(user)
    with pytest.raises(UndoNotPossibleError, match="bought more SBUX than the customer still holds"):
        request_statement_undo(statement_id=statement.pk, actor=user, send=False)
    assert undo_effect(statement).missing == ("SBUX",)
    assert statuses(user) == before
    assert StatementImport.objects.get(pk=statement.pk).undo_task_id is None


def test_shares_sold_between_request_and_undo_fail_the_task_which_can_be_requested_again(user: User) -> None:
    statement = imported(user)
    asked = request_statement_undo(statement_id=statement.pk, actor=user, send=False)
    shares = Holding.objects.get(user=user).shares
    Holding.objects.update(shares=0)
    run_statement_undo(task_id=asked.undo_task_id)
    failed = StatementImport.objects.select_related("task", "undo_task").get(pk=statement.pk)
    assert failed.undo_task is not None
    assert (failed.state, failed.rows_reversed) == ("undo_failed", 0)
    assert "bought more SBUX" in failed.undo_task.error
    Holding.objects.update(shares=shares)
    assert undo(statement).state == "undone"
    assert_books_agree()


def test_an_import_from_before_its_rows_were_known_cannot_be_undone(user: User) -> None:
    statement = imported(user)
    StatementImport.objects.update(first_date=None, last_date=None)
    with pytest.raises(UndoNotPossibleError, match="before imports could be undone"):
        request_statement_undo(statement_id=statement.pk, actor=user)


def test_the_database_refuses_an_undone_row_with_money(user: User) -> None:
    undo(imported(user))
    row = Transaction.objects.filter(status="undone")[0]
    with pytest.raises(IntegrityError, match="transactions_excluded_invests_nothing"), transaction.atomic():
        Transaction.objects.filter(pk=row.pk).update(investable=1, round_up=1, total_debit=row.amount + 1)


# --- Cancel -----------------------------------------------------------------------------------------------------------
def test_a_queued_import_that_is_cancelled_does_not_start(user: User) -> None:
    statement = upload(user)
    cancelled = cancel_statement_import(statement_id=statement.pk, actor=user, send=False)
    assert run_statement_import(task_id=statement.task_id) is None
    run_statement_undo(task_id=cancelled.undo_task_id)
    done = StatementImport.objects.select_related("task", "undo_task").get(pk=statement.pk)
    assert (done.state, done.rows_done, Transaction.objects.count()) == ("cancelled", 0, 0)
    assert not retry_task(task_id=statement.task_id)


def test_a_running_import_stops_after_its_batch_and_what_it_stored_is_removed(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statement_batches, "BATCH_ROWS", 2)
    statement = upload(user)

    def cancel_after_two_batches(rows: int) -> None:
        if rows == 4:
            process_pending()
            cancel_statement_import(statement_id=statement.pk, actor=user, send=False)

    run_statement_import(task_id=statement.task_id, on_progress=cancel_after_two_batches)

    stopped = StatementImport.objects.select_related("task", "undo_task").get(pk=statement.pk)
    assert (stopped.rows_done, stopped.task.status, stopped.state) == (4, "cancelled", "undoing")
    run_statement_undo(task_id=stopped.undo_task_id)
    done = StatementImport.objects.select_related("task", "undo_task").get(pk=statement.pk)
    assert (done.state, done.rows_deleted, done.rows_reversed) == ("cancelled", 2, 2)
    assert Notification.objects.filter(title="Your import was cancelled").count() == 1
    assert imported(user).rows_added == 5
    assert_books_agree()


def test_a_cancelled_import_cannot_be_run_again(user: User) -> None:
    statement = upload(user)
    cancel_statement_import(statement_id=statement.pk, actor=user, send=False)
    with pytest.raises(StatementStateError, match="cancelled or undone"):
        ingest.ingest_statement_file(statement_id=statement.pk)
    assert not Transaction.objects.exists()


def test_an_import_is_cancelled_while_it_runs_and_undone_when_it_has_ended(user: User) -> None:
    statement = upload(user)
    with pytest.raises(StatementStateError, match="is still being read"):
        request_statement_undo(statement_id=statement.pk, actor=user)
    run_statement_import(task_id=statement.task_id)
    with pytest.raises(StatementStateError, match="already ended"):
        cancel_statement_import(statement_id=statement.pk, actor=user)


# --- Repeat -----------------------------------------------------------------------------------------------------------
AMBIGUOUS = f"{HEADER}03/04/2026,STARBUCKS #1,-4.50\n05/06/2026,STARBUCKS #2,-5.50\n"


def test_a_file_is_imported_again_with_other_answers_after_the_first_import_is_undone(user: User) -> None:
    first = imported(user, AMBIGUOUS)
    assert [row.date.month for row in Transaction.objects.order_by("date")] == [3, 5]
    repeat = repeat_statement(statement_id=first.pk, answers={"date_order": "dmy"}, actor=user)
    assert Transaction.objects.filter(status="completed").count() == 2  # until the task runs

    done = run_statement_import(task_id=repeat.task_id)

    process_pending()
    assert done is not None
    assert (done.rows_added, done.repeats_id, done.answers) == (2, first.pk, {"date_order": "dmy"})
    first = StatementImport.objects.select_related("task", "undo_task").get(pk=first.pk)
    assert (first.state, first.rows_reversed, first.undo_task_id) == ("undone", 2, repeat.task_id)
    assert [row.date.month for row in Transaction.objects.filter(status="completed").order_by("date")] == [4, 6]
    assert_books_agree()


def test_a_repeat_that_was_killed_after_the_undo_continues(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    first = imported(user, AMBIGUOUS)
    repeat = repeat_statement(statement_id=first.pk, answers={"date_order": "dmy"}, actor=user)

    class Killed(BaseException):
        pass

    def killed(**_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(ingest, "ingest_statement_file", killed)
        with pytest.raises(Killed):
            run_statement_import(task_id=repeat.task_id)
    BackgroundTask.objects.filter(pk=repeat.task_id).update(status="queued", finished_at=None)
    done = run_statement_import(task_id=repeat.task_id)
    assert done is not None
    assert done.rows_added == 2
    assert LedgerTransfer.objects.filter(kind="undo_purchase").count() == 2
    assert_books_agree()


def test_a_repeat_with_open_questions_undoes_nothing(user: User) -> None:
    text = f"{HEADER}3.4.2026,STARBUCKS #1,-4.50\n5.6.2026,STARBUCKS #2,-5.50\n"
    with pytest.raises(StatementQuestionsError):
        upload(user, text)
    first = run_statement_import(task_id=upload(user, text, answers={"date_order": "mdy"}).task_id)
    assert first is not None
    with pytest.raises(StatementQuestionsError):
        repeat_statement(statement_id=first.pk, answers={}, actor=user)
    assert StatementImport.objects.count() == 1
    assert Transaction.objects.count() == 2


def test_an_expired_file_cannot_be_imported_again(user: User) -> None:
    first = imported(user)
    expire_imports(before=timezone.now())
    with pytest.raises(StatementExpiredError, match="has been deleted"):
        repeat_statement(statement_id=first.pk, answers={}, actor=user)
    assert undo(first).state == "undone"  # which needs no file


def test_an_import_is_repeated_once_at_a_time(user: User) -> None:
    statement = upload(user)
    with pytest.raises(StatementStateError, match="Cancel it first"):
        repeat_statement(statement_id=statement.pk, answers={}, actor=user)
    run_statement_import(task_id=statement.task_id)
    repeat_statement(statement_id=statement.pk, answers={}, actor=user)
    with pytest.raises(StatementStateError, match="undone or repeated"):
        repeat_statement(statement_id=statement.pk, answers={}, actor=user)


# --- Who may ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("act", [request_statement_undo, cancel_statement_import, repeat_statement])
def test_only_the_customer_and_staff_with_the_permission_may_undo(user: User, act: Any) -> None:
    statement = imported(user)
    options: dict[str, Any] = {"answers": {}} if act is repeat_statement else {}
    for other in (make_user(), make_user(is_staff=True)):
        with pytest.raises(PermissionDenied):
            act(statement_id=statement.pk, actor=other, **options)
    assert len(statuses(user)) == 5


def test_what_staff_do_is_logged(user: User) -> None:
    statement, staff = imported(user), make_staff()
    undo(statement, staff)
    entry = LogEntry.objects.get(user=staff)
    assert entry.object_id == str(statement.pk)
    assert entry.change_message.startswith("undo: deletes 3 transactions ($9.20 of purchases) and reverses 2 purchases")


# --- Command ----------------------------------------------------------------------------------------------------------
def test_the_command_shows_the_effect_and_undoes_with_yes(user: User) -> None:
    statement, out = imported(user), StringIO()
    call_command("undo_statement", statement.pk, stdout=out)
    assert "deletes 3 transactions ($9.20 of purchases) and reverses 2 purchases of shares" in out.getvalue()
    assert "Nothing was changed" in out.getvalue()
    assert len(statuses(user)) == 5
    call_command("undo_statement", statement.pk, "--yes", stdout=out)
    assert "3 deleted, 2 reversed" in out.getvalue()
    with pytest.raises(CommandError, match="there is no import 0"):
        call_command("undo_statement", 0)
    waiting = upload(user)
    call_command("undo_statement", waiting.pk, "--yes", stdout=out)
    assert StatementImport.objects.get(pk=waiting.pk).task.status == "cancelled"
    assert_books_agree()


def test_an_import_with_several_unknown_merchants_is_undone(user: User) -> None:
    statement = imported(user, f"{HEADER}2026-03-01,UNKNOWN SHOP LLC,-4.50\n2026-03-02,OTHER SHOP LLC,-5.50\n")
    assert undo(statement).rows_deleted == 2
    assert not Merchant.objects.filter(waiting_count__gt=0).exists()
    assert_books_agree()
