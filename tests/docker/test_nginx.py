"""docker/nginx for real, before small web processes that report what reaches them."""

import contextlib
import gzip
import http.client
import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.docker.servers import nginx, render


class Web(ThreadingHTTPServer):
    """A web process of the test: answers with what it got. Counts requests by path; `hold` keeps them waiting."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.seen: list[tuple[str, str]] = []
        self.hold = threading.Event()
        self.hold.set()
        self.proceed = threading.Event()
        self.breaks = 0  # so many requests
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Web

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        self.server.seen.append((self.command, self.path))
        if self.server.breaks:  # the process dies in the middle of the request
            self.server.breaks -= 1
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif self.path.endswith("/events"):
            self._stream()
        else:
            self._tell(len(body))

    def _tell(self, length: int) -> None:
        self.server.hold.wait(10)
        received = {"headers": dict(self.headers), "bytes": length, "port": self.server.port, "filler": "x" * 4000}
        self._send(json.dumps(received).encode(), "application/json")

    do_GET = do_POST = _answer  # noqa: N815  # names of the base class

    def _send(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        self.wfile.write(b"data: first\n\n")
        self.wfile.flush()
        self.server.proceed.wait(20)
        with contextlib.suppress(OSError):
            self.wfile.write(b"data: second\n\n")

    def log_message(self, format: str, *arguments: Any) -> None:
        """Silence."""


@pytest.fixture(scope="module")
def webs() -> Iterator[list[Web]]:
    """Two web processes."""
    both = [Web(), Web()]
    yield both
    for web in both:
        web.shutdown()
        web.server_close()


@pytest.fixture(scope="module")
def proxy(webs) -> Iterator[int]:
    """nginx before both."""
    with nginx([web.port for web in webs]) as (port, _place):
        yield port


@pytest.fixture(autouse=True)
def _fresh(webs: list[Web]) -> None:
    for web in webs:
        web.seen.clear()
        web.breaks = 0
        web.hold.set()


def ask(
    port: int,
    path: str = "/",
    *,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
    source: str = "127.0.0.1",
) -> tuple[int, dict[str, str], bytes]:
    """One request: status, headers in lower case, body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20, source_address=(source, 0))
    try:
        connection.request(method, path, body=body, headers=headers or {})
        reply = connection.getresponse()
        return reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read()
    finally:
        connection.close()


def reached(port: int, **asked: Any) -> dict[str, str]:
    """The headers that reach the web."""
    return json.loads(ask(port, **asked)[2])["headers"]


