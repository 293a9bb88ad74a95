"""The dashboard pages: panels, permissions, periods, links, exports, and messages without data or servers."""

import csv
import io
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from analytics.dashboards import DASHBOARDS, framework, get_dashboard
from analytics.dashboards.framework import PageContext, render_panel
from analytics.models import CustomerCount, DecisionDay, LedgerDay
from analytics.selectors import finance, transactions
from analytics.selectors.periods import Period
from llm_center.models import LlmCall, LlmDataAsset, LlmMapping
from llm_center.services.review.queue import queue_totals_cached
from tests.analytics.rows import create_proposals, create_volume, today
from tests.factories import make_company, make_merchant, make_staff, make_transaction, make_user
from transactions.models import BackgroundTask, LedgerTransfer, Setting, Transaction
from transactions.services.background_tasks import retry_task

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff_client() -> Client:
    client = Client()
    client.force_login(make_staff())
    return client


def staff_with_role(role: str) -> Client:
    user = make_user(f"{role}@kamioi.test", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


def _refresh_summary() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT kamioi_refresh_summary()")


def _create_everything(days: int = 3) -> None:
    """Create rows for every panel on each of the last days."""
    make_company("SBUX")
    staff = make_staff()
    for n in range(days):
        day, at = today() - timedelta(days=n), timezone.now() - timedelta(days=n)
        create_volume(day, "completed", 80, ticker="SBUX", investable="100.00", fee="20.00")
        create_volume(day, "failed", 2)
        create_proposals(day, "approved", 8, automatic=True)
        create_proposals(day, "pending", 2, confidence="0.4")
        LedgerDay.objects.create(day=day, kind="fee", debit_account="10100", credit_account="40100", rows=80, amount=20)
        LlmCall.objects.create(started_at=at, provider="openai", merchants=25, cost=Decimal("0.002500"))
        DecisionDay.objects.create(
            day=day,
            automatic=False,
            action="approve",
            decisions=5,
            reversed=1,
            overturned=0,
            released=9,
            waited=5,
            median_seconds=7200.0,
            slow_seconds=9000.0,
        )
    CustomerCount.objects.create(month=today().replace(day=1), account_type="family", users=40, transactions=7)
    LlmDataAsset.objects.create(asset_name="Directory", asset_type="dataset", cost_basis=Decimal("3600.00"))
    make_merchant("CAFE", None, "proposed", category="cafe", waiting_count=3, waiting_amount=Decimal("4.00"))
    LlmMapping.objects.create(merchant_name="CAFE", merchant_key="CAFE", source="llm")
    BackgroundTask.objects.create(name="import_mappings", status="failed", error="It broke.", user=staff)
    _refresh_summary()


# --- pages ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dashboard", [d.name for d in DASHBOARDS])
def test_every_panel_shows_its_numbers(staff_client, dashboard, subtests):
    _create_everything()
    assert staff_client.get(f"/admin/dashboards/{dashboard}/").status_code == 200
    for panel in get_dashboard(dashboard).panels:
        with subtests.test(panel.name):
            shown = render_panel(panel, PageContext(make_staff(), Period.of_days(30)))
            assert shown.error == ""
            assert shown.content is not None
            assert shown.content.counted_at is not None or panel.name in {
                "proposals",
                "quality",
                "volume",
                "invested",
                "tickers",
                "users",
                "revenue",
                "ledger",
                "accounts",
                "trial-balance",
                "balance-sheet",
                "profit-and-loss",
                "cost",
            }
            page = staff_client.get(f"/admin/dashboards/{dashboard}/{panel.name}/")
            assert page.status_code == 200
            assert b'role="alert"' not in page.content


@pytest.mark.parametrize("dashboard", [d.name for d in DASHBOARDS])
def test_panels_of_a_new_installation_say_that_they_are_empty(staff_client, dashboard):
    page = staff_client.get(f"/admin/dashboards/{dashboard}/?days=7").content.decode()
    assert 'role="alert"' not in page
    messages = {
        "llm-center": "No proposals were made in this period.",
        "transactions": "No transactions in this period.",
        "finance": "No postings yet.",
        "financial-statements": "No postings yet.",
        "operations": "No background task has failed.",
    }
    assert messages[dashboard] in page


@contextmanager
def _broken(monkeypatch: pytest.MonkeyPatch, name: str, error: Exception) -> Any:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(transactions, name, fail)
        yield


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (DatabaseError("canceling statement due to statement timeout"), "The database took too long to respond."),
        (DatabaseError("gone"), "The database did not respond."),
        (ConnectionRefusedError(), "The broker did not respond."),
        (ZeroDivisionError(), "This panel could not be loaded. See the log for details."),
    ],
)
def test_a_panel_that_fails_shows_an_error_and_the_others_work(staff_client, monkeypatch, error, message):
    _create_everything()
    with _broken(monkeypatch, "top_tickers", error):
        page = staff_client.get("/admin/dashboards/transactions/").content.decode()
        table = staff_client.get("/admin/dashboards/transactions/tickers/?format=csv")
    assert page.count('role="alert"') == 1
    assert message in page
    assert "Transactions per user" in page
    assert (table.status_code, table.content.decode()) == (503, message)


