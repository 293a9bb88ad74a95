"""Logistic models of confidence, as trained by `manage.py train_confidence`; the figures are data."""

import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import exp
from operator import mul

from llm_center.catalogue import DATA

PATH = DATA / "confidence.json"


@dataclass(frozen=True, slots=True)
class ConfidenceModel:
    """Weights of the features, and what the score proved on other brands than those it was trained on.

    Attributes:
        points: (score, share that was right, lower bound of that share), ascending.
    """

    intercept: float
    weights: tuple[float, ...]
    points: tuple[tuple[float, float, float], ...]

    def score(self, features: Sequence[float]) -> float:
        """Return a number from 0 to 1 that ranks matches."""
        total = self.intercept + sum(map(mul, self.weights, features))
        return 1 / (1 + exp(-max(-30.0, min(total, 30.0))))

    def confidence(self, score: float) -> tuple[float, float]:
        """Return (probability, its lower bound) for a score, linear between the points."""
        points = self.points
        if not points:
            return score, score
        i = bisect_right(points, (score, 2.0))
        if i in (0, len(points)):
            _, share, bound = points[0 if i == 0 else -1]
            if i == 0 and points[0][0] > 0:
                share, bound = (value * score / points[0][0] for value in (share, bound))
            return share, bound
        (x0, share0, bound0), (x1, share1, bound1) = points[i - 1], points[i]
        part = (score - x0) / (x1 - x0) if x1 > x0 else 1.0
        return share0 + (share1 - share0) * part, bound0 + (bound1 - bound0) * part


@lru_cache(maxsize=1)
def load_models() -> dict[str, ConfidenceModel]:
    """Return the models `match` and `unlisted`."""
    return {
        name: ConfidenceModel(data["intercept"], tuple(data["weights"].values()), tuple(map(tuple, data["points"])))
        for name, data in json.loads(PATH.read_text()).items()
    }
