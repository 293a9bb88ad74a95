"""Compressed responses: zstd, brotli or gzip, whichever the client accepts, in this order.

- Bodies under a kilobyte are not compressed: they fit into one packet.
- Event streams are not compressed, because a compressor would delay events. Long downloads are compressed in chunks.
- **BREACH**: an attacker who can make a browser repeat a request with a chosen text, and sees the length of the
  responses, can guess a secret that is near that text. So responses with secrets are not compressed: everything under
  `/auth/`, and what a view marks with `uncompressed`. Pages with a form are compressed: the CSRF token is masked and
  the nonce of the Content Security Policy random in every response. Cookies are in headers, which are not compressed.
- Responses that could have been compressed have `Vary: Accept-Encoding`, and their ETag becomes weak.
"""

import re
import zlib
from collections.abc import AsyncIterator
from typing import Any, Final, TypeVar, cast

from compression_middleware.middleware import CompressionMiddleware as BaseCompressionMiddleware
from compression_middleware.middleware import encoding_name
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from zstandard import ZstdCompressor

ResponseT = TypeVar("ResponseT", bound=HttpResponseBase)

MIN_BYTES: Final = 1_000
_SECRET_PATHS: Final = re.compile(r"/auth/")
_COMPRESSED_TYPES: Final = re.compile(r"(image/(?!svg)|video/|audio/|font/|application/(zip|gzip|pdf|vnd\.openxml))")


def uncompressed(response: ResponseT) -> ResponseT:
    """Mark a response that holds a secret near text that the caller chose."""
    response.holds_a_secret = True  # type: ignore[attr-defined]
    return response


class CompressionMiddleware(BaseCompressionMiddleware):
    """django-compression-middleware, with the exceptions above."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Compress the response where that is allowed and worthwhile."""
        content_type = response.get("Content-Type", "")
        if (
            getattr(response, "holds_a_secret", False)
            or _SECRET_PATHS.search(request.path)
            or content_type.startswith("text/event-stream")
            or _COMPRESSED_TYPES.match(content_type)
        ):
            return response
        if isinstance(response, StreamingHttpResponse) and response.is_async:
            return _compress_stream(request, response)
        if not response.streaming and len(getattr(response, "content", b"")) < MIN_BYTES:
            return response
        compressed: HttpResponseBase = super().process_response(request, response)
        return compressed


def _compress_stream(request: HttpRequest, response: StreamingHttpResponse) -> HttpResponseBase:
    """Compress an asynchronous stream, which the package cannot."""
    if response.has_header("Content-Encoding"):
        return response
    patch_vary_headers(response, ("Accept-Encoding",))
    accepted = {encoding_name(name) for name in request.headers.get("Accept-Encoding", "")[:200].split(",")}
    encoding = "zstd" if accepted & {"zstd", "*"} else "gzip" if "gzip" in accepted else None
    if encoding is None:
        return response
    compressor = ZstdCompressor(level=3).compressobj() if encoding == "zstd" else zlib.compressobj(6, wbits=31)
    response.streaming_content = _compress(cast("AsyncIterator[bytes]", response.streaming_content), compressor)
    del response["Content-Length"]
    response["Content-Encoding"] = encoding
    return response


async def _compress(chunks: AsyncIterator[bytes], compressor: Any) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        if data := compressor.compress(chunk):
            yield data
    yield compressor.flush()
