"""PostgreSQL on a full disk: accepted work is kept and continues when there is space again."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.chaos.cluster import system_under_test
from tests.chaos.faults import SHORT_TIMEOUTS, Fault, disk_freed, disk_full, inject, small_disk


@pytest.mark.chaos
def test_a_full_disk_loses_no_accepted_work(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    fault = Fault("a full disk of PostgreSQL for 10 s", disk_full, heal=disk_freed, hold=10, seconds=240)
    with (
        small_disk(tmp_path / "disk", 1200) as disk,
        system_under_test(disk, "--small", "--without=replica", sweep_seconds=2, **SHORT_TIMEOUTS) as system,
    ):
        verdict = inject(system, fault, rounds=2, at_least=4, calm=3)
    record_property("chaos", asdict(verdict))
    assert verdict.problems == []