def test_the_web_gets_the_real_address_whatever_the_client_claims(proxy):
    lies = {
        "X-Forwarded-For": "8.8.8.8, 9.9.9.9",
        "X-Real-IP": "8.8.8.8",
        "Forwarded": "for=8.8.8.8;proto=https",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Port": "1",
        "X-Forwarded-Prefix": "/x",
        "X-Request-ID": "made-up",
    }
    for source in ("127.0.0.1", "127.0.0.2"):
        received = reached(proxy, headers=lies, source=source)
        assert received["X-Forwarded-For"] == received["X-Real-IP"] == source
        assert received["X-Forwarded-Proto"] == "http"
        assert re.fullmatch(r"[0-9a-f]{32}", received["X-Request-ID"])
        assert not {"Forwarded", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Prefix"} & set(received)
        assert not any("8.8.8.8" in value or "evil" in value for value in received.values())


def test_a_named_balancer_is_trusted_and_no_other_address_is(webs):
    with nginx([webs[0].port], NGINX_TRUSTED_PROXIES="127.0.0.2 10.9.0.0/16") as (port, _place):
        # Entries by the client before the balancer's own are still not trusted.
        claims = {"X-Forwarded-For": "6.6.6.6, 203.0.113.7, 10.9.1.1", "X-Forwarded-Proto": "https"}
        received = reached(port, headers=claims, source="127.0.0.2")
        assert received["X-Forwarded-For"] == "203.0.113.7"
        assert received["X-Forwarded-Proto"] == "https"
        received = reached(port, headers=claims, source="127.0.0.3")
        assert received["X-Forwarded-For"] == "127.0.0.3"
        assert received["X-Forwarded-Proto"] == "http"


def test_requests_go_to_the_web_with_the_fewest(webs, proxy):
    busy, idle = webs
    busy.hold.clear()
    idle.hold.clear()
    waiting = [threading.Thread(target=ask, args=(proxy, "/slow")) for _ in range(6)]
    for thread in waiting:
        thread.start()
    deadline = time.monotonic() + 10
    while len(busy.seen) + len(idle.seen) < 6 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (len(busy.seen), len(idle.seen)) == (3, 3)
    # One of them is done with its three: what comes now goes there.
    idle.hold.set()
    time.sleep(0.3)
    ports = [json.loads(ask(proxy, "/quick")[2])["port"] for _ in range(4)]
    assert ports == [idle.port] * 4
    busy.hold.set()
    for thread in waiting:
        thread.join(10)


def test_answers_are_compressed_for_those_who_take_it(proxy):
    _, headers, body = ask(proxy, headers={"Accept-Encoding": "gzip"})
    assert headers["content-encoding"] == "gzip"
    assert "accept-encoding" in headers["vary"].lower()
    assert len(body) < 1500
    assert json.loads(gzip.decompress(body))["filler"] == "x" * 4000
    assert "content-encoding" not in ask(proxy)[1]


def test_events_come_as_they_are_sent(webs, proxy):
    for web in webs:
        web.proceed.clear()
    connection = http.client.HTTPConnection("127.0.0.1", proxy, timeout=10)
    connection.request(
        "GET", "/api/tasks/7f8f/events", headers={"Accept": "text/event-stream", "Accept-Encoding": "gzip"}
    )
    reply = connection.getresponse()
    # The web has sent one event and waits: it must be here although nothing else comes.
    assert reply.readline() == b"data: first\n"
    assert "Content-Encoding" not in reply.headers
    for web in webs:
        web.proceed.set()
    assert reply.read() == b"\ndata: second\n\n"
    connection.close()


def test_a_body_is_as_large_as_its_address_allows(webs, proxy):
    def too_large(path: str, megabytes: int) -> tuple[int, dict[str, str], bytes]:
        """Only announce it: nginx refuses before a byte of it is sent."""
        connection = http.client.HTTPConnection("127.0.0.1", proxy, timeout=10)
        connection.putrequest("POST", path)
        connection.putheader("Content-Length", str(megabytes * 1024**2))
        connection.endheaders()
        reply = connection.getresponse()
        found = reply.status, dict(reply.getheaders()), reply.read()
        connection.close()
        return found

    for path, megabytes in (
        ("/api/transactions", 2),
        ("/api/transactions/bulk", 514),
        ("/api/user/upload-bank-file", 514),
    ):
        status, headers, body = too_large(path, megabytes)
        assert status == 413
        assert headers["Content-Type"] == "application/json"
        assert json.loads(body) == {"success": False, "error": "The request is larger than this address accepts."}
    status, headers, body = too_large("/admin/transactions/statementimport/upload/", 514)
    assert (status, headers["Content-Type"]) == (413, "text/plain")
    assert b"larger than this address accepts" in body
    assert not any(web.seen for web in webs)

    twenty = b"x" * (20 * 1024**2)
    for path in ("/api/transactions/bulk", "/admin/llm_center/mappingimport/upload/"):
        status, _, body = ask(proxy, path, method="POST", body=twenty)
        assert status == 200
        assert json.loads(body)["bytes"] == len(twenty)


def test_a_web_that_dies_costs_no_reader_anything_and_nothing_is_sent_twice(webs):
    with nginx([web.port for web in webs]) as (port, _place):
        webs[0].breaks = 99
        assert {ask(port, f"/read/{number}")[0] for number in range(20)} == {200}
        assert webs[0].seen
    with nginx([web.port for web in webs]) as (port, _place):
        for web in webs:
            web.breaks = 99
            web.seen.clear()
        status, headers, body = ask(port, "/api/transactions", method="POST", body=b"{}")
        assert sum(len(web.seen) for web in webs) == 1
        assert (status, headers["content-type"], headers["retry-after"]) == (503, "application/json", "5")
        assert json.loads(body)["success"] is False


@pytest.mark.parametrize("path", ["/admin/", "/api/user/portfolio"])
def test_a_reader_is_sent_once_more_when_no_web_is_left(webs, path):
    """As when the list of webs changes while a request waits for one that is gone."""
    with nginx([webs[0].port]) as (port, _place):
        webs[0].breaks = 1
        assert ask(port, path)[0] == 200
        webs[0].breaks = 1
        assert ask(port, path, method="POST", body=b"{}")[0] == 503
        assert [method for method, _ in webs[0].seen] == ["GET", "GET", "POST"]


def test_webs_that_still_load_cost_no_reader_anything(webs):
    """A release starts as many new webs as there are; they have no connections, so least_conn prefers them."""
    with contextlib.ExitStack() as stack:
        loading = [stack.enter_context(socket.socket()) for _ in range(5)]
        for unused in loading:
            unused.bind(("127.0.0.1", 0))
        ports = [unused.getsockname()[1] for unused in loading]
        with nginx([*ports, webs[0].port]) as (port, _place):
            assert ask(port, "/read")[0] == 200


def test_without_a_web_process_the_error_has_the_format_of_the_api():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with nginx([unused.getsockname()[1]]) as (port, _place):
            status, headers, body = ask(port, "/api/user/portfolio")
            assert (status, headers["content-type"]) == (503, "application/json")
            assert set(json.loads(body)) == {"success", "error"}
            status, headers, _ = ask(port, "/admin/")
            assert (status, headers["content-type"]) == (503, "text/plain")


def test_static_files_come_from_the_disk_and_metrics_from_nowhere(webs):
    with nginx([web.port for web in webs]) as (port, place):
        (place / "static" / "app.1a2b.css").write_text("body{}")
        (place / "static" / "app.1a2b.css").chmod(0o644)
        status, headers, body = ask(port, "/static/app.1a2b.css")
        assert (status, body, headers["content-type"]) == (200, b"body{}", "text/css")
        assert "immutable" in headers["cache-control"]
        assert not any(web.seen for web in webs)
        # A file of another release may be the web's.
        assert ask(port, "/static/app.old.css")[0] == 200
        assert ask(port, "/static/../conf/nginx.conf")[0] in {200, 400}  # normalised: a page of the web, or refused
        assert all(web_path == "/static/app.old.css" or "conf" in web_path for web in webs for _, web_path in web.seen)
        assert ask(port, "/metrics")[0] == 404
        assert not any(path == "/metrics" for web in webs for _, path in web.seen)


def test_the_log_records_requests_without_search_terms(webs):
    with nginx([web.port for web in webs]) as (port, place):
        ask(port, "/api/lookup/ticker?company=Secret%20Clinic", headers={"Authorization": "Bearer very-secret"})
        deadline = time.monotonic() + 10
        while not (text := (place / "access.log").read_text()):  # written after the answer
            assert time.monotonic() < deadline
            time.sleep(0.02)
    line = json.loads(text.splitlines()[-1])
    assert line["path"] == "/api/lookup/ticker"
    assert line["client"] == "127.0.0.1"
    assert line["status"] == 200
    assert line["upstream"].startswith("127.0.0.1:")
    assert "Secret" not in text
    assert "secret" not in text


def test_tls_ends_at_nginx_and_plain_http_is_sent_there(webs, tmp_path):
    import ssl

    from kamioi_site.local import system

    tmp_path.chmod(0o755)
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "1",
            "-subj",
            "/CN=kamioi.example",
            "-keyout",
            str(tmp_path / "key"),
            "-out",
            str(tmp_path / "certificate"),
        ],
        check=True,
        capture_output=True,
    )
    tls = system.free_port()
    key = (tmp_path / "key").read_text()
    certificate = (tmp_path / "certificate").read_text()
    from tests.docker.servers import private_place

    with private_place("tls") as place:
        for name, text in {"key": key, "certificate": certificate}.items():
            system.write_private(place / name, text, system.server_owner())
        with nginx(
            [webs[0].port],
            site="tls",
            NGINX_LISTEN_TLS=f"127.0.0.1:{tls}",
            NGINX_CERTIFICATE=str(place / "certificate"),
            NGINX_CERTIFICATE_KEY=str(place / "key"),
        ) as (port, _place):
            status, headers, _ = ask(port, "/admin/?a=1", headers={"Host": "kamioi.example"})
            assert (status, headers["location"]) == (308, "https://kamioi.example/admin/?a=1")
            context = ssl.create_default_context(cadata=certificate)
            context.check_hostname = False
            connection = http.client.HTTPSConnection("127.0.0.1", tls, context=context, timeout=10)
            connection.request("GET", "/", headers={"X-Forwarded-Proto": "http"})
            assert json.loads(connection.getresponse().read())["headers"]["X-Forwarded-Proto"] == "https"
            connection.close()
            for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
                old = ssl._create_unverified_context()
                with pytest.warns(DeprecationWarning, match="TLS"):
                    old.minimum_version = old.maximum_version = version
                with (
                    pytest.raises((ssl.SSLError, ConnectionError)),
                    socket.create_connection(("127.0.0.1", tls)) as raw,
                ):
                    old.wrap_socket(raw)


