"""The open event streams of one event loop, and the tasks that serve them all.

- One task listens to Redis, one reads changed states, one keeps idle connections alive. They run while there are
  streams, so a stream costs a coroutine and no thread.
- A new stream's state is read once more after it joined, so a change between the view and the subscription is sent too.
- Without Redis every watched state is read every few seconds, and at once when Redis is back.
- A slow reader delays only its own stream, and then gets the newest state instead of a backlog.
"""

import asyncio
import logging
import random
import signal
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any, Final, cast

from django.conf import settings
from django.db import DatabaseError
from redis import RedisError

from kamioi_site.cache.redis import async_redis_client
from kamioi_site.http.server_sent_events import CHANNEL, Event, Subscription, load_events

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS: Final = 15
POLL_SECONDS = 15.0  # between reads of every watched state, in case a message was lost
POLL_SECONDS_WITHOUT_REDIS = 3.0
_DEBOUNCE_SECONDS: Final = 0.05  # changes within this time are read together
_KEYS_PER_READ: Final = 1_000
_MAX_RECONNECT_PAUSE: Final = 5.0

database_threads: Final = ThreadPoolExecutor(8, thread_name_prefix="events")


class EventStream:
    """One reader: the newest state it has not been sent, and what else it should wake up for."""

    __slots__ = ("bucket", "caller", "gone", "heartbeat", "latest", "name", "seen", "wakeup")

    def __init__(self, subscription: Subscription) -> None:
        self.name = (subscription.source, subscription.key)
        self.caller = subscription.caller
        self.seen = max(subscription.seen, subscription.event.number)
        self.latest: Event | None = None
        self.gone = False  # the watched state no longer exists
        self.heartbeat = False
        self.bucket = random.randrange(HEARTBEAT_SECONDS)
        self.wakeup = asyncio.Event()

    def update(self, event: Event | None) -> None:
        """Take a state if it is newer; None if the state no longer exists."""
        if event is None:
            self.gone = True
        elif event.number <= self.seen:
            return
        else:
            self.latest, self.seen = event, event.number
        self.wakeup.set()


