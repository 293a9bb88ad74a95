"""The web's metrics: a middleware that counts and times requests by route, and the view that Prometheus reads."""

import time
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden, HttpResponseNotFound
from django.http.response import HttpResponseBase
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from kamioi_site.http.asgi_handler import request_arrival_time
from kamioi_site.observability import metrics

_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP")


class RequestMetrics:
    """Counts every request by method, route and status, and times it until its answer begins.

    Stands near the top, so that what other middleware answers counts as well.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer and count."""
        began = request_arrival_time(request)
        with metrics.HTTP_IN_FLIGHT.track_inprogress():
            response = self._get_response(request)
        _count(request, response, time.perf_counter() - began)
        return response


def route_of(request: HttpRequest) -> str:
    """The template of the request's address: `api/tasks/<uuid:task_id>`, never the address itself."""
    if request.resolver_match is not None:
        return request.resolver_match.route or "/"
    return "static" if request.path.startswith(settings.STATIC_URL) else "unmatched"


def _count(request: HttpRequest, response: HttpResponseBase, seconds: float) -> None:
    method = request.method if request.method in _METHODS else "other"
    route = route_of(request)
    metrics.HTTP_REQUESTS.labels(method, route, response.status_code).inc()
    metrics.HTTP_SECONDS.labels(method, route).observe(seconds)


@require_safe
@never_cache
def metrics_view(request: HttpRequest) -> HttpResponse:
    """Everything there is to scrape. For strangers this address does not exist."""
    authorization = request.META.get("HTTP_AUTHORIZATION", "")
    if not metrics.scrape_allowed(
        address=request.META.get("REMOTE_ADDR", ""),
        authorization=authorization,
        forwarded=any(request.META.get(name) for name in _FORWARDED),
    ):
        return HttpResponseForbidden() if authorization else HttpResponseNotFound()
    body, content_type = metrics.exposition(request.META.get("HTTP_ACCEPT", ""))
    return HttpResponse(body, headers={"Content-Type": content_type})
