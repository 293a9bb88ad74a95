"""ASGI middleware that keeps event streams open, thousands per process.

It calls the view once, in a thread, with the middleware, authentication and permissions of every other request. If the
view authorizes a stream, the rest needs a coroutine and no thread. A stream lasts at most five minutes: then the
browser reconnects, and a user who has logged out meanwhile is refused.
"""

import asyncio
import json
import logging
import random
import re
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from io import BytesIO
from typing import Any, Final

from django.conf import settings
from django.db import connections
from django.http.response import HttpResponseBase

from kamioi_site.errors import error_body
from kamioi_site.http.asgi_handler import ThreadedASGIHandler, wait_for_disconnect
from kamioi_site.http.event_hub import EventHub, EventStream, database_threads, event_hub
from kamioi_site.http.server_sent_events import EventsResponse, Subscription
from kamioi_site.observability.metrics import EVENT_STREAMS

logger = logging.getLogger(__name__)

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

STREAM_SECONDS = 300.0
_SEND_TIMEOUT: Final = 60.0  # a reader that accepts nothing for this long is disconnected


class EventStreamsMiddleware:
    """Serve event streams, and pass every other request to the application."""

    def __init__(self, application: ThreadedASGIHandler) -> None:
        self._application = application
        self._paths = re.compile(settings.EVENT_STREAM_PATHS)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["method"] != "GET" or not self._paths.fullmatch(scope["path"]):
            await self._application(scope, receive, send)
            return
        loop = asyncio.get_running_loop()
        response = await loop.run_in_executor(database_threads, self.get_response, scope)
        if not isinstance(response, EventsResponse):
            await _send_response(send, response.status_code, _headers(response), b"".join(response))
            return
        hub, subscription = event_hub(), response.subscription
        if refusal := _refusal(hub, subscription):
            await _send_response(send, *refusal)
            return
        with EVENT_STREAMS.track_inprogress():
            await _stream(hub, subscription, _headers(response), receive, send)

    def get_response(self, scope: Message) -> HttpResponseBase:
        """Ask the view."""
        try:
            response, _ = self._application.respond(scope, BytesIO())
            return response
        finally:
            connections.close_all()


def _refusal(hub: EventHub, subscription: Subscription) -> tuple[int, Headers, bytes] | None:
    """Return the response to a stream over a limit, else None."""
    if hub.closing or len(hub) >= settings.EVENT_STREAMS_MAX:
        status, text = HTTPStatus.SERVICE_UNAVAILABLE, "Too many event streams are open. Try again in a moment."
    elif hub.callers[subscription.caller] >= settings.EVENT_STREAMS_PER_CALLER:
        status, text = HTTPStatus.TOO_MANY_REQUESTS, "You have too many event streams open."
    else:
        return None
    headers = [(b"content-type", b"application/json"), (b"retry-after", b"30"), (b"cache-control", b"no-store")]
    return status, headers, json.dumps(error_body(text)).encode()


async def _stream(hub: EventHub, subscription: Subscription, headers: Headers, receive: Receive, send: Send) -> None:
    """Send states until the last one, the time limit or the end of the connection."""
    stream = EventStream(subscription)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + STREAM_SECONDS * random.uniform(0.8, 1.0)  # spread the reconnections
    disconnect = asyncio.create_task(wait_for_disconnect(receive))
    disconnect.add_done_callback(lambda _: stream.wakeup.set())
    hub.join(stream)

    async def send_text(text: str) -> None:
        async with asyncio.timeout(_SEND_TIMEOUT):
            await send({"type": "http.response.body", "body": text.encode(), "more_body": True})

    try:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send_text(subscription.first_text)
        done = subscription.event.done
        while not (done or stream.gone or hub.closing or disconnect.done()) and loop.time() < deadline:
            await stream.wakeup.wait()
            stream.wakeup.clear()
            event, stream.latest, heartbeat, stream.heartbeat = stream.latest, None, stream.heartbeat, False
            if event is not None:
                await send_text(event.text)
                done = event.done
            elif heartbeat:
                await send_text(": still here\n\n")
        if not disconnect.done():
            await send({"type": "http.response.body", "body": b"", "more_body": False})
    except (TimeoutError, OSError):
        logger.debug("a reader of %s disconnected", stream.name)
    finally:
        disconnect.cancel()
        await hub.leave(stream)


async def _send_response(send: Send, status: int, headers: Headers, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _headers(response: HttpResponseBase) -> Headers:
    """Return the headers for ASGI; the length of a stream is unknown."""
    is_stream = isinstance(response, EventsResponse)
    headers = [
        (name.lower().encode("ascii"), value.encode("latin-1"))
        for name, value in response.items()
        if not (is_stream and name.lower() == "content-length")
    ]
    return headers + [(b"set-cookie", cookie.OutputString().encode("ascii")) for cookie in response.cookies.values()]
