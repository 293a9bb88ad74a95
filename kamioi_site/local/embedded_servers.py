"""Embedded PostgreSQL and Redis for a machine where `DATABASE_URL` or `REDIS_URL` is not set.

- A server whose URL is set in the environment is never started, stopped or changed.
- All state is under `KAMIOI_HOME` (default: `.kamioi/` in the repository); each home has one pair of servers.
- Servers outlive the process that started them; the next command with the same home uses them.
- Every start and stop holds a file lock of the home, so concurrent callers do not race.
- A process counts as ours only if both its pid *and* its command line match: a pid file left by kill -9 is not trusted.
- Neither server runs as root: started by root, they drop to the system user `pgserver`. PostgreSQL listens only on a
  Unix socket in a private directory, Redis on 127.0.0.1 with a password.

`python -m kamioi_site.local.embedded_servers start|stop|status` does the same from a shell. `with-servers COMMAND…`
runs a command with both URLs set; `with-names COMMAND…` does so without starting the servers.
"""

import contextlib
import fcntl
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kamioi_site.local.servers import EmbeddedPostgres, EmbeddedRedis, EmbeddedServer
from kamioi_site.local.system import EmbeddedServerError

REPOSITORY = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True, kw_only=True)
class ServerStatus:
    """State of one of the two servers. `pid` is None when it is not running or not embedded."""

    name: str
    embedded: bool
    running: bool
    pid: int | None
    place: str


def home() -> Path:
    """Return the directory of the servers' data: `KAMIOI_HOME`, or `.kamioi` in the repository."""
    return Path(os.environ.get("KAMIOI_HOME") or REPOSITORY / ".kamioi").expanduser().resolve()


def database_is_given() -> bool:
    """Whether the environment names a PostgreSQL server."""
    return bool(os.environ.get("DATABASE_URL") or os.environ.get("DATABASE_URL_FILE"))


def redis_is_given() -> bool:
    """Whether the environment names a Redis server."""
    return bool(os.environ.get("REDIS_URL") or os.environ.get("REDIS_URL_FILE"))


def ensure_servers() -> tuple[str, ...]:
    """Start the servers that are neither given nor running, and set `DATABASE_URL` and `REDIS_URL`.

    `MIGRATION_DATABASE_URL` is that of the owner of an embedded database.

    Returns the names of the servers that this call started. Raises EmbeddedServerError.
    """
    return _set_urls(lambda server: server.start())


def name_servers() -> None:
    """Set the URLs that are not given without starting a server: enough for commands that only read settings."""
    _set_urls(lambda _server: False)


def _set_urls(start: "Callable[[EmbeddedServer], bool]") -> tuple[str, ...]:
    given = {"DATABASE_URL": database_is_given(), "REDIS_URL": redis_is_given()}
    started: list[str] = []
    if not all(given.values()):
        with _locked(home()) as here:
            for (variable, is_given), server in zip(given.items(), _servers(here), strict=True):
                if not is_given:
                    if start(server):
                        started.append(server.name)
                    os.environ[variable] = server.url
                    if isinstance(server, EmbeddedPostgres):
                        os.environ["MIGRATION_DATABASE_URL"] = server.owner_url
    return tuple(started)


def stop_servers(names: Sequence[str] = ("postgres", "redis")) -> tuple[str, ...]:
    """Stop the named embedded servers of this home. Returns the names of those that were running."""
    if not home().exists():
        return ()
    with _locked(home()) as here:
        return tuple(server.name for server in _servers(here) if server.name in names and server.stop())


def server_status() -> list[ServerStatus]:
    """Return the state of both servers of this home, without connecting to a given server."""
    return [
        ServerStatus(
            name=server.name,
            embedded=not is_given or pid is not None,
            running=pid is not None,
            pid=pid,
            place=str(server.directory),
        )
        for server, is_given in zip(_servers(home()), (database_is_given(), redis_is_given()), strict=True)
        for pid in [server.find_pid()]
    ]


def _servers(here: Path) -> tuple[EmbeddedPostgres, EmbeddedRedis]:
    return EmbeddedPostgres(here), EmbeddedRedis(here)


@contextlib.contextmanager
def _locked(here: Path) -> Iterator[Path]:
    """Hold the home's lock, which the kernel releases when the process ends."""
    advice = "Set KAMIOI_HOME to a directory of your own."
    try:
        here.mkdir(parents=True, exist_ok=True)
        handle = (here / "servers.lock").open("a")
    except OSError as error:
        raise EmbeddedServerError(f"{here} is not writable for this user ({error.strerror}). {advice}") from error
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if here.stat().st_uid != os.geteuid():
            raise EmbeddedServerError(f"{here} belongs to another user. {advice}")
        yield here


def main(arguments: Sequence[str]) -> int:
    """Run `start`, `stop`, `status`, `with-servers COMMAND…` or `with-names COMMAND…`; returns the exit code."""
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
                usage = "usage: python -m kamioi_site.local.embedded_servers start|stop|status|with-servers COMMAND…"
                print(usage, file=sys.stderr)
                return 2
    except EmbeddedServerError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
