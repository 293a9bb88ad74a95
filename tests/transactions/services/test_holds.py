"""Purchases of customers who are suspended or have not verified their e-mail address."""

from collections import Counter
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection
from django.test.utils import CaptureQueriesContext

from tests.analytics.services.test_rollups import market
from tests.factories import api_client, make_company, make_merchant, make_staff, make_transaction, make_user
from tests.transactions.services.test_access import _change_in_admin as change_in_admin
from transactions.models import BackgroundTask, LedgerTransfer, Order, Transaction, User
from transactions.services.ledger_verification import find_ledger_problems
from transactions.services.processing import execute_orders, process_pending, settle_held_purchases
from transactions.services.user_admin import update_user
from transactions.tasks import settle_held_purchases as settle_task

pytestmark = pytest.mark.django_db
SUSPENDED, UNVERIFIED = Transaction.HoldReason.SUSPENDED, Transaction.HoldReason.UNVERIFIED


@pytest.fixture(autouse=True)
def _starbucks() -> None:
    make_company("SBUX", "95.00")
    make_merchant("STARBUCKS", "SBUX")


def statuses() -> dict[str, int]:
    return dict(Counter(Transaction.objects.values_list("status", flat=True)))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"is_active": False}, SUSPENDED),
        ({"email_verified_at": None}, UNVERIFIED),
        ({"is_active": False, "email_verified_at": None}, SUSPENDED),
    ],
)
@pytest.mark.parametrize("merchant", ["STARBUCKS", "UNKNOWN SHOP"])
def test_a_purchase_of_a_suspended_or_unverified_customer_waits_with_the_reason(
    fields: dict[str, object], reason: str, merchant: str
) -> None:
    held, other = make_user(**fields), make_user()
    row, bought = make_transaction(held, merchant), make_transaction(other)
    refund = make_transaction(held, amount="-4.50")
    process_pending()
    row.refresh_from_db()
    assert (row.status, row.failure_reason, row.ticker, row.round_up, row.fee) == ("on_hold", reason, None, 0, 0)
    assert row.total_debit == Decimal("4.50")
    assert not LedgerTransfer.objects.filter(user_id=held.pk).exists()
    assert {Transaction.objects.get(pk=refund.pk).status, Transaction.objects.get(pk=bought.pk).status} == {
        "refunded",
        "completed",
    }
    assert list(find_ledger_problems()) == []


def test_a_purchase_that_waits_for_the_market_is_held_and_ordered_again_after_the_suspension() -> None:
    user, staff = make_user(), make_staff()
    make_transaction(user)
    with market(is_open=False):
        process_pending()
    update_user(user_id=user.pk, changes={"is_active": False}, actor=staff)
    with market(is_open=True):
        execute_orders()
        process_pending()
    assert (statuses(), Order.objects.get().status) == ({"on_hold": 1}, "cancelled")
    update_user(user_id=user.pk, changes={"is_active": True}, actor=staff)
    settle_task(str(BackgroundTask.objects.get().pk))
    with market(is_open=False):
        process_pending()
    assert (statuses(), Order.objects.get().status) == ({"mapped": 1}, "queued")
    with market(is_open=True):
        execute_orders()
        process_pending()
    assert (statuses(), Order.objects.get().status) == ({"completed": 1}, "executed")
    assert list(find_ledger_problems()) == []


@pytest.mark.parametrize(
    ("choice", "status", "reason"),
    [({}, "completed", ""), ({"held_purchases": "cancel"}, "failed", "Cancelled while it was on hold.")],
)
def test_staff_release_or_cancel_the_purchases_when_the_suspension_ends(
    choice: dict[str, str], status: str, reason: str
) -> None:
    user = make_user(is_active=False)
    row = make_transaction(user)
    process_pending()
    path = f"/api/admin/users/{user.pk}/status"
    client = api_client(make_staff())
    assert client.put(path, {"status": "active", "held_purchases": "x"}, format="json").status_code == 400
    assert client.put(path, {"status": "active"} | choice, format="json").status_code == 200
    settle_task(str(BackgroundTask.objects.get().pk))
    process_pending()
    row.refresh_from_db()
    assert (row.status, row.failure_reason) == (status, reason)


@pytest.mark.parametrize(("choice", "status"), [("release", "completed"), ("cancel", "failed")])
def test_the_admin_form_offers_the_same_choice(choice: str, status: str) -> None:
    user = make_user(is_active=False)
    row = make_transaction(user)
    process_pending()
    change_in_admin(user, is_active="on", held_purchases=choice)
    settle_task(str(BackgroundTask.objects.get().pk))
    process_pending()
    row.refresh_from_db()
    assert row.status == status


def test_a_release_is_decided_again_and_repeating_it_changes_nothing() -> None:
    user = make_user(is_active=False, email_verified_at=None)
    row = make_transaction(user)
    process_pending()
    User.objects.update(is_active=True)
    assert settle_held_purchases(user_id=user.pk) == 1
    process_pending()
    row.refresh_from_db()
    assert (row.status, row.failure_reason) == ("on_hold", UNVERIFIED)
    User.objects.update(email_verified_at=row.date)
    assert [settle_held_purchases(user_id=user.pk) for _ in range(2)] == [1, 0]
    assert settle_held_purchases(user_id=user.pk, cancel=True) == 0
    process_pending()
    assert statuses() == {"completed": 1}


def test_holding_and_releasing_cost_the_same_statements_for_one_purchase_and_for_many() -> None:
    counts = []
    for rows in (1, 40):
        user = make_user(is_active=False)
        for _ in range(rows):
            make_transaction(user)
        with CaptureQueriesContext(connection) as queries:
            process_pending()
            settle_held_purchases(user_id=user.pk)
        counts.append(len(queries))
        User.objects.filter(pk=user.pk).update(is_active=True)
        process_pending()
    assert counts[0] == counts[1]
    assert statuses() == {"completed": 41}


def test_the_database_requires_a_reason() -> None:
    make_transaction(make_user())
    with pytest.raises(IntegrityError, match="transactions_on_hold_has_reason"):
        Transaction.objects.update(status="on_hold")
