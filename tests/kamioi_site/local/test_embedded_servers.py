"""The embedded servers: started once, found again, recovered after a kill; given servers are left alone."""

import os
import pwd
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg2
import pytest
import redis

from kamioi_site.local import embedded_servers, servers, system

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _no_server_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary home; its servers are stopped afterwards."""
    here = tmp_path / "home"
    monkeypatch.setenv("KAMIOI_HOME", str(here))
    yield here
    embedded_servers.stop_servers()


def _run_cli(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "kamioi_site.local.embedded_servers", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _pids() -> dict[str, int]:
    return {server.name: server.pid for server in embedded_servers.server_status() if server.pid is not None}


def _forget_urls() -> None:
    os.environ.pop("DATABASE_URL", None)
    os.environ.pop("REDIS_URL", None)


def test_concurrent_callers_start_each_server_once_and_it_outlives_them(home):
    callers = [_run_cli("start") for _ in range(4)]
    outputs = sorted(caller.communicate(timeout=60)[0].strip() for caller in callers)
    assert outputs == ["nothing to start"] * 3 + ["started: postgres, redis"]
    assert set(_pids()) == {"postgres", "redis"}

    assert embedded_servers.ensure_servers() == ()
    with closing(psycopg2.connect(os.environ["DATABASE_URL"])) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT name, setting FROM pg_settings WHERE lower(name) = ANY(%s)", [[*servers.POSTGRES_SETTINGS]]
        )
        values = dict(cursor.fetchall())
        assert cursor.connection.server_version >= 180000
    assert values["max_connections"] == "200"
    assert values["shared_buffers"] == "32768"  # pages of 8 kB: 256 MB
    assert (values["fsync"], values["synchronous_commit"], values["jit"]) == ("on", "on", "off")
    assert (values["max_locks_per_transaction"], values["TimeZone"]) == ("256", "UTC")

    assert _run_cli("stop").communicate(timeout=60)[0].strip() == "stopped: postgres, redis"
    assert _pids() == {}
    assert _run_cli("stop").communicate(timeout=60)[0].strip() == "nothing to stop"


def test_killed_servers_come_back_with_what_was_committed_and_the_same_addresses(home):
    embedded_servers.ensure_servers()
    addresses = os.environ["DATABASE_URL"], os.environ["REDIS_URL"]
    with closing(psycopg2.connect(addresses[0])) as connection, connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    for pid in _pids().values():
        os.kill(pid, signal.SIGKILL)
    _forget_urls()

    assert embedded_servers.ensure_servers() == ("postgres", "redis")

    assert (os.environ["DATABASE_URL"], os.environ["REDIS_URL"]) == addresses
    with closing(psycopg2.connect(addresses[0])) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT answer FROM kept")
        assert cursor.fetchone() == (42,)


def test_a_pid_file_that_names_another_program_is_not_trusted(home):
    embedded_servers.ensure_servers()
    embedded_servers.stop_servers()
    with subprocess.Popen(["sleep", "60"]) as other:
        for path in (home / "postgres/data/postmaster.pid", home / "redis/redis.pid"):
            path.write_text(f"{other.pid}\n{home}\n")
        # The socket is beside the data, or in the temporary directory if that path is too long for a socket.
        (servers.EmbeddedPostgres(home).socket_directory / ".s.PGSQL.5432.lock").write_text(f"{other.pid}\n{home}\n")
        assert _pids() == {}
        assert embedded_servers.stop_servers() == ()
        _forget_urls()
        assert embedded_servers.ensure_servers() == ("postgres", "redis")
        assert other.poll() is None
        other.kill()


def test_redis_moves_to_another_port_when_a_program_uses_its_own(home):
    embedded_servers.name_servers()
    port = urlsplit(os.environ["REDIS_URL"]).port
    assert port is not None
    _forget_urls()
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        embedded_servers.ensure_servers()
    assert urlsplit(os.environ["REDIS_URL"]).port != port
    with closing(redis.Redis.from_url(os.environ["REDIS_URL"])) as client:
        assert client.ping()


def test_redis_requires_its_password(home):
    embedded_servers.ensure_servers()
    port = urlsplit(os.environ["REDIS_URL"]).port
    with closing(redis.Redis(port=port or 0)) as client, pytest.raises(redis.AuthenticationError):
        client.ping()


def test_a_long_path_and_a_partial_database_directory_do_not_prevent_a_start(tmp_path, monkeypatch):
    here = tmp_path / ("a rather long name of a directory, with blanks and a quote ' " * 2)
    monkeypatch.setenv("KAMIOI_HOME", str(here))
    (here / "postgres/data.new").mkdir(parents=True)
    (here / "postgres/data.new/PG_VERSION").write_text("18\n")
    try:
        assert embedded_servers.ensure_servers() == ("postgres", "redis")
        psycopg2.connect(os.environ["DATABASE_URL"]).close()
        assert embedded_servers.ensure_servers() == ()
    finally:
        assert embedded_servers.stop_servers() == ("postgres", "redis")


def test_a_given_server_is_left_alone(home, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://user@db.example/database")
    monkeypatch.setenv("REDIS_URL", "redis://cache.example/0")
    assert embedded_servers.ensure_servers() == ()
    assert not home.exists()
    assert [(server.embedded, server.running) for server in embedded_servers.server_status()] == [(False, False)] * 2


def test_a_home_that_cannot_be_written_is_a_clear_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("KAMIOI_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(system.EmbeddedServerError, match="Set KAMIOI_HOME to a directory of your own"):
        embedded_servers.ensure_servers()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root drops to another user")
def test_servers_started_by_root_do_not_run_as_root(home):
    embedded_servers.ensure_servers()
    uid = pwd.getpwnam(system.SERVER_USER).pw_uid
    assert {psutil.Process(pid).uids().real for pid in _pids().values()} == {uid}
    assert (home / "postgres").stat().st_mode & 0o077 == 0
