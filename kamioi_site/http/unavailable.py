"""The response of a process that cannot work now: 503 with `Retry-After`, JSON under /api/ and text elsewhere."""

from django.http import HttpRequest, HttpResponse, JsonResponse

from kamioi_site.errors import error_body


def unavailable_response(request: HttpRequest, message: str, *, retry_seconds: int) -> HttpResponse:
    """Return 503 and when to repeat the request."""
    headers = {"Retry-After": str(retry_seconds)}
    if request.path.startswith("/api/"):
        return JsonResponse(error_body(message), status=503, headers=headers)
    return HttpResponse(f"{message}\n", status=503, headers=headers, content_type="text/plain; charset=utf-8")
