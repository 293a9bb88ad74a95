"""Load shedding: a request that waited too long for a thread is refused at once.

Otherwise an overloaded process works for clients that have given up, and everyone waits longer and longer. A request
that waited `WEB_WAIT_SECONDS` gets 503 with `Retry-After`. It was not started, so it is safe to repeat. Probes and
metrics have their own threads (`kamioi_site.http.asgi_handler`).
"""

import contextlib
import time
from typing import Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, resolve
from django.utils.deprecation import MiddlewareMixin

from kamioi_site.http.asgi_handler import request_arrival_time
from kamioi_site.http.unavailable import unavailable_response
from kamioi_site.observability import metrics

_RETRY_SECONDS: Final = 5
_MESSAGE: Final = "The service is overloaded. Try again in a few seconds."


class LoadSheddingMiddleware(MiddlewareMixin):
    """Refuse requests that waited too long for a thread."""

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        """Return 503, or None within the limit."""
        limit = settings.WEB_WAIT_SECONDS
        if not limit or time.perf_counter() - request_arrival_time(request) <= limit:
            return None
        metrics.HTTP_SHED.inc()
        with contextlib.suppress(Resolver404):  # metrics count by route
            request.resolver_match = resolve(request.path_info)
        return unavailable_response(request, _MESSAGE, retry_seconds=_RETRY_SECONDS)
