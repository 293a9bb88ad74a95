"""Confidence that means what it says: 0.95 is wrong at most once in twenty.

What a matcher or a model calls its confidence is only an order. `fit` turns it into a share that was right, by isotonic
regression over decisions of people: monotone, and near the stated value while there is little evidence. What would raise a
confidence counts only as far as the evidence proves it (the lower end of Wilson's 95 % interval): a wrong purchase is
worse than none. Pure; `services.learning` stores fits and applies them.
"""

from bisect import bisect
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import inf, sqrt
from typing import Final

PRIOR: Final = 20.0
"""Observations that the stated confidence itself is worth."""
_WILSON_Z: Final = 1.96
_PLACES: Final = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class Observation:
    """Of `answers` with this stated confidence, so many were right."""

    confidence: Decimal
    answers: int
    right: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """Stated confidence → share that is right, by straight lines between the points. No points: as stated."""

    points: tuple[tuple[float, float], ...] = ()

    def apply(self, confidence: Decimal) -> Decimal:
        """The calibrated confidence. 0 stays 0: it says that nothing was found."""
        if not self.points or confidence <= 0:
            return confidence
        said = float(confidence)
        found = self._interpolated(said)
        if found > said and all(said != point for point, _ in self.points):
            # Nothing is proved of what lies between: it is not raised, but never sinks below what is said of less.
            below = [value for point, value in self.points if point < said]
            found = max(said, below[-1]) if below else said
        return Decimal(repr(min(max(found, 0.0), 1.0))).quantize(_PLACES)

    def _interpolated(self, stated: float) -> float:
        after = bisect(self.points, (stated, inf))
        if after == 0 or after == len(self.points):
            return self.points[min(after, len(self.points) - 1)][1]
        (left, low), (right, high) = self.points[after - 1 : after + 1]
        return low + (high - low) / (right - left) * (stated - left)


def merge_observations(observations: Iterable[Observation]) -> list[Observation]:
    """One observation for each stated confidence, in order."""
    answers: dict[Decimal, list[int]] = defaultdict(lambda: [0, 0])
    for one in observations:
        answers[one.confidence][0] += one.answers
        answers[one.confidence][1] += one.right
    return [Observation(confidence, *counts) for confidence, counts in sorted(answers.items())]


def fit(observations: Iterable[Observation]) -> Calibration:
    """The calibration that these observations ask for; as stated where there are none."""
    seen = [one for one in merge_observations(observations) if one.answers and one.confidence > 0]
    if not seen:
        return Calibration()
    import numpy as np  # noqa: PLC0415  # only the nightly fit needs numpy and scipy
    from scipy.optimize import isotonic_regression  # noqa: PLC0415

    stated = np.array([float(one.confidence) for one in seen])
    answers = np.array([float(one.answers) for one in seen])
    right = np.array([float(one.right) for one in seen])
    weights = answers + PRIOR
    shares = isotonic_regression((right + PRIOR * stated) / weights, weights=weights).x
    proven = np.array([_wilson_low(one.right, one.answers) for one in seen])
    careful = np.where(shares > stated, np.maximum(stated, np.minimum(shares, proven)), shares)
    careful = np.maximum.accumulate(careful)
    return Calibration(tuple((float(x), round(float(y), 4)) for x, y in zip(stated, careful, strict=True)))


def _wilson_low(right: int, answers: int) -> float:
    """The lower end of Wilson's 95 % interval of a share."""
    share, z2 = right / answers, _WILSON_Z**2
    centre = share + z2 / (2 * answers)
    spread = _WILSON_Z * sqrt(share * (1 - share) / answers + z2 / (4 * answers**2))
    return (centre - spread) / (1 + z2 / answers)


def brier(observations: Sequence[Observation], calibration: Calibration) -> float | None:
    """The mean squared distance between confidence and truth, 0 at best; None without observations."""
    total = sum(one.answers for one in observations)
    if not total:
        return None
    lost = 0.0
    for one in observations:
        said = float(calibration.apply(one.confidence))
        lost += one.right * (1 - said) ** 2 + (one.answers - one.right) * said**2
    return lost / total
