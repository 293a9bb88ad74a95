"""Processing: the outcome of each kind of transaction, exactly once under all circumstances."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from tests.database import owner_cursor
from tests.factories import make_company, make_merchant, make_price, make_transaction, make_user
from transactions.models import (
    Company,
    Holding,
    LedgerTransfer,
    Merchant,
    Notification,
    Order,
    StockPrice,
    Transaction,
    User,
)
from transactions.rules.money import purchase_of
from transactions.services.ledger_verification import find_ledger_problems
from transactions.services.processing import (
    batch,
    execute_orders,
    process_pending,
    process_transaction_now,
    recover_stuck,
    release_waiting_transactions,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def starbucks() -> Merchant:
    make_company("SBUX", "95.00")
    return make_merchant("STARBUCKS", "SBUX")


def test_a_known_merchant_is_bought_and_booked(starbucks: Merchant) -> None:
    user = make_user(round_up_amount=2)
    row = make_transaction(user, amount="4.50")

    done = process_pending()

    row.refresh_from_db()
    expected = purchase_of(
        row.amount,
        price=Decimal("95.00"),
        platform_fee=Decimal("0.25"),
        max_share=Decimal("0.25"),
        enabled=True,
        rule="flat",
        flat=2,
    )
    assert dict(done.statuses) == {"completed": 1}
    assert (row.status, row.ticker, row.price_per_share) == ("completed", "SBUX", Decimal("95.0000"))
    assert (row.round_up, row.fee, row.total_debit, row.investable, row.shares) == (
        expected.round_up,
        expected.fee,
        expected.total_debit,
        expected.investable,
        expected.shares,
    )
    transfers = {transfer.kind: transfer for transfer in LedgerTransfer.objects.filter(transaction_id=row.pk)}
    assert {kind: transfer.amount for kind, transfer in transfers.items()} == {
        "round_up": Decimal("2.00"),
        "fee": Decimal("0.25"),
        "purchase": Decimal("2.00"),
    }
    assert transfers["purchase"].shares == row.shares
    holding = Holding.objects.get(user=user)
    assert (holding.ticker, holding.shares, holding.cost_basis) == ("SBUX", row.shares, Decimal("2.00"))
    assert "0.02105263 shares of SBUX" in Notification.objects.get(user=user).message
    assert list(find_ledger_problems()) == []


def test_running_twice_books_once(starbucks: Merchant) -> None:
    make_transaction(make_user())
    assert process_pending().total == 1
    assert process_pending().total == 0
    assert LedgerTransfer.objects.count() == 3


@pytest.mark.parametrize(
    ("status", "ticker", "outcome"),
    [("not_listed", None, "not_listed"), ("proposed", "SBUX", "needs_review"), ("rejected", None, "needs_review")],
)
def test_only_an_approved_merchant_invests(status: str, ticker: str | None, outcome: str) -> None:
    make_company("SBUX")
    make_merchant("STARBUCKS", ticker, status)
    row = make_transaction(make_user())
    process_pending()
    row.refresh_from_db()
    assert row.status == outcome
    assert not LedgerTransfer.objects.exists()


def test_a_company_that_left_the_exchange_is_not_bought(starbucks: Merchant) -> None:
    Company.objects.update(is_listed=False)
    row = make_transaction(make_user())
    process_pending()
    row.refresh_from_db()
    assert (row.status, row.ticker) == ("needs_review", None)


def test_transactions_of_unknown_merchants_wait_and_are_counted_per_merchant() -> None:
    for amount in ("4.50", "7.25", "3.00"):
        make_transaction(make_user(round_up_rule="next_dollar"), "JOES DINER", amount)
    process_pending()
    merchant = Merchant.objects.get()
    assert (merchant.merchant_key, merchant.status) == ("JOES DINER", "proposed")
    assert (merchant.waiting_count, merchant.waiting_amount) == (3, Decimal("1.25"))


def test_a_release_processes_waiting_transactions() -> None:
    make_company("SBUX")
    rows = [make_transaction(make_user(), "COFFEE HUT") for _ in range(5)]
    process_pending()
    Merchant.objects.update(status="approved", ticker="SBUX")

    assert release_waiting_transactions(merchant_keys=["COFFEE HUT"]) == 5
    assert Merchant.objects.get().waiting_count == 0
    process_pending()

    assert set(Transaction.objects.filter(pk__in=[row.pk for row in rows]).values_list("status", flat=True)) == {
        "completed"
    }
    assert list(find_ledger_problems()) == []


def test_the_sweep_releases_transactions_after_a_lost_message() -> None:
    make_company("SBUX")
    make_transaction(make_user(), "COFFEE HUT")
    process_pending()
    Merchant.objects.update(status="approved", ticker="SBUX")
    recover_stuck()
    assert Transaction.objects.get().status == "pending"


def _row_writes() -> int:
    """Return the rows of all tables that this transaction has written so far."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_xact_user_tables")
        return int(cursor.fetchone()[0])


