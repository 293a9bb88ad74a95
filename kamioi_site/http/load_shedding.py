"""More requests than can be answered: those that waited too long are refused at once, so that the others are answered in time.

Without this everybody waits longer and longer, and the work is done for clients that have given up. A request that waited
`WEB_WAIT_SECONDS` for a thread costs a refusal only (503 with `Retry-After`), it was not begun, and may be sent again. Probes and
metrics do not wait: they have threads of their own (`kamioi_site.http.asgi_handler`).
"""

import contextlib
import time

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import Resolver404, resolve
from django.utils.deprecation import MiddlewareMixin

from kamioi_site.errors import error_body
from kamioi_site.http.asgi_handler import request_arrival_time
from kamioi_site.observability import metrics

_COME_BACK = "5"
_TEXT = "Too much is asked for at the moment. Try again in a few seconds."


class LoadSheddingMiddleware(MiddlewareMixin):
    """Refuses what waited too long for a thread."""

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        """503, or None when there is time."""
        limit = settings.WEB_WAIT_SECONDS
        if not limit or time.perf_counter() - request_arrival_time(request) <= limit:
            return None
        metrics.HTTP_SHED.inc()
        with contextlib.suppress(Resolver404):  # the error budget is kept by route
            request.resolver_match = resolve(request.path_info)
        headers = {"Retry-After": _COME_BACK}
        if request.path.startswith("/api/"):
            return JsonResponse(error_body(_TEXT), status=503, headers=headers)
        return HttpResponse(f"{_TEXT}\n", status=503, headers=headers, content_type="text/plain; charset=utf-8")
