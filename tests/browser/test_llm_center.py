"""The LLM Center in a real browser: review queue, live totals, mapping files, learning, data assets."""

import time
from collections import Counter
from datetime import date, timedelta
from decimal import Decimal
from urllib.parse import urlsplit

import pytest
from django.urls import reverse
from playwright.sync_api import Browser, Page, Request, expect

from llm_center.models import AmortizationEntry, LlmDataAsset, MappingDecision, MappingImport
from llm_center.services.mapping_imports import run_mapping_import
from llm_center.services.review.decisions import Action, decide_merchant
from llm_center.tasks import correct_purchases
from tests.browser.conftest import check_page, follow, log_in, needs_chromium, open_menu
from tests.factories import make_company, make_merchant, make_price, make_staff, make_transaction, make_user
from transactions.models import BackgroundTask, Merchant
from transactions.services.processing import process_pending

pytestmark = [pytest.mark.django_db(transaction=True, serialized_rollback=True), needs_chromium]


@pytest.fixture
def queue() -> list[Merchant]:
    """Three merchants in the queue, with a purchase each."""
    make_company("SBUX", "95.00", name="Starbucks Corporation")
    make_company("TGT", "120.00", name="Target Corporation")
    user, merchants = make_user(), []
    for n, (key, ticker) in enumerate([("STARBUKS COFFEE", "SBUX"), ("TARGET RANGE", "TGT"), ("CORNER LAUNDRY", None)]):
        merchants.append(
            make_merchant(
                key,
                ticker,
                "proposed",
                confidence=Decimal("0.60"),
                stated_confidence=Decimal("0.60"),
                source="matcher",
                waiting_count=1,
                waiting_amount=Decimal(10 - n),
                reason="It looks like it.",
            )
        )
        make_transaction(user, key, status="needs_review", round_up=Decimal(1), total_debit=Decimal("5.50"))
    return merchants


def test_the_queue_by_mouse_with_live_totals(live_server, page, queue):
    staff = make_staff()
    log_in(page, live_server.url, staff.email)
    follow(page, page.get_by_role("link", name="Review queue").first)
    expect(page.locator("[data-live=merchants]")).to_have_text("3")

    # Not listed, by mouse: the dialog shows the effect first.
    row = page.locator("[data-merchant='CORNER LAUNDRY']")
    row.get_by_role("link", name="Not listed").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("closes 1 transaction")
    follow(page, dialog.get_by_role("button").first)
    expect(page.locator("[data-live=merchants]")).to_have_text("2")
    assert Merchant.objects.get(merchant_key="CORNER LAUNDRY").status == "not_listed"

    # A rejected ticker is never proposed again.
    page.locator("[data-merchant='TARGET RANGE']").get_by_role("link", name="Reject").click()
    dialog.get_by_label("Reason").fill("a shooting range")
    follow(page, dialog.get_by_role("button", name="Reject"))
    expect(page.get_by_text("TARGET RANGE").first).to_be_visible()
    assert Merchant.objects.get(merchant_key="TARGET RANGE").rejected_tickers == ["TGT"]

    # Decisions of other reviewers appear without a reload.
    other = make_staff()
    decide_merchant(merchant_id=queue[0].pk, action=Action.APPROVE, actor=other, expected_updated_at=None)
    expect(page.locator("[data-live=merchants]")).to_have_text("1", timeout=20_000)
    # A decision on the same merchant shows who decided it before.
    page.locator("[data-merchant='STARBUKS COFFEE']").get_by_role("link", name="Approve").click()
    expect(dialog).to_contain_text(f"{other.email} decided this on")
    dialog.get_by_role("link", name="Cancel").click()
    expect(dialog).to_be_hidden()


