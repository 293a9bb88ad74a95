"""The faults: what is done to a cluster under load. Each strike may end what it began in `heal`, some seconds later."""

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
from tests.chaos.house import House, Verdict
from tests.cluster import ROOT
from tests.workers import wait_until

Strike = Callable[[House], Any]
# A sweep every two seconds and short patience with the dead, where a test cannot wait for minutes.
HURRIED = {"TASK_SILENCE_SECONDS": "10", "TASK_UNANSWERED_SECONDS": "4"}


@dataclass(frozen=True)
class Fault:
    """One fault.

    `hold` is how long (seconds) before `heal` gets what `strike` returned; the recovery time counts from the end of it.
    `quick` ones run with every `make test`, on the small cluster.
    """

    name: str
    strike: Strike
    heal: Callable[[House, Any], object] | None = None
    hold: float = 0.0
    rounds: int = 3
    quick: bool = False
    seconds: float = 120.0


def strike(house: House, fault: Fault, *, rounds: int, at_least: float, calm: float) -> Verdict:
    """Strike so many times, each time until the cluster is well again; then judge."""
    before = house.judge(fault.name, struck=0, recovery=0)
    recovery = 0.0
    for _ in range(rounds):
        began = time.monotonic()
        held = fault.strike(house)
        if fault.heal is not None:
            time.sleep(fault.hold)
            fault.heal(house, held)
            began = time.monotonic()
        recovery = max(recovery, house.watch(began, at_least=at_least, calm=calm, seconds=fault.seconds))
    with house.pause():
        house.drain(seconds=fault.seconds)
        verdict = house.judge(fault.name, struck=rounds, recovery=recovery)
    fields = asdict(verdict)
    for name in ("accepted", "tasks", "failed_tasks", "failures"):
        fields[name] -= getattr(before, name)
    return Verdict(**fields)


def _kill(name: str) -> Strike:
    return lambda house: house.kill(name)


# --- Redis ------------------------------------------------------------------------------------------------------
def _redis_loses_everything(house: House) -> None:
    """kill -9, and nothing on the disk to start from: messages, flags, counters and cached values are gone."""
    house.kill("redis")
    for path in (house.home / "cluster" / "redis").glob("*.rdb"):
        path.unlink()


def _redis_flushed(house: House) -> None:
    """The server lives on, and everybody's connections with it; only the data is gone, queues' bindings included."""
    house.redis().flushall()


def _broker_full(house: House) -> None:
    """Every write is refused, as with maxmemory reached and noeviction."""
    client = house.redis()
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", 1)


def _broker_empty(house: House, _: Any) -> None:
    house.redis().config_set("maxmemory", 0)


# --- Messages ---------------------------------------------------------------------------------------------------
def duplicated_and_reordered(house: House) -> None:
    """Everything that was ever sent for the newest work, three times, in any order and at any priority."""
    newest = [pk for (pk,) in house.sql("SELECT id FROM transactions ORDER BY id DESC LIMIT 30")]
    tasks = [str(pk) for (pk,) in house.sql("SELECT id FROM background_tasks WHERE name = 'ingest_statement' LIMIT 20")]
    messages: list[tuple[str, list[Any]]] = [("process_transaction", [pk]) for pk in newest]
    messages += [("ingest_statement", [pk]) for pk in tasks]
    messages += [("process_transactions", [])] * 5 + [("sweep_stuck", []), ("execute_queued_orders", [])]
    messages *= 3
    random.shuffle(messages)
    with contextlib.closing(house.sender()) as app, app.connection_for_write() as connection:
        for name, arguments in messages:
            app.send_task(
                name, args=arguments, connection=connection, priority=random.choice([0, 3, 6, 9]), ignore_result=True
            )


def poisoned_messages(house: House) -> None:
    """Messages that no worker can read, or that name what nobody knows; in every queue, ahead of everything else."""
    with contextlib.closing(house.sender()) as app, app.connection_for_write() as connection:
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
                    headers={"task": "chaos.nobody", "id": os.urandom(8).hex()} if body == b"[[], {}]" else {},
                )
            app.send_task("process_transaction", args=["what", "ever"], queue=queue, connection=connection)
            app.send_task("process_transaction", args=[{"id": None}], queue=queue, connection=connection)
            app.send_task("ingest_statement", args=["not-a-task"], queue=queue, connection=connection)


def _garbage(house: House) -> None:
    """Not even an envelope, written past Celery into the broker's own list: it costs the worker that takes it a start."""
    house.redis().rpush("transactions", b"\x00 no message at all")


