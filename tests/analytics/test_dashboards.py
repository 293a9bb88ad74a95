"""The dashboards: what they show, to whom, from which rows, and what they say when there is nothing or nobody answers."""

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
from analytics.models import CustomerCount, DecisionDay, LedgerDay, MappingDay, TransactionDay
from analytics.selectors import finance, llm_center, operations, queries, transactions
from analytics.selectors.periods import Period
from analytics.services.ledger_days import recount_ledger_days, update_ledger_days
from analytics.services.rollups import refresh_rollups
from llm_center.models import LlmCall, LlmDataAsset, LlmMapping, MappingDecision
from llm_center.services.review.queue import queue_totals_cached
from tests.factories import make_company, make_merchant, make_staff, make_transaction, make_user
from tests.workers import wait_until
from transactions.models import BackgroundTask, LedgerTransfer, Setting, Transaction
from transactions.services.background_tasks import retry_task
from transactions.services.processing import process_pending

pytestmark = pytest.mark.django_db

TODAY = timezone.now().date()
NOW = timedelta(0)


@pytest.fixture
def staff_client() -> Client:
    client = Client()
    client.force_login(make_staff())
    return client


def staff_with(role: str) -> Client:
    user = make_user(f"{role}@kamioi.test", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


def _volume(day: date, status: str, rows: int, *, ticker: str = "", investable: str = "0", fee: str = "0") -> None:
    TransactionDay.objects.create(
        day=day,
        status=status,
        ticker=ticker,
        rows=rows,
        amount=Decimal(10 * rows),
        round_up=Decimal(investable),
        fee=Decimal(fee),
        investable=Decimal(investable),
    )


def _proposals(day: date, status: str, rows: int, *, automatic: bool = False, confidence: str = "0.9") -> None:
    MappingDay.objects.create(
        day=day, status=status, source="llm", automatic=automatic, rows=rows, confidence=rows * Decimal(confidence)
    )


def _summarise() -> None:
    with connection.cursor() as cursor:
        cursor.execute("REFRESH MATERIALIZED VIEW llm_analytics_summary")


def _everything(days: int = 3) -> None:
    """Something of everything on each of the last days."""
    make_company("SBUX")
    staff = make_staff()
    for n in range(days):
        day, at = TODAY - timedelta(days=n), timezone.now() - timedelta(days=n)
        _volume(day, "completed", 80, ticker="SBUX", investable="100.00", fee="20.00")
        _volume(day, "failed", 2)
        _proposals(day, "approved", 8, automatic=True)
        _proposals(day, "pending", 2, confidence="0.4")
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
    CustomerCount.objects.create(month=TODAY.replace(day=1), account_type="family", users=40, transactions=7)
    LlmDataAsset.objects.create(asset_name="Directory", asset_type="dataset", cost_basis=Decimal("3600.00"))
    make_merchant("CAFE", None, "proposed", category="cafe", waiting_count=3, waiting_amount=Decimal("4.00"))
    LlmMapping.objects.create(merchant_name="CAFE", merchant_key="CAFE", source="llm")
    BackgroundTask.objects.create(name="import_mappings", status="failed", error="It broke.", user=staff)
    _summarise()


# --- pages ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dashboard", [d.name for d in DASHBOARDS])
def test_every_panel_shows_its_figures(staff_client, dashboard, subtests):
    _everything()
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
                "cost",
            }
            page = staff_client.get(f"/admin/dashboards/{dashboard}/{panel.name}/")
            assert page.status_code == 200
            assert b'role="alert"' not in page.content


@pytest.mark.parametrize("dashboard", [d.name for d in DASHBOARDS])
def test_a_new_installation_says_that_there_is_nothing(staff_client, dashboard):
    page = staff_client.get(f"/admin/dashboards/{dashboard}/?days=7").content.decode()
    assert 'role="alert"' not in page
    said = {
        "llm-center": "No proposals were made in this period.",
        "transactions": "No transactions in this period.",
        "finance": "No bookings yet.",
        "operations": "No background task has failed.",
    }
    assert said[dashboard] in page


@contextmanager
def _broken(monkeypatch: pytest.MonkeyPatch, name: str, error: Exception) -> Any:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(transactions, name, fail)
        yield


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (DatabaseError("canceling statement due to statement timeout"), "The database took too long to respond."),
        (DatabaseError("gone"), "The database did not respond."),
        (ConnectionRefusedError(), "The broker did not respond."),
        (ZeroDivisionError(), "This panel could not be loaded. See the log for details."),
    ],
)
def test_a_panel_that_fails_says_so_and_the_others_stand(staff_client, monkeypatch, error, said):
    _everything()
    with _broken(monkeypatch, "top_tickers", error):
        page = staff_client.get("/admin/dashboards/transactions/").content.decode()
        table = staff_client.get("/admin/dashboards/transactions/tickers/?format=csv")
    assert page.count('role="alert"') == 1
    assert said in page
    assert "Transactions per user" in page
    assert (table.status_code, table.content.decode()) == (503, said)


