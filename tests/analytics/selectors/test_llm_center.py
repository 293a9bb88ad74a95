"""Proposals, decisions and merchants as the dashboards read them."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from analytics.selectors import llm_center
from analytics.selectors.periods import Period
from analytics.services.rollups import refresh_rollups
from llm_center.models import MappingDecision
from tests.analytics.rows import create_proposals, today
from tests.factories import make_merchant, make_staff

pytestmark = pytest.mark.django_db


# --- figures ----------------------------------------------------------------------------------------------------------
def test_proposals_are_totalled_with_their_automatic_share():
    create_proposals(today(), "approved", 6, automatic=True, confidence="0.95")
    create_proposals(today(), "approved", 1, confidence="0.60")
    create_proposals(today(), "rejected", 1, confidence="0.50")
    create_proposals(today() - timedelta(days=5), "pending", 2, confidence="0.40")
    create_proposals(today() - timedelta(days=200), "pending", 3)
    totals = llm_center.proposal_totals(Period.of_days(30))
    assert (totals.count, totals.pending, totals.approved, totals.rejected) == (10, 2, 7, 1)
    assert totals.automatic_rate == Decimal(6) / 8
    assert totals.average_confidence == Decimal("0.76")
    assert {age.label: age.count for age in llm_center.pending_by_age() if age.count} == {"3 to 7 days": 2, "older": 3}
    assert llm_center.proposal_totals(Period.of_days(30).previous).automatic_rate is None


def test_undone_decisions_count_on_the_day_they_were_made():
    staff = make_staff()
    before = timezone.now() - timedelta(days=3)
    wrong = MappingDecision.objects.create(
        merchant_key="X", action="approve", before={}, after={}, automatic=True, decided_at=before, released_count=4
    )
    MappingDecision.objects.create(merchant_key="X", action="undo", before={}, after={}, decided_by=staff, undoes=wrong)
    MappingDecision.objects.create(merchant_key="Y", action="correct", before={}, after={}, decided_by=staff)
    refresh_rollups()
    days = llm_center.review_by_day(Period.of_days(7))
    assert [(d.date, d.manual, d.automatic, d.manual_reversed, d.automatic_reversed, d.released) for d in days] == [
        (before.date(), 0, 1, 0, 1, 4),
        (today(), 1, 0, 0, 0, 0),
    ]


def test_a_large_directory_is_sampled_and_marked_as_estimated(monkeypatch):
    for n in range(300):
        make_merchant(f"SHOP {n}", None, "not_listed", category="cafe", reason="x" * 400)
    assert llm_center.merchant_categories() == llm_center.MerchantCategories([("cafe", 300)], None)
    monkeypatch.setattr(llm_center, "_SAMPLE_PAGES", 5)
    found = llm_center.merchant_categories()
    assert found.sampled is not None
    assert 0 < found.sampled < 300
    assert abs(found.rows[0][1] - 300) < 290  # an estimate from few pages
