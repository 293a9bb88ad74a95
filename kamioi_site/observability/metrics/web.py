"""Web metrics: a middleware that counts and times requests by route, and the view that Prometheus scrapes."""

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


class RequestMetricsMiddleware:
    """Count every request by method, route and status, and time it until its response starts.

    It is near the top of the middlewares, so responses of other middlewares count as well.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = request_arrival_time(request)
        with metrics.HTTP_IN_FLIGHT.track_inprogress():
            response = self._get_response(request)
        _count(request, response, time.perf_counter() - started)
        return response


def route_template(request: HttpRequest) -> str:
    """Return the URL pattern of the request, such as `api/tasks/<uuid:task_id>`, never the path itself."""
    if request.resolver_match is not None:
        return request.resolver_match.route or "/"
    return "static" if request.path.startswith(settings.STATIC_URL) else "unmatched"


def _count(request: HttpRequest, response: HttpResponseBase, seconds: float) -> None:
    method = request.method if request.method in _METHODS else "other"
    route = route_template(request)
    metrics.HTTP_REQUESTS.labels(method, route, response.status_code).inc()
    metrics.HTTP_SECONDS.labels(method, route).observe(seconds)


@require_safe
@never_cache
def metrics_view(request: HttpRequest) -> HttpResponse:
    """Expose all metrics; without permission this URL does not exist."""
    authorization = request.META.get("HTTP_AUTHORIZATION", "")
    if not metrics.scrape_allowed(
        address=request.META.get("REMOTE_ADDR", ""),
        authorization=authorization,
        forwarded=any(request.META.get(name) for name in _FORWARDED),
    ):
        return HttpResponseForbidden() if authorization else HttpResponseNotFound()
    body, content_type = metrics.exposition(request.META.get("HTTP_ACCEPT", ""))
    return HttpResponse(body, headers={"Content-Type": content_type})
