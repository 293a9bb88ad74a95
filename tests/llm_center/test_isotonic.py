"""Isotonic regression gives what scipy's does, which is not in the image."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_center.isotonic import isotonic_regression

_ROWS = st.lists(st.tuples(st.floats(0, 1), st.integers(1, 1000)), min_size=1, max_size=40)


@given(_ROWS)
def test_it_is_the_regression_of_scipy(rows: list[tuple[float, int]]) -> None:
    from scipy.optimize import isotonic_regression as reference

    values, weights = [value for value, _ in rows], [float(weight) for _, weight in rows]
    found = isotonic_regression(values, weights)
    assert found == sorted(found)
    assert found == pytest.approx(reference(values, weights=weights).x.tolist(), abs=1e-9)