@pytest.mark.parametrize(
    "event",
    [
        lambda: Company.objects.filter(ticker="SBUX").update(is_listed=True),
        lambda: Merchant.objects.update(ticker="GME"),
        lambda: Merchant.objects.update(ticker=None, status="not_listed"),
    ],
    ids=["listed again", "mapped to another company", "not listed"],
)
def test_purchases_of_a_delisted_company_rest_until_the_listing_or_the_mapping_changes(
    starbucks: Merchant, event: Callable[[], int]
) -> None:
    make_company("GME")
    Company.objects.filter(ticker="SBUX").update(is_listed=False)
    user = make_user()
    for _ in range(5):
        make_transaction(user)
    process_pending()
    assert Merchant.objects.get().waiting_count == 5
    before = _row_writes()
    for _ in range(3):
        recover_stuck()
        process_pending()
    assert _row_writes() == before
    event()
    recover_stuck()
    process_pending()
    assert not Transaction.objects.filter(status="needs_review").exists()
    assert Merchant.objects.get().waiting_count == 0


@pytest.mark.parametrize("age", [None, timedelta(days=30)])
def test_a_missing_or_stale_price_waits(age: timedelta | None) -> None:
    make_company("SBUX", price=None)
    make_merchant()
    if age:
        make_price("SBUX", "95.00", age=age)
    row = make_transaction(make_user())
    process_pending()
    row.refresh_from_db()
    assert row.status == "awaiting_price"
    assert not LedgerTransfer.objects.exists()


def test_the_latest_price_is_used(starbucks: Merchant) -> None:
    make_price("SBUX", "50.00", age=timedelta(hours=5))
    make_price("SBUX", "60.00", age=-timedelta(hours=5))  # not yet
    row = make_transaction(make_user())
    process_pending()
    row.refresh_from_db()
    assert row.price_per_share == Decimal("95.00")


def test_a_refund_invests_nothing(starbucks: Merchant) -> None:
    row = make_transaction(make_user(), amount="-4.50")
    process_pending()
    row.refresh_from_db()
    assert (row.status, row.investable, row.total_debit) == ("refunded", Decimal(0), Decimal("-4.50"))
    assert not LedgerTransfer.objects.exists()


def test_a_customer_without_round_ups_pays_nothing(starbucks: Merchant) -> None:
    row = make_transaction(make_user(round_up_enabled=False))
    process_pending()
    row.refresh_from_db()
    assert (row.status, row.fee, row.total_debit, row.shares) == ("completed", Decimal(0), row.amount, None)
    assert list(find_ledger_problems()) == []


