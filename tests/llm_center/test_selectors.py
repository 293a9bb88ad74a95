"""What reviewers see beside a merchant: similar merchants that wait, and companies by ticker or name."""

import re
from decimal import Decimal

import pytest
from django.db import connection

from llm_center.models import PendingDecision
from llm_center.selectors import FAMILY, find_families, review_evidence, search_companies
from llm_center.sql import load_sql
from tests.factories import make_company, make_merchant, make_staff
from transactions.models import Merchant

pytestmark = pytest.mark.django_db


def _family(merchant: Merchant) -> dict[str, bool]:
    """Return the other merchants of the family, and whether the same company was proposed for them."""
    return {member.merchant_key: member.is_alike for member in find_families([merchant])[merchant.merchant_key]}


@pytest.mark.parametrize(
    ("merchant", "other", "is_alike"),
    [
        (("STARBUCKS", "SBUX"), ("STARBUCKS RESERVE", "SBUX"), True),
        (("STARBUCKS EAST", "SBUX"), ("STARBUCKS WEST", "SBUX"), True),
        (("STARBUCKS", "SBUX"), ("STARBUCKS RESERVE", None), False),
        (("CORNER LAUNDRY EAST", None), ("CORNER LAUNDRY WEST", None), False),
        (("CORNER", None), ("CORNER LAUNDRY", None), False),
        # Another name, although the first word is the same.
        (("CORNER LAUNDRY", None), ("CORNER CAFE", None), None),
        (("JOE", None), ("JOE PIZZA", None), None),
        (("STARBUCKS", "SBUX"), ("STARBUCKSTON", "SBUX"), None),
        # Another proposal.
        (("STARBUCKS", "SBUX"), ("STARBUCKS NAILS", "DNUT"), None),
        (("STARBUCKS EAST", None), ("STARBUCKS", "SBUX"), None),
    ],
)
def test_merchants_with_the_same_name_and_proposal_are_a_family(
    merchant: tuple[str, str | None], other: tuple[str, str | None], is_alike: bool | None
) -> None:
    one, _ = (make_merchant(key, ticker, "proposed") for key, ticker in (merchant, other))
    assert _family(one) == ({} if is_alike is None else {other[0]: is_alike})


def test_only_merchants_that_wait_for_this_decision_are_offered() -> None:
    merchant = make_merchant("STARBUCKS", "SBUX", "proposed")
    make_merchant("STARBUCKS APPROVED", "SBUX")
    make_merchant("STARBUCKS CLOSED", None, "not_listed")
    make_merchant("STARBUCKS REFUSED", None, "rejected", rejected_tickers=["SBUX"])
    make_merchant("STARBUCKS REJECTED", None, "rejected", rejected_tickers=["DNUT"])
    pending = make_merchant("STARBUCKS PENDING", "SBUX", "proposed")
    PendingDecision.objects.create(merchant=pending, action="approve", ticker="SBUX", requested_by=make_staff())
    assert _family(merchant) == {"STARBUCKS REJECTED": False}


def test_a_family_is_bounded_and_starts_with_equal_proposals() -> None:
    merchant = make_merchant("STARBUCKS", "SBUX", "proposed")
    for number in range(FAMILY):
        make_merchant(f"STARBUCKS A {number:02}", None, "proposed")
    make_merchant("STARBUCKS Z", "SBUX", "proposed")
    family = _family(merchant)
    assert len(family) == FAMILY
    assert next(iter(family.items())) == ("STARBUCKS Z", True)


def test_a_long_list_of_decided_merchants_with_the_first_word_does_not_hide_the_family(monkeypatch) -> None:
    monkeypatch.setattr("llm_center.selectors._SCAN_LIMIT", 5)
    for number in range(5):
        make_merchant(f"HOME {number}", None, "not_listed")
    merchant = make_merchant("HOME DEPOT EAST", "HD", "proposed")
    make_merchant("HOME DEPOT WEST", "HD", "proposed")
    assert _family(merchant) == {"HOME DEPOT WEST": True}


