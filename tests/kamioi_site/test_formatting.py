"""Values as pages, lists and reports show them."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from kamioi_site.formatting import code, moment, money, month, number, percent, plural


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
        (moment(datetime(2026, 11, 27, tzinfo=UTC)), "Nov 27, 2026"),
        (moment(datetime(2026, 11, 27, 14, 30, tzinfo=UTC)), "Nov 27, 2026, 14:30"),
        (moment(datetime(2026, 11, 26, 19, tzinfo=timezone(timedelta(hours=-5)))), "Nov 27, 2026"),
        (moment(date(2026, 11, 27)), "Nov 27, 2026"),
        (month(date(2026, 11, 1)), "Nov 2026"),
        (code("undo_round_up"), "undo round up"),
        (code("shop/department_store"), "department store"),
        (code(""), "–"),
        *((format_(None), "–") for format_ in (money, number, percent, moment, month)),
    ],
)
def test_a_value_has_one_text_everywhere(text: str, expected: str) -> None:
    assert text == expected