class Reviewer:
    """A person at the keyboard of the review queue; counts the keys, and the requests to the queue's pages."""

    def __init__(self, page: Page) -> None:
        self.page, self.keys, self.requests = page, 0, list[str]()
        page.on("request", self._count)

    def _count(self, request: Request) -> None:
        address = urlsplit(request.url)
        if "/reviewmerchant/" in address.path and not address.path.endswith("/live/"):
            self.requests.append(f"{request.method} {address.path.rstrip('/').split('/')[-1]}")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
            self.keys += 1

    def decide(self, key: str, action: str, *more: str) -> tuple[int, Counter[str]]:
        """Open the dialog, press the other keys, confirm; return how many keys and which requests it took."""
        keys, first = self.keys, len(self.requests)
        self.press(key)
        expect(self.page.locator("#decide-dialog form").last).to_be_visible()
        self.press(*more)
        expect(self.page.get_by_role("button", name=action)).to_be_visible()
        with self.page.expect_navigation():
            self.press("Enter")
        return self.keys - keys, Counter(self.requests[first:])

    def current(self) -> str:
        """Return the merchant that has the focus."""
        focus = self.page.locator(".review-row:focus")
        expect(focus).to_have_count(1)
        return str(focus.get_attribute("data-merchant"))


# How each merchant is decided; those of a family that are settled with the first one are not in the list.
BY_KEY = {
    "a": [
        "STARBUKS",
        *(f"{name} SUPERSTORE" for name in "ALFA BRAVO CHARLY DELTO ECCO FOX GOLFO HOTELO INDI JUL".split()),
    ],
    "n": ["CORNER LAUNDRY", *(f"{name} BARBERS" for name in "ADAM BRIAN CARL DAVID ERIC FRANK GREG HUGO".split())],
    "e": [f"{name} COFFE" for name in "NORTH SOUTH EASTERN WESTERN".split()],
}
WITH_THEM = {
    "STARBUKS": [f"STARBUKS {word}" for word in "AIRPORT EXPRESS KIOSK RESERVE".split()],
    "CORNER LAUNDRY": ["CORNER LAUNDRY EAST", "CORNER LAUNDRY WEST"],
}


def _thirty_merchants() -> list[str]:
    """Create the merchants; return those to decide in the order of the queue, by every key in turn."""
    make_company("SBUX", "95.00", name="Starbucks Corporation")
    make_company("TGT", "120.00", name="Target Corporation")
    make_company("SBH", "11.00", name="Sally Beauty Holdings, Inc.")
    user, order = (
        make_user(),
        sorted((n / len(keys), key, name) for key, keys in BY_KEY.items() for n, name in enumerate(keys)),
    )
    names = [name for _, _, name in order]
    for number, name in enumerate(names):
        proposed = name not in BY_KEY["n"]
        for key in (name, *WITH_THEM.get(name, [])):
            make_merchant(
                key,
                ("SBUX" if name == "STARBUKS" else "TGT") if proposed else None,
                "proposed",
                confidence=Decimal("0.60"),
                source="matcher",
                waiting_count=1,
                waiting_amount=Decimal(100 - 2 * number) - (key != name),
                reason="“STORE” is at the start; for it: a place follows; against it: the name is short."
                if proposed
                else "No brand in the catalogue matches.",
            )
            make_transaction(user, key, status="needs_review", round_up=Decimal(1), total_debit=Decimal("5.50"))
    return names


def test_thirty_merchants_are_settled_by_keyboard_alone(live_server, page, capsys):
    names = _thirty_merchants()
    assert Merchant.objects.filter(status="proposed").count() == 30
    page.set_viewport_size({"width": 1440, "height": 900})
    log_in(page, live_server.url, make_staff().email)
    page.goto(live_server.url + reverse("admin:llm_center_reviewmerchant_changelist"))
    reviewer = Reviewer(page)
    check_page(page, "review-queue-thirty")
    started = time.monotonic()
    while names:
        # Without `j`: the first merchant has the focus when the page opens, and the next one after a decision.
        name = reviewer.current()
        assert name == names.pop(0)
        if len(names) == 12:
            check_page(page, "review-queue-half")
        if name in BY_KEY["e"]:
            keys, requests = reviewer.decide("e", "Set SBUX", *"star", "ArrowDown", "Enter")
            assert keys == 8  # e, four letters, arrow, Enter for the company and Enter for its effect
            assert requests.pop("GET companies") <= 3
            decision_requests = Counter({"GET correct": 2, "POST correct": 1, "GET reviewmerchant": 1})
        elif name == "CORNER LAUNDRY":
            # Nothing was proposed, so similar merchants are included only on request: all by one key.
            keys, requests = reviewer.decide("n", "Not listed", "Shift+Tab", "Space")
            assert keys == 4
            decision_requests = Counter({"GET not_listed": 1, "POST not_listed": 1, "GET reviewmerchant": 1})
        else:
            action = "approve" if name in BY_KEY["a"] else "not_listed"
            keys, requests = reviewer.decide(action[0], "Approve" if action == "approve" else "Not listed")
            assert keys == 2
            decision_requests = Counter({f"GET {action}": 1, f"POST {action}": 1, "GET reviewmerchant": 1})
        assert requests == decision_requests
    seconds = time.monotonic() - started
    expect(page.get_by_text("The queue is empty")).to_be_visible()
    states = Counter(Merchant.objects.values_list("status", "ticker"))
    assert states == {("approved", "TGT"): 10, ("approved", "SBUX"): 9, ("not_listed", None): 11}
    assert MappingDecision.objects.count() == 30
    assert reviewer.keys == 2 * 19 + 4 + 8 * 4
    with capsys.disabled():
        print(f"\n30 merchants: {reviewer.keys} keys, {len(reviewer.requests)} requests, {seconds:.1f} s")


