"""Calibrations of the matcher and the models: the one in use, and new fits from reviewed proposals.

Every decision of a reviewer on a proposal is an observation: the proposed ticker was right, or it was not. So is an
undone automatic approval.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.db import connection

from llm_center.calibration import Calibration, Observation, brier_score, fit, merge_observations
from llm_center.models import CalibrationFit
from llm_center.sql import load_sql

MAX_DECISIONS: Final = 50_000
SOURCES: Final = ("matcher", "llm")
_HUNDREDTH: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class ReviewedProposal:
    """A proposal and its outcome. `stated` is the source's own confidence, `confidence` the calibrated one."""

    at: datetime
    source: str
    stated: Decimal
    confidence: Decimal
    ticker: str
    decided_ticker: str | None
    action: str
    right: bool
    transactions: int


def get_reviewed_proposals() -> list[ReviewedProposal]:
    """Return the newest reviewed proposals, at most `MAX_DECISIONS`, newest first."""
    with connection.cursor() as cursor:
        cursor.execute(load_sql("reviewed_proposals"), {"limit": MAX_DECISIONS})
        return [ReviewedProposal(*row) for row in cursor.fetchall()]


def get_calibration(source: str) -> Calibration:
    """Return the newest fit of the source; without one, confidence stays as stated.

    The matcher's confidence is calibrated with the data it ships with (`services.confidence_training`).
    """
    points = CalibrationFit.objects.filter(source=source).order_by("-id").values_list("points", flat=True).first() or ()
    return Calibration(tuple((float(stated), float(share)) for stated, share in points))


_FEEDBACK = """
    SELECT data->>'parsed_response', data->>'was_ai_correct' FROM legacy_rows
    WHERE source_table = 'ai_responses' AND kind = 'row' AND data->>'was_ai_correct' IN ('0', '1')
    ORDER BY legacy_id LIMIT %s
"""


def _legacy_feedback() -> Iterator[Observation]:
    """Read what administrators of the legacy system reported about its model, if that was migrated."""
    with connection.cursor() as cursor:
        cursor.execute(_FEEDBACK, [MAX_DECISIONS])
        rows = cursor.fetchall()
    for response, right in rows:
        try:
            confidence = Decimal(str(json.loads(response or "")["confidence"]))
        except (ValueError, ArithmeticError, KeyError, TypeError):
            continue
        if 0 < confidence <= 1:
            yield Observation(confidence.quantize(Decimal("0.0001")), 1, int(right))


def fit_and_store_calibration() -> dict[str, CalibrationFit | None]:
    """Fit each source to its reviewed proposals; None where nothing was reviewed since the last fit."""
    proposals = get_reviewed_proposals()
    fits: dict[str, CalibrationFit | None] = {}
    for source in SOURCES:
        # The matcher's confidence has four places: without rounding, hardly two reviews would have the same.
        reviewed = [
            Observation(row.stated.quantize(_HUNDREDTH), 1, row.right) for row in proposals if row.source == source
        ]
        prior = list(_legacy_feedback()) if source == "llm" else []
        count = len(reviewed) + len(prior)
        last = CalibrationFit.objects.filter(source=source).order_by("-id").first()
        if not count or (last is not None and last.observations == count):
            fits[source] = None
            continue
        observations = merge_observations([*prior, *reviewed])
        calibration = fit(observations)
        fits[source] = CalibrationFit.objects.create(
            source=source,
            points=[list(point) for point in calibration.points],
            observations=count,
            brier_before=brier_score(observations, Calibration()),
            brier_after=brier_score(observations, calibration),
        )
    return fits
