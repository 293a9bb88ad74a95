"""From a bank statement to owned shares, in a real browser.

`KAMIOI_SCREENSHOTS=FOLDER` takes screenshots on the way.
"""

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import check_page, follow, log_in, needs_chromium, open_menu
from tests.factories import make_company, make_staff, make_user
from tests.workers import celery_worker, wait_until
from transactions.models import Holding, LedgerTransfer, Merchant, Notification, Transaction
from transactions.services.ledger_verification import find_ledger_problems

pytestmark = [pytest.mark.django_db(transaction=True, serialized_rollback=True), needs_chromium]


def test_a_statement_becomes_owned_shares_after_a_reviewer_approves_the_merchant(live_server, page, tmp_path):
    staff, customer = make_staff(), make_user("maya@example.com", name="Maya Chen")
    make_company("SBUX", "95.00", name="Starbucks Corporation")
    make_company("AMZN", "231.00", name="Amazon.com, Inc.")
    day = datetime.now(UTC) - timedelta(days=2)
    statement = tmp_path / "october.csv"
    statement.write_text(
        "Posting Date,Description,Debit,Credit\n"
        f"{day:%m/%d/%Y},STARBUCKS GARDEN,4.75,\n"
        f"{day:%m/%d/%Y},STARBUCKS GARDEN,6.10,\n"
        f"{day:%m/%d/%Y},WHOLEFDS MKT 10234 AUSTIN TX,38.20,\n"
        f"{day:%m/%d/%Y},CORNER LAUNDRY,twelve,\n"
    )
    with celery_worker():
        log_in(page, live_server.url, staff.email)

        # Upload, preview, import.
        follow(page, page.get_by_role("link", name="Upload a statement"))
        page.get_by_label("Customer's e-mail").fill("unknown@example.com")
        page.get_by_label("Statement").set_input_files(statement)
        follow(page, page.get_by_role("button", name="Preview"))
        expect(page.get_by_text("No customer has this e-mail.")).to_be_visible()
        page.get_by_label("Customer's e-mail").fill("Maya@Example.com")
        page.get_by_label("Statement").set_input_files(statement)
        follow(page, page.get_by_role("button", name="Preview"))
        expect(page.get_by_text("Preview of october.csv")).to_be_visible()
        expect(page.get_by_role("cell", name="WHOLEFDS MKT 10234 AUSTIN TX")).to_be_visible()
        check_page(page, "statement-preview")
        assert not Transaction.objects.exists()
        follow(page, page.get_by_role("button", name="Import"))
        expect(page.locator("[data-task-status]")).to_have_text("Completed")
        expect(page.locator("[data-task-result=added]")).to_have_text("3")
        expect(page.locator("[data-task-result=rejected]")).to_have_text("1")
        with page.expect_download() as download:
            page.get_by_role("link", name="Download the rejected rows").click()
        assert "twelve" in Path(download.value.path()).read_text()
        # The matcher is asked at once: it decides one merchant and leaves the other to a reviewer.
        wait_until("Whole Foods", lambda: Transaction.objects.filter(ticker="AMZN", status="completed").exists())
        wait_until("the proposal", lambda: Merchant.objects.filter(ticker="SBUX", status="proposed").exists())

        # The review queue shows the effect of a decision first.
        follow(page, page.get_by_role("link", name="Review queue").first)
        row = page.locator("[data-merchant='STARBUCKS GARDEN']")
        expect(row).to_contain_text("SBUX")
        expect(row).to_contain_text(re.compile(r"[4-8]\d%"))
        check_page(page, "review-queue")
        page.keyboard.press("j")
        page.keyboard.press("a")
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text(
            "releases 2 transactions and invests $2.00 of round-ups in SBUX (Starbucks Corporation)"
        )
        check_page(page, "decision")
        assert Transaction.objects.filter(status="needs_review").count() == 2
        follow(page, dialog.get_by_role("button", name="Approve SBUX"))
        expect(page.get_by_text("STARBUCKS GARDEN is SBUX: 2 transactions released.")).to_be_visible()
        expect(page.locator("[data-task-status]").first).to_have_text("Completed")
        expect(page.get_by_text("The queue is empty")).to_be_visible()
        wait_until("completed", lambda: Transaction.objects.filter(ticker="SBUX", status="completed").count() == 2)

        # Undo by keyboard: the purchases are reverted, and the decision is made again.
        page.reload()
        page.keyboard.press("?")
        expect(page.get_by_role("dialog")).to_contain_text("undo your last decision")
        page.keyboard.press("Escape")
        page.keyboard.press("u")
        expect(dialog).to_contain_text("puts 2 transactions back; 2 of them bought shares for $2.00")
        check_page(page, "undo")
        follow(page, dialog.get_by_role("button", name="Undo the decision"))
        expect(page.get_by_text("The decision on STARBUCKS GARDEN was undone.")).to_be_visible()
        wait_until("reverted", lambda: Transaction.objects.filter(status="needs_review").count() == 2)
        assert Holding.objects.get(user=customer, ticker="SBUX").shares == 0
        page.reload()
        page.keyboard.press("j")
        page.keyboard.press("e")
        dialog.get_by_label("Ticker or company").fill("sbux")
        page.keyboard.press("Enter")
        expect(dialog).to_contain_text(
            "releases 2 transactions and invests $2.00 of round-ups in SBUX (Starbucks Corporation)"
        )
        page.keyboard.press("Enter")
        expect(page.get_by_text("STARBUCKS GARDEN is SBUX: 2 transactions released.")).to_be_visible()
        wait_until("completed", lambda: Transaction.objects.filter(ticker="SBUX", status="completed").count() == 2)

        # The transaction, the holding and the notification, where staff see them.
        open_menu(page, "Customers", "Transactions")
        completed = page.get_by_role("row").filter(has_text="STARBUCKS GARDEN").first
        expect(completed).to_contain_text("completed")
        check_page(page, "transactions")
        open_menu(page, "Customers", "Holdings")
        expect(page.get_by_role("row").filter(has_text="SBUX")).to_contain_text("0.02105264")
        open_menu(page, "Customers", "Notifications")
        expect(page.get_by_role("row").filter(has_text="You own more SBUX").first).to_be_visible()
        follow(page, page.get_by_role("link", name="Home").first)
        expect(page.get_by_text("3 (100.0%)")).to_be_visible()
        check_page(page, "home")

    assert Holding.objects.get(user=customer, ticker="SBUX").shares > 0
    titles = Counter(Notification.objects.filter(user=customer).values_list("title", flat=True))
    assert titles == {"You own more AMZN": 1, "You own more SBUX": 2, "Your purchase of SBUX was reversed": 2}
    kinds = Counter(LedgerTransfer.objects.filter(user_id=customer.pk).values_list("kind", flat=True))
    assert (kinds["purchase"], kinds["undo_purchase"], kinds["purchase_2"]) == (3, 2, 2)
    assert list(find_ledger_problems()) == []
