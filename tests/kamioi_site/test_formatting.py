"""Values as pages, lists and reports show them."""

from decimal import Decimal

import pytest

from kamioi_site.formatting import money, number, percent, plural


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (money(Decimal("1234.5")), "$1,234.50"),
        (money(Decimal("-12.34")), "-$12.34"),
        (money(Decimal("12.34560000")), "$12.3456"),
        (money(Decimal("0.0001234567"), 6), "$0.000123"),
        (money(Decimal(10) / 3, 2), "$3.33"),
        (number(1200), "1,200"),
        (number(Decimal("0.50000000")), "0.5"),
        (number(Decimal("1200.5"), 2), "1,200.50"),
        (percent(Decimal("0.8")), "80%"),
        (percent(0.9475), "94.8%"),
        (plural(1, "day"), "1 day"),
        (plural(1200, "day"), "1,200 days"),
        *((format_(None), "–") for format_ in (money, number, percent)),
    ],
)
def test_a_value_has_one_text_everywhere(text: str, expected: str) -> None:
    assert text == expected
