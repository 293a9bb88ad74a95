"""Evaluation of the matcher against labelled descriptors.

A label is the ticker of the company that owns the merchant, or empty when there is nothing to buy (or nothing is
known). An answer is wrong when it names another ticker than the label, or any ticker where the label is empty: money
would buy the wrong share. An answer without a ticker never buys, so it is never wrong in this sense.
"""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import tee
from typing import IO

from llm_center.services.matching import propose_descriptors

THRESHOLDS = tuple(Decimal(text) for text in ("0.50", "0.60", "0.70", "0.80", "0.85", "0.90", "0.95", "0.98"))
BINS = tuple(Decimal(n) / 10 for n in range(10))


def read_descriptors(file: IO[str]) -> Iterator[str]:
    """Read the column `descriptor` of a CSV file, in any capitalization.

    Raises:
        ValueError: the column is missing.
    """
    for row in _read_columns(file, ("descriptor",)):
        yield row["descriptor"]


def read_labels(file: IO[str]) -> Iterator[tuple[str, str]]:
    """Read descriptors and their tickers (empty for none) from a labelled CSV file.

    Raises:
        ValueError: the column `descriptor` or `ticker` is missing.
    """
    for row in _read_columns(file, ("descriptor", "ticker")):
        yield row["descriptor"], row["ticker"].strip().upper()


def _read_columns(file: IO[str], columns: tuple[str, ...]) -> Iterator[dict[str, str]]:
    reader = csv.DictReader(file)
    headings = {(name or "").strip().lower(): name for name in reader.fieldnames or ()}
    missing = [column for column in columns if column not in headings]
    if missing:
        available = ", ".join(reader.fieldnames or ()) or "none"
        raise ValueError(f"there is no column {' and no column '.join(missing)} (columns: {available})")
    for row in reader:
        yield {column: row[headings[column]] or "" for column in columns}


@dataclass(slots=True)
class Evaluation:
    """Labelled rows compared with the matcher's answers.

    `answers` is (confidence, right) of each answer with a ticker; `errors` is (confidence, descriptor, answer, label,
    reason) of the wrong ones, the most confident first. `missed` counts rows with a label but no answer,
    `closed_wrongly` those of them that the matcher would close as not listed at 0.90 or more.
    """

    rows: int = 0
    mappable: int = 0
    answers: list[tuple[Decimal, bool]] = field(default_factory=list)
    errors: list[tuple[Decimal, str, str, str, str]] = field(default_factory=list)
    missed: int = 0
    closed_wrongly: int = 0

    def at(self, threshold: Decimal) -> tuple[int, int]:
        """Return the number of answers at or above the threshold, and of the right ones among them."""
        outcomes = [right for confidence, right in self.answers if confidence >= threshold]
        return len(outcomes), sum(outcomes)

    def reliability(self) -> Iterator[tuple[Decimal, int, Decimal, Decimal]]:
        """Yield for each tenth of confidence: lower bound, answers, mean confidence, share that is right."""
        for low in BINS:
            inside = [row for row in self.answers if min(int(row[0] * 10), 9) == int(low * 10)]
            if inside:
                count = Decimal(len(inside))
                mean = sum((confidence for confidence, _ in inside), Decimal(0)) / count
                yield low, len(inside), mean, sum(right for _, right in inside) / count


def evaluate(labelled: Iterable[tuple[str, str]]) -> Evaluation:
    """Compare the calibrated proposal for each descriptor with its label."""
    descriptors, labels = tee(labelled)
    result = Evaluation()
    proposals = propose_descriptors(descriptor for descriptor, _ in descriptors)
    for (_, label), (descriptor, proposal) in zip(labels, proposals, strict=True):
        result.rows += 1
        result.mappable += bool(label)
        if proposal.ticker:
            right = proposal.ticker == label
            result.answers.append((proposal.confidence, right))
            if not right:
                result.errors.append((proposal.confidence, descriptor, proposal.ticker, label, proposal.reason))
        elif label:
            result.missed += 1
            result.closed_wrongly += proposal.listed is False and proposal.proven >= Decimal("0.90")
    result.errors.sort(key=lambda error: -error[0])
    return result
