"""Fields of request bodies. Each documents exactly what it accepts, so the schema and the validation never differ."""

import re
from collections.abc import Hashable
from decimal import Decimal
from typing import Any, Final

from django.conf import settings
from drf_spectacular.extensions import OpenApiSerializerFieldExtension
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.fields import empty

ID_MAX: Final = 2**63 - 1  # the largest bigint
# A character that is seen: no control character and no space of any width.
_VISIBLE: Final = r"[^\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff]"
# PostgreSQL cannot store NUL.
ANY_TEXT: Final = r"^[^\u0000]*$"
_NOT_BLANK: Final = rf"^[^\u0000]*{_VISIBLE}[^\u0000]*$"


class DocumentedField:
    """A field that writes its own schema."""

    def schema(self) -> dict[str, Any]:
        """Return what the field accepts, without null."""
        raise NotImplementedError


class DocumentedFieldExtension(OpenApiSerializerFieldExtension):
    """Lets drf-spectacular ask the field."""

    target_class = DocumentedField
    match_subclasses = True

    def map_serializer_field(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        """Return the schema of the field."""
        schema: dict[str, Any] = self.target.schema()
        return schema


class TextField(DocumentedField, serializers.CharField):
    """Text, without spaces around it. `max_length` counts them."""

    def run_validation(self, data: Any = empty) -> Any:
        """Refuse numbers, which DRF takes for text, and text of which nothing is seen."""
        if isinstance(data, (int, float)):
            self.fail("invalid")
        if isinstance(data, str):
            if self.max_length is not None and len(data) > self.max_length:
                self.fail("max_length", max_length=self.max_length)
            if self.trim_whitespace and not self.allow_blank and not re.search(_VISIBLE, data):
                self.fail("blank")
        return super().run_validation(data)

    def schema(self) -> dict[str, Any]:
        """Return length and pattern."""
        length = {} if self.max_length is None else {"maxLength": self.max_length}
        if self.allow_blank:
            return {"type": "string", "pattern": ANY_TEXT} | length
        pattern = _NOT_BLANK if self.trim_whitespace else ANY_TEXT
        return {"type": "string", "pattern": pattern, "minLength": 1} | length


class TickerField(TextField):
    """A ticker of up to twelve ASCII characters."""

    default_error_messages = {"invalid_ticker": "Must be a ticker, such as BRK.B."}

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=12, **options)

    def run_validation(self, data: Any = empty) -> Any:
        """Return the ticker in capital letters, with a dot before its class."""
        if isinstance(data, str) and not (data.isascii() and data.isprintable()):
            self.fail("invalid_ticker")
        value = super().run_validation(data)
        return value.upper().replace("-", ".") if isinstance(value, str) else value

    def schema(self) -> dict[str, Any]:
        """Return the characters."""
        return super().schema() | {"pattern": "^[ -~]*$" if self.allow_blank else "^[ -~]*[!-~][ -~]*$"}


class EmailField(TextField, serializers.EmailField):
    """An e-mail address."""

    def schema(self) -> dict[str, Any]:
        """Return the format."""
        return {"type": "string", "format": "email", "maxLength": self.max_length}


class PasswordField(TextField):
    """A password, with the spaces around it. The length of a new one is checked by Django's validators."""

    def __init__(self, *, new: bool = False, **options: Any) -> None:
        self.new = new
        super().__init__(max_length=1024, trim_whitespace=False, **options)

    def schema(self) -> dict[str, Any]:
        """Return the shortest length of a new password too."""
        return super().schema() | ({"minLength": settings.PASSWORD_LENGTH_MIN} if self.new else {})