def test_the_next_merchant_has_the_focus_wherever_the_decision_was_made(live_server, page, queue):
    log_in(page, live_server.url, make_staff().email)
    page.goto(live_server.url + reverse("admin:llm_center_reviewmerchant_changelist"))
    reviewer = Reviewer(page)
    assert reviewer.current() == "STARBUKS COFFEE"
    reviewer.press("j")
    assert reviewer.current() == "TARGET RANGE"
    reviewer.press("k", "j")
    reviewer.decide("n", "Not listed")
    assert reviewer.current() == "CORNER LAUNDRY"
    reviewer.decide("n", "Not listed")
    assert reviewer.current() == "STARBUKS COFFEE"
    # Undo leads to the merchant that is back.
    reviewer.decide("u", "Undo the decision")
    assert reviewer.current() == "CORNER LAUNDRY"
    reviewer.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("not listed: no company to invest in")
    reviewer.press("Escape", "n")
    expect(page.locator("#decide-dialog")).to_contain_text("closes 1 transaction")
    reviewer.press("Escape")
    assert reviewer.current() == "CORNER LAUNDRY"


def test_companies_are_suggested_while_typing(live_server, page, queue):
    make_company("SBH", "11.00", name="Sally Beauty Holdings, Inc.")
    log_in(page, live_server.url, make_staff().email)
    page.goto(live_server.url + reverse("admin:llm_center_reviewmerchant_changelist"))
    reviewer = Reviewer(page)
    reviewer.current()
    reviewer.press("e")
    field, dialog = page.get_by_role("combobox", name="Ticker or company"), page.locator("#decide-dialog")
    expect(field).to_be_focused()
    reviewer.press("s")
    expect(field).to_have_attribute("aria-expanded", "false")
    reviewer.press("b")
    options = dialog.get_by_role("option")
    expect(options).to_have_count(2)
    expect(field).to_have_attribute("aria-expanded", "true")
    check_page(page, "suggestions")
    reviewer.press("ArrowDown", "ArrowDown")
    expect(options.nth(1)).to_have_attribute("aria-selected", "true")
    expect(field).to_have_attribute("aria-activedescendant", str(options.nth(1).get_attribute("id")))
    reviewer.press("ArrowDown")
    expect(options.first).to_have_attribute("aria-selected", "true")
    # Escape closes the list first, then the dialog.
    reviewer.press("Escape")
    expect(options).to_have_count(0)
    expect(dialog).to_be_visible()
    field.fill("no such company")
    expect(dialog).to_contain_text("No listed company matches.")
    field.fill("sally")
    dialog.get_by_role("option", name="Sally Beauty").click()
    expect(dialog).to_contain_text("in SBH (Sally Beauty Holdings, Inc.)")
    reviewer.press("Escape")
    expect(dialog).to_be_hidden()


