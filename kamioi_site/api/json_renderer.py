"""JSON of the API by msgspec; a Decimal is written digit by digit, so no amount becomes a binary fraction."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from rest_framework.renderers import JSONRenderer
from rest_framework.utils.encoders import JSONEncoder


class ExactJSONRenderer(JSONRenderer):
    """Renders JSON with exact amounts."""

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        """Return the body; indented JSON is left to DRF."""
        if data is None:
            return b""
        if renderer_context and self.get_indent(accepted_media_type or "", renderer_context):
            return super().render(data, accepted_media_type, renderer_context)
        return json_bytes(data)


def _encode_other(value: Any) -> Any:
    """Encode subclasses of plain values, and the types of DRF's encoder."""
    if isinstance(value, str):
        return str.__str__(value)  # `str()` of a safe string returns itself
    if isinstance(value, (int, float)):
        return int(value) if isinstance(value, int) else float(value)
    return _drf_encoder.default(value)


_drf_encoder: Final = JSONEncoder()
# Encodes a value: amounts are numbers with all their digits, times in UTC end with Z.
json_bytes: Final = msgspec.json.Encoder(decimal_format="number", enc_hook=_encode_other).encode