class EventHub:
    """All streams of one event loop."""

    def __init__(self) -> None:
        self.streams: defaultdict[tuple[str, str], set[EventStream]] = defaultdict(set)
        self.callers: Counter[str] = Counter()
        self.redis_connected = False
        self.closing = False
        # Each second one bucket of streams gets a heartbeat.
        self._buckets: list[set[EventStream]] = [set() for _ in range(HEARTBEAT_SECONDS)]
        self._changed: set[tuple[str, str]] = set()
        self._change = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._signal_handlers: list[tuple[signal.Signals, Any, Any]] = []

    def __len__(self) -> int:
        return self.callers.total()

    def join(self, stream: EventStream) -> None:
        """Add a stream, and start the tasks with the first one."""
        self.streams[stream.name].add(stream)
        self.callers[stream.caller] += 1
        self._buckets[stream.bucket].add(stream)
        if not self._tasks:
            self._install_signal_handlers()
            self._tasks = [
                asyncio.create_task(run()) for run in (self._listen, self._read_changes, self._send_heartbeats)
            ]
        self._notify(stream.name)  # it may have changed since the view read it

    async def leave(self, stream: EventStream) -> None:
        """Remove a stream, and stop the tasks with the last one."""
        readers = self.streams[stream.name]
        readers.discard(stream)
        if not readers:
            del self.streams[stream.name]
        self._buckets[stream.bucket].discard(stream)
        self.callers[stream.caller] -= 1
        if self.callers[stream.caller] <= 0:
            del self.callers[stream.caller]
        if not self.callers:
            tasks, self._tasks = self._tasks, []
            self._restore_signal_handlers()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def close(self) -> None:
        """End every stream because the server shuts down; the readers reconnect to another process."""
        self.closing = True
        for readers in list(self.streams.values()):
            for stream in readers:
                stream.wakeup.set()

    def _notify(self, *names: tuple[str, str]) -> None:
        self._changed.update(names)
        self._change.set()

    async def _listen(self) -> None:
        """Listen to Redis, and reconnect when the connection is lost."""
        pause, task = 0.5, cast("asyncio.Task[None]", asyncio.current_task())
        while not task.cancelling():  # redis-py can swallow a cancellation while it connects
            client = async_redis_client(settings.REDIS_URL, socket_connect_timeout=2, health_check_interval=10)
            try:
                async with client.pubsub(ignore_subscribe_messages=True) as subscriber:
                    await subscriber.subscribe(CHANNEL)
                    self.redis_connected, pause = True, 0.5
                    self._notify(*self.streams)  # messages may have been missed
                    while not task.cancelling():
                        message = await subscriber.get_message(timeout=5.0)
                        if message is not None:
                            source, _, key = message["data"].decode(errors="replace").partition(":")
                            if (source, key) in self.streams:
                                self._notify((source, key))
            except (RedisError, OSError) as error:
                if self.redis_connected:
                    logger.warning("event streams poll the database, because Redis does not answer: %s", error)
                self.redis_connected = False
            finally:
                await client.aclose()
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))
            pause = min(pause * 2, _MAX_RECONNECT_PAUSE)

    async def _read_changes(self) -> None:
        """Read changed states, and all of them now and then, and update their streams."""
        while True:
            try:
                async with asyncio.timeout(POLL_SECONDS if self.redis_connected else POLL_SECONDS_WITHOUT_REDIS):
                    await self._change.wait()
                await asyncio.sleep(_DEBOUNCE_SECONDS)
                self._change.clear()
                names, self._changed = self._changed & self.streams.keys(), set()
            except TimeoutError:
                names = set(self.streams)
            by_source: defaultdict[str, list[str]] = defaultdict(list)
            for source, key in names:
                by_source[source].append(key)
            for source, keys in by_source.items():
                for start in range(0, len(keys), _KEYS_PER_READ):
                    await self._read(source, keys[start : start + _KEYS_PER_READ])

    async def _read(self, source: str, keys: list[str]) -> None:
        try:
            events = await asyncio.get_running_loop().run_in_executor(database_threads, load_events, source, keys)
        except DatabaseError as error:
            logger.warning("the states of event streams could not be read: %s", error)
            self._changed.update((source, key) for key in keys)  # read them again next time
            return
        except Exception:  # a bug in one source must not stop the streams of all others
            logger.exception("event source %s failed", source)
            return
        for key in keys:
            for stream in self.streams.get((source, key), ()):
                stream.update(events.get(key))

    async def _send_heartbeats(self) -> None:
        second = 0
        while True:
            await asyncio.sleep(1)
            second += 1
            for stream in self._buckets[second % HEARTBEAT_SECONDS]:
                stream.heartbeat = True
                stream.wakeup.set()

    def _install_signal_handlers(self) -> None:
        """End the streams on SIGTERM: uvicorn waits for open connections before it notifies applications."""
        if threading.current_thread() is not threading.main_thread():
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            previous = signal.getsignal(number)
            if not callable(previous):
                continue

            def handle(
                number: int, frame: FrameType | None, previous: Callable[[int, FrameType | None], Any] = previous
            ) -> None:
                loop.call_soon_threadsafe(self.close)
                previous(number, frame)

            signal.signal(number, handle)
            self._signal_handlers.append((number, handle, previous))

    def _restore_signal_handlers(self) -> None:
        for number, handle, previous in self._signal_handlers:
            if signal.getsignal(number) is handle:
                signal.signal(number, previous)
        self._signal_handlers = []


_hubs: dict[asyncio.AbstractEventLoop, EventHub] = {}


def event_hub() -> EventHub:
    """Return the hub of the running event loop."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        for closed in [other for other in _hubs if other.is_closed()]:
            del _hubs[closed]
        _hubs[loop] = EventHub()
    return _hubs[loop]


def open_stream_count() -> int:
    """Return the number of open streams of this process."""
    return sum(len(hub) for hub in list(_hubs.values()))