class BooleanField(DocumentedField, serializers.BooleanField):
    """True or false: of JSON, or as a number or text."""

    _MEANINGS: Final = {False: False, True: True, "false": False, "true": True, "0": False, "1": True}

    def to_internal_value(self, data: Any) -> bool:
        """Return the value; DRF takes `on`, `y` and more."""
        if not isinstance(data, Hashable) or data not in self._MEANINGS:
            self.fail("invalid", input=data)
        return self._MEANINGS[data]

    def schema(self) -> dict[str, Any]:
        """Return the three types."""
        return self._types({False, True})

    def _types(self, meanings: set[bool]) -> dict[str, Any]:
        texts = [text for text, meaning in self._MEANINGS.items() if isinstance(text, str) and meaning in meanings]
        return {
            "oneOf": [
                {"type": "boolean", "enum": sorted(meanings)},
                {"type": "integer", "enum": sorted(map(int, meanings))},
                {"type": "string", "enum": texts},
            ]
        }


class ConsentField(BooleanField):
    """A consent that must be given; without it the request is refused with `refusal`."""

    def __init__(self, *, refusal: str, **options: Any) -> None:
        super().__init__(error_messages={"refusal": refusal}, **options)

    def to_internal_value(self, data: Any) -> bool:
        """Return true."""
        return super().to_internal_value(data) or self.fail("refusal")

    def schema(self) -> dict[str, Any]:
        """Return what means true."""
        return self._types({True})


class _NumberField(DocumentedField):
    """A number, or the same number as text: forms send text, and a decimal text is exact.

    `pattern` describes the text. It has plain digits: Python also reads `１２`, `1_000` and `1e3`.
    """

    pattern: str
    number: dict[str, Any]

    def to_internal_value(self: Any, data: Any) -> Any:
        """Refuse other text."""
        if isinstance(data, str) and not re.fullmatch(self.pattern, data):
            self.fail("invalid")
        return super().to_internal_value(data)  # type: ignore[misc]

    def schema(self: Any) -> dict[str, Any]:
        """Return both types."""
        return {"oneOf": [self.number, {"type": "string", "pattern": self.pattern}]}


class IntegerField(_NumberField, serializers.IntegerField):
    """A whole number from 1 to a maximum that is a power of ten, or an id."""

    def __init__(self, *, max_value: int, **options: Any) -> None:
        self.pattern = rf"^([1-9][0-9]{{0,{len(str(max_value)) - 2}}}|{max_value})$"
        self.number = {"type": "integer", "minimum": 1, "maximum": max_value}
        super().__init__(min_value=1, max_value=max_value, **options)


class IdField(IntegerField):
    """The id of a row."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_value=ID_MAX, **options)


class DecimalField(_NumberField, serializers.DecimalField):
    """A decimal number with at most `places` decimals; any number of them without `places`."""

    def __init__(
        self, *, pattern: str, min_value: Decimal, max_value: Decimal, places: int | None = None, **options: Any
    ) -> None:
        self.pattern = pattern
        self.number = {"type": "number", "minimum": float(min_value), "maximum": float(max_value)}
        digits = None
        if places is not None:
            digits = len(str(int(max_value))) + places
            self.number["multipleOf"] = 10.0**-places
        super().__init__(max_digits=digits, decimal_places=places, min_value=min_value, max_value=max_value, **options)

    def to_internal_value(self, data: Any) -> Decimal:
        """Return the number; a binary fraction is read as JavaScript's 0.1 + 0.2 is meant, as 0.3."""
        if isinstance(data, float):
            data = Decimal(f"{data:.15g}")
        value: Decimal = super().to_internal_value(data)
        return value


class MoneyField(DecimalField):
    """Dollars and cents below a trillion; more than zero, or zero too."""

    def __init__(self, *, zero: bool = False, **options: Any) -> None:
        super().__init__(
            pattern=r"^([0-9]{1,12}(\.[0-9]{1,2})?|\.[0-9]{1,2})$"
            if zero
            else r"^0?([1-9][0-9]{0,11}(\.[0-9]{1,2})?|\.(0[1-9]|[1-9][0-9]?))$",
            min_value=Decimal(0) if zero else Decimal("0.01"),
            max_value=Decimal("999999999999.99"),
            places=2,
            **options,
        )


@extend_schema_field(OpenApiTypes.BINARY)
class UploadField(serializers.FileField):
    """A file in a form."""
