"""Training of the models of confidence from labelled descriptors; `manage.py train_confidence` writes the data files.

Labels are split by brand, so that what is measured on one file was not learned from another. Each row is also matched
with a catalogue that lacks its owner: so the models see brands that are not entered yet.
"""

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha1
from math import log
from pathlib import Path
from typing import Any, Final

from llm_center import catalogue
from llm_center.calibration import WILSON_Z, wilson_lower_bound
from llm_center.isotonic import isotonic_regression
from llm_center.matcher import engine
from llm_center.matcher.candidates import Match, Text, find_matches
from llm_center.matcher.features import (
    MATCH_FEATURES,
    UNLISTED_FEATURES,
    leading_brand,
    match_features,
    unlisted_features,
)
from llm_center.matcher.index import Index
from llm_center.matcher.model import ConfidenceModel, load_models
from transactions.rules.merchant_key import normalise
from transactions.rules.places import is_place
from transactions.statements.row_classes import match_money_rule

FOLDS: Final = 8
# What one row counts, for each model, when its owner is taken out of the catalogue.
_UNKNOWN_MATCH: Final = 0.3
_UNKNOWN_UNLISTED: Final = 0.35
_MIN_WORD_ROWS: Final = 3
# Standard deviations by which the confidence, and the bound that approval looks at, stay below what was measured.
_CAUTION: Final = 0.67
_BIN: Final = 60


@dataclass(frozen=True, slots=True)
class LabelledDescriptor:
    """A descriptor and the owner of its merchant; no ticker when nothing can be bought."""

    descriptor: str
    brand: str
    ticker: str
    kind: str

    @property
    def fold(self) -> int:
        """The fold of its owner, or of its merchant's name."""
        name = self.ticker or " ".join(re.findall(r"[a-z0-9]+", self.brand.casefold())[:2])
        return _fold_of(name)

    @property
    def key(self) -> str:
        return normalise(self.descriptor)


def _fold_of(name: str) -> int:
    return int(sha1(name.encode(), usedforsecurity=False).hexdigest(), 16) % FOLDS


@dataclass(frozen=True, slots=True)
class _Example:
    features: list[float]
    right: bool
    weight: float
    fold: int


def read_all_labelled(path: Path) -> list[LabelledDescriptor]:
    """Read the columns descriptor, brand, ticker and kind."""
    with path.open(encoding="utf-8", newline="") as file:
        columns = ("descriptor", "brand", "ticker", "kind")
        return [LabelledDescriptor(*(row[name] for name in columns)) for row in csv.DictReader(file)]


def read_labelled(path: Path) -> list[LabelledDescriptor]:
    """Read the rows to train with. Those that only move money are left out: rules decide them."""
    return [row for row in read_all_labelled(path) if row.key and match_money_rule(row.descriptor) is None]


def count_words(rows: Iterable[LabelledDescriptor]) -> dict[str, float]:
    """Return the log odds of words: with local merchants against brands, shrunk towards 0."""
    local: Counter[str] = Counter()
    brand: Counter[str] = Counter()
    for row in rows:
        words = {word for word in row.key.split() if word.isalpha() and len(word) > 1}
        if row.ticker or row.kind == "brand":
            brand.update(words)
        elif row.kind in ("local", "lookalike"):
            local.update(words)
    for known in catalogue.shipped_brands():
        if known.ticker:
            brand.update(dict.fromkeys(set(normalise(known.name).split()), 0.3))
    totals = sum(local.values()), sum(brand.values())
    return {
        word: round(log((local[word] + 0.5) / totals[0]) - log((brand[word] + 0.5) / totals[1]), 2)
        for word in sorted(local.keys() | brand.keys())
        if local[word] + brand[word] >= _MIN_WORD_ROWS and word.isalpha() and not is_place(word)
    }


def train(rows: Sequence[LabelledDescriptor]) -> dict[str, Any]:
    """Fit both models, and measure what a score proves on brands that the fit did not see. Returns the file's content.

    Each fold of brands is scored by a model that was fitted to the other folds, with words counted in them.
    """
    match, unlisted = fit_models(rows)
    return {"match": _as_data(match.whole, MATCH_FEATURES), "unlisted": _as_data(unlisted.whole, UNLISTED_FEATURES)}


