"""Faults under a running load: nothing is lost, nothing is there twice, every 202 has an outcome, the books are right.

A bounded part runs with every `make test`, on a small cluster; the whole by `make chaos`, which prints a table of it.
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.chaos.faults import FAULTS, QUICK, Fault, disk_freed, disk_full, small_disk
from tests.chaos.house import House, Verdict, furnished_house
from tests.chaos.model import model_server
from tests.docker.servers import program

Record = Callable[[str, object], None]
# A sweep every two seconds and short patience with the dead, where a test cannot wait for minutes.
HURRIED = {"TASK_SILENCE_SECONDS": "10", "TASK_UNANSWERED_SECONDS": "4"}


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


# --- The bounded part -------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def small_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Two web processes and one pool, PostgreSQL and Redis."""
    home = tmp_path_factory.mktemp("chaos")
    without = ("--small", "--without=replica", "--without=nginx", "--without=pgbouncer")
    with furnished_house(home, *without, sweep_seconds=2, **HURRIED) as house:
        yield house


@pytest.mark.xdist_group("chaos")
@pytest.mark.parametrize("fault", QUICK, ids=lambda fault: fault.name)
def test_a_small_cluster_gets_over(small_house: House, fault: Fault, record_property: Record) -> None:
    verdict = strike(small_house, fault, rounds=fault.rounds, at_least=1.5, calm=1.0)
    record_property("chaos", asdict(verdict))
    assert verdict.problems == []
    assert verdict.accepted > 0


# --- The whole ---------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The topology of production; with CHAOS_SHIPPED also with the times that are shipped."""
    program("nginx", "nginx-light")
    program("pgbouncer", "pgbouncer")
    hurry = not os.environ.get("CHAOS_SHIPPED")
    home = tmp_path_factory.mktemp("chaos-whole")
    with (
        model_server() as model,
        furnished_house(
            home, sweep_seconds=2 if hurry else None, **(HURRIED if hurry else {}), LLM_PROVIDER="openai", LLM_BASE_URL=model.url,
            LLM_API_KEY="none", LLM_MODEL="local", LLM_TIMEOUT="5", NO_PROXY="127.0.0.1",
        ) as found,
    ):  # fmt: skip
        found.model = model
        yield found


@pytest.mark.chaos
@pytest.mark.xdist_group("chaos-whole")
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_cluster_gets_over(house: House, fault: Fault, record_property: Record) -> None:
    rounds = int(os.environ.get("CHAOS_ROUNDS") or fault.rounds)
    verdict = strike(house, fault, rounds=min(rounds, fault.rounds), at_least=4, calm=3)
    record_property("chaos", asdict(verdict))
    assert verdict.problems == []
    assert verdict.accepted > 0


@pytest.mark.chaos
def test_a_disk_that_is_full(tmp_path: Path, record_property: Record) -> None:
    fault = Fault("a full disk of PostgreSQL for 10 s", disk_full, heal=disk_freed, hold=10, seconds=240)
    with (
        small_disk(tmp_path / "disk", 1200) as disk,
        furnished_house(disk, "--small", "--without=replica", sweep_seconds=2, **HURRIED) as house,
    ):
        verdict = strike(house, fault, rounds=2, at_least=4, calm=3)
    record_property("chaos", asdict(verdict))
    assert verdict.problems == []
