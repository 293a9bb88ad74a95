"""Decisions on many merchants at once."""

from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from llm_center.errors import DecisionNotAllowedError
from llm_center.models import MappingDecision
from llm_center.services.review.bulk import bulk_effect, request_bulk_decision, run_bulk_decision
from llm_center.services.review.decisions import Action
from llm_center.services.review.queue import QueueFilter
from llm_center.services.review.undo import undo_effect
from llm_center.tasks import decide_merchants
from transactions.models import BackgroundTask, Merchant, Setting, Transaction
from transactions.services.ledger_verification import find_ledger_problems
from transactions.services.processing import process_pending

pytestmark = pytest.mark.django_db


def test_the_effect_is_shown_and_then_the_merchants_are_decided(reviewer, queue):
    queue_filter = QueueFilter(ticker="sbux", confidence=Decimal("0.75"))
    effect = bulk_effect(queue_filter=queue_filter, action=Action.APPROVE)
    assert (effect.merchants, effect.transactions, effect.amount) == (10, 10, Decimal("10.00"))
    task = request_bulk_decision(queue_filter=queue_filter, action=Action.APPROVE, actor=reviewer, until=timezone.now())
    decide_merchants(str(task.pk))
    task.refresh_from_db()
    assert (task.status, task.result) == ("completed", {"decided": 10, "released": 10, "refused": []})
    process_pending()
    assert Transaction.objects.filter(status="completed", ticker="SBUX").count() == 10
    assert Transaction.objects.filter(status="needs_review").count() == 20
    assert MappingDecision.objects.filter(decided_by=reviewer).count() == 10
    decision = MappingDecision.objects.last()
    assert decision
    assert undo_effect(decision=decision).bought == 1
    assert list(find_ledger_problems()) == []


def test_merchants_that_changed_after_the_preview_are_skipped(reviewer, queue):
    until = timezone.now()
    Merchant.objects.get(merchant_key="SHOP 03").save()
    decided, released, skipped = run_bulk_decision(
        queue_filter=QueueFilter(prefix="shop 0"), action=Action.NOT_LISTED, actor=reviewer, until=until
    )
    assert (decided, released, skipped) == (9, 9, [])
    assert Merchant.objects.get(merchant_key="SHOP 03").status == "proposed"


def test_merchants_that_need_two_reviewers_are_listed(reviewer, queue):
    Setting.objects.filter(key="four_eyes_limit").update(value="0.5")
    decided, _, skipped = run_bulk_decision(
        queue_filter=QueueFilter(prefix="STAR"), action=Action.APPROVE, actor=reviewer, until=timezone.now()
    )
    assert decided == 0
    assert skipped[0] == "STAR 20: a second approval is required"


def test_an_empty_filter_and_other_actions_are_refused(reviewer, queue):
    for queue_filter, action in ((QueueFilter(), Action.APPROVE), (QueueFilter(prefix="S"), Action.REJECT)):
        with pytest.raises(DecisionNotAllowedError):
            bulk_effect(queue_filter=queue_filter, action=action)


def test_the_admin_shows_the_effect_before_a_bulk_decision(reviewer, queue):
    client = Client()
    client.force_login(reviewer)
    page = reverse("admin:llm_center_reviewmerchant_bulk")
    assert b"Preview" in client.get(page).content
    assert b"Select merchants" in client.get(page, {"action": "approve"}).content
    assert b"No merchant in the queue matches" in client.get(page, {"action": "approve", "starts": "ZZZ"}).content
    preview = client.get(page, {"action": "approve", "starts": "star", "confidence": "70"})
    text = " ".join(preview.content.decode().split())
    assert "This approves the proposals of 10 merchants: 10 transactions, $10.00 of round-ups." in text
    assert preview.context_data
    data = {"action": "approve", "starts": "star", "confidence": "70", "until": preview.context_data["until"]}
    assert b"Deciding 10 merchants." in client.post(page, data, follow=True).content
    assert BackgroundTask.objects.get(name="decide_merchants").total == 10