def test_an_unavailable_broker_is_an_error_of_two_panels(staff_client, settings, monkeypatch):
    from celery import current_app

    monkeypatch.setattr(current_app.conf, "broker_url", "redis://127.0.0.1:1/0")
    page = staff_client.get("/admin/dashboards/operations/").content.decode()
    assert page.count('role="alert"') == 1  # the workers panel loads later
    assert "The broker did not respond." in page
    assert "Months ahead" in page
    assert "The broker did not respond." in staff_client.get("/admin/dashboards/operations/workers/").content.decode()


# --- permissions ------------------------------------------------------------------------------------------------------
ALLOWED = {
    "reviewer": {"llm-center", "transactions"},
    "finance": {"finance", "financial-statements", "transactions"},
    "operator": {"operations", "transactions", "llm-center"},
    "admin": {d.name for d in DASHBOARDS},
    "customer": set(),
}


@pytest.mark.parametrize("role", ALLOWED)
def test_each_role_sees_its_own_dashboards(role):
    client = staff_with_role(role)
    for dashboard in DASHBOARDS:
        allowed = dashboard.name in ALLOWED[role]
        assert client.get(dashboard.url).status_code == (200 if allowed else 403), dashboard.name
        panel = reverse("dashboard-panel", args=[dashboard.name, dashboard.panels[-1].name])
        assert client.get(panel).status_code == (200 if allowed else 403)
    home = client.get(reverse("admin:index")).content.decode()
    assert {d.name for d in DASHBOARDS if f'href="{d.url}"' in home} == ALLOWED[role]


def test_customers_and_anonymous_users_are_sent_to_the_login():
    client = Client()
    for dashboard in DASHBOARDS:
        assert client.get(dashboard.url).status_code == 302
    client.force_login(make_user())
    assert client.get(DASHBOARDS[0].url).status_code == 302


def test_links_need_the_permission_for_their_target():
    _create_everything()
    page = staff_with_role("operator").get("/admin/dashboards/llm-center/").content.decode()
    assert "/admin/llm_center/llmmapping/" not in page.partition('class="dash-grid"')[2]
    page = staff_with_role("reviewer").get("/admin/dashboards/llm-center/").content.decode()
    assert "/admin/llm_center/llmmapping/" in page.partition('class="dash-grid"')[2]


# --- periods ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("query", "days", "error"),
    [
        ("", 30, ""),
        ("?days=7", 7, ""),
        ("?days=90", 90, ""),
        ("?days=12", 30, ""),
        ("?from=2026-01-01&to=2026-01-10", 10, ""),
        ("?from=2026-01-10&to=2026-01-01", 30, "The period ends before it begins."),
        ("?from=yesterday", 30, "Invalid date."),
        ("?from=1999-01-01&to=2026-01-01", 30, "The period is longer than five years."),
    ],
)
def test_the_period_comes_from_the_query(staff_client, query, days, error):
    reply = staff_client.get(f"/admin/dashboards/transactions/{query}")
    assert reply.context_data["selected"].period.days == days
    assert [str(message) for message in reply.context["messages"]] == ([error] if error else [])


