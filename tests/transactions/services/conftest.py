"""Fixtures of the tests of services."""

from datetime import timedelta

import pytest


@pytest.fixture
def days_end_at_midnight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a day be sealed as soon as it is over, so that the tests pass in the first minutes of a day too."""
    monkeypatch.setattr("transactions.services.ledger_seals.CLOCK_DIFFERENCE", timedelta())
