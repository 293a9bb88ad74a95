"""The faults that are injected into a cluster under load; `heal` ends a lasting one."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from docker.local.process_manager import TOKEN
from tests.chaos.cluster import SystemUnderTest, Verdict
from tests.cluster import ROOT
from tests.workers import wait_until

Injection = Callable[[SystemUnderTest], Any]
# Short task timeouts, because a test cannot wait for minutes.
SHORT_TIMEOUTS = {"TASK_SILENCE_SECONDS": "10", "TASK_UNANSWERED_SECONDS": "4"}


@dataclass(frozen=True)
class Fault:
    """One fault.

    After `hold` seconds `heal` gets what `inject` returned; the recovery time starts when it returns. `quick` faults
    run in `make test`, on the small cluster.
    """

    name: str
    inject: Injection
    heal: Callable[[SystemUnderTest, Any], object] | None = None
    hold: float = 0.0
    rounds: int = 3
    quick: bool = False
    seconds: float = 120.0


def inject(system: SystemUnderTest, fault: Fault, *, rounds: int, at_least: float, calm: float) -> Verdict:
    """Inject the fault repeatedly, each time until the cluster is healthy again; then verify."""
    before = system.verify(fault.name, injections=0, recovery=0)
    recovery = 0.0
    for _ in range(rounds):
        began = time.monotonic()
        injected = fault.inject(system)
        if fault.heal is not None:
            time.sleep(fault.hold)
            fault.heal(system, injected)
            began = time.monotonic()
        recovery = max(recovery, system.watch(began, at_least=at_least, calm=calm, seconds=fault.seconds))
    with system.pause():
        system.drain(seconds=fault.seconds)
        verdict = system.verify(fault.name, injections=rounds, recovery=recovery)
    fields = asdict(verdict)
    for name in ("accepted", "tasks", "failed_tasks", "failures"):
        fields[name] -= getattr(before, name)
    return Verdict(**fields)


def _kill(name: str) -> Injection:
    return lambda system: system.kill(name)


# --- Redis ------------------------------------------------------------------------------------------------------
def _redis_loses_everything(system: SystemUnderTest) -> None:
    """kill -9, and nothing on the disk to start from: messages, flags, counters and cached values are gone."""
    system.kill("redis")
    for path in (system.home / "cluster" / "redis").glob("*.rdb"):
        path.unlink()


def _redis_flushed(system: SystemUnderTest) -> None:
    """The server lives on, and everybody's connections with it; only the data is gone, queues' bindings included."""
    system.redis().flushall()


def _broker_full(system: SystemUnderTest) -> None:
    """Every write is refused, as with maxmemory reached and noeviction."""
    client = system.redis()
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", 1)


def _broker_empty(system: SystemUnderTest, _: Any) -> None:
    system.redis().config_set("maxmemory", 0)


# --- Messages ---------------------------------------------------------------------------------------------------
def duplicated_and_reordered(system: SystemUnderTest) -> None:
    """Everything that was ever sent for the newest work, three times, in any order and at any priority."""
    newest = [pk for (pk,) in system.sql("SELECT id FROM transactions ORDER BY id DESC LIMIT 30")]
    tasks = [
        str(pk) for (pk,) in system.sql("SELECT id FROM background_tasks WHERE name = 'ingest_statement' LIMIT 20")
    ]
    messages: list[tuple[str, list[Any]]] = [("process_transaction", [pk]) for pk in newest]
    messages += [("ingest_statement", [pk]) for pk in tasks]
    messages += [("process_transactions", [])] * 5 + [("sweep_stuck", []), ("execute_queued_orders", [])]
    messages *= 3
    random.shuffle(messages)
    with contextlib.closing(system.sender()) as app, app.connection_for_write() as connection:
        for name, arguments in messages:
            app.send_task(
                name, args=arguments, connection=connection, priority=random.choice([0, 3, 6, 9]), ignore_result=True
            )


def poisoned_messages(system: SystemUnderTest) -> None:
    """Put messages that are unreadable or name unknown tasks at the head of every queue."""
    with contextlib.closing(system.sender()) as app, app.connection_for_write() as connection:
        for queue in ("transactions", "bulk", "ai"):
            producer = app.amqp.Producer(connection.default_channel)
            for body, kind, coding in (
                (b"\xff\xfe not JSON", "application/json", "utf-8"),
                (b"\x80\x04N.", "application/x-python-serialize", "binary"),
                (b"{}", "application/json", "utf-8"),
                (b"[[], {}]", "application/json", "utf-8"),
            ):
                producer.publish(
                    body,
                    routing_key=queue,
                    exchange="",
                    content_type=kind,
                    content_encoding=coding,
                    priority=0,
                    headers={"task": "chaos.unknown", "id": os.urandom(8).hex()} if body == b"[[], {}]" else {},
                )
            app.send_task("process_transaction", args=["what", "ever"], queue=queue, connection=connection)
            app.send_task("process_transaction", args=[{"id": None}], queue=queue, connection=connection)
            app.send_task("ingest_statement", args=["not-a-task"], queue=queue, connection=connection)


def _garbage(system: SystemUnderTest) -> None:
    """Write bytes that are not a message into the broker's list; the worker that reads them must be restarted."""
    system.redis().rpush("transactions", b"\x00 no message at all")


