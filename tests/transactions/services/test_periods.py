"""Closed periods: what closes, what is refused, and the two persons of a reopening."""

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import StringIO

import pytest
import time_machine
from dateutil.relativedelta import relativedelta
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.core.exceptions import PermissionDenied
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.urls import reverse
from django.utils import timezone

from kamioi_site.db.distribution import violated_constraint
from llm_center.models import AmortizationEntry, LlmDataAsset
from llm_center.services.amortization import add_asset_cost, amortize_month
from tests.factories import make_company, make_merchant, make_staff, make_transaction, make_user
from transactions.errors import PeriodClosedError, PeriodError
from transactions.models import AuditEvent, LedgerTransfer, PeriodClosing, User
from transactions.services.journal import Line, create_entry
from transactions.services.ledger_seals import seal_days
from transactions.services.ledger_verification import find_ledger_problems
from transactions.services.periods import (
    approve_reopening,
    close_period,
    posting_on,
    reject_reopening,
    request_reopening,
)
from transactions.services.processing import process_pending

pytestmark = pytest.mark.django_db
THIS_MONTH = timezone.now().astimezone(UTC).date().replace(day=1)
MONTH = THIS_MONTH - relativedelta(months=2)
NEXT = THIS_MONTH - relativedelta(months=1)


def post(day: date, amount: str = "1.50") -> LedgerTransfer:
    """Post an entry of the company on a day, as if on that day."""
    at = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return LedgerTransfer.objects.create(
        kind="journal",
        debit_account="10100",
        credit_account="30900",
        amount=Decimal(amount),
        date=at,
        created_at=at + timedelta(hours=12),
    )


def finance(email: str = "") -> User:
    """Create a member of staff who may close and reopen periods."""
    user = make_user(email, is_staff=True)
    user.user_permissions.add(*Permission.objects.filter(codename__in=["close_period", "reopen_period"]))
    return user


@pytest.fixture
def sealed_months() -> None:
    """Two months with rows, which are sealed."""
    post(MONTH)
    post(MONTH + timedelta(days=20), "3.00")
    post(NEXT)
    with time_machine.travel(datetime(THIS_MONTH.year, THIS_MONTH.month, 1, 12, tzinfo=UTC), tick=False):
        seal_days()


@pytest.fixture
def closed(sealed_months: None) -> PeriodClosing:
    with time_machine.travel(datetime(THIS_MONTH.year, THIS_MONTH.month, 1, 12, tzinfo=UTC), tick=False):
        return close_period(month=MONTH, actor=finance())


def constraint_of(day: date) -> str:
    """Return the constraint that refuses a posting on this day; empty if it is accepted."""
    try:
        with transaction.atomic():
            post(day)
            transaction.set_rollback(True)
    except IntegrityError as error:
        return violated_constraint(error)
    return ""


def test_the_database_refuses_postings_up_to_the_end_of_a_closed_month(closed: PeriodClosing) -> None:
    assert (closed.rows, closed.amount) == (2, Decimal("4.50"))
    for day in (MONTH, NEXT - timedelta(days=1), date(2003, 4, 5)):
        assert constraint_of(day) == "ledger_transfers_period_closed", day
    for day in (NEXT, THIS_MONTH, THIS_MONTH + relativedelta(months=3)):
        assert constraint_of(day) == "", day
    assert list(find_ledger_problems()) == []


def test_a_partition_that_is_made_later_refuses_them_too(closed: PeriodClosing) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT kamioi_create_partition('ledger_transfers', '2003-04-05')")
        assert cursor.fetchone()[0]
    assert constraint_of(date(2003, 4, 5)) == "ledger_transfers_period_closed"


def test_rows_of_an_open_month_still_move_out_of_the_default_partition(closed: PeriodClosing) -> None:
    later = THIS_MONTH + relativedelta(months=8)
    row = post(later)
    with connection.cursor() as cursor:
        cursor.execute("SELECT kamioi_create_partition('ledger_transfers', %s)", [later])
        cursor.execute("SELECT tableoid::regclass::text FROM ledger_transfers WHERE id = %s", [row.pk])
        # A shard's name has its number at the end.
        assert re.sub(r"_\d{6,}$", "", cursor.fetchone()[0]) == f"ledger_transfers_y{later:%Ym%m}"
    assert constraint_of(MONTH) == "ledger_transfers_period_closed"


def test_customers_are_booked_while_months_are_closed(closed: PeriodClosing) -> None:
    make_company()
    make_merchant()
    make_transaction(make_user(), date=datetime(MONTH.year, MONTH.month, 3, tzinfo=UTC))
    assert process_pending().statuses == {"completed": 1}