def _poisoned_row(house: House) -> None:
    """A purchase that the database refuses to book, whoever tries: its neighbours must not wait for it."""
    if not house.sql("SELECT 1 FROM pg_constraint WHERE conname = 'chaos_poison'"):
        house.sql("ALTER TABLE notifications ADD CONSTRAINT chaos_poison CHECK (message NOT LIKE '%#6666%') NOT VALID")
    for _ in range(3):
        house.purchase(2 + random.randrange(60), f"purchase-{os.urandom(4).hex()}", shop="SHOPA #6666")


def _poisoned_row_failed(house: House) -> None:
    def ended() -> bool:
        found = house.sql(
            "SELECT DISTINCT status, failure_reason <> '' FROM transactions WHERE merchant = 'SHOPA #6666'"
        )
        return found == [("failed", True)]

    wait_until("the purchases have failed and say why", ended, seconds=60)


def process_of_cluster(house: House, *command: str, **environment: str) -> "subprocess.Popen[bytes]":
    """One more process of the cluster, which ends with it at the latest."""
    cluster = house.cluster
    with open(house.home / f"extra-{os.urandom(3).hex()}.log", "wb") as log:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **cluster.environment, TOKEN: _token(house), **environment},
        )


def _token(house: House) -> str:
    import json

    return str(json.loads((house.home / "cluster" / "run.json").read_text())["token"])


def end(_house: House, process: "subprocess.Popen[bytes]") -> None:
    """kill -9 of such a process."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


def _celery(*arguments: str, application: str = "kamioi_site") -> list[str]:
    return [sys.executable, "-m", "celery", "-A", application, *arguments]


def a_second_beat(house: House) -> "subprocess.Popen[bytes]":
    """Two of what there must be one of: every scheduled task is sent twice."""
    return process_of_cluster(house, *_celery("beat", "-l", "warning", "--pidfile="))


def a_task_that_kills_its_worker(house: House) -> "subprocess.Popen[bytes]":
    """A message whose task takes its process down each time, and one that raises, before a worker that has other work too."""
    deaths = house.home / "deaths"
    deaths.unlink(missing_ok=True)
    worker = process_of_cluster(
        house,
        *_celery(
            "worker", "-l", "info", "-c", "1", "-n", "poison@%h", "-Q", "poison", application="tests.chaos.poison"
        ),
    )
    with contextlib.closing(house.sender()) as app:
        app.conf.task_queues = None
        app.send_task("chaos.dies", args=[str(deaths)], queue="poison")
        app.send_task("chaos.raises", queue="poison")
    return worker


def at_most_four_died(house: House, worker: "subprocess.Popen[bytes]") -> None:
    """The message went to another process three times, and was dropped then."""
    died = (house.home / "deaths").read_text()
    end(house, worker)
    assert 1 <= len(died) <= 4, f"{len(died)} processes died of one message"


def _statement_that_kills(house: House) -> str:
    """A statement whose worker dies each time it is read (here by our hand): it must be given up at last."""
    pool = "worker-bulk" if house.cluster.kind("replica") else "worker-all"
    key = f"upload-{os.urandom(4).hex()}-big"
    task = house.upload(5, key, rows=60_000)
    assert task
    deadline = time.monotonic() + (1200 if os.environ.get("CHAOS_SHIPPED") else 240)
    with house.pause():  # the others' statements would die with it
        while time.monotonic() < deadline:
            ((status, is_read),) = house.sql(
                "SELECT status, heartbeat_at > now() - interval '3 s' FROM background_tasks WHERE id = %s", (task,)
            )
            if status in {"completed", "failed"}:
                break
            if status == "running" and is_read:
                for child in house.children(pool):
                    with contextlib.suppress(Exception):
                        child.kill()
            time.sleep(0.05)
    ((status, error),) = house.sql("SELECT status, error FROM background_tasks WHERE id = %s", (task,))
    assert status in {"completed", "failed"}, f"it is {status}"
    assert status == "completed" or "given up" in error
    return task


# --- The model --------------------------------------------------------------------------------------------------
def _model_hangs(house: House) -> None:
    """The question is taken and never answered, while staff run the queue and merchants that nobody knows come in."""
    assert house.model is not None
    house.model.answers.clear()
    house.slow_tasks = ["run_llm_queue"]
    for number in range(20):
        house.purchase(
            2 + number, f"purchase-{os.urandom(4).hex()}", shop=f"QWXY {chr(65 + number)}{chr(70 + number)}OLVE GUILD"
        )
    house.run_queue(f"queue-{os.urandom(4).hex()}")


def _model_answers(house: House, _: Any) -> None:
    assert house.model is not None
    assert house.model.asked, "nobody asked the model"
    house.model.answers.set()
    house.slow_tasks = []


# --- Clocks -----------------------------------------------------------------------------------------------------
def _faketime() -> str:
    program = shutil.which("faketime")
    if program is None:
        pytest.skip("faketime is not installed; as root: apt-get install faketime")
    return program


def _worker_of_another_time(house: House) -> "subprocess.Popen[bytes]":
    """A worker whose clock is two hours ahead takes part in everything."""
    return process_of_cluster(
        house,
        _faketime(),
        "-f",
        "+2h",
        *_celery(
            "worker", "-l", "info", "-c", "2", "-n", "future@%h", "-Q", "ai,transactions,analytics,notifications,bulk"
        ),
    )


def _beat_of_another_time(house: House) -> "subprocess.Popen[bytes]":
    """Beat's clock was six hours ahead, it wrote that down, and beat starts again with the right time."""
    return process_of_cluster(house, _faketime(), "-f", "+6h", *_celery("beat", "-l", "info", "--pidfile="))


