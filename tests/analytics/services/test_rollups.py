"""Rollups against a full recount, after any sequence of writes, by any writer, and after any kill."""

import io
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from dateutil.relativedelta import relativedelta
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.models import Sum
from django.utils import timezone
from django_celery_beat.models import PeriodicTask
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from analytics.models import (
    CustomerMonth,
    DecisionDay,
    LlmAnalyticsSummary,
    MappingDay,
    RollupPartition,
    TransactionDay,
)
from analytics.services import rollups
from analytics.services.rollups import rebuild_rollups, refresh_rollups, verify_rollups
from analytics.tasks import calculate_analytics
from kamioi_site.db.partitions import detach_partition, ensure_partitions
from llm_center.models import LlmCall, LlmMapping, MappingDecision, MappingDelta
from llm_center.services.mapping_log import create_log_row, delete_log_row, update_log_row
from llm_center.services.proposal_queue import propose_merchants
from llm_center.services.review.decisions import Action, decide_merchant
from llm_center.services.review.undo import request_undo, run_undo
from tests import citus
from tests.database import owner_cursor, superuser_cursor
from tests.factories import make_company, make_merchant, make_price, make_staff, make_transaction, make_user
from tests.workers import ROOT, celery_worker, process_environment, wait_until
from transactions.market.price_refresh import refresh_stock_prices
from transactions.models import Merchant, Setting, StockPrice, Transaction, TransactionDelta, User
from transactions.services.ingest import create_transaction, run_statement_import, upload_statement
from transactions.services.processing import (
    execute_orders,
    process_pending,
    release_waiting_transactions,
    settle_held_purchases,
)
from transactions.services.statement_undo import request_statement_undo, run_statement_undo

pytestmark = pytest.mark.django_db
committed = pytest.mark.django_db(transaction=True, serialized_rollback=True)
MONTH = datetime.now(UTC).date().replace(day=1)


@pytest.fixture(autouse=True)
def _flush_statistics(db: None) -> Iterator[None]:
    """Report the writes of earlier tests at once; PostgreSQL delays them by up to a second."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
    yield
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")


def summary() -> list[tuple[Any, ...]]:
    return list(
        LlmAnalyticsSummary.objects.order_by("date", "status").values_list("date", "status", "count", "avg_confidence")
    )


def counted_in_full() -> list[tuple[Any, ...]]:
    """Return the expected content of `llm_analytics_summary`, from the rows."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (created_at AT TIME ZONE 'UTC')::date, status, count(*), round(avg(confidence), 4)"
            " FROM llm_mappings GROUP BY 1, 2 ORDER BY 1, 2"
        )
        return cursor.fetchall()


def assert_right() -> None:
    assert [str(difference) for difference in verify_rollups()] == []
    assert summary() == counted_in_full()


def a_mapping(**values: Any) -> LlmMapping:
    return create_log_row(
        **{"merchant_name": "SHOP", "merchant_key": "SHOP", "source": "llm", "confidence": Decimal("0.7")} | values
    )


def some_of_everything() -> User:
    """Create purchases of two months in every status but `mapped`, and their proposals."""
    make_company("SBUX", "95.00")
    make_company("DELL", None)
    make_merchant("STARBUCKS", "SBUX")
    make_merchant("DELL", "DELL")
    make_merchant("TOWN HALL", None, "not_listed")
    user = make_user()
    for merchant in ("STARBUCKS", "DELL", "TOWN HALL", "NOBODY KNOWS"):
        for days in (0, 45):
            create_transaction(
                user=user, amount=Decimal("4.50"), merchant=merchant, date=timezone.now() - timedelta(days=days)
            )
    create_transaction(user=user, amount=Decimal("-4.50"), merchant="STARBUCKS")
    process_pending()
    create_transaction(user=user, amount=Decimal("9.99"), merchant="STARBUCKS")
    propose_merchants()
    return user


def decide(merchant: Merchant, action: Action, by: User) -> MappingDecision:
    done = decide_merchant(
        merchant_id=merchant.pk,
        action=action,
        actor=by,
        expected_updated_at=merchant.updated_at,
        ticker="SBUX",
        release=False,
    )
    assert done.decision is not None
    release_waiting_transactions(merchant_keys=[merchant.merchant_key])
    return done.decision