def test_money_that_buys_less_than_a_hundred_millionth_of_a_share_is_still_owed() -> None:
    make_company("GOLD", "999999999.0000")
    make_merchant("GOLD", "GOLD")
    make_transaction(make_user(), "GOLD")
    process_pending()
    kinds = dict(LedgerTransfer.objects.values_list("kind", "amount"))
    assert kinds == {"round_up": Decimal("1.00"), "fee": Decimal("0.25"), "purchase": Decimal("1.00")}
    holding = Holding.objects.get()
    assert (holding.shares, holding.cost_basis) == (Decimal(0), Decimal("1.00"))
    assert list(find_ledger_problems()) == []


def test_orders_after_hours_wait_for_the_open_and_use_its_price(starbucks: Merchant, settings) -> None:
    settings.MARKET_ALWAYS_OPEN = False
    settings.PRICE_MAX_AGE = timedelta(days=36500)
    saturday = datetime(2025, 11, 22, 15, 0, tzinfo=UTC)
    monday = datetime(2025, 11, 24, 14, 30, tzinfo=UTC)
    StockPrice.objects.all().delete()
    StockPrice.objects.create(ticker="SBUX", price="80.00", as_of=saturday - timedelta(days=1), source="test")
    row = make_transaction(make_user(), date=saturday)

    process_pending(now=saturday)
    order = Order.objects.get()
    row.refresh_from_db()
    assert (row.status, order.status, order.execute_after) == ("mapped", "queued", monday)
    assert not LedgerTransfer.objects.exists()
    assert execute_orders(now=saturday + timedelta(hours=1)) == 0

    StockPrice.objects.create(ticker="SBUX", price="100.00", as_of=monday, source="test")
    assert execute_orders(now=monday) == 1
    process_pending(now=monday)
    order.refresh_from_db()
    row.refresh_from_db()
    assert (row.status, row.price_per_share) == ("completed", Decimal("100.00"))
    assert (order.status, order.price, order.shares) == ("executed", Decimal("100.00"), Decimal("0.01000000"))
    assert list(find_ledger_problems()) == []


def test_an_order_whose_merchant_was_corrected_is_not_executed_for_the_wrong_company(
    starbucks: Merchant, settings
) -> None:
    settings.MARKET_ALWAYS_OPEN = False
    saturday = datetime(2025, 11, 22, 15, 0, tzinfo=UTC)
    make_transaction(make_user(), date=saturday)
    process_pending(now=saturday)
    Merchant.objects.update(status="not_listed", ticker=None)
    settings.MARKET_ALWAYS_OPEN = True
    execute_orders()
    process_pending()
    assert Order.objects.get().status == "cancelled"
    assert Transaction.objects.get().status == "not_listed"


def test_one_transaction_can_be_processed_immediately(starbucks: Merchant) -> None:
    row = make_transaction(make_user())
    assert process_transaction_now(transaction_id=row.pk).statuses == {"completed": 1}
    assert process_transaction_now(transaction_id=row.pk).total == 0
    assert process_transaction_now(transaction_id=10**12).total == 0


def test_urgent_transactions_are_processed_first(starbucks: Merchant, settings) -> None:
    settings.PROCESS_BATCH_SIZE = 1
    user = make_user()
    bulk = make_transaction(user, priority=9)
    own = make_transaction(user, priority=0)
    process_pending(deadline=time.monotonic())
    bulk.refresh_from_db()
    own.refresh_from_db()
    assert own.status == "completed"


