"""Start, supervise and stop the processes of one machine; `make run` and the local cluster are built on it.

- One run per home, ensured by a file lock that the kernel releases when its holder ends.
- Every child carries the run's random token in its environment. Processes left by a killed run are found by that
  token, so no other process can be hit.
- A child that exits is restarted, with increasing delays. The kernel signals the children when this process is killed.
- The output of children goes to `KAMIOI_HOME/logs`.
"""

import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import pwd
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import IO, Any

import psutil

from kamioi_site.errors import KamioiError
from kamioi_site.local import system
from kamioi_site.local.embedded_servers import REPOSITORY, home

TOKEN = "KAMIOI_RUN_TOKEN"  # noqa: S105  # the name of a variable
LOG_LIMIT = 20 * 1024**2  # bytes; a longer log is rotated at the next start
STABLE_SECONDS = 60.0  # a child that ran this long restarts with the shortest delay
MAX_RESTART_DELAY = 30.0  # seconds
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)  # loaded here: a freshly forked child should do as little as possible


class RunError(KamioiError):
    """Kamioi could not be started."""


class StopRequested(BaseException):
    """A signal requested the end of the run; may arrive at any moment of the start."""


@dataclass(kw_only=True)
class Child:
    """One process of the run: its command and its state. Times are monotonic seconds.

    Adjacent children with the same `group` are stopped together. `environment` replaces ours (the token is added);
    `owner` is the user to drop to; `prepare` is called before every start.
    """

    name: str
    command: list[str]
    stop_timeout: float  # seconds it gets to finish its work
    group: str = ""
    environment: dict[str, str] | None = None
    owner: pwd.struct_passwd | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    prepare: Callable[[], None] | None = None
    process: "subprocess.Popen[bytes] | None" = None
    started_at: float = 0.0
    starts: int = 0
    failures: int = 0
    restart_at: float = 0.0
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = home() / "logs" / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """The pid while the child is running."""
        return self.process.pid if self.process is not None and self.process.poll() is None else None

    @property
    def has_exited(self) -> bool:
        """Whether it was started and has exited."""
        return self.process is not None and self.process.poll() is not None


# --- Children ---------------------------------------------------------------------------------------------------------
def start(child: Child) -> None:
    """Start the child; raises what its `prepare` raises, or OSError when the program does not exist."""
    if child.prepare is not None:
        child.prepare()
    environment = None
    if child.environment is not None:
        environment = child.environment | {TOKEN: os.environ.get(TOKEN, "")}
    number = child.stop_signal
    with open_log(child.log) as output:
        child.process = subprocess.Popen(
            child.command,
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: _signal_on_parent_death(number),
            env=environment,
            **system.as_user(child.owner),
        )
    child.started_at = time.monotonic()
    child.starts += 1


def watch(children: Sequence[Child], on_change: Callable[[], None] = lambda: None) -> None:
    """Restart children that exit, until a signal arrives; `on_change` is called after every start and exit."""
    while True:
        time.sleep(0.5)
        changes = [_restart_if_due(child) for child in children]
        if any(changes):
            on_change()


def _restart_if_due(child: Child) -> bool:
    now = time.monotonic()
    if child.process is not None and child.process.poll() is not None:
        code = child.process.returncode
        _kill_group(child.process.pid)  # its own children must not run beside the new ones
        child.process = None
        child.failures = 1 if now - child.started_at > STABLE_SECONDS else child.failures + 1
        delay = min(2.0 ** (child.failures - 1), MAX_RESTART_DELAY)
        child.restart_at = now + delay
        echo(f"{child.name} exited ({_exit_reason(code)}); restarting it in {delay:.0f} s. Log: {child.log}")
        return True
    if child.process is None and now >= child.restart_at:
        try:
            start(child)
        except (KamioiError, OSError) as error:
            child.failures += 1
            child.restart_at = now + MAX_RESTART_DELAY
            echo(f"{child.name} cannot be started: {error}")
        return True
    return False


