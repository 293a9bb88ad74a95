"""Decisions that are taken back, that need two people, and that are made for many merchants at once."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import Sum
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from kamioi_site.live_settings import SettingError
from llm_center.errors import DecisionNotAllowedError, UndoNotAllowedError
from llm_center.models import LlmMapping, MappingDecision, PendingDecision
from llm_center.services.review.bulk import bulk_effect, request_bulk_decision, run_bulk_decision
from llm_center.services.review.decisions import Action, DecisionResult, decide_merchant
from llm_center.services.review.queue import QueueFilter
from llm_center.services.review.undo import request_undo, run_undo, undo_effect, undoable_decisions
from llm_center.tasks import decide_merchants, undo_decision
from tests.factories import make_company, make_merchant, make_staff, make_transaction, make_user
from transactions.models import (
    BackgroundTask,
    Holding,
    LedgerTransfer,
    Merchant,
    Notification,
    Setting,
    Transaction,
    User,
)
from transactions.services.ledger_verification import find_ledger_problems
from transactions.services.processing import process_pending
from transactions.tasks import release_merchants

pytestmark = pytest.mark.django_db


@pytest.fixture
def reviewer() -> User:
    """Who decides."""
    return make_staff(name="Ruth")


@pytest.fixture
def customers() -> list[User]:
    """Three with two purchases each at a merchant that nobody knows, one with one elsewhere."""
    make_company("SBUX", "95.00", name="Starbucks")
    make_company("DNUT", "7.00", name="Krispy Kreme")
    make_merchant("KNOWN", "SBUX")
    users = [make_user(), make_user(round_up_amount=3), make_user(round_up_rule="next_dollar")]
    for user in users:
        make_transaction(user, "STARBUKS", "4.50")
        make_transaction(user, "STARBUKS", "11.25")
        make_transaction(user, "KNOWN", "5.10")
    process_pending()
    return users


def _decide(by: User, action: Action = Action.APPROVE, ticker: str = "", key: str = "STARBUKS") -> DecisionResult:
    """Decide, release and process, as the workers do."""
    merchant = Merchant.objects.get(merchant_key=key)
    decided = decide_merchant(
        merchant_id=merchant.pk,
        action=action,
        actor=by,
        expected_updated_at=merchant.updated_at,
        ticker=ticker,
        reason="seen on a map",
    )
    if decided.task:
        release_merchants(str(decided.task.pk))
    process_pending()
    return decided


def _undo(decided: DecisionResult, by: User) -> BackgroundTask:
    assert decided.decision
    undone = request_undo(decision_id=decided.decision.pk, actor=by, reason="wrong shop")
    assert undone.task
    undo_decision(str(undone.task.pk))
    process_pending()
    undone.task.refresh_from_db()
    return undone.task


def _books() -> dict[tuple[int, str], Decimal]:
    """Balances of all accounts, by customer."""
    balances: dict[tuple[int, str], Decimal] = {}
    for row in LedgerTransfer.objects.values("debit_account", "credit_account", "user_id").annotate(sum=Sum("amount")):
        for account, sign in ((row["debit_account"], 1), (row["credit_account"], -1)):
            key = (row["user_id"], account)
            balances[key] = balances.get(key, Decimal(0)) + sign * row["sum"]
    return {key: value for key, value in balances.items() if value}


def _owned() -> set[tuple[int, str, Decimal, Decimal]]:
    return {
        (row.user_id, row.ticker, row.shares, row.cost_basis) for row in Holding.objects.exclude(shares=0, cost_basis=0)
    }


def test_undoing_takes_back_what_was_bought_by_contra_entries_and_nothing_else(reviewer, customers):
    before = _books(), _owned(), list(Merchant.objects.values("merchant_key", "status", "ticker", "waiting_count"))
    decided = _decide(reviewer, Action.CORRECT, "DNUT")
    # One more purchase came in after the decision and was bought at once.
    make_transaction(customers[0], "STARBUKS", "3.30", created_at=timezone.now())
    process_pending()
    rows = list(LedgerTransfer.objects.order_by("pk").values())
    effect = undo_effect(decision=decided.decision)
    assert (effect.transactions, effect.bought, effect.customers) == (7, 7, 3)
    assert effect.amount == Decimal(2 * 1 + 2 * 3 + Decimal("0.50") + Decimal("0.75") + 1)
    assert "puts 7 transactions back; 7 of them bought shares for" in effect.text

    task = _undo(decided, reviewer)

    assert task.result == {"put_back": 7, "taken_back": 7}
    assert list(LedgerTransfer.objects.order_by("pk").values())[: len(rows)] == rows, "history was edited"
    assert (_books(), _owned()) == before[:2]
    after = {
        row["merchant_key"]: row for row in Merchant.objects.values("merchant_key", "status", "ticker", "waiting_count")
    }
    assert after["STARBUKS"] == {"merchant_key": "STARBUKS", "status": "proposed", "ticker": None, "waiting_count": 7}
    assert after["KNOWN"] == before[2][0]
    assert Transaction.objects.filter(merchant="STARBUKS", status="needs_review", ticker=None).count() == 7
    assert Notification.objects.filter(title="A purchase of DNUT was taken back").count() == 7
    assert list(find_ledger_problems()) == []


def test_what_was_taken_back_is_bought_again_with_the_right_company(reviewer, customers):
    _undo(_decide(reviewer, Action.CORRECT, "DNUT"), reviewer)
    _decide(reviewer, Action.CORRECT, "SBUX")
    assert not Transaction.objects.exclude(status="completed").exists()
    assert {row.ticker for row in Holding.objects.filter(shares__gt=0)} == {"SBUX"}
    assert set(
        LedgerTransfer.objects.filter(
            transaction_id=Transaction.objects.filter(merchant="STARBUKS").first().pk
        ).values_list("kind", flat=True)
    ) >= {"round_up", "undo_round_up", "round_up_2", "purchase_2", "fee_2"}
    assert list(find_ledger_problems()) == []
    _undo(_decide(reviewer, Action.CORRECT, "DNUT"), reviewer)
    assert {row.ticker for row in Holding.objects.filter(shares__gt=0)} == {"SBUX"}
    assert list(find_ledger_problems()) == []


def test_undoing_not_listed_opens_what_was_closed(reviewer, customers):
    decided = _decide(reviewer, Action.NOT_LISTED)
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


def test_undo_twice_too_late_or_after_another_decision_is_refused(reviewer, customers):
    first = _decide(reviewer, Action.CORRECT, "SBUX")
    second = _decide(make_staff(), Action.CORRECT, "DNUT")
    assert first.decision
    assert second.decision
    with pytest.raises(UndoNotAllowedError, match="decided again since"):
        request_undo(decision_id=first.decision.pk, actor=reviewer)
    _undo(second, reviewer)
    with pytest.raises(UndoNotAllowedError, match="undone already"):
        request_undo(decision_id=second.decision.pk, actor=reviewer)
    MappingDecision.objects.filter(pk=first.decision.pk).update(decided_at=timezone.now() - timedelta(minutes=11))
    with pytest.raises(UndoNotAllowedError, match="older than ten minutes"):
        request_undo(decision_id=first.decision.pk, actor=reviewer)
    automatic = MappingDecision.objects.create(
        merchant_key="KNOWN", action="approve", before={}, after={"ticker": "SBUX"}, automatic=True
    )
    with pytest.raises(UndoNotAllowedError, match="Only a person's"):
        request_undo(decision_id=automatic.pk, actor=reviewer)
    assert list(undoable_decisions(actor=reviewer)) == []
    assert list(find_ledger_problems()) == []


def test_an_undo_that_runs_again_finds_nothing(reviewer, customers):
    decided = _decide(reviewer, Action.CORRECT, "DNUT")
    assert decided.decision
    _undo(decided, reviewer)
    again = run_undo(decision_id=decided.decision.pk)
    assert (again.moved, again.bought) == (0, 0)
    assert list(find_ledger_problems()) == []


def test_the_log_says_that_the_decision_was_undone(reviewer, customers):
    LlmMapping.objects.create(
        merchant_name="STARBUKS", merchant_key="STARBUKS", ticker="DNUT", source="matcher", status="pending"
    )
    decided = _decide(reviewer, Action.CORRECT, "DNUT")
    assert LlmMapping.objects.get(source="matcher").status == "approved"
    _undo(decided, reviewer)
    assert LlmMapping.objects.get(source="matcher").status == "pending"
    assert LlmMapping.objects.get(source="admin").status == "rejected"
    assert list(MappingDecision.objects.order_by("pk").values_list("action", "reason")) == [
        ("correct", "seen on a map"),
        ("undo", "wrong shop"),
    ]


def test_the_database_refuses_contra_entries_between_the_wrong_accounts_and_a_second_undo(customers):
    row = LedgerTransfer.objects.filter(kind="purchase").first()
    assert row
    sql = (
        "INSERT INTO ledger_transfers (user_id, date, transaction_id, kind, debit_account, credit_account, amount, ticker,"
        " shares, created_at) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, now())"
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
    assert {problem.problem for problem in find_ledger_problems()} == {"holding", "transaction"}


def test_a_contra_entry_that_matches_no_booking_is_found(customers):
    row = LedgerTransfer.objects.filter(kind="fee").first()
    assert row
    LedgerTransfer.objects.create(
        user_id=row.user_id,
        date=row.date,
        transaction_id=row.transaction_id,
        kind="undo_fee",
        debit_account="40100",
        credit_account="10100",
        amount=row.amount + 1,
    )
    assert "contra" in {problem.problem for problem in find_ledger_problems()}


# --- Two people -------------------------------------------------------------------------------------------------
def test_much_money_needs_two_reviewers_who_agree(reviewer, customers):
    Setting.objects.filter(key="four_eyes_limit").update(value="5")
    first = _decide(reviewer, Action.CORRECT, "DNUT")
    assert first.decision is None
    assert first.pending is not None
    assert Transaction.objects.filter(status="needs_review").count() == 6
    assert _decide(reviewer, Action.CORRECT, "DNUT").decision is None, "the same person twice is one person"
    assert _decide(make_staff(), Action.CORRECT, "SBUX").decision is None, "another opinion is no agreement"
    done = _decide(reviewer, Action.CORRECT, "SBUX")
    assert done.decision
    assert done.decision.first_reviewer not in {None, reviewer}
    assert not PendingDecision.objects.exists()
    assert Merchant.objects.get(merchant_key="STARBUKS").ticker == "SBUX"


def test_little_money_and_rejections_need_one(reviewer, customers):
    Setting.objects.filter(key="four_eyes_limit").update(value="1000")
    assert _decide(reviewer, Action.NOT_LISTED).decision


@pytest.mark.parametrize("value", ["lots", "-1", "NaN"])
def test_a_limit_that_is_no_amount_stops_decisions(reviewer, customers, value):
    Setting.objects.filter(key="four_eyes_limit").update(value=value)
    with pytest.raises(SettingError, match="four_eyes_limit"):
        _decide(reviewer, Action.NOT_LISTED)


# --- Many at once -----------------------------------------------------------------------------------------------
@pytest.fixture
def queue() -> User:
    """Thirty merchants wait with a transaction each, ten of them with a doubtful proposal."""
    user = make_user()
    make_company("SBUX", "95.00")
    for number in range(30):
        make_transaction(user, f"SHOP {number:02d}" if number < 20 else f"STAR {number}", "4.50")
    process_pending()
    Merchant.objects.filter(merchant_key__startswith="STAR").update(
        ticker="SBUX", confidence=Decimal("0.8"), source="matcher"
    )
    return user


def test_many_are_decided_after_their_effect_was_shown(reviewer, queue):
    chosen = QueueFilter(ticker="sbux", confidence=Decimal("0.75"))
    effect = bulk_effect(queue_filter=chosen, action=Action.APPROVE)
    assert (effect.merchants, effect.transactions, effect.amount) == (10, 10, Decimal("10.00"))
    task = request_bulk_decision(queue_filter=chosen, action=Action.APPROVE, actor=reviewer, until=timezone.now())
    decide_merchants(str(task.pk))
    task.refresh_from_db()
    assert (task.status, task.result) == ("completed", {"decided": 10, "released": 10, "refused": []})
    process_pending()
    assert Transaction.objects.filter(status="completed", ticker="SBUX").count() == 10
    assert Transaction.objects.filter(status="needs_review").count() == 20
    assert MappingDecision.objects.filter(decided_by=reviewer).count() == 10
    decision = MappingDecision.objects.last()
    assert decision
    assert undo_effect(decision=decision).bought == 1
    assert list(find_ledger_problems()) == []


def test_what_changed_after_the_preview_is_left_alone(reviewer, queue):
    until = timezone.now()
    Merchant.objects.get(merchant_key="SHOP 03").save()
    decided, released, refused = run_bulk_decision(
        queue_filter=QueueFilter(prefix="shop 0"), action=Action.NOT_LISTED, actor=reviewer, until=until
    )
    assert (decided, released, refused) == (9, 9, [])
    assert Merchant.objects.get(merchant_key="SHOP 03").status == "proposed"


def test_those_that_need_two_reviewers_are_named(reviewer, queue):
    Setting.objects.filter(key="four_eyes_limit").update(value="0.5")
    decided, _, refused = run_bulk_decision(
        queue_filter=QueueFilter(prefix="STAR"), action=Action.APPROVE, actor=reviewer, until=timezone.now()
    )
    assert decided == 0
    assert refused[0] == "STAR 20: another reviewer has to agree"


def test_everything_at_once_and_other_decisions_are_refused(reviewer, queue):
    for chosen, action in ((QueueFilter(), Action.APPROVE), (QueueFilter(prefix="S"), Action.REJECT)):
        with pytest.raises(DecisionNotAllowedError):
            bulk_effect(queue_filter=chosen, action=action)


def test_the_pages_of_undo_and_of_many_say_the_effect_first(reviewer, queue):
    client = Client()
    client.force_login(reviewer)
    page = reverse("admin:llm_center_reviewmerchant_bulk")
    assert b"See the effect" in client.get(page).content
    assert b"Say which merchants" in client.get(page, {"action": "approve"}).content
    assert b"No waiting merchant fits" in client.get(page, {"action": "approve", "starts": "ZZZ"}).content
    shown = client.get(page, {"action": "approve", "starts": "star", "confidence": "70"})
    text = " ".join(shown.content.decode().split())
    assert "This approves the proposals of 10 merchants: 10 transactions, $10.00 of round-ups." in text
    assert shown.context_data
    data = {"action": "approve", "starts": "star", "confidence": "70", "until": shown.context_data["until"]}
    assert b"10 merchants are being decided" in client.post(page, data, follow=True).content
    assert BackgroundTask.objects.get(name="decide_merchants").total == 10

    decided = _decide(reviewer, Action.NOT_LISTED, key="SHOP 01")
    assert decided.decision
    queue_page = client.get(reverse("admin:llm_center_reviewmerchant_changelist")).content.decode()
    undo = reverse("admin:llm_center_reviewmerchant_undo", args=[decided.decision.pk])
    assert undo in queue_page
    assert "Undoing it puts 1 transaction back." in client.get(undo).content.decode()
    assert b"is undone" in client.post(undo, {"reason": ""}, follow=True).content
    assert b"undone already" in client.post(undo, follow=True).content