@dataclass(frozen=True, slots=True)
class FittedModels:
    """A model fitted to all rows, and for each fold one that was fitted to the others; they share the calibration."""

    whole: ConfidenceModel
    folds: tuple[ConfidenceModel, ...]


def fit_models(rows: Sequence[LabelledDescriptor]) -> tuple[FittedModels, FittedModels]:
    """Return the models `match` and `unlisted`."""
    indexes = _indexes()
    match = _fit_and_calibrate(_by_fold(rows, lambda part: _match_examples(part, indexes)))
    return match, _fit_and_calibrate(_by_fold(rows, lambda part: _unlisted_examples(part, indexes, match.whole)))


def _by_fold(
    rows: Sequence[LabelledDescriptor], of_rows: Callable[[Sequence[LabelledDescriptor]], list[_Example]]
) -> list[_Example]:
    found = []
    for fold in range(FOLDS):
        use_words_without(fold, rows)
        found += of_rows([row for row in rows if row.fold == fold])
    return found


def use_words_without(fold: int, rows: Iterable[LabelledDescriptor]) -> None:
    """Let the matcher use words counted in the rows of the other folds."""
    words = count_words(row for row in rows if row.fold != fold)
    current = catalogue.load_local_words()
    current.clear()
    current.update({word: value for word, value in words.items() if abs(value) >= 0.5})


def _fit_and_calibrate(examples: Sequence[_Example]) -> FittedModels:
    fitted, scored = [], list[tuple[float, bool, float]]()
    for fold in range(FOLDS):
        model = ConfidenceModel(*_fit([row for row in examples if row.fold != fold]), ())
        fitted.append(model)
        scored += [(model.score(row.features), row.right, row.weight) for row in examples if row.fold == fold]
    points = tuple(_points(scored))
    whole = ConfidenceModel(*_fit(examples), points)
    return FittedModels(whole, tuple(replace(model, points=points) for model in fitted))


