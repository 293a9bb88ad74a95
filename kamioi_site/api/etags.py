"""Conditional GET: a client that has the current response gets 304 and no body.

Responses are `Cache-Control: private, no-cache`: the browser may store them but must revalidate, and no proxy stores
them. Validators are weak, because a compressed response is equivalent.
"""

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, cast

from django.http import HttpRequest, HttpResponseBase
from django.utils.cache import get_conditional_response, patch_cache_control, patch_vary_headers
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.views import ApiView


class _NotModifiedError(Exception):
    """The client has the current response."""


class ETagView(ApiView):
    """Base of views whose GET returns 304 for a current `If-None-Match`.

    If `version` returns a version of the data, nothing is computed for a 304; otherwise the validator is a hash of
    the body.
    """

    conditional = True  # for the schema
    _etag: str | None = None

    def version(self, request: Request) -> str | None:
        """Return what changes whenever the response may change, None if that is expensive to know."""
        return None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Compare the version of the data before anything is computed."""
        super().initial(request, *args, **kwargs)
        if request.method != "GET" or (version := self.version(request)) is None:
            return
        self._etag = _weak(f"{request.user.pk}\n{request.get_full_path()}\n{version}".encode())
        if get_conditional_response(request._request, etag=self._etag) is not None:
            raise _NotModifiedError

    def handle_exception(self, exc: Exception) -> Response:
        """Return 304 when the client's version is current."""
        if isinstance(exc, _NotModifiedError):
            return Response(status=status.HTTP_304_NOT_MODIFIED)
        return super().handle_exception(exc)

    def finalize_response(  # type: ignore[override]  # DRF lets views return any of Django's responses
        self, request: Request, response: HttpResponseBase, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """Add the validator and the cache headers."""
        final = super().finalize_response(request, cast("Response", response), *args, **kwargs)
        if request.method != "GET" or final.status_code not in {status.HTTP_200_OK, status.HTTP_304_NOT_MODIFIED}:
            return final
        patch_cache_control(final, private=True, no_cache=True)
        patch_vary_headers(final, ("Authorization", "Cookie"))
        if self._etag:
            final["ETag"] = self._etag
        elif final.status_code == status.HTTP_304_NOT_MODIFIED or final.streaming:
            pass
        elif isinstance(final, Response):
            final.add_post_render_callback(_compare(request._request))
        else:
            return _compare(request._request)(final) or final
        return final


def _compare(request: HttpRequest) -> Callable[[Any], HttpResponseBase | None]:
    def compare(rendered: Any) -> HttpResponseBase | None:
        rendered["ETag"] = _weak(rendered.content)
        response = get_conditional_response(request, etag=rendered["ETag"], response=rendered)
        return None if response is rendered else response

    return compare


def _weak(content: bytes) -> str:
    return f'W/"{blake2b(content, digest_size=16).hexdigest()}"'
