"""Bank statements in a real browser: a preview with questions, and possible duplicates."""

from datetime import UTC, datetime

import pytest
from django.urls import reverse
from playwright.sync_api import expect

from tests.browser.conftest import check_page, follow, log_in, needs_chromium
from tests.factories import make_staff, make_user
from tests.transactions.services.statements import import_statement
from transactions.models import Transaction, User

pytestmark = [pytest.mark.django_db(transaction=True, serialized_rollback=True), needs_chromium]

FILE = "Date,Description,Amount\n10/03/2026,QUILL MARKET,-45.10\n10/09/2026,LANTERN,-9.25\n"
OPEN = "Date,Description,Amount\n03.09.2026,QUILL,45.10\n05.10.2026,LANTERN,-9.25\n"


@pytest.fixture
def customer() -> User:
    """A customer with a purchase that two files have."""
    user = make_user("ann@example.com", name="Ann Quill", created_at=datetime(2020, 1, 1, tzinfo=UTC))
    import_statement(user, FILE, "checking_x1234.csv")
    import_statement(user, FILE.replace("Description", "Payee"), "export.csv")
    return user


def test_a_preview_asks_and_possible_duplicates_are_decided(live_server, page, customer, tmp_path):
    log_in(page, live_server.url, make_staff().email)
    path = tmp_path / "card_x9876.csv"
    for text, name in ((FILE, "statement-preview"), (OPEN, "statement-question")):
        path.write_text(text)
        page.goto(live_server.url + reverse("admin:transactions_statementimport_upload"))
        page.fill("[name=email]", customer.email)
        page.set_input_files("[name=file]", path)
        follow(page, page.get_by_role("button", name="Preview"))
        expect(page.get_by_label("Bank account")).to_contain_text("Checking …1234")
        check_page(page, name)
    page.goto(live_server.url + reverse("admin:transactions_possibleduplicate_changelist"))
    expect(page.get_by_text("2 purchases of 1 customer wait for a decision.")).to_be_visible()
    check_page(page, "possible-duplicates")
    page.locator("input[name=_selected_action]").first.check()
    page.locator("select[name=action]").select_option("same_purchase")
    follow(page, page.get_by_role("button", name="Run"))
    expect(page.get_by_text("1 purchase of 1 customer")).to_be_visible()
    assert Transaction.objects.filter(row_class="duplicate").count() == 1
