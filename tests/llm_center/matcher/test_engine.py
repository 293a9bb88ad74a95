"""The matcher: trusted and doubtful matches, and its results on descriptors it was not tuned on."""

import csv
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_center import catalogue
from llm_center.matcher import propose, propose_descriptor

DATA = Path(__file__).parents[2] / "data"
CATALOGUE = Path(catalogue.__file__).parent / "data"
THRESHOLD = Decimal("0.90")

TRUSTED = [
    ("WM SUPERCENTER #2841 FORT WORTH TX", "WMT"),
    ("WHOLEFDS MKT #10234 AUSTIN TX", "AMZN"),
    ("AMZN Mktp US*2K4AB1QW0 Amzn.com/bill WA", "AMZN"),
    ("TARGET T-1871 BROOKLYN NY", "TGT"),
    ("SHELL OIL 57444212308 HOUSTON TX", "SHEL"),
    ("DOORDASH*BURGER KING", "DASH"),
    ("UBER *EATS HELP.UBER.COM CA", "UBER"),
    ("IC* COSTCO BY INSTACAR", "CART"),
    ("PAYPAL *SPOTIFYUSAI 402-935-7733", "SPOT"),
    ("SOUTHWES 5262312345678 800-435-9792 TX", "LUV"),
    ("UNITED 0162312345678 800-932-2732 TX", "UAL"),
    ("MURPHY7234ATWALMART", "MUSA"),
    ("DICK'S CLOTHING&SPORTING", "DKS"),
    ("BESTBUYCOM805712345678 888-BESTBUY MN", "BBY"),
    ("HOLIDAY INN EXP & STES", "IHG"),
    ("LOWE'S OF CARY, NC", "LOW"),
    ("VERIZONRECURRING PAY800-VERIZON FL", "VZ"),
    ("MARRIOTT TULSA DWTN", "MAR"),
    ("AIRBNB * HMCCYEW5YE SAN FRANCISCO CA", "ABNB"),
]

# Similar to a listed company's name, but a different merchant: never a ticker at or above the threshold.
LOOK_ALIKES = [
    "TARGETED FITNESS",
    "SUBWAY 12345",
    "MATTRESS DEPOT OF AUSTIN",
    "DELTA DENTAL OF CA",
    "SHELL BEACH MOTEL",
    "APPLE VALLEY MARKET",
    "HILTON HEAD DENTAL",
    "STARBUCKS PLUMBING",
    "CHASE PLUMBING",
    "WENDYS NAILS",
    "FORDS GARAGE",
    "UNITED AIR CONDITIONING",
    "OLD NAVY PIER TOURS",
    "FIVE BELOW ZERO ICE CREAM",
    "SUPER 8 BALL BILLIARDS",
    "GREEN VALLEY NURSERY",
    "PILOT BUTTE DRIVE IN",
    "CANOPY ROAD CAFE",
    "DICKS DRIVE IN",
    "VISALIA RAWHIDE",
    "PROGRESSIVE DENTAL CARE",
    "DELTA CENTER",
    "COACHELLA VALLEY WATER",
    "ST JOHN LUTHERAN CHURCH",
    "HONDA OF MESA",
    "SALOON",
    "MCDONALD OBSERVATORY",
    "AMERICAN EAGLE CAB CO",
    "MASTER CARD COLLECTIBLES",
]

NOT_LISTED = [
    "ALLY BANK DES:$TRANSFER ID:J DOE",
    "ELECTRONIC WITHDRAWAL JPMORGAN CHASE",
    "JENSENBRICKHOUSE WEB PMTS",
    "GREAT LAKES STUDENT LOAN",
    "CITIBANK CONDITIONAL CREDIT FOR DISPUTE",
    "WALGREENS #1234",
    "SUBWAY 12345 DALLAS TX",
    "TRADER JOE'S #123 QPS",
    "STATE FARM RO 27 SFPP",
    "7-ELEVEN 12345",
    "ATM WITHDRAWAL 0123 MAIN ST",
    "ZELLE TO JOHN SMITH",
    "NORDSTROM #0123",
    "CHICK-FIL-A #01234",
]


@pytest.mark.parametrize(("descriptor", "ticker"), TRUSTED)
def test_a_known_spelling_is_trusted(descriptor: str, ticker: str) -> None:
    proposal = propose_descriptor(descriptor)
    assert (proposal.ticker, proposal.listed) == (ticker, True)
    assert proposal.confidence >= THRESHOLD
    assert ticker in proposal.reason


@pytest.mark.parametrize(
    ("descriptor", "ticker", "method"),
    [
        ("QRS*LOGITECH STORE", "LOGI", "star"),
        ("QRS *NETFLIX 408-540-3700 CA", "NFLX", "star"),
        ("QRS*STARBUCKS COFFEE KITCHEN", "SBUX", "inside"),  # not the whole name
        ("MICROSOFT*NETFLIX", "MSFT", "prefix"),  # the first reading is known
    ],
)
def test_what_follows_an_unknown_prefix_is_tried_second(descriptor: str, ticker: str, method: str) -> None:
    proposal = propose_descriptor(descriptor)
    assert (proposal.ticker, proposal.method) == (ticker, method)
    assert ("paid through an unknown service" in proposal.reason) is (method == "star")