def test_months_are_closed_in_order_and_once(sealed_months: None) -> None:
    with pytest.raises(PeriodError, match=f"Close {MONTH:%B %Y} first"):
        close_period(month=NEXT, actor=None)
    close_period(month=MONTH, actor=None)
    with pytest.raises(PeriodError, match="is closed already"):
        close_period(month=MONTH + timedelta(days=9), actor=None)
    with pytest.raises(PeriodError, match="closed up to"):
        close_period(month=MONTH - relativedelta(months=1), actor=None)


def test_an_interrupted_closing_is_completed(closed: PeriodClosing) -> None:
    PeriodClosing.objects.update(rows=None, amount=None)
    assert close_period(month=MONTH, actor=None).rows == 2


@pytest.mark.parametrize(("hours", "closes"), [(-1, False), (5, False), (7, True)])
def test_a_month_is_closed_hours_after_its_end(sealed_months: None, hours: int, closes: bool) -> None:
    close_period(month=MONTH, actor=None)
    end = datetime(THIS_MONTH.year, THIS_MONTH.month, 1, tzinfo=UTC)
    with time_machine.travel(end + timedelta(hours=hours), tick=False):
        if closes:
            close_period(month=NEXT, actor=None)
        else:
            with pytest.raises(PeriodError, match="can be closed from"):
                close_period(month=NEXT, actor=None)


def test_a_month_that_is_not_sealed_is_not_closed() -> None:
    post(MONTH)
    with pytest.raises(PeriodError, match="is not sealed yet"):
        close_period(month=MONTH, actor=None)
    assert constraint_of(MONTH) == ""


def test_books_that_disagree_are_not_closed(sealed_months: None) -> None:
    LedgerTransfer.objects.create(
        date=timezone.now(), kind="journal", debit_account="99999", credit_account="10100", amount=1
    )
    with pytest.raises(PeriodError, match="verify_ledger finds 1 problems, such as account"):
        close_period(month=MONTH, actor=None)


def test_closing_and_reopening_need_permissions(sealed_months: None) -> None:
    clerk = make_user(is_staff=True)
    with pytest.raises(PermissionDenied):
        close_period(month=MONTH, actor=clerk)
    closing = close_period(month=MONTH, actor=None)
    with pytest.raises(PermissionDenied):
        request_reopening(closing_id=closing.pk, actor=clerk, reason="late invoice")
    with pytest.raises(PermissionDenied):
        approve_reopening(closing_id=closing.pk, actor=clerk)


def test_another_person_reopens_the_month_and_it_can_be_closed_again(closed: PeriodClosing) -> None:
    ann, bob = finance("ann@example.com"), finance("bob@example.com")
    with pytest.raises(PeriodError, match="is not requested"):
        approve_reopening(closing_id=closed.pk, actor=bob)
    request_reopening(closing_id=closed.pk, actor=ann, reason="late invoice")
    with pytest.raises(PeriodError, match="Another person"):
        approve_reopening(closing_id=closed.pk, actor=ann)
    assert constraint_of(MONTH) == "ledger_transfers_period_closed"

    approve_reopening(closing_id=closed.pk, actor=bob)

    assert constraint_of(MONTH) == ""
    late = create_entry(
        fields={"entry_date": MONTH, "description": "Invoice"},
        lines=[Line("10100", Decimal(2), Decimal(0)), Line("30900", Decimal(0), Decimal(2))],
        actor=ann,
        post=True,
    )
    assert late.pk
    again = close_period(month=MONTH, actor=ann)
    assert (again.rows, PeriodClosing.objects.count()) == (3, 2)
    assert list(find_ledger_problems(everything=False)) == []


def test_a_rejected_request_reopens_nothing(closed: PeriodClosing) -> None:
    ann, bob = finance(), finance()
    with pytest.raises(PeriodError, match="reason"):
        request_reopening(closing_id=closed.pk, actor=ann, reason=" ")
    request_reopening(closing_id=closed.pk, actor=ann, reason="late invoice")
    with pytest.raises(PeriodError, match="has requested it already"):
        request_reopening(closing_id=closed.pk, actor=bob, reason="another")
    reject_reopening(closing_id=closed.pk, actor=ann)
    with pytest.raises(PeriodError, match="is not requested"):
        approve_reopening(closing_id=closed.pk, actor=bob)


def test_the_last_closed_month_is_reopened_first(closed: PeriodClosing) -> None:
    later = close_period(month=NEXT, actor=None)
    ann, bob = finance(), finance()
    with pytest.raises(PeriodError, match=f"Reopen {NEXT:%B %Y} first"):
        request_reopening(closing_id=closed.pk, actor=ann, reason="late invoice")
    request_reopening(closing_id=later.pk, actor=ann, reason="late invoice")
    approve_reopening(closing_id=later.pk, actor=bob)
    assert (constraint_of(NEXT), constraint_of(MONTH)) == ("", "ledger_transfers_period_closed")
    with pytest.raises(PeriodError, match="was reopened already"):
        approve_reopening(closing_id=later.pk, actor=bob)


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ({"requested_by": 1, "reopening_reason": "x", "reopened_by": 1, "reopened_at": "now"}, "two_persons"),
        ({"reopened_by": 1, "reopened_at": "now"}, "two_persons"),
        ({"requested_by": 1}, "request_has_reason"),
        ({"month": MONTH + timedelta(days=1)}, "first_of_month"),
    ],
)
def test_the_database_holds_the_rules_of_closings(closed: PeriodClosing, change: dict, constraint: str) -> None:
    person = finance()
    values = {1: person, "now": timezone.now()}
    with pytest.raises(IntegrityError, match=constraint):
        PeriodClosing.objects.filter(pk=closed.pk).update(
            **{name: values.get(value, value) for name, value in change.items()}
        )


