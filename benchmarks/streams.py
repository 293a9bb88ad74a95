"""Open event streams of tasks on one web process: memory, time to connect, and time from a commit to every reader.

The server is the real one (gunicorn, one uvicorn worker); the readers are another process. Each customer follows a task
with ten streams; then every task makes progress at once. `peer` does the same with Django's `StreamingHttpResponse` and
fewer streams (`--peer`): there each stream polls the table, and holds a thread meanwhile.

    python -m benchmarks.streams                  # 10,000 streams, the peer with 200
    python -m benchmarks.streams --streams 500    # quick
"""

import argparse
import asyncio
import json
import os
import resource
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

import psutil

from benchmarks import common

STREAMS_A_CUSTOMER = 10
CONNECTING_AT_ONCE = 100


def _raise_file_limit() -> None:
    """Raise the limit of open files: a stream is one on both sides."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 1)


# --- The readers' process -----------------------------------------------------------------------------------------
async def _read(port: int, requests: list[tuple[str, str]]) -> None:
    """Open a stream for each (task, token), report that, and then report when every reader got the progress."""
    gate = asyncio.Semaphore(CONNECTING_AT_ONCE)
    opened: list[float] = []
    received: list[float] = []
    failed: list[str] = []
    all_open, all_received = asyncio.Event(), asyncio.Event()

    async def one(number: int, task: str, token: str) -> None:
        async with gate:
            began = time.monotonic()
            # Each source address has some 28,000 ports.
            source = (f"127.0.0.{2 + number // 20_000}", 0)
            try:
                reader, _writer = await asyncio.open_connection("127.0.0.1", port, local_addr=source)
                _writer.write(
                    (
                        f"GET /api/tasks/{task}/events HTTP/1.1\r\nHost: localhost\r\n"
                        f"Authorization: Bearer {token}\r\n\r\n"
                    ).encode()
                )
                line = await reader.readline()
                if b" 200 " not in line:
                    raise OSError(line.decode())
                while not (await reader.readline()).startswith(b"data: "):
                    pass
            except OSError as error:
                failed.append(str(error))
                return
            finally:
                if len(opened) + len(failed) + 1 >= len(requests):
                    all_open.set()
            opened.append(time.monotonic() - began)
        while line := await reader.readline():
            if line.startswith(b"data: ") and json.loads(line[6:])["progress"]:
                received.append(time.monotonic())
                if len(received) + len(failed) >= len(requests):
                    all_received.set()
                return

    began = time.monotonic()
    readers = [asyncio.create_task(one(number, *what)) for number, what in enumerate(requests)]
    await all_open.wait()
    await asyncio.sleep(0.2)
    took = time.monotonic() - began
    print(json.dumps({"opened": len(opened), "failed": failed[:3], "seconds": took, "times": opened}), flush=True)
    loop = asyncio.get_running_loop()
    changed_at = float(await loop.run_in_executor(None, sys.stdin.readline))
    try:
        async with asyncio.timeout(60):
            await all_received.wait()
    except TimeoutError:
        pass
    print(json.dumps({"received": [at - changed_at for at in received]}), flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    for reader in readers:
        reader.cancel()


# --- The server --------------------------------------------------------------------------------------------------
def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _start_web(port: int, application: str) -> subprocess.Popen[bytes]:
    web = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "gunicorn",
            "-k",
            "uvicorn_worker.UvicornWorker",
            "-w",
            "1",
            "-b",
            f"127.0.0.1:{port}",
            "--log-level",
            "warning",
            "--backlog",
            "4096",
            "--timeout",
            "120",
            f"{application}",
        ],
        cwd=common.ROOT,
        env=os.environ | {"LOG_LEVEL": "WARNING", "EVENT_STREAMS_MAX": "100000", "API_RATE_AUTHENTICATED": ""},
    )
    common.wait_for_web(web, port, path="/readyz", seconds=30)
    return web


@dataclass(frozen=True)
class _Measured:
    """The figures of one server."""

    streams: int
    failed: list[str]
    connect_seconds: float
    connect_p50_ms: float
    connect_p95_ms: float
    kb_a_stream: float
    megabytes: float
    threads: int
    idle_cpu_percent: float
    notified: int
    notified_p50_ms: float
    notified_p95_ms: float
    notified_last_ms: float


def _measure(streams: int, application: str) -> _Measured:
    from transactions.models import ApiToken, BackgroundTask, User
    from transactions.services.background_tasks import heartbeat

    customers = list(User.objects.order_by("id")[: -(-streams // STREAMS_A_CUSTOMER)])
    tasks = [BackgroundTask.objects.create(name="benchmark", user=customer) for customer in customers]
    tokens = [ApiToken.issue(user=customer)[1] for customer in customers]
    requests = [
        (str(tasks[number // STREAMS_A_CUSTOMER].pk), tokens[number // STREAMS_A_CUSTOMER]) for number in range(streams)
    ]
    port = _free_port()
    web = _start_web(port, application)
    readers = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.streams", "--read", str(port)],
        cwd=common.ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert readers.stdin
    assert readers.stdout
    try:
        worker = psutil.Process(web.pid).children()[0]
        before = worker.memory_full_info().uss
        readers.stdin.write(json.dumps(requests) + "\n")
        readers.stdin.flush()
        opened = json.loads(readers.stdout.readline())
        memory = worker.memory_full_info().uss
        threads = worker.num_threads()
        worker.cpu_percent()
        time.sleep(5)
        idle = worker.cpu_percent()
        changed_at = time.monotonic()
        for task in tasks:
            heartbeat(task=task, progress=1, total=10)
        readers.stdin.write(f"{changed_at}\n")
        readers.stdin.flush()
        received = json.loads(readers.stdout.readline())["received"]
        readers.stdin.write("\n")
        readers.stdin.flush()
        readers.wait(30)
    finally:
        readers.kill()
        web.terminate()
        web.wait(60)
    return _Measured(
        streams=opened["opened"],
        failed=opened["failed"],
        connect_seconds=round(opened["seconds"], 1),
        connect_p50_ms=_percentile(opened["times"], 0.5),
        connect_p95_ms=_percentile(opened["times"], 0.95),
        kb_a_stream=round((memory - before) / 1024 / max(1, opened["opened"]), 1),
        megabytes=round(memory / 1024**2, 1),
        threads=threads,
        idle_cpu_percent=idle,
        notified=len(received),
        notified_p50_ms=_percentile(received or [60.0], 0.5),
        notified_p95_ms=_percentile(received or [60.0], 0.95),
        notified_last_ms=_percentile(received or [60.0], 1.0),
    )


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--peer", type=int, default=200, help="streams of the peer; 0 leaves it out")
    parser.add_argument("--read", type=int, metavar="PORT", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    _raise_file_limit()
    if arguments.read:
        asyncio.run(_read(arguments.read, [tuple(pair) for pair in json.loads(sys.stdin.readline())]))
        return
    common.fresh_database("kamioi_streams")
    common.seed_directory(users=-(-max(arguments.streams, arguments.peer) // STREAMS_A_CUSTOMER), merchants=1)
    ours = _measure(arguments.streams, "kamioi_site.asgi:application")
    peer = _measure(arguments.peer, "benchmarks.peers.django_asgi:application") if arguments.peer else None
    figures: dict[str, Any] = {"benchmark": "streams", "ours": vars(ours), "peer": peer and vars(peer)}
    if peer:
        figures["ratio"] = round(peer.kb_a_stream / max(ours.kb_a_stream, 0.1), 1)
    common.drop_database("kamioi_streams")
    common.report(**figures)


if __name__ == "__main__":
    main()
