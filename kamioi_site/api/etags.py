"""Conditional GET: a front end that has the newest answer already is told so with 304 and no body.

What is a customer's own is `Cache-Control: private, no-cache`: their browser may keep it, must ask whether it still holds,
and nobody in between keeps anything. Validators are weak: a compressed answer says the same.
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


class ETagView(ApiView):
    """Base of views whose GET answers 304 to an `If-None-Match` that still holds.

    Where a version of the data is known beforehand, `version` names it and nothing is computed for a 304; else the
    validator is a hash of the body.
    """

    conditional = True  # for the schema
    _etag: str | None = None

    def version(self, request: Request) -> str | None:
        """What changes whenever this answer may change, if that is cheap to know."""
        return None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Answer 304 before anything is computed, where the version says so."""
        super().initial(request, *args, **kwargs)
        if request.method != "GET" or (version := self.version(request)) is None:
            return
        self._etag = _weak(f"{request.user.pk}\n{request.get_full_path()}\n{version}".encode())
        if get_conditional_response(request._request, etag=self._etag) is not None:
            # The handler of this one request.
            vars(self)["get"] = lambda *_, **__: Response(status=status.HTTP_304_NOT_MODIFIED)

    def finalize_response(  # type: ignore[override]  # DRF lets views answer with any of Django's responses
        self, request: Request, response: HttpResponseBase, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        """Mark the answer as the caller's own, with its validator."""
        reply = super().finalize_response(request, cast("Response", response), *args, **kwargs)
        if request.method != "GET" or reply.status_code not in {status.HTTP_200_OK, status.HTTP_304_NOT_MODIFIED}:
            return reply
        patch_cache_control(reply, private=True, no_cache=True)
        patch_vary_headers(reply, ("Authorization", "Cookie"))
        if self._etag:
            reply["ETag"] = self._etag
        elif reply.status_code == status.HTTP_304_NOT_MODIFIED or reply.streaming:
            pass
        elif isinstance(reply, Response):
            reply.add_post_render_callback(_compare(request._request))
        else:
            return _compare(request._request)(reply) or reply
        return reply


def _compare(request: HttpRequest) -> Callable[[Any], HttpResponseBase | None]:
    def compare(rendered: Any) -> HttpResponseBase | None:
        rendered["ETag"] = _weak(rendered.content)
        answer = get_conditional_response(request, etag=rendered["ETag"], response=rendered)
        return None if answer is rendered else answer

    return compare


def _weak(content: bytes) -> str:
    return f'W/"{blake2b(content, digest_size=16).hexdigest()}"'