def _poisoned_row(system: SystemUnderTest) -> None:
    """Create a purchase that the database always rejects; others must not wait for it."""
    if not system.sql("SELECT 1 FROM pg_constraint WHERE conname = 'chaos_poison'"):
        system.sql(
            "ALTER TABLE transactions ADD CONSTRAINT chaos_poison"
            " CHECK (status <> 'completed' OR merchant <> 'SHOPA #6666') NOT VALID"
        )
    for _ in range(3):
        system.purchase(2 + random.randrange(60), f"purchase-{os.urandom(4).hex()}", shop="SHOPA #6666")


def _poisoned_row_failed(system: SystemUnderTest) -> None:
    def ended() -> bool:
        found = system.sql(
            "SELECT DISTINCT status, failure_reason <> '' FROM transactions WHERE merchant = 'SHOPA #6666'"
        )
        return found == [("failed", True)]

    wait_until("the purchases have failed and say why", ended, seconds=60)


def process_of_cluster(system: SystemUnderTest, *command: str, **environment: str) -> "subprocess.Popen[bytes]":
    """One more process of the cluster, which ends with it at the latest."""
    cluster = system.cluster
    with open(system.home / f"extra-{os.urandom(3).hex()}.log", "wb") as log:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **cluster.environment, TOKEN: _token(system), **environment},
        )


def _token(system: SystemUnderTest) -> str:
    import json

    return str(json.loads((system.home / "cluster" / "run.json").read_text())["token"])


