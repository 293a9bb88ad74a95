"""Invalid and malformed replies."""

from decimal import Decimal
from typing import Any

import pytest

from llm_center.models import LlmCall
from tests.factories import make_company
from tests.llm_center.providers.model_server import ModelServer, Reply, completion, entry, propose, reply_to_all

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "broken",
    [
        {"confidence": 7},
        {"confidence": 1.0001},
        {"confidence": -0.1},
        {"confidence": "0.9"},
        {"confidence": None},
        {"confidence": True},
        {"owner": "maybe"},
        {"owner": ["listed"]},
        {"owner": "listed", "ticker": None},
        {"owner": "listed", "ticker": "  "},
        {"owner": "listed", "ticker": 5},
        {"owner": "not_listed", "ticker": "SBUX"},
        {"owner": "unknown", "ticker": "SBUX"},
    ],
)
def test_an_invalid_entry_is_dropped_and_the_matcher_answers(server: ModelServer, broken: dict[str, Any]) -> None:
    make_company("SBUX")
    server.script = [completion([entry(1, "SBUX") | broken, entry(2)])]
    result = propose(server, "STARBUCKS", "ZZYZX QWERT")
    first, second = result.answers
    assert (first.proposal.method, first.proposal.ticker) == ("exact", "SBUX")
    assert first.fallback
    assert second.proposal.method == "llm"
    assert (result.usage.invalid, result.usage.answered, result.usage.calls) == (1, 1, 1)


def test_missing_entries_are_answered_by_the_matcher(server: ModelServer) -> None:
    server.script = [completion([entry(2)])]
    result = propose(server, "STARBUCKS", "ZZYZX QWERT")
    assert [proposal.method for proposal in result.proposals] == ["exact", "llm"]
    assert result.answers[0].fallback
    assert (result.usage.missing, result.usage.answered) == (1, 1)


def test_entries_that_were_not_requested_are_ignored(server: ModelServer) -> None:
    server.script = [
        lambda merchants: completion(
            [*(entry(merchant["id"]) for merchant in merchants), entry(101), entry(0), {"id": "1"}, "text", entry(7)]
        )
    ]
    result = propose(server, *(f"ZZYZX {chr(65 + n // 26)}{chr(65 + n % 26)}X" for n in range(100)), batch_size=100)
    assert len(result.answers) == 100
    usage = result.usage
    assert (usage.answered, usage.extra, usage.duplicated, usage.missing) == (100, 4, 1, 0)


def test_contradicting_entries_are_both_dropped(server: ModelServer) -> None:
    make_company("GME")
    server.script = [completion([entry(1, "GME"), entry(1)])]
    result = propose(server, "ZZYZX QWERT")
    assert result.proposals[0].ticker is None
    assert (result.usage.duplicated, result.usage.invalid, result.usage.answered) == (1, 1, 0)


@pytest.mark.parametrize(
    "reply",
    [
        completion('{"merchants": [{"id": 1, "owner": "lis'),
        completion([entry(1)], choices=[]),
        completion("[1]"),
        completion('{"merchants": {}}'),
        completion('{"merchants": [{"id": 1, "owner": "not_listed", "ticker": null, "confidence": NaN}]}'),
        completion("[" * 100_000),
        Reply(body="<html>it works</html>"),
        Reply(body="null"),
        Reply(body="{" + " " * (3 * 1024 * 1024)),
        completion([entry(1)], choices=[{"finish_reason": "length", "message": {"content": '{"merchants": []}'}}]),
        completion([entry(1)], choices=[{"message": {"content": None, "refusal": "no"}}]),
    ],
    ids=[
        "truncated",
        "no choices",
        "a list",
        "no list",
        "NaN",
        "deep",
        "html",
        "null",
        "endless",
        "token limit",
        "refusal",
    ],
)
def test_a_malformed_reply_leaves_the_matcher_s_proposal(server: ModelServer, reply: Reply) -> None:
    server.script = [reply]
    result = propose(server, "STARBUCKS")
    assert result.proposals[0].method == "exact"
    assert result.answers[0].fallback.startswith("malformed answer")
    assert len(server.requests) == 1
    assert LlmCall.objects.get().error.startswith("malformed answer")


def test_a_truncated_reply_is_requested_again_in_halves(server: ModelServer) -> None:
    server.script = [completion('{"merchants": [{"id": 1,'), reply_to_all()]
    result = propose(server, "ZZYZX AAX", "ZZYZX BBX", "ZZYZX CCX")
    assert [len(server.merchants(number)) for number in range(3)] == [3, 1, 2]
    assert all(answer.proposal.method == "llm" and not answer.fallback for answer in result.answers)
    assert result.usage.cost == Decimal("0.000810")  # malformed replies cost as well
    assert result.usage.errors == ("malformed answer: not JSON",)


def test_malformed_replies_are_split_only_twice(server: ModelServer) -> None:
    server.script = [completion("what?")]
    propose(server, *(f"ZZYZX {letter}{letter}X" for letter in "ABCDEFGHIJ"), breaker_failures=100)
    assert len(server.requests) == 7
