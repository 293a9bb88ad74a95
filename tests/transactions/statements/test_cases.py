"""Bank files built after public bug reports: each is read right, or asked about, never read wrongly."""

import json
from collections import Counter
from datetime import date

import pytest

from tests.transactions.statements.helpers import FILES
from transactions.errors import StatementError
from transactions.statements.reader import parse_statement
from transactions.statements.values import StatementRow

CASES = json.loads((FILES / "cases" / "manifest.json").read_text())
TODAY = date(2026, 11, 27)
# These depend on what earlier files of the customer contained.
NEED_HISTORY = {101, 227}


@pytest.mark.parametrize("case", CASES, ids=[f"{case['id']}: {case['shows']}" for case in CASES])
def test_a_bank_file_is_read_right_or_not_at_all(case):
    if case["id"] in NEED_HISTORY:
        pytest.skip("needs the customer's earlier files")
    stored: Counter[tuple[str, str]] = Counter()
    rejects, refused = 0, False
    for name in case["files"]:
        found: Counter[tuple[str, str]] = Counter()
        with (FILES / "cases" / name).open("rb") as file:
            try:
                for item in parse_statement(file, filename=name, today=TODAY):
                    if isinstance(item, StatementRow):
                        found[f"{item.date:%Y-%m-%d}", str(item.amount)] += 1
                    else:
                        rejects += 1
            except StatementError:
                refused = True
        stored |= found  # overlapping files of one account
    if refused and not stored and case["refuse"] in ("may", "must"):
        return
    assert case["refuse"] != "must"
    assert sorted(stored.elements()) == sorted(tuple(row) for row in case["rows"])
    if case["rejects"] is not None:
        assert rejects == case["rejects"]
