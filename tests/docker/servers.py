"""nginx and PgBouncer for a test, rendered by the scripts that the containers run, on ports of their own."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from django.db import connection, connections

from kamioi_site.db.backend.base import drop_pool
from kamioi_site.local import system
from tests.docker.manifests import DOCKER


def program(name: str, package: str) -> str:
    """Where the program is; skips the test when it is not installed."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed (as root: apt-get install {package})")
    return found


@contextlib.contextmanager
def running(command: list[str], *, port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The program as the servers' user, until its port answers; ended afterwards."""
    owner = system.server_owner()
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=system.plain_environment(), **system.as_user(owner)
        ) as process,
    ):
        try:
            deadline = time.monotonic() + 20
            while True:
                assert process.poll() is None, log.read_text()
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            yield process
        finally:
            process.terminate()
            process.wait(20)


@contextlib.contextmanager
def private_place(name: str) -> Iterator[Path]:
    """A directory of the servers' user."""
    with tempfile.TemporaryDirectory(prefix=f"kamioi-{name}-") as directory:
        place = Path(directory)
        system.private_directory(place, system.server_owner())
        yield place


def render(name: str, **values: str) -> subprocess.CompletedProcess[str]:
    """Run the script that writes the configuration of `name`."""
    return subprocess.run(
        ["/bin/sh", str(DOCKER / name / "render.sh")],
        env=system.plain_environment() | values,
        capture_output=True,
        text=True,
        check=False,
        **system.as_user(system.server_owner()),
    )


@contextlib.contextmanager
def nginx(upstreams: list[int], *, site: str = "plain", **values: str) -> Iterator[tuple[int, Path]]:
    """Start nginx in front of local ports; yield its port and its directory, which holds `access.log`."""
    binary = program("nginx", "nginx-light")
    with private_place("nginx") as place:
        port = system.free_port()
        (place / "static").mkdir()
        (place / "static").chmod(0o755)
        settings = {
            "NGINX_DIR": str(place / "conf"),
            "NGINX_SITE": site,
            "NGINX_LISTEN": f"127.0.0.1:{port}",
            "NGINX_LISTEN_TLS": f"127.0.0.1:{system.free_port()}",
            "NGINX_STATUS_LISTEN": f"127.0.0.1:{system.free_port()}",
            "NGINX_UPSTREAM": " ".join(f"127.0.0.1:{upstream}" for upstream in upstreams),
            "NGINX_WORKERS": "1",
            "NGINX_TEMP": str(place / "temp"),
            "NGINX_STATIC": str(place / "static"),
            "NGINX_ACCESS_LOG": str(place / "access.log"),
        } | values
        done = render("nginx", **settings)
        assert done.returncode == 0, done.stderr
        configuration = str(place / "conf" / "nginx.conf")
        checked = subprocess.run(
            [binary, "-e", "stderr", "-t", "-c", configuration],
            capture_output=True,
            text=True,
            check=False,
            **system.as_user(system.server_owner()),
        )
        assert checked.returncode == 0, checked.stderr
        assert "warn" not in checked.stderr
        command = [binary, "-e", "stderr", "-c", configuration, "-g", "daemon off;"]
        with running(command, port=port, log=place / "nginx.log"):
            yield port, place


@contextlib.contextmanager
def pgbouncer(
    database: str, *, host: str, port: str, user: str, password: str, pool_size: int, wait: int = 30, **values: str
) -> Iterator[dict[str, str]]:
    """PgBouncer before that database: HOST, PORT, USER and PASSWORD for it."""
    binary = program("pgbouncer", "pgbouncer")
    with private_place("pgbouncer") as place:
        listen = system.free_port()
        secret = password or secrets.token_urlsafe(16)
        system.write_private(place / "password", secret, system.server_owner())
        done = render(
            "pgbouncer",
            PGBOUNCER_DIR=str(place),
            PGBOUNCER_DATABASE=database,
            PGBOUNCER_USER=user,
            PGBOUNCER_SERVER_USER="" if password else user,
            PGBOUNCER_PRIMARY_HOST=host,
            PGBOUNCER_PRIMARY_PORT=port or "5432",
            PGBOUNCER_LISTEN_ADDRESS="127.0.0.1",
            PGBOUNCER_LISTEN_PORT=str(listen),
            PGBOUNCER_POOL_SIZE=str(pool_size),
            PGBOUNCER_RESERVE="0",
            PGBOUNCER_QUERY_WAIT=str(wait),
            PGBOUNCER_PASSWORD_FILE=str(place / "password"),
            PGBOUNCER_STATS_PASSWORD_FILE=str(place / "password"),
            **values,
        )
        assert done.returncode == 0, done.stderr
        with running([binary, str(place / "pgbouncer.ini")], port=listen, log=place / "pgbouncer.log"):
            yield {"HOST": "127.0.0.1", "PORT": str(listen), "USER": user, "PASSWORD": secret}


@contextlib.contextmanager
def django_through_pgbouncer(*, pool_size: int) -> Iterator[dict[str, str]]:
    """Django's connections go through PgBouncer; how it is reached."""
    values = connection.settings_dict
    kept = {name: values[name] for name in ("HOST", "PORT", "USER", "PASSWORD", "DISABLE_SERVER_SIDE_CURSORS")}
    with pgbouncer(
        values["NAME"],
        host=kept["HOST"],
        port=str(kept["PORT"]),
        user=kept["USER"],
        password=kept["PASSWORD"],
        pool_size=pool_size,
    ) as reached:
        connections.close_all()
        drop_pool("default")
        values.update(reached, DISABLE_SERVER_SIDE_CURSORS=True)
        try:
            yield reached
        finally:
            connections.close_all()
            drop_pool("default")
            values.update(kept)


def answers(url: str) -> bool:
    """Whether the address answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def console(reached: dict[str, str], command: str) -> list[dict[str, object]]:
    """What PgBouncer's own console answers, a dict a row."""
    monitor = psycopg2.connect(
        host=reached["HOST"], port=reached["PORT"], user="monitor", password=reached["PASSWORD"], dbname="pgbouncer"
    )
    try:
        monitor.autocommit = True
        with monitor.cursor() as cursor:
            cursor.execute(command)
            names = [column.name for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    finally:
        monitor.close()
