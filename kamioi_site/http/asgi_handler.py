"""Django under ASGI with one thread hop per request.

Django's own handler switches to a thread and back for every synchronous middleware. All of ours are synchronous, so
here middleware, view and the end of the request run in one call in a pool thread, which also borrows and returns the
database connection. A streaming response is then sent from the event loop.
"""

import asyncio
import contextvars
import io
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Literal

from asgiref.sync import ThreadSensitiveContext
from django.conf import settings
from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.db import close_old_connections
from django.http import FileResponse, HttpRequest
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

from kamioi_site.http.body_limits import is_refused, limited_receive, refuse_unstored_body
from kamioi_site.http.health import HEALTH_CHECK_PATHS

_ARRIVED_AT: Final = "kamioi.arrived_at"  # key of the scope

# Probes have their own threads: a busy process must not look like a dead one.
_PROBE_THREADS: Final = 2

_pools: dict[str, ThreadPoolExecutor] = {}
os.register_at_fork(after_in_child=_pools.clear)  # a child has none of its parent's threads


def _pool(name: Literal["web", "probe"] = "web") -> ThreadPoolExecutor:
    if name not in _pools:
        threads = settings.WEB_THREADS if name == "web" else _PROBE_THREADS
        _pools[name] = ThreadPoolExecutor(threads, thread_name_prefix=name)
    return _pools[name]


async def _run_in_thread(pool: ThreadPoolExecutor, function: Callable[..., Any], *arguments: Any) -> Any:
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(pool, context.run, function, *arguments)


async def wait_for_disconnect(receive: Any) -> None:
    """Wait until the client disconnects."""
    while (await receive())["type"] != "http.disconnect":
        pass


def request_arrival_time(request: HttpRequest) -> float:
    """Return the `time.perf_counter` of the request before it waited for a thread; now, outside this handler."""
    arrived_at: float | None = getattr(request, "scope", {}).get(_ARRIVED_AT)
    return time.perf_counter() if arrived_at is None else arrived_at


class ThreadedASGIHandler(ASGIHandler):
    """Django's ASGI application with synchronous middleware."""

    def load_middleware(self, is_async: bool = False) -> None:
        """Build the synchronous middleware chain."""
        super().load_middleware(is_async=False)

    async def handle(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Handle one request."""
        try:
            body = await self.read_body(limited_receive(scope, receive))
        except RequestAborted:
            if not is_refused(scope):
                return
            body = io.BytesIO()  # the middleware answers
        except OSError as error:
            refuse_unstored_body(scope, error)
            body = io.BytesIO()
        scope[_ARRIVED_AT] = time.perf_counter()
        try:
            pool = _pool("probe" if scope["path"] in HEALTH_CHECK_PATHS else "web")
            response, is_complete = await _run_in_thread(pool, self.respond, scope, body)
            if is_complete:
                await self.send_response(response, send)
                return
            async with ThreadSensitiveContext():
                await self._stream(response, receive, send)
        finally:
            body.close()

    def respond(self, scope: dict[str, Any], body: Any) -> tuple[HttpResponseBase, bool]:
        """Return the response and whether it is complete; then the request is over and its connections are returned."""
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=self.__class__, scope=scope)
        request, error_response = self.create_request(scope, body)
        response: HttpResponseBase = error_response or self.get_response(request)  # type: ignore[arg-type]
        response._handler_class = self.__class__  # type: ignore[attr-defined]
        if isinstance(response, FileResponse):
            response.block_size = self.chunk_size
        if response.streaming:
            close_old_connections()
            return response, False
        response.close()  # sends request_finished
        return response, True

    async def _stream(self, response: HttpResponseBase, receive: Any, send: Any) -> None:
        """Send a streaming response until its end or the client's disconnection."""
        sending = asyncio.create_task(self.send_response(response, send))
        disconnect = asyncio.create_task(wait_for_disconnect(receive))
        try:
            await asyncio.wait([sending, disconnect], return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            for task in (sending, disconnect):
                task.cancel()
            await asyncio.gather(sending, disconnect, return_exceptions=True)
            await _run_in_thread(_pool(), response.close)
