"""Additional servers for one test: PostgreSQL with a standby, Redis with Sentinels, RabbitMQ.

They use the programs of the installed packages, run as the user of the embedded servers, and end with the test. They do
not sync to disk, because their data is temporary.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import psycopg2
import redis

from kamioi_site.local.servers import EmbeddedPostgres, EmbeddedRedis
from kamioi_site.local.system import as_user, free_port, grant_traverse, plain_environment, server_owner
from tests.workers import wait_until

_FAST = {
    "listen_addresses": "",
    "fsync": "off",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "wal_level": "replica",
    "max_wal_senders": "5",
    "wal_keep_size": "64MB",
    "max_locks_per_transaction": "256",
    "timezone": "UTC",
    "wal_receiver_timeout": "5s",
    "wal_retrieve_retry_interval": "100ms",
    "dynamic_shared_memory_type": "mmap",
    "hot_standby_feedback": "off",
    "max_standby_streaming_delay": "-1",
}


def _sentinel_binary() -> str:
    return str(EmbeddedRedis(Path("/nowhere")).binary)


class Server:
    """A process that the test may kill and restart."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.owner = server_owner()
        directory.mkdir(mode=0o700)
        if self.owner is not None:
            os.chown(directory, self.owner.pw_uid, self.owner.pw_gid)
        grant_traverse(directory, self.owner)
        self.process: subprocess.Popen[bytes] | None = None

    def run(self, *arguments: str) -> None:
        """Run a program as the servers' user and wait for its end."""
        done = subprocess.run(
            arguments,
            cwd=self.directory,
            env=plain_environment(),
            capture_output=True,
            text=True,
            check=False,
            **as_user(self.owner),
        )
        assert done.returncode == 0, done.stderr

    def launch(self, *arguments: str) -> None:
        """Start the server process."""
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                arguments,
                cwd=self.directory,
                env=plain_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **as_user(self.owner),
            )

    def log(self) -> str:
        """Return the end of its log."""
        return (self.directory / "log").read_text(errors="replace")[-2000:]

    def kill(self) -> None:
        """Kill it and its children with SIGKILL, like a machine failure."""
        if self.process is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            family = psutil.Process(self.process.pid).children(recursive=True)
            os.kill(self.process.pid, signal.SIGKILL)
            for child in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
            # Orphans stay zombies until init reaps them, but their resources are free.
            wait_until("its children are gone", lambda: all(map(_is_gone, family)), seconds=10)
        self.process.wait(10)
        self.process = None