def test_a_broker_that_is_away_is_an_error_of_two_panels(staff_client, settings, monkeypatch):
    from celery import current_app

    monkeypatch.setattr(current_app.conf, "broker_url", "redis://127.0.0.1:1/0")
    page = staff_client.get("/admin/dashboards/operations/").content.decode()
    assert page.count('role="alert"') == 1  # the workers are asked once the page stands
    assert "The broker did not respond." in page
    assert "Months ahead" in page
    assert "The broker did not respond." in staff_client.get("/admin/dashboards/operations/workers/").content.decode()


def test_a_statement_that_takes_too_long_is_given_up(monkeypatch):
    monkeypatch.setattr(queries, "STATEMENT_TIMEOUT_MS", 50)
    with pytest.raises(DatabaseError, match="statement timeout"):
        queries.fetch_rows("SELECT pg_sleep(5)")


# --- who may ----------------------------------------------------------------------------------------------------------
ALLOWED = {
    "reviewer": {"llm-center", "transactions"},
    "finance": {"finance", "transactions"},
    "operator": {"operations", "transactions", "llm-center"},
    "admin": {d.name for d in DASHBOARDS},
    "customer": set(),
}


@pytest.mark.parametrize("role", ALLOWED)
def test_each_role_sees_its_own_dashboards(role):
    client = staff_with(role)
    for dashboard in DASHBOARDS:
        allowed = dashboard.name in ALLOWED[role]
        assert client.get(dashboard.url).status_code == (200 if allowed else 403), dashboard.name
        panel = reverse("dashboard-panel", args=[dashboard.name, dashboard.panels[-1].name])
        assert client.get(panel).status_code == (200 if allowed else 403)
    home = client.get(reverse("admin:index")).content.decode()
    assert {d.name for d in DASHBOARDS if f'href="{d.url}"' in home} == ALLOWED[role]


def test_customers_and_strangers_are_sent_to_the_log_in():
    client = Client()
    for dashboard in DASHBOARDS:
        assert client.get(dashboard.url).status_code == 302
    client.force_login(make_user())
    assert client.get(DASHBOARDS[0].url).status_code == 302


def test_links_lead_only_where_one_may_go():
    _everything()
    page = staff_with("operator").get("/admin/dashboards/llm-center/").content.decode()
    assert "/admin/llm_center/llmmapping/" not in page.partition('class="dash-grid"')[2]
    page = staff_with("reviewer").get("/admin/dashboards/llm-center/").content.decode()
    assert "/admin/llm_center/llmmapping/" in page.partition('class="dash-grid"')[2]


# --- periods ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("query", "days", "complaint"),
    [
        ("", 30, ""),
        ("?days=7", 7, ""),
        ("?days=90", 90, ""),
        ("?days=12", 30, ""),
        ("?from=2026-01-01&to=2026-01-10", 10, ""),
        ("?from=2026-01-10&to=2026-01-01", 30, "The period ends before it begins."),
        ("?from=yesterday", 30, "That is no date."),
        ("?from=1999-01-01&to=2026-01-01", 30, "The period is longer than five years."),
    ],
)
def test_the_period_is_what_was_asked_for(staff_client, query, days, complaint):
    reply = staff_client.get(f"/admin/dashboards/transactions/{query}")
    assert reply.context_data["chosen"].period.days == days
    assert [str(message) for message in reply.context["messages"]] == ([complaint] if complaint else [])


def test_only_days_of_the_period_count():
    for n in (0, 6, 7, 13, 14):
        _volume(TODAY - timedelta(days=n), "completed", 1, ticker="SBUX")
    week = Period.of_days(7)
    assert transactions.volume_totals(week).transactions == 2
    assert transactions.volume_totals(week.previous).transactions == 2
    assert week.previous.last + timedelta(days=1) == week.first


