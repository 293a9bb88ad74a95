"""Who of the staff did what: one row for each request that changes something or takes data out, and for each log-in.

The middleware sees every way in alike (admin, actions of lists, API by token or session), so no page can forget it.
Bodies are not kept: they hold what people typed. The ids of the rows are.
"""

import logging
from typing import Any

from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import DatabaseError
from django.db.models.functions import Lower
from django.http import HttpRequest, QueryDict
from django.http.response import HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

from transactions.models import AuditEvent, User

logger = logging.getLogger(__name__)

_HARMLESS = {"GET", "HEAD", "OPTIONS", "TRACE"}
# Names of form fields and of JSON members that say which rows a request is about.
_NAMING = (
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
    """Writes the row after the answer is known. Should writing fail, the log says so as an error: the answer stands."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Note what a member of staff did."""
        takes_out = "attachment" in response.headers.get("Content-Disposition", "")
        if request.method in _HARMLESS and not takes_out:
            return response
        user = getattr(request, "user", None)  # DRF puts the owner of the token there
        if not isinstance(user, User) or not user.is_staff:
            return response
        match = request.resolver_match
        _write(
            request,
            kind=AuditEvent.Kind.CHANGE if request.method not in _HARMLESS else AuditEvent.Kind.DOWNLOAD,
            user=user,
            action=f"{request.method} {match.view_name if match and match.view_name else request.path}",
            target=_target(request),
            status=response.status_code,
        )
        return response


def _target(request: HttpRequest) -> str:
    """The rows that the address and the form name."""
    match = request.resolver_match
    named: dict[str, Any] = dict(match.kwargs) if match else {}
    form = request.POST if request.method == "POST" and hasattr(request, "_post") else QueryDict()
    data = getattr(request, "audit_data", None)
    for name in _NAMING:
        if name in form:
            named[name] = form.getlist(name)
        elif isinstance(data, dict) and name in data:
            named[name] = data[name]
    return " ".join(f"{name}={value}" for name, value in named.items())[:_TARGET_LENGTH]


def _write(request: HttpRequest | None, **values: Any) -> None:
    address = request.META.get("REMOTE_ADDR") or None if request is not None else None
    request_id = str(getattr(request, "request_id", ""))[:64]
    try:
        AuditEvent.objects.create(address=address, request_id=request_id, **values)
    except (DatabaseError, ValueError):
        logger.exception("an action of staff is missing from the audit trail: %s", values)


def _logged_in(sender: Any, request: HttpRequest | None, user: User, **_: Any) -> None:
    if user.is_staff:
        _write(request, kind=AuditEvent.Kind.LOG_IN, user=user, action="log in")


def _logged_out(sender: Any, request: HttpRequest | None, user: User | None, **_: Any) -> None:
    if user is not None and user.is_staff:
        _write(request, kind=AuditEvent.Kind.LOG_OUT, user=user, action="log out")


def _log_in_failed(sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    """Only of accounts of staff: what strangers type is nobody's to keep."""
    email = str(credentials.get("username") or "").strip().lower()
    user = User.objects.annotate(lower=Lower("email")).filter(lower=email, is_staff=True).first() if email else None
    if user is not None:
        _write(request, kind=AuditEvent.Kind.LOG_IN_FAILED, user=user, action="log in")


def connect() -> None:
    """Listen to log-ins."""
    user_logged_in.connect(_logged_in, dispatch_uid="audit")
    user_logged_out.connect(_logged_out, dispatch_uid="audit")
    user_login_failed.connect(_log_in_failed, dispatch_uid="audit")
