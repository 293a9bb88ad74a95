"""Alertmanager as shipped: the route of every alert, inhibitions, and a real Prometheus whose alert arrives by webhook
and by mail. Both programs come with Debian's package `prometheus-alertmanager`.
"""

import json
import re
import shutil
import socketserver
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_string
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from kamioi_site.local.system import free_port
from tests.docker.manifests import DOCKER, compose, of_kind, pods
from tests.docker.servers import answers
from tests.workers import wait_until

ALERTMANAGER = DOCKER / "alertmanager"
PROMETHEUS = DOCKER / "prometheus"
CONFIG = yaml.safe_load((ALERTMANAGER / "alertmanager.yml").read_text())
ALERTS = {
    rule["alert"]: rule
    for group in yaml.safe_load((PROMETHEUS / "rules" / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
}
# In Debian the program has the name of its package.
PROGRAM = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
needs_alertmanager = pytest.mark.skipif(
    not (PROGRAM and shutil.which("amtool")),
    reason="no Alertmanager here; as root: apt-get install prometheus-alertmanager",
)
needs_prometheus = pytest.mark.skipif(
    not shutil.which("prometheus"), reason="no Prometheus here; as root: apt-get install prometheus"
)


def rendered(here: Path, **environment: str) -> Path:
    """The configuration that render.sh makes of that environment."""
    subprocess.run(
        [str(ALERTMANAGER / "render.sh")],
        env={"PATH": "/usr/bin:/bin", "ALERTMANAGER_DIR": str(here / "alertmanager")} | environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return here / "alertmanager" / "alertmanager.yml"


def _file(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


# --- As files ---------------------------------------------------------------------------------------------------
@needs_alertmanager
@pytest.mark.parametrize("configured", ["none", "mail", "webhook", "everything"])
def test_the_configuration_is_valid_for_every_combination(tmp_path: Path, configured: str) -> None:
    environment: dict[str, str] = {}
    if configured in {"mail", "everything"}:
        environment |= {
            "ALERT_PAGE_EMAIL": "on-call@kamioi.example,boss@kamioi.example",
            "EMAIL_HOST": "mail.example",
            "EMAIL_HOST_USER": "o'neill",
            "EMAIL_HOST_PASSWORD_FILE": _file(tmp_path / "password", "it's: \\ a # secret\n"),
        }
    if configured in {"webhook", "everything"}:
        for name in ("PAGE", "TICKET", "HEARTBEAT"):
            environment[f"ALERT_{name}_WEBHOOK_FILE"] = _file(tmp_path / name, f"https://hooks.example/{name}?a=b#c\n")
    config = rendered(tmp_path, **environment)
    done = subprocess.run(["amtool", "check-config", str(config)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert config.stat().st_mode & 0o077 == 0  # it holds secrets
    receivers = {receiver["name"]: receiver for receiver in yaml.safe_load(config.read_text())["receivers"]}
    assert bool(receivers["page"].get("email_configs")) == (configured in {"mail", "everything"})
    assert bool(receivers["page"].get("webhook_configs")) == (configured in {"webhook", "everything"})
    if configured == "everything":
        assert receivers["ticket"]["webhook_configs"][0]["url"] == "https://hooks.example/TICKET?a=b#c"
        assert yaml.safe_load(config.read_text())["global"]["smtp_auth_password"] == "it's: \\ a # secret"


def test_tickets_go_where_pages_go_unless_configured_otherwise(tmp_path: Path) -> None:
    config = rendered(
        tmp_path,
        ALERT_PAGE_EMAIL="on-call@kamioi.example",
        EMAIL_HOST="mail.example",
        ALERT_PAGE_WEBHOOK_FILE=_file(tmp_path / "page", "https://hooks.example/1"),
        ALERT_TICKET_WEBHOOK_FILE=_file(tmp_path / "ticket", ""),
    )
    page, ticket, heartbeat = yaml.safe_load(config.read_text())["receivers"]
    assert ticket == page | {"name": "ticket"}
    assert heartbeat == {"name": "heartbeat"}


@pytest.mark.parametrize(
    "environment",
    [{"ALERT_PAGE_EMAIL": "a@b.example"}, {"ALERT_PAGE_WEBHOOK_FILE": "hook"}, {"ALERT_RUNBOOKS_URL": 'x"}}{{'}],
    ids=["mail without a server", "no address", "a template"],
)
def test_what_cannot_work_is_refused_at_the_start(tmp_path: Path, environment: dict[str, str]) -> None:
    if "ALERT_PAGE_WEBHOOK_FILE" in environment:
        environment = {"ALERT_PAGE_WEBHOOK_FILE": _file(tmp_path / "hook", "hooks.example/1")}
    with pytest.raises(subprocess.CalledProcessError):
        rendered(tmp_path, **environment)


def test_what_is_silenced_by_what_names_alerts_that_exist() -> None:
    """And never the books: nothing explains those away."""
    for rule in CONFIG["inhibit_rules"]:
        for side in ("source_matchers", "target_matchers"):
            (pattern,) = re.findall(r'alertname=~?"([^"]+)"', " ".join(rule[side]))
            for part in pattern.split("|"):
                found = {name for name in ALERTS if re.fullmatch(part, name)}
                assert found, f"no alert is named {part}"
                if side == "target_matchers":
                    assert not found & {"LedgerWrong", "WrongMappings", "AlertsNotDelivered", "Watchdog", "WebDown"}


def test_compose_and_the_cluster_start_it_alike() -> None:
    service = compose()["services"]["alertmanager"]
    for overlay in ("dev", "prod"):
        container = pods(overlay)["alertmanager"]["containers"][0]
        assert container["image"] == service["image"]
        assert container["command"] == service["entrypoint"]
        files = of_kind(overlay, "ConfigMap")
        mounted = files["alertmanager-files"]
        volume = {"name": "files", "configMap": {"name": mounted["metadata"]["name"]}}
        assert volume in pods(overlay)["alertmanager"]["volumes"]
        assert {path: text.strip() for path, text in mounted["data"].items()} == {
            path.name: path.read_text().strip() for path in ALERTMANAGER.iterdir() if path.name != "kustomization.yaml"
        }
        given = {*files["alertmanager"]["data"], *(row["name"] for row in container["env"])}
        assert given - {"ALERTMANAGER_URL"} == set(service["environment"])
    script = (ALERTMANAGER / "render.sh").read_text()
    assert {name for name in service["environment"] if name not in script} == set()
    configured = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["alerting"]["alertmanagers"]
    assert configured == [{"dns_sd_configs": [{"names": ["alertmanager"], "type": "A", "port": 9093}]}]


@needs_alertmanager
def test_every_alert_is_routed_by_its_severity(tmp_path: Path) -> None:
    config = rendered(tmp_path)
    receivers = {"page": "page", "ticket": "ticket", "none": "heartbeat"}

    def route(*labels: str) -> str:
        done = subprocess.run(
            ["amtool", "config", "routes", "test", f"--config.file={config}", *labels],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    for name, alert in ALERTS.items():
        severity = alert["labels"]["severity"]
        assert route(f"alertname={name}", f"severity={severity}") == receivers[severity], name
    assert route("alertname=OfSomebodyElse") == "page"  # rather too loud than unheard


# --- For real ---------------------------------------------------------------------------------------------------
class _Mailbox(socketserver.StreamRequestHandler):
    """As much of SMTP as it takes to be given a message."""

    def handle(self) -> None:
        """One connection."""
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline():
            word = line[:4].upper()
            if word == b"DATA":
                self.wfile.write(b"354 continue\r\n")
                lines = []
                while (text := self.rfile.readline()) not in {b".\r\n", b""}:
                    lines.append(text.decode())
                self.server.mails.append("".join(lines))  # type: ignore[attr-defined]
            self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
            if word == b"QUIT":
                return


class _Hook(BaseHTTPRequestHandler):
    """Takes what is posted."""

    def do_POST(self) -> None:
        """Keep it with its path."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.posts.append((self.path, body))  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def _serving(server: socketserver.TCPServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def _running(command: list[str], log: Path, ready: str) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            wait_until(command[0], lambda: answers(ready))
            yield
        finally:
            process.terminate()
            process.wait(timeout=30)


@contextmanager
def _alertmanager(here: Path, **environment: str) -> Iterator[int]:
    """Start Alertmanager with the shipped configuration, except for the group wait. It exceeds the five seconds after
    which Prometheus evaluates the inhibiting alert, or an inhibited one would be sent first.
    """
    config = rendered(here, **environment)
    config.write_text(re.sub(r"group_wait: [1-9]\w*", "group_wait: 8s", config.read_text()))
    port = free_port()
    command = [
        str(PROGRAM),
        f"--config.file={config}",
        f"--storage.path={here / 'alerts'}",
        "--cluster.listen-address=",
        f"--web.listen-address=127.0.0.1:{port}",
        "--web.external-url=https://alerts.kamioi.example",
        "--web.route-prefix=/",
    ]
    with _running(command, here / "alertmanager.log", f"http://127.0.0.1:{port}/-/ready"):
        yield port


@contextmanager
def _prometheus(here: Path, alertmanager: int, dead: int) -> Iterator[None]:
    """Prometheus with the shipped rules, without their patience, every second; the web and a worker do not answer."""
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"] |= {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    for name in ("alerts", "recording"):
        rules = (PROMETHEUS / "rules" / f"{name}.yml").read_text()
        (here / f"{name}.yml").write_text(re.sub(r"for: \w+", "for: 0s", rules))
    config["rule_files"] = [str(here / "alerts.yml"), str(here / "recording.yml")]
    config["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager}"]}]}]
    jobs = [job for job in config["scrape_configs"] if job["job_name"] in {"kamioi-web", "kamioi-worker"}]
    for job in jobs:
        del job["dns_sd_configs"], job["authorization"]
        job["static_configs"] = [{"targets": [f"127.0.0.1:{dead}"]}]
    config["scrape_configs"] = jobs
    (here / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    command = [
        "prometheus",
        f"--config.file={here / 'prometheus.yml'}",
        f"--storage.tsdb.path={here / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
        # What fires before Alertmanager is known is sent again.
        "--rules.alert.resend-delay=1s",
    ]
    with _running(command, here / "prometheus.log", f"http://127.0.0.1:{port}/-/ready"):
        yield


@needs_alertmanager
@needs_prometheus
def test_what_fires_arrives_and_what_follows_from_it_is_held_back(tmp_path: Path) -> None:
    hook = ThreadingHTTPServer(("127.0.0.1", 0), _Hook)
    mailbox = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Mailbox)
    posts: list[tuple[str, dict[str, Any]]] = []
    mails: list[str] = []
    hook.posts, mailbox.mails = posts, mails  # type: ignore[attr-defined]
    mailbox.daemon_threads = True
    with _serving(hook) as web, _serving(mailbox) as mail:
        files = {
            f"ALERT_{name.upper()}_WEBHOOK_FILE": _file(tmp_path / name, f"http://127.0.0.1:{web}/{name}\n")
            for name in ("page", "ticket", "heartbeat")
        }
        environment = files | {
            "ALERT_PAGE_EMAIL": "on-call@kamioi.example",
            "EMAIL_HOST": "127.0.0.1",
            "EMAIL_PORT": str(mail),
            "EMAIL_USE_TLS": "false",
            "ALERT_RUNBOOKS_URL": "https://git.kamioi.example/",
        }
        with _alertmanager(tmp_path, **environment) as port, _prometheus(tmp_path, port, free_port()):

            def alerts_sent(path: str) -> set[str]:
                return {body["groupLabels"]["alertname"] for where, body in posts if where == path}

            wait_until(
                "the alerts",
                lambda: (
                    alerts_sent("/page") >= {"WebDown", "TargetDown"}
                    and "Watchdog" in alerts_sent("/heartbeat")
                    and len(mails) > 1
                ),
            )
            # Rules whose metrics are missing because the web is down.
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v2/alerts", timeout=30) as reply:
                held = {alert["labels"]["alertname"] for alert in json.load(reply) if alert["status"]["inhibitedBy"]}
    assert held >= {"ScheduleSilent", "LedgerNotChecked", "TargetDown"}
    assert alerts_sent("/page") == {"WebDown", "TargetDown"}
    assert alerts_sent("/ticket") == set()
    assert alerts_sent("/heartbeat") == {"Watchdog"}
    (down,) = [body for where, body in posts if where == "/page" and body["groupLabels"] == {"alertname": "TargetDown"}]
    assert [alert["labels"]["job"] for alert in down["alerts"]] == ["kamioi-worker"]
    assert down["commonAnnotations"]["runbook_url"] == "docs/runbooks/TargetDown.md"
    letter = next(parsed for parsed in map(message_from_string, mails) if "WebDown" in str(parsed["Subject"]))
    assert letter["Subject"] == "[page] WebDown: No web process responds."
    assert letter["To"] == "on-call@kamioi.example"
    text = "".join(
        part.get_payload(decode=True).decode() for part in letter.walk() if part.get_content_type() == "text/plain"
    )
    assert ALERTS["WebDown"]["annotations"]["description"] in " ".join(text.split())
    assert "https://git.kamioi.example/docs/runbooks/WebDown.md" in text
    assert "https://alerts.kamioi.example" in text
