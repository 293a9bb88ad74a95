"""Cities and states: which text is one, and what is removed from the end of a name."""

import pytest

from transactions.rules.places import ends_in_place, is_place, is_town, split_fields, strip_place


@pytest.mark.parametrize("text", ["SEATTLE", "SEATTLE WA", "WA", "NEW YORK NY", "SAN FRANCISC CA", "HAPPY TX"])
def test_a_city_or_a_state_is_a_place(text: str) -> None:
    assert is_place(text)


@pytest.mark.parametrize("text", ["", "PLUMBING", "SEATTLE PLUMBING", "WA SEATTLE", "HAPPY", "HAPPY NJ"])
def test_other_words_are_not_places(text: str) -> None:
    assert not is_place(text)


@pytest.mark.parametrize("text", ["DENVER", "CHARLOTT", "DENVER DWTN", "KANSAS CTY CRWN KANSAS CITY", "CENTRAL VALLEY"])
def test_a_town_may_be_cut_or_have_words_around_it(text: str) -> None:
    assert is_town(text)


@pytest.mark.parametrize("text", ["", "PLUMBING", "HAPPY", "FAMILY DENTISTRY"])
def test_a_word_that_is_also_a_small_town_is_none(text: str) -> None:
    assert not is_town(text)


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("APLPAY DICK'S SPORTICORAOPOLIS PA", "APLPAY DICK'S SPORTI CORAOPOLIS PA"),
        ("TST* LOSERS - MIDTOWNASHVILLE TN", "TST* LOSERS - MIDTOW NASHVILLE TN"),
        ("MERRICK FISH 12 SOUTHAMPTON NY", "MERRICK FISH 12 SOUTHAMPTON NY"),
        ("THE LONG NAME OF A SHOP TULSA OK", "THE LONG NAME OF A SHOP TULSA OK"),
        ("CAFE", "CAFE"),
    ],
)
def test_a_name_that_fills_its_field_is_separated_from_the_city(text: str, split: str) -> None:
    assert split_fields(text) == split


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("CAFE SEATTLE WA", "CAFE"),
        ("CAFE SEATTLE WA US", "CAFE"),
        ("CAFE ST LOUIS MO", "CAFE"),
        ("CAFE SAINT LOUIS MO", "CAFE"),
        ("CAFE S LAKE TAHOE CA", "CAFE"),
        ("CAFE CORPUS CHRIST TX", "CAFE"),  # at the 13th letter
        ("CAFE SANTA BARBAR CA", "CAFE"),  # at the 12th letter
        ("CAFE LOS ANGELE CA", "CAFE"),  # without the last letter
        ("CAFE VIRGINIA BEACVA", "CAFE"),
        ("CAFE NEW YORKNY", "CAFE"),
        ("CAFENEW YORK NY", "CAFE"),
        ("COFFEESEATTLE WA", "COFFEE"),
        ("EYE CARE SOUTHAMPTON PA", "EYE CARE SOUTHAMPTON"),  # not a city there, and not HAMPTON
        ("CAFE HAPPY TX", "CAFE"),
        ("CAFE HAPPY NJ", "CAFE HAPPY"),  # a small town of another state
        ("KING OF PRUSSIA PA", "KING OF PRUSSIA"),
        ("SEATTLEWA", "SEATTLEWA"),
        ("DRIVE IN", "DRIVE IN"),
        ("DRIVE IN GARY IN", "DRIVE IN"),
        ("TIFFANY & CO", "TIFFANY & CO"),
        ("T MOBILE AL", "T MOBILE"),
        ("MURPHY USA", "MURPHY USA"),
        ("CAFE", "CAFE"),
    ],
)
def test_the_place_at_the_end_is_removed(text: str, name: str) -> None:
    tokens = text.split()
    strip_place(tokens)
    assert " ".join(tokens) == name


@pytest.mark.parametrize(
    ("text", "place"),
    [("", False), ("SEATTLE", True), ("MAIN ST SEATTLE WA", True), ("SEATTLEWA", True), ("GB", True), ("FUEL", False)],
)
def test_a_place_may_follow_a_number(text: str, place: bool) -> None:
    assert ends_in_place(text.split()) is place
