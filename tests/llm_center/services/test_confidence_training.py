"""Training of the models of confidence."""

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from llm_center import catalogue
from llm_center.matcher.features import MATCH_FEATURES, UNLISTED_FEATURES
from llm_center.matcher.model import load_models
from llm_center.services import confidence_training
from llm_center.services.confidence_training import count_words, read_labelled, train

TUNE = catalogue.DATA / "descriptors_tune.csv"


@pytest.fixture(autouse=True)
def _shipped_words():
    """Training counts words in folds; the shipped ones are read again afterwards."""
    yield
    catalogue.load_local_words.cache_clear()


def test_the_shipped_models_have_a_weight_for_each_feature() -> None:
    models = json.loads((catalogue.DATA / "confidence.json").read_text())
    assert list(models["match"]["weights"]) == list(MATCH_FEATURES)
    assert list(models["unlisted"]["weights"]) == list(UNLISTED_FEATURES)


@pytest.mark.parametrize("name", ["match", "unlisted"])
def test_confidence_rises_with_the_score_and_its_bound_stays_below(name: str) -> None:
    model = load_models()[name]
    pairs = [model.confidence(score / 200) for score in range(201)]
    assert pairs == sorted(pairs)
    assert all(0 <= bound <= confidence <= 1 for confidence, bound in pairs)


def test_training_is_repeatable_and_learns_what_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confidence_training, "FOLDS", 2)
    rows = read_labelled(TUNE)[::2]
    models = train(rows)
    assert models == train(rows)
    weights = models["match"]["weights"]
    assert weights["share of the name"] > 0 > weights["another trade"]
    assert (
        models["unlisted"]["weights"]["small shop terminal"]
        > 0
        > models["unlisted"]["weights"]["a listed brand matches"]
    )


def test_words_of_local_merchants_and_of_brands_differ_in_sign() -> None:
    words = count_words(read_labelled(TUNE))
    assert words["GRILL"] > 1
    assert words["MARRIOTT"] < -1


def test_rows_that_only_move_money_are_left_to_the_rules(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("descriptor,brand,ticker,kind\nZELLE TO BOB,Zelle,,money\nSTARBUCKS 12,Starbucks,SBUX,brand\n")
    assert [row.descriptor for row in read_labelled(path)] == ["STARBUCKS 12"]


def test_the_command_prints_the_weights_and_writes_nothing_in_a_dry_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confidence_training, "FOLDS", 2)
    before = (catalogue.DATA / "confidence.json").read_bytes()
    lines = TUNE.read_text(encoding="utf-8").splitlines()
    (tmp_path / "some.csv").write_text("\n".join([lines[0], *lines[1::4]]) + "\n", encoding="utf-8")
    out = StringIO()
    call_command("train_confidence", tmp_path / "some.csv", dry_run=True, stdout=out)
    assert "unlisted: intercept" in out.getvalue()
    assert "share of the name" in out.getvalue()
    assert (catalogue.DATA / "confidence.json").read_bytes() == before


def test_a_file_without_labels_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("descriptor,ticker\nX,Y\n")
    with pytest.raises(CommandError, match="brand"):
        call_command("train_confidence", tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("descriptor,brand,ticker,kind\n")
    with pytest.raises(CommandError, match="no rows"):
        call_command("train_confidence", tmp_path / "b.csv")
