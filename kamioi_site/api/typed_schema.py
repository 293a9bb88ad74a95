"""Document TypedDicts as response bodies, so that every payload has one definition.

A TypedDict works wherever drf-spectacular takes a serializer: `@extend_schema(responses={200: Portfolio})`.
`Annotated` adds what a type cannot say: a text becomes the description, a `Choices` class or a `Literal` the enum.
"""

from inspect import cleandoc
from types import NoneType, UnionType
from typing import Annotated, Any, NotRequired, Required, Union, get_args, get_origin, get_type_hints, is_typeddict

from django.db.models import Choices
from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import (
    build_array_type,
    build_basic_type,
    build_choice_field,
    build_object_type,
    resolve_type_hint,
)
from drf_spectacular.types import OpenApiTypes
from rest_framework import serializers


class TypedDictExtension(OpenApiSerializerExtension):
    """Turns a TypedDict, `Data[…]` or a union of TypedDicts into a component of the schema."""

    @classmethod
    def _matches(cls, target: Any) -> bool:
        return all(_is_typed_dict(member) for member in (get_args(target) if _is_union(target) else [target]))

    def get_name(self, auto_schema: AutoSchema, direction: Any) -> str:
        """Return the name of the component: that of the class, `PortfolioOutput` for `Data[Portfolio]`."""
        return _name(self.target)

    def map_serializer(self, auto_schema: AutoSchema, direction: Any) -> dict[str, Any]:
        """Return the schema of the type."""
        if _is_union(self.target):
            return {"oneOf": [_schema(member, auto_schema) for member in get_args(self.target)]}
        cls = get_origin(self.target) or self.target
        arguments = dict(zip(getattr(cls, "__parameters__", ()), get_args(self.target), strict=True))
        hints = {name: arguments.get(hint, hint) for name, hint in get_type_hints(cls, include_extras=True).items()}
        return build_object_type(
            properties={name: _schema(hint, auto_schema) for name, hint in hints.items()},
            required=[name for name in hints if name in cls.__required_keys__],
            description=cleandoc(cls.__doc__ or ""),
        )


def _is_typed_dict(hint: Any) -> bool:
    return is_typeddict(get_origin(hint) or hint)


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in {Union, UnionType}


def _name(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if _is_union(hint):
        return "Or".join(_name(member) for member in arguments)
    if origin is list:
        return f"{_name(arguments[0])}List"
    if origin is dict:
        return "Object"
    return f"{_name(arguments[0])}Output" if arguments else str(hint.__name__)


def _schema(hint: Any, auto_schema: AutoSchema) -> dict[str, Any]:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {Required, NotRequired}:
        return _schema(arguments[0], auto_schema)
    if origin is Annotated:
        schema = _schema(arguments[0], auto_schema)
        for extra in arguments[1:]:
            schema |= {"description": extra} if isinstance(extra, str) else _enum(extra)
        return schema
    if _is_union(hint) and NoneType in arguments:
        members = [member for member in arguments if member is not NoneType]
        schema = _schema(Union[tuple(members)], auto_schema)  # noqa: UP007  # of a tuple
        return ({"allOf": [schema]} if "$ref" in schema else schema) | {"nullable": True}
    if _is_typed_dict(hint):
        reference: dict[str, Any] = auto_schema.resolve_serializer(hint, "response").ref
        return reference
    if origin is list:
        return build_array_type(_schema(arguments[0], auto_schema))
    if origin is dict:
        values = {} if arguments[1] is Any else _schema(arguments[1], auto_schema)
        return (build_basic_type(OpenApiTypes.OBJECT) or {}) | {"additionalProperties": values}
    return dict(resolve_type_hint(hint))


def _enum(values: Any) -> dict[str, Any]:
    if isinstance(values, type) and issubclass(values, Choices):
        return dict(build_choice_field(serializers.ChoiceField(choices=values.choices)))
    return dict(resolve_type_hint(values))  # a Literal