def test_a_long_period_is_shown_by_months(staff_client):
    _volume(date(2026, 1, 5), "completed", 3, ticker="SBUX")
    _volume(date(2026, 1, 30), "completed", 4, ticker="SBUX")
    chart = (
        staff_client.get("/admin/dashboards/transactions/?from=2025-11-15&to=2026-06-15")
        .context_data["panels"][0]
        .content.chart
    )
    assert chart.labels == ["Nov 2025", "Dec 2025", *(f"{m} 2026" for m in ("Jan", "Feb", "Mar", "Apr", "May", "Jun"))]
    assert chart.series[0].values == [0, 0, 7, 0, 0, 0, 0, 0]


# --- figures ----------------------------------------------------------------------------------------------------------
def test_proposals_and_their_automatic_share():
    _proposals(TODAY, "approved", 6, automatic=True, confidence="0.95")
    _proposals(TODAY, "approved", 1, confidence="0.60")
    _proposals(TODAY, "rejected", 1, confidence="0.50")
    _proposals(TODAY - timedelta(days=5), "pending", 2, confidence="0.40")
    _proposals(TODAY - timedelta(days=200), "pending", 3)
    totals = llm_center.proposal_totals(Period.of_days(30))
    assert (totals.count, totals.pending, totals.approved, totals.rejected) == (10, 2, 7, 1)
    assert totals.automatic_rate == Decimal(6) / 8
    assert totals.average_confidence == Decimal("0.76")
    assert {age.label: age.count for age in llm_center.pending_by_age() if age.count} == {"3 to 7 days": 2, "older": 3}
    assert llm_center.proposal_totals(Period.of_days(30).previous).automatic_rate is None


def test_decisions_that_were_taken_back_count_where_they_were_made():
    staff = make_staff()
    before = timezone.now() - timedelta(days=3)
    wrong = MappingDecision.objects.create(
        merchant_key="X", action="approve", before={}, after={}, automatic=True, decided_at=before, released_count=4
    )
    MappingDecision.objects.create(merchant_key="X", action="undo", before={}, after={}, decided_by=staff, undoes=wrong)
    MappingDecision.objects.create(merchant_key="Y", action="correct", before={}, after={}, decided_by=staff)
    refresh_rollups()
    days = llm_center.review_by_day(Period.of_days(7))
    assert [(d.date, d.manual, d.automatic, d.manual_reversed, d.automatic_reversed, d.released) for d in days] == [
        (before.date(), 0, 1, 0, 1, 4),
        (TODAY, 1, 0, 0, 0, 0),
    ]


def test_cost_stands_beside_its_targets(staff_client):
    _volume(TODAY, "completed", 1000, ticker="SBUX")
    CustomerCount.objects.create(month=TODAY.replace(day=1), account_type="family", users=10, transactions=1000)
    LlmCall.objects.create(provider="openai", merchants=25, cost=Decimal("0.500000"))
    Setting.objects.filter(key="infrastructure_monthly_cost").update(value="not set")
    month = finance.cost_by_month(last=TODAY)[-1]
    assert (month.transactions, month.active_users, month.llm_cost, month.cost) == (1000, 10, Decimal("0.500000"), None)
    page = staff_client.get("/admin/dashboards/finance/cost/").content.decode()
    assert "not set: setting infrastructure_monthly_cost" in page
    Setting.objects.filter(key="infrastructure_monthly_cost").update(value="0")
    month = finance.cost_by_month(last=TODAY)[-1]
    assert (month.per_transaction, month.per_user) == (Decimal("0.000500"), Decimal("0.0500"))
    page = staff_client.get("/admin/dashboards/finance/cost/").content.decode()
    assert page.count('class="is-good"') == 2
    LlmCall.objects.create(provider="openai", merchants=25, cost=Decimal("0.500000"))
    page = staff_client.get("/admin/dashboards/finance/cost/").content.decode()
    assert page.count('class="is-bad"') == 2


def test_a_large_directory_is_sampled_and_says_so(monkeypatch):
    for n in range(300):
        make_merchant(f"SHOP {n}", None, "not_listed", category="cafe", reason="x" * 400)
    assert llm_center.merchant_categories() == llm_center.MerchantCategories([("cafe", 300)], None)
    monkeypatch.setattr(llm_center, "_SAMPLE_PAGES", 5)
    found = llm_center.merchant_categories()
    assert found.sampled is not None
    assert 0 < found.sampled < 300
    assert abs(found.rows[0][1] - 300) < 290  # an estimate from few pages