def test_a_shop_in_a_hotel_is_proposed_and_not_the_hotel() -> None:
    proposal = propose_descriptor("SQ *STARBUCKS AT HYATT REGENCY")
    assert (proposal.ticker, proposal.alternatives) == ("SBUX", ())
    assert proposal.confidence >= Decimal("0.5")


@pytest.mark.parametrize("prefix", ["", "QRS*"])
@pytest.mark.parametrize("descriptor", LOOK_ALIKES)
def test_a_look_alike_is_never_bought(descriptor: str, prefix: str) -> None:
    proposal = propose_descriptor(prefix + descriptor)
    assert proposal.ticker is None or proposal.confidence < THRESHOLD


@pytest.mark.parametrize("descriptor", NOT_LISTED)
def test_merchants_without_a_share_are_not_listed(descriptor: str) -> None:
    proposal = propose_descriptor(descriptor)
    assert (proposal.ticker, proposal.listed) == (None, False)
    assert proposal.confidence >= THRESHOLD
    assert "cannot be bought" in proposal.reason or proposal.method == "money"


def test_a_brand_whose_owner_is_unknown_is_left_to_a_reviewer() -> None:
    proposal = propose_descriptor("FULLBEAUTY 123")
    assert (proposal.ticker, proposal.listed) == (None, None)
    assert proposal.confidence < THRESHOLD


@pytest.mark.parametrize("key", ["", "   "])
def test_an_empty_name_has_no_proposal(key: str) -> None:
    proposal = propose(key)
    assert (proposal.ticker, proposal.listed, proposal.confidence) == (None, None, Decimal(0))


@pytest.mark.parametrize("key", ["ZZQX", "QWERTEX TRADERS", "XYLOPLEX0815"])
def test_an_unknown_name_is_left_to_a_reviewer(key: str) -> None:
    proposal = propose(key)
    assert proposal.ticker is None
    assert proposal.proven < THRESHOLD


def test_a_bank_category_that_contradicts_the_brand_lowers_the_confidence() -> None:
    assert propose("HILTON CHICAGO").confidence >= THRESHOLD
    assert propose("HILTON CHICAGO", category="Dental & Medical").confidence < THRESHOLD


def test_alternatives_are_proposed_to_the_reviewer() -> None:
    proposal = propose("TACO BELL CANTINA")
    assert proposal.ticker == "YUM"
    assert propose("DELTA HOTELS TORONTO").alternatives[0].ticker == "DAL"


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


def _labelled(name: str) -> list[tuple[str, str]]:
    return [(row["descriptor"], row["ticker"]) for row in _rows(CATALOGUE / name)]


def test_no_brand_is_in_two_labelled_sets() -> None:
    files = (CATALOGUE / "descriptors_train.csv", CATALOGUE / "descriptors_tune.csv", DATA / "descriptors_report.csv")
    sets = [{row["ticker"] or row["brand"].casefold() for row in _rows(path)} for path in files]
    assert sum(map(len, sets)) >= 2_500
    assert len(set.union(*sets)) == sum(map(len, sets))


def test_the_goals_are_met_on_the_labelled_descriptors() -> None:
    """Those of the report set are evaluated by hand, once a release."""
    rows = _labelled("descriptors_tune.csv")
    trusted = []
    for descriptor, ticker in rows:
        proposal = propose_descriptor(descriptor)
        if proposal.ticker and proposal.confidence >= THRESHOLD:
            trusted.append((descriptor, proposal.ticker, ticker))
    wrong = [row for row in trusted if row[1] != row[2]]
    assert len(wrong) <= 0.005 * len(trusted), wrong
    assert len(wrong) <= 0.002 * len(rows), wrong
    assert len(trusted) >= 0.85 * sum(bool(ticker) for _, ticker in rows)


def test_what_is_closed_without_a_reviewer_belongs_to_no_listed_company() -> None:
    rows = _labelled("descriptors_train.csv") + _labelled("descriptors_tune.csv")
    closed = []
    for descriptor, ticker in rows:
        proposal = propose_descriptor(descriptor)
        if proposal.listed is False and proposal.proven >= THRESHOLD:
            closed.append((descriptor, ticker))
    wrong = [row for row in closed if row[1]]
    assert len(wrong) <= 0.005 * len(closed), wrong
    assert len(closed) >= 0.5 * sum(not ticker for _, ticker in rows)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_any_text_has_a_deterministic_answer(text: str) -> None:
    proposal = propose_descriptor(text)
    assert proposal == propose_descriptor(text)
    assert Decimal(0) <= proposal.confidence <= Decimal(1)
    assert (proposal.ticker is not None) == (proposal.listed is True)