def end(_house: SystemUnderTest, process: "subprocess.Popen[bytes]") -> None:
    """kill -9 of such a process."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


def _celery(*arguments: str, application: str = "kamioi_site") -> list[str]:
    return [sys.executable, "-m", "celery", "-A", application, *arguments]


def a_second_beat(system: SystemUnderTest) -> "subprocess.Popen[bytes]":
    """Two of what there must be one of: every scheduled task is sent twice."""
    return process_of_cluster(system, *_celery("beat", "-l", "warning", "--pidfile="))


def a_task_that_kills_its_worker(system: SystemUnderTest) -> "subprocess.Popen[bytes]":
    """Send a task that kills its process each time, and one that raises, to a worker with other work."""
    deaths = system.home / "deaths"
    deaths.unlink(missing_ok=True)
    worker = process_of_cluster(
        system,
        *_celery(
            "worker",
            "-l",
            "info",
            "-c",
            "1",
            "-n",
            "poison@%h",
            "-Q",
            "poison",
            application="tests.chaos.fault_injection",
        ),
    )
    with contextlib.closing(system.sender()) as app:
        app.conf.task_queues = None
        app.send_task("chaos.dies", args=[str(deaths)], queue="poison")
        app.send_task("chaos.raises", queue="poison")
    return worker


def at_most_four_died(system: SystemUnderTest, worker: "subprocess.Popen[bytes]") -> None:
    """The message went to another process three times, and was dropped then."""
    died = (system.home / "deaths").read_text()
    end(system, worker)
    assert 1 <= len(died) <= 4, f"{len(died)} processes died of one message"


def _statement_that_kills(system: SystemUnderTest) -> str:
    """A statement whose worker dies each time it is read (here by our hand): it must be given up at last."""
    pool = "worker-bulk" if system.cluster.kind("replica") else "worker-all"
    key = f"upload-{os.urandom(4).hex()}-big"
    task = system.upload(5, key, rows=60_000)
    assert task
    deadline = time.monotonic() + (1200 if os.environ.get("CHAOS_SHIPPED") else 240)
    with system.pause():  # the others' statements would die with it
        while time.monotonic() < deadline:
            ((status, is_read),) = system.sql(
                "SELECT status, heartbeat_at > now() - interval '3 s' FROM background_tasks WHERE id = %s", (task,)
            )
            if status in {"completed", "failed"}:
                break
            if status == "running" and is_read:
                for child in system.children(pool):
                    with contextlib.suppress(Exception):
                        child.kill()
            time.sleep(0.05)
    ((status, error),) = system.sql("SELECT status, error FROM background_tasks WHERE id = %s", (task,))
    assert status in {"completed", "failed"}, f"it is {status}"
    assert status == "completed" or "given up" in error
    return task


# --- The model --------------------------------------------------------------------------------------------------
def _model_hangs(system: SystemUnderTest) -> None:
    """Let the model accept requests and never answer, while staff run the queue and unknown merchants arrive."""
    assert system.model is not None
    system.model.answers.clear()
    system.slow_tasks = ["run_llm_queue"]
    for number in range(20):
        system.purchase(
            2 + number, f"purchase-{os.urandom(4).hex()}", shop=f"QWXY {chr(65 + number)}{chr(70 + number)}OLVE GUILD"
        )
    system.run_queue(f"queue-{os.urandom(4).hex()}")


def _model_answers(system: SystemUnderTest, _: Any) -> None:
    assert system.model is not None
    assert system.model.asked, "the model got no request"
    system.model.answers.set()
    system.slow_tasks = []


# --- Clocks -----------------------------------------------------------------------------------------------------
def _faketime() -> str:
    program = shutil.which("faketime")
    if program is None:
        pytest.skip("faketime is not installed; as root: apt-get install faketime")
    return program


def _worker_of_another_time(system: SystemUnderTest) -> "subprocess.Popen[bytes]":
    """Start a worker whose clock is two hours ahead."""
    return process_of_cluster(
        system,
        _faketime(),
        "-f",
        "+2h",
        *_celery(
            "worker", "-l", "info", "-c", "2", "-n", "future@%h", "-Q", "ai,transactions,analytics,notifications,bulk"
        ),
    )


def _beat_of_another_time(system: SystemUnderTest) -> "subprocess.Popen[bytes]":
    """Beat's clock was six hours ahead, it wrote that down, and beat starts again with the right time."""
    return process_of_cluster(system, _faketime(), "-f", "+6h", *_celery("beat", "-l", "info", "--pidfile="))


def _right_time_again(system: SystemUnderTest, beat: "subprocess.Popen[bytes]") -> None:
    beat.terminate()  # it writes the times of its last runs
    beat.wait(30)
    system.kill("beat")
    system.lose_a_message()


def _sent_again_by_beat(system: SystemUnderTest) -> None:
    system.kill("beat")
    system.lose_a_message()