def test_the_ledger_by_day_is_the_ledger():
    make_company("SBUX")
    make_merchant("STARBUCKS", "SBUX")
    user = make_user(round_up_amount=2)
    for n in range(3):
        make_transaction(user, date=datetime.now(UTC) - timedelta(days=n))
    process_pending()
    update_ledger_days(settle=NOW)  # sets the mark
    _settled()
    update_ledger_days(settle=NOW)
    rows = {account.number: account for account in finance.account_movements(Period.of_days(7))}
    assert (rows["10100"].debit, rows["10100"].balance) == (Decimal("6.75"), Decimal("6.75"))
    assert (rows["40100"].credit, rows["40100"].balance) == (Decimal("0.75"), Decimal("0.75"))
    assert rows["22100"].balance + rows["20100"].balance + rows["29900"].balance == Decimal("6.00")
    assert sum(day.bookings for day in finance.ledger_by_day(Period.of_days(7))) == LedgerTransfer.objects.count()
    assert queries.ledger_counted_at() is not None
    assert finance.account_movements(Period.of_days(1).previous)[0].debit == Decimal("2.25")


def _settled() -> None:
    """Under a test everything is one transaction, which runs as long as the test does: take it for ended."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE ledger_marks SET drawn_before = 0")


def test_counting_the_ledger_again_counts_nothing_twice(monkeypatch):
    monkeypatch.setattr("analytics.services.ledger_days.STEP", 2)
    moment = timezone.now()
    first = LedgerTransfer.objects.order_by("-pk").values_list("pk", flat=True).first() or 0

    def book(count: int) -> None:
        for _ in range(count):
            LedgerTransfer.objects.create(
                date=moment, kind="journal", debit_account="10100", credit_account="30900", amount=Decimal("1.50")
            )

    book(5)
    for _ in range(3):
        update_ledger_days(settle=NOW)
        _settled()
    book(4)
    for _ in range(3):
        update_ledger_days(settle=NOW)
        _settled()
    day = LedgerDay.objects.get(kind="journal")
    assert (day.rows, day.amount, day.day) == (9, Decimal("13.50"), moment.date())
    LedgerTransfer.objects.filter(pk__gt=first + 1, kind="journal").order_by("pk").first().delete()
    recount_ledger_days()
    _settled()
    update_ledger_days(settle=NOW)
    assert LedgerDay.objects.get(kind="journal").rows == 8


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_a_booking_that_commits_late_is_counted():
    """Its id is smaller than one that is committed already: the count waits for it."""
    from threading import Event, Thread

    from django.db import connections, transaction

    drawn, go_on = Event(), Event()

    def book() -> LedgerTransfer:
        return LedgerTransfer.objects.create(
            date=timezone.now(), kind="journal", debit_account="10100", credit_account="30900", amount=Decimal(1)
        )

    def late() -> None:
        with transaction.atomic():
            book()
            drawn.set()
            go_on.wait(20)
        connections.close_all()

    thread = Thread(target=late)
    thread.start()
    assert drawn.wait(20)
    newest = book()
    update_ledger_days(settle=NOW)
    assert update_ledger_days(settle=NOW).counted_to == 0  # somebody who drew a smaller id is still at it
    go_on.set()
    thread.join()
    # The numbers of transactions are the whole server's: a test beside this one may hold an older one for a moment.
    wait_until("the count goes on", lambda: update_ledger_days(settle=NOW).counted_to == newest.pk)
    assert LedgerDay.objects.get().rows == 2


def test_queues_are_counted_in_the_broker():
    from celery import current_app

    assert {queue.name: queue.waiting for queue in operations.queue_statuses()}["bulk"] == 0
    for priority in (0, 6, 9):
        current_app.send_task("nobody", queue="bulk", priority=priority, ignore_result=True)
    depths = {queue.name: queue.waiting for queue in operations.queue_statuses()}
    assert depths == {"ai": 0, "transactions": 0, "analytics": 0, "notifications": 0, "bulk": 3}


# --- rows behind the figures ------------------------------------------------------------------------------------------
def test_a_figure_leads_to_its_rows(staff_client):
    user = make_user()
    day = datetime(2026, 10, 5, 23, 59, tzinfo=UTC)
    wanted = make_transaction(user, date=day, status="failed", failure_reason="x")
    for other in (day + timedelta(minutes=2), day - timedelta(days=1)):
        make_transaction(user, date=other, status="failed", failure_reason="x")
    make_transaction(user, date=day)
    _volume(day.date(), "failed", 1)
    page = staff_client.get("/admin/dashboards/transactions/?from=2026-10-01&to=2026-10-10")
    cells = [cell for row in page.context_data["panels"][0].content.table.rows for cell in row]
    link = next(cell.link for cell in cells if "failed" in cell.link)
    rows = staff_client.get(link).context_data["cl"].result_list
    assert [row.pk for row in rows] == [wanted.pk]


def test_proposals_of_a_day_are_found(staff_client):
    for n in (0, 1, 1):
        LlmMapping.objects.create(
            merchant_name="X", merchant_key="X", source="llm", created_at=timezone.now() - timedelta(days=n)
        )
    yesterday = TODAY - timedelta(days=1)
    link = PageContext(make_staff(), Period.of_days(30)).changelist_url(
        "llm_center_llmmapping", yesterday, yesterday, column="created_at", status="pending"
    )
    assert len(staff_client.get(link).context_data["cl"].result_list) == 2


def test_rows_of_an_account_lie_on_either_side(staff_client):
    for debit, credit in (("10100", "30900"), ("67010", "10100"), ("67010", "30900")):
        LedgerTransfer.objects.create(
            date=timezone.now(), kind="journal", debit_account=debit, credit_account=credit, amount=1
        )
    link = PageContext(make_staff(), Period.of_days(30)).changelist_url(
        "transactions_ledgertransfer", TODAY, TODAY, account="10100"
    )
    assert len(staff_client.get(link).context_data["cl"].result_list) == 2


def test_days_that_are_none_filter_nothing(staff_client):
    make_transaction(make_user())
    page = staff_client.get(reverse("admin:transactions_transaction_changelist") + "?date_from=x&date_to=2026-13-01")
    assert len(page.context_data["cl"].result_list) == 1


# --- exports ----------------------------------------------------------------------------------------------------------
def test_the_table_of_a_panel_is_a_csv(staff_client):
    _everything(2)
    reply = staff_client.get("/admin/dashboards/transactions/volume/?days=7&format=csv")
    assert reply["Content-Type"].startswith("text/csv")
    assert f"transactions-volume-{TODAY - timedelta(days=6)}-{TODAY}.csv" in reply["Content-Disposition"]
    rows = list(csv.reader(io.StringIO(b"".join(reply).decode())))
    assert rows[0] == ["Day", "Invested", "Failed"]
    assert rows[1:] == [[str(TODAY - timedelta(days=1)), "80", "2"], [str(TODAY), "80", "2"]]


def test_no_cell_runs_as_a_formula():
    cells = [framework.text("@cmd"), framework.dollars(Decimal("-1.50"))]
    content = framework.PanelContent(table=framework.Table(["=Sum", "Amount"], [cells]))
    assert list(framework.panel_csv(content)) == ["'=Sum,Amount\r\n", "'@cmd,-1.50\r\n"]


# --- failed tasks -----------------------------------------------------------------------------------------------------
def test_a_failed_task_is_sent_again_once(staff_client):
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
    assert staff_with("operator").post(address).status_code == 302
    assert staff_with("finance").post(address).status_code == 403


# --- cost -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dashboard", [d.name for d in DASHBOARDS])
def test_a_dashboard_costs_as_many_queries_whatever_there_is(staff_client, dashboard):
    def statements() -> list[str]:
        queue_totals_cached()  # the badge of the menu is remembered
        with CaptureQueriesContext(connection) as captured:
            assert staff_client.get(f"/admin/dashboards/{dashboard}/").status_code == 200
        return [query["sql"] for query in captured.captured_queries if "SAVEPOINT" not in query["sql"]]

    _everything(2)
    statements()  # what is remembered from page to page is remembered now
    few = statements()
    for n in range(2, 20):
        _volume(TODAY - timedelta(days=n), "completed", 5, ticker="SBUX")
        _volume(TODAY - timedelta(days=n), "needs_review", 5)
        _proposals(TODAY - timedelta(days=n), "rejected", 5)
        BackgroundTask.objects.create(name="import_mappings", status="failed", error="It broke.")
    _summarise()
    many = statements()
    assert len(many) == len(few) <= 40
    big = ("transactions", "ledger_transfers", "llm_mappings")
    for text in many:
        for table in big:
            if f'FROM "{table}"' in text or f"FROM {table} " in text:
                assert "LIMIT" in text, text


def test_transactions_between_two_days_come_in_the_order_of_their_days(staff_client):
    user = make_user()
    ids = [make_transaction(user, date=datetime(2026, 10, n, tzinfo=UTC)).pk for n in (3, 1, 2)]
    page = staff_client.get(
        reverse("admin:transactions_transaction_changelist") + "?date_from=2026-10-01&date_to=2026-10-02"
    )
    assert [row.pk for row in page.context_data["cl"].result_list] == [ids[2], ids[1]]
    assert Transaction.objects.count() == 3