def write_data(words: dict[str, float], models: dict[str, Any]) -> None:
    """Write `local_words.csv` and `confidence.json`."""
    with (catalogue.DATA / "local_words.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["word", "log_odds"])
        writer.writerows((word, value) for word, value in words.items() if abs(value) >= 0.5)
    (catalogue.DATA / "confidence.json").write_text(json.dumps(models, indent=1) + "\n")
    load_models.cache_clear()
    catalogue.load_local_words.cache_clear()


def _indexes() -> list[tuple[Index, Callable[[str], bool]]]:
    """Return the whole index, and indexes that each lack an eighth of the owners, with the rows to which they apply."""
    brands = catalogue.shipped_brands()

    def in_fold(fold: int, ticker: str) -> bool:
        return bool(ticker) and _fold_of(ticker) == fold

    whole: list[tuple[Index, Callable[[str], bool]]] = [(Index(brands), lambda ticker: True)]
    return whole + [
        (Index(brand for brand in brands if not in_fold(fold, brand.ticker)), partial(in_fold, fold))
        for fold in range(FOLDS)
    ]


def _find_all(
    rows: Sequence[LabelledDescriptor], folds: list[tuple[Index, Callable[[str], bool]]]
) -> Iterator[tuple[LabelledDescriptor, Text, list[Match], bool]]:
    """Yield (row, text, matches, whether the catalogue lacks the owner) for each row and index."""
    for number, (index, applies) in enumerate(folds):
        for row in rows:
            if applies(row.ticker):
                text = Text(row.key, row.descriptor.upper())
                yield row, text, list(find_matches(index, text)), number > 0


def _match_examples(
    rows: Sequence[LabelledDescriptor], folds: list[tuple[Index, Callable[[str], bool]]]
) -> list[_Example]:
    examples = []
    for row, text, matches, is_unknown in _find_all(rows, folds):
        # Whether a private owner is the right one is not labelled with local merchants.
        is_local = not row.ticker and row.kind not in ("brand", "unclear")
        for match in matches:
            ticker = match.spelling.brand.ticker
            if match.spelling.brand.is_unknown or (not ticker and is_local):
                continue
            weight = (_UNKNOWN_MATCH if is_unknown else 1.0) / len(matches)
            examples.append(_Example(match_features(match, text), ticker == row.ticker, weight, row.fold))
    return examples


def _unlisted_examples(
    rows: Sequence[LabelledDescriptor], folds: list[tuple[Index, Callable[[str], bool]]], model: ConfidenceModel
) -> list[_Example]:
    examples = []
    for row, text, matches, is_unknown in _find_all(rows, folds):
        scores = [(model.score(match_features(match, text)), match) for match in matches]
        best = max((score for score, match in scores if match.spelling.brand.ticker), default=0.0)
        private = max((score for score, match in scores if engine.is_private(match)), default=0.0)
        features = unlisted_features(text, best, private, leading_brand(matches), has_match=bool(matches))
        weight = _UNKNOWN_UNLISTED if is_unknown else 1.0  # an owner that is not entered must not be closed
        examples.append(_Example(features, not row.ticker, weight, row.fold))
    return examples


def _fit(examples: Sequence[_Example]) -> tuple[float, tuple[float, ...]]:
    """Return (intercept, weights) of a logistic regression with a small penalty."""
    import numpy as np  # noqa: PLC0415  # slow to import
    from scipy.optimize import minimize  # noqa: PLC0415

    x = np.array([[1.0, *row.features] for row in examples])
    y = np.array([1.0 if row.right else -1.0 for row in examples])
    w = np.array([row.weight for row in examples])
    penalty = np.ones_like(x[0])
    penalty[0] = 0.0

    def loss(beta: Any) -> tuple[float, Any]:
        margin = y * (x @ beta)
        value = (w * np.logaddexp(0, -margin)).sum() + 0.5 * (penalty * beta**2).sum()
        slope = -(w * y / (1 + np.exp(np.clip(margin, -50, 50)))) @ x + penalty * beta
        return float(value), slope

    beta = minimize(loss, np.zeros_like(x[0]), jac=True, method="L-BFGS-B", options={"maxiter": 1000}).x
    return round(float(beta[0]), 4), tuple(round(float(value), 4) for value in beta[1:])


def _points(scored: Iterable[tuple[float, bool, float]]) -> list[tuple[float, float, float]]:
    """Return (score, confidence, bound), ascending in all three, of (score, right, weight)."""
    rows = sorted(scored)
    bins = [rows[i : i + _BIN] for i in range(0, len(rows), _BIN)]
    if len(bins) > 1 and len(bins[-1]) < _BIN:
        bins[-2:] = [bins[-2] + bins[-1]]
    scores = [sum(score for score, *_ in part) / len(part) for part in bins]
    weights = [sum(weight for *_, weight in part) for part in bins]
    right = [sum(weight for _, is_right, weight in part if is_right) for part in bins]
    shares = isotonic_regression([(r + 0.5) / (w + 1) for r, w in zip(right, weights, strict=True)], weights)
    points, highest = [], [0.0, 0.0]
    for level in sorted({round(float(share), 9) for share in shares}):  # bins that the regression pooled
        pooled = [i for i, share in enumerate(shares) if round(float(share), 9) == level]
        found = sum(right[i] for i in pooled), sum(weights[i] for i in pooled)
        score = sum(scores[i] * weights[i] for i in pooled) / found[1]
        highest = [
            max(top, wilson_lower_bound(*found, z)) for top, z in zip(highest, (_CAUTION, WILSON_Z), strict=True)
        ]
        points.append((round(score, 5), round(highest[0], 4), round(highest[1], 4)))
    return points


def _as_data(model: ConfidenceModel, names: Sequence[str]) -> dict[str, Any]:
    weights = dict(zip(names, model.weights, strict=True))
    return {"intercept": model.intercept, "weights": weights, "points": model.points}
