"""Server-sent events by the ten thousand: what somebody waits for, told as it changes.

A view says what is watched (`events_response`). Under ASGI `EventStreams` in front of Django asks the view once, in a
thread, with every middleware, authentication and permission of an ordinary request; then the stream costs a coroutine
and no thread. Rules that hold here:

- The state is in PostgreSQL; Redis only says "look at it" (`publish`, after the commit). A process has one subscriber and one
  reader for all of its streams: what changed is read once for everybody who watches it.
- An event is the whole state, and its id grows with each change of it. Who was away says `Last-Event-ID` and gets the
  newest state if it is newer: nothing is lost and nothing comes twice. Between the first look and the subscription nothing
  is lost either, because whatever is newly watched is looked at once more.
- Redis away: the reader looks at everything that is watched every few seconds, and again at once when Redis is back.
- A slow reader holds its own stream up, and finds the newest state when it goes on, not a queue.
- A stream lives five minutes at most; then the browser opens the next one, and who was logged out does not. It ends with what it
  watches, and when the server shuts down. A caller has `EVENT_STREAMS_PER_CALLER` of them in a process at most.
- Without ASGI (tests, WSGI) one event is sent and the browser asks again.
"""

import asyncio
import json
import logging
import random
import re
import signal
import threading
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from http import HTTPStatus
from io import BytesIO
from types import FrameType
from typing import Any, Final, Protocol, cast

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.db import DatabaseError, connections, transaction
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from redis import RedisError
from rest_framework.utils.encoders import JSONEncoder

from kamioi_site.cache.redis import async_redis_client, redis_client
from kamioi_site.errors import error_body
from kamioi_site.http.asgi_handler import ThreadedASGIHandler
from kamioi_site.observability.metrics import EVENT_STREAMS

logger = logging.getLogger(__name__)

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

CHANNEL: Final = "kamioi:1:events"
HEARTBEAT_SECONDS: Final = 15
STREAM_SECONDS = 300.0
RETRY_MILLISECONDS: Final = 3_000
LOOK_SECONDS = 15.0  # between looks at everything, in case a message was lost
LOOK_SECONDS_WITHOUT_REDIS = 3.0
GATHER_SECONDS: Final = 0.05  # what changed within it is read together
_STUCK_SECONDS: Final = 60.0  # a reader that takes nothing for this long is gone
_KEYS_AT_ONCE: Final = 1_000
_LATEST_ID: Final = 2**63 - 1


# --- What is watched --------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Event:
    """The state of something that is watched. `number` grows with each change; `done` says that no other follows."""

    number: int
    data: dict[str, Any]
    done: bool

    @cached_property
    def text(self) -> str:
        """As it goes over the wire; made once for all who hear it."""
        return f"id: {self.number}\ndata: {json.dumps(self.data, cls=JSONEncoder, ensure_ascii=False)}\n\n"


Load = Callable[[Collection[str]], dict[str, Event]]
_sources: dict[str, Load] = {}


def event_source(name: str, load: Load) -> None:
    """Say how the states of one kind are read: keys to events, in one query; what is gone is left out."""
    _sources[name] = load


def publish(source: str, key: str) -> None:
    """Tell everybody who watches it, once this transaction has committed. Without Redis they see it a little later."""
    transaction.on_commit(partial(_publish, f"{source}:{key}"))


def _publish(name: str) -> None:
    with suppress(RedisError):
        redis_client().publish(CHANNEL, name)


@dataclass(frozen=True, slots=True)
class Watch:
    """A stream that a view grants: of what, to whom, from which state on. `seen` is the id that the caller has."""

    source: str
    key: str
    caller: str
    event: Event
    seen: int


class EventsResponse(StreamingHttpResponse):
    """A granted stream. Django streams it itself where `EventStreams` does not stand in front."""

    def __init__(self, watch: Watch, content: Any) -> None:
        self.watch = watch
        super().__init__(
            content, content_type="text/event-stream", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )


