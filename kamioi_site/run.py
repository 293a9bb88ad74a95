"""`make run`: everything of Kamioi on one machine, in the foreground, until Ctrl-C.

Servers, migrations, the demo and static files first; then the web processes, the Celery workers and beat as children
whose output goes to `KAMIOI_HOME/logs`. Rules that hold here:
- One run a home: a file lock says so, and the kernel drops it with the process that held it.
- Every child carries the run's random token in its environment. What a run that was killed left behind is found by
  that token and ended; no other process can be meant.
- Children that die are started again, ever more slowly. The kernel ends them when this process is killed.
- Servers are stopped at the end only when this run (or the killed one before it) started them.

`python -m kamioi_site.run --stop` ends the run of this home and its embedded servers.
"""

import contextlib
import ctypes
import fcntl
import hashlib
import json
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, Any

import psutil

from kamioi_site import embedded
from kamioi_site.embedded import REPOSITORY, home
from kamioi_site.errors import KamioiError

TOKEN = "KAMIOI_RUN_TOKEN"  # noqa: S105  # the name of a variable
HEALTHY_TIMEOUT = 120.0  # seconds
LOG_LIMIT = 20 * 1024**2  # bytes; a longer log is set aside at the next start
# A child that lived this long was healthy: the next failure starts at the shortest pause again.
STEADY = 60.0
LONGEST_PAUSE = 30.0
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)  # loaded here: a freshly forked child should do as little as possible


class RunError(KamioiError):
    """Kamioi could not be started."""


class _Stop(BaseException):
    """A signal asks for the end; may come at any moment of the start."""


@dataclass(kw_only=True)
class Child:
    """One process of the run: how it is started, and how it has been doing. Times are monotonic seconds."""

    name: str
    command: list[str]
    patience: float  # seconds it gets to finish its work
    process: "subprocess.Popen[bytes] | None" = None
    started_at: float = 0.0
    failures: int = 0
    restart_at: float = 0.0
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = home() / "logs" / f"{self.name}.log"


def children(port: int) -> list[Child]:
    """What makes up Kamioi on one machine, in the order of starting. Every queue has a worker."""
    python = sys.executable
    celery = [python, "-m", "celery", "-A", "kamioi_site"]
    return [
        Child(
            name="worker-transactions",
            command=[*celery, "worker", "-l", "info", "-c", "2", "-n", "transactions@%h", "-Q", "transactions"],
            patience=30,
        ),
        Child(
            name="worker-general",
            command=[
                *celery, "worker", "-l", "info", "-c", "2", "-n", "general@%h",
                "-Q", "ai,analytics,notifications,bulk",
            ],
            patience=30,
        ),
        Child(
            name="web",
            command=[
                python, "-m", "gunicorn", "kamioi_site.asgi:application",
                "--worker-class", "uvicorn_worker.UvicornWorker", "--workers", "2",
                "--bind", f"{_host()}:{port}", "--timeout", "60", "--graceful-timeout", "10",
            ],
            patience=15,
        ),
        Child(name="beat", command=[*celery, "beat", "-l", "info", "--pidfile="], patience=5),
    ]  # fmt: skip


def run() -> int:
    """Start, watch and stop everything. Returns the exit code: 0 when somebody asked for the end."""
    port = _port()
    with _only_run() as here:
        last = _last_run(here)
        _end_marked(last.get("token", ""))
        if _taken(port):
            raise RunError(f"Port {port} is taken by another program. Choose another one: make run PORT={port + 1}")
        running = {server.name for server in embedded.server_status() if server.running}
        owned = sorted(({"postgres", "redis"} - running) | set(last.get("servers", [])))
        token = secrets.token_hex(16)
        embedded.write_private(here / "run.json", json.dumps({"token": token, "servers": owned}))
        os.environ[TOKEN] = token
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kamioi_site.settings.dev")
        # Web and workers share it: one scrape of the web tells of all.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(_metrics_directory(here))
        fleet = children(port)
        code = 0
        try:
            _on_signals(_ask_to_stop)
            _say("Starting PostgreSQL and Redis ...")
            embedded.ensure_servers()
            _prepare(here)
            for child in fleet:
                _start(child)
            _wait_until_healthy(fleet, port)
            _say(f"\nKamioi runs at http://localhost:{port}/admin/   (logs: {here / 'logs'}; Ctrl-C stops it)")
            _show_login(here)
            _watch(fleet)
        except _Stop:
            _say("\nStopping (once more: at once) ...")
        except KamioiError as error:
            print(error, file=sys.stderr)
            code = 1
        finally:
            _on_signals(_hurry)
            _stop(fleet)
            _end_marked(token)  # whatever a signal in the middle of a start left untold
            stopped = embedded.stop_servers(owned)
            _say("Stopped" + (f", with {' and '.join(stopped)}." if stopped else "."))
            (here / "run.json").unlink(missing_ok=True)
    return code


