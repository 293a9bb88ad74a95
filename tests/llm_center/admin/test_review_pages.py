"""The pages of the review queue without JavaScript."""

import json
import re
from decimal import Decimal
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from tests.factories import make_company, make_merchant, make_staff, make_user
from transactions.models import BackgroundTask, Merchant, Setting

pytestmark = pytest.mark.django_db
QUEUE = "admin:llm_center_reviewmerchant_changelist"
DECIDE = "admin:llm_center_reviewmerchant_decide"


@pytest.fixture
def client() -> Client:
    """Log in as an administrator."""
    client = Client()
    client.force_login(make_staff(name="Ruth"))
    return client


@pytest.fixture
def merchant() -> Merchant:
    """Create a merchant with three transactions in the queue and a proposal for SBUX."""
    make_company("SBUX", name="Starbucks")
    return make_merchant(
        "STARBUKS",
        "SBUX",
        "proposed",
        waiting_count=3,
        waiting_amount=Decimal("3.00"),
        confidence=Decimal("0.8"),
        reason="Nearly Starbucks.",
        alternatives=[{"ticker": "DNUT", "company_name": "Krispy Kreme", "brand": "x"}],
    )


def _shown_version(client: Client, merchant: Merchant, action: str, ticker: str = "") -> str:
    """Return the `updated_at` that the form carries."""
    context = client.get(reverse(DECIDE, args=[merchant.pk, action]), {"ticker": ticker}).context_data
    assert context is not None
    return context["expected_updated_at"]


def _decide(client: Client, merchant: Merchant, action: str, version: str | None = None, **data: str) -> str:
    """Post the decision as the form does and return the page that follows."""
    address = reverse(DECIDE, args=[merchant.pk, action])
    if version is None:
        version = _shown_version(client, merchant, action, data.get("ticker", ""))
    return client.post(address, {"expected_updated_at": version, **data}, follow=True).content.decode()


def test_the_queue_shows_the_evidence(client, merchant):
    text = client.get(reverse(QUEUE)).content.decode()
    for shown in ("STARBUKS", "$3.00", "3 transactions", "SBUX", "Starbucks", "80%", "Nearly Starbucks.", "DNUT"):
        assert shown in text


def test_an_empty_queue_shows_a_message(client):
    assert "The queue is empty" in client.get(reverse(QUEUE)).content.decode()


@pytest.mark.parametrize(
    ("action", "ticker", "effect"),
    [
        ("approve", "", "releases 3 transactions and invests $3.00 of round-ups in SBUX (Starbucks)"),
        ("correct", "dnut", "releases 3 transactions and invests $3.00 of round-ups in DNUT"),
        ("not_listed", "", "closes 3 transactions without investing $3.00 of round-ups"),
        ("reject", "", "rejects SBUX permanently; 3 transactions with $3.00 of round-ups keep waiting"),
    ],
)
def test_the_effect_is_shown_first_and_nothing_changes_before_confirmation(client, merchant, action, ticker, effect):
    make_company("DNUT")
    reply = client.get(reverse(DECIDE, args=[merchant.pk, action]), {"ticker": ticker})
    assert effect in reply.content.decode()
    assert Merchant.objects.get().status == "proposed"


def test_approving_queues_the_release_and_reports_the_transactions(client, merchant):
    assert "STARBUKS is SBUX: 3 transactions released." in _decide(client, merchant, "approve")
    task = BackgroundTask.objects.get(name="release_merchants")
    assert (task.arguments["merchant_keys"], task.total, task.status) == (["STARBUKS"], 3, "queued")


def test_the_second_of_two_reviewers_gets_an_error_and_changes_nothing(client, merchant):
    other = Client()
    other.force_login(make_staff(name="Omar"))
    version = _shown_version(client, merchant, "approve")
    _decide(other, merchant, "not_listed")
    text = _decide(client, merchant, "approve", version=version)
    assert "STARBUKS was changed by Omar" in text
    assert Merchant.objects.get().status == "not_listed"


@pytest.mark.parametrize("ticker", ["NOPE", "GONE", ""])
def test_an_invalid_ticker_is_rejected_in_the_preview_and_in_the_decision(client, merchant, ticker):
    make_company("GONE", is_listed=False)
    address = reverse(DECIDE, args=[merchant.pk, "correct"])
    assert b"releases" not in client.get(address, {"ticker": ticker}).content
    client.post(address, {"expected_updated_at": merchant.updated_at.isoformat(), "ticker": ticker})
    assert Merchant.objects.get().status == "proposed"


def test_an_unknown_decision_or_an_invalid_version_is_not_a_server_error(client, merchant):
    assert client.get(f"/admin/llm_center/reviewmerchant/{merchant.pk}/decide/explode/").status_code == 404
    assert client.get(reverse(DECIDE, args=[merchant.pk + 1, "approve"])).status_code == 404
    for version in ("", "yesterday", "2026-13-45"):
        reply = client.post(reverse(DECIDE, args=[merchant.pk, "approve"]), {"expected_updated_at": version})
        assert reply.status_code in {302, 400}
    assert Merchant.objects.get().status == "proposed"


