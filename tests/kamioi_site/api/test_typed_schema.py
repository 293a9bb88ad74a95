"""The schema of a TypedDict: required fields, null, lists, enums, descriptions, references and generics."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pytest
from django.db.models import TextChoices
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from kamioi_site.api.payloads import Data
from kamioi_site.api.views import ApiView


class Color(TextChoices):
    RED = "red"
    BLUE = "blue"


class Wheel(TypedDict):
    spokes: int


class Cart(TypedDict):
    """A cart."""

    price: Decimal | None
    sold_at: datetime
    color: Annotated[str, Color]
    side: Annotated[str, Literal["left", "right"]]
    label: Annotated[str, "What is painted on it."]
    front: Wheel | None
    wheels: list[Wheel]
    options: dict[str, Any]
    note: NotRequired[str]


class _CartView(ApiView):
    @extend_schema(responses={200: Data[Cart], 201: Wheel | Data[list[Wheel]]})
    def get(self, request: Request) -> None:
        """Return a cart."""


@pytest.fixture
def schemas() -> dict[str, Any]:
    from django.urls import path

    generator = SchemaGenerator(patterns=[path("api/cart", _CartView.as_view())])
    schemas: dict[str, Any] = generator.get_schema(public=True)["components"]["schemas"]
    return schemas


def test_a_typed_dict_becomes_a_component(schemas: dict[str, Any]) -> None:
    cart = schemas["Cart"]
    properties = cart["properties"]
    assert cart["description"] == "A cart."
    assert set(cart["required"]) == set(properties) - {"note"}
    assert properties["price"] == {"type": "number", "format": "double", "nullable": True}
    assert properties["sold_at"] == {"type": "string", "format": "date-time"}
    assert properties["label"] == {"type": "string", "description": "What is painted on it."}
    assert properties["options"] == {"type": "object", "additionalProperties": {}}
    wheel = {"$ref": "#/components/schemas/Wheel"}
    assert (properties["wheels"], properties["front"]) == (
        {"type": "array", "items": wheel},
        {"allOf": [wheel], "nullable": True},
    )
    assert schemas["ColorEnum"]["enum"] == ["red", "blue"]
    assert schemas["SideEnum"]["enum"] == ["left", "right"]


def test_a_generic_and_a_union_are_named_after_their_types(schemas: dict[str, Any]) -> None:
    assert schemas["CartOutput"]["properties"]["data"] == {"$ref": "#/components/schemas/Cart"}
    assert schemas["WheelOrWheelListOutput"]["oneOf"] == [
        {"$ref": "#/components/schemas/Wheel"},
        {"$ref": "#/components/schemas/WheelListOutput"},
    ]
