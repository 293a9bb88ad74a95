"""Server-sent events: the state of something, sent to its readers whenever it changes.

A view authorizes a stream with `events_response`, and code that changes the state calls `publish`.

- The state is in PostgreSQL; a message in Redis is only a notification of a change. Under ASGI
  `kamioi_site.http.event_streams` keeps the connection open, and `kamioi_site.http.event_hub` reads a changed state
  once for all of its readers.
- An event holds the whole state, and its id grows with each change. A reader that reconnects sends `Last-Event-ID` and
  gets the newest state if it is newer: nothing is lost and nothing is sent twice.
- Without ASGI (tests, WSGI) the response holds one event, and the browser asks again.
"""

import json
import re
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from http import HTTPStatus
from typing import Any, Final

from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from redis import RedisError
from rest_framework.utils.encoders import JSONEncoder

from kamioi_site.cache.redis import redis_client

CHANNEL: Final = "kamioi:1:events"
RETRY_MILLISECONDS: Final = 3_000
_MAX_EVENT_ID: Final = 2**63 - 1


@dataclass(frozen=True)
class Event:
    """A state. `number` grows with each change; after an event that is `done` no other follows."""

    number: int
    data: dict[str, Any]
    done: bool = False

    @cached_property
    def text(self) -> str:
        """The event as it is sent, built once for all readers."""
        return f"id: {self.number}\ndata: {json.dumps(self.data, cls=JSONEncoder, ensure_ascii=False)}\n\n"


LoadEvents = Callable[[Collection[str]], dict[str, Event]]
_sources: dict[str, LoadEvents] = {}


def register_event_source(name: str, load: LoadEvents) -> None:
    """Register how the states of one kind are read: keys to events, in one query, without keys that do not exist."""
    _sources[name] = load


def load_events(source: str, keys: Collection[str]) -> dict[str, Event]:
    """Read the current states of these keys, and return the thread's connections to the pool."""
    try:
        return _sources[source](keys)
    finally:
        connections.close_all()


def publish(source: str, key: str) -> None:
    """Notify the readers of this state when the transaction commits; without Redis they notice a few seconds later."""
    transaction.on_commit(partial(_publish, f"{source}:{key}"))


def _publish(name: str) -> None:
    with suppress(RedisError):
        redis_client().publish(CHANNEL, name)


@dataclass(frozen=True, slots=True)
class Subscription:
    """An authorized stream: of which state, for which caller, and what the caller has already seen."""

    source: str
    key: str
    caller: str
    event: Event
    seen: int  # the caller's `Last-Event-ID`; -1 without one

    @property
    def first_text(self) -> str:
        """The beginning of the stream: the state, unless the caller has seen it."""
        text = self.event.text if self.event.number > self.seen else ": nothing new\n\n"
        return f"retry: {RETRY_MILLISECONDS}\n{text}"


class EventsResponse(HttpResponse):
    """An authorized stream and its first event, which is all that is sent unless the ASGI middleware keeps it open."""

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(subscription.first_text, content_type="text/event-stream", headers=headers)


def events_response(request: HttpRequest, *, source: str, key: str, caller: str, event: Event) -> HttpResponse:
    """Authorize a stream; 204, after which browsers do not reconnect, if the caller has seen its last event."""
    last_event_id = request.headers.get("Last-Event-ID", "")
    seen = min(int(last_event_id), _MAX_EVENT_ID) if re.fullmatch(r"[0-9]{1,19}", last_event_id) else -1
    if event.done and seen >= event.number:
        return HttpResponse(status=HTTPStatus.NO_CONTENT)
    return EventsResponse(Subscription(source, key, caller, event, seen))