def stop() -> int:
    """End the run of this home, if there is one, what a killed run left behind, and the embedded servers."""
    here = home()
    if (here / "run.lock").exists():
        with (here / "run.lock").open("r+") as handle:
            deadline = time.monotonic() + 120
            asked = False
            while not _try_lock(handle):
                handle.seek(0)
                pid = handle.read().strip()
                if not asked and pid:
                    os.kill(int(pid), signal.SIGTERM)  # it holds the lock, so the number is its own
                    asked = True
                if time.monotonic() > deadline:
                    raise RunError(f"Process {pid} does not stop.")
                time.sleep(0.2)
            _end_marked(_last_run(here).get("token", ""))
            (here / "run.json").unlink(missing_ok=True)
    stopped = embedded.stop_servers()
    _say("Stopped" + (f": {' and '.join(stopped)}." if stopped else "; no server of this home was running."))
    return 0


def _metrics_directory(here: Path) -> Path:
    """Where the processes of this run count; empty, for what an earlier run counted is over."""
    directory = here / "metrics"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    return directory


def _prepare(here: Path) -> None:
    _say("Migrating the database ...")
    _manage("migrate", "--noinput")
    fingerprint = _static_fingerprint()
    stamp = here / "static.stamp"
    if not stamp.exists() or stamp.read_text() != fingerprint:
        _say("Collecting static files ...")
        _manage("collectstatic", "--noinput")
        stamp.write_text(fingerprint)
    _say("Loading the demo ...")
    try:
        _manage("load_demo")
    except RunError as error:
        # A database with customers of its own takes no demo, and that is no reason not to run.
        _say(f"No demo: {error}")


def _manage(*arguments: str) -> None:
    """Run a command of manage.py to its end, output into a log; raises RunError with its last words."""
    log = home() / "logs" / f"{arguments[0]}.log"
    with _opened_log(log) as output:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False,
            start_new_session=True, preexec_fn=_die_with_parent,
        )  # fmt: skip
    if done.returncode != 0:
        raise RunError(f"manage.py {arguments[0]} failed: {_last_line(log)} (log: {log})")


def _start(child: Child) -> None:
    with _opened_log(child.log) as output:
        child.process = subprocess.Popen(
            child.command,
            cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True, preexec_fn=_die_with_parent,
        )  # fmt: skip
    child.started_at = time.monotonic()


def _watch(fleet: Sequence[Child]) -> None:
    """Start again what dies, until a signal comes."""
    while True:
        time.sleep(0.5)
        for child in fleet:
            _revive(child)


def _revive(child: Child) -> None:
    now = time.monotonic()
    if child.process is not None and child.process.poll() is not None:
        code = child.process.returncode
        _kill_group(child.process.pid)  # its own children must not go on beside the new ones
        child.process = None
        child.failures = 1 if now - child.started_at > STEADY else child.failures + 1
        pause = min(2.0 ** (child.failures - 1), LONGEST_PAUSE)
        child.restart_at = now + pause
        _say(f"{child.name} ended ({_ending(code)}); starting it again in {pause:.0f} s. Log: {child.log}")
    elif child.process is None and now >= child.restart_at:
        _start(child)


