"""Prometheus and Grafana as shipped: rules checked by promtool, and every dashboard query run by a real Prometheus that
scrapes a real web process and a real worker. Both programs come with Debian's package `prometheus`.
"""

import json
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from celery import current_app
from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from analytics.models import TransactionDay
from kamioi_site.local.system import free_port
from kamioi_site.observability.metrics.collectors import metrics_collector
from tests.docker.servers import answers
from tests.factories import make_company, make_merchant, make_staff, make_transaction, make_user
from tests.workers import celery_worker, process_environment, wait_until
from transactions.models import ApiToken, BackgroundTask, Setting, Transaction
from transactions.services.ledger_verification import LEDGER_CHECK

ROOT = Path(__file__).resolve().parent.parent.parent
PROMETHEUS = ROOT / "docker" / "prometheus"
RUNBOOKS = ROOT / "docs" / "runbooks"
DASHBOARDS = sorted((ROOT / "docker" / "grafana" / "dashboards").glob("*.json"))
RULES = [
    rule
    for path in sorted((PROMETHEUS / "rules").glob("*.yml"))
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = [rule for rule in RULES if "alert" in rule]
# Metrics that need something missing in tests: a replica, an extension, a session waiting for a lock.
CONDITIONAL = {
    "kamioi_replica_lag_seconds",
    "kamioi_replica_lag_bytes",
    "kamioi_replication_slot_lag_bytes",
    "kamioi_backup_last_success_timestamp_seconds",  # docker/barman/backup.sh
    "kamioi_pg_statement_seconds_total",
    "kamioi_pg_lock_wait_seconds",
    "rabbitmq_queue_messages_ready",
}
needs_prometheus = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")),
    reason="no Prometheus here; as root: apt-get install prometheus",
)


def queries() -> Iterator[tuple[str, str]]:
    """Return every query of every dashboard, with its location."""
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                yield f"{path.stem}: {panel['title']}", target["expr"]


# --- As files ---------------------------------------------------------------------------------------------------
def _promtool_tests(here: Path) -> list[str]:
    """Write the cases of each alert with only the rules it needs: promtool evaluates all it is given, every minute."""
    expressions: dict[str, str] = {}
    for rule in RULES:
        name = rule.get("alert") or rule["record"]
        expressions[name] = f"{expressions.get(name, '')} {rule['expr']}"
    cases: dict[tuple[frozenset[str], Path], str] = {}
    for path in sorted((PROMETHEUS / "tests").glob("*.yml")):
        head, *texts = re.split(r"(?m)^(?=- name: )", path.read_text())
        for text in texts:
            about = frozenset(re.findall(r"\b(?:alertname|expr): (\S+)", text)), path
            cases[about] = cases.get(about, head) + text
    written = []
    for number, ((names, path), text) in enumerate(cases.items()):
        needed, added = set[str](), set(names)
        while added:
            needed |= added
            added = {word for name in added for word in re.findall(r"[\w:]+", expressions[name]) if word in expressions}
            added -= needed
        for source in (PROMETHEUS / "rules").glob("*.yml"):
            groups = yaml.safe_load(source.read_text())["groups"]
            for group in groups:
                group["rules"] = [rule for rule in group["rules"] if (rule.get("alert") or rule["record"]) in needed]
            copy = here / str(number) / "rules" / source.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(yaml.safe_dump({"groups": groups}))
        case = here / str(number) / "tests" / path.name
        case.parent.mkdir()
        case.write_text(text)
        written.append(str(case))
    return written


