"""The dashboards in a real browser: charts, periods, images, errors, links to the rows; the report form."""

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone
from playwright.sync_api import Browser, expect

from analytics.models import CustomerCount, LedgerDay, MappingDay, TransactionDay
from tests.browser.conftest import check_page, follow, log_in, needs_chromium
from tests.factories import make_company, make_merchant, make_staff, make_user

pytestmark = [pytest.mark.django_db(transaction=True, serialized_rollback=True), needs_chromium]


@pytest.fixture
def figures() -> None:
    """Totals of the last twenty days."""
    today = timezone.now().date()
    make_company("SBUX")
    make_merchant("STARBUCKS", "SBUX", category="cafe")
    for n in range(20):
        day = today - timedelta(days=n)
        for status, ticker, rows in (("completed", "SBUX", 80), ("not_listed", "", 15), ("failed", "", 2)):
            TransactionDay.objects.create(
                day=day,
                status=status,
                ticker=ticker,
                rows=rows,
                amount=Decimal(9 * rows),
                round_up=rows,
                fee=rows,
                investable=rows,
            )
        MappingDay.objects.create(day=day, status="pending", source="llm", automatic=False, rows=3, confidence=2)
        LedgerDay.objects.create(day=day, kind="fee", debit_account="10100", credit_account="40100", rows=80, amount=80)
    CustomerCount.objects.create(month=today.replace(day=1), account_type="individual", users=10, transactions=90)


def test_every_dashboard_is_readable_and_deferred_panels_load(live_server, page, figures):
    log_in(page, live_server.url, make_staff().email)
    for name in ("llm-center", "transactions", "finance", "financial-statements", "operations"):
        page.goto(f"{live_server.url}/admin/dashboards/{name}/")
        expect(page.locator("[aria-busy=true]")).to_have_count(0, timeout=30_000)
        expect(page.locator("[role=alert]")).to_have_count(0)
        check_page(page, f"dashboard-{name}")
    expect(page.locator("#panel-workers")).to_contain_text("No worker responded")


def test_the_period_changes_and_a_chart_is_saved_as_an_image(live_server, page, figures, tmp_path):
    log_in(page, live_server.url, make_staff().email)
    page.goto(f"{live_server.url}/admin/dashboards/transactions/")
    volume = page.locator("#panel-volume")
    expect(volume).to_contain_text("1,940")  # twenty days
    with page.expect_download() as download:
        volume.get_by_role("button", name="PNG").click()
    picture = tmp_path / "chart.png"
    download.value.save_as(picture)
    assert download.value.suggested_filename == "transactions-volume.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    page.get_by_role("link", name="7 days").click()
    expect(volume).to_contain_text("679")
    assert page.url.endswith("?days=7")
    expect(page.get_by_role("link", name="7 days")).to_have_attribute("aria-current", "true")
    page.go_back()
    expect(volume).to_contain_text("1,940")
    with page.expect_download() as download:
        volume.get_by_role("link", name="CSV").click()
    assert download.value.suggested_filename.endswith(".csv")
    volume.locator("canvas").click(position={"x": 500, "y": 150})
    page.wait_for_url(re.compile(r"/admin/transactions/transaction/\?date_from="))


def test_a_failed_panel_is_reloaded(live_server, browser: Browser, figures):
    page = browser.new_context(viewport={"width": 390, "height": 800}).new_page()  # without the check for errors
    log_in(page, live_server.url, make_staff().email)
    page.goto(f"{live_server.url}/admin/dashboards/transactions/")
    page.route("**/dashboards/transactions/tickers/**", lambda route: route.fulfill(status=500, body=""))
    page.get_by_role("link", name="7 days").click()
    tickers = page.locator("#panel-tickers")
    expect(tickers.get_by_role("alert")).to_contain_text("The server responded with 500.")
    expect(page.locator("#panel-volume canvas")).to_be_visible()
    page.unroute("**/dashboards/transactions/tickers/**")
    tickers.get_by_role("button", name="Try again").click()
    expect(tickers.locator("canvas")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.context.close()


def test_a_report_is_requested(live_server, page):
    make_user("ann@example.com")
    log_in(page, live_server.url, make_staff().email)
    page.goto(f"{live_server.url}/admin/analytics/report/new/")
    page.select_option("[name=kind]", "reconciliation")
    page.fill("[name=period]", f"{timezone.now().replace(day=1) - timedelta(days=1):%Y-%m}")
    check_page(page, "report-new")
    follow(page, page.get_by_role("button", name="Create report"))
    expect(page.get_by_text("Queued")).to_be_visible()
