"""Limits of what is set aside for a customer: by the purchases of one day, by month, and by the balance owed."""

from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from dateutil.relativedelta import relativedelta
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.analytics.services.test_rollups import market
from tests.factories import api_client, make_company, make_merchant, make_staff, make_transaction, make_user
from transactions.models import LimitReason, Notification, Receivable, Setting, Transaction, User
from transactions.services.ledger_verification import find_ledger_problems
from transactions.services.processing import (
    execute_orders,
    process_pending,
    recover_stuck,
    release_within_limits,
    undo_release,
)
from transactions.services.settings import save_settings
from transactions.services.settlement import collect_round_ups

pytestmark = pytest.mark.django_db
DAY, MONTH, OWED = LimitReason.DAY, LimitReason.MONTH, LimitReason.OWED
NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=3)
MIDNIGHT = NOON.replace(hour=0)


@pytest.fixture(autouse=True)
def _starbucks() -> None:
    make_company("SBUX", "95.00")
    make_merchant("STARBUCKS", "SBUX")


def limit(**values: str) -> None:
    for key, value in values.items():
        Setting.objects.filter(key=f"limit_{key}").update(value=value)


def outcomes(user: User | None = None) -> dict[str, int]:
    """Count the purchases by status, those on hold by their reason."""
    rows = Transaction.objects.filter(user=user) if user else Transaction.objects.all()
    return dict(Counter(reason or status for status, reason in rows.values_list("status", "failure_reason")))


def buy(user: User, number: int, when: datetime = NOON, **fields: object) -> list[Transaction]:
    """Store purchases that set aside $1.25 each."""
    return [make_transaction(user, date=when + timedelta(minutes=minute), **fields) for minute in range(number)]


def test_the_settings_start_with_limits() -> None:
    Setting.objects.filter(key__startswith="limit_").delete()
    user = make_user()
    buy(user, 41)
    process_pending()
    assert outcomes() == {"completed": 40, DAY: 1}


def test_hundreds_of_purchases_of_one_day_are_held_and_a_file_of_three_months_is_booked() -> None:
    limit(per_day="50.00", per_month="500.00", owed="500.00")
    file, runaway = make_user(), make_user()
    for day in range(90):
        buy(file, 2, NOON - timedelta(days=day))
    buy(runaway, 60)
    process_pending()
    assert outcomes(file) == {"completed": 180}
    assert outcomes(runaway) == {"completed": 40, DAY: 20}
    row = Transaction.objects.filter(status="on_hold").first()
    assert row
    assert (row.round_up, row.fee, row.total_debit, row.ticker, row.shares) == (0, 0, row.amount, None, None)
    assert list(find_ledger_problems()) == []


def test_a_purchase_is_held_as_a_whole_and_a_smaller_one_after_it_fits() -> None:
    limit(per_day="3.00")
    user = make_user(round_up_rule="next_dollar")
    # They set aside 1.00, 1.23, 1.12 and 0.56.
    amounts = {"10.20": "completed", "10.01": "completed", "10.10": "on_hold", "10.55": "completed"}
    for minute, amount in enumerate(amounts):
        make_transaction(user, amount=amount, date=NOON + timedelta(minutes=minute))
    process_pending()
    assert dict(Transaction.objects.values_list("amount", "status")) == {
        Decimal(amount): status for amount, status in amounts.items()
    }


def test_an_earlier_purchase_counts_first_whichever_was_stored_first() -> None:
    limit(per_day="1.25")
    user = make_user()
    later = make_transaction(user, date=NOON + timedelta(hours=1))
    earlier = make_transaction(user, date=NOON)
    process_pending()
    later.refresh_from_db()
    earlier.refresh_from_db()
    assert (earlier.status, later.status) == ("completed", "on_hold")


def test_limits_count_what_earlier_batches_booked(settings) -> None:
    settings.PROCESS_BATCH_SIZE = 7
    limit(per_day="25.00")
    users = [make_user() for _ in range(3)]
    for user in users:
        buy(user, 30)
    process_pending()
    assert [outcomes(user) for user in users] == [{"completed": 20, DAY: 10}] * 3


