"""Round-up and fee are fixed when a purchase is stored: later settings affect later purchases only."""

from decimal import Decimal

import pytest
from django.core.files.base import ContentFile
from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.factories import make_company, make_merchant, make_staff, make_transaction, make_user
from transactions.models import LedgerTransfer, Merchant, PlatformFee, Transaction, User
from transactions.rules.money import purchase_of
from transactions.services.ingest import create_transaction, run_statement_import, upload_statement
from transactions.services.processing import (
    process_pending,
    reclassify_transactions,
    release_waiting_transactions,
    undo_release,
)

pytestmark = pytest.mark.django_db

PRICE = Decimal("95.00")
# What applies after the purchase was stored.
LATER = {"round_up_enabled": True, "round_up_rule": "flat", "round_up_amount": 77}


@pytest.fixture
def starbucks() -> Merchant:
    make_company("SBUX", str(PRICE))
    return make_merchant("STARBUCKS", "SBUX")


def store(user: User, amount: str = "4.60", merchant: str = "STARBUCKS") -> Transaction:
    stored = create_transaction(user=user, amount=Decimal(amount), merchant=merchant)
    return Transaction.objects.get(pk=stored.transaction_id)


def change_everything() -> None:
    """Change what the amounts of new purchases depend on."""
    User.objects.update(**LATER)
    PlatformFee.objects.create(first_day=timezone.now().date(), fee=9, max_share=1)


def booked(row: Transaction) -> tuple[Decimal, Decimal]:
    """Return the round-up and the fee in the ledger: its bookings minus their reversals."""
    sums = dict.fromkeys(("round_up", "fee"), Decimal(0))
    for transfer in LedgerTransfer.objects.filter(transaction_id=row.pk):
        kind = transfer.kind.removeprefix("undo_").rstrip("_2345")
        if kind in sums:
            sums[kind] += -transfer.amount if transfer.kind.startswith("undo_") else transfer.amount
    return sums["round_up"], sums["fee"]


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(
    amount=st.decimals("0.01", "999.99", places=2),
    enabled=st.booleans(),
    rule=st.sampled_from(["flat", "next_dollar"]),
    flat=st.integers(1, 100),
    fee=st.decimals("0.00", "5.00", places=2),
    max_share=st.decimals("0", "1", places=4),
)
def test_what_is_stored_is_what_is_booked(
    starbucks: Merchant, amount: Decimal, enabled: bool, rule: str, flat: int, fee: Decimal, max_share: Decimal
) -> None:
    with transaction.atomic():
        PlatformFee.objects.create(first_day=timezone.now().date(), fee=fee, max_share=max_share)
        user = make_user(round_up_enabled=enabled, round_up_rule=rule, round_up_amount=flat)
        row = store(user, str(amount))
        User.objects.filter(pk=user.pk).update(**LATER)
        process_pending()
        row.refresh_from_db()
        expected = purchase_of(
            amount, price=PRICE, platform_fee=fee, max_share=max_share, enabled=enabled, rule=rule, flat=flat
        )
        assert (row.round_up_cents, row.fee_cents) == (expected.round_up * 100, expected.fee * 100)
        assert (row.round_up, row.fee, row.total_debit) == (expected.round_up, expected.fee, expected.total_debit)
        assert booked(row) == (expected.round_up, expected.fee)
        transaction.set_rollback(True)


def test_a_purchase_of_a_bank_file_keeps_its_amounts(starbucks: Merchant) -> None:
    user = make_user(round_up_rule="next_dollar")
    content = b"Date,Description,Amount\n2026-11-02,STARBUCKS,-4.60\n2026-11-03,PAYMENT THANK YOU,20.00\n"
    statement = upload_statement(
        user=user, filename="bank.csv", content=ContentFile(content), requested_by=user, send=False
    )
    run_statement_import(task_id=str(statement.task_id))
    change_everything()
    process_pending()
    row = Transaction.objects.get(merchant="STARBUCKS")
    assert (row.status, booked(row)) == ("completed", (Decimal("0.40"), Decimal("0.10")))


def test_the_amount_that_a_reviewer_sees_is_what_is_booked() -> None:
    make_company("SBUX", str(PRICE))
    rows = [
        store(make_user(round_up_rule="next_dollar"), amount, "COFFEE HUT") for amount in ("4.60", "1.99", "5.00")
    ] + [store(make_user(round_up_amount=3), "8.10", "COFFEE HUT")]
    process_pending()
    change_everything()
    waiting = Merchant.objects.get().waiting_amount
    assert waiting == Decimal("3.41")
    shown = {row.pk: row.total_debit for row in Transaction.objects.all()}

    Merchant.objects.update(status="approved", ticker="SBUX")
    release_waiting_transactions(merchant_keys=["COFFEE HUT"])
    process_pending()

    assert sum(booked(row)[0] for row in rows) == waiting
    assert {row.pk: row.total_debit for row in Transaction.objects.all()} == shown


def test_a_purchase_that_is_undone_and_booked_again_keeps_its_amounts(starbucks: Merchant) -> None:
    Merchant.objects.update(decision_id=1)
    row = store(make_user(round_up_rule="next_dollar"))
    process_pending()
    change_everything()
    undo_release(decision_id=1, merchant_key="STARBUCKS")
    assert booked(row) == (0, 0)
    process_pending()
    assert booked(row) == (Decimal("0.40"), Decimal("0.10"))


def test_a_purchase_that_was_not_listed_keeps_its_amounts(starbucks: Merchant) -> None:
    Merchant.objects.update(status="not_listed", ticker=None, decision_id=1)
    row = store(make_user(round_up_rule="next_dollar"))
    process_pending()
    row.refresh_from_db()
    assert (row.status, row.round_up, row.total_debit) == ("not_listed", 0, row.amount)
    change_everything()
    Merchant.objects.update(status="approved", ticker="SBUX")
    undo_release(decision_id=1, merchant_key="STARBUCKS")
    process_pending()
    assert booked(row) == (Decimal("0.40"), Decimal("0.10"))


def test_an_excluded_row_that_is_a_purchase_keeps_its_amounts(starbucks: Merchant) -> None:
    row, staff = store(make_user(round_up_rule="next_dollar")), make_staff()
    reclassify_transactions(transaction_ids=[row.pk], row_class="transfer", actor=staff)
    change_everything()
    reclassify_transactions(transaction_ids=[row.pk], row_class="", actor=staff)
    process_pending()
    assert booked(row) == (Decimal("0.40"), Decimal("0.10"))


def test_a_row_stored_by_other_means_is_fixed_when_it_is_first_processed() -> None:
    row = make_transaction(make_user(round_up_rule="next_dollar"), "COFFEE HUT", "4.60")
    process_pending()
    row.refresh_from_db()
    assert (row.round_up_cents, row.fee_cents, row.fee) == (40, 10, Decimal("0.10"))


def test_the_database_refuses_a_booking_of_other_amounts(starbucks: Merchant) -> None:
    row = store(make_user())
    process_pending()
    with pytest.raises(IntegrityError, match="transactions_booked_as_stored"), transaction.atomic():
        Transaction.objects.filter(pk=row.pk).update(fee=F("fee") + 1, total_debit=F("total_debit") + 1)
