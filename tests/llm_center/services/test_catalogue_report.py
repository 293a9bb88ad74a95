"""What a newer SEC list changes, and whom that affects."""

import csv
import json
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from llm_center.catalogue import load_companies
from llm_center.services.catalogue_report import ListedCompany, compare_with_list, read_sec_list
from tests.factories import make_merchant, make_user
from transactions.models import Holding, Merchant

pytestmark = pytest.mark.django_db


def newer(**changed: ListedCompany | None) -> list[ListedCompany]:
    """Return the shipped list with other rows for some tickers; None removes one."""
    rows = {
        company.ticker: ListedCompany(company.ticker, company.name, company.exchange, company.cik)
        for company in load_companies().values()
    }
    return [row for row in (rows | changed).values() if row is not None]


def test_the_shipped_list_changes_nothing() -> None:
    assert compare_with_list(newer()) == []


def test_each_change_is_named_and_those_that_matter_come_first() -> None:
    companies = load_companies()
    starbucks, target, gap, kroger = (companies[ticker] for ticker in ("SBUX", "TGT", "GAP", "KR"))
    Merchant.objects.filter(pk=make_merchant("STARBUCKS", "SBUX").pk).update(waiting_count=7)
    make_merchant("STARBUCKS RESERVE", "SBUX")
    Holding.objects.create(user=make_user(), ticker="KR", shares=Decimal("0.5"))
    Holding.objects.create(user=make_user(), ticker="KR", shares=Decimal(0))
    changes = compare_with_list(
        newer(
            SBUX=None,
            TGT=ListedCompany("TGT", "Bullseye Inc", target.exchange, target.cik),
            GAP=None,
            GAPX=ListedCompany("GAPX", gap.name, gap.exchange, gap.cik),
            KR=ListedCompany("KR", kroger.name, "OTC", kroger.cik),
            NEWCO=ListedCompany("NEWCO", "New Company", "NYSE", 99_999_999),
        )
    )
    assert [(row.change, row.ticker, row.new) for row in changes] == [
        ("now over the counter", "KR", ""),
        ("delisted", "SBUX", ""),
        ("ticker changed", "GAP", "GAPX"),
        ("renamed", "TGT", "Bullseye Inc"),
        ("new", "NEWCO", ""),
    ]
    assert (changes[0].customers, changes[1].merchants, changes[1].waiting) == (1, 2, 7)
    assert starbucks.name == changes[1].name
    assert "Starbucks" in changes[1].brands
    assert not changes[-1].affects


def test_a_ticker_that_passed_to_another_company_is_delisted_for_the_old_one() -> None:
    changes = compare_with_list(newer(SBUX=ListedCompany("SBUX", "Someone Else", "NYSE", 99_999_999)))
    assert {(row.change, row.ticker) for row in changes} == {("delisted", "SBUX"), ("new", "SBUX")}


def test_the_sec_file_is_read_and_shown(tmp_path: Path) -> None:
    path = tmp_path / "company_tickers_exchange.json"
    rows = [[row.cik, row.name, row.ticker.replace(".", "-"), row.exchange or None] for row in newer(SBUX=None)]
    path.write_text(json.dumps({"fields": ["cik", "name", "ticker", "exchange"], "data": rows}))
    out = StringIO()
    call_command("catalogue_report", path, csv=tmp_path / "out.csv", stdout=out)
    assert f"{len(rows):,} companies: 1 delisted" in out.getvalue()
    assert "SBUX     delisted" in out.getvalue()
    with (tmp_path / "out.csv").open(newline="") as file:
        assert [row["ticker"] for row in csv.DictReader(file)] == ["SBUX"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ticker,name\nSBUX,Starbucks\n", "there is no column exchange, cik"),
        ("ticker,name,exchange,cik\n", "no rows"),
        ("ticker,name,exchange,cik\nSBUX,Starbucks,Nasdaq,none\n", "none"),
        ('{"0": {"cik_str": 1}}', "fields and data"),
        ("{", "Expecting"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "list").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_sec_list(tmp_path / "list")
    with pytest.raises(CommandError, match=message):
        call_command("catalogue_report", tmp_path / "list")