def test_staff_get_a_clear_error_where_they_enter_dates(closed: PeriodClosing) -> None:
    staff, message = make_staff(), f"{MONTH:%B %Y} is closed"
    with pytest.raises(PeriodClosedError, match=message):
        create_entry(
            fields={"entry_date": MONTH, "description": "Invoice"},
            lines=[Line("10100", Decimal(2), Decimal(0)), Line("30900", Decimal(0), Decimal(2))],
            actor=staff,
            post=True,
        )
    asset = LlmDataAsset.objects.create(asset_name="Model", asset_type="model", useful_life_months=12)
    with pytest.raises(PeriodClosedError, match=message):
        add_asset_cost(asset_id=asset.pk, component="data", amount=Decimal(120), dated_on=MONTH, actor=staff)


def test_a_posting_that_a_closing_overtakes_gets_the_same_error(closed: PeriodClosing, monkeypatch) -> None:
    monkeypatch.setattr("transactions.services.periods.open_from", lambda: date.min)
    with pytest.raises(PeriodClosedError, match=f"{MONTH:%B %Y} is closed"), posting_on(MONTH):
        post(MONTH)


def test_amortize_reports_a_closed_month(closed: PeriodClosing) -> None:
    for name, since in (("Old", MONTH), ("New", NEXT)):
        LlmDataAsset.objects.create(
            asset_name=name,
            asset_type="model",
            status="production",
            cost_basis=120,
            useful_life_months=12,
            in_service_on=since,
        )
    out = StringIO()
    call_command("amortize", "--month", f"{NEXT:%Y-%m}", "--dry-run", stdout=out)
    assert f"{MONTH:%Y-%m} is closed" in out.getvalue()
    result = amortize_month(month=NEXT)
    assert [charge.asset.asset_name for charge in result.charges] == ["New"]
    assert AmortizationEntry.objects.count() == 1


def test_a_row_in_a_closed_month_is_found(closed: PeriodClosing) -> None:
    closing = PeriodClosing.objects.get()
    PeriodClosing.objects.update(closed_at=closing.closed_at - timedelta(days=400))
    assert {problem.problem for problem in find_ledger_problems()} == {"period"}


def test_the_command_closes_a_month(sealed_months: None) -> None:
    out = StringIO()
    call_command("close_period", f"{MONTH:%Y-%m}", stdout=out)
    assert out.getvalue() == f"{MONTH:%B %Y} is closed: 2 rows, $4.50.\n"
    with pytest.raises(CommandError, match="is closed already"):
        call_command("close_period", f"{MONTH:%Y-%m}")
    assert PeriodClosing.objects.get().closed_by is None


def test_staff_close_and_reopen_in_the_admin(sealed_months: None, client) -> None:
    ann, bob = make_staff("ann@example.com"), make_staff("bob@example.com")
    client.force_login(ann)
    page = client.get(reverse("admin:transactions_periodclosing_close")).content.decode()
    assert f'value="{MONTH:%Y-%m}"' in page
    client.post(reverse("admin:transactions_periodclosing_close"), {"month": f"{MONTH:%Y-%m}"})
    closing = PeriodClosing.objects.get()
    assert closing.closed_by == ann

    def step(name: str, **data: str) -> str:
        address = reverse("admin:transactions_periodclosing_reopening", args=[closing.pk, name])
        assert client.get(address).status_code == 200
        return client.post(address, data, follow=True).content.decode()

    step("request", reason="late invoice")
    assert "Another person must approve your request." in step("approve")
    client.force_login(bob)
    assert "late invoice" in client.get(reverse("admin:transactions_periodclosing_changelist")).content.decode()
    step("approve")
    closing.refresh_from_db()
    assert (closing.reopened_by, closing.state) == (bob, "reopened")
    logged = LogEntry.objects.filter(object_id=closing.pk).order_by("pk").values_list("user__email", "change_message")
    assert list(logged) == [
        ("ann@example.com", "Closed"),
        ("ann@example.com", "Reopening requested: late invoice"),
        ("bob@example.com", "Reopening approved"),
    ]
    assert AuditEvent.objects.filter(user=bob, action__contains="periodclosing_reopening").exists()
    assert constraint_of(MONTH) == ""
