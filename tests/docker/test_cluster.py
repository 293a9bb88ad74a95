"""The topology of production as processes: everything runs, limits go by the real address, what dies comes back.

One cluster goes through its whole life in one test, so that a parallel run starts only one; each step is a subtest.
"""

import http.client
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import psutil
import psycopg2
import pytest

from docker.local.topology import QUEUES, Cluster
from tests.cluster import ROOT, command, local_cluster, running
from tests.docker.servers import program

SETUP = """
import json
from transactions.models import ApiToken, BackgroundTask, User
user = User.objects.create_user("reader@example.com", "long enough words")
task = BackgroundTask.objects.create(name="ingest_statement", user=user, status="running", progress=1, total=10)
print(json.dumps({"token": ApiToken.issue(user=user)[1], "task": str(task.pk)}))
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """Where the cluster lives: not below pytest's own directory, which every session of pytest closes to
    all users but its own, servers of ours among them.
    """
    program("nginx", "nginx-light")
    program("pgbouncer", "pgbouncer")
    with tempfile.TemporaryDirectory(prefix="kamioi-cluster-", ignore_cleanup_errors=True) as place:
        yield Path(place)


@pytest.fixture
def cluster(home: Path) -> Iterator[Cluster]:
    """A cluster where strangers may ask six times an hour."""
    with local_cluster(home, API_RATE_ANONYMOUS="6/h") as found:
        yield found


@pytest.fixture
def reader(cluster: Cluster, home: Path) -> dict[str, str]:
    """A customer's token, and a background task of theirs that runs."""
    done = command(home, "exec", "manage.py", "shell", "-v", "0", "-c", SETUP)
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


class Reply(NamedTuple):
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    text: str


def ask(cluster: Cluster, path: str, *, source: str = "127.0.0.1", **headers: str) -> Reply:
    """A GET through nginx, read to its end."""
    connection = http.client.HTTPConnection(urlsplit(cluster.address).netloc, timeout=30, source_address=(source, 0))
    connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    reply = connection.getresponse()
    found = Reply(reply.status, reply.headers, reply.read().decode(errors="replace"))
    connection.close()
    return found


def sql(url: str, query: str) -> list[tuple[object, ...]]:
    """Rows of a query."""
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def every_production_process_runs_and_reports_its_address(cluster, home):
    kinds = [process.kind for process in cluster.processes]
    assert sorted(kinds) == sorted(
        ["postgres", "replica", "redis", "pgbouncer", "nginx", "beat", *["web"] * 3, *["worker"] * len(QUEUES)]
    )
    assert all(process.pid and psutil.pid_exists(process.pid) for process in cluster.processes)
    assert all(
        process.port
        for process in cluster.processes
        if process.kind in {"web", "nginx", "pgbouncer", "redis", "worker"}
    )
    status = command(home, "status")
    assert json.loads(status.stdout)["address"] == cluster.address
    assert (home / "cluster" / "cluster.json").stat().st_mode & 0o077 == 0  # it holds passwords
    # Nothing but processes of this user and the servers' own, and each server without root.
    for kind in ("postgres", "replica", "pgbouncer", "nginx", "redis"):
        (process,) = cluster.kind(kind)
        assert psutil.Process(process.pid).uids().effective != 0
    ready = ask(cluster, "/readyz")
    assert (ready.status, json.loads(ready.text)["status"]) == (200, "ok")


def the_replica_follows_and_takes_no_write(cluster):
    environment = cluster.environment
    assert environment["DATABASE_URL"].endswith("/kamioi")
    assert environment["REPLICA_URL"].endswith("/kamioi_replica")
    sql(cluster.direct_database_url, "CREATE TABLE followed (at int); INSERT INTO followed VALUES (7)")
    deadline = time.monotonic() + 20
    while True:
        try:
            assert sql(environment["REPLICA_URL"], "SELECT at FROM followed") == [(7,)]
            break
        except psycopg2.errors.UndefinedTable:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert sql(environment["REPLICA_URL"], "SELECT pg_is_in_recovery()") == [(True,)]
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
        sql(environment["REPLICA_URL"], "DELETE FROM goals")
    sql(cluster.direct_database_url, "DROP TABLE followed")
    assert sql(environment["DATABASE_URL"], "SELECT state, application_name FROM pg_stat_replication") == [
        ("streaming", "replica")
    ]


