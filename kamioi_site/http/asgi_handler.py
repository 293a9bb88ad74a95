"""Django under ASGI with one step into a thread a request.

Django's own handler steps into a thread and back for every middleware that is not asynchronous, and starts the thread anew for
each request. None of ours waits for anything but the database and Redis, so here the whole chain, the view and the end of
the request run in one go in a thread of a pool. A database connection is taken and given back by the same thread. What streams is sent
afterwards, piece by piece, as the client takes it.
"""

import asyncio
import contextvars
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

from kamioi_site.http.health import HEALTH_CHECK_PATHS

_ARRIVED: Final = "kamioi.arrived"

# Probes wait behind nobody: a process that has much to do would be taken for one that is dead, and leave its work to the others.
_PROBE_THREADS: Final = 2

_pools: dict[str, ThreadPoolExecutor] = {}
os.register_at_fork(after_in_child=_pools.clear)  # the parent's threads are not the child's


def _pool(name: Literal["web", "probe"] = "web") -> ThreadPoolExecutor:
    """The threads of this process, made by the process that uses them."""
    if name not in _pools:
        threads = settings.WEB_THREADS if name == "web" else _PROBE_THREADS
        _pools[name] = ThreadPoolExecutor(threads, thread_name_prefix=name)
    return _pools[name]


async def _in_thread(pool: ThreadPoolExecutor, work: Callable[..., Any], *arguments: Any) -> Any:
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(pool, lambda: context.run(work, *arguments))


def request_arrival_time(request: HttpRequest) -> float:
    """When the whole request was there, before it waited for a thread, by `time.perf_counter`; now, where no server said so."""
    moment: float | None = getattr(request, "scope", {}).get(_ARRIVED)
    return time.perf_counter() if moment is None else moment


class ThreadedASGIHandler(ASGIHandler):
    """The ASGI application of Django, synchronous inside."""

    def load_middleware(self, is_async: bool = False) -> None:
        """The chain for a thread."""
        super().load_middleware(is_async=False)

    async def handle(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """One request, from its body to the end of its answer."""
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        scope[_ARRIVED] = time.perf_counter()
        try:
            pool = _pool("probe" if scope["path"] in HEALTH_CHECK_PATHS else "web")
            response, whole = await _in_thread(pool, self.respond, scope, body)
            if whole:
                await self.send_response(response, send)
                return
            async with ThreadSensitiveContext():
                await self._stream(response, receive, send)
        finally:
            body.close()

    def respond(self, scope: dict[str, Any], body: Any) -> tuple[HttpResponseBase, bool]:
        """The answer, and whether it is whole; then the request is over and its connections are given back."""
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=self.__class__, scope=scope)
        request, refusal = self.create_request(scope, body)
        response: HttpResponseBase = refusal or self.get_response(request)  # type: ignore[arg-type]  # one is there
        response._handler_class = self.__class__  # type: ignore[attr-defined]
        if isinstance(response, FileResponse):
            response.block_size = self.chunk_size
        if response.streaming:
            close_old_connections()
            return response, False
        response.close()  # sends request_finished
        return response, True

    async def _stream(self, response: HttpResponseBase, receive: Any, send: Any) -> None:
        """Send it while somebody listens."""
        sending = asyncio.create_task(self.send_response(response, send))
        leaving = asyncio.create_task(self._gone(receive))
        try:
            await asyncio.wait([sending, leaving], return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)
            await _in_thread(_pool(), response.close)

    @staticmethod
    async def _gone(receive: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
