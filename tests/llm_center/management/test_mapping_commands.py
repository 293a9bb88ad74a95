"""The commands `map_merchants` and `evaluate_mapping`."""

import csv
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

pytestmark = pytest.mark.django_db


def _write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_descriptors_are_mapped_in_order(tmp_path: Path) -> None:
    source = _write(tmp_path / "in.csv", "Date,Descriptor", "1,STARBUCKS #1234 SEATTLE WA", "2,TRADER JOE'S #552", "3,")
    out = StringIO()
    call_command("map_merchants", source, tmp_path / "out.csv", stdout=out)
    with (tmp_path / "out.csv").open(newline="") as file:
        first, second, third = csv.DictReader(file)
    assert (first["descriptor"], first["ticker"]) == ("STARBUCKS #1234 SEATTLE WA", "SBUX")
    assert float(first["confidence"]) >= 0.9
    assert (second["ticker"], third["ticker"]) == ("", "")
    assert second["reason"]
    assert "3 descriptors" in out.getvalue()


def test_a_file_without_descriptors_is_refused(tmp_path: Path) -> None:
    source = _write(tmp_path / "in.csv", "date,amount", "1,2")
    with pytest.raises(CommandError, match=r"no column descriptor \(columns: date, amount\)"):
        call_command("map_merchants", source, tmp_path / "out.csv")
    with pytest.raises(CommandError, match="same file"):
        call_command("map_merchants", source, source)
    with pytest.raises(CommandError, match=r"missing\.csv"):
        call_command("map_merchants", tmp_path / "missing.csv", tmp_path / "out.csv")


def test_an_evaluation_prints_coverage_precision_and_errors(tmp_path: Path) -> None:
    labelled = _write(
        tmp_path / "labelled.csv",
        "descriptor,ticker",
        "STARBUCKS #1234,SBUX",
        "STARBUCKS #9,GME",
        "TRADER JOE'S #552,",
        "ZZYZX QWERT,AAPL",
    )
    out = StringIO()
    call_command("evaluate_mapping", labelled, stdout=out)
    text = out.getvalue()
    assert "4 rows, 3 with a ticker (75.0%)" in text
    assert "0.90         2     50.0%      50.0%      1 = 25.0%  <- approved without a reviewer" in text
    assert "1 rows with a ticker got none" in text
    assert "STARBUCKS #9 -> SBUX, should be GME" in text


def test_an_empty_labelled_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="has no rows"):
        call_command("evaluate_mapping", _write(tmp_path / "labelled.csv", "descriptor,ticker"))
