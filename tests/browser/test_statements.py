"""Undoing an import in a real browser."""

import pytest
from django.core.files.base import ContentFile
from django.urls import reverse
from playwright.sync_api import Page, expect

from tests.browser.conftest import check_page, follow, log_in, needs_chromium
from tests.factories import make_company, make_merchant, make_staff, make_user
from transactions.models import StatementImport
from transactions.services.ingest import run_statement_import, upload_statement
from transactions.services.processing import process_pending
from transactions.services.statement_undo import run_statement_undo

pytestmark = [pytest.mark.django_db(transaction=True, serialized_rollback=True), needs_chromium]
TEXT = b"Date,Description,Amount\n03/04/2026,STARBUCKS #1,-4.50\n05/06/2026,UNKNOWN SHOP LLC,-5.50\n05/07/2026,X,many\n"


def test_an_import_is_undone_after_a_confirmation(live_server, page: Page) -> None:
    make_company("SBUX", "95.00")
    make_merchant("STARBUCKS", "SBUX")
    user = make_user("kim@example.com")
    statement = upload_statement(
        user=user, filename="bank.csv", content=ContentFile(TEXT), requested_by=user, send=False
    )
    run_statement_import(task_id=statement.task_id)
    process_pending()
    log_in(page, live_server.url, make_staff("olga@kamioi.test").email)
    address = live_server.url + reverse("admin:transactions_statementimport_change", args=[statement.pk])

    page.goto(address)
    check_page(page, "import")
    follow(page, page.get_by_role("link", name="Import again …"))
    expect(page.get_by_role("button", name="Undo and import again")).to_be_visible()
    check_page(page, "import-again")
    page.goto(address)
    follow(page, page.get_by_role("link", name="Undo the import …"))
    expect(page.get_by_text("Transactions reversed")).to_be_visible()
    check_page(page, "undo-confirmation")
    follow(page, page.get_by_role("button", name="Undo the import"))
    expect(page.locator("#undo")).to_contain_text("Being undone, requested by olga@kamioi.test")

    run_statement_undo(task_id=StatementImport.objects.get().undo_task_id)
    page.goto(address)
    expect(page.locator("#undo")).to_contain_text("1 transaction deleted, 1 purchase of shares reversed")
    check_page(page, "undone")
    page.goto(live_server.url + reverse("admin:transactions_statementimport_changelist"))
    expect(page.locator("#result_list")).to_contain_text("undone")
    check_page(page, "imports")