def stop(children: Sequence[Child]) -> None:
    """Stop children in reverse order, adjacent members of a group together, each within its timeout."""
    for _key, members in groupby(reversed(children), key=lambda child: child.group or child.name):
        group = [(child, child.process) for child in members if child.process is not None]
        running = [(child, process) for child, process in group if process.poll() is None]
        for child, process in running:
            process.send_signal(child.stop_signal)
        for child, process in running:
            deadline = time.monotonic() + child.stop_timeout
            while process.poll() is None and time.monotonic() < deadline and not _forced:
                time.sleep(0.05)
            if process.poll() is None:
                echo(f"{child.name} did not stop in time and is killed; its work continues at the next start.")
        for _child, process in group:
            _kill_group(process.pid)
            process.wait()


def _kill_group(leader: int) -> None:
    """Kill what is left of a child's process group; each child leads its own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def kill_by_token(token: str) -> None:
    """End every process that carries the token of a run: SIGTERM, and SIGKILL after 15 seconds."""
    if not token:
        return
    processes = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(TOKEN) == token:
                processes.append(process)
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _gone, alive = psutil.wait_procs(processes, timeout=15)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=5)


# --- Health -----------------------------------------------------------------------------------------------------------
def wait_until_healthy(
    children: Sequence[Child], *, urls: Collection[str], workers: Collection[str], seconds: float
) -> None:
    """Wait until every URL answers 200 and every worker (named without its host) replies.

    Raises RunError with the last log line of what did not start.
    """
    deadline = time.monotonic() + seconds
    unanswered = set(urls)
    while time.monotonic() < deadline:
        for child in children:
            if child.has_exited:
                raise RunError(f"{child.name} exited at once: {last_line(child.log)} (log: {child.log})")
        unanswered = {url for url in unanswered if not answers(url)}
        if not unanswered and count_workers(workers) >= len(workers):
            return
        time.sleep(0.3)
    missing = "The web processes do" if unanswered else "The workers do"
    raise RunError(f"{missing} not answer after {seconds:.0f} s. Logs: {home() / 'logs'}")


def answers(url: str) -> bool:
    """Whether the URL answers 200 within five seconds."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310  # our own http address
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def count_workers(names: Collection[str]) -> int:
    """Count how many of these workers on this machine reply to a ping."""
    from kamioi_site.celery import app  # noqa: PLC0415  # reads the settings, which need the servers' URLs

    nodes = {f"{name}@{socket.gethostname()}" for name in names}
    try:
        replies: list[dict[str, Any]] = app.control.ping(timeout=1.0) or []
    except app.connection_for_read().connection_errors:
        return 0
    return sum(1 for reply in replies if nodes & set(reply))


# --- The run of a home ------------------------------------------------------------------------------------------------
@contextlib.contextmanager
def run_lock() -> Iterator[Path]:
    """Hold this home's run lock, with our pid written in the file."""
    here = home()
    try:
        here.mkdir(parents=True, exist_ok=True)
        handle = (here / "run.lock").open("a+")
    except OSError as error:
        raise RunError(f"{here} is not writable: {error.strerror}. Set KAMIOI_HOME to another directory.") from error
    with handle:
        if not _try_lock(handle):
            raise RunError(
                f"Kamioi already runs from {here}. `make stop` stops it; set KAMIOI_HOME to run a second one."
            )
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        try:
            yield here
        finally:
            handle.truncate(0)


def stop_running() -> None:
    """Stop the run of this home, if there is one, and the processes of a killed one."""
    here = home()
    if not (here / "run.lock").exists():
        return
    with (here / "run.lock").open("r+") as handle:
        deadline = time.monotonic() + 120
        signalled = False
        while not _try_lock(handle):
            handle.seek(0)
            pid = handle.read().strip()
            if not signalled and pid:
                os.kill(int(pid), signal.SIGTERM)  # it holds the lock, so the pid is its own
                signalled = True
            if time.monotonic() > deadline:
                raise RunError(f"Process {pid} does not stop.")
            time.sleep(0.2)
        kill_by_token(last_run(here).get("token", ""))
        (here / "run.json").unlink(missing_ok=True)


