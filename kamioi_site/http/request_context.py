"""On whose behalf work is done: the ids of request, task and user, from the request through every message to the worker.

A request brings `X-Request-ID` or gets one; the answer carries it. What a request or a task sends to the queue carries
the request's id and the user's in its headers, and the worker takes them up. Work that no request began (beat) goes by
the id of the first task. `kamioi_site.observability.logs` writes the ids to every line.
"""

import logging
import re
import time
import uuid
from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Any

from celery import signals
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.functional import SimpleLazyObject

from kamioi_site.http.asgi_handler import request_arrival_time
from kamioi_site.observability import logs
from kamioi_site.observability.metrics.web import route_of

access = logging.getLogger("kamioi.access")

HEADER = "X-Request-ID"
REQUEST_HEADER, USER_HEADER = "kamioi_request", "kamioi_user"
# What a proxy makes (hex, UUID) passes; nothing that could break a line or fill a disk.
_SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")
# Asked every few seconds by machines.
_QUIET_ROUTES = {"healthz", "readyz", "metrics", "static"}

_request_id: ContextVar[str] = ContextVar("kamioi_request_id", default="")
_request: ContextVar[HttpRequest | None] = ContextVar("kamioi_request", default=None)
_task: ContextVar[tuple[str, str]] = ContextVar("kamioi_task", default=("", ""))
_sender_id: ContextVar[int | None] = ContextVar("kamioi_sender", default=None)


def context_ids() -> dict[str, Any]:
    """The ids that are known here: `request_id`, `task_id`, `task` (its name) and `user_id`."""
    task_id, task = _task.get()
    found = {"request_id": _request_id.get(), "task_id": task_id, "task": task, "user_id": user_id()}
    return {name: value for name, value in found.items() if value}


def request_id() -> str:
    """The id of the request that this work began with; empty outside of one."""
    return _request_id.get()


def user_id() -> int | None:
    """Who is logged in, or who sent the task. Never asks the database: before the log-in is looked at, nobody."""
    request = _request.get()
    if request is None:
        return _sender_id.get()
    user = request.__dict__.get("_cached_user") or request.__dict__.get("user")
    return None if isinstance(user, SimpleLazyObject) else getattr(user, "pk", None)


class RequestContextMiddleware:
    """Gives every request its id and writes one line about it: route, status, time; never its query string.

    Stands first, so that everything else has the id.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer within the request's context."""
        tokens, began = _enter(request)
        try:
            return _leave(request, self._get_response(request), began)
        finally:  # the thread goes on to another request
            for variable, token in tokens:
                variable.reset(token)


def _enter(request: HttpRequest) -> tuple[list[tuple[ContextVar[Any], Token[Any]]], float]:
    given = request.headers.get(HEADER, "")
    identity = given if _SANE.fullmatch(given) else uuid.uuid4().hex
    return [(_request_id, _request_id.set(identity)), (_request, _request.set(request))], request_arrival_time(request)


def _leave(request: HttpRequest, response: HttpResponseBase, began: float) -> HttpResponseBase:
    response.headers[HEADER] = _request_id.get()
    _line(
        method=request.method or "",
        path=request.path,
        route=route_of(request),
        status=response.status_code,
        milliseconds=round((time.perf_counter() - began) * 1000, 1),
        client=request.META.get("REMOTE_ADDR", ""),
    )
    return response


def _line(*, method: str, path: str, route: str, status: int, milliseconds: float, client: str) -> None:
    level = logging.DEBUG if route in _QUIET_ROUTES else logging.INFO
    if access.isEnabledFor(level):
        access.log(
            level,
            "%s %s %d %.0f ms",
            method,
            path,
            status,
            milliseconds,
            extra={"method": method, "route": route, "status": status, "ms": milliseconds, "client": client},
        )


def answered_in_front(
    *, given_id: str, user_id: int, route: str, path: str, status: int, milliseconds: float, client: str
) -> str:
    """Write the line of a GET that never came to Django. Returns the request's id, which its answer carries."""
    identity = given_id if _SANE.fullmatch(given_id) else uuid.uuid4().hex
    tokens = _request_id.set(identity), _sender_id.set(user_id)
    try:
        _line(method="GET", path=path, route=route, status=status, milliseconds=milliseconds, client=client)
    finally:
        _request_id.reset(tokens[0])
        _sender_id.reset(tokens[1])
    return identity


@signals.before_task_publish.connect(weak=False)
def _inject_headers(headers: dict[str, Any], **_: Any) -> None:
    if _request_id.get():
        headers.setdefault(REQUEST_HEADER, _request_id.get())
    if (user := user_id()) is not None:
        headers.setdefault(USER_HEADER, user)


@signals.task_prerun.connect(weak=False)
def _restore_context(task_id: str, task: Any, **_: Any) -> None:
    if task.request.is_eager:  # within a request, whose ids it has
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


logs.take_ids_from(context_ids)
