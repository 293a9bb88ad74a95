"""Keeps the processes of one machine going: `make run` and the local cluster are built on it.

Rules that hold here:
- One run a home: a file lock says so, and the kernel drops it with the process that held it.
- Every child carries the run's random token in its environment. What a run that was killed left behind is found by
  that token and ended; no other process can be meant.
- Children that die are started again, ever more slowly. The kernel ends them when this process is killed.
- Output of children goes to `KAMIOI_HOME/logs`.
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
from kamioi_site.local import embedded_servers
from kamioi_site.local.embedded_servers import REPOSITORY, home

TOKEN = "KAMIOI_RUN_TOKEN"  # noqa: S105  # the name of a variable
LOG_LIMIT = 20 * 1024**2  # bytes; a longer log is set aside at the next start
# A child that lived this long was healthy: the next failure starts at the shortest pause again.
STEADY = 60.0
LONGEST_PAUSE = 30.0
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)  # loaded here: a freshly forked child should do as little as possible


class RunError(KamioiError):
    """Kamioi could not be started."""


class Stop(BaseException):
    """A signal asks for the end; may come at any moment of the start."""


@dataclass(kw_only=True)
class Child:
    """One process of the run: how it is started, and how it has been doing. Times are monotonic seconds.

    Children that stand side by side in the fleet with the same `group` are stopped together. `environment` replaces
    ours (the token is added); `owner` is the user to drop to; `prepare` is called before every start.
    """

    name: str
    command: list[str]
    patience: float  # seconds it gets to finish its work
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
    def ended(self) -> bool:
        """Whether it was started and is gone."""
        return self.process is not None and self.process.poll() is not None


# --- Children ---------------------------------------------------------------------------------------------------
def start(child: Child) -> None:
    """Start the child; raises what its `prepare` raises, or OSError when there is no such program."""
    if child.prepare is not None:
        child.prepare()
    environment = None
    if child.environment is not None:
        environment = child.environment | {TOKEN: os.environ.get(TOKEN, "")}
    number = child.stop_signal

    def before() -> None:
        # Ask Linux for the signal when the parent dies, however it dies.
        if sys.platform == "linux":
            _libc.prctl(_PR_SET_PDEATHSIG, number)

    with opened_log(child.log) as output:
        child.process = subprocess.Popen(
            child.command,
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=before,
            env=environment,
            **embedded_servers.as_user(child.owner),
        )
    child.started_at = time.monotonic()
    child.starts += 1


def watch(fleet: Sequence[Child], changed: Callable[[], None] = lambda: None) -> None:
    """Start again what dies, until a signal comes; `changed` is called after every start and end."""
    while True:
        time.sleep(0.5)
        revived = [_revive(child) for child in fleet]
        if any(revived):
            changed()


def _revive(child: Child) -> bool:
    now = time.monotonic()
    if child.process is not None and child.process.poll() is not None:
        code = child.process.returncode
        _kill_group(child.process.pid)  # its own children must not go on beside the new ones
        child.process = None
        child.failures = 1 if now - child.started_at > STEADY else child.failures + 1
        pause = min(2.0 ** (child.failures - 1), LONGEST_PAUSE)
        child.restart_at = now + pause
        echo(f"{child.name} ended ({_exit_reason(code)}); starting it again in {pause:.0f} s. Log: {child.log}")
        return True
    if child.process is None and now >= child.restart_at:
        try:
            start(child)
        except (KamioiError, OSError) as error:
            child.failures += 1
            child.restart_at = now + LONGEST_PAUSE
            echo(f"{child.name} cannot be started: {error}")
        return True
    return False


def stop(fleet: Sequence[Child]) -> None:
    """Stop in the reverse order of starting, neighbours of one group together, each within its time."""
    for _key, members in groupby(reversed(fleet), key=lambda child: child.group or child.name):
        group = list(members)
        alive = [child for child in group if child.process is not None and child.process.poll() is None]
        for child in alive:
            assert child.process is not None
            child.process.send_signal(child.stop_signal)
        for child in alive:
            assert child.process is not None
            deadline = time.monotonic() + child.patience
            while child.process.poll() is None and time.monotonic() < deadline and not _hurrying:
                time.sleep(0.05)
            if child.process.poll() is None:
                echo(f"{child.name} did not stop in time and is killed; its work is taken up at the next start.")
        for child in group:
            if child.process is not None:
                _kill_group(child.process.pid)
                child.process.wait()


def _kill_group(leader: int) -> None:
    """End what is left of a child's process group (each child leads one of its own)."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def kill_by_token(token: str) -> None:
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


