"""The audit trail of staff: one row per request that changes or downloads data, and per login.

The middleware covers the admin and the API alike, so no view can omit it by mistake; one that only reads in reply to
a POST is marked (`changes_nothing`). Request bodies are not stored, because they contain user input; the ids of the
affected rows are.
"""

import logging
from typing import Any

from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import DatabaseError
from django.http import HttpRequest, QueryDict
from django.http.response import HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

from kamioi_site.http.request_context import request_id
from transactions.models import AuditEvent, User

logger = logging.getLogger(__name__)

_SAFE_METHODS = {"GET", "HEAD", "OPTIONS", "TRACE"}
# Form fields and JSON members that identify the rows of a request.
_TARGET_FIELDS = (
    "_selected_action",
    "action",
    "mapping_id",
    "mapping_ids",
    "transaction_id",
    "transaction_ids",
    "user_id",
    "key",
)
_TARGET_LENGTH = 500


class AuditMiddleware(MiddlewareMixin):
    """Write the row after the response. If that fails, an error is logged and the response is sent all the same."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        is_download = "attachment" in response.headers.get("Content-Disposition", "")
        if request.method in _SAFE_METHODS and not is_download:
            return response
        user = getattr(request, "user", None)  # DRF sets the owner of the token
        if not isinstance(user, User) or not user.is_staff:
            return response
        match = request.resolver_match
        if getattr(getattr(match and match.func, "view_class", None), "changes_nothing", False):
            return response
        _write(
            request,
            kind=AuditEvent.Kind.CHANGE if request.method not in _SAFE_METHODS else AuditEvent.Kind.DOWNLOAD,
            user=user,
            action=f"{request.method} {match.view_name if match and match.view_name else request.path}",
            target=_target(request),
            status=response.status_code,
        )
        return response


def _target(request: HttpRequest) -> str:
    """Describe the rows that the URL and the form identify."""
    match = request.resolver_match
    target: dict[str, Any] = dict(match.kwargs) if match else {}
    form = request.POST if request.method == "POST" and hasattr(request, "_post") else QueryDict()
    data = getattr(request, "audit_data", None)
    for name in _TARGET_FIELDS:
        if name in form:
            target[name] = form.getlist(name)
        elif isinstance(data, dict) and name in data:
            target[name] = data[name]
    return " ".join(f"{name}={value}" for name, value in target.items())[:_TARGET_LENGTH]


def _write(request: HttpRequest | None, **values: Any) -> None:
    address = request.META.get("REMOTE_ADDR") or None if request is not None else None
    try:
        AuditEvent.objects.create(address=address, request_id=request_id(), **values)
    except (DatabaseError, ValueError):
        logger.exception("an action of staff could not be written to the audit trail: %s", values)


def _logged_in(sender: Any, request: HttpRequest | None, user: User, **_: Any) -> None:
    if user.is_staff:
        _write(request, kind=AuditEvent.Kind.LOG_IN, user=user, action="log in")


def _logged_out(sender: Any, request: HttpRequest | None, user: User | None, **_: Any) -> None:
    if user is not None and user.is_staff:
        _write(request, kind=AuditEvent.Kind.LOG_OUT, user=user, action="log out")


def _log_in_failed(sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    """Record failures for staff accounts only; other input is not stored."""
    user = User.objects.with_email(str(credentials.get("username") or "")).filter(is_staff=True).first()
    if user is not None:
        _write(request, kind=AuditEvent.Kind.LOG_IN_FAILED, user=user, action="log in")


def connect() -> None:
    user_logged_in.connect(_logged_in, dispatch_uid="audit")
    user_logged_out.connect(_logged_out, dispatch_uid="audit")
    user_login_failed.connect(_log_in_failed, dispatch_uid="audit")
