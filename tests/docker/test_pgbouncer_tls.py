"""Whether PgBouncer speaks TLS to PostgreSQL: real PgBouncer, before a server that only reports how it is spoken to."""

import contextlib
import re
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from kamioi_site.local import system
from tests.docker.servers import pgbouncer, private_place, render
from tests.workers import wait_until

SSL_REQUEST = 80877103


@pytest.fixture(scope="module")
def certificates() -> Iterator[Path]:
    """A certificate for localhost, `server.pem` and `server.key`; and `other.pem` of another authority."""
    with private_place("tls") as place:
        for name in ("server", "other"):
            command = (
                "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
            )
            files = ["-addext", "subjectAltName=DNS:localhost", "-keyout", f"{name}.key", "-out", f"{name}.pem"]
            subprocess.run([*command.split(), *files], cwd=place, check=True, capture_output=True)
            (place / f"{name}.pem").chmod(0o644)
        yield place


class Server:
    """Takes connections as PostgreSQL does; keeps how each was spoken to: `tls`, `clear` or `refused`."""

    def __init__(self, certificates: Path, *, offers_tls: bool) -> None:
        self.seen: list[str] = []
        self._offers_tls = offers_tls
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(5)
                    self.seen.append(self._spoken(connection))

    def _spoken(self, connection: socket.socket) -> str:
        (_length, code) = struct.unpack("!II", connection.recv(8))
        if code != SSL_REQUEST:
            return "clear"
        connection.sendall(b"S" if self._offers_tls else b"N")
        if not self._offers_tls:
            return "clear" if connection.recv(8) else "refused"
        try:
            with self._context.wrap_socket(connection, server_side=True) as wrapped:
                return "tls" if wrapped.recv(8) else "refused"
        except ssl.SSLError:
            return "refused"

    def close(self) -> None:
        """End."""
        self._socket.close()


@pytest.mark.parametrize(
    ("mode", "authority", "offers_tls", "seen"),
    [
        ("", "", True, "tls"),  # the default: what a managed server demands is given
        ("", "", False, "clear"),
        ("disable", "", True, "clear"),
        ("require", "", True, "tls"),
        ("require", "", False, "refused"),
        ("verify-full", "server.pem", True, "tls"),
        ("verify-full", "other.pem", True, "refused"),
    ],
)
def test_pgbouncer_uses_tls_as_configured(certificates, mode, authority, offers_tls, seen):
    server = Server(certificates, offers_tls=offers_tls)
    values = {"PGBOUNCER_SERVER_TLS": mode} if mode else {}
    if authority:
        values["PGBOUNCER_SERVER_TLS_CA"] = str(certificates / authority)
    arguments = {
        "host": "localhost",
        "port": str(server.port),
        "user": "kamioi_app",
        "password": "pass",
        "pool_size": 1,
    }
    with contextlib.closing(server), pgbouncer("kamioi", wait=3, **arguments, **values) as at:
        with contextlib.suppress(psycopg2.OperationalError):
            psycopg2.connect(
                host=at["HOST"], port=at["PORT"], user=at["USER"], password=at["PASSWORD"], dbname="kamioi"
            ).cursor().execute("SELECT 1")
        wait_until("PgBouncer asks for a connection", lambda: bool(server.seen), seconds=10)
    assert set(server.seen) == {seen}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"PGBOUNCER_SERVER_TLS": "sometimes"}, "must be disable, prefer"),
        ({"PGBOUNCER_SERVER_TLS": "verify-full"}, "needs PGBOUNCER_SERVER_TLS_CA"),
        ({"PGBOUNCER_SERVER_TLS": "verify-ca", "PGBOUNCER_SERVER_TLS_CA": "/nowhere"}, "needs PGBOUNCER_SERVER_TLS_CA"),
    ],
)
def test_a_wrong_decision_about_tls_prevents_the_start(values, message):
    with private_place("pgbouncer") as place:
        system.write_private(place / "password", "x", system.server_owner())
        done = render("pgbouncer", PGBOUNCER_DIR=str(place), PGBOUNCER_PASSWORD_FILE=str(place / "password"), **values)
    assert done.returncode != 0
    assert message in done.stderr


def test_a_server_that_moved_is_found_within_seconds():
    with private_place("pgbouncer") as place:
        system.write_private(place / "password", "x", system.server_owner())
        done = render("pgbouncer", PGBOUNCER_DIR=str(place), PGBOUNCER_PASSWORD_FILE=str(place / "password"))
        assert done.returncode == 0, done.stderr
        text = (place / "pgbouncer.ini").read_text()
    found = dict(re.findall(r"^(\w+) = (\S+)$", text, re.MULTILINE))
    assert float(found["dns_max_ttl"]) <= 2
    assert float(found["dns_nxdomain_ttl"]) <= 1
    assert not re.search(r"^[^;]*\$\{", text, re.MULTILINE)
