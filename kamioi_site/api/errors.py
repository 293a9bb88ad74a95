"""Error responses: `{"success": false, "error": "text"}`, with `errors: {field: [texts]}` for invalid fields."""

import logging
import sys
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import DataError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views import defaults
from rest_framework import exceptions, status
from rest_framework.response import Response
from rest_framework.views import set_rollback

from kamioi_site.db.outage import DATABASE_AWAY, DATABASE_AWAY_RETRY_SECONDS, is_database_away
from kamioi_site.errors import KamioiError, error_body
from kamioi_site.http.unavailable import unavailable_response
from kamioi_site.storage import StorageFullError, is_storage_full

logger = logging.getLogger(__name__)


class PayloadTooLargeError(exceptions.APIException):
    """The request is larger than this endpoint accepts."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = "The request is larger than this endpoint accepts."
    default_code = "too_large"


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response | None:
    """Return the response for an exception of a view; None for a bug, which becomes a logged 500."""
    headers: dict[str, str] = {}
    errors: dict[str, list[str]] = {}
    exc = _as_api_error(exc)
    match exc:
        case KamioiError():
            code, message = exc.status_code, str(exc)
        case exceptions.ValidationError():
            code, errors = exc.status_code, _field_errors(exc.detail)
            message = _first(errors)
        case DjangoValidationError():
            detail = exc.message_dict if hasattr(exc, "error_dict") else exc.messages
            code, errors = status.HTTP_400_BAD_REQUEST, _field_errors(detail)
            message = _first(errors)
        case exceptions.APIException():
            code, message = exc.status_code, str(exc.detail)
            if header := getattr(exc, "auth_header", None):
                headers["WWW-Authenticate"] = header
        case Http404():
            code, message = status.HTTP_404_NOT_FOUND, "Not found."
        case PermissionDenied():
            code, message = status.HTTP_403_FORBIDDEN, "Permission denied."
        case SuspiciousOperation():  # too many fields, a file name that is a path …
            code, message = status.HTTP_400_BAD_REQUEST, "Invalid request."
        case DataError():
            # A value that no column can store passed a serializer. The client can change it; we should notice.
            logger.warning("a value reached the database that it cannot store: %s", exc)
            code, message = status.HTTP_400_BAD_REQUEST, "A value of the request is out of range."
        case OperationalError() | InterfaceError() if is_database_away(exc):
            logger.warning("the database is away: %s", exc)
            code, message = status.HTTP_503_SERVICE_UNAVAILABLE, DATABASE_AWAY
            headers["Retry-After"] = str(DATABASE_AWAY_RETRY_SECONDS)
        case _:
            return None
    if (wait := getattr(exc, "wait", None)) is not None:
        headers["Retry-After"] = str(int(wait))
    set_rollback()
    body = error_body(message, errors) | dict(getattr(exc, "details", None) or {})
    return Response(body, status=code, headers=headers)


def _as_api_error(exc: Exception) -> Exception:
    """Translate what goes wrong while a body is read; its files are written to disk."""
    if isinstance(exc, RequestDataTooBig):
        return PayloadTooLargeError()
    return StorageFullError() if is_storage_full(exc) else exc


def _field_errors(detail: Any, prefix: str = "") -> dict[str, list[str]]:
    """Flatten DRF's nested details: `{"items.3.amount": ["A valid number is required."]}`."""
    if isinstance(detail, Mapping):
        parts = list(detail.items())
    elif isinstance(detail, list) and any(isinstance(item, (Mapping, list)) for item in detail):
        parts = list(enumerate(detail))
    else:
        texts = [str(item) for item in detail] if isinstance(detail, list) else [str(detail)]
        return {prefix or "non_field_errors": texts} if texts else {}
    return {
        name: texts
        for key, value in parts
        for name, texts in _field_errors(value, f"{prefix}.{key}" if prefix else str(key)).items()
    }


def _first(errors: dict[str, list[str]]) -> str:
    for field, texts in errors.items():
        return texts[0] if field in {"non_field_errors", "__all__"} else f"{field}: {texts[0]}"
    return "Invalid request."


def page_not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer an unknown URL with 404: JSON under /api/, the usual page elsewhere."""
    if request.path.startswith("/api/"):
        return JsonResponse(error_body("Not found."), status=404)
    return defaults.page_not_found(request, exception or Http404())


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """Answer 400 for a request that reached no view: JSON under /api/, the usual page elsewhere."""
    if request.path.startswith("/api/"):
        return JsonResponse(error_body("Invalid request."), status=400)
    return defaults.bad_request(request, exception or SuspiciousOperation())


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 500: JSON under /api/, the usual page elsewhere. Details go to the log only.

    A full disk is 507, a database that is away 503.
    """
    error = sys.exc_info()[1]  # the error that Django handles by calling this
    if is_database_away(error):
        return unavailable_response(request, DATABASE_AWAY, retry_seconds=DATABASE_AWAY_RETRY_SECONDS)
    if is_storage_full(error):
        return HttpResponse(f"{StorageFullError()}\n", status=507, content_type="text/plain; charset=utf-8")
    if request.path.startswith("/api/"):
        return JsonResponse(error_body("Internal server error."), status=500)
    return defaults.server_error(request)
