"""Collection of what customers owe, and settlement of the house's positions at the broker."""

import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.factories import make_company, make_merchant, make_price, make_transaction, make_user
from transactions import tasks
from transactions.errors import SettlementError
from transactions.models import (
    BackgroundTask,
    BrokerOrder,
    BrokerPosition,
    Collection,
    Holding,
    LedgerTransfer,
    Merchant,
    StatementImport,
    StockPrice,
    User,
)
from transactions.services import settlement
from transactions.services.ingest import run_statement_import, upload_statement
from transactions.services.ledger_seals import start_of
from transactions.services.ledger_verification import find_ledger_problems
from transactions.services.processing import correct_bookings, process_pending
from transactions.services.settlement import collect_round_ups, settle_positions
from transactions.services.statement_undo import request_statement_undo, run_statement_undo

pytestmark = pytest.mark.django_db


@pytest.fixture
def customer() -> User:
    make_company("SBUX", "95.00")
    make_merchant("STARBUCKS", "SBUX")
    return make_user(round_up_amount=2)


def balances() -> dict[str, Decimal]:
    """Return debits less credits of every account that is not zero."""
    found: dict[str, Decimal] = {}
    for row in LedgerTransfer.objects.all():
        found[row.debit_account] = found.get(row.debit_account, Decimal(0)) + row.amount
        found[row.credit_account] = found.get(row.credit_account, Decimal(0)) - row.amount
    assert sum(found.values()) == 0
    return {account: balance for account, balance in found.items() if balance}


def buy(customer: User, count: int = 1) -> None:
    for _ in range(count):
        make_transaction(customer)
    process_pending()


def import_statement(customer: User, text: str) -> StatementImport:
    statement = upload_statement(
        user=customer, filename="bank.csv", content=ContentFile(text.encode()), requested_by=customer, send=False
    )
    run_statement_import(task_id=statement.task_id)
    return statement


def undo(statement: StatementImport) -> None:
    run_statement_undo(task_id=request_statement_undo(statement_id=statement.pk, actor=None, send=False).undo_task_id)


def correct(key: str, ticker: str | None, *, decision_id: int) -> None:
    """Decide the merchant, and correct what was booked."""
    status = Merchant.Status.APPROVED if ticker else Merchant.Status.NOT_LISTED
    Merchant.objects.filter(merchant_key=key).update(ticker=ticker, status=status, decision_id=decision_id)
    task = BackgroundTask.objects.create(name="correct_purchases", status=BackgroundTask.Status.RUNNING)
    correct_bookings(task=task, merchant=Merchant.objects.get(merchant_key=key), decision_id=decision_id)


def kinds(**filters: Any) -> list[tuple[str, Decimal]]:
    return list(LedgerTransfer.objects.filter(**filters).order_by("id").values_list("kind", "amount"))


class TestCollection:
    def test_a_customer_gets_one_entry_over_the_net_of_what_was_booked(self, customer):
        other = make_user(round_up_amount=1)
        buy(customer, 2)
        buy(other)
        assert collect_round_ups() == settlement.CollectionResult(2, Decimal("5.75"), Decimal(0))
        assert kinds(kind="collection", user_id=customer.pk) == [("collection", Decimal("4.50"))]
        row = LedgerTransfer.objects.get(kind="collection", user_id=other.pk)
        assert (row.debit_account, row.credit_account, row.amount) == ("10100", "11100", Decimal("1.25"))
        assert row.reference == f"collection {timezone.now():%Y-%m-%d}"
        assert "11100" not in balances()
        assert list(find_ledger_problems()) == []

    def test_a_second_run_collects_nothing(self, customer):
        buy(customer)
        collect_round_ups()
        assert collect_round_ups() == settlement.CollectionResult()
        buy(customer)
        assert collect_round_ups().amount == Decimal("2.25")
        assert Collection.objects.count() == 2

    def test_what_was_collected_is_returned_after_an_undo(self, customer):
        statement = import_statement(customer, "Date,Description,Amount\n2026-03-01,STARBUCKS #1,-4.50\n")
        process_pending()
        collect_round_ups()
        undo(statement)
        assert collect_round_ups() == settlement.CollectionResult(1, Decimal(0), Decimal("2.25"))
        assert kinds(kind="returned") == [("returned", Decimal("2.25"))]
        assert balances() == {}

    def test_a_purchase_booked_and_undone_before_collection_costs_nothing(self, customer):
        statement = import_statement(customer, "Date,Description,Amount\n2026-03-01,STARBUCKS #1,-4.50\n")
        process_pending()
        undo(statement)
        assert collect_round_ups() == settlement.CollectionResult()
        assert not Collection.objects.exists()

    def test_a_later_booking_of_an_earlier_day_is_collected_with_the_next_run(self, customer):
        buy(customer)
        collect_round_ups()
        make_transaction(customer)
        make_price("SBUX", "95.00", age=timedelta(days=3))
        process_pending(now=datetime.now(UTC) - timedelta(days=2))
        assert collect_round_ups().amount == Decimal("2.25")
        assert balances().get("11100") is None

    def test_verification_finds_a_wrong_amount(self, customer):
        buy(customer)
        collect_round_ups()
        LedgerTransfer.objects.create(
            user_id=customer.pk,
            date=start_of(timezone.now().date()),
            kind="collection",
            debit_account="10100",
            credit_account="11100",
            amount=Decimal("0.01"),
        )
        found = {problem.subject: (problem.found, problem.expected) for problem in find_ledger_problems()}
        assert found["collected from account 11100"] == ("$2.26", "$2.25")
        assert found["receivable"] == ("$0.00", "$-0.01")

    def test_the_command_prints_a_summary(self, customer):
        buy(customer)
        assert _run("collect_round_ups") == "1 customer: $2.25 collected, $0.00 returned.\n"
        assert _run("collect_round_ups") == "Nothing to collect.\n"


