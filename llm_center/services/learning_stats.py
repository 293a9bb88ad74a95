from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from llm_center.models import CalibrationFit
from llm_center.services.calibration import ReviewedProposal, get_reviewed_proposals


@dataclass(frozen=True, slots=True)
class ThresholdOutcome:
    """What would have happened at a threshold: proposals bought without a reviewer, wrong ones, left to people."""

    threshold: float
    automatic: int
    wrong: int
    transactions_wrong: int
    left: int

    @property
    def precision(self) -> float | None:
        """Share of the automatic ones that is right."""
        return None if not self.automatic else 1 - self.wrong / self.automatic


@dataclass(slots=True)
class LearningStats:
    """How good the proposals were, by what people made of them."""

    count: int = 0
    right: int = 0
    months: list[tuple[str, int, int]] = field(default_factory=list)
    """(month, judged, right), in order."""
    bins: list[tuple[float, int, float, float]] = field(default_factory=list)
    """(lower bound, judged, mean confidence, share right) of each tenth of confidence."""
    confusions: list[tuple[str, str, int]] = field(default_factory=list)
    """(proposed, decided, how often), the most frequent first."""
    thresholds: list[ThresholdOutcome] = field(default_factory=list)
    fits: list[CalibrationFit] = field(default_factory=list)


def get_learning_stats() -> LearningStats:
    """Everything that the page shows, from one look at the decisions."""
    seen = get_reviewed_proposals()
    found = LearningStats(count=len(seen), right=sum(one.right for one in seen))
    months: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for one in seen:
        months[f"{one.at:%Y-%m}"][0] += 1
        months[f"{one.at:%Y-%m}"][1] += one.right
    found.months = [(month, count, right) for month, (count, right) in sorted(months.items())]
    found.bins = list(_bins(seen))
    wrong = Counter((one.ticker, one.became or "nobody") for one in seen if not one.right and one.became != one.ticker)
    found.confusions = [(proposed, decided, count) for (proposed, decided), count in wrong.most_common(20)]
    found.thresholds = [_threshold_outcome(seen, Decimal(n) / 100) for n in range(50, 100)]
    found.fits = list(CalibrationFit.objects.order_by("-id")[:10])
    return found


def _bins(seen: list[ReviewedProposal]) -> Iterator[tuple[float, int, float, float]]:
    for number in range(10):
        inside = [one for one in seen if min(int(one.confidence * 10), 9) == number]
        if inside:
            yield (
                number / 10,
                len(inside),
                float(sum((one.confidence for one in inside), Decimal(0)) / len(inside)),
                sum(one.right for one in inside) / len(inside),
            )


def _threshold_outcome(seen: list[ReviewedProposal], threshold: Decimal) -> ThresholdOutcome:
    above = [one for one in seen if one.confidence >= threshold]
    wrong = [one for one in above if not one.right]
    return ThresholdOutcome(
        threshold=float(threshold),
        automatic=len(above),
        wrong=len(wrong),
        transactions_wrong=sum(one.transactions for one in wrong),
        left=len(seen) - len(above),
    )
