"""How the reason of a proposal is divided for reviewers."""

import pytest

from llm_center.reasons import Reason, split_reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "“STARBUCKS” is at the start; for it: a place follows; against it: the name is very short, and frequent;"
            " for it: its words are rare. Starbucks belongs to Starbucks Corporation (SBUX).",
            Reason(
                "“STARBUCKS” is at the start. Starbucks belongs to Starbucks Corporation (SBUX).",
                ("a place follows", "its words are rare"),
                ("the name is very short, and frequent",),
            ),
        ),
        (
            "“AMAZON.COM” is a known spelling; for it: charged at amazon.com",
            Reason("“AMAZON.COM” is a known spelling", ("charged at amazon.com",)),
        ),
        ("Nearly Starbucks; a fee for it: none.", Reason("Nearly Starbucks; a fee for it: none.")),
        ("", Reason("")),
    ],
)
def test_evidence_for_and_against_is_separated_and_other_text_stays(text: str, reason: Reason) -> None:
    assert split_reason(text) == reason
