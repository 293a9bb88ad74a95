"""One decision for a merchant and for similar ones that wait."""

from collections.abc import Sequence
from decimal import Decimal

import pytest

from llm_center.errors import DecisionNotAllowedError, MerchantChangedError
from llm_center.models import MappingDecision, PendingDecision
from llm_center.selectors import FAMILY
from llm_center.services.review.decisions import Action
from llm_center.services.review.families import FamilyResult, decide_family, family_choices, parse_choices
from llm_center.services.review.undo import request_undo
from llm_center.tasks import undo_decision
from tests.factories import make_company, make_merchant, make_staff, make_transaction, make_user
from transactions.models import BackgroundTask, Merchant, Setting, Transaction, User
from transactions.services.ledger_verification import find_ledger_problems
from transactions.services.processing import process_pending
from transactions.tasks import release_merchants

pytestmark = pytest.mark.django_db


@pytest.fixture
def family() -> list[Merchant]:
    """Three similar merchants with a purchase each; Starbucks was proposed for two of them."""
    make_company("SBUX", "95.00", name="Starbucks")
    make_company("DNUT", "7.00", name="Krispy Kreme")
    user = make_user()
    keys = ["STARBUKS", "STARBUKS EAST", "STARBUKS WEST"]
    for key in keys:
        make_transaction(user, key, "4.50")
    process_pending()
    Merchant.objects.filter(merchant_key__in=keys[:2]).update(ticker="SBUX", confidence=Decimal("0.8"))
    return [Merchant.objects.get(merchant_key=key) for key in keys]


def _decide(
    merchants: Sequence[Merchant], actor: User, action: Action = Action.APPROVE, ticker: str = "SBUX", **options: bool
) -> FamilyResult:
    """Decide the first merchant, and the others with it, in the versions given."""
    return decide_family(
        merchant_id=merchants[0].pk,
        action=action,
        actor=actor,
        expected_updated_at=merchants[0].updated_at,
        others={merchant.pk: merchant.updated_at for merchant in merchants[1:]},
        ticker=ticker,
        reason="seen on a map",
        **options,
    )


def _states() -> dict[str, tuple[str, str | None]]:
    return {
        key: (status, ticker)
        for key, status, ticker in Merchant.objects.values_list("merchant_key", "status", "ticker")
    }


@pytest.mark.parametrize(
    ("action", "ticker", "state", "actions"),
    [
        # What was not proposed is a correction.
        (Action.APPROVE, "SBUX", ("approved", "SBUX"), ["approve", "approve", "correct"]),
        (Action.CORRECT, "dnut", ("approved", "DNUT"), ["correct"] * 3),
        (Action.NOT_LISTED, "", ("not_listed", None), ["not_listed"] * 3),
    ],
)
def test_one_decision_settles_all_and_each_can_be_undone(reviewer, family, action, ticker, state, actions) -> None:
    before = _states()
    result = _decide(family, reviewer, action, ticker)
    assert (result.pending, result.refused) == ([], [])
    assert _states() == dict.fromkeys(before, state)
    assert [decision.action for decision in result.decisions] == actions
    assert {decision.reason for decision in MappingDecision.objects.all()} == {"seen on a map"}
    task = BackgroundTask.objects.get()
    assert (task.name, task.arguments, task.total) == ("release_merchants", {"merchant_keys": sorted(before)}, 3)
    release_merchants(str(task.pk))
    process_pending()
    assert not Transaction.objects.filter(status="needs_review").exists()
    for decision in result.decisions:
        undone = request_undo(decision_id=decision.pk, actor=reviewer)
        undo_decision(str(undone.task.pk))
    process_pending()
    assert _states() == before
    assert Transaction.objects.filter(status="needs_review").count() == 3
    assert list(find_ledger_problems()) == []


@pytest.mark.parametrize("changed", [0, 1])
def test_a_merchant_that_changed_is_refused_and_the_others_are_decided(reviewer, family, changed) -> None:
    Merchant.objects.get(pk=family[changed].pk).save()
    result = _decide(family, reviewer)
    assert len(result.refused) == 1
    assert f"{family[changed].merchant_key} was changed by" in result.refused[0]
    assert MerchantChangedError.status_code == 409
    family.pop(changed)
    assert {decision.merchant_key for decision in result.decisions} == {merchant.merchant_key for merchant in family}
    assert BackgroundTask.objects.get().total == 2