def test_a_long_period_is_shown_by_months(staff_client):
    create_volume(date(2026, 1, 5), "completed", 3, ticker="SBUX")
    create_volume(date(2026, 1, 30), "completed", 4, ticker="SBUX")
    chart = (
        staff_client.get("/admin/dashboards/transactions/?from=2025-11-15&to=2026-06-15")
        .context_data["panels"][0]
        .content.chart
    )
    assert chart.labels == ["Nov 2025", "Dec 2025", *(f"{m} 2026" for m in ("Jan", "Feb", "Mar", "Apr", "May", "Jun"))]
    assert chart.series[0].values == [0, 0, 7, 0, 0, 0, 0, 0]


def test_cost_is_compared_with_its_targets(staff_client):
    create_volume(today(), "completed", 1000, ticker="SBUX")
    CustomerCount.objects.create(month=today().replace(day=1), account_type="family", users=10, transactions=1000)
    LlmCall.objects.create(provider="openai", merchants=25, cost=Decimal("0.500000"))
    Setting.objects.filter(key="infrastructure_monthly_cost").update(value="not set")
    month = finance.cost_by_month(last=today())[-1]
    assert (month.transactions, month.active_users, month.llm_cost, month.cost) == (1000, 10, Decimal("0.500000"), None)
    page = staff_client.get("/admin/dashboards/finance/cost/").content.decode()
    assert "not set: setting infrastructure_monthly_cost" in page
    Setting.objects.filter(key="infrastructure_monthly_cost").update(value="0")
    month = finance.cost_by_month(last=today())[-1]
    assert (month.per_transaction, month.per_user) == (Decimal("0.000500"), Decimal("0.0500"))
    page = staff_client.get("/admin/dashboards/finance/cost/").content.decode()
    assert page.count('class="is-good"') == 2
    LlmCall.objects.create(provider="openai", merchants=25, cost=Decimal("0.500000"))
    page = staff_client.get("/admin/dashboards/finance/cost/").content.decode()
    assert page.count('class="is-bad"') == 2


# --- links to rows ----------------------------------------------------------------------------------------------------
def test_a_cell_links_to_its_rows(staff_client):
    user = make_user()
    day = datetime(2026, 10, 5, 23, 59, tzinfo=UTC)
    expected = make_transaction(user, date=day, status="failed", failure_reason="x")
    for other in (day + timedelta(minutes=2), day - timedelta(days=1)):
        make_transaction(user, date=other, status="failed", failure_reason="x")
    make_transaction(user, date=day)
    create_volume(day.date(), "failed", 1)
    page = staff_client.get("/admin/dashboards/transactions/?from=2026-10-01&to=2026-10-10")
    cells = [cell for row in page.context_data["panels"][0].content.table.rows for cell in row]
    link = next(cell.link for cell in cells if "failed" in cell.link)
    rows = staff_client.get(link).context_data["cl"].result_list
    assert [row.pk for row in rows] == [expected.pk]


def test_a_link_finds_the_proposals_of_a_day(staff_client):
    for n in (0, 1, 1):
        LlmMapping.objects.create(
            merchant_name="X", merchant_key="X", source="llm", created_at=timezone.now() - timedelta(days=n)
        )
    yesterday = today() - timedelta(days=1)
    link = PageContext(make_staff(), Period.of_days(30)).changelist_url(
        "llm_center_llmmapping", yesterday, yesterday, column="created_at", status="pending"
    )
    assert len(staff_client.get(link).context_data["cl"].result_list) == 2


def test_the_account_filter_finds_debits_and_credits(staff_client):
    for debit, credit in (("10100", "30900"), ("67010", "10100"), ("67010", "30900")):
        LedgerTransfer.objects.create(
            date=timezone.now(), kind="journal", debit_account=debit, credit_account=credit, amount=1
        )
    link = PageContext(make_staff(), Period.of_days(30)).changelist_url(
        "transactions_ledgertransfer", today(), today(), account="10100"
    )
    assert len(staff_client.get(link).context_data["cl"].result_list) == 2