def test_the_month_is_that_of_the_booking_and_the_next_one_releases() -> None:
    limit(per_month="10.00")
    user = make_user()
    for months in range(3):
        buy(user, 4, NOON - relativedelta(months=months))
    process_pending()
    assert outcomes() == {"completed": 8, MONTH: 4}
    recover_stuck()
    assert outcomes() == {"completed": 8, MONTH: 4}
    Receivable.objects.filter(part="booked").update(month=date(2020, 1, 1))  # as if booked in an earlier month
    recover_stuck()
    assert outcomes() == {"completed": 8, "pending": 4}
    process_pending()
    assert outcomes() == {"completed": 12}
    assert Receivable.objects.get(part="booked").month_amount == Decimal("5.00")
    assert list(find_ledger_problems()) == []


def test_a_collection_makes_room_for_what_waits() -> None:
    limit(owed="10.00")
    user = make_user()
    buy(user, 20)
    process_pending()
    assert outcomes() == {"completed": 8, OWED: 12}
    collect_round_ups()
    for done in (16, 16):
        recover_stuck()
        process_pending()
        assert outcomes() == {"completed": done, OWED: 20 - done}
    assert dict(Receivable.objects.values_list("part", "amount")) == {
        "booked": Decimal("20.00"),
        "collected": Decimal("-10.00"),
    }
    assert list(find_ledger_problems()) == []


def test_a_raised_limit_releases_what_fits_and_a_blank_one_everything() -> None:
    limit(per_day="2.50")
    user = make_user()
    buy(user, 10)
    process_pending()
    assert outcomes() == {"completed": 2, DAY: 8}
    save_settings(values={"limit_per_day": "5.00"}, actor=make_staff())
    assert release_within_limits() == 2
    process_pending()
    assert outcomes() == {"completed": 4, DAY: 6}
    save_settings(values={"limit_per_day": " "}, actor=make_staff())
    recover_stuck()
    process_pending()
    assert outcomes() == {"completed": 10}


def _row_writes() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_xact_user_tables")
        return int(cursor.fetchone()[0])


def test_the_sweep_leaves_what_does_not_fit_alone() -> None:
    limit(per_day="2.50")
    buy(make_user(), 5)
    process_pending()
    before = _row_writes()
    recover_stuck()
    process_pending()
    assert _row_writes() == before


def test_an_undone_booking_makes_room_again() -> None:
    limit(per_day="2.50", per_month="2.50", owed="2.50")
    merchant = make_merchant("OTHER", "SBUX", decision_id=1)
    user = make_user()
    wrong = make_transaction(user, "OTHER", date=NOON)
    buy(user, 2, NOON + timedelta(hours=1))
    process_pending()
    assert outcomes() == {"completed": 2, DAY: 1}
    merchant.status, merchant.ticker = "not_listed", None
    merchant.save()
    undo_release(decision_id=1, merchant_key="OTHER")
    process_pending()
    recover_stuck()
    process_pending()
    wrong.refresh_from_db()
    assert (wrong.status, outcomes()) == ("not_listed", {"not_listed": 1, "completed": 2})
    assert Receivable.objects.get().amount == Decimal("2.50")
    assert list(find_ledger_problems()) == []


def test_orders_are_checked_when_the_market_opens_and_nothing_is_released_before() -> None:
    limit(per_day="2.50")
    buy(make_user(), 5)
    with market(is_open=False):
        process_pending()
        assert outcomes() == {"mapped": 5}
    with market(is_open=True):
        execute_orders()
        process_pending()
        assert outcomes() == {"completed": 2, DAY: 3}
        limit(per_day="")
    with market(is_open=False):
        assert release_within_limits() == 0
    with market(is_open=True):
        assert release_within_limits() == 3


def test_a_customer_gets_one_notice_a_day_and_sees_the_reason() -> None:
    limit(per_day="1.25")
    user = make_user()
    for _ in range(3):
        buy(user, 2)
        process_pending()
    notices = Notification.objects.filter(title="Some purchases are on hold")
    assert [notice.message.split(" Nothing")[0] for notice in notices] == [DAY.value]
    shown = api_client(user).get("/api/user/transactions?status=on_hold").json()["data"]["transactions"]
    assert {row["failure_reason"] for row in shown} == {DAY.value}
    notices.update(created_at=timezone.now() - timedelta(days=1))
    buy(user, 1)
    process_pending()
    assert notices.count() == 2