@pytest.mark.as_owner
@pytest.mark.parametrize(
    ("sql", "constraint"),
    [
        ("UPDATE transactions SET status = 'done'", "transactions_status_known"),
        (
            "UPDATE transactions SET fee = -1, fee_cents = -100, total_debit = amount + round_up - 1",
            "transactions_parts_not_negative",
        ),
        ("UPDATE transactions SET total_debit = 0", "transactions_total_debit_adds_up"),
        ("UPDATE transactions SET ticker = NULL", "transactions_completed_is_bought"),
        (
            "UPDATE transactions SET amount = -amount, total_debit = round_up + fee - amount",
            "transactions_refund_invests_nothing",
        ),
        ("UPDATE transactions SET status = 'failed'", "transactions_failed_has_reason"),
        ("UPDATE ledger_transfers SET amount = -1", "ledger_transfers_amount_positive"),
        (
            "UPDATE ledger_transfers SET kind = 'fee' WHERE kind = 'round_up'",
            "ledger_transfers_(booked_once|posting_rule)",
        ),
        ("UPDATE ledger_transfers SET debit_account = credit_account", "ledger_transfers_(two_accounts|posting_rule)"),
        ("UPDATE ledger_transfers SET shares = NULL", "ledger_transfers_shares_with_purchase"),
        (
            "INSERT INTO ledger_transfers (user_id, date, transaction_id, kind, debit_account, credit_account, amount) "
            "SELECT user_id, date, transaction_id, kind, debit_account, credit_account, amount "
            "FROM ledger_transfers WHERE kind = 'fee'",
            "booked_once|user_id_transaction_id_kind_date",
        ),
        ("UPDATE holdings SET shares = -1", "holdings_not_negative"),
        (
            "INSERT INTO holdings (user_id, ticker, shares, cost_basis, updated_at) "
            "SELECT user_id, ticker, 1, 1, now() FROM holdings",
            "holdings_one_per_ticker",
        ),
        ("UPDATE stock_prices SET price = 0", "stock_prices_price_positive"),
        ("UPDATE merchants SET ticker = NULL", "merchants_approved_has_ticker"),
        ("UPDATE merchants SET confidence = 1.5", "merchants_confidence_0_to_1"),
        ("UPDATE users SET round_up_amount = 101", "users_round_up_amount_1_to_100"),
        (
            "INSERT INTO users"
            " SELECT (jsonb_populate_record(users, jsonb_build_object('id', id + 1, 'email', upper(email)))).* "
            "FROM users",
            "users_email_unique_any_case",
        ),
    ],
)
def test_the_database_rejects_invalid_writes_that_bypass_the_models(
    starbucks: Merchant, sql: str, constraint: str
) -> None:
    make_transaction(make_user())
    process_pending()
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql)


@pytest.mark.as_owner
@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("UPDATE holdings SET shares = shares + 0.00000001", "holding"),
        ("DELETE FROM holdings", "holding"),
        ("DELETE FROM ledger_transfers WHERE kind = 'fee'", "transaction"),
        ("UPDATE transactions SET fee = 0, fee_cents = 0, total_debit = amount + round_up", "transaction"),
        ("UPDATE transactions SET status = 'pending'", "transaction"),
        ("DELETE FROM ledger_accounts WHERE number = '40100'", "account"),
    ],
)
def test_verify_ledger_finds_every_kind_of_inconsistency(starbucks: Merchant, sql: str, problem: str, capsys) -> None:
    make_transaction(make_user())
    process_pending()
    call_command("verify_ledger")
    with connection.cursor() as cursor:
        cursor.execute(sql)
    with pytest.raises(CommandError, match="the ledger is inconsistent"):
        call_command("verify_ledger")
    assert problem in capsys.readouterr().out


def _fill(rows: int) -> None:
    make_company("SBUX")
    make_merchant()
    users = [make_user() for _ in range(20)]
    moment = timezone.now() - timedelta(days=1)
    Transaction.objects.bulk_create(
        Transaction(
            user=users[number % 20],
            date=moment,
            merchant="STARBUCKS",
            merchant_key="STARBUCKS",
            amount=Decimal("4.50"),
            total_debit=Decimal("4.50"),
        )
        for number in range(rows)
    )


