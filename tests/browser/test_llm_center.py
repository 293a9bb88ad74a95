"""The LLM Center in a real browser: review queue, live totals, mapping files, learning, data assets."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from django.urls import reverse
from playwright.sync_api import Browser, expect

from llm_center.models import AmortizationEntry, LlmDataAsset, MappingImport
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
