"""Faults under a running load: nothing is lost, nothing is there twice, every 202 has an outcome, the books are right.

A bounded part runs with every `make test`, on a small cluster; the whole by `make chaos`, which prints a table of it.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict

import pytest

from tests.chaos.faults import FAULTS, HURRIED, QUICK, Fault, strike
from tests.chaos.house import House, furnished_house
from tests.chaos.model import model_server
from tests.docker.servers import program

Record = Callable[[str, object], None]


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
            home,
            sweep_seconds=2 if hurry else None,
            **(HURRIED if hurry else {}),
            LLM_PROVIDER="openai",
            LLM_BASE_URL=model.url,
            LLM_API_KEY="none",
            LLM_MODEL="local",
            LLM_TIMEOUT="5",
            NO_PROXY="127.0.0.1",
        ) as found,
    ):
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