def _assert_each_booked_once(rows: int) -> None:
    assert Transaction.objects.filter(status="completed").count() == rows
    assert LedgerTransfer.objects.filter(kind="purchase").count() == rows
    # One for a customer's purchases of a batch: "3 purchases: …".
    messages = Notification.objects.values_list("message", flat=True)
    assert sum(int(text.split()[0]) if " purchases: $" in text else 1 for text in messages) == rows
    assert list(find_ledger_problems()) == []


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_concurrent_workers_book_each_transaction_once(settings) -> None:
    settings.PROCESS_BATCH_SIZE = 50
    _fill(1000)

    def work() -> None:
        try:
            while Transaction.objects.filter(status="pending").exists():
                process_pending()
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    _assert_each_booked_once(1000)


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_a_worker_killed_at_any_time_loses_and_duplicates_nothing(settings) -> None:
    _fill(3000)
    # The child processes this test database in small batches and is killed at a different time in each round.
    script = (
        "import django; django.setup()\n"
        "from django.conf import settings; settings.PROCESS_BATCH_SIZE = 40\n"
        "from transactions.services.processing import process_pending\n"
        "print('ready', flush=True); process_pending()\n"
    )
    host = settings.DATABASES["default"]
    url = os.environ["DATABASE_URL"]
    base, _, query = url.partition("?")
    env = os.environ | {
        "DATABASE_URL": base.rsplit("/", 1)[0] + "/" + str(host["NAME"]) + ("?" + query if query else "")
    }
    for pause in (0.0, 0.02, 0.05, 0.1, 0.2, 0.35):
        child = subprocess.Popen([sys.executable, "-c", script], env=env, stdout=subprocess.PIPE, text=True)
        assert child.stdout
        child.stdout.readline()
        time.sleep(pause)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    while Transaction.objects.filter(status="pending").exists():
        process_pending()
    _assert_each_booked_once(3000)


def test_the_number_of_queries_does_not_depend_on_the_batch_size(
    starbucks: Merchant, django_assert_max_num_queries
) -> None:
    users: list[User] = [make_user() for _ in range(3)]
    for user in users:
        for _ in range(30):
            make_transaction(user)
    with django_assert_max_num_queries(20):
        process_pending()
    assert Transaction.objects.filter(status="completed").count() == 90


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_a_row_that_cannot_be_booked_fails_alone_with_the_reason(starbucks: Merchant) -> None:
    customers = [make_user() for _ in range(4)]
    neighbours = [make_transaction(user, amount="4.50") for user in customers for _ in range(5)]
    poison = make_transaction(customers[0], merchant="STARBUCKS", amount="66.66")
    more = [make_transaction(user, amount="5.50") for user in customers]
    with owner_cursor() as cursor:
        cursor.execute(
            "ALTER TABLE transactions ADD CONSTRAINT no_such_amount"
            " CHECK (amount <> 66.66 OR status IN ('pending', 'failed'))"
        )
    try:
        done = process_pending()
        assert dict(done.statuses) == {"completed": len(neighbours) + len(more), "failed": 1}
        assert process_pending().total == 0
    finally:
        with owner_cursor() as cursor:
            cursor.execute("ALTER TABLE transactions DROP CONSTRAINT no_such_amount")
    poison.refresh_from_db()
    assert poison.status == "failed"
    assert poison.failure_reason.startswith("It cannot be booked: ")
    assert "66.66" not in poison.failure_reason
    assert list(find_ledger_problems()) == []


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_the_run_stops_when_no_row_can_be_booked(starbucks: Merchant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "MAX_FAILED", 2)
    user = make_user()
    for _ in range(6):
        make_transaction(user)
    with owner_cursor() as cursor:
        cursor.execute("ALTER TABLE ledger_transfers ADD CONSTRAINT nothing_goes CHECK (kind <> 'fee')")
    try:
        with pytest.raises(IntegrityError):
            process_pending()
    finally:
        with owner_cursor() as cursor:
            cursor.execute("ALTER TABLE ledger_transfers DROP CONSTRAINT nothing_goes")
    assert Transaction.objects.filter(status="failed").count() == 2
    assert Transaction.objects.filter(status="pending").count() == 4