def test_invalid_days_do_not_filter(staff_client):
    make_transaction(make_user())
    page = staff_client.get(reverse("admin:transactions_transaction_changelist") + "?date_from=x&date_to=2026-13-01")
    assert len(page.context_data["cl"].result_list) == 1


# --- exports ----------------------------------------------------------------------------------------------------------
def test_the_table_of_a_panel_is_a_csv(staff_client):
    _create_everything(2)
    reply = staff_client.get("/admin/dashboards/transactions/volume/?days=7&format=csv")
    assert reply["Content-Type"].startswith("text/csv")
    assert f"transactions-volume-{today() - timedelta(days=6)}-{today()}.csv" in reply["Content-Disposition"]
    rows = list(csv.reader(io.StringIO(b"".join(reply).decode())))
    assert rows[0] == ["Day", "Invested", "Failed"]
    assert rows[1:] == [[str(today() - timedelta(days=1)), "80", "2"], [str(today()), "80", "2"]]


def test_no_cell_runs_as_a_formula():
    cells = [framework.text("@cmd"), framework.dollars(Decimal("-1.50"))]
    content = framework.PanelContent(table=framework.Table(["=Sum", "Amount"], [cells]))
    assert list(framework.panel_csv(content)) == ["'=Sum,Amount\r\n", "'@cmd,-1.50\r\n"]


# --- failed tasks -----------------------------------------------------------------------------------------------------
def test_a_failed_task_is_retried_once(staff_client):
    task = BackgroundTask.objects.create(name="import_mappings", status="failed", error="It broke.", attempts=5)
    page = staff_client.get("/admin/dashboards/operations/").content.decode()
    assert "It broke." in page
    address = reverse("dashboard-retry", args=[task.pk])
    assert address in page
    assert staff_client.get(address).status_code == 405
    assert staff_client.post(address).status_code == 302
    task.refresh_from_db()
    assert (task.status, task.error, task.attempts) == ("queued", "", 0)
    assert not retry_task(task_id=task.pk)


def test_retry_needs_the_permission_for_tasks():
    task = BackgroundTask.objects.create(name="import_mappings", status="failed", error="It broke.")
    address = reverse("dashboard-retry", args=[task.pk])
    assert staff_with_role("operator").post(address).status_code == 302
    assert staff_with_role("finance").post(address).status_code == 403


# --- query counts -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dashboard", [d.name for d in DASHBOARDS])
def test_the_number_of_queries_does_not_grow_with_the_data(staff_client, dashboard):
    def statements() -> list[str]:
        queue_totals_cached()  # the badge of the menu is cached
        with CaptureQueriesContext(connection) as captured:
            assert staff_client.get(f"/admin/dashboards/{dashboard}/").status_code == 200
        return [query["sql"] for query in captured.captured_queries if "SAVEPOINT" not in query["sql"]]

    _create_everything(2)
    statements()  # fills the caches
    few = statements()
    for n in range(2, 20):
        create_volume(today() - timedelta(days=n), "completed", 5, ticker="SBUX")
        create_volume(today() - timedelta(days=n), "needs_review", 5)
        create_proposals(today() - timedelta(days=n), "rejected", 5)
        BackgroundTask.objects.create(name="import_mappings", status="failed", error="It broke.")
    _refresh_summary()
    many = statements()
    assert len(many) == len(few) <= 40
    big = ("transactions", "ledger_transfers", "llm_mappings")
    for text in many:
        for table in big:
            if f'FROM "{table}"' in text or f"FROM {table} " in text:
                assert "LIMIT" in text, text


def test_transactions_between_two_days_are_ordered_by_day(staff_client):
    user = make_user()
    ids = [make_transaction(user, date=datetime(2026, 10, n, tzinfo=UTC)).pk for n in (3, 1, 2)]
    page = staff_client.get(
        reverse("admin:transactions_transaction_changelist") + "?date_from=2026-10-01&date_to=2026-10-02"
    )
    assert [row.pk for row in page.context_data["cl"].result_list] == [ids[2], ids[1]]
    assert Transaction.objects.count() == 3
