"""Limits of request bodies by address, enforced before a body is read or parsed.

The ASGI handler compares the announced length, and counts what arrives where none is announced; it stops at the limit.
The middleware then answers 413. nginx has the same limits in docker/nginx/locations.conf.template.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.deprecation import MiddlewareMixin

from kamioi_site.errors import error_body
from kamioi_site.storage import StorageFullError, is_storage_full

_REFUSED: Final = "kamioi.body_refused"  # key of the scope
# A file arrives in a form, which adds a few lines to it.
FORM_BYTES: Final = 64 * 1024
# Address, content type, name of the setting; the first match counts, otherwise DATA_UPLOAD_MAX_MEMORY_SIZE.
BODY_LIMITS: Final = [
    (re.compile(address), content_type, setting)
    for address, content_type, setting in (
        (r"/api/transactions/bulk", "application/json", "JSON_LIST_MAX_BYTES"),
        (r"/api/transactions/bulk", "", "STATEMENT_MAX_BYTES"),
        (r"/api/(user|family|business)/upload-bank-file", "", "STATEMENT_MAX_BYTES"),
        (r"/api/admin/bulk-upload(-fast)?", "", "STATEMENT_MAX_BYTES"),
        (r"/admin/(transactions/statementimport|llm_center/mappingimport)/upload/", "", "STATEMENT_MAX_BYTES"),
    )
]

Receive = Callable[[], Awaitable[dict[str, Any]]]


def body_limit(path: str, content_type: str) -> int:
    """Return the largest accepted body in bytes."""
    for address, kind, setting in BODY_LIMITS:
        if address.fullmatch(path) and content_type.lower().startswith(kind):
            return int(getattr(settings, setting)) + (FORM_BYTES if setting == "STATEMENT_MAX_BYTES" else 0)
    return settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0


def limited_receive(scope: dict[str, Any], receive: Receive) -> Receive:
    """Return a `receive` that ends the body as soon as it passes the limit, and marks the request as refused."""
    headers = dict(scope["headers"])
    limit = body_limit(scope["path"], headers.get(b"content-type", b"").decode("latin-1"))
    announced, received = headers.get(b"content-length", b"0"), 0

    async def receive_within_limit() -> dict[str, Any]:
        nonlocal received
        if announced.isdigit() and len(announced) < 19 and int(announced) <= limit:
            message = await receive()
            received += len(message.get("body", b""))
            if received <= limit:
                return message
        scope[_REFUSED] = 413
        return {"type": "http.disconnect"}  # Django closes the file that it has begun

    return receive_within_limit


def refuse_unstored_body(scope: dict[str, Any], error: OSError) -> None:
    """Mark the request as refused when its body could not be stored because the disk is full, else raise the error."""
    if not is_storage_full(error):
        raise error
    scope[_REFUSED] = StorageFullError.status_code


def is_refused(scope: dict[str, Any]) -> bool:
    """Whether the body passed its limit."""
    return _REFUSED in scope


class BodyLimitMiddleware(MiddlewareMixin):
    """Refuse a request whose body is larger than its address accepts."""

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        """Return 413 or 507, or None within the limit."""
        limit = body_limit(request.path_info, request.META.get("CONTENT_TYPE") or "")
        status = getattr(request, "scope", {}).get(_REFUSED)
        if status is None and int(request.META.get("CONTENT_LENGTH") or 0) <= limit:
            return None
        message = f"The request is larger than the limit of {limit:,} bytes."
        if status == StorageFullError.status_code:
            message = str(StorageFullError())
        if request.path.startswith("/api/"):
            return JsonResponse(error_body(message), status=status or 413)
        return HttpResponse(f"{message}\n", status=status or 413, content_type="text/plain; charset=utf-8")