@needs_prometheus
def test_alerts_fire_when_they_should_and_are_quiet_when_they_should(subtests: Any, tmp_path: Path) -> None:
    for arguments in (
        ["check", "config", "--syntax-only", "prometheus.yml"],
        ["check", "rules", "rules/alerts.yml", "rules/recording.yml"],
        ["test", "rules", *_promtool_tests(tmp_path)],
    ):
        with subtests.test(" ".join(arguments[:2])):
            done = subprocess.run(["promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_both_ways() -> None:
    tested: dict[str, set[bool]] = {}
    for path in (PROMETHEUS / "tests").glob("*.yml"):
        for case in yaml.safe_load(path.read_text())["tests"]:
            for expected in case.get("alert_rule_test", []):
                tested.setdefault(expected["alertname"], set()).add(bool(expected["exp_alerts"]))
    # The sign of life is never quiet.
    assert tested == {alert["alert"]: {True} if alert["alert"] == "Watchdog" else {True, False} for alert in ALERTS}


def test_every_alert_leads_to_its_runbook() -> None:
    for alert in ALERTS:
        assert alert["annotations"]["runbook_url"] == f"docs/runbooks/{alert['alert']}.md"
        assert alert["labels"]["severity"] in ({"none"} if alert["alert"] == "Watchdog" else {"page", "ticket"})
        # An alert carries the first paragraph of its runbook.
        meaning = (RUNBOOKS / f"{alert['alert']}.md").read_text().split("\n\n")[1]
        assert alert["annotations"]["description"] == " ".join(meaning.split())
        severity = alert["labels"]["severity"]
        assert ("Pages on-call." in meaning.replace("\n", " ")) == (severity == "page")
    names = {path.stem for path in RUNBOOKS.glob("*.md")}
    assert names == {alert["alert"] for alert in ALERTS}
    for path in RUNBOOKS.glob("*.md"):
        text = path.read_text()
        assert text.startswith(f"# {path.stem}\n")
        assert "\n## Diagnose\n" in text
        assert "\n## Fix\n" in text
        for link in re.findall(r"\]\(([^)#]+)\)", text):
            assert (path.parent / link).exists(), f"{path.name} links {link}"


def test_dashboards_are_whole() -> None:
    seen: set[str] = set()
    for path in DASHBOARDS:
        board = json.loads(path.read_text())
        assert board["uid"] == path.stem
        assert path.stem not in seen
        seen.add(path.stem)
        ids = [panel["id"] for panel in board["panels"]]
        assert len(ids) == len(set(ids))
        for panel in board["panels"]:
            place = panel["gridPos"]
            assert place["x"] + place["w"] <= 24, panel["title"]
            assert panel["type"] == "row" or panel["targets"], panel["title"]
    assert len(seen) == 6


# --- What runbooks say to type ----------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_what_runbooks_say_to_look_at_can_be_looked_at(subtests: Any) -> None:
    metrics_collector.expire()  # what another test asked for without a database
    typed, asked = set(), set()
    for path in RUNBOOKS.glob("*.md"):
        blocks = re.findall(r"```(\w+)\n(.*?)```", path.read_text(), re.DOTALL)
        typed |= {line for kind, block in blocks if kind == "sh" for line in block.splitlines() if "manage.py" in line}
        asked |= {block for kind, block in blocks if kind == "sql"}
    assert len(typed) > 10
    assert len(asked) > 5
    for line in sorted(typed):
        with subtests.test(line):
            program, *arguments = line.split()
            assert program == ".venv/bin/python"
            output = StringIO()
            try:
                call_command(*arguments[1:], stdout=output)
            except SystemExit:  # the exit code of `partitions` reports problems
                assert arguments[1] == "partitions"
            if arguments[1] == "metrics" and arguments[2] not in {
                "kamioi_tasks",
                "kamioi_tasks_total",
                "kamioi_http",
                "kamioi_ledger",
                "kamioi_schedule",
            }:
                assert "Nothing counted" not in output.getvalue()
    for block in sorted(asked):
        with subtests.test(block.splitlines()[0]), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL transaction_read_only = on")
            cursor.execute(block)


# --- In a real Prometheus ---------------------------------------------------------------------------------------
def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as reply:
        return json.load(reply)


@contextmanager
def _running(command: list[str], log: Path, environment: dict[str, str] | None = None) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=30)


@contextmanager
def _web(here: Path, port: int) -> Iterator[None]:
    """The web on the shipped configuration of gunicorn, two processes."""
    environment = process_environment() | {
        "WEB_BIND": f"127.0.0.1:{port}",
        "WEB_CONCURRENCY": "2",
        "LOG_FORMAT": "json",
        "METRICS_TOKEN": "t0ken-of-a-test",
    }
    command = [sys.executable, "-m", "gunicorn", "-c", "docker/gunicorn.conf.py", "kamioi_site.asgi:application"]
    with _running(command, here / "web.log", environment):
        wait_until("the web", lambda: answers(f"http://127.0.0.1:{port}/healthz"))
        yield


@contextmanager
def _prometheus(here: Path, targets: dict[str, int]) -> Iterator[str]:
    """Prometheus on the shipped configuration: the same jobs and rules, targets of this test, every second."""
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"] |= {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(PROMETHEUS / "rules" / "*.yml")]
    jobs = [job for job in config["scrape_configs"] if job["job_name"] in targets]
    assert {job["job_name"] for job in jobs} == set(targets)
    (here / "token").write_text("t0ken-of-a-test")
    for job in jobs:
        del job["dns_sd_configs"]
        job["static_configs"] = [{"targets": [f"127.0.0.1:{targets[job['job_name']]}"]}]
        job["authorization"]["credentials_file"] = str(here / "token")
    config["scrape_configs"] = jobs
    (here / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    command = [
        "prometheus",
        f"--config.file={here / 'prometheus.yml'}",
        f"--storage.tsdb.path={here / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with _running(command, here / "prometheus.log"):
        wait_until("Prometheus", lambda: answers(f"http://127.0.0.1:{port}/-/ready"))
        yield f"http://127.0.0.1:{port}"


def _traffic(port: int) -> None:
    """A little of everything that the dashboards show."""
    user, staff = make_user(), make_staff()
    make_company("SBUX", "95.00")
    make_merchant("STARBUCKS", "SBUX")
    Setting.objects.update_or_create(key="llm_monthly_budget", defaults={"value": "100"})
    Setting.objects.update_or_create(key="infrastructure_monthly_cost", defaults={"value": "4000"})
    PeriodicTask.objects.update(last_run_at=timezone.now())
    for merchant in ("STARBUCKS", "WHO KNOWS"):
        make_transaction(user, merchant)
    for path, who in (
        ("/api/user/transactions", user),
        ("/api/user/transactions", user),
        ("/api/admin/llm-center/dashboard", staff),
        ("/api/user/transactions", None),
        ("/no/such/page", None),
    ):
        token = {"Authorization": f"Bearer {ApiToken.issue(user=who)[1]}"} if who else {}
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=token)
        try:
            urllib.request.urlopen(request, timeout=30).close()
        except urllib.error.HTTPError as error:
            error.close()
            if error.code not in {401, 404}:
                raise
    for task, queue in (
        ("process_transactions", "transactions"),
        ("calculate_analytics", "analytics"),
        ("check_ledger", "analytics"),
        ("sweep_stuck", "transactions"),
    ):
        current_app.send_task(task, queue=queue)
    current_app.send_task("ingest_statement", args=["nonsense"], queue="bulk")
    wait_until("the purchase", lambda: Transaction.objects.filter(status="completed").exists())
    wait_until(
        "the check of the books", lambda: BackgroundTask.objects.filter(name=LEDGER_CHECK, status="completed").exists()
    )
    wait_until("the figures of days", TransactionDay.objects.exists)


@needs_prometheus
@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_every_query_of_every_dashboard_has_an_answer(tmp_path: Path, subtests: Any) -> None:
    web, worker = free_port(), free_port()
    environment = {
        "KAMIOI_WORKER_METRICS_PORT": str(worker),
        "METRICS_TOKEN": "t0ken-of-a-test",
        "TMPDIR": str(tmp_path),
    }
    with ExitStack() as running:
        running.enter_context(_web(tmp_path, web))
        running.enter_context(celery_worker(concurrency=1, environment=environment))
        _traffic(web)  # before the first scrape: what a group of figures found is kept for a while
        targets = {"kamioi-web": web, "kamioi-worker": worker}
        prometheus = running.enter_context(_prometheus(tmp_path, targets))

        def ask(expr: str) -> list[Any]:
            address = f"{prometheus}/api/v1/query?" + urllib.parse.urlencode({"query": expr})
            found: list[Any] = _get(address)["data"]["result"]
            return found

        wait_until("the first scrapes", lambda: len(ask('up{job=~"kamioi.*"} == 1')) == 2)
        # A counter's first sample is no increase: a second round moves what the first one made.
        _traffic_again(web)
        wait_until(
            "the tasks of the second round",
            lambda: bool(ask('increase(kamioi_tasks_total{task="sweep_stuck"}[1m]) > 0')),
        )
        time.sleep(6)  # the groups of figures are asked every five seconds; the rules follow
        assert ask("kamioi_collector_up == 0") == []
        names = set(_get(f"{prometheus}/api/v1/label/__name__/values")["data"])
        recorded = {rule["record"] for rule in RULES if "record" in rule}
        for where, query in queries():
            with subtests.test(where):
                expr = query.replace("$__rate_interval", "1m").replace("$route", ".*")
                used = set(re.findall(r"\b(?:kamioi|rabbitmq)[\w:]*", re.sub(r'"[^"]*"', "", expr)))
                assert used - names - recorded - CONDITIONAL == set()
                result = ask(expr)
                assert result or used & CONDITIONAL, f"{expr} has no answer"
        for alert in ALERTS:
            with subtests.test(alert["alert"]):
                used = set(re.findall(r"\b(?:kamioi|rabbitmq)[\w:]*", re.sub(r'"[^"]*"', "", alert["expr"])))
                assert used - names - recorded - CONDITIONAL == set()
                ask(alert["expr"])
        for path in RUNBOOKS.glob("*.md"):
            for expr in re.findall(r"```promql\n(.*?)```", path.read_text(), re.DOTALL):
                ask(expr)
        firing = {alert["labels"]["alertname"] for alert in _get(f"{prometheus}/api/v1/alerts")["data"]["alerts"]}
        assert "TargetDown" not in firing
    lines = (tmp_path / "web.log").read_text().splitlines()
    assert all(line.startswith("{") for line in lines), [line for line in lines if not line.startswith("{")][:3]


def _traffic_again(port: int) -> None:
    user = _customer()
    token = {"Authorization": f"Bearer {ApiToken.issue(user=user)[1]}"}
    for _ in range(3):
        urllib.request.urlopen(
            urllib.request.Request(f"http://127.0.0.1:{port}/api/user/transactions", headers=token), timeout=30
        ).close()
    make_transaction(user, "STARBUCKS")
    for task in ("process_transactions", "sweep_stuck"):
        current_app.send_task(task, queue="transactions")
    current_app.send_task("ingest_statement", args=["nonsense"], queue="bulk")


def _customer() -> Any:
    return Transaction.objects.select_related("user").first().user
