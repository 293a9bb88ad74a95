"""Calibration from reviewers' decisions, and the statistics of the learning page."""

import json
from decimal import Decimal

import pytest
from django.db import connection
from django.urls import reverse

from llm_center.models import CalibrationFit, MappingDecision
from llm_center.services.calibration import fit_and_store_calibration, get_calibration, get_reviewed_proposals
from llm_center.services.learning_stats import get_learning_stats
from llm_center.services.matching import propose_owner
from llm_center.services.proposal_queue import propose_merchants
from llm_center.services.review.decisions import Action, decide_merchant
from llm_center.services.review.undo import request_undo
from llm_center.tasks import refit_calibration
from tests.factories import make_company, make_merchant, make_staff
from transactions.models import Merchant

pytestmark = pytest.mark.django_db


def proposed(key: str, ticker: str, confidence: str = "0.8000", source: str = "llm") -> Merchant:
    return make_merchant(
        key, ticker, "proposed", confidence=Decimal(confidence), stated_confidence=Decimal(confidence), source=source
    )


def test_models_are_calibrated_by_reviewers_decisions():
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
    undone = decide_merchant(
        merchant_id=proposed("SLIP", "SBUX", "0.8000").pk, action=Action.APPROVE, actor=chief, expected_updated_at=None
    ).decision
    assert undone is not None
    request_undo(decision_id=undone.pk, actor=chief, reason="a slip")
    observed = get_reviewed_proposals()
    assert (len(observed), sum(row.right for row in observed)) == (90, 30)
    done = fit_and_store_calibration()
    assert done["matcher"] is None
    model_fit = done["llm"]
    assert model_fit is not None
    assert model_fit.observations == 90
    assert (model_fit.brier_after or 0) < (model_fit.brier_before or 0)
    assert get_calibration("llm").apply(Decimal("0.8")) < Decimal("0.3")
    assert refit_calibration() == {"matcher": None, "llm": None}  # nothing new
    page = get_learning_stats()
    assert (page.count, page.right) == (90, 30)
    assert page.confusions[0] == ("SBUX", "AAPL", 60)
    at = {outcome.threshold: outcome for outcome in page.thresholds}
    assert (at[0.9].automatic, at[0.9].wrong, at[0.9].left) == (30, 0, 60)
    assert (at[0.75].automatic, at[0.75].wrong) == (90, 60)
    assert at[0.75].precision == pytest.approx(1 / 3)


def test_a_proposal_is_calibrated_before_it_is_compared_with_the_threshold():
    CalibrationFit.objects.create(source="matcher", points=[[0.9, 0.5], [0.98, 0.6]], observations=500)
    proposal = propose_owner("STARBUCKS")
    stated = proposal.stated_confidence
    assert stated is not None
    assert stated >= Decimal("0.95")
    assert proposal.confidence <= Decimal("0.6000")
    assert proposal.proven <= proposal.confidence
    make_company("SBUX")
    make_merchant("STARBUCKS", None, "proposed", source="ingest", waiting_count=1)
    propose_merchants()
    merchant = Merchant.objects.get()
    assert (merchant.ticker, merchant.status) == ("SBUX", "proposed")  # would have been approved as stated
    assert (merchant.confidence, merchant.stated_confidence) == (proposal.confidence, stated)
    assert not MappingDecision.objects.exists()


def test_without_reviews_confidence_stays_as_stated():
    calibration = get_calibration("matcher")
    assert [calibration.apply(Decimal(text)) for text in ("0.97", "0.40", "0")] == [Decimal("0.97"), Decimal("0.40"), 0]


def test_the_learning_page_shows_the_reviewed_proposals(client):
    client.force_login(make_staff("chief@kamioi.test"))
    address = reverse("admin:llm_center_calibrationfit_changelist")
    assert b"No proposals reviewed yet" in client.get(address).content
    make_company("SBUX")
    decide_merchant(
        merchant_id=proposed("RIGHT", "SBUX").pk,
        action=Action.APPROVE,
        actor=make_staff("other@kamioi.test"),
        expected_updated_at=None,
    )
    page = client.get(address).content.decode()
    assert "What if the threshold changed?" in page
    assert '"threshold": 0.9' in page
    assert "No proposal has been corrected" in page


def test_feedback_from_the_legacy_system_counts_for_models():
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