def test_what_sets_nothing_aside_has_no_limit() -> None:
    limit(per_day="0", per_month="0", owed="0")
    make_merchant("LOCAL", None, "not_listed")
    user, without = make_user(), make_user(round_up_enabled=False)
    make_transaction(user, "LOCAL")
    make_transaction(user, "UNKNOWN")
    make_transaction(user, amount="-4.50")
    make_transaction(without)
    make_transaction(user)
    process_pending()
    assert outcomes() == {"not_listed": 1, "needs_review": 1, "refunded": 1, "completed": 1, DAY: 1}


@pytest.mark.parametrize(
    ("row", "constraint"),
    [({"part": "booked"}, "receivables_one_per_part"), ({"part": "other"}, "receivables_part_known")],
)
def test_the_database_accepts_one_row_of_each_part(row: dict[str, str], constraint: str) -> None:
    buy(make_user(), 1)
    process_pending()
    user = Receivable.objects.get().user
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        Receivable.objects.create(user=user, amount=1, **row)


# --- A model in Python ------------------------------------------------------------------------------------------------
class Books:
    """One customer's limits, one purchase after the other."""

    def __init__(self, day: Decimal | None, month: Decimal | None, owed: Decimal | None) -> None:
        self.limits = day, month, owed
        self.of_day = defaultdict[date, Decimal](Decimal)
        self.of_month = self.owed = Decimal(0)

    def book(self, when: datetime, amount: Decimal) -> str:
        spent = self.of_day[when.date()], self.of_month, self.owed
        for limit, used, reason in zip(self.limits, spent, (DAY, MONTH, OWED), strict=True):
            if limit is not None and used + amount > limit:
                return str(reason)
        self.of_day[when.date()] += amount
        self.of_month += amount
        self.owed += amount
        return "completed"


dollars = st.none() | st.decimals("0", "12", places=2)
purchases = st.tuples(st.integers(-2, 2), st.integers(0, 1439), st.decimals("0.01", "9.99", places=2))


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(
    day=dollars,
    month=dollars,
    owed=dollars,
    rule=st.sampled_from([("flat", 1), ("flat", 3), ("next_dollar", 1)]),
    batches=st.lists(st.lists(purchases, max_size=8), min_size=1, max_size=4),
    collects=st.booleans(),
)
def test_any_purchases_are_booked_and_held_as_in_the_model(
    day: Decimal | None,
    month: Decimal | None,
    owed: Decimal | None,
    rule: tuple[str, int],
    batches: list[list[tuple[int, int, Decimal]]],
    collects: bool,
) -> None:
    model, expected = Books(day, month, owed), dict[int, str]()
    with transaction.atomic():
        limits = {"per_day": day, "per_month": month, "owed": owed}
        limit(**{name: "" if value is None else str(value) for name, value in limits.items()})
        user = make_user(round_up_rule=rule[0], round_up_amount=rule[1])
        for batch in batches:
            rows = [
                make_transaction(user, amount=str(amount), date=MIDNIGHT + timedelta(days=days, minutes=minutes))
                for days, minutes, amount in batch
            ]
            process_pending()
            for row in sorted(rows, key=lambda row: (row.date, row.pk)):
                row.refresh_from_db()
                if set_aside := Decimal((row.round_up_cents or 0) + (row.fee_cents or 0)) / 100:
                    expected[row.pk] = model.book(row.date, set_aside)
                else:
                    expected[row.pk] = "completed"
        assert _found(user) == expected
        if collects:
            collect_round_ups()
            model.owed = Decimal(0)
        _sweep(model, expected)
        assert _found(user) == expected
        assert list(find_ledger_problems()) == []
        transaction.set_rollback(True)


def _found(user: User) -> dict[int, str]:
    rows = Transaction.objects.filter(user=user).values_list("pk", "status", "failure_reason")
    return {pk: reason or status for pk, status, reason in rows}


def _sweep(model: Books, expected: dict[int, str]) -> None:
    """Release and book what fits; what stays on hold keeps its reason."""
    recover_stuck()
    held = Transaction.objects.filter(pk__in=[pk for pk, outcome in expected.items() if outcome != "completed"])
    for row in held.order_by("date", "pk"):
        amount = Decimal((row.round_up_cents or 0) + (row.fee_cents or 0)) / 100
        if model.book(row.date, amount) == "completed":
            expected[row.pk] = "completed"
    process_pending()
