"""Event streams lose nothing, send nothing twice, hold no thread, and work without Redis."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.db import connections
from pytest_django import Settings
from redis.asyncio.client import PubSub

from kamioi_site.asgi import application
from kamioi_site.http import event_hub, event_streams, server_sent_events
from kamioi_site.local.servers import EmbeddedRedis
from tests.factories import api_client, make_staff, make_user
from tests.workers import ROOT, process_environment
from transactions.models import ApiToken, BackgroundTask, User
from transactions.services.background_tasks import create_task, heartbeat, run_task

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)


class _Reader:
    """One open stream."""

    def __init__(self, task: BackgroundTask | str, token: str = "", **headers: str) -> None:
        if token:
            headers["authorization"] = f"Bearer {token}"
        headers["host"] = "testserver"
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "query_string": b"",
            "path": f"/api/tasks/{getattr(task, 'pk', task)}/events",
            "client": ("10.1.2.3", 1),
            "server": ("testserver", 80),
            "asgi": {"version": "3.0"},
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        }
        self._communicator = ApplicationCommunicator(application, scope)

    async def open(self) -> int:
        await self._communicator.send_input({"type": "http.request", "body": b"", "more_body": False})
        start = await self._communicator.receive_output(10)
        self.headers = {name.decode(): value.decode() for name, value in start["headers"]}
        return int(start["status"])

    async def chunk(self, seconds: float = 10) -> str | None:
        """Return the next chunk; None at the end."""
        chunk = await self._communicator.receive_output(seconds)
        return chunk["body"].decode() if chunk.get("more_body") else None

    async def event(self) -> tuple[int, dict[str, Any]]:
        """Return the id and data of the next event."""
        while True:
            text = await self.chunk()
            assert text is not None, "the stream ended"
            if match := re.search(r"^id: (\d+)\ndata: (.*)$", text, re.MULTILINE):
                return int(match[1]), json.loads(match[2])

    async def silent(self, seconds: float = 0.3) -> bool:
        return await self._communicator.receive_nothing(seconds)

    async def leave(self) -> None:
        await self._communicator.send_input({"type": "http.disconnect"})
        await self._communicator.wait(5)


def _run_story(story: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        try:
            await story()
        finally:
            await sync_to_async(connections.close_all)()

    asyncio.run(run())
    assert event_hub.open_stream_count() == 0


def _task(user: User | None = None, **fields: Any) -> tuple[BackgroundTask, str]:
    user = user or make_user()
    task = create_task(name="test", user=user, arguments={})
    if fields:
        BackgroundTask.objects.filter(pk=task.pk).update(**fields)
        task.refresh_from_db()
    return task, ApiToken.issue(user=user)[1]


@sync_to_async
def _progress(task: BackgroundTask, number: int) -> None:
    heartbeat(task=task, progress=number, total=10)


@sync_to_async
def _run(task: BackgroundTask) -> None:
    with run_task(task_id=task.pk):
        pass


# --- Events -----------------------------------------------------------------------------------------------------
def test_a_task_is_followed_to_its_end_with_growing_ids() -> None:
    task, token = _task()

    async def story() -> None:
        reader = _Reader(task, token)
        assert await reader.open() == 200
        assert reader.headers["content-type"] == "text/event-stream"
        assert reader.headers["cache-control"] == "no-store"
        events = [await reader.event()]
        await _progress(task, 3)
        events.append(await reader.event())
        await _run(task)
        while events[-1][1]["status"] != "completed":
            events.append(await reader.event())
        assert await reader.chunk() is None
        await reader.leave()
        numbers = [number for number, _ in events]
        assert numbers == sorted(set(numbers))
        assert [data["progress"] for _, data in events[:2]] == [0, 3]
        assert events[0][1].keys() == (await sync_to_async(_polled)(task, token)).keys()

    _run_story(story)


def _polled(task: BackgroundTask, token: str) -> dict[str, Any]:
    client = api_client()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    body: dict[str, Any] = client.get(f"/api/tasks/{task.pk}").json()
    return body


def test_a_reconnecting_reader_gets_the_newest_state_if_it_is_newer() -> None:
    task, token = _task()

    async def story() -> None:
        reader = _Reader(task, token)
        await reader.open()
        number, _ = await reader.event()
        await reader.leave()
        again = _Reader(task, token, last_event_id=str(number))
        await again.open()
        assert ": nothing new" in (await again.chunk() or "")
        assert await again.silent()
        await again.leave()
        await _progress(task, 4)
        await _progress(task, 5)
        later = _Reader(task, token, last_event_id=str(number))
        await later.open()
        newest, data = await later.event()
        assert (newest, data["progress"]) == (number + 2, 5)
        await later.leave()

    _run_story(story)


def test_a_reader_that_has_seen_the_end_gets_204() -> None:
    task, token = _task(status="completed")

    async def story() -> None:
        reader = _Reader(task, token)
        assert await reader.open() == 200
        number, _ = await reader.event()
        assert await reader.chunk() is None
        again = _Reader(task, token, last_event_id=str(number))
        assert await again.open() == 204

    _run_story(story)


def test_a_change_between_the_view_and_the_subscription_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    task, token = _task()
    get_response = event_streams.EventStreamsMiddleware.get_response

    def respond_and_change(middleware: Any, scope: Any) -> Any:
        response = get_response(middleware, scope)
        BackgroundTask.objects.filter(pk=task.pk).update(progress=9)  # without a message
        connections.close_all()
        return response

    monkeypatch.setattr(event_streams.EventStreamsMiddleware, "get_response", respond_and_change)

    async def story() -> None:
        reader = _Reader(task, token)
        await reader.open()
        assert (await reader.event())[1]["progress"] == 0
        assert (await reader.event())[1]["progress"] == 9
        await reader.leave()

    _run_story(story)


def test_many_readers_of_many_tasks_need_few_database_reads(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.EVENT_STREAMS_PER_CALLER = 100
    user = make_user()
    tasks = [_task(user)[0] for _ in range(10)]
    token = ApiToken.issue(user=user)[1]
    reads: list[int] = []
    load = server_sent_events._sources["task"]

    def counted(keys: Any) -> Any:
        reads.append(len(keys))
        return load(keys)

    monkeypatch.setitem(server_sent_events._sources, "task", counted)

    async def story() -> None:
        readers = [_Reader(task, token) for task in tasks for _ in range(5)]
        for reader in readers:
            await reader.open()
            await reader.event()
        await asyncio.sleep(0.3)
        assert event_hub.open_stream_count() == 50
        reads.clear()
        for task in tasks:
            await _progress(task, 1)
        for reader in readers:
            assert (await reader.event())[1]["progress"] == 1
        assert len(reads) <= 10
        for reader in readers:
            await reader.leave()

    _run_story(story)


def test_a_slow_reader_gets_the_newest_state_and_no_backlog() -> None:
    task, _ = _task()

    async def story() -> None:
        stream = event_hub.EventStream(
            server_sent_events.Subscription("task", str(task.pk), "1", server_sent_events.Event(0, {}, False), -1)
        )
        for number in range(1, 100):
            stream.update(server_sent_events.Event(number, {"progress": number}, False))
        stream.update(server_sent_events.Event(50, {"progress": 50}, False))  # a late, older state
        assert stream.latest is not None
        assert stream.latest.number == 99

    _run_story(story)


def test_idle_streams_get_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_hub, "HEARTBEAT_SECONDS", 1)
    task, token = _task()

    async def story() -> None:
        event_hub._hubs.pop(asyncio.get_running_loop(), None)
        reader = _Reader(task, token)
        await reader.open()
        await reader.event()
        assert await reader.chunk() == ": still here\n\n"
        await reader.leave()

    _run_story(story)


# --- Permissions-------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("who", "status"), [("owner", 200), ("staff", 200), ("other user", 404), ("anonymous", 401)])
def test_the_permissions_are_those_of_polling(who: str, status: int) -> None:
    task, token = _task()
    if who != "owner":
        user = {"staff": make_staff, "other user": make_user}.get(who)
        token = ApiToken.issue(user=user())[1] if user else ""

    async def story() -> None:
        reader = _Reader(task, token)
        assert await reader.open() == status
        if status == 200:
            await reader.event()
            await reader.leave()
        else:
            assert reader.headers["content-type"] == "application/json"

    _run_story(story)


def test_a_session_can_open_a_stream(client: Any) -> None:
    user = make_user()
    client.force_login(user)
    task, _ = _task(user)

    async def story() -> None:
        reader = _Reader(task, cookie=f"sessionid={client.cookies['sessionid'].value}", accept="text/event-stream")
        assert await reader.open() == 200
        await reader.event()
        await reader.leave()

    _run_story(story)


def test_the_streams_of_a_caller_are_limited(settings: Settings) -> None:
    settings.EVENT_STREAMS_PER_CALLER = 2
    task, token = _task()
    _, others_token = _task(make_staff())

    async def story() -> None:
        readers = [_Reader(task, token) for _ in range(3)]
        assert [await reader.open() for reader in readers] == [200, 200, 429]
        assert readers[2].headers["retry-after"] == "30"
        other = _Reader(task, others_token)
        assert await other.open() == 200
        await readers[0].leave()
        again = _Reader(task, token)
        assert await again.open() == 200
        for reader in (readers[1], other, again):
            await reader.leave()

    _run_story(story)


def test_an_unknown_task_is_404_and_so_is_a_bad_id() -> None:
    _, token = _task()

    async def story() -> None:
        for key in ("00000000-0000-4000-8000-000000000000", "x" * 36):
            reader = _Reader(key, token)
            assert await reader.open() == 404
            await reader.leave()

    _run_story(story)


# --- Without Redis -------------------------------------------------------------------------------------------------
def test_without_redis_streams_poll_until_it_is_back(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_hub, "POLL_SECONDS_WITHOUT_REDIS", 0.2)
    monkeypatch.setattr(event_hub, "POLL_SECONDS", 60)
    server = EmbeddedRedis(tmp_path)
    server.start()
    settings.CACHES = {"default": settings.CACHES["default"] | {"LOCATION": server.url}}
    settings.REDIS_URL = server.url
    task, token = _task()

    async def story() -> None:
        reader = _Reader(task, token)
        await reader.open()
        await reader.event()
        os.kill(server.find_pid() or 0, signal.SIGKILL)
        await _progress(task, 1)
        assert (await reader.event())[1]["progress"] == 1
        await asyncio.to_thread(server.start)
        deadline = time.monotonic() + 30
        while not event_hub.event_hub().redis_connected:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        await asyncio.sleep(1.1)  # the pause of the publisher's circuit breaker
        await _progress(task, 2)
        assert (await reader.event())[1]["progress"] == 2
        await reader.leave()

    try:
        _run_story(story)
    finally:
        os.kill(server.find_pid() or 0, signal.SIGKILL)


def test_the_last_reader_leaves_although_redis_py_swallows_the_cancellation(monkeypatch: pytest.MonkeyPatch) -> None:
    task, token = _task()
    subscribe = PubSub.subscribe

    async def swallowing(subscriber: PubSub, *channels: str) -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(30)
        await subscribe(subscriber, *channels)

    monkeypatch.setattr(PubSub, "subscribe", swallowing)

    async def story() -> None:
        reader = _Reader(task, token)
        await reader.open()
        await reader.event()
        await reader.leave()
        assert not reader._communicator.future.cancelled()  # it was not cancelled

    _run_story(story)


# --- A real server ----------------------------------------------------------------------------------------------
def test_a_server_that_shuts_down_ends_its_streams_at_once() -> None:
    task, token = _task()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "gunicorn",
            "kamioi_site.asgi:application",
            "--worker-class",
            "uvicorn_worker.UvicornWorker",
            "--workers",
            "1",
            "--bind",
            f"127.0.0.1:{port}",
            "--graceful-timeout",
            "60",
        ],
        cwd=ROOT,
        env=process_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{address}/healthz", timeout=5).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        request = urllib.request.Request(
            f"{address}/api/tasks/{task.pk}/events", headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(request, timeout=40) as stream:
            assert stream.readline() == b"retry: 3000\n"
            assert stream.readline().startswith(b"id: ")
            began = time.monotonic()
            server.send_signal(signal.SIGTERM)
            stream.read()  # to its end
        assert server.wait(timeout=30) == 0
        assert time.monotonic() - began < 25  # far less than the graceful time-out
    finally:
        server.kill()
        server.wait(timeout=10)
