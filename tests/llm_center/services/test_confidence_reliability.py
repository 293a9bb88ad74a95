"""Reliability of the confidence on owners that the models did not see."""

import pytest

from llm_center import catalogue
from llm_center.matcher.model import load_models
from llm_center.services import confidence_reliability, confidence_training
from llm_center.services.confidence_reliability import (
    decide_unseen,
    draw_reliability,
    figures_by_kind,
    rapidfuzz_by_kind,
    reliability,
)
from llm_center.services.confidence_training import LabelledDescriptor, read_labelled

ROWS = [
    LabelledDescriptor("STARBUCKS STORE 01234 SEATTLE WA", "Starbucks", "SBUX", "brand"),
    LabelledDescriptor("STARBUCKS PLUMBING TULSA OK", "Starbucks Plumbing", "", "lookalike"),
    LabelledDescriptor("PUBLIX #112 MIAMI FL", "Publix", "", "brand"),
]


def test_rows_are_decided_without_their_owner_and_the_shipped_models_are_restored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(confidence_training, "FOLDS", 2)
    monkeypatch.setattr(confidence_reliability, "FOLDS", 2)
    shipped = dict(load_models())
    trained = read_labelled(catalogue.DATA / "descriptors_tune.csv")[::3]
    figures = figures_by_kind(decide_unseen(trained, ROWS))
    assert load_models() == shipped
    assert {kind: each.rows for kind, each in figures.items()} == {
        "all": 3,
        "listed": 1,
        "lookalike": 1,
        "private brand": 1,
    }
    assert figures["all"].wrong == 0


def test_the_most_similar_spelling_buys_for_a_similar_name() -> None:
    figures = rapidfuzz_by_kind(ROWS[:2])
    assert (figures["listed"].right, figures["lookalike"].wrong) == (1, 1)


def test_the_interval_contains_the_share_and_narrows_with_the_answers() -> None:
    few, many = (
        reliability([(0.97, True)] * 9 + [(0.97, False)]),
        reliability([(0.97, True)] * 900 + [(0.97, False)] * 100),
    )
    for bins in (few, many):
        assert [(each.low, each.high) for each in bins] == [(0.95, 0.98)]
        assert bins[0].interval[0] < bins[0].right == 0.9 < bins[0].interval[1]
    assert many[0].interval[0] > few[0].interval[0]
    assert draw_reliability({"a company": many}).count("<circle") == 1
