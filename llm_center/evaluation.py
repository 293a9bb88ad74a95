"""The matcher measured: descriptors through it, and labelled descriptors against it.

A label is the ticker of the company that owns the merchant, or empty where nobody can be invested in (or nobody is
known). Wrong is a row whose answer at or above a threshold names another ticker than the label, or one where the label
has none: money that buys the wrong share. An answer without a ticker never buys, so it is never wrong in this sense.
"""

import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import IO

from llm_center.matcher import Proposal, propose_descriptor

THRESHOLDS = tuple(Decimal(text) for text in ("0.50", "0.60", "0.70", "0.80", "0.85", "0.90", "0.95", "0.98"))
BINS = tuple(Decimal(n) / 10 for n in range(10))


def read_descriptors(file: IO[str]) -> Iterator[str]:
    """The column `descriptor` of a CSV file, in any case.

    Raises:
        ValueError: there is no such column.
    """
    for row in _rows(file, ("descriptor",)):
        yield row["descriptor"]


def read_labels(file: IO[str]) -> Iterator[tuple[str, str]]:
    """Descriptor and right ticker (empty for none) of a labelled CSV file.

    Raises:
        ValueError: one of the columns `descriptor` and `ticker` is missing.
    """
    for row in _rows(file, ("descriptor", "ticker")):
        yield row["descriptor"], row["ticker"].strip().upper()


def _rows(file: IO[str], wanted: tuple[str, ...]) -> Iterator[dict[str, str]]:
    reader = csv.DictReader(file)
    names = {(name or "").strip().lower(): name for name in reader.fieldnames or ()}
    missing = [name for name in wanted if name not in names]
    if missing:
        there = ", ".join(reader.fieldnames or ()) or "none"
        raise ValueError(f"there is no column {' and no column '.join(missing)} (columns: {there})")
    for row in reader:
        yield {name: row[names[name]] or "" for name in wanted}


Calibrate = Callable[[Proposal], Proposal]


def as_stated(proposal: Proposal) -> Proposal:
    """No calibration."""
    return proposal


def mapping_rows(
    descriptors: Iterable[str], calibrate: Calibrate = as_stated
) -> Iterator[tuple[str, str, Decimal, str, str]]:
    """(descriptor, ticker or "", confidence, method, reason) of each."""
    for descriptor in descriptors:
        found = calibrate(propose_descriptor(descriptor))
        yield descriptor, found.ticker or "", found.confidence, found.method, found.reason


@dataclass(slots=True)
class Evaluation:
    """Labelled rows against the matcher's answers."""

    rows: int = 0
    mappable: int = 0
    answers: list[tuple[Decimal, bool]] = field(default_factory=list)
    """Confidence, and whether the ticker is right, of each answer that names a ticker."""
    errors: list[tuple[Decimal, str, str, str, str]] = field(default_factory=list)
    """Confidence, descriptor, answer, label, reason of each wrong answer, the surest first."""
    missed: int = 0
    """Mappable rows without a ticker."""
    closed_wrongly: int = 0
    """Mappable rows that are taken for "nobody to invest in" at 0.90 or more."""

    def at(self, threshold: Decimal) -> tuple[int, int]:
        """Answers at or above the threshold, and the right ones among them."""
        chosen = [right for confidence, right in self.answers if confidence >= threshold]
        return len(chosen), sum(chosen)

    def reliability(self) -> Iterator[tuple[Decimal, int, Decimal, Decimal]]:
        """For each tenth of confidence: its lower bound, answers, mean confidence, share that is right."""
        for low in BINS:
            inside = [
                (c, right)
                for c, right in self.answers
                if low <= c < low + Decimal("0.1") or (c == 1 and low == BINS[-1])
            ]
            if inside:
                count = Decimal(len(inside))
                yield (
                    low,
                    len(inside),
                    sum((c for c, _ in inside), Decimal(0)) / count,
                    sum(right for _, right in inside) / count,
                )


def evaluate(labelled: Iterable[tuple[str, str]], calibrate: Calibrate = as_stated) -> Evaluation:
    """Ask the matcher about each labelled descriptor."""
    done = Evaluation()
    for descriptor, label in labelled:
        found = calibrate(propose_descriptor(descriptor))
        done.rows += 1
        done.mappable += bool(label)
        if found.ticker:
            right = found.ticker == label
            done.answers.append((found.confidence, right))
            if not right:
                done.errors.append((found.confidence, descriptor, found.ticker, label, found.reason))
        elif label:
            done.missed += 1
            done.closed_wrongly += found.listed is False and found.confidence >= Decimal("0.90")
    done.errors.sort(key=lambda row: -row[0])
    return done