class TestSettlement:
    def test_the_house_buys_what_customers_own(self, customer):
        buy(customer, 3)
        make_price("SBUX", "100.00", age=timedelta(0))
        result = settle_positions()
        # 3 times 2.00 / 95.00 shares, bought at 100.00
        assert (result.orders, result.bought, result.difference) == (1, Decimal("6.32"), Decimal("0.32"))
        holding, position = Holding.objects.get(), BrokerPosition.objects.get()
        assert (position.shares, position.cost_basis) == (holding.shares, holding.cost_basis)
        assert kinds(user_id=0) == [
            ("broker_cash", Decimal("6.32")),
            ("broker_buy", Decimal("6.32")),
            ("broker_diff", Decimal("0.32")),
        ]
        found = balances()
        assert found["12100"] == -found["22100"] == Decimal("6.00")
        assert (found["10100"], found["67040"]) == (Decimal("-6.32"), Decimal("0.32"))
        assert "10200" not in found
        assert list(find_ledger_problems()) == []
        order = BrokerOrder.objects.get()
        assert (order.side, order.shares, order.price, order.amount) == (
            "buy",
            holding.shares,
            Decimal(100),
            Decimal("6.32"),
        )

    def test_the_house_sells_what_customers_gave_back(self, customer):
        statement = import_statement(customer, "Date,Description,Amount\n2026-03-01,STARBUCKS #1,-4.50\n")
        process_pending()
        settle_positions()
        undo(statement)
        make_price("SBUX", "190.00", age=timedelta(0))
        result = settle_positions()
        assert (result.orders, result.sold, result.difference) == (1, Decimal("4.00"), Decimal("-2.00"))
        position = BrokerPosition.objects.get()
        assert (position.shares, position.cost_basis) == (0, 0)
        assert balances() == {"10100": Decimal("2.00"), "67040": Decimal("-2.00")}
        assert list(find_ledger_problems()) == []

    def test_a_second_run_places_no_order(self, customer):
        buy(customer)
        settle_positions()
        rows = LedgerTransfer.objects.count()
        assert settle_positions().orders == 0
        assert LedgerTransfer.objects.count() == rows

    def test_a_ticker_without_a_recent_quote_is_left_and_named(self, customer, settings):
        make_company("NFLX", "600.00")
        make_merchant("NETFLIX", "NFLX")
        make_transaction(customer, "NETFLIX")
        buy(customer)
        StockPrice.objects.filter(ticker="NFLX").update(as_of=timezone.now() - settings.PRICE_MAX_AGE * 2)
        result = settle_positions()
        assert (result.orders, result.without_quote, result.short) == (1, ["NFLX"], ["NFLX"])
        with pytest.raises(CommandError, match=r"too few shares of NFLX\."):
            _run("settle_positions")

    def test_an_order_of_less_than_half_a_cent_costs_a_cent(self, customer):
        Holding.objects.create(user=customer, ticker="SBUX", shares=Decimal("0.00000001"), cost_basis=0)
        assert settle_positions().bought == Decimal("0.01")
        assert kinds(kind="broker_diff") == [("broker_diff", Decimal("0.01"))]

    def test_a_failing_ticker_does_not_stop_the_others(self, customer):
        make_company("BIG", "9999999999.00")
        Holding.objects.create(user=customer, ticker="BIG", shares=Decimal("999999999"), cost_basis=1)
        buy(customer)
        result = settle_positions()
        assert (result.orders, list(result.failed), result.short) == (1, ["BIG"], ["BIG"])
        assert list(BrokerPosition.objects.values_list("ticker", flat=True)) == ["SBUX"]

    def test_the_broker_never_holds_less_than_nothing(self):
        with pytest.raises(IntegrityError, match="broker_positions_not_negative"), transaction.atomic():
            BrokerPosition.objects.create(ticker="SBUX", shares=-1)


