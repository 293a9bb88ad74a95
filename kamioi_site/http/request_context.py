"""The ids of request, task and user, carried from the request through every message to the worker.

A request brings `X-Request-ID` or gets a new one, and the response returns it. Messages that a request or task sends
carry the ids of request and user in their headers, and the worker restores them. Work that no request began (beat) is
identified by its first task. `kamioi_site.observability.logs` adds the ids to every log line.
"""

import logging
import re
import time
import uuid
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from celery import signals
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.functional import SimpleLazyObject

from kamioi_site.http.asgi_handler import request_arrival_time
from kamioi_site.observability import logs
from kamioi_site.observability.metrics.web import route_template

access = logging.getLogger("kamioi.access")

HEADER = "X-Request-ID"
REQUEST_HEADER, USER_HEADER = "kamioi_request", "kamioi_user"
# Accepts the ids that proxies make (hex, UUID), and nothing that could break a log line or fill a disk.
_VALID_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")
# Polled by machines every few seconds, so logged at DEBUG.
POLLED_ROUTES = {"healthz", "readyz", "metrics", "static"}

_request_id: ContextVar[str] = ContextVar("kamioi_request_id", default="")
_request: ContextVar[HttpRequest | None] = ContextVar("kamioi_request", default=None)
_task: ContextVar[tuple[str, str]] = ContextVar("kamioi_task", default=("", ""))
_sender_id: ContextVar[int | None] = ContextVar("kamioi_sender", default=None)


def context_ids() -> dict[str, Any]:
    """Return the known ids: `request_id`, `task_id`, `task` (its name) and `user_id`."""
    task_id, task = _task.get()
    ids = {"request_id": _request_id.get(), "task_id": task_id, "task": task, "user_id": user_id()}
    return {name: value for name, value in ids.items() if value}


def request_id() -> str:
    """Return the id of the request that started this work, or an empty string."""
    return _request_id.get()


def user_id() -> int | None:
    """Return the id of the user, or of the sender of the task; never queries the database to find out."""
    request = _request.get()
    if request is None:
        return _sender_id.get()
    user = request.__dict__.get("_cached_user") or request.__dict__.get("user")
    return None if isinstance(user, SimpleLazyObject) else getattr(user, "pk", None)


class RequestContextMiddleware:
    """Give every request an id and log one line about it: route, status and time, never its query string.

    Must be the first middleware, so that all others have the id.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Set the context, and reset it afterwards: the thread serves other requests."""
        arrived_at = request_arrival_time(request)
        sent_id = request.headers.get(HEADER, "")
        request_id = sent_id if _VALID_ID.fullmatch(sent_id) else uuid.uuid4().hex
        tokens = _request_id.set(request_id), _request.set(request)
        try:
            response = self._get_response(request)
            response.headers[HEADER] = request_id
            _log(request, response, time.perf_counter() - arrived_at)
            return response
        finally:
            _request_id.reset(tokens[0])
            _request.reset(tokens[1])


def _log(request: HttpRequest, response: HttpResponseBase, seconds: float) -> None:
    route = route_template(request)
    level = logging.DEBUG if route in POLLED_ROUTES else logging.INFO
    if not access.isEnabledFor(level):
        return
    milliseconds = round(seconds * 1000, 1)
    access.log(
        level,
        "%s %s %d %.0f ms",
        request.method,
        request.path,
        response.status_code,
        milliseconds,
        extra={
            "method": request.method or "",
            "route": route,
            "status": response.status_code,
            "ms": milliseconds,
            "client": request.META.get("REMOTE_ADDR", ""),
        },
    )


@signals.before_task_publish.connect(weak=False)
def _inject_headers(headers: dict[str, Any], **_: Any) -> None:
    if _request_id.get():
        headers.setdefault(REQUEST_HEADER, _request_id.get())
    if (user := user_id()) is not None:
        headers.setdefault(USER_HEADER, user)


@signals.task_prerun.connect(weak=False)
def _restore_context(task_id: str, task: Any, **_: Any) -> None:
    if task.request.is_eager:  # runs within a request, whose ids it has
        return
    _task.set((task_id, task.name))
    _request_id.set(str(task.request.get(REQUEST_HEADER) or task.request.root_id or task_id))
    _sender_id.set(task.request.get(USER_HEADER))


@signals.task_postrun.connect(weak=False)
def _clear_context(task: Any, **_: Any) -> None:
    if not task.request.is_eager:
        _task.set(("", ""))
        _request_id.set("")
        _sender_id.set(None)


logs.set_id_source(context_ids)
