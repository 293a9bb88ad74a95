"""What reviewers teach: calibration of confidence, and how good the proposals were.

Every decision of a person on a proposal is an observation: the proposed ticker was right, or it was not. So is an undone
automatic approval. They are read from `mapping_decisions`, newest first and no more than `LOOK_AT`.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Final

from django.db import connection

from llm_center.calibration import Calibration, Observation, brier, fit, merge_observations
from llm_center.matcher import Proposal
from llm_center.models import CalibrationFit

MAX_DECISIONS: Final = 50_000
SOURCES: Final = ("matcher", "llm")
_BASE = Path(__file__).resolve().parent.parent / "data" / "calibration_base.csv"

# A decision on a proposal with a ticker, by a person; or an automatic approval that was taken back.
_JUDGED = """
    SELECT decided_at, before->>'source', coalesce(before->>'raw_confidence', before->>'confidence')::numeric,
           (before->>'confidence')::numeric, before->>'ticker', after->>'ticker', action,
           action = 'approve' AND before->>'ticker' = after->>'ticker', released_count
    FROM (
        SELECT decision.decided_at, decision.action, decision.before, decision.after, decision.released_count
        FROM mapping_decisions AS decision
        WHERE NOT decision.automatic AND decision.action <> 'undo' AND decision.before->>'source' IN ('matcher', 'llm')
          AND decision.before->>'status' = 'proposed'
          AND NOT EXISTS (SELECT FROM mapping_decisions AS undo WHERE undo.undoes_id = decision.id)
        UNION ALL
        SELECT undo.decided_at, 'undo', first.after, undo.after, first.released_count
        FROM mapping_decisions AS first JOIN mapping_decisions AS undo ON undo.undoes_id = first.id
        WHERE first.automatic AND first.after->>'source' IN ('matcher', 'llm')
    ) AS judged
    WHERE before->>'ticker' IS NOT NULL AND before->>'confidence' IS NOT NULL
    ORDER BY decided_at DESC LIMIT %(most)s
"""


@dataclass(frozen=True, slots=True)
class ReviewedProposal:
    """One proposal and what a person made of it. `stated` is what the source said, `confidence` what was shown."""

    at: datetime
    source: str
    stated: Decimal
    confidence: Decimal
    ticker: str
    became: str | None
    action: str
    right: bool
    transactions: int


def get_reviewed_proposals() -> list[ReviewedProposal]:
    """Proposals that people judged, the newest first."""
    with connection.cursor() as cursor:
        cursor.execute(_JUDGED, {"most": MAX_DECISIONS})
        return [ReviewedProposal(*row) for row in cursor.fetchall()]


def get_calibration(source: str) -> Calibration:
    """The newest fit of the source; what ships with Kamioi while there is none."""
    found = CalibrationFit.objects.filter(source=source).order_by("-id").values_list("points", flat=True).first()
    if found is None:
        return _shipped() if source == "matcher" else Calibration()
    return Calibration(tuple((float(stated), float(calibrate)) for stated, calibrate in found))


@lru_cache(maxsize=1)
def _shipped() -> Calibration:
    return fit(_base("matcher"))


def _base(source: str) -> list[Observation]:
    """What is known beforehand: the shipped matcher on labelled descriptors; of a model, feedback of the legacy system."""
    if source != "matcher":
        return list(_legacy_feedback())
    with _BASE.open(encoding="ascii", newline="") as file:
        return [
            Observation(Decimal(row["confidence"]), int(row["answers"]), int(row["right"]))
            for row in csv.DictReader(file)
        ]


_FEEDBACK = """
    SELECT data->>'parsed_response', data->>'was_ai_correct' FROM legacy_rows
    WHERE source_table = 'ai_responses' AND kind = 'row' AND data->>'was_ai_correct' IN ('0', '1')
    ORDER BY legacy_id LIMIT %(most)s
"""


def _legacy_feedback() -> Iterator[Observation]:
    """What administrators of the legacy system said of its model's answers, where a migration brought it along."""
    with connection.cursor() as cursor:
        cursor.execute(_FEEDBACK, {"most": MAX_DECISIONS})
        rows = cursor.fetchall()
    for said, right in rows:
        try:
            confidence = Decimal(str(json.loads(said or "")["confidence"]))
        except (ValueError, ArithmeticError, KeyError, TypeError):
            continue
        if 0 < confidence <= 1:
            yield Observation(confidence.quantize(Decimal("0.0001")), 1, int(right))


def calibrate(proposal: Proposal, calibrations: dict[str, Calibration]) -> Proposal:
    """The proposal with a confidence that can be trusted; what the source said stays beside it."""
    source = "llm" if proposal.method == "llm" else "matcher"
    if source not in calibrations:
        calibrations[source] = get_calibration(source)
    return replace(
        proposal, confidence=calibrations[source].apply(proposal.confidence), stated_confidence=proposal.confidence
    )


def fit_and_store_calibration() -> dict[str, CalibrationFit | None]:
    """Fit each source anew on what people judged; None where nothing was judged since the last fit."""
    seen = get_reviewed_proposals()
    done: dict[str, CalibrationFit | None] = {}
    for source in SOURCES:
        of_people = [Observation(one.stated, 1, one.right) for one in seen if one.source == source]
        last = CalibrationFit.objects.filter(source=source).order_by("-id").first()
        base = _base(source)
        judged_in_all = len(of_people) + (len(base) if source == "llm" else 0)
        if not judged_in_all or (last is not None and last.observations == judged_in_all):
            done[source] = None
            continue
        observations = merge_observations([*base, *of_people])
        found = fit(observations)
        done[source] = CalibrationFit.objects.create(
            source=source,
            points=[list(point) for point in found.points],
            observations=judged_in_all,
            brier_before=brier(observations, Calibration()),
            brier_after=brier(observations, found),
        )
    return done