def events_response(request: HttpRequest, *, source: str, key: str, caller: str, event: Event) -> HttpResponseBase:
    """The stream of what the caller may watch; 204 when they have seen its end, which tells a browser to ask no more."""
    watch = Watch(source, key, caller, event, _last_event_id(request))
    if event.done and watch.seen >= event.number:
        return HttpResponse(status=HTTPStatus.NO_CONTENT)
    if isinstance(request, _OpeningRequest):
        return EventsResponse(watch, iter(()))
    if isinstance(request, ASGIRequest):
        return EventsResponse(watch, _asked_again_and_again(watch))
    return EventsResponse(watch, iter([_opening(watch)]))


def _last_event_id(request: HttpRequest) -> int:
    text = request.headers.get("Last-Event-ID", "")
    return min(int(text), _LATEST_ID) if re.fullmatch(r"[0-9]{1,19}", text) else -1


def _opening(watch: Watch) -> str:
    """The first thing that is sent: the state, when it is news."""
    news = watch.event.text if watch.event.number > watch.seen else ": nothing new\n\n"
    return f"retry: {RETRY_MILLISECONDS}\n{news}"


async def _asked_again_and_again(watch: Watch) -> AsyncIterator[str]:
    """For an ASGI server without `EventStreams`: holds a thread now and then, so it is for a few streams only."""
    yield _opening(watch)
    seen, event = max(watch.seen, watch.event.number), watch.event
    loop = asyncio.get_running_loop()
    end = loop.time() + STREAM_SECONDS
    while not event.done and loop.time() < end:
        await asyncio.sleep(0.5)
        found = (await sync_to_async(_looked_up)(watch.source, [watch.key])).get(watch.key)
        if found is None:
            return
        if found.number > seen:
            seen, event = found.number, found
            yield event.text


def _looked_up(source: str, keys: Collection[str]) -> dict[str, Event]:
    try:
        return _sources[source](keys)
    finally:
        connections.close_all()  # back to the pool


# --- The streams of a process -----------------------------------------------------------------------------------
class _Stream:
    """One reader: what it has heard, and the newest state that it has not."""

    __slots__ = ("beat", "bucket", "caller", "latest", "name", "news", "over", "seen")

    def __init__(self, watch: Watch) -> None:
        self.name = (watch.source, watch.key)
        self.caller = watch.caller
        self.seen = max(watch.seen, watch.event.number)
        self.latest: Event | None = None
        self.over = False  # what it watched is gone
        self.beat = False
        self.bucket = random.randrange(HEARTBEAT_SECONDS)
        self.news = asyncio.Event()

    def hear(self, event: Event | None) -> None:
        """Take a newer state; None when what is watched is gone."""
        if event is None:
            self.over = True
        elif event.number <= self.seen:
            return
        else:
            self.latest, self.seen = event, event.number
        self.news.set()