def test_the_evidence_stays_in_sight_above_the_dialog(live_server, page):
    _thirty_merchants()
    page.set_viewport_size({"width": 1440, "height": 900})
    log_in(page, live_server.url, make_staff().email)
    page.goto(live_server.url + reverse("admin:llm_center_reviewmerchant_changelist"))
    reviewer = Reviewer(page)
    reviewer.current()
    for _ in range(3):
        reviewer.press("n")
        dialog = page.locator("#decide-dialog")
        expect(dialog.get_by_role("button", name="Not listed")).to_be_visible()
        row, box = page.locator(".review-row.is-current").bounding_box(), dialog.bounding_box()
        assert row["y"] >= 60
        assert row["y"] + row["height"] <= box["y"]
        check_page(page, "decision-of-a-row")
        reviewer.press("Escape", *"jjjjj")


def test_the_effect_counts_the_similar_merchants_that_are_checked(live_server, page, queue):
    for word, ticker in (("KIOSK", "SBUX"), ("PLUMBING", None)):
        make_merchant(f"STARBUKS {word}", ticker, "proposed", waiting_count=2, waiting_amount=Decimal("1.25"))
    make_merchant("STARBUKS", "SBUX", "proposed", waiting_count=3, waiting_amount=Decimal(99))
    page.set_viewport_size({"width": 1440, "height": 900})
    log_in(page, live_server.url, make_staff().email)
    page.goto(live_server.url + reverse("admin:llm_center_reviewmerchant_changelist"))
    assert Reviewer(page).current() == "STARBUKS"
    page.keyboard.press("a")
    dialog = page.locator("#decide-dialog")
    expect(dialog).to_contain_text("3 merchants in total: 6 transactions, $110.25 of round-ups.")
    check_page(page, "decision-family")
    dialog.get_by_label("Select all").check()
    expect(dialog).to_contain_text("4 merchants in total: 8 transactions, $111.50 of round-ups.")
    dialog.get_by_label("Select all").uncheck()
    expect(dialog).to_contain_text("Only this merchant is decided.")
    dialog.get_by_label("STARBUKS KIOSK").check()
    follow(page, dialog.get_by_role("button", name="Approve SBUX"))
    expect(page.get_by_text("STARBUKS and 1 similar merchant are SBUX: 5 transactions released.")).to_be_visible()


def test_a_merchant_is_corrected_with_what_was_booked(live_server, page):
    make_company("SBUX", "95.00", name="Starbucks Corporation")
    make_company("DNUT", "7.00", name="Krispy Kreme, Inc.")
    merchant = make_merchant("STARBUKS COFFEE", "DNUT")
    for customer in (make_user(), make_user(round_up_amount=3), make_user(round_up_rule="next_dollar")):
        for amount in ("4.50", "11.25", "5.80"):
            make_transaction(customer, "STARBUKS COFFEE", amount)
    process_pending()
    make_price("DNUT", "9.37", age=timedelta(0))
    log_in(page, live_server.url, make_staff().email)

    page.goto(live_server.url + reverse("admin:transactions_merchant_change", args=[merchant.pk]))
    follow(page, page.get_by_role("link", name="Correct …"))
    page.get_by_label("Ticker or company").fill("SBUX")
    follow(page, page.get_by_role("button", name="Preview"))
    expect(page.get_by_label("From now on")).to_be_checked()
    page.get_by_label("Also what was booked").check()
    expect(page.get_by_text("9 purchases of 3 customers")).to_be_visible()
    check_page(page, "correction")
    follow(page, page.get_by_role("button", name="Set SBUX"))
    expect(page.get_by_text("Correcting 9 booked purchases")).to_be_visible()

    task = BackgroundTask.objects.get(name="correct_purchases")
    correct_purchases(str(task.pk))
    page.goto(live_server.url + reverse("admin:transactions_backgroundtask_change", args=[task.pk]))
    expect(page.get_by_text("were corrected to SBUX: 9 completed").first).to_be_visible()
    check_page(page, "correction-report")


