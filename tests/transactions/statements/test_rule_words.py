import csv

import pytest

from llm_center.catalogue import DATA
from transactions.statements import row_classes
from transactions.statements.rule_words import alternatives, needed_words


@pytest.mark.parametrize(
    ("pattern", "needed"),
    [
        (r"\bZELLE\b", [{"ZELLE"}]),
        (r"\b(LOANS?|MTG)\b.*\b(PAY|PMT)\b", [{"PAY", "PMT"}, {"LOAN", "LOANS", "MTG"}]),
        (r"\bBILL ?PAY\b", [{"BILL", "BILLPA"}]),
        (r"\bFINANC\w*", []),  # the pattern ends inside of the word
        (r"\bFINANC\w*\b", [{"FINANC"}]),
        (r"\bFIN\w*\b", []),
        (r"(CRD |CARD )*PAY\b", []),  # anything may precede the first letter
        (r"^(CRD |CARD )*PAY\b", [{"PAY"}]),
        (r"^CHECK ?#?\d+(?! PAID)", [{"CHECK"}]),
        (r"\bA[BC]D\b", []),
    ],
)
def test_words_that_a_pattern_needs(pattern, needed):
    found = needed_words(pattern)
    assert sorted(map(sorted, found)) == sorted(map(sorted, needed))


def test_alternatives_end_at_bars_outside_of_groups():
    assert alternatives(r"\bA(B|C)\b|D[|]|E\|F") == [r"\bA(B|C)\b", "D[|]", r"E\|F"]


def test_a_rule_that_is_not_tried_would_not_match():
    rules, _ = row_classes._text_rules()
    with (DATA / "descriptors_tune.csv").open(encoding="utf-8", newline="") as file:
        texts = [row["descriptor"].upper() for row in csv.DictReader(file)]
    for text in texts:
        cleaned = " ".join(text.replace("_", " ").split())
        assert row_classes._match_text(text) == next(
            (rule for rule, pattern, _ in rules if pattern.search(cleaned)), None
        )
