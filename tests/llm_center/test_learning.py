"""Confidence means what it says; reviewers' decisions teach; the page shows how good the proposals are."""

import json
from decimal import Decimal

import pytest
from django.db import connection
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from llm_center.calibration import Calibration, Observation, brier, fit
from llm_center.matcher import Proposal
from llm_center.models import CalibrationFit, MappingDecision
from llm_center.services.calibration import (
    calibrate,
    fit_and_store_calibration,
    get_calibration,
    get_reviewed_proposals,
)
from llm_center.services.learning_stats import get_learning_stats
from llm_center.services.proposal_queue import propose_merchants
from llm_center.services.review.decisions import Action, decide_merchant
from llm_center.services.review.undo import request_undo
from llm_center.tasks import refit_calibration
from tests.factories import make_company, make_merchant, make_staff
from transactions.models import Merchant

pytestmark = pytest.mark.django_db
levels = st.sampled_from([Decimal(n) / 20 for n in range(1, 21)])
seen = st.lists(
    st.tuples(levels, st.integers(1, 500), st.floats(0, 1)).map(lambda t: Observation(t[0], t[1], round(t[1] * t[2]))),
    max_size=20,
)


@given(seen)
def test_a_calibration_is_monotone_between_0_and_1_and_never_worse_than_the_prior_allows(observations):
    found = fit(observations)
    values = [found.apply(Decimal(n) / 100) for n in range(101)]
    assert values == sorted(values)
    assert all(0 <= value <= 1 for value in values)


@given(seen)
def test_what_is_raised_is_proved(observations):
    found = fit(observations)
    for one in observations:
        raised = found.apply(one.confidence)
        if raised > one.confidence:
            mine = [o for o in observations if o.confidence <= one.confidence]
            # Some level at or below was right at least that often.
            assert (
                max(
                    sum(o.right for o in mine if o.confidence == level)
                    / sum(o.answers for o in mine if o.confidence == level)
                    for level in {o.confidence for o in mine}
                )
                >= float(raised) - 0.0001
            )


def test_little_evidence_changes_little_and_much_changes_much():
    assert fit([]).apply(Decimal("0.9")) == Decimal("0.9")
    once_wrong = fit([Observation(Decimal("0.9"), 1, 0)]).apply(Decimal("0.9"))
    assert Decimal("0.85") < once_wrong < Decimal("0.9")
    often_wrong = fit([Observation(Decimal("0.9"), 1000, 500)]).apply(Decimal("0.9"))
    assert Decimal("0.5") < often_wrong < Decimal("0.52")
    assert fit([Observation(Decimal("0.6"), 3, 3)]).apply(Decimal("0.6")) == Decimal("0.6000")
    assert fit([Observation(Decimal("0.6"), 3000, 3000)]).apply(Decimal("0.6")) > Decimal("0.98")


def test_it_is_nearer_to_the_truth_than_what_was_stated():
    observations = [
        Observation(Decimal("0.4"), 124, 21),
        Observation(Decimal("0.9"), 100, 70),
        Observation(Decimal("0.98"), 500, 500),
    ]
    assert (brier(observations, fit(observations)) or 1) < (brier(observations, Calibration()) or 0)
    assert brier([], Calibration()) is None


def test_what_lies_between_observed_levels_is_not_raised():
    found = fit([Observation(Decimal("0.8"), 10, 8), Observation(Decimal("0.93"), 5000, 5000)])
    assert found.apply(Decimal("0.93")) > Decimal("0.99")
    assert found.apply(Decimal("0.89")) == Decimal("0.8900")


def proposed(key: str, ticker: str, confidence: str = "0.8000", source: str = "llm") -> Merchant:
    return make_merchant(
        key, ticker, "proposed", confidence=Decimal(confidence), stated_confidence=Decimal(confidence), source=source
    )