def test_upload_addresses_are_those_of_the_application():
    """Every view that takes more than the usual body has a place in nginx' file, and in the cluster's way in."""
    from django.conf import settings
    from django.urls import get_resolver

    from kamioi_site.http.body_limits import BODY_LIMITS, FORM_BYTES, body_limit
    from tests.docker.manifests import DOCKER, of_kind

    usual = settings.DATA_UPLOAD_MAX_MEMORY_SIZE

    def addresses_of(patterns, start="/"):
        for pattern in patterns:
            address = f"{start}{pattern.pattern}"
            yield from addresses_of(pattern.url_patterns, address) if hasattr(pattern, "url_patterns") else [address]

    addresses = set(addresses_of(get_resolver().url_patterns))
    large = {address for address in addresses if body_limit(address, "") > usual}
    for rule, _, _ in BODY_LIMITS:
        assert any(rule.fullmatch(address) for address in addresses), f"no address is {rule.pattern}"
    template = (DOCKER / "nginx" / "locations.conf.template").read_text()
    rules = [re.compile(rule) for rule in re.findall(r"location ~ (\S+) \{\n    client_max_body_size", template)]
    for address in large:
        assert any(rule.fullmatch(address) for rule in rules), f"{address} takes large bodies and nginx does not know"
    ways = {path["path"] for path in of_kind("ingress", "Ingress")["web-uploads"]["spec"]["rules"][0]["http"]["paths"]}
    assert {address for address in large if address.startswith("/api/")} <= ways
    assert f"client_max_body_size {usual // 1024**2}m;" in template
    assert usual % 1024**2 == 0
    assert settings.STATEMENT_MAX_BYTES + FORM_BYTES <= 513 * 1024**2


