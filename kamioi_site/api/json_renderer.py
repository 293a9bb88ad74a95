"""JSON of the API: quick, and exact where it is about money."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from rest_framework.renderers import JSONRenderer
from rest_framework.utils.encoders import JSONEncoder


class ExactJSONRenderer(JSONRenderer):
    """JSON by msgspec. A Decimal is written digit by digit, so no amount goes through binary fractions."""

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        """The body."""
        if data is None:
            return b""
        if renderer_context and self.get_indent(accepted_media_type or "", renderer_context):
            return super().render(data, accepted_media_type, renderer_context)
        return json_bytes(data)


def _json_other(value: Any) -> Any:
    """What msgspec does not know: subclasses of plain values, and what DRF's encoder knows beside."""
    if isinstance(value, str):
        return str.__str__(value)  # a safe string is its own `str()`
    if isinstance(value, (int, float)):
        return int(value) if isinstance(value, int) else float(value)
    return _drf_encoder.default(value)


_drf_encoder: Final = JSONEncoder()
json_bytes: Final = msgspec.json.Encoder(decimal_format="number", enc_hook=_json_other).encode
"""A value as JSON; amounts are numbers with all their digits, times of UTC end with Z."""
