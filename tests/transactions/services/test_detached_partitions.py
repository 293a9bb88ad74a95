"""Detached months of the ledger and of purchases: the verification is right without them, and with them again."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
import time_machine
from dateutil.relativedelta import relativedelta
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from analytics.models import LedgerDay
from analytics.services.ledger_days import recount_ledger_days
from kamioi_site.db.partitions import ensure_partitions
from kamioi_site.db.roles import find_wrong_privileges
from llm_center.models import LlmDataAsset
from llm_center.services.amortization import amortize_month
from tests.factories import make_company, make_merchant, make_price, make_staff, make_transaction, make_user
from transactions.errors import PeriodError
from transactions.models import DetachedPartition, LedgerTransfer, PeriodClosing, Transaction
from transactions.services.journal import Line, create_entry
from transactions.services.ledger_seals import seal_days
from transactions.services.ledger_verification import find_ledger_problems
from transactions.services.periods import close_period, request_reopening
from transactions.services.processing import process_pending
from transactions.services.settlement import collect_round_ups, settle_positions

pytestmark = [pytest.mark.django_db, pytest.mark.as_owner]
THIS_MONTH = timezone.now().astimezone(UTC).date().replace(day=1)
MONTH = THIS_MONTH - relativedelta(months=2)
NEXT = THIS_MONTH - relativedelta(months=1)
PERIOD = f"{MONTH:%Y-%m}"


def noon(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


@pytest.fixture
def books(settings) -> None:
    """Books of three months, closed up to the end of the first; the journal posts into it from the second."""
    settings.SETTLEMENT_PROVIDER = "paper"
    ensure_partitions(LedgerTransfer, [MONTH, NEXT])
    ensure_partitions(Transaction, [MONTH, NEXT])
    staff, ann = make_staff(), make_user("ann@example.com")
    make_company("SBUX", price=None)
    make_merchant()
    LlmDataAsset.objects.create(
        asset_name="Model",
        asset_type="model",
        status="production",
        cost_basis=12,
        useful_life_months=2,
        in_service_on=MONTH,
    )

    def entry(day: date, amount: int) -> None:
        create_entry(
            fields={"entry_date": day, "description": "Capital"},
            lines=[Line("10100", Decimal(amount), Decimal(0)), Line("30900", Decimal(0), Decimal(amount))],
            actor=staff,
            post=True,
        )

    for day in (MONTH + timedelta(days=2), NEXT - timedelta(days=1), NEXT, NEXT + timedelta(days=9)):
        with time_machine.travel(noon(day), tick=False):
            make_price("SBUX", "95.00")
            make_transaction(ann, date=noon(day))
            process_pending()
            collect_round_ups()  # those of the last day of the first month as well
            if day != NEXT - timedelta(days=1):
                entry(MONTH + timedelta(days=1), 100)
                settle_positions()
    with time_machine.travel(noon(NEXT + timedelta(days=1)), tick=False):
        amortize_month(month=NEXT)
        late = make_transaction(ann, date=noon(MONTH + timedelta(days=3)))
        make_price("SBUX", "95.00")
        process_pending()
        assert LedgerTransfer.objects.filter(transaction_id=late.pk, date__gte=noon(NEXT)).exists()
    with time_machine.travel(noon(THIS_MONTH), tick=False):
        seal_days()
        close_period(month=MONTH, actor=None)
    assert found() == set()


def found(**options) -> set[str]:
    return {problem.problem for problem in find_ledger_problems(**options)}


def run(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        assert cursor.rowcount


def detach(table: str = "ledger_transfers") -> None:
    call_command("partitions", "detach", table, PERIOD, "--yes")


def test_the_books_are_right_without_a_detached_month_and_with_it_again(books: None) -> None:
    rows = LedgerTransfer.objects.count()
    recount_ledger_days()
    days = set(LedgerDay.objects.values_list("day", "kind", "rows", "amount"))

    detach()

    assert LedgerTransfer.objects.count() < rows
    assert (found(), found(everything=False)) == (set(), set())
    recount_ledger_days()
    assert set(LedgerDay.objects.values_list("day", "kind", "rows", "amount")) == days

    call_command("partitions", "attach", "ledger_transfers", PERIOD)

    assert LedgerTransfer.objects.count() == rows
    assert not DetachedPartition.objects.exists()
    assert (found(), found(everything=False)) == (set(), set())


def test_purchases_may_be_detached_too(books: None) -> None:
    detach("transactions")
    assert (found(), found(everything=False)) == (set(), set())
    detach()
    assert (found(), found(everything=False)) == (set(), set())


def test_a_detached_table_may_be_dropped(books: None) -> None:
    detach()
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE ledger_transfers_y{MONTH:%Ym%m}")
    assert found() == set()


@pytest.mark.parametrize(
    ("statement", "checks"),
    [
        ("UPDATE ledger_transfers SET reference = 'forged' WHERE kind = 'collection'", {"seal"}),
        ("DELETE FROM ledger_transfers WHERE kind = 'collection'", {"seal", "customer"}),
        (
            "UPDATE ledger_transfers SET amount = amount + 1 WHERE kind = 'purchase'",
            {"seal", "transaction", "funds", "positions"},
        ),
        ("UPDATE holdings SET shares = shares + 1", {"positions"}),
        ("UPDATE ledger_seals SET rows = rows + 1 WHERE rows > 0", {"seal"}),
        (f"DELETE FROM ledger_seals WHERE day = '{MONTH + timedelta(days=2)}'", {"seal", "positions"}),
        ("UPDATE detached_partitions SET remaining = '{}'", {"seal", "positions"}),
    ],
)
def test_tampering_with_what_is_left_is_found(books: None, statement: str, checks: set[str]) -> None:
    detach()
    run(statement)
    assert found() == checks


def test_tampering_with_a_detached_month_is_found_when_it_is_attached(books: None) -> None:
    detach()
    table = f"ledger_transfers_y{MONTH:%Ym%m}"
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT ledger_transfers_period_closed")
    run(f"UPDATE {table} SET reference = 'forged' WHERE kind = 'fee'")
    assert found() == set()
    call_command("partitions", "attach", "ledger_transfers", PERIOD)
    assert found() == {"seal"}


def test_only_a_closed_sealed_and_correct_month_is_detached(books: None) -> None:
    run("DELETE FROM ledger_transfers WHERE kind = 'fee'")
    with pytest.raises(CommandError, match="does not match its seal"):
        detach()
    PeriodClosing.objects.all().delete()
    with pytest.raises(CommandError, match=f"Close {MONTH:%B %Y} first"):
        detach()


def test_the_oldest_month_is_detached_first_and_attached_last(books: None) -> None:
    with time_machine.travel(noon(THIS_MONTH), tick=False):
        close_period(month=NEXT, actor=None)
    with pytest.raises(CommandError, match="has older rows"):
        call_command("partitions", "detach", "ledger_transfers", f"{NEXT:%Y-%m}", "--yes")
    with pytest.raises(CommandError, match="is not detached"):
        call_command("partitions", "attach", "ledger_transfers", PERIOD)
    detach()
    call_command("partitions", "detach", "ledger_transfers", f"{NEXT:%Y-%m}", "--yes")
    assert found() == set()
    with pytest.raises(CommandError, match=f"Attach ledger_transfers_y{NEXT:%Ym%m} first"):
        call_command("partitions", "attach", "ledger_transfers", PERIOD)
    call_command("partitions", "attach", "ledger_transfers", f"{NEXT:%Y-%m}")
    assert found() == set()
    call_command("partitions", "attach", "ledger_transfers", PERIOD)
    assert found() == set()


def test_a_detached_month_gets_the_present_checks_when_it_is_attached(books: None) -> None:
    detach()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE ledger_transfers ADD CONSTRAINT ledger_transfers_new CHECK (amount < 1000000)")
        cursor.execute("ALTER TABLE ledger_transfers DROP CONSTRAINT ledger_transfers_amount_positive")
    call_command("partitions", "attach", "ledger_transfers", PERIOD)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'c'",
            [f"ledger_transfers_y{MONTH:%Ym%m}"],
        )
        names = {name for (name,) in cursor.fetchall()}
    assert "ledger_transfers_new" in names
    assert "ledger_transfers_amount_positive" not in names


def test_a_detached_month_is_neither_reopened_nor_written_by_the_application(books: None) -> None:
    detach()
    closing = PeriodClosing.objects.get()
    with pytest.raises(PeriodError, match="are detached"):
        request_reopening(closing_id=closing.pk, actor=make_staff(), reason="late invoice")
    assert find_wrong_privileges() == []