class Hub:
    """All streams of one event loop, with one subscriber, one reader and one clock for all. Runs while there are any."""

    def __init__(self) -> None:
        self.streams: defaultdict[tuple[str, str], set[_Stream]] = defaultdict(set)
        self.callers: Counter[str] = Counter()
        self.beats: list[set[_Stream]] = [set() for _ in range(HEARTBEAT_SECONDS)]
        self.changed: set[tuple[str, str]] = set()
        self.poked = asyncio.Event()
        self.hears_redis = False
        self.closing = False
        self._tasks: list[asyncio.Task[None]] = []
        self._signals: list[tuple[signal.Signals, Any, Any]] = []

    def __len__(self) -> int:
        return self.callers.total()

    def join(self, stream: _Stream) -> None:
        """Follow what the stream watches."""
        self.streams[stream.name].add(stream)
        self.callers[stream.caller] += 1
        self.beats[stream.bucket].add(stream)
        if not self._tasks:
            self._watch_signals()
            self._tasks = [asyncio.create_task(work()) for work in (self._listen, self._look, self._tick)]
        self.poke(stream.name)  # it may have changed since the view looked

    async def leave(self, stream: _Stream) -> None:
        """Forget the stream; with the last one everything stops."""
        watching = self.streams[stream.name]
        watching.discard(stream)
        if not watching:
            del self.streams[stream.name]
        self.beats[stream.bucket].discard(stream)
        self.callers[stream.caller] -= 1
        if self.callers[stream.caller] <= 0:
            del self.callers[stream.caller]
        if not self.callers:
            tasks, self._tasks = self._tasks, []
            self._leave_signals()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def poke(self, *names: tuple[str, str]) -> None:
        """Look at these soon."""
        self.changed.update(names)
        self.poked.set()

    def close(self) -> None:
        """The server shuts down: every stream ends now, and its reader comes back to another process."""
        self.closing = True
        for stream in [stream for watching in self.streams.values() for stream in watching]:
            stream.news.set()

    async def _listen(self) -> None:
        """Hear from Redis what changed; when it goes, try again until it is back."""
        pause, this = 0.5, cast("asyncio.Task[None]", asyncio.current_task())
        while not this.cancelling():  # asked, as redis-py can swallow a cancellation while it connects
            client = async_redis_client(settings.REDIS_URL, socket_connect_timeout=2, health_check_interval=10)
            try:
                async with client.pubsub(ignore_subscribe_messages=True) as subscriber:
                    await subscriber.subscribe(CHANNEL)
                    self.hears_redis, pause = True, 0.5
                    self.poke(*self.streams)  # whatever was said meanwhile
                    while not this.cancelling():
                        message = await subscriber.get_message(timeout=5.0)
                        if message is not None:
                            source, _, key = message["data"].decode(errors="replace").partition(":")
                            if (source, key) in self.streams:
                                self.poke((source, key))
            except (RedisError, OSError) as error:
                if self.hears_redis:
                    logger.warning("event streams do not hear Redis and look for themselves: %s", error)
                self.hears_redis = False
            finally:
                await client.aclose()
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))
            pause = min(pause * 2, 5.0)

    async def _look(self) -> None:
        """Read what changed, and now and then everything, and tell those who watch it."""
        while True:
            wait = LOOK_SECONDS if self.hears_redis else LOOK_SECONDS_WITHOUT_REDIS
            try:
                async with asyncio.timeout(wait):
                    await self.poked.wait()
                await asyncio.sleep(GATHER_SECONDS)
                self.poked.clear()
                names, self.changed = self.changed & self.streams.keys(), set()
            except TimeoutError:
                names = set(self.streams)
            by_source: defaultdict[str, list[str]] = defaultdict(list)
            for source, key in names:
                by_source[source].append(key)
            for source, keys in by_source.items():
                for start in range(0, len(keys), _KEYS_AT_ONCE):
                    await self._look_at(source, keys[start : start + _KEYS_AT_ONCE])

    async def _look_at(self, source: str, keys: list[str]) -> None:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(_threads, _looked_up, source, keys)
        except DatabaseError as error:
            logger.warning("event streams could not look: %s", error)
            self.changed.update((source, key) for key in keys)  # with the next look
            return
        except Exception:  # the reader of all streams must not die of one kind's bug
            logger.exception("event streams could not read %s", source)
            return
        for key in keys:
            for stream in self.streams.get((source, key), ()):
                stream.hear(found.get(key))

    async def _tick(self) -> None:
        """A sign of life for a fifteenth of the streams each second."""
        second = 0
        while True:
            await asyncio.sleep(1)
            second += 1
            for stream in self.beats[second % HEARTBEAT_SECONDS]:
                stream.beat = True
                stream.news.set()

    def _watch_signals(self) -> None:
        """End the streams when the server is asked to: it waits for its connections before it says so to anybody."""
        if threading.current_thread() is not threading.main_thread():
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            before = signal.getsignal(number)
            if not callable(before):
                continue

            def heard(
                number: int, frame: FrameType | None, before: Callable[[int, FrameType | None], Any] = before
            ) -> None:
                loop.call_soon_threadsafe(self.close)
                before(number, frame)

            signal.signal(number, heard)
            self._signals.append((number, heard, before))

    def _leave_signals(self) -> None:
        for number, heard, before in self._signals:
            if signal.getsignal(number) is heard:
                signal.signal(number, before)
        self._signals = []


_threads = ThreadPoolExecutor(8, thread_name_prefix="events")
_hubs: dict[asyncio.AbstractEventLoop, Hub] = {}


