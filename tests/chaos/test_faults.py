"""Faults under load: nothing is lost or duplicated, every 202 has an outcome, the books are correct.

`make test` runs a small part on a small cluster; `make chaos` runs all faults and prints a table.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict

import pytest

from tests.chaos.cluster import SystemUnderTest, system_under_test
from tests.chaos.faults import FAULTS, QUICK, SHORT_TIMEOUTS, Fault, inject
from tests.chaos.model import model_server
from tests.docker.servers import program

Record = Callable[[str, object], None]


# --- The part in `make test` ----------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def small_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemUnderTest]:
    """Two web processes and one pool, PostgreSQL and Redis."""
    home = tmp_path_factory.mktemp("chaos")
    without = ("--small", "--without=replica", "--without=nginx", "--without=pgbouncer")
    with system_under_test(home, *without, sweep_seconds=2, **SHORT_TIMEOUTS) as system:
        yield system


@pytest.mark.xdist_group("chaos")
@pytest.mark.parametrize("fault", QUICK, ids=lambda fault: fault.name)
def test_a_small_cluster_recovers_from(small_system: SystemUnderTest, fault: Fault, record_property: Record) -> None:
    verdict = inject(small_system, fault, rounds=fault.rounds, at_least=1.5, calm=1.0)
    record_property("chaos", asdict(verdict))
    assert verdict.problems == []
    assert verdict.accepted > 0


# --- All faults ---------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SystemUnderTest]:
    """Yield the production topology; with CHAOS_SHIPPED also with the production timeouts."""
    program("nginx", "nginx-light")
    program("pgbouncer", "pgbouncer")
    fast = not os.environ.get("CHAOS_SHIPPED")
    home = tmp_path_factory.mktemp("chaos-whole")
    with (
        model_server() as model,
        system_under_test(
            home,
            sweep_seconds=2 if fast else None,
            **(SHORT_TIMEOUTS if fast else {}),
            LLM_PROVIDER="openai",
            LLM_BASE_URL=model.url,
            LLM_API_KEY="none",
            LLM_MODEL="local",
            LLM_TIMEOUT="5",
            NO_PROXY="127.0.0.1",
        ) as cluster,
    ):
        cluster.model = model
        yield cluster


@pytest.mark.chaos
@pytest.mark.xdist_group("chaos-whole")
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_cluster_recovers_from(system: SystemUnderTest, fault: Fault, record_property: Record) -> None:
    rounds = int(os.environ.get("CHAOS_ROUNDS") or fault.rounds)
    verdict = inject(system, fault, rounds=min(rounds, fault.rounds), at_least=4, calm=3)
    record_property("chaos", asdict(verdict))
    assert verdict.problems == []
    assert verdict.accepted > 0
