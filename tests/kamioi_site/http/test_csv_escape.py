"""No cell of an export runs as a formula, in whatever form its first sign is written."""

import csv
import io

import pytest

from kamioi_site.http.downloads import csv_line, escape_formula
from llm_center.admin.catalogue import BrandResource
from llm_center.models import CatalogueBrand

SIGNS = "=+-@＝＋－＠﹦﹢﹣﹫⁼₊−"
FRONTS = ["", " ", "  \t", "\r", "\n ", "\u00a0", "\u3000", "\u200b", "\ufeff", "\u202e", "\0"]


@pytest.mark.parametrize("front", FRONTS, ids=ascii)
@pytest.mark.parametrize("sign", SIGNS)
def test_a_cell_that_could_be_a_formula_is_escaped(front: str, sign: str) -> None:
    cell = f'{front}{sign}HYPERLINK("x")'
    assert escape_formula(cell) == f"'{cell}"
    assert next(csv.reader(io.StringIO(csv_line(["a", cell, "b"]), newline="")))[1] == f"'{cell}"


@pytest.mark.parametrize("cell", ["", " ", "STARBUCKS", "7-ELEVEN", "Café = Bar", "１２", "“=”", "#1", "'=1", "日本"])
def test_other_text_is_left_alone(cell: str) -> None:
    assert escape_formula(cell) == cell


@pytest.mark.django_db
def test_the_catalogue_is_exported_escaped() -> None:
    CatalogueBrand.objects.all().delete()
    CatalogueBrand.objects.create(name="＝1+1", owner="@owner", aliases=["+a"], reason="private")
    row = BrandResource().export().dict[0]
    assert (row["name"], row["owner"], row["aliases"]) == ("'＝1+1", "'@owner", "'+a")
