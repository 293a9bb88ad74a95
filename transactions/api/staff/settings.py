"""Settings that staff change while the system runs."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, TypedDict, cast

from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.fields import ANY_TEXT
from kamioi_site.api.payloads import Data, MessageOutput
from kamioi_site.api.validation import contains_invalid_text
from kamioi_site.live_settings import SettingError
from transactions.api.base import current_user
from transactions.api.idempotency import idempotent
from transactions.api.staff.base import StaffView
from transactions.models import Setting
from transactions.services.settings import save_settings

_VALUE: Final = {
    "oneOf": [{"type": "string", "maxLength": 1000, "pattern": ANY_TEXT}, {"type": "number"}, {"type": "boolean"}]
}
_BY_NAME: Final = {"type": "object", "additionalProperties": _VALUE, "minProperties": 1, "maxProperties": 100}
_ROWS: Final = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"key": {"type": "string"}, "value": _VALUE},
        "required": ["key", "value"],
    },
    "minItems": 1,
    "maxItems": 100,
}
_BODY: Final = {
    "anyOf": [
        _BY_NAME,
        _ROWS,
        {"type": "object", "properties": {"settings": {"anyOf": [_BY_NAME, _ROWS]}}, "required": ["settings"]},
    ]
}


class SettingRow(TypedDict):
    """A setting; the value is text, to be read as `type`."""

    key: str
    value: str
    type: Annotated[str, Setting.Type]
    description: str


class SettingsSavedOutput(MessageOutput):
    """All settings after the change."""

    data: list[SettingRow]


class SettingsView(StaffView):
    required_permissions = ("transactions.view_setting",)
    write_permissions = ("transactions.change_setting",)

    @extend_schema(responses={200: Data[list[SettingRow]]}, tags=["settings"])
    def get(self, request: Request) -> Response:
        """Return all settings."""
        return Response({"success": True, "data": _rows()})

    @extend_schema(request={"application/json": _BODY}, responses={200: SettingsSavedOutput}, tags=["settings"])
    @idempotent
    def post(self, request: Request) -> Response:
        """Change all given settings, or none if one is invalid. Type and description stay.

        The body is `{key: value, …}`, `{key, value}` or `{settings: {…} or [{key, value}, …]}`.
        """
        values = _values(request.data)
        save_settings(values=values, actor=current_user(request))
        message = f"{len(values)} setting{'' if len(values) == 1 else 's'} saved."
        return Response({"success": True, "message": message, "data": _rows()})


def _rows() -> list[SettingRow]:
    return cast("list[SettingRow]", list(Setting.objects.values("key", "value", "type", "description")))


def _values(body: Any) -> dict[str, str]:
    """Return the settings of a body in any of its formats. Raises ValidationError."""
    items = body.get("settings", body) if isinstance(body, Mapping) else body
    if isinstance(items, Mapping) and {"key", "value"} <= set(items) <= {"key", "value", "type", "description"}:
        items = [items]
    if isinstance(items, list) and all(isinstance(item, Mapping) and {"key", "value"} <= set(item) for item in items):
        items = {str(item["key"]): item["value"] for item in items}
    if not isinstance(items, Mapping) or not 0 < len(items) <= 100:
        raise ValidationError({"settings": ["Send {key: value}, or {settings: [{key, value}]}."]})
    values = {}
    for key, value in items.items():
        if contains_invalid_text(key):
            raise SettingError("There is no such setting.")
        if not isinstance(value, (str, int, float)) or len(str(value)) > 1000 or contains_invalid_text(value):
            raise ValidationError({str(key): ["Must be a text, a number, true or false."]})
        values[str(key)] = str(value).lower() if isinstance(value, bool) else str(value)
    return values
