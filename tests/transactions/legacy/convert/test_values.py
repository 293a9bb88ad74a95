"""Single values and columns are converted by the rules."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transactions.legacy.convert import values
from transactions.legacy.convert.arrow_columns import half_even
from transactions.legacy.validate.oracle_values import read_time, read_units


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2025-01-02 03:04:05", datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2025-01-02T03:04:05.5", datetime(2025, 1, 2, 3, 4, 5, 500000, tzinfo=UTC)),
        ("2025-01-02T03:04:05Z", datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2025-01-02T03:04:05-05:00", datetime(2025, 1, 2, 8, 4, 5, tzinfo=UTC)),
        ("2025-01-02", datetime(2025, 1, 2, tzinfo=UTC)),
        ("01/02/2025", datetime(2025, 1, 2, tzinfo=UTC)),
        ("31/12/2024", datetime(2024, 12, 31, tzinfo=UTC)),
        ("1735787045", datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (1735787045.25, datetime(2025, 1, 2, 3, 4, 5, 250000, tzinfo=UTC)),
        (1735787045250, datetime(2025, 1, 2, 3, 4, 5, 250000, tzinfo=UTC)),
    ],
)
def test_times_are_converted(value, expected):
    assert values.timestamp(value) == expected
    # The oracle converts it by other means.
    assert read_time(value) == (expected - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1_000_000


@pytest.mark.parametrize("value", ["", "  ", None])
def test_an_empty_time_is_none(value):
    assert values.timestamp(value) is None


@pytest.mark.parametrize("value", ["yesterday", "2025-13-01", "17", "99/99/2025", "2025-02-30 10:00:00"])
def test_an_invalid_time_is_unreadable(value):
    with pytest.raises(values.UnreadableError):
        values.timestamp(value)
    assert read_time(value) is None


@pytest.mark.parametrize(
    ("value", "cents"),
    [
        ("12.50", 1250),
        ("$1,234.5", 123450),
        ("(3.00)", -300),
        (" 7 ", 700),
        (0.1 + 0.2, 30),
        (1.015, 102),
        (1.005, 100),
        (2, 200),
    ],
)
def test_money_is_converted_to_cents(value, cents):
    assert values.cents(value) == cents
    assert read_units(value, 2, 10**14) == cents


@pytest.mark.parametrize("value", ["twelve", "1.2.3", "--5", float("nan"), 1e30])
def test_invalid_money_is_unreadable(value):
    with pytest.raises(values.UnreadableError):
        values.cents(value)


@given(st.floats(min_value=-1e9, max_value=1e9), st.sampled_from([2, 4, 8]))
def test_columns_are_rounded_like_single_values(value, places):
    column = half_even(np.array([value]), places)
    assert int(column[0]) == read_units(value, places, 10**20)


@pytest.mark.parametrize(("value", "expected"), [("TRUE", 1), ("no", 0), (-1, -1), ("1.0", 1), ("f", 0)])
def test_booleans_are_converted(value, expected):
    assert values.boolean(value) == expected
