"""Correcting what was booked: the customers keep their money, the books agree, and the effect was shown to the cent."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import OperationalError
from django.db.models import Sum
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from llm_center.errors import DecisionNotAllowedError, OwnPurchasesError
from llm_center.models import LlmMapping, MappingDecision, PendingDecision
from llm_center.services.review.decisions import Action, DecisionResult, booked_effect, decide_merchant
from llm_center.services.review.undo import request_undo
from llm_center.tasks import correct_purchases, undo_decision
from tests.factories import api_client, make_company, make_price, make_staff, make_transaction, make_user
from tests.llm_center.services.review.helpers import decide
from transactions.errors import CorrectionNotPossibleError
from transactions.models import (
    BackgroundTask,
    BrokerPosition,
    Holding,
    LedgerTransfer,
    Merchant,
    Notification,
    PlatformFee,
    Setting,
    StockPrice,
    Transaction,
    User,
)
from transactions.models.ledger import MAX_BOOKINGS
from transactions.services.ledger_verification import find_ledger_problems
from transactions.services.processing import corrections, execute_orders, process_pending
from transactions.services.settlement import collect_round_ups, settle_positions

pytestmark = pytest.mark.django_db


@pytest.fixture
def wrong(reviewer: User, customers: list[User]) -> Merchant:
    """STARBUKS as Krispy Kreme: six purchases of three customers, collected and settled, and a higher price since."""
    decide(reviewer, Action.CORRECT, "DNUT")
    collect_round_ups()
    settle_positions()
    make_price("DNUT", "9.37", age=timedelta(0))
    Notification.objects.all().delete()
    return Merchant.objects.get(merchant_key="STARBUKS")


def request(actor: User, action: Action = Action.CORRECT, ticker: str = "SBUX", **options: Any) -> DecisionResult:
    merchant = Merchant.objects.get(merchant_key="STARBUKS")
    return decide_merchant(
        merchant_id=merchant.pk,
        action=action,
        actor=actor,
        expected_updated_at=merchant.updated_at,
        ticker=ticker,
        include_booked=True,
        **options,
    )


def correct(actor: User, action: Action = Action.CORRECT, ticker: str = "SBUX") -> BackgroundTask:
    """Decide, and run the task as a worker does."""
    decided = request(actor, action, ticker)
    assert decided.task
    correct_purchases(str(decided.task.pk))
    decided.task.refresh_from_db()
    assert (decided.task.status, decided.task.error) == ("completed", "")
    return decided.task


def balances() -> dict[str, Decimal]:
    """Return debits less credits of every account that is not zero."""
    found: dict[str, Decimal] = {}
    for row in LedgerTransfer.objects.all():
        found[row.debit_account] = found.get(row.debit_account, Decimal(0)) + row.amount
        found[row.credit_account] = found.get(row.credit_account, Decimal(0)) - row.amount
    assert sum(found.values()) == 0
    return {account: balance for account, balance in found.items() if balance}


def paid() -> dict[int, tuple[Decimal, Decimal, Decimal]]:
    """Return what each customer pays: round-ups, fees, and the cost of what they own."""
    return {
        user: (
            Transaction.objects.filter(user=user).aggregate(sum=Sum("round_up"))["sum"],
            Transaction.objects.filter(user=user).aggregate(sum=Sum("fee"))["sum"],
            Holding.objects.filter(user=user).aggregate(sum=Sum("cost_basis"))["sum"],
        )
        for user in Transaction.objects.values_list("user_id", flat=True).distinct()
    }


def verify() -> None:
    assert list(find_ledger_problems()) == []
    assert list(find_ledger_problems(everything=False)) == []


def test_what_is_booked_equals_the_effect_to_the_cent(reviewer: User, wrong: Merchant) -> None:
    effect = booked_effect(merchant=wrong, action=Action.CORRECT, actor=reviewer, ticker="SBUX")
    assert (effect.purchases, effect.customers, effect.held, effect.left) == (6, 3, 0, {})
    assert effect.round_ups == Decimal(2 * 1 + 2 * 3) + Decimal("0.50") + Decimal("0.75")
    assert [(row.ticker, row.price, row.cost) for row in effect.returned] == [
        ("DNUT", Decimal("9.37"), effect.round_ups)
    ]
    assert (
        effect.difference == (effect.returned[0].shares * Decimal("9.37")).quantize(Decimal("0.01")) - effect.round_ups
    )
    before, money = paid(), balances()

    report = correct(reviewer).result

    assert (report["purchases"], report["customers"], report["booked"]) == (6, 3, {"completed": 6})
    assert report["returned"] == [row.as_json() for row in effect.returned]
    assert (Decimal(report["invested"]), Decimal(report["shares_bought"])) == (effect.round_ups, effect.shares_bought)
    assert paid() == before
    entries = LedgerTransfer.objects.filter(kind="correction")
    assert {(row.user_id, row.ticker, row.shares) for row in entries} == {(0, "DNUT", Decimal(0))}
    assert balances()["67050"] == -effect.difference
    assert "11100" not in balances()
    assert balances()["22100"] == money["22100"]
    verify()

    # The surplus is sold and the new shares are bought at the same quotes: no execution difference is added.
    settle_positions()
    found = balances()
    assert found["12100"] == -found["22100"]
    assert found.get("67040", 0) == money.get("67040", 0)
    position = BrokerPosition.objects.get(ticker="DNUT")
    assert (position.shares, position.cost_basis) == (0, 0)
    verify()
    assert not Holding.objects.filter(ticker="DNUT", shares__gt=0).exists()


@pytest.mark.parametrize("buckets", [1, 16])
def test_the_difference_does_not_depend_on_the_size_of_a_batch(
    reviewer: User, wrong: Merchant, monkeypatch: pytest.MonkeyPatch, buckets: int
) -> None:
    monkeypatch.setattr(corrections, "BUCKETS_PER_BATCH", buckets)
    expected = booked_effect(merchant=wrong, action=Action.CORRECT, actor=reviewer, ticker="SBUX").difference
    assert Decimal(correct(reviewer).result["difference"]) == expected
    assert balances()["67050"] == -expected


def test_shares_that_the_house_has_not_bought_yet_make_no_difference(reviewer: User, customers: list[User]) -> None:
    decide(reviewer, Action.CORRECT, "DNUT")
    make_price("DNUT", "5.11", age=timedelta(0))
    correct(reviewer)
    verify()
    settle_positions()
    found = balances()
    assert found["12100"] == -found["22100"]
    assert found["67050"] + found["67040"] == 0
    verify()


def test_round_up_and_fee_stay_as_they_were_booked(reviewer: User, wrong: Merchant) -> None:
    before = paid()
    # As purchases from before round-up and fee were kept with the purchase.
    Transaction.objects.update(round_up_cents=None, fee_cents=None, created_at=timezone.now() - timedelta(days=900))
    User.objects.filter(is_staff=False).update(round_up_enabled=True, round_up_rule="flat", round_up_amount=77)
    PlatformFee.objects.create(first_day=timezone.now().date(), fee=9, max_share=1)
    # The bookings of today seem wrong, because the fee of today was changed; those of the correction add none.
    wrong_fees = set(find_ledger_problems())
    correct(reviewer)
    assert paid() == before
    assert set(find_ledger_problems()) == wrong_fees


def test_each_customer_gets_one_notification(reviewer: User, wrong: Merchant) -> None:
    correct(reviewer)
    notes = Notification.objects.all()
    assert sorted(note.user_id for note in notes) == sorted(set(Transaction.objects.values_list("user_id", flat=True)))
    assert {(note.title, note.message) for note in notes} == {
        (
            "Purchases corrected",
            "We matched 2 purchases at STARBUKS to the wrong company (DNUT). The round-ups are invested in SBUX now.",
        )
    }


def test_without_the_option_only_later_purchases_change(reviewer: User, wrong: Merchant, customers: list[User]) -> None:
    rows = LedgerTransfer.objects.count()
    decide(reviewer, Action.CORRECT, "SBUX")
    assert LedgerTransfer.objects.count() == rows
    make_transaction(customers[0], "STARBUKS")
    process_pending()
    assert set(Transaction.objects.filter(merchant="STARBUKS").values_list("ticker", flat=True)) == {"DNUT", "SBUX"}
    # What was left can still be corrected, by the same decision.
    assert correct(reviewer).result["purchases"] == 6


def test_a_merchant_without_a_company_returns_round_ups_and_fees(reviewer: User, wrong: Merchant) -> None:
    effect = booked_effect(merchant=wrong, action=Action.NOT_LISTED, actor=reviewer)
    charged = Transaction.objects.filter(merchant="STARBUKS").aggregate(sum=Sum("round_up") + Sum("fee"))["sum"]
    assert f"${charged} of round-ups and fees are returned to the customers" in effect.lines
    report = correct(reviewer, Action.NOT_LISTED, "").result
    assert report["booked"] == {"not_listed": 6}
    assert collect_round_ups().returned == charged
    settle_positions()
    verify()
    assert "The right one is not listed" in Notification.objects.all()[0].message

    # And back: what was not listed is invested.
    report = correct(reviewer).result
    assert (report["purchases"], report["returned"], report["booked"]) == (6, [], {"completed": 6})
    assert Notification.objects.filter(
        message="STARBUKS belongs to SBUX. The round-ups of 2 purchases are invested now."
    ).count() == len({row.user_id for row in Transaction.objects.all()})
    assert collect_round_ups().amount == charged
    verify()


def test_what_cannot_be_reversed_is_left_and_named(reviewer: User, wrong: Merchant, customers: list[User]) -> None:
    often, *_ = Transaction.objects.filter(merchant="STARBUKS").order_by("pk")
    for row in LedgerTransfer.objects.filter(transaction_id=often.pk):
        for number in range(2, MAX_BOOKINGS + 1):
            values = {
                "user_id": row.user_id,
                "date": row.date,
                "transaction_id": row.transaction_id,
                "amount": row.amount,
                "ticker": row.ticker,
                "shares": row.shares,
            }
            before = row.kind if number == 2 else f"{row.kind}_{number - 1}"
            LedgerTransfer.objects.create(
                kind=f"undo_{before}", debit_account=row.credit_account, credit_account=row.debit_account, **values
            )
            LedgerTransfer.objects.create(
                kind=f"{row.kind}_{number}",
                debit_account=row.debit_account,
                credit_account=row.credit_account,
                **values,
            )
    Transaction.objects.filter(pk=often.pk).update(booking=MAX_BOOKINGS - 1)
    legacy = make_transaction(
        customers[1], "STARBUKS", source="legacy", status="completed", ticker="DNUT", investable=1, round_up=1
    )
    assert list(find_ledger_problems()) == []

    report = correct(reviewer).result

    assert report["left"] == {
        "bookings": {"purchases": 1, "ids": [often.pk]},
        "legacy": {"purchases": 1, "ids": [legacy.pk]},
    }
    assert (report["purchases"], report["customers"]) == (5, 3)
    assert f"1 purchase booked 5 times, the most that is possible cannot be moved: {often.pk}" in report["summary"]
    assert set(Transaction.objects.filter(pk__in=[often.pk, legacy.pk]).values_list("ticker", flat=True)) == {"DNUT"}
    verify()


def test_the_newest_quote_counts_however_old_and_without_any_a_correction_is_refused(
    reviewer: User, wrong: Merchant, settings: Any
) -> None:
    for quote in StockPrice.objects.filter(ticker="DNUT"):
        quote.as_of -= settings.PRICE_MAX_AGE * 30
        quote.save()
    effect = booked_effect(merchant=wrong, action=Action.CORRECT, actor=reviewer, ticker="SBUX")
    assert effect.returned[0].quoted_at < timezone.now() - settings.PRICE_MAX_AGE
    StockPrice.objects.filter(ticker="DNUT").delete()
    with pytest.raises(CorrectionNotPossibleError, match="No quote of DNUT is known"):
        request(reviewer)
    assert not BackgroundTask.objects.filter(name="correct_purchases").exists()
    assert Merchant.objects.get(pk=wrong.pk).ticker == "DNUT"


def test_purchases_wait_for_the_market_and_are_bought_without_another_notification(
    reviewer: User, wrong: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("batch", "corrections"):
        monkeypatch.setattr(f"transactions.services.processing.{module}.market_is_open", lambda _: False)
    effect = booked_effect(merchant=wrong, action=Action.CORRECT, actor=reviewer, ticker="SBUX")
    assert "SBUX is bought as soon as the market is open and there is a current quote" in effect.lines
    assert correct(reviewer).result["booked"] == {"mapped": 6}
    verify()
    monkeypatch.undo()
    execute_orders(now=timezone.now() + timedelta(days=7))
    make_price("SBUX", "95.00", age=timedelta(0))
    process_pending()
    assert not Transaction.objects.exclude(status="completed").exists()
    assert set(Notification.objects.values_list("title", flat=True)) == {"Purchases corrected"}
    verify()


def test_purchases_of_a_suspended_customer_wait_on_hold(reviewer: User, wrong: Merchant, customers: list[User]) -> None:
    User.objects.filter(pk=customers[0].pk).update(is_active=False)
    effect = booked_effect(merchant=wrong, action=Action.CORRECT, actor=reviewer, ticker="SBUX")
    report = correct(reviewer).result
    assert (effect.held, report["booked"]) == (2, {"completed": 4})
    assert Decimal(report["shares_bought"]) == effect.shares_bought
    assert Transaction.objects.filter(user=customers[0], merchant="STARBUKS", status="on_hold").count() == 2
    verify()


def test_a_limit_does_not_hold_what_was_charged_before(reviewer: User, wrong: Merchant) -> None:
    Setting.objects.filter(key__startswith="limit_").update(value="0.01")
    before = paid()
    assert correct(reviewer).result["booked"] == {"completed": 6}
    assert paid() == before


def test_a_task_that_is_run_again_continues_and_counts_everything_once(
    reviewer: User, wrong: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    effect = booked_effect(merchant=wrong, action=Action.CORRECT, actor=reviewer, ticker="SBUX")
    monkeypatch.setattr(corrections, "BUCKETS_PER_BATCH", 1)
    process, interrupted = corrections.process_until_gone, list[Any]()

    def fail_once(pending: Any, buckets: Any) -> Any:
        if pending.exists() and not interrupted:  # reversed, and not booked again yet
            interrupted.append(buckets)
            raise OperationalError("the server closed the connection")
        return process(pending, buckets)

    monkeypatch.setattr(corrections, "process_until_gone", fail_once)
    decided = request(reviewer)
    assert decided.task
    correct_purchases(str(decided.task.pk))
    decided.task.refresh_from_db()
    assert (decided.task.status, decided.task.result["purchases"]) == ("queued", 2)
    verify()
    # The price at which the house took shares back does not change in the middle.
    make_price("DNUT", "1.00", age=timedelta(0))

    correct_purchases(str(decided.task.pk))

    decided.task.refresh_from_db()
    report = decided.task.result
    assert (report["purchases"], report["customers"], report["booked"]) == (6, 3, {"completed": 6})
    assert Decimal(report["difference"]) == effect.difference == -balances()["67050"]
    assert Notification.objects.count() == 3
    assert LogEntry.objects.filter(object_id=str(wrong.pk), change_message__contains="6 purchases").count() == 1
    verify()


def test_a_worker_that_was_taken_for_dead_commits_nothing(
    reviewer: User, wrong: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    decided, rows = request(reviewer), LedgerTransfer.objects.count()
    assert decided.task
    effect = corrections.correction_effect

    def taken_over(**values: Any) -> Any:
        BackgroundTask.objects.update(attempts=7)
        return effect(**values)

    monkeypatch.setattr(corrections, "correction_effect", taken_over)
    correct_purchases(str(decided.task.pk))
    assert LedgerTransfer.objects.count() == rows
    assert BackgroundTask.objects.get(pk=decided.task.pk).result == {}


def test_a_decision_that_is_undone_first_corrects_nothing(reviewer: User, wrong: Merchant) -> None:
    decided, rows = request(reviewer), LedgerTransfer.objects.count()
    assert decided.decision
    assert decided.task
    request_undo(decision_id=decided.decision.pk, actor=reviewer)
    correct_purchases(str(decided.task.pk))
    report = BackgroundTask.objects.get(pk=decided.task.pk).result
    assert (report["purchases"], report["stopped"]) == (0, True)
    assert LedgerTransfer.objects.count() == rows


def test_undoing_a_correction_buys_the_previous_company_again(reviewer: User, wrong: Merchant) -> None:
    before = paid()
    correct(reviewer)
    decision = MappingDecision.objects.latest("pk")
    assert decision.corrected_count == 6
    undone = request_undo(decision_id=decision.pk, actor=reviewer)
    assert undone.task
    undo_decision(str(undone.task.pk))
    process_pending()
    assert set(Transaction.objects.filter(merchant="STARBUKS").values_list("ticker", flat=True)) == {"DNUT"}
    assert paid() == before
    verify()


def test_four_eyes_count_what_is_booked(reviewer: User, wrong: Merchant) -> None:
    Setting.objects.filter(key="four_eyes_limit").update(value="9.25")
    assert wrong.waiting_amount == 0
    result = request(reviewer)
    assert result.pending is not None
    assert str(PendingDecision.objects.get()) == "correct the ticker SBUX, also what was booked"
    # Below the limit, one reviewer is enough.
    Setting.objects.filter(key="four_eyes_limit").update(value="9.26")
    assert request(reviewer, action=Action.NOT_LISTED, ticker="").decision is not None


def test_the_second_reviewer_confirms_the_same_scope(reviewer: User, wrong: Merchant) -> None:
    Setting.objects.filter(key="four_eyes_limit").update(value="1.00")
    request(reviewer)
    confirmed = request(make_staff())
    assert confirmed.decision is not None
    assert confirmed.decision.first_reviewer == reviewer
    assert confirmed.task is not None


def test_a_reviewer_never_corrects_their_own_purchases(reviewer: User, wrong: Merchant) -> None:
    make_transaction(reviewer, "STARBUKS")
    process_pending()
    with pytest.raises(OwnPurchasesError, match="Your own purchases would be corrected"):
        request(reviewer)
    assert request(make_staff()).decision is not None


def test_a_rejection_corrects_nothing(reviewer: User, customers: list[User]) -> None:
    Merchant.objects.filter(merchant_key="STARBUKS").update(ticker="DNUT")
    with pytest.raises(DecisionNotAllowedError, match="cannot correct purchases"):
        request(reviewer, Action.REJECT, "")


def test_the_admin_shows_the_effect_first_and_the_report_afterwards(reviewer: User, wrong: Merchant) -> None:
    client = Client()
    client.force_login(reviewer)
    directory = client.get(reverse("admin:transactions_merchant_change", args=[wrong.pk])).content.decode()
    address = reverse("admin:llm_center_reviewmerchant_decide", args=[wrong.pk, "correct"])
    assert address in directory
    page = client.get(address, {"ticker": "SBUX"})
    text = page.content.decode()
    assert "6 purchases of 3 customers with $9.25 of round-ups are booked again" in text
    assert 'value="future" checked' in text
    assert page.context_data is not None
    reply = client.post(
        address,
        {"ticker": "SBUX", "scope": "booked", "expected_updated_at": page.context_data["expected_updated_at"]},
        follow=True,
    )
    assert "STARBUKS is SBUX: 0 transactions released. Correcting 6 booked purchases." in reply.content.decode()
    task = BackgroundTask.objects.get(name="correct_purchases")
    assert task.total == 6
    correct_purchases(str(task.pk))
    report = client.get(reverse("admin:transactions_backgroundtask_change", args=[task.pk])).content.decode()
    assert "6 purchases of 3 customers were corrected to SBUX: 6 completed" in report


def test_the_api_shows_the_effect_and_corrects(reviewer: User, wrong: Merchant) -> None:
    mapping = LlmMapping.objects.create(
        merchant_name="STARBUKS", merchant_key="STARBUKS", ticker="SBUX", confidence=1, status="pending", source="user"
    )
    client = api_client(reviewer)
    effect = client.get(f"/api/admin/llm-center/mapping/{mapping.pk}/correction").json()["data"]
    assert (effect["purchases"], effect["customers"], effect["round_ups"]) == (6, 3, 9.25)
    assert [row["ticker"] for row in effect["returned"]] == ["DNUT"]
    address, body = f"/api/admin/llm-center/mapping/{mapping.pk}", {"include_booked": True}
    version = client.get(address).json()["data"]["merchant_version"]
    refused = client.post(f"{address}/reject", body | {"merchant_version": version}, format="json")
    assert refused.status_code == 400
    reply = client.post(f"{address}/approve", body | {"merchant_version": version}, format="json")
    assert reply.status_code == 200, reply.content
    assert BackgroundTask.objects.get(pk=reply.json()["task_id"]).name == "correct_purchases"
    assert api_client(make_user()).get(f"/api/admin/llm-center/mapping/{mapping.pk}/correction").status_code == 403


def test_several_old_companies_are_corrected_at_once(reviewer: User, wrong: Merchant, customers: list[User]) -> None:
    make_company("TGT", "120.00")
    decide(reviewer, Action.CORRECT, "TGT")
    make_transaction(customers[0], "STARBUKS")
    process_pending()
    Notification.objects.all().delete()
    report = correct(reviewer).result
    assert [row["ticker"] for row in report["returned"]] == ["DNUT", "TGT"]
    assert (
        Notification.objects.filter(user=customers[0])
        .get()
        .message.startswith("We matched 3 purchases at STARBUKS to the wrong company (DNUT, TGT).")
    )
    settle_positions()
    verify()
