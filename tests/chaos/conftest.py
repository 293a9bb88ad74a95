"""The table of faults, at the end of a run; with RECORD=1 also in docs/faults.md."""

import datetime
import os
from typing import Any

import pytest

from tests.cluster import ROOT

_PAGE = ROOT / "docs" / "faults.md"
_BEGIN, _END = "<!-- table -->", "<!-- end of table -->"


def _table(found: list[dict[str, Any]]) -> str:
    lines = [
        "| fault | struck | accepted | lost | doubled | books wrong | requests tried again | failed tasks | recovery |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {row['fault']} | {row['struck']} | {row['accepted']:,} | {len(row['lost'])} | {len(row['doubled'])} "
        f"| {len(row['books'])} | {row['failures']:,} | {row['failed_tasks']} | {row['recovery']:.1f} s |"
        for row in found
    ]
    return "\n".join(lines)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what every strike came to."""
    reports = [*terminalreporter.stats.get("passed", []), *terminalreporter.stats.get("failed", [])]
    found = [
        value
        for report in reports
        if report.when == "call"
        for name, value in report.user_properties
        if name == "chaos"
    ]
    if not found:
        return
    terminalreporter.section("faults")
    terminalreporter.write_line(_table(found))
    if os.environ.get("RECORD"):
        text = _PAGE.read_text()
        head, rest = text.split(_BEGIN)
        tail = rest.split(_END)[1]
        today = datetime.datetime.now(datetime.UTC).date()
        _PAGE.write_text(f"{head}{_BEGIN}\nRecorded {today}.\n\n{_table(found)}\n{_END}{tail}")
