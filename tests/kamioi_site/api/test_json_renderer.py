"""JSON of the API: exact amounts, and the same times and texts as DRF."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.utils.safestring import mark_safe
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.renderers import JSONRenderer

from kamioi_site.api.json_renderer import ExactJSONRenderer, json_bytes
from transactions.models import Transaction


@given(st.decimals(allow_nan=False, allow_infinity=False, places=8, min_value=-(10**12), max_value=10**12))
def test_amounts_keep_every_digit(amount: Decimal) -> None:
    assert json.loads(json_bytes({"amount": amount}), parse_float=Decimal, parse_int=Decimal)["amount"] == amount


@pytest.mark.parametrize(
    "value",
    [
        {"status": Transaction.Status.PENDING, "safe": mark_safe("<b>"), "text": "Café “☕”"},
        [datetime(2026, 11, 3, 4, 5, 6, tzinfo=UTC), datetime(2026, 11, 3, 4, 5, 6, 70, tzinfo=UTC), date(2026, 11, 3)],
        (UUID(int=7), None, True, 1.5, 2**70, {"nested": [{}]}),
        {5: "a number as a name"},
    ],
)
def test_other_values_are_rendered_as_by_drf(value: Any) -> None:
    assert json.loads(ExactJSONRenderer().render(value)) == json.loads(JSONRenderer().render(value))


def test_no_data_has_no_body_and_indentation_is_kept() -> None:
    assert ExactJSONRenderer().render(None) == b""
    assert b"\n" in ExactJSONRenderer().render({"a": 1}, "application/json; indent=2", {"view": None})
