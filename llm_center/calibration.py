"""Calibration of confidence, so that 0.95 is wrong at most once in twenty.

The figure that the matcher or a model states is only a ranking. `fit` turns it into the share that was right, by
isotonic regression over reviewed proposals: monotonic, and close to the stated value while there is little evidence. A
confidence is raised only as far as the evidence proves (the lower bound of the 95 % Wilson interval), because a wrong
purchase is worse than none. Pure; `services.calibration` stores the fits.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import sqrt
from typing import Final

from llm_center.isotonic import isotonic_regression

PRIOR: Final = 20.0  # weight of the stated confidence, in observations
WILSON_Z: Final = 1.96  # 95 %
_PLACES: Final = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class Observation:
    """How many of the answers with this stated confidence were right."""

    confidence: Decimal
    answers: int
    right: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """A map from stated confidence to the share that is right, linear between the points; without points, unchanged."""

    points: tuple[tuple[float, float], ...] = ()

    def apply(self, confidence: Decimal) -> Decimal:
        """Return the calibrated confidence. 0 stays 0: it means that nothing was found."""
        if not self.points or confidence <= 0:
            return confidence
        stated = float(confidence)
        value = self._interpolate(stated)
        if value > stated and stated not in (point for point, _ in self.points):
            # Nothing is proven between two points: do not raise, but do not fall below the point before either.
            below = [share for point, share in self.points if point < stated]
            value = max(stated, below[-1]) if below else stated
        return Decimal(repr(min(max(value, 0.0), 1.0))).quantize(_PLACES)

    def _interpolate(self, stated: float) -> float:
        i = bisect_right(self.points, stated, key=lambda point: point[0])
        if i in (0, len(self.points)):
            return self.points[min(i, len(self.points) - 1)][1]
        (x0, y0), (x1, y1) = self.points[i - 1], self.points[i]
        return (y1 - y0) / (x1 - x0) * (stated - x0) + y0


def merge_observations(observations: Iterable[Observation]) -> list[Observation]:
    """Return one observation per stated confidence, in order."""
    answers: Counter[Decimal] = Counter()
    right: Counter[Decimal] = Counter()
    for row in observations:
        answers[row.confidence] += row.answers
        right[row.confidence] += row.right
    return [Observation(confidence, answers[confidence], right[confidence]) for confidence in sorted(answers)]


def fit(observations: Iterable[Observation]) -> Calibration:
    """Fit a calibration to the observations; without any, confidence stays as stated."""
    rows = [row for row in merge_observations(observations) if row.answers and row.confidence > 0]
    if not rows:
        return Calibration()
    weights = [row.answers + PRIOR for row in rows]
    shares = [(row.right + PRIOR * float(row.confidence)) / weight for row, weight in zip(rows, weights, strict=True)]
    points: list[tuple[float, float]] = []
    highest = 0.0
    for row, fitted in zip(rows, isotonic_regression(shares, weights), strict=True):
        stated, share = float(row.confidence), float(fitted)
        if share > stated:
            share = max(stated, min(share, wilson_lower_bound(row.right, row.answers)))
        highest = max(highest, share)
        points.append((stated, round(highest, 4)))
    return Calibration(tuple(points))


def wilson_lower_bound(right: float, answers: float, z: float = WILSON_Z) -> float:
    """Return the lower bound of the Wilson interval of a share, `z` standard deviations wide to each side."""
    share, z2 = right / answers, z**2
    center = share + z2 / (2 * answers)
    spread = z * sqrt(share * (1 - share) / answers + z2 / (4 * answers**2))
    return (center - spread) / (1 + z2 / answers)


def brier_score(observations: Sequence[Observation], calibration: Calibration) -> float | None:
    """Return the mean squared error of the confidence, 0 at best; None without observations."""
    total = sum(row.answers for row in observations)
    if not total:
        return None
    error = 0.0
    for row in observations:
        confidence = float(calibration.apply(row.confidence))
        error += row.right * (1 - confidence) ** 2 + (row.answers - row.right) * confidence**2
    return error / total
