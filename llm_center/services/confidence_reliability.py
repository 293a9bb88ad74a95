"""How far the matcher's confidence can be trusted: each labelled row is decided without its owner's rows.

`manage.py measure_confidence` prints the figures and draws the reliability diagram of docs/mapping.md.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from llm_center import catalogue
from llm_center.calibration import wilson_lower_bound
from llm_center.matcher import Proposal, propose_descriptor
from llm_center.matcher.index import get_index
from llm_center.matcher.model import load_models
from llm_center.services.confidence_training import FOLDS, LabelledDescriptor, fit_models, use_words_without
from transactions.rules.merchant_key import normalise_uncached

_Z: Final = 1.96
_EDGES: Final = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)
_TRUSTED: Final = 0.9
_FUZZY_CUTOFF: Final = 90.0


def kind_of(row: LabelledDescriptor) -> str:
    """Return the kind of a row as the tables name it."""
    return "listed" if row.ticker else {"brand": "private brand"}.get(row.kind, row.kind)


def decide_unseen(
    models_from: Sequence[LabelledDescriptor], rows: Iterable[LabelledDescriptor]
) -> Iterator[tuple[LabelledDescriptor, Proposal]]:
    """Decide each row with models that were fitted without its owner; the shipped models are restored at the end."""
    match, unlisted = fit_models(models_from)
    shipped, current = dict(load_models()), load_models()
    rows = list(rows)
    try:
        for fold in range(FOLDS):
            use_words_without(fold, models_from)
            current.update(match=match.folds[fold], unlisted=unlisted.folds[fold])
            for row in rows:
                if row.fold == fold:
                    yield row, propose_descriptor(row.descriptor)
    finally:
        current.update(shipped)
        catalogue.load_local_words.cache_clear()


def decide_with_rapidfuzz(rows: Iterable[LabelledDescriptor]) -> Iterator[tuple[LabelledDescriptor, str | None]]:
    """Decide each row by the most similar spelling of the same catalogue: what a simple matcher would do."""
    from rapidfuzz import fuzz, process  # noqa: PLC0415  # large; few processes match merchants

    spellings = get_index().spellings
    names = list(spellings)
    for row in rows:
        found = process.extractOne(
            normalise_uncached(row.descriptor), names, scorer=fuzz.WRatio, score_cutoff=_FUZZY_CUTOFF
        )
        yield row, (spellings[found[0]].brand.ticker or None) if found else None


@dataclass(slots=True)
class KindFigures:
    """Rows of a kind; of the answers at 0.90 or more, how many are right, buy the wrong share, and close the row."""

    rows: int = 0
    right: int = 0
    wrong: int = 0
    closed: int = 0
    closed_wrongly: int = 0

    def add(self, ticker: str, answer: str | None, *, is_trusted: bool, is_closed: bool) -> None:
        self.rows += 1
        if is_trusted and answer:
            self.right += answer == ticker
            self.wrong += answer != ticker
        if is_closed:
            self.closed += not ticker
            self.closed_wrongly += bool(ticker)


def figures_by_kind(outcomes: Iterable[tuple[LabelledDescriptor, Proposal]]) -> dict[str, KindFigures]:
    """Return the figures of each kind, and of all rows."""
    figures = dict[str, KindFigures]()
    for row, proposal in outcomes:
        is_trusted = proposal.confidence >= _TRUSTED
        for kind in (kind_of(row), "all"):
            figures.setdefault(kind, KindFigures()).add(
                row.ticker, proposal.ticker, is_trusted=is_trusted, is_closed=is_trusted and proposal.listed is False
            )
    return figures


def rapidfuzz_by_kind(rows: Iterable[LabelledDescriptor]) -> dict[str, KindFigures]:
    """Return the same figures for rapidfuzz, which closes nothing."""
    figures = dict[str, KindFigures]()
    for row, ticker in decide_with_rapidfuzz(rows):
        for kind in (kind_of(row), "all"):
            figures.setdefault(kind, KindFigures()).add(row.ticker, ticker, is_trusted=True, is_closed=False)
    return figures


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers whose confidence lies between two edges: their mean, the share that is right, and its 95 % interval."""

    low: float
    high: float
    count: int
    stated: float
    right: float
    interval: tuple[float, float]


def reliability(answers: Iterable[tuple[float, bool]]) -> list[Bin]:
    """Return the bins of (confidence, right) that have answers."""
    counts, right = Counter[int](), Counter[int]()
    sums = [0.0] * len(_EDGES)
    for confidence, is_right in answers:
        place = max(i for i, edge in enumerate(_EDGES[:-1]) if confidence >= edge)
        counts[place] += 1
        right[place] += is_right
        sums[place] += confidence
    return [
        Bin(
            _EDGES[place],
            _EDGES[place + 1],
            count,
            sums[place] / count,
            right[place] / count,
            (wilson_lower_bound(right[place], count, _Z), 1 - wilson_lower_bound(count - right[place], count, _Z)),
        )
        for place, count in sorted(counts.items())
    ]


_SIZE, _MARGIN = 300, 44


def draw_reliability(series: dict[str, list[Bin]]) -> str:
    """Return an SVG: share that is right, with its interval, by stated confidence, for each series."""
    colours = ("#1f5fa8", "#b3541e")
    width, height = _SIZE + 2 * _MARGIN, _SIZE + 2 * _MARGIN

    def x(value: float) -> float:
        return round(_MARGIN + value * _SIZE, 1)

    def y(value: float) -> float:
        return round(_MARGIN + (1 - value) * _SIZE, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif"'
        f' font-size="11"><rect width="{width}" height="{height}" fill="#fff"/>',
        f'<path d="M{x(0)} {y(0)}L{x(1)} {y(1)}" stroke="#999" stroke-dasharray="4"/>',
        f'<path d="M{x(0)} {y(1)}V{y(0)}H{x(1)}" stroke="#333" fill="none"/>',
        f'<text x="{x(0.5)}" y="{height - 8}" text-anchor="middle">stated confidence</text>',
        f'<text x="12" y="{y(0.5)}" transform="rotate(-90 12 {y(0.5)})" text-anchor="middle">share right</text>',
    ]
    for tick in (0.0, 0.5, 0.9, 1.0):
        parts.append(f'<text x="{x(tick)}" y="{y(0) + 14}" text-anchor="middle">{tick:g}</text>')
        parts.append(f'<text x="{x(0) - 6}" y="{y(tick) + 4}" text-anchor="end">{tick:g}</text>')
    for number, (name, bins) in enumerate(series.items()):
        colour, shift = colours[number % len(colours)], number * 2 - 1
        for each in bins:
            at = x(each.stated) + shift
            parts.append(f'<path d="M{at} {y(each.interval[0])}V{y(each.interval[1])}" stroke="{colour}"/>')
            parts.append(f'<circle cx="{at}" cy="{y(each.right)}" r="3" fill="{colour}"/>')
        parts.append(f'<text x="{x(0) + 10}" y="{_MARGIN + 4 + 16 * number}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>\n"])