def test_a_value_that_could_write_configuration_is_refused(tmp_path):
    done = render("nginx", NGINX_DIR=str(tmp_path / "x"), NGINX_LISTEN="80; include /etc/passwd")
    assert done.returncode == 1
    assert "NGINX_LISTEN holds a character" in done.stderr
    assert render("nginx", NGINX_DIR=str(tmp_path / "x"), NGINX_SITE="ftp").returncode == 1


def test_names_are_asked_for_again_where_containers_come_and_go(tmp_path):
    from kamioi_site.local import system
    from tests.docker.servers import private_place

    with private_place("render") as place:
        done = render(
            "nginx",
            NGINX_DIR=str(place / "conf"),
            NGINX_TEMP=str(place / "temp"),
            NGINX_UPSTREAM="web.front:8000",
            NGINX_RESOLVER="127.0.0.11",
        )
        assert done.returncode == 0
        assert (place / "conf" / "upstream.conf").read_text() == (
            "resolver 127.0.0.11 valid=5s ipv6=off;\nserver web.front:8000 max_fails=2 fail_timeout=5s resolve;\n"
        )
        # The DNS of a cluster is in the resolv.conf of its pods.
        for line, resolver in (("nameserver 10.96.0.10", "10.96.0.10"), ("nameserver fd00::a", "[fd00::a]")):
            system.write_private(place / "resolv.conf", f"search svc.cluster.local\n{line}\n", system.server_owner())
            values = {"NGINX_RESOLVER": "auto", "RESOLV_CONF": str(place / "resolv.conf")}
            assert (
                render("nginx", NGINX_DIR=str(place / "conf"), NGINX_TEMP=str(place / "temp"), **values).returncode == 0
            )
            assert (place / "conf" / "upstream.conf").read_text().startswith(f"resolver {resolver} valid=5s")


@pytest.mark.parametrize(
    ("version", "port", "files", "listen", "http2", "redirect"),
    [
        (
            "1.22.1",
            "443",
            1000,
            "listen 8443 ssl http2 default_server;",
            "# no directive yet;",
            "https://$host$request_uri",
        ),
        ("1.29.4", "443", 1000, "listen 8443 ssl default_server;", "http2 on;", "https://$host$request_uri"),
        ("1.29.4", "18443", 99999, "listen 8443 ssl default_server;", "http2 on;", "https://$host:18443$request_uri"),
    ],
)
def test_the_configuration_fits_the_version_and_the_engine(tmp_path, version, port, files, listen, http2, redirect):
    """Else it warns at each start: of a word that is gone, and of more open files than it may have."""
    from kamioi_site.local import system
    from tests.docker.manifests import DOCKER

    (tmp_path / "nginx").write_text(f"#!/bin/sh\necho 'nginx version: nginx/{version}' >&2\n")
    (tmp_path / "nginx").chmod(0o755)
    limited = f"ulimit -n {min(files, 65536)} 2>/dev/null || :; exec /bin/sh {DOCKER}/nginx/render.sh"
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "NGINX_DIR": str(tmp_path / "conf"), "NGINX_PUBLIC_PORT": port}
    done = subprocess.run(
        ["/bin/sh", "-c", limited],
        env=system.plain_environment() | environment | {"NGINX_TEMP": str(tmp_path / "temp")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    server = (tmp_path / "conf" / "server.conf").read_text()
    assert listen in server
    assert http2 in server
    assert f"return 308 {redirect};" in server
    (limit,) = re.findall(r"worker_rlimit_nofile (\d+);", (tmp_path / "conf" / "nginx.conf").read_text())
    assert int(limit) <= files
