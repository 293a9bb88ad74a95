"""Print the table of faults at the end of a run; RECORD=1 also writes it to docs/faults.md."""

import datetime
import os
from typing import Any

import pytest

from tests.cluster import ROOT

_PAGE = ROOT / "docs" / "faults.md"
_BEGIN, _END = "<!-- table -->", "<!-- end of table -->"


def _table(results: list[dict[str, Any]]) -> str:
    lines = [
        "| fault | injected | accepted | lost | doubled | ledger errors | retried requests | failed tasks | recovery |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {row['fault']} | {row['injections']} | {row['accepted']:,} | {len(row['lost'])} | {len(row['doubled'])} "
        f"| {len(row['books'])} | {row['failures']:,} | {row['failed_tasks']} | {row['recovery']:.1f} s |"
        for row in results
    ]
    return "\n".join(lines)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the result of every fault."""
    reports = [*terminalreporter.stats.get("passed", []), *terminalreporter.stats.get("failed", [])]
    results = [
        value
        for report in reports
        if report.when == "call"
        for name, value in report.user_properties
        if name == "chaos"
    ]
    if not results:
        return
    terminalreporter.section("faults")
    terminalreporter.write_line(_table(results))
    if os.environ.get("RECORD"):
        text = _PAGE.read_text()
        head, rest = text.split(_BEGIN)
        tail = rest.split(_END)[1]
        today = datetime.datetime.now(datetime.UTC).date()
        _PAGE.write_text(f"{head}{_BEGIN}\nRecorded {today}.\n\n{_table(results)}\n{_END}{tail}")