# --- Is it well? ------------------------------------------------------------------------------------------------
def wait_until_healthy(
    fleet: Sequence[Child], *, urls: Collection[str], workers: Collection[str], seconds: float
) -> None:
    """Until every address answers 200 and every worker (by its name before the @) replies.

    Raises RunError with the log of what did not come up.
    """
    deadline = time.monotonic() + seconds
    silent = set(urls)
    while time.monotonic() < deadline:
        for child in fleet:
            if child.ended:
                raise RunError(f"{child.name} ended at once: {last_line(child.log)} (log: {child.log})")
        silent = {url for url in silent if not answers(url)}
        if not silent and workers_answering(workers) >= len(workers):
            return
        time.sleep(0.3)
    missing = "The web does" if silent else "The workers do"
    raise RunError(f"{missing} not answer after {seconds:.0f} s. Logs: {home() / 'logs'}")


def answers(url: str) -> bool:
    """Whether the address answers 200 within five seconds."""
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:  # noqa: S310  # our own http address
            return bool(reply.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def workers_answering(names: Collection[str]) -> int:
    """How many of these workers of this machine reply to a ping."""
    from kamioi_site.celery import app  # noqa: PLC0415  # reads the settings, which need the servers' addresses

    ours = {f"{name}@{socket.gethostname()}" for name in names}
    try:
        replies: list[dict[str, Any]] = app.control.ping(timeout=1.0) or []
    except app.connection_for_read().connection_errors:
        return 0
    return sum(1 for reply in replies if ours & set(reply))


# --- The home ---------------------------------------------------------------------------------------------------
@contextlib.contextmanager
def only_run() -> Iterator[Path]:
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


def stop_other_run() -> None:
    """End the run of this home, if there is one, and what a killed one left behind."""
    here = home()
    if not (here / "run.lock").exists():
        return
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
        kill_by_token(last_run(here).get("token", ""))
        (here / "run.json").unlink(missing_ok=True)


def _try_lock(handle: IO[str]) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def last_run(here: Path) -> dict[str, Any]:
    """What the run before wrote down, when it did not end cleanly."""
    try:
        found = json.loads((here / "run.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def manage(*arguments: str) -> None:
    """Run a command of manage.py to its end, output into a log; raises RunError with its last words."""
    log = home() / "logs" / f"{arguments[0]}.log"
    with opened_log(log) as output:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
    if done.returncode != 0:
        raise RunError(f"manage.py {arguments[0]} failed: {last_line(log)} (log: {log})")


def collect_static(here: Path) -> None:
    """Collect the static files when one of them changed since the last time."""
    fingerprint = _static_fingerprint()
    stamp = here / "static.stamp"
    if not stamp.exists() or stamp.read_text() != fingerprint:
        echo("Collecting static files ...")
        manage("collectstatic", "--noinput")
        stamp.write_text(fingerprint)


def _static_fingerprint() -> str:
    """Changes when a static file of ours or the installed packages do."""
    told = hashlib.sha256((REPOSITORY / "requirements.txt").read_bytes())
    told.update(sys.prefix.encode())
    for path in sorted(REPOSITORY.glob("*/static/**/*")):
        facts = path.stat()
        told.update(f"{path} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return told.hexdigest()


def show_login(here: Path) -> None:
    """The demo's log-in, once; afterwards only where it stands."""
    login, shown = here / "demo-login.txt", here / "demo-login.shown"
    if not login.exists():
        return
    text = login.read_text().strip()
    digest = hashlib.sha256(text.encode()).hexdigest()
    if shown.exists() and shown.read_text() == digest:
        echo(f"Log-in of the demo: see {login}")
        return
    echo(f"Log-in of the demo (shown once; it stays in {login}):\n{text}")
    shown.write_text(digest)


# --- Ports, logs, signals ---------------------------------------------------------------------------------------
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
def opened_log(path: Path) -> Iterator[IO[bytes]]:
    """The log, to append to; one that grew too long is set aside first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LOG_LIMIT:
        path.rename(path.with_suffix(".log.1"))
    with path.open("ab") as output:
        yield output


def last_line(path: Path) -> str:
    """The last words of a log."""
    lines = [line for line in path.read_text(errors="replace").splitlines()[-20:] if line.strip()]
    return lines[-1].strip() if lines else "it said nothing"


def _exit_reason(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _die_with_parent() -> None:
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


_hurrying = False


def ask_to_stop(_number: int, _frame: FrameType | None) -> None:
    """The handler while everything runs: raises Stop."""
    on_signals(signal.SIG_IGN)  # the orderly end begins; `hurry` takes over a moment later
    raise Stop


def force_stop(_number: int, _frame: FrameType | None) -> None:
    """The handler while everything stops: no more patience."""
    global _hurrying  # noqa: PLW0603  # set by a signal, read by the loop that waits
    _hurrying = True


def on_signals(handler: Any) -> None:
    """One handler for Ctrl-C, a polite kill and a closed terminal."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)


def echo(text: str) -> None:
    """Tell whoever watches; a terminal that was closed is no reason to leave servers behind."""
    with contextlib.suppress(OSError):
        print(text, flush=True)