def _is_gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Postgres(Server):
    """A PostgreSQL on a Unix socket in its own directory."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.binaries = EmbeddedPostgres(directory).binaries
        self.data = directory / "data"

    @property
    def url(self) -> str:
        """Return the URL of its database `postgres`."""
        return f"postgresql://postgres@{quote(str(self.directory), safe='')}/postgres"

    def initialise(self) -> None:
        """Initialise an empty primary."""
        self.run(
            str(self.binaries / "initdb"),
            "-D",
            str(self.data),
            "-U",
            "postgres",
            "--auth=trust",
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C",
        )

    def standby_of(self, primary: "Postgres") -> None:
        """Initialise a standby of the primary."""
        self.run(
            str(self.binaries / "pg_basebackup"),
            "-D",
            str(self.data),
            "-h",
            str(primary.directory),
            "-U",
            "postgres",
            "-R",
            "-X",
            "stream",
            "-c",
            "fast",
            "--no-sync",
        )

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        (self.data / "postmaster.pid").unlink(missing_ok=True)  # of one that was killed
        settings = _FAST | {"unix_socket_directories": str(self.directory)}
        self.launch(
            str(self.binaries / "postgres"),
            "-D",
            str(self.data),
            *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
        )
        wait_until("PostgreSQL answers", self.answers, seconds=90)

    def answers(self) -> bool:
        """Whether it accepts a connection."""
        assert self.process is not None
        assert self.process.poll() is None, self.log()
        with contextlib.suppress(psycopg2.OperationalError):
            psycopg2.connect(self.url, connect_timeout=2).close()
            return True
        return False

    def ask(self, sql: str) -> Any:
        """Run SQL and return the first value of the result, or None."""
        connection = psycopg2.connect(self.url)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchone()[0] if cursor.description else None
        finally:
            connection.close()


class RedisServer(Server):
    """A Redis or a Sentinel on 127.0.0.1."""

    def __init__(self, directory: Path, *, sentinel: bool = False) -> None:
        super().__init__(directory)
        self.port, self.sentinel = free_port(), sentinel

    def start(self, **settings: str) -> None:
        """Start it with these settings (`save: 300 1` is `save="300 1"`) and wait until it accepts connections."""
        config = self.directory / "redis.conf"
        if not config.exists():  # a Sentinel writes what it learns into its own
            lines = {"bind": "127.0.0.1", "port": str(self.port), "dir": f'"{self.directory}"'}
            lines |= {name.replace("_", "-"): value for name, value in settings.items()}
            config.write_text("".join(f"{name} {line}\n" for name, text in lines.items() for line in text.split("\n")))
            if self.owner is not None:
                os.chown(config, self.owner.pw_uid, self.owner.pw_gid)
        self.launch(_sentinel_binary(), str(config), *(["--sentinel"] if self.sentinel else []))
        wait_until("Redis answers", self.answers, seconds=60)

    def answers(self) -> bool:
        """Whether it accepts a connection, with or without a password."""
        assert self.process is not None
        assert self.process.poll() is None, self.log()
        client = redis.Redis(port=self.port, socket_timeout=1, socket_connect_timeout=1)
        try:
            client.ping()
        except redis.AuthenticationError:
            return True
        except redis.ConnectionError:
            return False
        finally:
            client.close()
        return True


@contextlib.contextmanager
def running(*servers: Server) -> Iterator[None]:
    """Kill the servers at the end of the block."""
    try:
        yield
    finally:
        for server in servers:
            server.kill()


def short_directory(name: str) -> Path:
    """Create a directory with a path short enough for a socket."""
    place = Path("/tmp") / f"kamioi-{name}-{os.getpid()}-{time.monotonic_ns() % 1_000_000_000}"
    place.mkdir(mode=0o711)
    return place


class RabbitMQ(Server):
    """A separate node of Debian's rabbitmq-server on 127.0.0.1."""

    programs = Path("/usr/lib/rabbitmq/bin")

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.port = free_port()
        self._ports = {"RABBITMQ_DIST_PORT": str(free_port()), "ERL_EPMD_PORT": str(free_port())}

    @property
    def url(self) -> str:
        """Return the URL for Celery, with the default user of a new node."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def environment(self) -> dict[str, str]:
        """Return variables that separate it from other nodes of this machine."""
        here = str(self.directory)
        return (
            plain_environment()
            | self._ports
            | {
                "HOME": here,
                "RABBITMQ_NODENAME": f"kamioi-{self.port}@localhost",
                "RABBITMQ_NODE_PORT": str(self.port),
                "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
                "RABBITMQ_MNESIA_BASE": f"{here}/data",
                "RABBITMQ_LOG_BASE": f"{here}/logs",
                "RABBITMQ_CONF_ENV_FILE": f"{here}/none",
                "RABBITMQ_CONFIG_FILE": f"{here}/rabbitmq",
                "RABBITMQ_ENABLED_PLUGINS_FILE": f"{here}/plugins",
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}",
            }
        )

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        config = self.directory / "rabbitmq.conf"
        config.write_text("disk_free_limit.absolute = 1MB\nvm_memory_high_watermark.relative = 0.9\n")
        config.chmod(0o644)
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(self.programs / "rabbitmq-server")],
                cwd=self.directory,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **as_user(self.owner),
            )
        wait_until("RabbitMQ answers", self.answers, seconds=150)

    def answers(self) -> bool:
        """Whether it accepts a connection."""
        import amqp

        assert self.process is not None
        assert self.process.poll() is None, self.log()
        try:
            with amqp.Connection(f"127.0.0.1:{self.port}", connect_timeout=2):
                return True
        except (OSError, amqp.AMQPError):
            return False

    def stop(self) -> None:
        """Kill it and the port mapper that it started with SIGKILL."""
        self.kill()
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.name() == "epmd" and process.environ().get("ERL_EPMD_PORT") == self._ports["ERL_EPMD_PORT"]:
                    process.kill()
