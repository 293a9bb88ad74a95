"""Bank files built after public bug reports: each is read right, or asked about, never read wrongly."""

import json
from collections import Counter
from datetime import date

import pytest

from tests.transactions.statements.helpers import FILES
from transactions.errors import StatementError
from transactions.statements.reader import parse_statement
from transactions.statements.row_classes import match_rule
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


TEXTS = [
    ("PAYMENT - THANK YOU", "card_payment", "in"),
    ("Payment Thank You-Mobile", "card_payment", "in"),
    ("CHASE CREDIT CRD AUTOPAY PPD", "card_payment", ""),
    ("DISCOVER E-PAYMENT 1234", "card_payment", ""),
    ("CAPITAL ONE MOBILE PYMT", "card_payment", ""),
    ("APPLECARD GSBANK PAYMENT", "card_payment", ""),
    ("ACME INC PAYROLL PPD ID: 1", "deposit", "in"),
    ("DIRECT DEP ACME", "deposit", "in"),
    ("ADP PAYROLL FEES", "", ""),
    ("IRS TREAS 310 TAX REF", "deposit", "in"),
    ("INTEREST PAID", "interest", "in"),
    ("INTEREST CHARGE ON PURCHASES", "fee", "out"),
    ("CASHBACK BONUS", "interest", "in"),
    ("FOREIGN TRANSACTION FEE", "fee", "out"),
    ("ATM WITHDRAWAL 0042 MAIN ST", "cash", "out"),
    ("ONLINE TRANSFER TO SAV ...1234", "transfer", "out"),
    ("ZELLE FROM ANN", "transfer", "in"),
    ("WIRE TRANSFER 12", "transfer", ""),
    ("REFUND NIKE.COM", "refund", "in"),
    ("CHECK # 1017", "purchase", "out"),
    ("CHECK1017", "purchase", "out"),
    ("POS PURCHASE QUILL", "purchase", "out"),
    ("PREVIOUS BALANCE", "balance", ""),
    ("Ending balance as of 10/31/2026", "balance", ""),
    ("Total", "balance", ""),
    # merchants that look like one
    ("NEW BALANCE 0042 BOSTON MA", "", ""),
    ("TOTAL WINE AND MORE", "", ""),
    ("CHARGEPOINT", "", ""),
    ("CASHMERE SHOP", "", ""),
    ("TRANSFERWARE ANTIQUES", "", ""),
    ("CHECKERS DRIVE IN", "", ""),
]


@pytest.mark.parametrize(("text", "row_class", "direction"), TEXTS)
def test_the_words_of_a_row_say_what_it_is(text, row_class, direction):
    rule = match_rule(text)
    assert (rule.row_class, rule.direction) == (row_class, direction) if rule else row_class == ""