def test_a_reviewers_own_purchases_are_not_offered_and_are_refused(reviewer, family) -> None:
    make_transaction(reviewer, "STARBUKS EAST", status="needs_review")
    choices = {
        choice.member.merchant_key: choice
        for choice in family_choices(merchant=family[0], action=Action.APPROVE, actor=reviewer)
    }
    assert (choices["STARBUKS EAST"].is_possible, choices["STARBUKS EAST"].is_default) == (False, False)
    assert (choices["STARBUKS WEST"].is_possible, choices["STARBUKS WEST"].is_default) == (True, False)
    result = _decide(family, reviewer)
    assert [text.partition(":")[0] for text in result.refused] == ["STARBUKS EAST"]
    assert _states()["STARBUKS EAST"] == ("proposed", "SBUX")
    assert len(result.decisions) == 2


def test_large_amounts_of_one_merchant_need_two_reviewers(reviewer, family) -> None:
    Setting.objects.filter(key="four_eyes_limit").update(value="5")
    Merchant.objects.filter(pk=family[1].pk).update(waiting_amount=Decimal(5))
    choices = family_choices(merchant=family[0], action=Action.APPROVE, actor=reviewer)
    assert [(choice.remark, choice.is_default) for choice in choices] == [
        ("needs a second reviewer", True),
        ("", False),
    ]
    result = _decide(family, reviewer)
    assert (len(result.decisions), result.pending, result.refused) == (2, ["STARBUKS EAST"], [])
    assert PendingDecision.objects.get().merchant == family[1]
    assert BackgroundTask.objects.get().arguments == {"merchant_keys": ["STARBUKS", "STARBUKS WEST"]}
    assert _decide([family[1]], make_staff()).decisions[0].first_reviewer == reviewer


def test_the_decisions_are_one_transaction(reviewer, family, monkeypatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError

    before = _states()
    monkeypatch.setattr("llm_center.services.review.families.request_release", fail)
    with pytest.raises(RuntimeError):
        _decide(family, reviewer)
    assert (_states(), MappingDecision.objects.count()) == (before, 0)


def test_what_was_booked_is_corrected_for_the_first_merchant_only(reviewer, family) -> None:
    make_merchant("STARBUKS NORTH", "DNUT")
    make_transaction(make_user(), "STARBUKS NORTH", "4.50")
    process_pending()
    first = Merchant.objects.get(merchant_key="STARBUKS NORTH")
    result = _decide([first, *family[:2]], reviewer, Action.CORRECT, include_booked=True)
    assert [decision.corrected_count for decision in result.decisions] == [1, 0, 0]
    tasks = {task.name: task.arguments["merchant_keys"] for task in BackgroundTask.objects.all()}
    assert tasks == {"correct_purchases": ["STARBUKS NORTH"], "release_merchants": ["STARBUKS", "STARBUKS EAST"]}


def test_rejections_and_too_many_merchants_are_refused(reviewer, family) -> None:
    assert family_choices(merchant=family[0], action=Action.REJECT, actor=reviewer) == []
    with pytest.raises(DecisionNotAllowedError, match="one by one"):
        _decide(family, reviewer, Action.REJECT)
    with pytest.raises(DecisionNotAllowedError, match="no proposed ticker"):
        _decide(family, reviewer, ticker="")
    many = {family[0].pk + number: family[0].updated_at for number in range(FAMILY + 2)}
    with pytest.raises(DecisionNotAllowedError, match="At most 50"):
        decide_family(
            merchant_id=family[0].pk,
            action=Action.NOT_LISTED,
            actor=reviewer,
            expected_updated_at=family[0].updated_at,
            others=many,
        )


def test_a_choice_carries_the_version_that_was_shown(reviewer, family) -> None:
    choices = family_choices(merchant=family[0], action=Action.APPROVE, actor=reviewer)
    assert parse_choices([choice.value for choice in choices]) == {
        merchant.pk: merchant.updated_at for merchant in family[1:]
    }


@pytest.mark.parametrize("value", ["", "1", "x@2026-01-01T00:00:00+00:00", "1@yesterday", "9" * 30 + "@", "²@"])
def test_an_invalid_choice_is_refused(value: str) -> None:
    with pytest.raises(MerchantChangedError):
        parse_choices([value])