def _try_lock(handle: IO[str]) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def last_run(here: Path) -> dict[str, Any]:
    """Return what the previous run recorded, if it did not end cleanly."""
    try:
        record = json.loads((here / "run.json").read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def manage(*arguments: str) -> None:
    """Run a command of manage.py with its output in a log; raises RunError with the log's last line."""
    log = home() / "logs" / f"{arguments[0]}.log"
    with open_log(log) as output:
        result = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
            start_new_session=True,
            preexec_fn=lambda: _signal_on_parent_death(signal.SIGTERM),
        )
    if result.returncode != 0:
        raise RunError(f"manage.py {arguments[0]} failed: {last_line(log)} (log: {log})")


def prepare_site(here: Path, *, demo: bool) -> None:
    """Collect the static files if one changed since the last run, and load the demo into an empty database."""
    fingerprint = _static_fingerprint()
    stamp = here / "static.stamp"
    if not stamp.exists() or stamp.read_text() != fingerprint:
        echo("Collecting static files ...")
        manage("collectstatic", "--noinput")
        stamp.write_text(fingerprint)
    if demo:
        echo("Loading the demo ...")
        try:
            manage("load_demo")
        except RunError as error:
            # A database with other customers refuses the demo, which is no reason not to run.
            echo(f"No demo: {error}")


def _static_fingerprint() -> str:
    """Hash our static files and the pinned packages."""
    digest = hashlib.sha256((REPOSITORY / "requirements.txt").read_bytes())
    digest.update(sys.prefix.encode())
    for path in sorted(REPOSITORY.glob("*/static/**/*")):
        status = path.stat()
        digest.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def show_login(here: Path) -> None:
    """Print the demo's login once; afterwards only where it is stored."""
    login, shown = here / "demo-login.txt", here / "demo-login.shown"
    if not login.exists():
        return
    text = login.read_text().strip()
    digest = hashlib.sha256(text.encode()).hexdigest()
    if shown.exists() and shown.read_text() == digest:
        echo(f"Demo login: see {login}")
        return
    echo(f"Demo login (shown once; stored in {login}):\n{text}")
    shown.write_text(digest)


# --- Ports, logs, signals ---------------------------------------------------------------------------------------------
def port_taken(host: str, port: int) -> bool:
    """Whether another program listens there; raises RunError for a port that needs root."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError as error:
            raise RunError(f"Port {port} needs root. Choose one above 1023: make run PORT=8000") from error
        except OSError:
            return True
    return False


@contextlib.contextmanager
def open_log(path: Path) -> Iterator[IO[bytes]]:
    """Open the log for appending, rotating one that is too long."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LOG_LIMIT:
        path.rename(path.with_suffix(".log.1"))
    with path.open("ab") as output:
        yield output


def last_line(path: Path) -> str:
    """Return the last non-empty line of a log."""
    lines = [line for line in path.read_text(errors="replace").splitlines()[-20:] if line.strip()]
    return lines[-1].strip() if lines else "no output"


def _exit_reason(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _signal_on_parent_death(number: signal.Signals) -> None:
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, number)


_forced = False


def request_stop(_number: int, _frame: FrameType | None) -> None:
    """Raise StopRequested; the signal handler while everything runs."""
    handle_signals(signal.SIG_IGN)  # until `force_stop` is installed a moment later
    raise StopRequested


def force_stop(_number: int, _frame: FrameType | None) -> None:
    """End all waiting; the signal handler while everything stops."""
    global _forced  # noqa: PLW0603  # set by a signal, read by the loop that waits
    _forced = True


def handle_signals(handler: Any) -> None:
    """Install one handler for Ctrl-C, SIGTERM and a closed terminal."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)


def echo(text: str) -> None:
    """Print; a closed terminal must not stop the shutdown of servers."""
    with contextlib.suppress(OSError):
        print(text, flush=True)