def _wait_until_healthy(fleet: Sequence[Child], port: int) -> None:
    """Until the web answers and every worker does; raises RunError with the log of what did not come up."""
    _say("Waiting for the web and the workers ...")
    deadline = time.monotonic() + HEALTHY_TIMEOUT
    workers = sum(1 for child in fleet if child.name.startswith("worker"))
    web_answers = False
    while time.monotonic() < deadline:
        for child in fleet:
            if child.process is not None and child.process.poll() is not None:
                raise RunError(f"{child.name} ended at once: {_last_line(child.log)} (log: {child.log})")
        web_answers = web_answers or _answers(f"http://{_local_address()}:{port}/healthz")
        if web_answers and _workers_answering() >= workers:
            return
        time.sleep(0.3)
    missing = "The workers do" if web_answers else "The web does"
    raise RunError(f"{missing} not answer after {HEALTHY_TIMEOUT:.0f} s. Logs: {home() / 'logs'}")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:  # noqa: S310  # our own http address
            return bool(reply.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _workers_answering() -> int:
    """How many workers of this machine reply to a ping."""
    from kamioi_site.celery import app  # noqa: PLC0415  # reads the settings, which need the servers' addresses

    ours = {f"{name}@{socket.gethostname()}" for name in ("transactions", "general")}
    try:
        replies: list[dict[str, Any]] = app.control.ping(timeout=1.0) or []
    except app.connection_for_read().connection_errors:
        return 0
    return sum(1 for reply in replies if ours & set(reply))


def _stop(fleet: Sequence[Child]) -> None:
    """Beat first, so that nothing new comes; then the web; the workers finish what they hold, all within their time."""
    beat_and_web = [child for child in reversed(fleet) if not child.name.startswith("worker")]
    workers = [child for child in fleet if child.name.startswith("worker")]
    for group in [*([child] for child in beat_and_web), workers]:
        alive = [child for child in group if child.process is not None and child.process.poll() is None]
        for child in alive:
            assert child.process is not None
            child.process.terminate()
        for child in alive:
            assert child.process is not None
            deadline = time.monotonic() + child.patience
            while child.process.poll() is None and time.monotonic() < deadline and not _hurrying:
                time.sleep(0.05)
            if child.process.poll() is None:
                _say(f"{child.name} did not stop in time and is killed; its work is taken up at the next start.")
        for child in group:
            if child.process is not None:
                _kill_group(child.process.pid)
                child.process.wait()


def _kill_group(leader: int) -> None:
    """End what is left of a child's process group (each child leads one of its own)."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def _end_marked(token: str) -> None:
    """End every process that carries the token of a run: politely, and after 15 seconds for good."""
    if not token:
        return
    marked = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(TOKEN) == token:
                marked.append(process)
    for process in marked:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _gone, alive = psutil.wait_procs(marked, timeout=15)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=5)


@contextlib.contextmanager
def _only_run() -> Iterator[Path]:
    """Hold this home's run lock, our pid written in it."""
    here = home()
    try:
        here.mkdir(parents=True, exist_ok=True)
        handle = (here / "run.lock").open("a+")
    except OSError as error:
        raise RunError(f"{here} cannot be written: {error.strerror}. Set KAMIOI_HOME to another directory.") from error
    with handle:
        if not _try_lock(handle):
            raise RunError(
                f"Kamioi runs from {here} already. `make stop` ends it; KAMIOI_HOME gives a second one a home."
            )
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        try:
            yield here
        finally:
            handle.truncate(0)


def _try_lock(handle: IO[str]) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _last_run(here: Path) -> dict[str, Any]:
    """What the run before wrote down, when it did not end cleanly."""
    try:
        found = json.loads((here / "run.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _port() -> int:
    text = os.environ.get("PORT") or "8000"
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise RunError(f"PORT must be a number from 1 to 65535, not {text!r}.")
    return int(text)


def _host() -> str:
    return os.environ.get("HOST") or "127.0.0.1"


def _local_address() -> str:
    return "127.0.0.1" if _host() == "0.0.0.0" else _host()  # noqa: S104  # a comparison


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_host(), port))
        except PermissionError as error:
            raise RunError(f"Port {port} needs root. Choose one above 1023: make run PORT=8000") from error
        except OSError:
            return True
    return False


def _static_fingerprint() -> str:
    """Changes when a static file of ours or the installed packages do."""
    told = hashlib.sha256((REPOSITORY / "requirements.txt").read_bytes())
    told.update(sys.prefix.encode())
    for path in sorted(REPOSITORY.glob("*/static/**/*")):
        facts = path.stat()
        told.update(f"{path} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return told.hexdigest()


def _show_login(here: Path) -> None:
    """The demo's log-in, once; afterwards only where it stands."""
    login, shown = here / "demo-login.txt", here / "demo-login.shown"
    if not login.exists():
        return
    text = login.read_text().strip()
    digest = hashlib.sha256(text.encode()).hexdigest()
    if shown.exists() and shown.read_text() == digest:
        _say(f"Log-in of the demo: see {login}")
        return
    _say(f"Log-in of the demo (shown once; it stays in {login}):\n{text}")
    shown.write_text(digest)


@contextlib.contextmanager
def _opened_log(path: Path) -> Iterator[IO[bytes]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LOG_LIMIT:
        path.rename(path.with_suffix(".log.1"))
    with path.open("ab") as output:
        yield output


def _last_line(path: Path) -> str:
    lines = [line for line in path.read_text(errors="replace").splitlines()[-20:] if line.strip()]
    return lines[-1].strip() if lines else "it said nothing"


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _die_with_parent() -> None:
    """In the child, before it starts: ask Linux for a SIGTERM when the parent dies, however it dies."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


_hurrying = False


def _ask_to_stop(_number: int, _frame: FrameType | None) -> None:
    _on_signals(signal.SIG_IGN)  # the orderly end begins; _hurry takes over a moment later
    raise _Stop


def _hurry(_number: int, _frame: FrameType | None) -> None:
    global _hurrying  # noqa: PLW0603  # set by a signal, read by the loop that waits
    _hurrying = True


def _on_signals(handler: Any) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)


def _say(text: str) -> None:
    # A terminal that was closed is no reason to leave servers behind.
    with contextlib.suppress(OSError):
        print(text, flush=True)


def main(arguments: Sequence[str]) -> int:
    """Run, or stop with `--stop`; returns the exit code."""
    logging.getLogger("celery").setLevel(logging.ERROR)
    try:
        return stop() if list(arguments) == ["--stop"] else run()
    except KamioiError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