@pytest.mark.parametrize("run", [collect_round_ups, settle_positions])
def test_without_a_provider_both_refuse(settings, run):
    settings.SETTLEMENT_PROVIDER = ""
    with pytest.raises(SettlementError, match="SETTLEMENT_PROVIDER is not set"):
        run()
    with pytest.raises(CommandError, match="SETTLEMENT_PROVIDER is not set"):
        _run(run.__name__)
    assert getattr(tasks, run.__name__)() == {}


def test_the_task_settles_only_while_the_market_is_open(customer, settings, monkeypatch):
    buy(customer)
    monkeypatch.setattr(tasks, "market_is_open", lambda _: False)
    assert tasks.settle_positions() == {}
    monkeypatch.setattr(tasks, "market_is_open", lambda _: True)
    assert tasks.settle_positions() == {"orders": 1, "bought": "2.00", "sold": "0.00"}


ACTIONS = st.sampled_from(["import", "process", "undo", "correct", "collect", "settle", "price"])
STEPS = st.lists(st.tuples(ACTIONS, st.integers(min_value=1, max_value=4)), min_size=3, max_size=10)


@hypothesis_settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_the_books_balance_after_any_sequence(steps):
    with _rolled_back():
        make_company("SBUX", "95.00")
        make_company("NFLX", "600.00")
        make_merchant("STARBUCKS", "SBUX")
        make_merchant("NETFLIX", "NFLX")
        customers = [make_user(round_up_amount=number) for number in (1, 3)]
        statements: list[StatementImport] = []
        for number, (step, size) in enumerate(steps):
            if step == "import":
                lines = "".join(
                    f"2026-03-{1 + n:02d},{('STARBUCKS', 'NETFLIX')[n % 2]} {number},-{n + 4}.50\n" for n in range(size)
                )
                user = customers[size % 2]
                statements.append(import_statement(user, f"Date,Description,Amount\n{lines}"))
            elif step == "process":
                process_pending()
            elif step == "undo" and statements:
                undo(statements.pop(size % len(statements)))
            elif step == "correct":
                correct("STARBUCKS", ("SBUX", "NFLX", None)[size % 3], decision_id=number)
            elif step == "price":
                StockPrice.objects.filter(ticker="SBUX").update(price=Decimal(40 * size) + Decimal("0.37"))
            elif step == "collect":
                collect_round_ups()
            else:
                settle_positions()
            balances()
            assert list(find_ledger_problems()) == []
        collect_round_ups()
        assert settle_positions().short == []
        found = balances()
        assert found.get("12100", 0) == -found.get("22100", 0)
        assert not {"11100", "10200", "20100"} & found.keys()
        held = dict(BrokerPosition.objects.filter(shares__gt=0).values_list("ticker", "shares"))
        owned: dict[str, Decimal] = {}
        for ticker, shares in Holding.objects.filter(shares__gt=0).values_list("ticker", "shares"):
            owned[ticker] = owned.get(ticker, Decimal(0)) + shares
        assert held == owned
        assert list(find_ledger_problems()) == []


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
class TestConcurrency:
    def test_two_runs_at_once_collect_and_settle_once(self, customer):
        buy(customer, 2)
        for run in (collect_round_ups, settle_positions):
            _in_threads([run, run])
        assert kinds(kind="collection") == [("collection", Decimal("4.50"))]
        assert BrokerOrder.objects.count() == 1
        assert list(find_ledger_problems()) == []

    def test_a_collection_waits_for_an_open_booking(self, customer):
        buy(customer)
        make_transaction(customer)
        opened, may_end = threading.Event(), threading.Event()

        def book_slowly() -> None:
            with transaction.atomic():
                process_pending()
                opened.set()
                assert may_end.wait(30)

        booking = threading.Thread(target=_close_after, args=[book_slowly])
        booking.start()
        assert opened.wait(30)
        with pytest.raises(SettlementError, match="open for too long"):
            collect_round_ups(wait=0)
        may_end.set()
        booking.join()
        assert collect_round_ups().amount == Decimal("4.50")

    def test_a_run_that_is_killed_before_its_commit_is_repeated(self, customer):
        buy(customer)
        with transaction.atomic():
            collect_round_ups()
            settle_positions()
            transaction.set_rollback(True)
        assert not Collection.objects.exists()
        assert not BrokerOrder.objects.exists()
        assert collect_round_ups().amount == Decimal("2.25")
        assert settle_positions().orders == 1
        assert list(find_ledger_problems()) == []


def _run(command: str) -> str:
    out = StringIO()
    call_command(command, stdout=out)
    return out.getvalue()


def _close_after(run: Any) -> None:
    try:
        run()
    finally:
        connection.close()


def _in_threads(runs: list[Any]) -> None:
    threads = [threading.Thread(target=_close_after, args=[run]) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class _rolled_back:  # noqa: N801
    """Undo what an example of a property wrote."""

    def __enter__(self) -> None:
        self.point = transaction.savepoint()

    def __exit__(self, *_: Any) -> None:
        transaction.savepoint_rollback(self.point)
