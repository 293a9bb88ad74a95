"""Compressed answers: zstd, brotli or gzip, whichever of them the caller names and in this order.

- Bodies under a kilobyte go as they are: they fit into one packet anyway.
- Streams of events go as they are: an event that waits in a compressor arrives late. Long downloads are compressed as they come.
- **BREACH.** Who can make a person's browser repeat a request with a text of their choice, and sees the length of the answers,
  can guess a secret that stands beside that text. So answers with secrets are not compressed: all of log-in and
  registration (`/auth/`), and whatever a view marks with `uncompressed`. Pages with a form are: Django masks the CSRF token anew
  in every answer, and the nonce of the Content Security Policy is random in each, so neither can be guessed letter by letter.
  Session cookies stand in headers, which are not compressed with the body.
- `Vary: Accept-Encoding` is on every answer that could have been compressed, and an ETag becomes a weak one.
"""

import re
import zlib
from collections.abc import AsyncIterator
from typing import Any, Final, TypeVar, cast

from compression_middleware.middleware import CompressionMiddleware as AnyCompression
from compression_middleware.middleware import encoding_name
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from zstandard import ZstdCompressor

ResponseT = TypeVar("ResponseT", bound=HttpResponseBase)

SMALLEST: Final = 1_000  # bytes
_SECRETS: Final = re.compile(r"/auth/")
# What is compressed already gains nothing.
_PACKED: Final = re.compile(r"(image/(?!svg)|video/|audio/|font/|application/(zip|gzip|pdf|vnd\.openxml))")


def uncompressed(response: ResponseT) -> ResponseT:
    """Say that the answer holds a secret beside what the caller chose."""
    response.holds_a_secret = True  # type: ignore[attr-defined]
    return response


class CompressionMiddleware(AnyCompression):
    """django-compression-middleware's, for what may be compressed."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """The answer, compressed where it may be and where it helps."""
        kind = response.get("Content-Type", "")
        if (
            getattr(response, "holds_a_secret", False)
            or _SECRETS.search(request.path)
            or kind.startswith("text/event-stream")
            or _PACKED.match(kind)
        ):
            return response
        if isinstance(response, StreamingHttpResponse):
            return (
                _stream_packed(request, response) if response.is_async else super().process_response(request, response)
            )
        if len(getattr(response, "content", b"")) < SMALLEST:
            return response
        packed: HttpResponseBase = super().process_response(request, response)
        return packed


def _stream_packed(request: HttpRequest, response: StreamingHttpResponse) -> HttpResponseBase:
    """An asynchronous stream; the package's own compressors read synchronous ones only."""
    if response.has_header("Content-Encoding"):
        return response
    patch_vary_headers(response, ("Accept-Encoding",))
    named = {encoding_name(one) for one in request.headers.get("Accept-Encoding", "")[:200].split(",")}
    encoding = "zstd" if named & {"zstd", "*"} else "gzip" if "gzip" in named else None
    if encoding is None:
        return response
    packer = ZstdCompressor(level=3).compressobj() if encoding == "zstd" else zlib.compressobj(6, wbits=31)
    response.streaming_content = _packed(cast("AsyncIterator[bytes]", response.streaming_content), packer)
    del response["Content-Length"]
    response["Content-Encoding"] = encoding
    return response


async def _packed(pieces: AsyncIterator[bytes], packer: Any) -> AsyncIterator[bytes]:
    async for piece in pieces:
        if ready := packer.compress(piece):
            yield ready
    yield packer.flush()