def test_a_page_takes_five_queries_and_lists_a_family_once(django_assert_num_queries) -> None:
    rows = [
        make_merchant(f"{name}{word}", ticker, "proposed", waiting_amount=Decimal(1))
        for name, ticker in (("STARBUCKS", "SBUX"), ("TARGET", "TGT"))
        for word in ("", " EAST", " WEST")
    ]
    rows.append(make_merchant("STARBUCKS NORTH", None, "proposed"))
    with django_assert_num_queries(5):
        evidence = review_evidence(rows)
    # The one without a proposal is not settled by default, so it has its own place.
    assert [row.merchant.merchant_key for row in evidence] == ["STARBUCKS", "TARGET", "STARBUCKS NORTH"]
    assert [member.merchant_key for member in evidence[0].family] == [
        "STARBUCKS EAST",
        "STARBUCKS WEST",
        "STARBUCKS NORTH",
    ]


@pytest.mark.parametrize(
    ("term", "tickers"),
    [
        ("sb", ["SBUX", "KO"]),
        ("SBUX", ["SBUX"]),
        ("coca", ["KO"]),
        ("coca-c", ["KO"]),
        ("of sba", ["KO"]),
        ("cola coca", ["KO"]),
        ("mcdonalds", ["MCD"]),
        ("McDonald’s c", ["MCD"]),
        ("s&p", ["SPGI"]),
        ("brk-b", ["BRK.B"]),
        ("hathaway", ["BRK.B"]),
        ("3m", ["MMM"]),
        # Only the starts of words, and one letter only of tickers.
        ("ola", []),
        ("k", ["KO"]),
        ("  ", []),
        ("&' |!:*()", []),
        ("\0sb", ["SBUX", "KO"]),
        ("\U0010ffff", []),
    ],
)
def test_companies_are_found_by_the_start_of_the_ticker_and_of_words(term: str, tickers: list[str]) -> None:
    make_company("SBUX", name="Starbucks Corporation")
    make_company("SBX", name="Gone", is_listed=False)
    make_company("KO", name="Coca-Cola of Sbarro")
    make_company("MCD", name="McDonald's Corp")
    make_company("SPGI", name="S&P Global Inc.")
    make_company("BRK.B", name="Berkshire Hathaway Inc.")
    make_company("MMM", name="3M CO")
    assert [company["ticker"] for company in search_companies(term)] == tickers


def test_names_that_start_with_the_term_come_first_and_tickers_leave_room_for_them() -> None:
    for number in range(12):
        make_company(f"STA{number}", name=f"Company {number}")
    make_company("AAA", name="All Star Holdings")
    make_company("SBUX", name="Starbucks Corporation")
    found = [company["ticker"] for company in search_companies("sta")]
    assert len(found) == 10
    assert found[-2:] == ["SBUX", "AAA"]


def test_the_ordinary_share_of_each_company_is_before_other_shares() -> None:
    for ticker in ("AB.PK", "AB", "BO.PA", "BO"):
        make_company(ticker, name=f"Bank of {ticker[:2]}")
    assert [company["ticker"] for company in search_companies("bank")] == ["AB", "BO", "AB.PK", "BO.PA"]


@pytest.mark.parametrize(
    ("statement", "parameters", "conditions"),
    [
        (
            "waiting_families",
            {"keys": ["A"], "tickers": [""], "starts": ["A"], "beyond": ["A!"], "scan_limit": 200},
            [r"Index Cond: \(+merchant_key\)::text ~>=~ "],
        ),
        (
            "search_companies",
            {"ticker": "SB", "beyond": "SC", "start": "SB", "words": "sb:*", "limit": 10},
            [r"Index Cond: \(+ticker\)::text ~>=~ ", "Bitmap Index Scan on idx_companies_words"],
        ),
    ],
)
def test_merchants_and_companies_are_found_by_their_index(statement, parameters, conditions) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("EXPLAIN " + load_sql(statement), parameters)
        plan = "\n".join(row[0] for row in cursor.fetchall())
    for condition in conditions:
        assert re.search(condition, plan), plan
    assert "Seq Scan" not in plan
