"""PostgreSQL on a disk that is full for a while: what was taken is kept, and work goes on when there is room again."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.chaos.faults import HURRIED, Fault, disk_freed, disk_full, small_disk, strike
from tests.chaos.house import furnished_house


@pytest.mark.chaos
def test_a_disk_that_is_full(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    fault = Fault("a full disk of PostgreSQL for 10 s", disk_full, heal=disk_freed, hold=10, seconds=240)
    with (
        small_disk(tmp_path / "disk", 1200) as disk,
        furnished_house(disk, "--small", "--without=replica", sweep_seconds=2, **HURRIED) as house,
    ):
        verdict = strike(house, fault, rounds=2, at_least=4, calm=3)
    record_property("chaos", asdict(verdict))
    assert verdict.problems == []