def the_container_health_checks_detect_failed_processes(cluster, tmp_path):
    def health(*role: str, **environment: str) -> int:
        return subprocess.run(
            [sys.executable, str(ROOT / "docker" / "health.py"), *role],
            env={"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), **cluster.environment, **environment},
            capture_output=True,
            check=False,
        ).returncode

    web = cluster.kind("web")[0]
    assert health("web", WEB_BIND=f"127.0.0.1:{web.port}") == 0
    assert health("web", WEB_BIND="127.0.0.1:1") == 1
    for queue in ("ai", "bulk"):
        assert health("worker", queue) == 0
    assert health("worker", "parties") == 1
    assert health("worker", "parties", REDIS_URL="redis://127.0.0.1:1/0") == 0  # the broker's fault, not the pool's
    (tmp_path / "kamioi-role").write_text("beat")
    assert health("beat") == 0  # just started
    os.utime(tmp_path / "kamioi-role", (0, 0))
    sql(
        cluster.direct_database_url,
        "UPDATE django_celery_beat_periodictask SET last_run_at = now() - interval '1 hour'",
    )
    assert health("beat") == 1
    sql(
        cluster.direct_database_url,
        "UPDATE django_celery_beat_periodictask SET last_run_at = now() WHERE id = 1 OR enabled",
    )
    assert health("beat") == 0


def limits_go_by_the_real_address_and_no_header_buys_another(cluster):
    def as_anonymous(source: str, number: int) -> int:
        spoofed = f"10.1.1.{number}"
        return ask(
            cluster,
            "/api/user/portfolio",
            source=source,
            X_Forwarded_For=spoofed,
            X_Real_IP=spoofed,
            Forwarded=f"for={spoofed}",
        ).status

    assert [as_anonymous("127.0.0.41", number) for number in range(8)] == [401] * 6 + [429] * 2
    # Another address has its own limit, although nginx forwards both.
    assert as_anonymous("127.0.0.42", 1) == 401


def all_three_webs_work(cluster, home):
    threads = [threading.Thread(target=lambda: [ask(cluster, "/admin/login/") for _ in range(5)]) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    text = (home / "cluster" / "nginx" / "access.log").read_text()
    used = set(re.findall(r'"upstream":"127\.0\.0\.1:(\d+)"', text))
    assert {str(web.port) for web in cluster.kind("web")} <= used


def progress_of_a_task_is_seen_as_it_happens(cluster, reader):
    connection = http.client.HTTPConnection(urlsplit(cluster.address).netloc, timeout=30)
    connection.request(
        "GET",
        f"/api/tasks/{reader['task']}/events",
        headers={"Authorization": f"Bearer {reader['token']}", "Accept": "text/event-stream"},
    )
    reply = connection.getresponse()
    assert reply.headers["Content-Type"].startswith("text/event-stream")

    def next_event() -> dict[str, object]:
        while True:
            line = reply.readline().decode()
            assert line, "the stream ended"
            if line.startswith("data:"):
                found: dict[str, object] = json.loads(line.removeprefix("data:"))
                return found

    assert next_event()["progress"] == 1
    sql(
        cluster.direct_database_url,
        f"UPDATE background_tasks SET status = 'completed', progress = 10 WHERE id = '{reader['task']}'",
    )
    while (event := next_event())["status"] != "completed":
        pass
    assert event["progress"] == 10
    connection.close()


def static_files_come_from_nginx_compressed(cluster):
    page = ask(cluster, "/admin/login/")
    path = re.findall(r'"(/static/kamioi/[^"]+\.css)"', page.text)[0]
    reply = ask(cluster, path, Accept_Encoding="gzip")
    assert reply.status == 200
    assert reply.headers["Content-Encoding"] == "gzip"
    assert "immutable" in reply.headers["Cache-Control"]


def a_web_that_is_killed_costs_no_reader_a_request_and_comes_back(cluster, home):
    answers: list[int] = []
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            answers.append(ask(cluster, "/admin/login/").status)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for thread in readers:
        thread.start()
    victim = next(web for web in running(home).processes if web.name == "web-2")
    assert victim.pid
    os.killpg(victim.pid, signal.SIGKILL)
    _wait(lambda: running(home).process("web-2").starts == 2)
    time.sleep(0.5)
    over.set()
    for thread in readers:
        thread.join(60)
    assert len(answers) > 3
    assert set(answers) == {200}


def servers_that_are_killed_come_back_with_what_was_committed(cluster, home):
    before = sql(cluster.direct_database_url, "SELECT count(*) FROM background_tasks")
    for name in ("postgres", "pgbouncer"):
        process = running(home).process(name)
        assert process.pid
        os.kill(process.pid, signal.SIGKILL)
        _wait(lambda name=name: running(home).process(name).starts == 2 and running(home).process(name).pid)
    _wait(lambda: ask(cluster, "/readyz").status == 200)
    assert sql(cluster.direct_database_url, "SELECT count(*) FROM background_tasks") == before


def a_second_cluster_of_the_home_is_refused_and_the_end_leaves_nothing(cluster, home):
    rival = command(home, "--port", "0", "run")
    assert rival.returncode == 1
    assert "already runs from" in rival.stderr
    family = [process.pid for process in running(home).processes if process.pid]
    assert command(home, "stop").returncode == 0
    assert not [pid for pid in family if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]
    assert not (home / "cluster" / "cluster.json").exists()
    assert command(home, "status").returncode == 1
    assert "No cluster is running" in command(home, "exec", "manage.py", "check").stderr


def _wait(happens, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if happens():
                return
        except (OSError, AssertionError, psycopg2.Error):
            pass
        assert time.monotonic() < deadline
        time.sleep(0.2)


STEPS: list[Callable[..., None]] = [
    every_production_process_runs_and_reports_its_address,
    the_replica_follows_and_takes_no_write,
    the_container_health_checks_detect_failed_processes,
    limits_go_by_the_real_address_and_no_header_buys_another,
    all_three_webs_work,
    progress_of_a_task_is_seen_as_it_happens,
    static_files_come_from_nginx_compressed,
    a_web_that_is_killed_costs_no_reader_a_request_and_comes_back,
    servers_that_are_killed_come_back_with_what_was_committed,
    a_second_cluster_of_the_home_is_refused_and_the_end_leaves_nothing,
]


def test_a_cluster_from_its_start_to_its_end(subtests, cluster, home, reader, tmp_path):
    given = {"cluster": cluster, "home": home, "reader": reader, "tmp_path": tmp_path}
    for step in STEPS:
        with subtests.test(step.__name__.replace("_", " ")):
            step(**{name: given[name] for name in inspect.signature(step).parameters})