def undo(decision: MappingDecision, by: User) -> None:
    if Merchant.objects.get(merchant_key=decision.merchant_key).decision_id == decision.pk:
        request_undo(decision_id=decision.pk, actor=by)
        run_undo(decision_id=decision.pk)


@contextmanager
def market(*, is_open: bool) -> Iterator[None]:
    """Open or close the exchange; orders are due at once in either case."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("batch", "limits", "release"):
            patch.setattr(f"transactions.services.processing.{module}.market_is_open", lambda now: is_open)
        patch.setattr("transactions.services.processing.batch.next_open", lambda now: now - timedelta(seconds=1))
        yield


class Books(RuleBasedStateMachine):
    """All writes to the two tables, in any order; after each step the totals with their deltas must be correct."""

    days = st.integers(0, 80)
    purchases = st.lists(
        st.tuples(
            st.integers(0, 2),
            days,
            st.sampled_from(["STARBUCKS", "DELL", "ODD SHOP", "ODDER SHOP"]),
            st.integers(-900, 9000).filter(bool),
        ),
        min_size=1,
        max_size=6,
    )

    def __init__(self) -> None:
        super().__init__()
        self.atomic = transaction.atomic()
        self.atomic.__enter__()
        self.reviewer = make_staff()
        self.customers = [make_user() for _ in range(3)]
        self.decided: list[MappingDecision] = []
        self.uncounted = False

    @initialize()
    def directory(self) -> None:
        make_company("SBUX", "95.00")
        make_company("DELL", None)
        make_merchant("STARBUCKS", "SBUX")
        make_merchant("DELL", "DELL")
        refresh_rollups()

    @invariant()
    def what_was_counted_is_right(self) -> None:
        if not self.uncounted:  # a recount would hide errors
            months = {(timezone.now() - timedelta(days=days)).date() for days in range(0, 81, 20)}
            assert [str(difference) for difference in verify_rollups(months=months)] == []

    @rule(purchases=purchases)
    def purchases_come(self, purchases: list[tuple[int, int, str, int]]) -> None:
        for customer, days, merchant, cents in purchases:
            create_transaction(
                user=self.customers[customer],
                amount=Decimal(cents) / 100,
                merchant=merchant,
                date=timezone.now() - timedelta(days=days),
            )

    @rule(is_open=st.booleans())
    def processing(self, is_open: bool) -> None:
        with market(is_open=is_open):
            process_pending()

    @rule()
    def the_market_opens(self) -> None:
        with market(is_open=True):
            execute_orders()

    @rule()
    def a_price_comes(self) -> None:
        if not StockPrice.objects.filter(ticker="DELL").exists():
            make_price("DELL", "120.00")
        refresh_stock_prices()

    @rule()
    def proposals_are_made(self) -> None:
        propose_merchants()

    @rule(action=st.sampled_from([Action.CORRECT, Action.NOT_LISTED]), which=st.integers(0, 5), processed=st.booleans())
    def a_reviewer_decides(self, action: Action, which: int, processed: bool) -> None:
        waiting = list(Merchant.objects.filter(status__in=["proposed", "rejected"]).order_by("pk"))
        if waiting:
            self.decided.append(decide(waiting[which % len(waiting)], action, self.reviewer))
            if processed:
                process_pending()

    @rule()
    def the_decision_is_undone(self) -> None:
        if self.decided:
            undo(self.decided.pop(), self.reviewer)

    @rule(days=days, confidence=st.decimals(0, 1, places=6), source=st.sampled_from(["llm", "user", "bulk"]))
    def a_mapping_comes(self, days: int, confidence: Decimal, source: str) -> None:
        a_mapping(confidence=confidence, source=source, created_at=timezone.now() - timedelta(days=days))

    @rule(
        status=st.sampled_from(["approved", "rejected", "pending"]), confidence=st.none() | st.decimals(0, 1, places=4)
    )
    def mappings_change(self, status: str, confidence: Decimal | None) -> None:
        more = {} if confidence is None else {"confidence": confidence, "source": "matcher"}
        update_log_row(LlmMapping.objects.exclude(status=status), status=status, **more)

    @rule(source=st.sampled_from(["llm", "user", "bulk"]))
    def mappings_go(self, source: str) -> None:
        delete_log_row(LlmMapping.objects.filter(source=source))

    # PostgreSQL counts no writes to shards, and a refresh without a recheck would miss these there.
    @precondition(lambda _: not citus.ON_CITUS)
    @rule(days=days, what=st.sampled_from(["insert", "update", "delete", "truncate"]))
    def write_by_hand(self, days: int, what: str) -> None:
        when = timezone.now() - timedelta(days=days)
        self.uncounted = True
        if what == "insert":
            make_transaction(self.customers[0], "BY HAND", date=when)
            LlmMapping.objects.create(merchant_name="X", merchant_key="X", source="user", created_at=when)
        elif what == "update":
            Transaction.objects.filter(date__lt=when, status="needs_review").update(
                status="failed", failure_reason="by hand"
            )
            LlmMapping.objects.filter(created_at__lt=when).update(confidence=Decimal("0.25"))
        elif what == "delete":
            Transaction.objects.filter(date__gt=when, status__in=["pending", "refunded"]).delete()
            LlmMapping.objects.filter(created_at__gt=when).delete()
        else:
            # Within one (sub)transaction, a second TRUNCATE would keep the file and be invisible.
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("TRUNCATE llm_mappings")

    @rule()
    def a_refresh(self) -> None:
        refresh_rollups()
        self.uncounted = False
        assert TransactionDelta.objects.count() == MappingDelta.objects.count() == 0
        assert_right()

    @rule(recheck=st.integers(1, 3))
    def the_nightly_refresh(self, recheck: int) -> None:
        refresh_rollups(recheck=recheck)
        self.uncounted = False
        assert_right()

    def teardown(self) -> None:
        try:
            refresh_rollups()
            assert_right()
            assert not TransactionDay.objects.filter(rows__lte=0).exists()
            assert not MappingDay.objects.filter(rows__lte=0).exists()
        finally:
            transaction.set_rollback(True)
            self.atomic.__exit__(None, None, None)


@pytest.mark.as_owner
def test_rollups_match_a_full_recount_after_any_writes() -> None:
    run_state_machine_as_test(
        Books,
        settings=settings(
            max_examples=12,
            stateful_step_count=14,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )


# --- counted writes ---------------------------------------------------------------------------------------------------


@committed
def test_counted_writes_are_consumed_without_a_recount() -> None:
    refresh_rollups()
    some_of_everything()
    mapping = a_mapping(created_at=timezone.now() - timedelta(days=40))
    update_log_row(LlmMapping.objects.filter(pk=mapping.pk), status="approved")
    delete_log_row(LlmMapping.objects.filter(pk=mapping.pk))
    done = refresh_rollups()
    assert done.deltas > 0
    assert done.recounted == []
    assert refresh_rollups().deltas == 0
    assert_right()
    assert TransactionDay.objects.filter(status="completed").count() == 2
    assert CustomerMonth.objects.count() == 2


@committed
def test_every_change_of_a_transaction_is_counted_by_its_write() -> None:
    user, reviewer = some_of_everything(), make_staff()
    refresh_rollups()

    def counted(*statuses: str) -> None:
        assert [str(difference) for difference in verify_rollups(months=months)] == []
        assert set(Transaction.objects.filter(merchant_key="ODD SHOP").values_list("status", flat=True)) == set(
            statuses
        )

    def step(work: Callable[[], object], *statuses: str) -> None:
        work()
        counted(*statuses)

    months = [(timezone.now() - timedelta(days=days)).date() for days in (0, 61)]
    for days in (0, 61):
        create_transaction(
            user=user, amount=Decimal("4.50"), merchant="ODD SHOP", date=timezone.now() - timedelta(days=days)
        )
    counted("pending")
    odd = Merchant.objects.filter(merchant_key="ODD SHOP")
    step(process_pending, "needs_review")
    for action, became in ((Action.CORRECT, "completed"), (Action.NOT_LISTED, "not_listed")):
        decision = decide(odd.get(), action, reviewer)
        counted("pending")
        step(process_pending, became)
        undo(decision, reviewer)
        counted("pending")
        step(process_pending, "needs_review")
    decision = decide(odd.get(), Action.CORRECT, reviewer)
    with market(is_open=False):
        step(process_pending, "mapped")
    with market(is_open=True):
        step(execute_orders, "pending")
    with market(is_open=False):
        step(process_pending, "mapped")
    undo(decision, reviewer)
    decide(odd.get(), Action.CORRECT, reviewer)
    StockPrice.objects.all().delete()
    step(process_pending, "awaiting_price")
    make_price("SBUX", "96.00")
    step(refresh_stock_prices, "pending")
    User.objects.filter(pk=user.pk).update(is_active=False)
    step(process_pending, "on_hold")
    step(lambda: settle_held_purchases(user_id=user.pk), "pending")
    step(process_pending, "on_hold")
    step(lambda: settle_held_purchases(user_id=user.pk, cancel=True), "failed")
    assert refresh_rollups().recounted == []
    assert_right()


@committed
def test_an_undone_import_is_counted_by_its_writes() -> None:
    user = some_of_everything()
    day = f"{timezone.now() - timedelta(days=3):%Y-%m-%d}"
    text = f"Date,Description,Amount\n{day},STARBUCKS,-4.50\n{day},ODD SHOP,-5.50\n{day},TOWN HALL,-6.50\n"
    statement = upload_statement(
        user=user, filename="bank.csv", content=ContentFile(text.encode()), requested_by=user, send=False
    )
    run_statement_import(task_id=statement.task_id)
    process_pending()
    refresh_rollups()
    rows = CustomerMonth.objects.aggregate(Sum("rows"))["rows__sum"]
    asked = request_statement_undo(statement_id=statement.pk, actor=user, send=False)
    run_statement_undo(task_id=asked.undo_task_id)
    assert_right()
    assert refresh_rollups().recounted == []
    assert_right()
    assert TransactionDay.objects.get(status="undone").rows == 1
    assert CustomerMonth.objects.aggregate(Sum("rows"))["rows__sum"] == rows - 2


@committed
def test_late_and_changed_rows_are_counted_on_their_own_day() -> None:
    user = some_of_everything()
    refresh_rollups()
    late = timezone.now() - relativedelta(months=5)
    create_transaction(user=user, amount=Decimal("7.00"), merchant="STARBUCKS", date=late)
    a_mapping(created_at=late)
    assert refresh_rollups().recounted == []
    assert TransactionDay.objects.get(day=late.date()).status == "pending"
    process_pending()
    assert refresh_rollups().recounted == []
    day = TransactionDay.objects.get(day=late.date())
    assert (day.status, day.ticker, day.rows, day.amount, day.fee) == (
        "completed",
        "SBUX",
        1,
        Decimal("7.00"),
        Decimal("0.25"),
    )
    assert (late.date(), "pending", 1, Decimal("0.7000")) in summary()
    assert_right()


@committed
def test_deletions_and_repeated_runs_never_count_twice() -> None:
    some_of_everything()
    for _ in range(3):
        refresh_rollups()
        rebuild_rollups()
        assert_right()
    delete_log_row(LlmMapping.objects.all())
    refresh_rollups()
    assert summary() == []
    assert not MappingDay.objects.exists()
    assert_right()


# --- uncounted writes -------------------------------------------------------------------------------------------------


@committed
def test_uncounted_writes_are_detected_and_only_their_partition_is_recounted() -> None:
    user = some_of_everything()
    refresh_rollups()
    when = timezone.now() - relativedelta(months=2)
    make_transaction(user, date=when)
    done = refresh_rollups()
    assert done.recounted == [f"transactions_y{when:%Ym%m}"]
    LlmMapping.objects.filter(created_at__gte=timezone.now() - timedelta(hours=1)).update(confidence=Decimal("0.1"))
    done = refresh_rollups()
    assert done.recounted == [f"llm_mappings_y{timezone.now():%Ym%m}"]
    assert done.corrected > 0
    assert refresh_rollups().recounted == []
    assert_right()


@committed
def test_uncounted_writes_among_counted_ones_are_detected() -> None:
    user = some_of_everything()
    refresh_rollups()
    for _ in range(3):
        create_transaction(user=user, amount=Decimal("1.00"), merchant="STARBUCKS")
        make_transaction(user)
    assert refresh_rollups().recounted == [f"transactions_y{timezone.now():%Ym%m}"]
    assert_right()


@committed
def test_a_rolled_back_write_causes_a_recount_and_changes_nothing() -> None:
    user = some_of_everything()
    refresh_rollups()
    before = summary()
    with transaction.atomic():
        create_transaction(user=user, amount=Decimal("1.00"), merchant="STARBUCKS")
        transaction.set_rollback(True)
    assert refresh_rollups().corrected == 0
    assert summary() == before
    assert_right()


@committed
def test_reset_statistics_cause_no_full_recount_but_a_nightly_recheck() -> None:
    user = some_of_everything()
    refresh_rollups()
    with superuser_cursor() as cursor:
        cursor.execute("SELECT pg_stat_reset()")
    create_transaction(user=user, amount=Decimal("1.00"), merchant="STARBUCKS")
    assert refresh_rollups().recounted == []
    assert RollupPartition.objects.filter(verified_at=None, archived=False).exists()
    assert_right()
    names = RollupPartition.objects.filter(name__startswith="transactions_y")
    oldest = names.order_by("verified_at").first()
    names.filter(verified_at=None).update(verified_at=timezone.now())
    names.filter(pk=oldest.pk).update(verified_at=timezone.now() - timedelta(days=40))
    assert oldest.pk in refresh_rollups(recheck=2).recounted


def test_counted_writes_that_are_never_reported_do_not_hide_others() -> None:
    user = some_of_everything()
    refresh_rollups()
    name = f"transactions_y{timezone.now():%Ym%m}"
    RollupPartition.objects.filter(pk=name).update(unreported_writes=100)
    refresh_rollups()
    assert RollupPartition.objects.get(pk=name).unreported_writes == 100  # the statistics may be late
    RollupPartition.objects.filter(pk=name).update(looked_at=timezone.now() - timedelta(minutes=5))
    refresh_rollups()
    assert RollupPartition.objects.get(pk=name).unreported_writes == 0
    make_transaction(user, date=timezone.now())
    assert refresh_rollups().recounted == [name]
    assert_right()


def test_rows_of_the_default_partition_are_counted_before_and_after_they_move() -> None:
    user = some_of_everything()
    refresh_rollups()
    when = datetime(2011, 3, 31, 23, 59, tzinfo=UTC)
    create_transaction(user=user, amount=Decimal("3.00"), merchant="STARBUCKS", date=when)
    LlmMapping.objects.create(merchant_name="X", merchant_key="X", source="user", created_at=when)
    refresh_rollups()
    assert TransactionDay.objects.get(day=when.date()).rows == 1
    assert_right()
    for model in (Transaction, LlmMapping):
        ensure_partitions(model, [when])
    refresh_rollups()
    assert TransactionDay.objects.get(day=when.date()).rows == 1
    assert_right()


@pytest.mark.as_owner
def test_the_totals_of_a_detached_month_stay() -> None:
    user = some_of_everything()
    month = MONTH - relativedelta(months=4)
    create_transaction(
        user=user, amount=Decimal("3.00"), merchant="STARBUCKS", date=datetime(month.year, month.month, 9, tzinfo=UTC)
    )
    refresh_rollups()
    detach_partition(Transaction, f"{month:%Y-%m}")
    for _ in range(2):
        refresh_rollups(recheck=1)
        rebuild_rollups()
        assert TransactionDay.objects.get(day=month.replace(day=9)).rows == 1
    assert list(verify_rollups()) == []
    assert RollupPartition.objects.get(pk=f"transactions_y{month:%Ym%m}").archived
    # A late row of that month is in the default partition, and is counted as well.
    create_transaction(
        user=user, amount=Decimal("4.00"), merchant="STARBUCKS", date=datetime(month.year, month.month, 9, tzinfo=UTC)
    )
    refresh_rollups()
    assert TransactionDay.objects.get(day=month.replace(day=9)).rows == 2
    rebuild_rollups(months=[month])  # naming the month recounts what is there
    assert TransactionDay.objects.get(day=month.replace(day=9)).rows == 1


# --- concurrency and kill -9 ------------------------------------------------------------------------------------------


@committed
def test_concurrent_refreshes_and_writers_count_each_change_once() -> None:
    user = some_of_everything()
    refresh_rollups()
    stop, problems = threading.Event(), []

    def until_stopped(work: Any) -> None:
        try:
            while not stop.is_set():
                work()
        except Exception as error:
            problems.append(error)
        finally:
            connection.close()

    def write() -> None:
        create_transaction(user=user, amount=Decimal("2.00"), merchant="STARBUCKS")
        a_mapping()
        process_pending()

    def recount() -> None:
        rebuild_rollups(months=[MONTH])

    threads = [
        threading.Thread(target=until_stopped, args=(work,))
        for work in (write, write, refresh_rollups, refresh_rollups, recount)
    ]
    for thread in threads:
        thread.start()
    for _ in range(15):
        time.sleep(0.1)
        assert [str(difference) for difference in verify_rollups(months=[MONTH])] == []
    stop.set()
    for thread in threads:
        thread.join(60)
    assert problems == []
    refresh_rollups()
    assert_right()


@committed
def test_a_refresh_killed_at_any_moment_loses_and_duplicates_nothing() -> None:
    user = some_of_everything()
    script = (
        "import django; django.setup()\n"
        "from analytics.services import rollups; rollups.BATCH = 3\n"
        "print('ready', flush=True)\n"
        "while True: rollups.refresh_rollups(recheck=3)\n"
    )
    for pause in (0.0, 0.03, 0.1, 0.25):
        for _ in range(30):
            create_transaction(user=user, amount=Decimal("2.00"), merchant="STARBUCKS")
            a_mapping()
        child = subprocess.Popen(
            [sys.executable, "-c", script], env=process_environment(), cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert child.stdout
        assert child.stdout.readline() == "ready\n"
        time.sleep(pause)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        assert [str(difference) for difference in verify_rollups(months=[MONTH])] == []
    refresh_rollups()
    assert_right()


def test_a_backlog_is_consumed_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollups, "BATCH", 4)
    some_of_everything()
    waiting = TransactionDelta.objects.count() + MappingDelta.objects.count()
    assert waiting > 12
    assert refresh_rollups().deltas == waiting
    assert not TransactionDelta.objects.exists()
    assert not MappingDelta.objects.exists()
    assert_right()


# --- views ------------------------------------------------------------------------------------------------------------


def rows_of(view: str, order: str = "1, 2") -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {view} ORDER BY {order}")
        names = [column.name for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def test_the_summary_is_a_materialized_view_that_is_refreshed_without_blocking_readers() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indisunique, array_agg(attname ORDER BY attname) FROM pg_index"
            " JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey::int[])"
            " WHERE indrelid = 'llm_analytics_summary'::regclass GROUP BY 1"
        )
        assert cursor.fetchall() == [(True, ["date", "status"])]
        with owner_cursor() as reader:
            reader.execute("BEGIN; SELECT count(*) FROM llm_analytics_summary")
            cursor.execute("SET LOCAL lock_timeout = '10s'")
            refresh_rollups()


@pytest.mark.as_owner
def test_the_summary_is_refreshed_after_a_restore_without_its_data() -> None:
    with connection.cursor() as cursor:
        cursor.execute("REFRESH MATERIALIZED VIEW llm_analytics_summary WITH NO DATA")
        refresh_rollups()
        cursor.execute("SELECT count(*) FROM llm_analytics_summary")


def test_views_show_volume_tickers_revenue_and_users() -> None:
    some_of_everything()
    refresh_rollups()
    volume = {(row["date"], row["status"]): row for row in rows_of("analytics_volume")}
    today = timezone.now().date()
    assert volume[today, "completed"]["transactions"] == 1
    assert volume[today, "pending"]["amount"] == Decimal("9.99")
    assert {status for _, status in volume} == {
        "completed",
        "pending",
        "needs_review",
        "not_listed",
        "awaiting_price",
        "refunded",
    }
    assert [(row["date"], row["ticker"], row["invested"]) for row in rows_of("analytics_tickers")] == [
        (today - timedelta(days=45), "SBUX", Decimal("1.00")),
        (today, "SBUX", Decimal("1.00")),
    ]
    assert sum(row["fees"] for row in rows_of("analytics_revenue", "1")) == Decimal("0.50")
    users = rows_of("analytics_users")
    assert sum(row["transactions"] for row in users) == 10
    assert {(row["account_type"], row["active_users"]) for row in users} == {("individual", 1)}


def test_review_speed_is_the_median_of_how_long_merchants_waited() -> None:
    make_company("SBUX", "95.00")
    reviewer, now = make_staff(), timezone.now()
    for number, minutes in enumerate((10, 20, 90)):
        merchant = make_merchant(f"SHOP {number}", None, "proposed", created_at=now - timedelta(minutes=minutes))
        decide_merchant(
            merchant_id=merchant.pk, action=Action.CORRECT, actor=reviewer, expected_updated_at=None, ticker="SBUX"
        )
    wrong = make_merchant("WRONG", "SBUX", "approved", source="matcher")
    decide_merchant(
        merchant_id=wrong.pk, action=Action.NOT_LISTED, actor=reviewer, expected_updated_at=wrong.updated_at
    )
    refresh_rollups()
    review = {row["action"]: row for row in rows_of("analytics_review")}
    correct = review["correct"]
    assert (correct["decisions"], correct["waited"], correct["overturned"], correct["automatic"]) == (3, 3, 0, False)
    assert correct["median_seconds"] == pytest.approx(1200, abs=30)
    assert correct["slow_seconds"] == pytest.approx(1200 + 0.8 * 4200, abs=30)
    assert review["not_listed"]["waited"] == 0  # no transaction waited for it
    assert review["not_listed"]["median_seconds"] is None
    assert review["not_listed"]["overturned"] == 1


@pytest.mark.as_owner  # it changes the time of a decision
def test_a_reopened_merchant_waits_from_then_on_and_an_undone_decision_does_not_count() -> None:
    make_company("SBUX", "95.00")
    reviewer, now = make_staff(), timezone.now()
    merchant = make_merchant("SHOP", "SBUX", "proposed", created_at=now - timedelta(hours=5))
    first = decide_merchant(
        merchant_id=merchant.pk, action=Action.APPROVE, actor=reviewer, expected_updated_at=None
    ).decision
    assert first is not None
    assert first.waited_seconds == pytest.approx(5 * 3600, abs=30)
    request_undo(decision_id=first.pk, actor=reviewer)
    second = decide_merchant(
        merchant_id=merchant.pk, action=Action.REJECT, actor=reviewer, expected_updated_at=None
    ).decision
    assert second is not None
    assert second.waited_seconds == pytest.approx(5 * 3600, abs=30)
    MappingDecision.objects.filter(pk=second.pk).update(decided_at=now - timedelta(minutes=30))
    third = decide_merchant(
        merchant_id=merchant.pk,
        action=Action.CORRECT,
        ticker="SBUX",
        actor=reviewer,
        expected_updated_at=Merchant.objects.get().updated_at,
    ).decision
    assert third is not None
    assert third.waited_seconds == pytest.approx(1800, abs=30)
    refresh_rollups()
    assert DecisionDay.objects.get(action="approve").reversed == 1


def test_automatic_decisions_record_how_long_merchants_waited_too() -> None:
    make_company("SBUX", "95.00", name="Starbucks Corporation")
    make_merchant("STARBUCKS", None, "proposed", source="ingest", created_at=timezone.now() - timedelta(minutes=3))
    propose_merchants()
    decision = MappingDecision.objects.get(automatic=True)
    assert decision.waited_seconds == pytest.approx(180, abs=30)


def test_cost_is_per_transaction_and_user_with_a_pro_rata_running_month() -> None:
    some_of_everything()
    last = MONTH - relativedelta(months=1)
    user = make_user()
    for _ in range(3):
        create_transaction(
            user=user, amount=Decimal("4.50"), merchant="STARBUCKS", date=datetime(last.year, last.month, 2, tzinfo=UTC)
        )
    process_pending()
    LlmCall.objects.create(
        provider="openai",
        merchants=1,
        prompt_tokens=1,
        completion_tokens=1,
        duration_ms=1,
        cost=Decimal("0.50"),
        started_at=datetime(last.year, last.month, 3, tzinfo=UTC),
    )
    Setting.objects.filter(key="infrastructure_monthly_cost").update(value="120")
    refresh_rollups()
    costs = {row["month"]: row for row in rows_of("analytics_cost", "1")}
    cost = costs[last]
    completed = TransactionDay.objects.filter(status="completed", day__gte=last, day__lt=MONTH)
    transactions = sum(row.rows for row in completed)
    assert (cost["llm_cost"], cost["infrastructure_cost"], cost["transactions"]) == (
        Decimal("0.50"),
        Decimal(120),
        transactions,
    )
    assert cost["cost_per_transaction"] == round(Decimal("120.50") / transactions, 6)
    assert cost["cost_per_user"] == round(Decimal("120.50") / cost["active_users"], 4)
    assert (cost["target_per_transaction"], cost["target_per_user"]) == (Decimal("0.001"), Decimal("0.10"))
    assert 0 <= costs[MONTH]["infrastructure_cost"] <= 120
    Setting.objects.filter(key="infrastructure_monthly_cost").update(value="much")
    assert rows_of("analytics_cost", "1")[0]["cost"] is None


# --- command and task -------------------------------------------------------------------------------------------------


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("calculate_analytics", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_refreshes_verifies_and_rebuilds() -> None:
    some_of_everything()
    assert "up to date" in run()
    assert "The rollups match the rows" in run("--verify")
    MappingDay.objects.update(rows=77)
    month = f"{MONTH:%Y-%m}"
    with pytest.raises(CommandError, match=r"The rollups have [1-9]"):
        run("--verify", "--month", month)
    assert "totals corrected" in run("--rebuild", "--month", month)
    assert "The rollups match the rows" in run("--verify", "--month", month)
    TransactionDay.objects.all().delete()
    out = io.StringIO()
    with pytest.raises(CommandError, match="The rollups have"):
        call_command("calculate_analytics", "--verify", "--show", "1", stdout=out)
    assert len(out.getvalue().splitlines()) == 1
    assert "the rollups have nothing, the table has" in out.getvalue()
    assert "Recounted" in run("--rebuild")
    assert "The rollups match the rows" in run("--verify")
    with pytest.raises(CommandError, match="--month needs"):
        run("--month", month)


def test_the_refresh_is_scheduled_hourly_on_the_analytics_queue() -> None:
    task = PeriodicTask.objects.get(name="calculate_analytics")
    assert (task.task, task.enabled, task.queue) == ("calculate_analytics", True, "analytics")
    assert (task.crontab.minute, task.crontab.hour, task.crontab.day_of_month) == ("0", "*", "*")
    assert PeriodicTask.objects.get(name="recheck_analytics").kwargs == '{"recheck": 1}'
    some_of_everything()
    assert calculate_analytics(recheck=1)["deltas"] > 0
    assert_right()


@committed
def test_a_worker_refreshes_the_rollups() -> None:
    some_of_everything()
    with celery_worker(queues="analytics", concurrency=1):
        calculate_analytics.apply_async()
        # The summary of an earlier test remains until then: truncating tables does not change materialized views.
        wait_until(
            "the figures",
            lambda: RollupPartition.objects.filter(looked_at__isnull=False).exists() and summary() == counted_in_full(),
        )
    assert_right()


def test_a_refresh_uses_a_fixed_number_of_queries(django_assert_max_num_queries: Any) -> None:
    user = some_of_everything()
    refresh_rollups()
    for _ in range(50):
        create_transaction(user=user, amount=Decimal("2.00"), merchant="STARBUCKS")
        a_mapping()
    with django_assert_max_num_queries(40):
        assert refresh_rollups().recounted == []


def test_days_are_utc() -> None:
    late = datetime.combine(date.today() - timedelta(days=3), datetime.max.time(), tzinfo=UTC)  # noqa: DTZ011
    create_transaction(user=make_user(), amount=Decimal("2.00"), merchant="STARBUCKS", date=late)
    a_mapping(created_at=late)
    refresh_rollups()
    assert TransactionDay.objects.get().day == MappingDay.objects.get().day == late.date()
    assert_right()
