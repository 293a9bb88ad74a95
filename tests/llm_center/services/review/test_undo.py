"""Undoing decisions: the merchant's previous state and the money are restored."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import Sum
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from llm_center.errors import UndoNotAllowedError
from llm_center.models import LlmMapping, MappingDecision
from llm_center.services.review.decisions import Action, DecisionResult, decide_merchant
from llm_center.services.review.undo import request_undo, run_undo, undo_effect, undoable_decisions
from llm_center.tasks import undo_decision
from tests.factories import make_staff, make_transaction
from tests.llm_center.services.review.helpers import decide
from transactions.models import BackgroundTask, Holding, LedgerTransfer, Merchant, Notification, Transaction, User
from transactions.services.ledger_verification import find_ledger_problems
from transactions.services.processing import process_pending

pytestmark = pytest.mark.django_db


def _undo(decided: DecisionResult, actor: User) -> BackgroundTask:
    assert decided.decision
    undone = request_undo(decision_id=decided.decision.pk, actor=actor, reason="wrong shop")
    assert undone.task
    undo_decision(str(undone.task.pk))
    process_pending()
    undone.task.refresh_from_db()
    return undone.task


def _balances() -> dict[tuple[int, str], Decimal]:
    """Return the balances of all accounts, by customer."""
    balances: dict[tuple[int, str], Decimal] = {}
    for row in LedgerTransfer.objects.values("debit_account", "credit_account", "user_id").annotate(sum=Sum("amount")):
        for account, sign in ((row["debit_account"], 1), (row["credit_account"], -1)):
            key = (row["user_id"], account)
            balances[key] = balances.get(key, Decimal(0)) + sign * row["sum"]
    return {key: value for key, value in balances.items() if value}


def _holdings() -> set[tuple[int, str, Decimal, Decimal]]:
    return {
        (row.user_id, row.ticker, row.shares, row.cost_basis) for row in Holding.objects.exclude(shares=0, cost_basis=0)
    }


def test_undoing_reverses_only_the_purchases_of_the_decision_by_contra_entries(reviewer, customers):
    before = (
        _balances(),
        _holdings(),
        Merchant.objects.values("merchant_key", "status", "ticker", "waiting_count").get(merchant_key="KNOWN"),
    )
    decided = decide(reviewer, Action.CORRECT, "DNUT")
    # A purchase after the decision is invested at once.
    make_transaction(customers[0], "STARBUKS", "3.30", created_at=timezone.now())
    process_pending()
    rows = list(LedgerTransfer.objects.order_by("pk").values())
    effect = undo_effect(decision=decided.decision)
    assert (effect.transactions, effect.bought, effect.customers) == (7, 7, 3)
    assert Transaction.objects.filter(merchant="STARBUKS", decision_id=decided.decision.pk).count() == 7
    assert effect.amount == Decimal(2 * 1 + 2 * 3 + Decimal("0.50") + Decimal("0.75") + 1)
    assert "puts 7 transactions back; 7 of them bought shares for" in effect.text

    task = _undo(decided, reviewer)

    assert task.result == {"put_back": 7, "taken_back": 7}
    assert list(LedgerTransfer.objects.order_by("pk").values())[: len(rows)] == rows, "history was edited"
    assert (_balances(), _holdings()) == before[:2]
    after = {
        row["merchant_key"]: row for row in Merchant.objects.values("merchant_key", "status", "ticker", "waiting_count")
    }
    assert after["STARBUKS"] == {"merchant_key": "STARBUKS", "status": "proposed", "ticker": None, "waiting_count": 7}
    assert after["KNOWN"] == before[2]
    waiting = Transaction.objects.filter(merchant="STARBUKS", status="needs_review", ticker=None, decision_id=None)
    assert waiting.count() == 7
    assert Notification.objects.filter(title="Your purchase of DNUT was reversed").count() == 7
    assert list(find_ledger_problems()) == []


@contextmanager
def _another_connection(write: Callable[[], object]) -> Iterator[None]:
    """Write on another connection, which commits at the end of the block."""
    written, may_commit = threading.Event(), threading.Event()

    def work() -> None:
        try:
            with transaction.atomic():
                write()
                written.set()
                assert may_commit.wait(60)
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert written.wait(60)
        yield
    finally:
        may_commit.set()
        thread.join(60)


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_a_purchase_that_was_pending_during_the_decision_is_undone_with_it(reviewer, customers):
    with _another_connection(lambda: make_transaction(customers[0], "STARBUKS", "3.30")):
        decided = decide(reviewer, Action.CORRECT, "DNUT")
    process_pending()
    assert undo_effect(decision=decided.decision).bought == 7
    assert _undo(decided, reviewer).result == {"put_back": 7, "taken_back": 7}
    assert list(find_ledger_problems()) == []


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_a_purchase_booked_under_an_older_decision_is_not_undone(reviewer, customers):
    first = decide(reviewer, Action.CORRECT, "DNUT").decision
    assert first
    make_transaction(customers[0], "STARBUKS", "3.30")
    merchant = Merchant.objects.get(merchant_key="STARBUKS")
    with _another_connection(process_pending):  # a batch that read the merchant before the second decision
        second = decide_merchant(
            merchant_id=merchant.pk,
            action=Action.CORRECT,
            ticker="DNUT",
            actor=make_staff(),
            expected_updated_at=merchant.updated_at,
        )
    assert second.decision
    make_transaction(customers[0], "STARBUKS", "4.40")
    process_pending()
    assert Transaction.objects.filter(decision_id=first.pk).count() == 7
    assert undo_effect(decision=second.decision).bought == 1
    assert _undo(second, reviewer).result == {"put_back": 1, "taken_back": 1}
    # The first decision applies again.
    assert Merchant.objects.get(merchant_key="STARBUKS").decision_id == first.pk
    assert Transaction.objects.filter(status="completed", decision_id=first.pk).count() == 8
    assert list(find_ledger_problems()) == []


def test_reversed_purchases_are_invested_again_in_the_right_company(reviewer, customers):
    _undo(decide(reviewer, Action.CORRECT, "DNUT"), reviewer)
    decide(reviewer, Action.CORRECT, "SBUX")
    assert not Transaction.objects.exclude(status="completed").exists()
    assert {row.ticker for row in Holding.objects.filter(shares__gt=0)} == {"SBUX"}
    assert set(
        LedgerTransfer.objects.filter(
            transaction_id=Transaction.objects.filter(merchant="STARBUKS").first().pk
        ).values_list("kind", flat=True)
    ) >= {"round_up", "undo_round_up", "round_up_2", "purchase_2", "fee_2"}
    assert list(find_ledger_problems()) == []
    _undo(decide(reviewer, Action.CORRECT, "DNUT"), reviewer)
    assert {row.ticker for row in Holding.objects.filter(shares__gt=0)} == {"SBUX"}
    assert list(find_ledger_problems()) == []


def test_undoing_not_listed_reopens_the_transactions(reviewer, customers):
    decided = decide(reviewer, Action.NOT_LISTED)
    assert Transaction.objects.filter(status="not_listed").count() == 6
    assert _undo(decided, reviewer).result == {"put_back": 6, "taken_back": 0}
    assert Transaction.objects.filter(status="needs_review").count() == 6
    assert Merchant.objects.get(merchant_key="STARBUKS").waiting_count == 6


def test_undoing_a_rejection_restores_the_proposal(reviewer, customers):
    merchant = Merchant.objects.get(merchant_key="STARBUKS")
    Merchant.objects.filter(pk=merchant.pk).update(ticker="SBUX", confidence=Decimal("0.8"), company_name="Starbucks")
    merchant.refresh_from_db()
    decided = decide_merchant(
        merchant_id=merchant.pk, action=Action.REJECT, actor=reviewer, expected_updated_at=merchant.updated_at
    )
    assert decided.decision
    request_undo(decision_id=decided.decision.pk, actor=reviewer)
    merchant.refresh_from_db()
    assert (merchant.status, merchant.ticker, merchant.confidence) == ("proposed", "SBUX", Decimal("0.8"))
    assert merchant.rejected_tickers == []


def test_a_second_late_or_outdated_undo_is_refused(reviewer, customers, monkeypatch):
    first = decide(reviewer, Action.CORRECT, "SBUX")
    second = decide(make_staff(), Action.CORRECT, "DNUT")
    assert first.decision
    assert second.decision
    with pytest.raises(UndoNotAllowedError, match="decided again since"):
        request_undo(decision_id=first.decision.pk, actor=reviewer)
    _undo(second, reviewer)
    with pytest.raises(UndoNotAllowedError, match="already been undone"):
        request_undo(decision_id=second.decision.pk, actor=reviewer)
    monkeypatch.setattr("llm_center.services.review.undo.UNDO_WINDOW", timedelta(0))
    with pytest.raises(UndoNotAllowedError, match="older than ten minutes"):
        request_undo(decision_id=first.decision.pk, actor=reviewer)
    automatic = MappingDecision.objects.create(
        merchant_key="KNOWN", action="approve", before={}, after={"ticker": "SBUX"}, automatic=True
    )
    with pytest.raises(UndoNotAllowedError, match="Only a reviewer's"):
        request_undo(decision_id=automatic.pk, actor=reviewer)
    assert list(undoable_decisions(actor=reviewer)) == []
    assert list(find_ledger_problems()) == []


def test_a_second_run_of_an_undo_finds_nothing(reviewer, customers):
    decided = decide(reviewer, Action.CORRECT, "DNUT")
    assert decided.decision
    _undo(decided, reviewer)
    again = run_undo(decision_id=decided.decision.pk)
    assert (again.moved, again.bought) == (0, 0)
    assert list(find_ledger_problems()) == []


def test_the_log_records_the_undo(reviewer, customers):
    LlmMapping.objects.create(
        merchant_name="STARBUKS", merchant_key="STARBUKS", ticker="DNUT", source="matcher", status="pending"
    )
    decided = decide(reviewer, Action.CORRECT, "DNUT")
    assert LlmMapping.objects.get(source="matcher").status == "approved"
    _undo(decided, reviewer)
    assert LlmMapping.objects.get(source="matcher").status == "pending"
    assert LlmMapping.objects.get(source="admin").status == "rejected"
    assert list(MappingDecision.objects.order_by("pk").values_list("action", "reason")) == [
        ("correct", "seen on a map"),
        ("undo", "wrong shop"),
    ]


def test_the_database_refuses_invalid_contra_entries_and_a_second_undo(customers):
    row = LedgerTransfer.objects.filter(kind="purchase").first()
    assert row
    sql = (
        "INSERT INTO ledger_transfers (user_id, date, transaction_id, kind, debit_account, credit_account, amount,"
        " ticker, shares, created_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, now())"
    )
    good = [
        row.user_id,
        row.date,
        row.transaction_id,
        "undo_purchase",
        "22100",
        "20100",
        row.amount,
        row.ticker,
        row.shares,
    ]
    for values, name in (
        ([*good[:4], "20100", "22100", *good[6:]], "ledger_transfers_posting_rule"),
        ([*good[:7], None, None], "ledger_transfers_shares_with_purchase"),
    ):
        with pytest.raises(IntegrityError, match=name), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql, values)
    with connection.cursor() as cursor:
        cursor.execute(sql, good)
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, good)
    # An undo of half the entries of a purchase is found.
    assert {problem.problem for problem in find_ledger_problems()} == {"funds", "holding", "transaction"}


def test_a_contra_entry_without_a_matching_entry_is_found(customers):
    row = LedgerTransfer.objects.filter(kind="fee").first()
    assert row
    LedgerTransfer.objects.create(
        user_id=row.user_id,
        date=row.date,
        transaction_id=row.transaction_id,
        kind="undo_fee",
        debit_account="40100",
        credit_account="11100",
        amount=row.amount + 1,
    )
    assert "contra" in {problem.problem for problem in find_ledger_problems()}


def test_the_admin_shows_the_effect_before_an_undo(reviewer, queue):
    client = Client()
    client.force_login(reviewer)
    decided = decide(reviewer, Action.NOT_LISTED, key="SHOP 01")
    assert decided.decision
    queue_page = client.get(reverse("admin:llm_center_reviewmerchant_changelist")).content.decode()
    undo = reverse("admin:llm_center_reviewmerchant_undo", args=[decided.decision.pk])
    assert undo in queue_page
    assert "Undoing it puts 1 transaction back." in client.get(undo).content.decode()
    assert b"was undone" in client.post(undo, {"reason": ""}, follow=True).content
    assert b"already been undone" in client.post(undo, follow=True).content
