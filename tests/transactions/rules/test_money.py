"""The money rules: worked examples, properties for every amount, and agreement with the SQL functions."""

from decimal import Decimal
from fractions import Fraction

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transactions.rules.money import CENT, SHARE, fee_of, purchase_of, round_up_of, rounded, shares_of

amounts = st.decimals("-99999.99", "99999.99", places=2).filter(lambda value: value != 0)
investables = st.decimals("0.01", "100.00", places=2)
prices = st.decimals("0.0001", "9999999.9999", places=4)
rules = st.sampled_from(["flat", "next_dollar"])
flats = st.integers(1, 100)
platform_fees = st.decimals("0.00", "100.00", places=2)
max_shares = st.decimals("0", "1", places=4)


@pytest.mark.parametrize(
    ("amount", "enabled", "rule", "flat", "expected"),
    [
        ("4.50", True, "flat", 1, "1.00"),
        ("4.50", True, "flat", 5, "5.00"),
        ("4.50", False, "flat", 1, "0.00"),
        ("4.50", True, "next_dollar", 1, "0.50"),
        ("4.00", True, "next_dollar", 1, "0.00"),  # nothing to round up
        ("0.01", True, "next_dollar", 1, "0.99"),
        ("-4.50", True, "flat", 1, "0.00"),  # a refund
        ("-4.50", True, "next_dollar", 1, "0.00"),
    ],
)
def test_round_up(amount: str, enabled: bool, rule: str, flat: int, expected: str) -> None:
    assert str(round_up_of(Decimal(amount), enabled=enabled, rule=rule, flat=flat)) == expected


@pytest.mark.parametrize(
    ("round_up", "max_share", "expected"),
    [
        ("1.00", "0.25", "0.25"),
        ("5.00", "0.25", "0.25"),
        ("0.99", "0.25", "0.24"),  # rounded down
        ("0.03", "0.25", "0.00"),
        ("0.00", "1", "0.00"),
        ("0.10", "1", "0.10"),
        ("5.00", "0", "0.00"),
    ],
)
def test_the_fee_is_at_most_a_share_of_the_round_up(round_up: str, max_share: str, expected: str) -> None:
    fee = fee_of(Decimal(round_up), platform_fee=Decimal("0.25"), max_share=Decimal(max_share))
    assert str(fee) == expected


@pytest.mark.parametrize(
    ("investable", "price", "expected"),
    [
        ("1.00", "3", "0.33333333"),
        ("2.00", "3", "0.66666667"),
        ("1.00", "95.00", "0.01052632"),
        ("1.00", "200000000", "0E-8"),  # exactly half a unit: rounds to even, zero
        ("3.00", "200000000", "2E-8"),  # one and a half: rounds to even, two
        ("1.00", "300000000", "0E-8"),
    ],
)
def test_shares_are_rounded_half_even(investable: str, price: str, expected: str) -> None:
    assert shares_of(Decimal(investable), Decimal(price)) == Decimal(expected)


def test_rounding_is_half_even() -> None:
    assert [str(rounded(Decimal(text), CENT)) for text in ("0.125", "0.135", "-0.125")] == ["0.12", "0.14", "-0.12"]


@given(investables, prices)
def test_shares_are_the_nearest_to_the_exact_quotient(investable: Decimal, price: Decimal) -> None:
    exact = Fraction(investable) / Fraction(price)
    assert abs(Fraction(shares_of(investable, price)) - exact) <= Fraction(SHARE) / 2


@given(amounts, prices, st.booleans(), rules, flats)
def test_no_cent_is_lost_or_created(amount: Decimal, price: Decimal, enabled: bool, rule: str, flat: int) -> None:
    bought = purchase_of(
        amount,
        price=price,
        platform_fee=Decimal("0.25"),
        max_share=Decimal("0.25"),
        enabled=enabled,
        rule=rule,
        flat=flat,
    )
    assert bought.total_debit == amount + bought.round_up + bought.fee
    assert bought.investable == bought.round_up >= 0
    assert 0 <= bought.fee <= min(Decimal("0.25"), bought.round_up / 4)
    assert bought.shares >= 0
    if amount < 0:
        assert bought.round_up == bought.shares == 0


@pytest.mark.django_db
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(amounts, investables, prices, st.booleans(), rules, flats, platform_fees, max_shares)
def test_the_sql_functions_agree_to_the_last_digit(
    amount: Decimal,
    investable: Decimal,
    price: Decimal,
    enabled: bool,
    rule: str,
    flat: int,
    platform_fee: Decimal,
    max_share: Decimal,
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT kamioi_round_up(%s, %s, %s, %s), kamioi_fee(%s, %s, %s), kamioi_shares(%s, %s)",
            [amount, enabled, rule, flat, investable, platform_fee, max_share, investable, price],
        )
        round_up, fee, shares = cursor.fetchone()
    assert round_up == round_up_of(amount, enabled=enabled, rule=rule, flat=flat)
    assert fee == fee_of(investable, platform_fee=platform_fee, max_share=max_share)
    assert shares == shares_of(investable, price)