def _right_time_again(house: House, beat: "subprocess.Popen[bytes]") -> None:
    beat.terminate()  # it writes the times of its last runs
    beat.wait(30)
    house.kill("beat")
    house.lose_a_message()


def _sent_again_by_beat(house: House) -> None:
    house.kill("beat")
    house.lose_a_message()


FAULTS = [
    *(
        Fault(f"kill -9 of the pool `{queue}`", _kill(f"worker-{queue}"))
        for queue in ("transactions", "bulk", "ai", "analytics", "notifications")
    ),
    *(Fault(f"kill -9 of web-{number}", _kill(f"web-{number}"), rounds=2) for number in (1, 2, 3)),
    Fault("kill -9 of beat, and a message lost", _sent_again_by_beat),
    Fault("kill -9 of Redis, its data lost", _redis_loses_everything),
    Fault("FLUSHALL", _redis_flushed),
    Fault("a full broker for 8 s (maxmemory, noeviction)", _broker_full, heal=_broker_empty, hold=8),
    Fault("kill -9 of PostgreSQL", _kill("postgres")),
    Fault("kill -9 of the replica", _kill("replica")),
    Fault("kill -9 of PgBouncer", _kill("pgbouncer")),
    Fault("kill -9 of nginx", _kill("nginx")),
    Fault("two beats for 20 s", a_second_beat, heal=end, hold=20, rounds=1),
    Fault("messages three times and out of order", duplicated_and_reordered),
    Fault("messages that cannot be read", poisoned_messages),
    Fault("garbage in the broker's list", _garbage),
    Fault("a row that cannot be booked", _poisoned_row, heal=lambda house, _: _poisoned_row_failed(house), hold=6),
    Fault(
        "a model that takes the question and says nothing, for 25 s",
        _model_hangs,
        heal=_model_answers,
        hold=25,
        rounds=1,
    ),
    Fault("a task that kills its worker", a_task_that_kills_its_worker, heal=at_most_four_died, hold=30, rounds=1),
    Fault("a statement whose worker dies each time", _statement_that_kills, rounds=1, seconds=300),
    Fault("a worker two hours ahead, for 30 s", _worker_of_another_time, heal=end, hold=30, rounds=1),
    Fault("beat's clock set back by six hours", _beat_of_another_time, heal=_right_time_again, hold=20, rounds=1),
]


def _worker_of_all(house: House) -> None:
    house.kill("worker-all")
    house.lose_a_message()


def _webs_one_by_one(house: House) -> None:
    house.kill("web-1")


def _gentle_ones(house: House) -> "subprocess.Popen[bytes]":
    """What costs no process its life, together: doubled, reordered and unreadable messages, a row that cannot be booked."""
    beat = a_second_beat(house)
    _poisoned_row(house)
    duplicated_and_reordered(house)
    poisoned_messages(house)
    return beat


def _gentle_ones_over(house: House, beat: "subprocess.Popen[bytes]") -> None:
    _poisoned_row_failed(house)
    end(house, beat)


# The bounded part: on the small cluster, where one pool has every queue.
QUICK = [
    Fault(
        "two beats; doubled, reordered, unreadable messages; an unbookable row",
        _gentle_ones,
        heal=_gentle_ones_over,
        hold=5,
        rounds=1,
    ),
    Fault("kill -9 of the worker pool, and a message lost", _worker_of_all, rounds=1),
    Fault("kill -9 of a web", _webs_one_by_one, rounds=1),
    Fault("kill -9 of Redis, its data lost", _redis_loses_everything, rounds=1),
    Fault("kill -9 of PostgreSQL", _kill("postgres"), rounds=1),
]


@contextlib.contextmanager
def small_disk(place: Path, megabytes: int) -> Iterator[Path]:
    """A disk of its own size; skipped where we may not mount."""
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


def disk_full(house: House) -> Path:
    """Fill the disk of PostgreSQL to the last byte."""
    filler = house.home / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * (1 << 20))
    return filler


def disk_freed(_house: House, filler: Path) -> None:
    """Room again."""
    filler.unlink()