def test_the_queue_on_a_phone(live_server, browser: Browser, queue):
    staff = make_staff()
    context = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    page = context.new_page()
    page.set_default_timeout(30_000)
    log_in(page, live_server.url, staff.email)
    page.goto(live_server.url + reverse("admin:llm_center_reviewmerchant_changelist"))
    expect(page.locator("[data-merchant='STARBUKS COFFEE']")).to_be_visible()
    check_page(page, "review-queue-phone")
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0  # no horizontal scrolling
    page.locator("[data-merchant='STARBUKS COFFEE']").get_by_role("link", name="Approve").tap()
    expect(page.get_by_role("dialog")).to_contain_text("releases 1 transaction")
    page.get_by_role("dialog").get_by_role("button", name="Approve SBUX").tap()
    expect(page.get_by_text("STARBUKS COFFEE is SBUX").first).to_be_visible()
    context.close()


def test_a_mapping_file_from_preview_to_the_directory(live_server, page, tmp_path):
    staff = make_staff()
    make_company("SBUX", "95.00", name="Starbucks Corporation")
    file = tmp_path / "mine.csv"
    file.write_text(
        "Merchant Name,Category,Ticker,Company Name,Confidence\nCORNER CAFE,Food,SBUX,,95\nX,,NOT A TICKER,,\n"
    )
    log_in(page, live_server.url, staff.email)
    open_menu(page, "LLM Center", "Mapping files")
    follow(page, page.get_by_role("link", name="Upload mappings"))
    page.get_by_label("Mappings").set_input_files(file)
    follow(page, page.get_by_role("button", name="Preview"))
    expect(page.get_by_text("Preview of mine.csv")).to_be_visible()
    expect(page.get_by_text("is not a valid ticker")).to_be_visible()
    check_page(page, "mapping-preview")
    follow(page, page.get_by_role("button", name="Import"))
    expect(page.get_by_text("Importing mine.csv.")).to_be_visible()
    run_mapping_import(task_id=MappingImport.objects.get().task_id)
    expect(page.locator("[data-task-result=approved]")).to_have_text("1", timeout=20_000)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the rejected rows").click()
    assert "NOT A TICKER" in download.value.path().read_text()


def test_learning_simulates_another_threshold(live_server, page, queue):
    staff, reviewer = make_staff(), make_staff()
    decide_merchant(merchant_id=queue[0].pk, action=Action.APPROVE, actor=reviewer, expected_updated_at=None)
    decide_merchant(merchant_id=queue[1].pk, action=Action.NOT_LISTED, actor=reviewer, expected_updated_at=None)
    log_in(page, live_server.url, staff.email)
    open_menu(page, "LLM Center", "Learning")
    expect(page.locator("[data-what-if=automatic]")).to_have_text("0")
    page.locator("#what-if-slider").fill("0.55")
    expect(page.locator("[data-what-if=automatic]")).to_have_text("2")
    expect(page.locator("[data-what-if=wrong]")).to_have_text("1")
    expect(page.get_by_role("cell", name="none")).to_be_visible()
    check_page(page, "learning")


def test_amortization_from_the_preview_to_a_reversal(live_server, page):
    staff = make_staff()
    asset = LlmDataAsset.objects.create(
        asset_name="Merchant model",
        asset_type="model",
        status="production",
        cost_basis=Decimal(2400),
        useful_life_months=24,
        in_service_on=date(2026, 1, 1),
    )
    log_in(page, live_server.url, staff.email)
    open_menu(page, "Books", "Data assets")
    follow(page, page.get_by_role("link", name="Run amortization"))
    expect(page.get_by_role("cell", name="Merchant model").first).to_be_visible()
    assert not AmortizationEntry.objects.exists()
    follow(page, page.get_by_role("button", name="Post"))
    expect(page.get_by_text("posted.")).to_be_visible()
    posted = AmortizationEntry.objects.count()
    assert posted >= 1
    page.goto(live_server.url + reverse("admin:llm_center_llmdataasset_change", args=[asset.pk]))
    expect(page.locator("canvas.chart")).to_be_visible()
    check_page(page, "data-asset")
    newest = AmortizationEntry.objects.latest("period")
    page.goto(live_server.url + reverse("admin:llm_center_amortizationentry_change", args=[newest.pk]))
    follow(page, page.get_by_role("link", name="Reverse this charge"))
    page.get_by_label("Reason").fill("a test")
    follow(page, page.get_by_role("button", name="Reverse the charge"))
    expect(page.get_by_text("charge reversed")).to_be_visible()
    assert newest.is_reversed