def hub() -> Hub:
    """The hub of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        for closed in [other for other in _hubs if other.is_closed()]:
            del _hubs[closed]
        _hubs[loop] = Hub()
    return _hubs[loop]


def open_streams() -> int:
    """How many streams this process has open, for the metrics."""
    return sum(len(found) for found in list(_hubs.values()))


# --- In front of Django -----------------------------------------------------------------------------------------
class _OpeningRequest(ASGIRequest):
    """The request that asks the view whether, and from where on, a stream is granted."""


class _Opener(ThreadedASGIHandler):
    """Asks the view, in the thread that calls."""

    request_class = _OpeningRequest

    def open(self, scope: Message) -> HttpResponseBase:
        try:
            response, whole = self.respond(scope, BytesIO())
            if not whole:
                response.close()  # the request is over: what streams is ours
            return response
        finally:
            connections.close_all()


class _Paths(Protocol):
    def fullmatch(self, path: str) -> Any: ...


class EventStreams:
    """ASGI middleware: serves the streams at these paths, and leaves everything else to Django."""

    def __init__(self, application: Application, *, paths: str = r"/api/tasks/[0-9a-fA-F-]{36}/events") -> None:
        self._application = application
        self._paths: _Paths = re.compile(paths)
        self._opener: _Opener | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http" or scope["method"] != "GET" or not self._paths.fullmatch(scope["path"]):
            await self._application(scope, receive, send)
            return
        if self._opener is None:
            self._opener = _Opener()
        response = await asyncio.get_running_loop().run_in_executor(_threads, self._opener.open, scope)
        if not isinstance(response, EventsResponse):
            await _send_whole(send, response.status_code, _headers(response), b"".join(response))
            return
        streams = hub()
        refused = _refusal(streams, response.watch)
        if refused is not None:
            await _send_whole(send, *refused)
            return
        with EVENT_STREAMS.track_inprogress():
            await _stream(streams, response.watch, _headers(response), receive, send)


def _refusal(streams: Hub, watch: Watch) -> tuple[int, list[tuple[bytes, bytes]], bytes] | None:
    if streams.closing or len(streams) >= settings.EVENT_STREAMS_MAX:
        status, text = HTTPStatus.SERVICE_UNAVAILABLE, "There are too many streams. Ask again in a moment."
    elif streams.callers[watch.caller] >= settings.EVENT_STREAMS_PER_CALLER:
        status, text = HTTPStatus.TOO_MANY_REQUESTS, "You have too many streams open."
    else:
        return None
    headers = [(b"content-type", b"application/json"), (b"retry-after", b"30"), (b"cache-control", b"no-store")]
    return status, headers, json.dumps(error_body(text)).encode()


async def _stream(streams: Hub, watch: Watch, headers: list[tuple[bytes, bytes]], receive: Receive, send: Send) -> None:
    """Tell one reader until there is nothing more to tell, or nobody to hear it."""
    stream = _Stream(watch)
    loop = asyncio.get_running_loop()
    end = loop.time() + STREAM_SECONDS * random.uniform(0.8, 1.0)  # not all of them at the same moment
    left = asyncio.create_task(_left(receive))
    left.add_done_callback(lambda _: stream.news.set())
    streams.join(stream)

    async def tell(text: str) -> None:
        async with asyncio.timeout(_STUCK_SECONDS):
            await send({"type": "http.response.body", "body": text.encode(), "more_body": True})

    try:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await tell(_opening(watch))
        done = watch.event.done
        while not (done or stream.over or streams.closing or left.done()) and loop.time() < end:
            await stream.news.wait()
            stream.news.clear()
            event, stream.latest, beat, stream.beat = stream.latest, None, stream.beat, False
            if event is not None:
                await tell(event.text)
                done = event.done
            elif beat:
                await tell(": still here\n\n")
        if not left.done():
            await send({"type": "http.response.body", "body": b"", "more_body": False})
    except (TimeoutError, OSError):
        logger.debug("a reader of %s went away", stream.name)
    finally:
        left.cancel()
        await streams.leave(stream)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_whole(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _headers(response: HttpResponseBase) -> list[tuple[bytes, bytes]]:
    found: Iterator[tuple[str, str]] = iter(response.items())
    headers = [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in found]
    return headers + [(b"set-cookie", cookie.OutputString().encode("ascii")) for cookie in response.cookies.values()]