def test_staff_without_permission_see_the_queue_and_cannot_decide(merchant):
    viewer = make_user(is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_reviewmerchant"))
    client = Client()
    client.force_login(viewer)
    assert b"review-buttons" not in client.get(reverse(QUEUE)).content
    assert client.get(reverse(DECIDE, args=[merchant.pk, "approve"])).status_code == 403


def test_suggestions_match_ticker_and_name_of_listed_companies(client):
    make_company("SBUX", name="Starbucks")
    make_company("SBX", name="Gone", is_listed=False)
    make_company("KO", name="Coca-Cola of Sbarro")
    companies = client.get(reverse("admin:llm_center_reviewmerchant_companies"), {"q": "sb"}).json()["companies"]
    assert [company["ticker"] for company in companies] == ["SBUX", "KO"]
    assert client.get(reverse("admin:llm_center_reviewmerchant_companies")).json() == {"companies": []}


def _similar(text: str) -> dict[str, bool]:
    """Return the similar merchants that a form offers, and whether they are checked."""
    boxes = re.findall(r'<input type="checkbox" name="similar" ([^>]*)> ([^<]*)<', text)
    return {name.strip(): "checked" in attributes for attributes, name in boxes}


def test_similar_merchants_are_listed_once_and_decided_together(client, merchant):
    east = make_merchant("STARBUKS EAST", "SBUX", "proposed", waiting_count=1, waiting_amount=Decimal("0.10"))
    make_merchant("STARBUKS WEST", None, "proposed", waiting_count=1, waiting_amount=Decimal("0.10"))
    queue = client.get(reverse(QUEUE)).content.decode()
    assert "2 similar merchants wait: STARBUKS EAST, STARBUKS WEST" in queue
    assert re.findall('data-merchant="([^"]*)"', queue) == ["STARBUKS", "STARBUKS WEST"]
    form = client.get(reverse(DECIDE, args=[merchant.pk, "approve"])).content.decode()
    assert _similar(form) == {"STARBUKS EAST": True, "STARBUKS WEST": False}
    assert _similar(client.get(reverse(DECIDE, args=[merchant.pk, "reject"])).content.decode()) == {}
    chosen = f"{east.pk}@{east.updated_at.isoformat()}"
    text = _decide(client, merchant, "approve", ticker="SBUX", similar=chosen)
    assert "STARBUKS and 1 similar merchant are SBUX: 4 transactions released." in text
    assert "2 more to undo" not in text
    assert text.count(">Undo</a>") == 2
    approved = Merchant.objects.filter(status="approved").values_list("merchant_key", flat=True)
    assert set(approved) == {"STARBUKS", "STARBUKS EAST"}


def test_the_result_names_similar_merchants_that_were_not_decided(client, merchant):
    east = make_merchant("STARBUKS EAST", "SBUX", "proposed")
    chosen = f"{east.pk}@{east.updated_at.isoformat()}"
    east.save()
    text = _decide(client, merchant, "not_listed", similar=chosen)
    assert "STARBUKS is not listed: 3 transactions closed." in text
    assert "STARBUKS EAST was changed by" in text
    assert "decided this merchant in the meantime" in _decide(client, merchant, "not_listed", similar="1@x")


def test_many_refusals_and_second_approvals_are_summed_up(client, merchant):
    Setting.objects.filter(key="four_eyes_limit").update(value="3")
    others = [make_merchant(f"STARBUKS {n}", "SBUX", "proposed") for n in range(8)]
    chosen = [f"{other.pk}@{other.updated_at.isoformat()}" for other in others]
    for other in others[:7]:
        other.save()
    Merchant.objects.filter(pk=others[7].pk).update(waiting_amount=Decimal(3))
    data = {"expected_updated_at": merchant.updated_at.isoformat(), "ticker": "SBUX", "similar": chosen}
    text = client.post(reverse(DECIDE, args=[merchant.pk, "approve"]), data, follow=True).content.decode()
    assert "STARBUKS and 1 similar merchant: amounts this large need" in text
    assert text.count("was changed by") == 5
    assert "2 more merchants could not be decided." in text
    assert not Merchant.objects.filter(status="approved").exists()


def test_a_decision_leads_back_to_the_search_and_page_it_was_made_on(client, merchant):
    make_merchant("STARBOARD", None, "proposed")
    query = urlencode({"q": "STAR"})
    link = f"{reverse(DECIDE, args=[merchant.pk, 'approve'])}?{urlencode({'back': query})}"
    assert link in client.get(f"{reverse(QUEUE)}?{query}").content.decode()
    assert '<input type="hidden" name="back" value="q=STAR">' in client.get(link).content.decode()
    data = {"expected_updated_at": merchant.updated_at.isoformat(), "back": query}
    assert client.post(link, data).headers["Location"] == f"{reverse(QUEUE)}?q=STAR"
    [undo] = re.findall(r'data-undo [^>]*href="([^"]*)"', client.get(f"{reverse(QUEUE)}?{query}").content.decode())
    assert client.post(undo, {"back": "//example.com\r\n"}).headers["Location"].startswith(f"{reverse(QUEUE)}?%2F%2F")


def test_behind_the_last_merchant_of_the_queue_is_its_first_page(client, merchant):
    cursor = urlencode({"q": "STAR", "after": json.dumps(["0.000000", merchant.pk + 1])})
    assert client.get(f"{reverse(QUEUE)}?{cursor}").headers["Location"] == f"{reverse(QUEUE)}?q=STAR"


def test_what_speaks_for_and_against_a_proposal_is_listed(client, merchant):
    merchant.reason = "“STARBUKS” is misspelled; for it: a place follows; against it: the name is short. It is a guess."
    merchant.save()
    text = client.get(reverse(QUEUE)).content.decode()
    assert "<p>“STARBUKS” is misspelled. It is a guess.</p>" in text
    assert "<dt>For</dt><dd>A place follows</dd>" in text
    assert "<dt>Against</dt><dd>The name is short</dd>" in text
