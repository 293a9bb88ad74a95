"""Decisions that need a second approval."""

import pytest

from kamioi_site.live_settings import SettingError
from llm_center.models import PendingDecision
from llm_center.services.review.decisions import Action
from tests.factories import make_staff
from tests.llm_center.services.review.helpers import decide
from transactions.models import Merchant, Setting, Transaction

pytestmark = pytest.mark.django_db


def test_large_amounts_need_two_reviewers_who_agree(reviewer, customers):
    Setting.objects.filter(key="four_eyes_limit").update(value="5")
    first = decide(reviewer, Action.CORRECT, "DNUT")
    assert first.decision is None
    assert first.pending is not None
    assert Transaction.objects.filter(status="needs_review").count() == 6
    assert decide(reviewer, Action.CORRECT, "DNUT").decision is None, "one reviewer cannot approve twice"
    assert decide(make_staff(), Action.CORRECT, "SBUX").decision is None, "a different decision is not an approval"
    result = decide(reviewer, Action.CORRECT, "SBUX")
    assert result.decision
    assert result.decision.first_reviewer not in {None, reviewer}
    assert not PendingDecision.objects.exists()
    assert Merchant.objects.get(merchant_key="STARBUKS").ticker == "SBUX"


def test_small_amounts_need_one_reviewer(reviewer, customers):
    Setting.objects.filter(key="four_eyes_limit").update(value="1000")
    assert decide(reviewer, Action.NOT_LISTED).decision


@pytest.mark.parametrize("value", ["lots", "-1", "NaN"])
def test_an_invalid_limit_stops_decisions(reviewer, customers, value):
    Setting.objects.filter(key="four_eyes_limit").update(value=value)
    with pytest.raises(SettingError, match="four_eyes_limit"):
        decide(reviewer, Action.NOT_LISTED)