def test_decisions_of_people_are_what_is_learnt_from():
    chief = make_staff()
    for ticker in ("SBUX", "AAPL"):
        make_company(ticker)
    for n in range(30):
        decide_merchant(
            merchant_id=proposed(f"RIGHT {n}", "SBUX", "0.9500").pk,
            action=Action.APPROVE,
            actor=chief,
            expected_updated_at=None,
        )
    for n in range(60):
        decide_merchant(
            merchant_id=proposed(f"WRONG {n}", "SBUX", "0.8000").pk,
            action=Action.CORRECT,
            ticker="AAPL",
            actor=chief,
            expected_updated_at=None,
        )
    taken_back = decide_merchant(
        merchant_id=proposed("SLIP", "SBUX", "0.8000").pk, action=Action.APPROVE, actor=chief, expected_updated_at=None
    ).decision
    assert taken_back is not None
    request_undo(decision_id=taken_back.pk, actor=chief, reason="a slip")
    observed = get_reviewed_proposals()
    assert (len(observed), sum(one.right for one in observed)) == (90, 30)
    done = fit_and_store_calibration()
    assert done["matcher"] is None
    of_model = done["llm"]
    assert of_model is not None
    assert of_model.observations == 90
    assert (of_model.brier_after or 0) < (of_model.brier_before or 0)
    assert get_calibration("llm").apply(Decimal("0.8")) < Decimal("0.3")
    assert refit_calibration() == {"matcher": None, "llm": None}  # nothing new
    page = get_learning_stats()
    assert (page.count, page.right) == (90, 30)
    assert page.confusions[0] == ("SBUX", "AAPL", 60)
    at = {one.threshold: one for one in page.thresholds}
    assert (at[0.9].automatic, at[0.9].wrong, at[0.9].left) == (30, 0, 60)
    assert (at[0.75].automatic, at[0.75].wrong) == (90, 60)
    assert at[0.75].precision == pytest.approx(1 / 3)


def test_a_proposal_is_calibrated_before_it_is_judged_by_the_threshold():
    CalibrationFit.objects.create(source="matcher", points=[[0.9, 0.5], [0.98, 0.6]], observations=500)
    found = calibrate(Proposal("SBUX", True, "", "", Decimal("0.98"), "exact", ""), {})
    assert (found.confidence, found.stated_confidence) == (Decimal("0.6000"), Decimal("0.98"))
    make_company("SBUX")
    make_merchant("STARBUCKS", None, "proposed", source="ingest", waiting_count=1)
    propose_merchants()
    merchant = Merchant.objects.get()
    assert (merchant.ticker, merchant.status) == ("SBUX", "proposed")  # would have been approved as stated
    assert (merchant.confidence, merchant.stated_confidence) == (Decimal("0.6000"), Decimal("0.9800"))
    assert not MappingDecision.objects.exists()


def test_what_ships_keeps_exact_names_approved():
    found = get_calibration("matcher")
    assert found.apply(Decimal("0.98")) >= Decimal("0.98")
    assert found.apply(Decimal("0.40")) < Decimal("0.25")
    assert found.apply(Decimal(0)) == 0


def test_the_page_says_so_when_nothing_was_judged_and_shows_it_otherwise(client):
    client.force_login(make_staff("chief@kamioi.test"))
    address = reverse("admin:llm_center_calibrationfit_changelist")
    assert b"Nobody judged a proposal yet" in client.get(address).content
    make_company("SBUX")
    decide_merchant(
        merchant_id=proposed("RIGHT", "SBUX").pk,
        action=Action.APPROVE,
        actor=make_staff("other@kamioi.test"),
        expected_updated_at=None,
    )
    page = client.get(address).content.decode()
    assert "What if the threshold were another?" in page
    assert '"threshold": 0.9' in page
    assert "No proposal was corrected" in page


def test_feedback_of_the_legacy_system_counts_for_models():
    with connection.cursor() as cursor:
        for n in range(200):
            cursor.execute(
                "INSERT INTO legacy_rows (source_table, legacy_id, kind, data) VALUES ('ai_responses', %s, 'row', %s)",
                [
                    str(n),
                    json.dumps(
                        {"parsed_response": '{"ticker": "X", "confidence": 0.95}', "was_ai_correct": int(n % 4 == 0)}
                    ),
                ],
            )
        cursor.execute(
            "INSERT INTO legacy_rows (source_table, legacy_id, kind, data) VALUES ('ai_responses', 'bad', 'row', %s)",
            [json.dumps({"parsed_response": "no JSON", "was_ai_correct": 1})],
        )
    done = fit_and_store_calibration()["llm"]
    assert done is not None
    assert done.observations == 200
    assert get_calibration("llm").apply(Decimal("0.95")) < Decimal("0.4")
