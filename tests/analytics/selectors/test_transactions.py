"""Purchases by period."""

from datetime import timedelta

import pytest

from analytics.selectors.periods import Period
from analytics.selectors.transactions import VolumeTotals, volume_by_day
from tests.analytics.rows import create_volume, today

pytestmark = pytest.mark.django_db


def test_only_days_of_the_period_count():
    for n in (0, 6, 7, 13, 14):
        create_volume(today() - timedelta(days=n), "completed", 1, ticker="SBUX")
    week = Period.of_days(7)
    for period in (week, week.previous):
        assert VolumeTotals.of(volume_by_day(period)).transactions == 2
    assert week.previous.last + timedelta(days=1) == week.first
