"""`make run`: starts, restarts a child that dies, stops cleanly, recovers after a kill -9.

One real run in a temporary home goes through its whole life; the tests read its output at each stage.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from kamioi_site.local.system import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
START = 300.0  # seconds, including the demo


class Run:
    """A `make run` without make, its output in a file."""

    def __init__(self, here: Path, port: int, number: int = 1) -> None:
        given = ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "DJANGO_SETTINGS_MODULE")
        environment = {name: value for name, value in os.environ.items() if name not in given}
        self.port = port
        self.output = here.parent / f"{here.name}-{number}.txt"
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "docker.local.devserver"],
                cwd=ROOT,
                env=environment | {"KAMIOI_HOME": str(here), "PORT": str(port)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def text(self) -> str:
        """Return its output so far."""
        return self.output.read_text()

    def wait_for(self, text: str, seconds: float = START) -> None:
        """Wait for this output; fails when it does not appear in time, or the run ends before."""
        _wait(lambda: text in self.text() or self.process.poll() is not None, seconds, self.text)
        assert text in self.text(), self.text()

    def processes(self) -> list[psutil.Process]:
        """Return every process below the run."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self, number: signal.Signals) -> int:
        """Send the signal and wait for the exit; returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(90)


def _wait(condition: Callable[[], bool], seconds: float, describe: Callable[[], str] = lambda: "") -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, describe()
        time.sleep(0.1)


def _alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _servers(here: Path) -> str:
    return subprocess.run(
        [sys.executable, "-m", "kamioi_site.local.embedded_servers", "status"],
        cwd=ROOT,
        env={**os.environ, "KAMIOI_HOME": str(here), "DATABASE_URL": "", "REDIS_URL": ""},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A temporary home; everything in it is stopped afterwards."""
    here = tmp_path / "home"
    yield here
    subprocess.run(
        [sys.executable, "-m", "docker.local.devserver", "--stop"],
        cwd=ROOT,
        env={**os.environ, "KAMIOI_HOME": str(here)},
        check=False,
        capture_output=True,
    )


def test_a_port_in_use_is_reported_in_one_line(home):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        run = Run(home, port)
        assert run.process.wait(30) == 1
    assert run.text() == f"Port {port} is in use by another program. Choose another one: make run PORT={port + 1}\n"
    assert "running" not in _servers(home)


def test_a_run_starts_restarts_children_recovers_from_a_kill_and_stops_cleanly(home):
    first = Run(home, free_port())
    try:
        first.wait_for("Demo login (shown once")
        assert f"Kamioi runs at http://localhost:{first.port}/admin/" in first.text()
        assert "No demo" not in first.text()
        with urllib.request.urlopen(f"http://127.0.0.1:{first.port}/healthz", timeout=5) as reply:
            assert reply.status == 200
        # One scrape of the web returns the metrics of the workers too.
        with urllib.request.urlopen(f"http://127.0.0.1:{first.port}/metrics", timeout=30) as reply:
            metrics = reply.read().decode()
        for pool in ("transactions", "general"):
            assert f'kamioi_worker_processes{{pool="{pool}"}} 2.0' in metrics
        login = (home / "demo-login.txt").read_text().split()
        assert login[-1] in first.text()
        commands = [" ".join(process.cmdline()) for process in first.processes()]
        queues = ",".join(re.search(r"-Q (\S+)", command)[1] for command in commands if "-Q " in command)  # type: ignore[index]
        assert set(queues.split(",")) == {"ai", "transactions", "analytics", "notifications", "bulk"}

        # A second run in the same home is refused.
        rival = Run(home, free_port(), number=2)
        assert rival.process.wait(30) == 1
        assert "already runs from" in rival.text()
        assert "make stop" in rival.text()

        # A worker that dies is restarted.
        victim = next(
            process
            for process in psutil.Process(first.process.pid).children()
            if "-Q transactions" in " ".join(process.cmdline())
        )
        victim.kill()
        first.wait_for("worker-transactions exited (signal SIGKILL); restarting it in 1 s", 10)
        _wait(
            lambda: any("-Q transactions" in " ".join(p.cmdline()) for p in first.processes() if p.pid != victim.pid),
            15,
        )

        # When the run itself is killed, its children end soon after.
        orphans = first.processes()
        first.process.kill()
        first.process.wait()
        assert "running" in _servers(home)

        second = Run(home, first.port, number=3)
        second.wait_for("Kamioi runs at")
        assert not [process for process in orphans if _alive(process)]
        assert login[-1] not in second.text()  # shown once
        assert "Demo login: see" in second.text()
    finally:
        if first.process.poll() is None:
            first.end(signal.SIGTERM)
    processes = second.processes()
    assert second.end(signal.SIGINT) == 0
    assert second.text().endswith("Stopped, with postgres and redis.\n")
    assert not [process for process in processes if _alive(process)]
    assert "running" not in _servers(home)


def test_a_signal_during_the_start_leaves_no_process_behind(home):
    run = Run(home, free_port())
    run.wait_for("Migrating the database", 60)
    time.sleep(0.5)
    processes = run.processes()
    assert run.end(signal.SIGTERM) == 0
    assert not [process for process in processes if _alive(process)]
    assert "running" not in _servers(home)