FAULTS = [
    *(
        Fault(f"kill -9 of the pool `{queue}`", _kill(f"worker-{queue}"))
        for queue in ("transactions", "bulk", "ai", "analytics", "notifications")
    ),
    *(Fault(f"kill -9 of web-{number}", _kill(f"web-{number}"), rounds=2) for number in (1, 2, 3)),
    Fault("kill -9 of beat, and a lost message", _sent_again_by_beat),
    Fault("kill -9 of Redis, its data lost", _redis_loses_everything),
    Fault("FLUSHALL", _redis_flushed),
    Fault("a full broker for 8 s (maxmemory, noeviction)", _broker_full, heal=_broker_empty, hold=8),
    Fault("kill -9 of PostgreSQL", _kill("postgres")),
    Fault("kill -9 of the replica", _kill("replica")),
    Fault("kill -9 of PgBouncer", _kill("pgbouncer")),
    Fault("kill -9 of nginx", _kill("nginx")),
    Fault("two beats for 20 s", a_second_beat, heal=end, hold=20, rounds=1),
    Fault("messages delivered three times and out of order", duplicated_and_reordered),
    Fault("messages that cannot be read", poisoned_messages),
    Fault("garbage in the broker's list", _garbage),
    Fault("a row that cannot be posted", _poisoned_row, heal=lambda system, _: _poisoned_row_failed(system), hold=6),
    Fault("a model that does not answer, for 25 s", _model_hangs, heal=_model_answers, hold=25, rounds=1),
    Fault("a task that kills its worker", a_task_that_kills_its_worker, heal=at_most_four_died, hold=30, rounds=1),
    Fault("a statement whose worker dies each time", _statement_that_kills, rounds=1, seconds=300),
    Fault("a worker two hours ahead, for 30 s", _worker_of_another_time, heal=end, hold=30, rounds=1),
    Fault("beat's clock set back by six hours", _beat_of_another_time, heal=_right_time_again, hold=20, rounds=1),
]


def _worker_of_all(system: SystemUnderTest) -> None:
    system.kill("worker-all")
    system.lose_a_message()


def _webs_one_by_one(system: SystemUnderTest) -> None:
    system.kill("web-1")


def _gentle_ones(system: SystemUnderTest) -> "subprocess.Popen[bytes]":
    """Inject all faults that kill no process: duplicate, reordered and unreadable messages, a rejected row."""
    beat = a_second_beat(system)
    _poisoned_row(system)
    duplicated_and_reordered(system)
    poisoned_messages(system)
    return beat


def _gentle_ones_over(system: SystemUnderTest, beat: "subprocess.Popen[bytes]") -> None:
    _poisoned_row_failed(system)
    end(system, beat)


# The part in `make test`: on the small cluster, where one pool has every queue.
QUICK = [
    Fault(
        "two beats; duplicate, reordered, unreadable messages; a row that cannot be posted",
        _gentle_ones,
        heal=_gentle_ones_over,
        hold=5,
        rounds=1,
    ),
    Fault("kill -9 of the worker pool, and a lost message", _worker_of_all, rounds=1),
    Fault("kill -9 of a web", _webs_one_by_one, rounds=1),
    Fault("kill -9 of Redis, its data lost", _redis_loses_everything, rounds=1),
    Fault("kill -9 of PostgreSQL", _kill("postgres"), rounds=1),
]


@contextlib.contextmanager
def small_disk(place: Path, megabytes: int) -> Iterator[Path]:
    """Mount a small disk; the test is skipped without permission to mount."""
    place.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "tmpfs", str(place)],
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"a small disk needs the right to mount: {done.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)


def disk_full(system: SystemUnderTest) -> Path:
    """Fill PostgreSQL's disk completely."""
    filler = system.home / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * (1 << 20))
    return filler


def disk_freed(_house: SystemUnderTest, filler: Path) -> None:
    """Free the space again."""
    filler.unlink()
