"""Statistics of the learning page: how good the proposals were, according to the reviewers."""

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal

from llm_center.models import CalibrationFit
from llm_center.services.calibration import ReviewedProposal, get_reviewed_proposals


@dataclass(frozen=True, slots=True)
class ThresholdOutcome:
    """What a threshold would have done: proposals approved automatically, wrong ones, and those left to reviewers."""

    threshold: float
    automatic: int
    wrong: int
    transactions_wrong: int
    left: int

    @property
    def precision(self) -> float | None:
        return None if not self.automatic else 1 - self.wrong / self.automatic


@dataclass(slots=True)
class LearningStats:
    """Accuracy of the reviewed proposals.

    `months` is (month, reviewed, right), in order. `bins` is (lower bound, reviewed, mean confidence, share right) for
    each tenth of confidence. `confusions` is (proposed, decided, count), the most frequent first.
    """

    count: int = 0
    right: int = 0
    months: list[tuple[str, int, int]] = field(default_factory=list)
    bins: list[tuple[float, int, float, float]] = field(default_factory=list)
    confusions: list[tuple[str, str, int]] = field(default_factory=list)
    thresholds: list[ThresholdOutcome] = field(default_factory=list)
    fits: list[CalibrationFit] = field(default_factory=list)


def get_learning_stats() -> LearningStats:
    """Return the statistics, from one query over the decisions."""
    rows = get_reviewed_proposals()
    reviewed = Counter(f"{row.at:%Y-%m}" for row in rows)
    right = Counter(f"{row.at:%Y-%m}" for row in rows if row.right)
    wrong = Counter(
        (row.ticker, row.decided_ticker or "none") for row in rows if not row.right and row.decided_ticker != row.ticker
    )
    return LearningStats(
        count=len(rows),
        right=right.total(),
        months=[(month, reviewed[month], right[month]) for month in sorted(reviewed)],
        bins=_bins(rows),
        confusions=[(proposed, decided, count) for (proposed, decided), count in wrong.most_common(20)],
        thresholds=[_threshold_outcome(rows, Decimal(n) / 100) for n in range(50, 100)],
        fits=list(CalibrationFit.objects.order_by("-id")[:10]),
    )


def _bins(rows: list[ReviewedProposal]) -> list[tuple[float, int, float, float]]:
    bins = []
    for number in range(10):
        inside = [row for row in rows if min(int(row.confidence * 10), 9) == number]
        if inside:
            count = len(inside)
            mean = float(sum((row.confidence for row in inside), Decimal(0)) / count)
            bins.append((number / 10, count, mean, sum(row.right for row in inside) / count))
    return bins


def _threshold_outcome(rows: list[ReviewedProposal], threshold: Decimal) -> ThresholdOutcome:
    automatic = [row for row in rows if row.confidence >= threshold]
    wrong = [row for row in automatic if not row.right]
    return ThresholdOutcome(
        threshold=float(threshold),
        automatic=len(automatic),
        wrong=len(wrong),
        transactions_wrong=sum(row.transactions for row in wrong),
        left=len(rows) - len(automatic),
    )
