"""The table of wrappers: real descriptors, and one example of every row."""

import tomllib
from pathlib import Path

import pytest

from transactions.rules import wrappers
from transactions.rules.merchant_key import normalise
from transactions.rules.wrappers import WRAPPERS, expand

TABLE = tomllib.loads((Path(wrappers.__file__).parents[1] / "data" / "wrappers.toml").read_text(encoding="utf-8"))

REAL = [
    ("SQC*FRANK ADAMS 8774174551, CA", "CASH APP"),
    ("SQ *CASH APP*BOB", "CASH APP"),
    ("IZETTLE *WOODEN SPOONS", "WOODEN SPOONS"),
    ("ZTL*NM BURGER OPS", "NM BURGER OPS"),
    ("ZETTLE_*WOODEN SPOONS BERKELEY CA", "WOODEN SPOONS"),
    ("SUMUP *PASTA BAR BOSTON MA", "PASTA BAR"),
    ("DLO*Spotify", "SPOTIFY"),
    ("CKE*CAFE 86 CHINO CHINO CA", "CAFE 86 CHINO"),
    ("WPY*Paulus Orchard855-999-3729 PA", "PAULUS ORCHARD"),
    ("SPI*DIRECT ENERGY 888-305-3828 TX", "DIRECT ENERGY"),
    ("PMT*OHIO MILITARY 877-818-4323 OH", "OHIO MILITARY"),
    ("BILLMATRIX*DUKE ENERGY 800-777-9898 NC", "DUKE ENERGY"),
    ("AMZ*Zappos.com", "ZAPPOS.COM"),
    ("AMZ*MW9UK7LW0", "AMAZON.COM"),
    ("SP+AFF* LOREN HOPE SAN FRANCISCO CA", "LOREN HOPE"),
    ("SHOP* MOTEEFE LONDON GBR", "MOTEEFE LONDON"),
    ("BT*MLG*TERRITORY FOOARLINGTON VA", "TERRITORY FOO"),
    ("SQSP* WORKSH*PHOTOBYLEE NEW YORK NY", "PHOTOBYLEE"),
    ("SQSP* INV151962506 NEW YORK NY", "SQSP"),
    ("PADDLE.NET* SETAPP NEW YORK NY", "SETAPP"),
    ("2CO.COM*PLUGINCRA COLUMBUS OH", "PLUGINCRA"),
    ("FS *ahrefs.com 877-3278914 CA 04/19", "AHREFS.COM"),
    ("USA*CANTEEN VEND AMITYVILLE NY 04/19", "CANTEEN VEND"),
    ("L2G*LA CO WATERWOR 877-637-3661 CA", "LA CO WATERWOR"),
    ("ICP*Central PA Gymnastics717-7661030 PA", "CENTRAL PA GYMNASTICS"),
    ("HIS*HISCOX INC 888-202-3007 NY 01/17", "HISCOX"),
    ("EB *CORGI FESTIVAL 202 SAN FRANCISCO CA", "EVENTBRITE"),
    ("BKG*HOTEL AT BOOKING.C AMSTERDAM", "BOOKING.COM"),
    ("GOOGLE*ADS1234567890", "GOOGLE"),
    ("APL*ITUNES.COM/BILL 866-712-7753 CA", "APPLE.COM"),
    ("UBR* PENDING.UBER.COM", "UBER"),
    ("DNH*GODADDY.COM 480-5058855 AZ", "GODADDY.COM"),
    ("GRUBHUBOGINGERJAPANES", "GRUBHUB"),
    ("PAYPAL DES:INST XFER ID:UBER INDN:JANE ROE", "UBER"),
    # Not wrappers: a prefix is a whole word, and its star or its condition must be there.
    ("SPOTIFY USA 877-778-1161 NY", "SPOTIFY USA"),
    ("SP PLUS PARKING", "SP PLUS PARKING"),
    ("FACTS & FIGURES BOOKS", "FACTS & FIGURES BOOKS"),
    ("SLICE OF HEAVEN PIZZA", "SLICE OF HEAVEN PIZZA"),
    ("ABC LIQUORS", "ABC LIQUORS"),
    ("VENMOUTH HARBOR INN", "VENMOUTH HARBOR INN"),
    ("GOOGLY EYES ART", "GOOGLY EYES ART"),
]


def _written(literal: str) -> str:
    """Return a prefix as a descriptor has it."""
    return literal.replace("#", "1234").replace("@", "RT4QW1234").replace("%", "GATOR").replace("~", "")


ROWS = [(literal, wrapper.key) for wrapper in WRAPPERS for literal in expand(wrapper.prefix)]


@pytest.mark.parametrize(("descriptor", "key"), REAL)
def test_a_real_descriptor_gets_the_key_of_who_was_paid(descriptor: str, key: str) -> None:
    assert normalise(descriptor) == key


def test_the_table_is_complete() -> None:
    assert len(WRAPPERS) >= 80
    assert len({(wrapper.prefix, wrapper.then) for wrapper in WRAPPERS}) == len(WRAPPERS)
    for row in TABLE["wrappers"]:
        assert set(row) <= {"prefix", "kind", "says", "key", "of", "then", "unless"}
        assert row["says"] in ("merchant follows", "paid")


@pytest.mark.parametrize(("literal", "key"), ROWS)
def test_every_wrapper_is_removed_or_is_who_was_paid(literal: str, key: str) -> None:
    # The condition of AMZ* decides between its two rows.
    following = "RT4QW1234" if (literal, key) == ("AMZ*", "AMAZON.COM") else "BLUE LANTERN CAFE"
    joined = "" if literal[-1] in " *-" else " "
    assert normalise(f"{_written(literal)}{joined}{following}") == (key or "BLUE LANTERN CAFE")


@pytest.mark.parametrize(
    "wrapper", [wrapper for wrapper in WRAPPERS if wrapper.key], ids=lambda wrapper: wrapper.prefix
)
def test_the_key_of_who_was_paid_is_stable(wrapper: wrappers.Wrapper) -> None:
    assert normalise(wrapper.key) == wrapper.key


@pytest.mark.parametrize("literal", [literal for row in TABLE["bank_wording"] for literal in expand(row)])
def test_every_wording_of_a_bank_is_removed(literal: str) -> None:
    joined = "" if literal[-1] in ":/" else " "
    assert normalise(f"{_written(literal)}{joined}BLUE LANTERN CAFE") == "BLUE LANTERN CAFE"
    assert normalise(f"RECURRING {_written(literal)}{joined}01/15 BLUE LANTERN CAFE") == "BLUE LANTERN CAFE"


def test_a_paid_wrapper_needs_a_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "wrappers.toml"
    broken.write_text('wrappers = [{ prefix = "X*", kind = "other", says = "paid" }]', encoding="utf-8")
    monkeypatch.setattr(wrappers, "_FILE", broken)
    with pytest.raises(ValueError, match="X\\* needs a key"):
        wrappers._read()
