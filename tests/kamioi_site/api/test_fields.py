"""A field accepts exactly what its schema allows."""

from decimal import Decimal
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from rest_framework.exceptions import ValidationError

from kamioi_site.api.fields import (
    ID_MAX,
    BooleanField,
    ConsentField,
    DecimalField,
    EmailField,
    IdField,
    IntegerField,
    MoneyField,
    PasswordField,
    TextField,
    TickerField,
)

_SHARE = DecimalField(pattern=r"^0?\.[5-9][0-9]?$", min_value=Decimal("0.5"), max_value=Decimal(1), places=2)
FIELDS = [
    TextField(max_length=5),
    TextField(max_length=5, allow_blank=True),
    TickerField(),
    TickerField(allow_blank=True),
    PasswordField(),
    EmailField(max_length=20),
    BooleanField(),
    ConsentField(refusal="You must agree."),
    IntegerField(max_value=100),
    IdField(),
    MoneyField(),
    MoneyField(zero=True),
    _SHARE,
]
VALUES = [
    *(
        "",
        " ",
        "      ",
        "\u3000",
        "\x19",
        "\ufeffx",
        "a",
        "  a  ",
        "12345",
        "123456",
        "a\0",
        "\0",
        "é\n",
        "ß" * 12,
        "brk-b",
    ),
    *("a@b.example", "no address", "long.address@long.example", True, False, "true", "True", "on", "0", "1", "01"),
    *(0, 1, 2, 100, 101, "100", "101", "1.0", 1.5, ID_MAX, ID_MAX + 1, str(ID_MAX), str(ID_MAX + 1), -1, "-1", "+1"),
    *(" 1", "１", "1_0", "1e2", "NaN", 0.01, 0.001, "0.01", "0.001", "0.00", ".5", "5.", "0.50", 0.75, "0.75"),
    *("1234567890123", 999999999999.99, 10**12, "999999999999.99", 1e300, 5e-324, None, [], [1], {}, {"a": 1}),
]


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: type(field).__name__)
def test_a_field_accepts_exactly_what_its_schema_allows(field: Any) -> None:
    field.field_name = "value"
    schema = Draft202012Validator(field.schema(), format_checker=Draft202012Validator.FORMAT_CHECKER)
    differences = [value for value in VALUES if _accepts(field, value) != schema.is_valid(value)]
    assert not differences
    assert any(map(schema.is_valid, VALUES))


def _accepts(field: Any, value: Any) -> bool:
    try:
        field.run_validation(value)
    except ValidationError:
        return False
    return True


def test_the_sum_of_two_binary_fractions_is_read_as_it_is_meant() -> None:
    assert MoneyField().run_validation(0.1 + 0.2) == Decimal("0.30")


def test_a_ticker_is_normalised() -> None:
    assert TickerField().run_validation(" brk-b ") == "BRK.B"
