"""The shipped catalogue: valid rows, and only listed companies can be bought."""

from collections import Counter
from datetime import date

import pytest

from llm_center.catalogue import US_EXCHANGES, load_brands, load_companies, load_words, read_companies
from transactions.rules.merchant_key import normalise

BRANDS = {brand.name: brand for brand in load_brands()}

REASONS = {
    "private",
    "family",
    "cooperative",
    "mutual",
    "state",
    "government",
    "otc",
    "not-a-purchase",
    "subsidiary-of-private",
    "unknown",
}

OWNERS = [
    ("Whole Foods Market", "AMZN"),
    ("Taco Bell", "YUM"),
    ("Old Navy", "GAP"),
    ("TJ Maxx", "TJX"),
    ("T-Mobile US", "TMUS"),
    ("Google", "GOOGL"),
    ("GEICO", "BRK.B"),
    ("YouTube", "GOOGL"),
    ("Instagram", "META"),
    ("LinkedIn", "MSFT"),
    ("Sam's Club", "WMT"),
    ("Olive Garden", "DRI"),
    ("Popeyes", "QSR"),
    ("Foot Locker", "DKS"),
    ("Hulu", "DIS"),
    ("Vons", "ACI"),
    ("Ralphs", "KR"),
    ("Courtyard", "MAR"),
    ("Hampton Inn & Suites", "HLT"),
]

NOT_INVESTABLE = [
    "Walgreens",
    "Nordstrom",
    "Nordstrom Rack",
    "Skechers",
    "Subway",
    "Chick-fil-A",
    "Trader Joe's",
    "Publix",
    "7-Eleven",
    "Circle K",
    "IKEA",
    "State Farm",
    "Panera Bread",
    "Dunkin'",
    "Delta Dental",
    "Nintendo",
    "Potbelly",
    "Citgo",
    "USPS",
]


def test_every_ticker_in_the_catalogue_is_listed_on_a_us_exchange() -> None:
    companies = load_companies()
    wrong = [
        (brand.name, brand.ticker)
        for brand in load_brands()
        if brand.ticker and (brand.ticker not in companies or not companies[brand.ticker].is_listed)
    ]
    assert wrong == []


def test_a_brand_has_either_a_ticker_or_a_reason() -> None:
    wrong = [brand.name for brand in load_brands() if bool(brand.ticker) == bool(brand.reason)]
    assert wrong == []


def test_reasons_are_known() -> None:
    assert {brand.reason for brand in load_brands() if brand.reason} <= REASONS


def test_the_catalogue_has_at_least_5000_brands_with_distinct_names() -> None:
    assert len(load_brands()) >= 5000
    assert [name for name, count in Counter(brand.name for brand in load_brands()).items() if count > 1] == []


def test_the_brands_of_the_name_suggestion_index_are_included() -> None:
    assert sum("name-suggestion-index" in brand.source for brand in load_brands()) >= 3000


@pytest.mark.parametrize(("brand", "ticker"), OWNERS)
def test_a_subsidiary_belongs_to_its_listed_owner(brand: str, ticker: str) -> None:
    assert BRANDS[brand].ticker == ticker


@pytest.mark.parametrize("brand", NOT_INVESTABLE)
def test_private_mutual_and_foreign_companies_have_no_ticker(brand: str) -> None:
    assert BRANDS[brand].ticker == ""
    assert BRANDS[brand].reason != "unknown"


@pytest.mark.parametrize("ticker", ["WBA", "JWN", "SKX", "K", "FL", "SQ", "DFS", "TWTR", "ATVI"])
def test_delisted_companies_are_not_in_the_company_table(ticker: str) -> None:
    assert ticker not in load_companies()


def test_share_classes_are_written_with_a_dot() -> None:
    companies = load_companies()
    assert companies["BRK.B"].exchange == "NYSE"
    assert [ticker for ticker in companies if "-" in ticker] == []


def test_over_the_counter_is_not_listed() -> None:
    company = next(company for company in load_companies().values() if company.exchange == "OTC")
    assert not company.is_listed
    assert "OTC" not in US_EXCHANGES


def test_the_company_table_has_one_date() -> None:
    dates = {company.as_of for company in read_companies()}
    assert len(dates) == 1
    assert dates.pop() >= date(2026, 10, 1)


def test_words_are_merchant_keys_of_a_known_kind() -> None:
    words = load_words()
    assert set(words.values()) == {"common", "known", "other"}
    assert [key for key, kind in words.items() if kind != "other" and normalise(key) != key] == []
