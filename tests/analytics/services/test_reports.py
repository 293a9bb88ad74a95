"""Reports: they agree with the ledger, are private, and each is generated once."""

import csv
import io
import re
import subprocess
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from dateutil.relativedelta import relativedelta
from django.conf import settings
from django.contrib.auth.models import Group
from django.core import mail
from django.core.files.storage import default_storage
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from analytics.errors import BooksOutOfBalanceError, InvalidReportError
from analytics.models import CustomerMonth, Report
from analytics.services.reports import account_statement, finance, requests
from analytics.services.reports.account_statement import write_account_statement
from analytics.services.reports.generation import generate_account_statements, generate_report
from analytics.services.reports.output import Files
from analytics.services.reports.pdf import Column, ReportPdf
from analytics.services.reports.requests import request_account_statements, request_report
from tests.factories import api_client, make_company, make_merchant, make_price, make_staff, make_transaction, make_user
from tests.workers import celery_worker, wait_until
from transactions.models import BackgroundTask, LedgerTransfer, Notification, Transaction, User
from transactions.services.processing import process_pending

pytestmark = pytest.mark.django_db

MONTH = (timezone.now().date().replace(day=1) - timedelta(days=1)).replace(day=1)
MIDDLE = datetime(MONTH.year, MONTH.month, 15, 12, tzinfo=UTC)


def _create_purchases(user: User, count: int = 3) -> None:
    """Create invested purchases of last month, one of an unknown merchant, a refund; and one purchase of this month."""
    make_company("SBUX", "95.00")
    make_price("SBUX", "95.00", age=timezone.now() - MIDDLE)
    make_merchant("STARBUCKS", "SBUX")
    for n in range(count):
        make_transaction(user, date=MIDDLE + timedelta(minutes=n))
    make_transaction(user, "=cmd|' /C calc'!A0", "9.99", date=MIDDLE + timedelta(hours=2), merchant_key="CMD")
    make_transaction(user, "STARBUCKS", "-4.50", date=MIDDLE + timedelta(hours=3))
    process_pending(now=MIDDLE + timedelta(hours=4))
    make_transaction(user, date=MIDDLE + relativedelta(months=1, day=1))
    process_pending()


def _generate(task: BackgroundTask) -> dict[str, Report]:
    generate_report(task_id=str(task.pk))
    task.refresh_from_db()
    assert (task.status, task.error) == ("completed", "")
    return {report.format: report for report in Report.objects.filter(task=task)}


def _read_csv(report: Report) -> list[list[str]]:
    with report.file.open("rb") as file:
        return list(csv.reader(io.StringIO(file.read().decode("utf-8-sig"))))


def _read_pdf(report: Report) -> str:
    with report.file.open("rb") as file:
        return subprocess.run(
            ["pdftotext", "-layout", "-", "-"], input=file.read(), capture_output=True, check=True
        ).stdout.decode()


# --- statements -------------------------------------------------------------------------------------------------------
def test_a_statement_agrees_with_the_ledger_to_the_cent():
    user = make_user(round_up_amount=2, name="Łucja Ortega", account_number="I100", city="Austin", state="TX")
    _create_purchases(user)
    made = _generate(request_report(kind="statement", period=MONTH, user=user, requested_by=user))
    rows = _read_csv(made["csv"])
    header = next(n for n, row in enumerate(rows) if row[:1] == ["Id"])
    listed = rows[header + 1 : header + 6]
    assert [row[11] for row in listed] == ["completed"] * 3 + ["needs_review", "refunded"]
    assert listed[3][2] == "'=cmd|' /C calc'!A0"  # no spreadsheet runs it
    assert listed[4][4] == "-4.50"  # a number is a number
    total = next(row for row in rows if row[:3] == ["Total", "", "invested"])
    end = datetime(MONTH.year, MONTH.month, 1, tzinfo=UTC) + relativedelta(months=1)
    booked = LedgerTransfer.objects.filter(user_id=user.pk, date__lt=end)
    books = {kind: sum(row.amount for row in booked.filter(kind=kind)) for kind in ("round_up", "fee", "purchase")}
    assert (
        [Decimal(total[5]), Decimal(total[6])]
        == [books["round_up"], books["fee"]]
        == [Decimal("6.00"), Decimal("0.75")]
    )
    assert Decimal(total[7]) == Decimal("6.00")
    holding = next(row for row in rows if row[:1] == ["SBUX"])
    assert (Decimal(holding[2]), Decimal(holding[3])) == (
        sum(row.shares for row in booked.filter(kind="purchase")),
        books["purchase"],
    )
    assert made["csv"].rows == 5
    text = _read_pdf(made["pdf"])
    for text_ in ("Account statement", "I100", "6.00", "0.75", "SBUX", "Page 1 of 1", f"{MONTH:%B %Y}", "Austin, TX"):
        assert text_ in text, text_
    assert "STARBUCKS" in text


def test_undone_bookings_are_in_no_total():
    user = make_user()
    _create_purchases(user, 1)
    for row in LedgerTransfer.objects.filter(user_id=user.pk, date__lt=MIDDLE + timedelta(days=1)):
        LedgerTransfer.objects.create(
            user_id=user.pk,
            date=row.date,
            transaction_id=row.transaction_id,
            kind=f"undo_{row.kind}",
            amount=row.amount,
            debit_account=row.credit_account,
            credit_account=row.debit_account,
            ticker=row.ticker,
            shares=row.shares,
        )
    Transaction.objects.filter(user=user, date__lt=MIDDLE + timedelta(hours=1)).update(
        status="needs_review",
        round_up=0,
        fee=0,
        investable=0,
        ticker=None,
        shares=None,
        price_per_share=None,
        total_debit=4.50,
    )
    rows = _read_csv(_generate(request_report(kind="statement", period=MONTH, user=user, requested_by=user))["csv"])
    total = next(row for row in rows if row[:3] == ["Total", "", "invested"])
    assert total[3:] == ["0", "", "0.00", "0.00", "0.00"]
    assert not any(row[:1] == ["SBUX"] for row in rows)


@pytest.mark.as_owner
def test_a_statement_is_refused_if_the_ledger_differs():
    user = make_user()
    _create_purchases(user)
    LedgerTransfer.objects.filter(user_id=user.pk, kind="fee", date__lt=MIDDLE + timedelta(days=1)).first().delete()
    task = request_report(kind="statement", period=MONTH, user=user, requested_by=user)
    generate_report(task_id=str(task.pk))
    task.refresh_from_db()
    assert task.status == "failed"
    assert "verify_ledger" in task.error
    assert not Report.objects.exists()
    with pytest.raises(BooksOutOfBalanceError):
        write_account_statement(Files(io.BytesIO(), io.StringIO()), user=user, month=MONTH, on_progress=lambda _: None)


def test_rows_are_read_in_pages(monkeypatch):
    monkeypatch.setattr(account_statement, "PAGE", 2)
    user = make_user()
    _create_purchases(user, 7)
    progress: list[int] = []
    text = io.StringIO()
    assert write_account_statement(Files(io.BytesIO(), text), user=user, month=MONTH, on_progress=progress.append) == 9
    assert progress == [2, 4, 6, 8, 9]
    ids = re.findall(r"^(\d+),\d{4}", text.getvalue(), re.M)
    assert [int(pk) for pk in ids] == list(
        Transaction.objects.filter(user=user, date__lt=MIDDLE + timedelta(days=1))
        .order_by("date", "id")
        .values_list("pk", flat=True)
    )


def test_a_long_table_continues_on_numbered_pages():
    file = io.BytesIO()
    pdf = ReportPdf(file, title="Test", subject="x", footer="footer")
    table = pdf.table((Column("A", 260), Column("B", 260, number=True)), ([f"row {n}", f"{n:,}"] for n in range(500)))
    assert (pdf.build(), table.count) == (12, 500)
    assert file.getvalue().startswith(b"%PDF-")
    text = subprocess.run(
        ["pdftotext", "-layout", "-", "-"], input=file.getvalue(), capture_output=True, check=True
    ).stdout.decode()
    assert re.findall(r"Page (\d+) of (\d+)", text) == [(str(n), "12") for n in range(1, 13)]
    assert text.count("row 499") == 1


# --- the other reports ------------------------------------------------------------------------------------------------
def test_a_finance_report_adds_up(monkeypatch):
    user = make_user()
    _create_purchases(user)
    monkeypatch.setattr(finance, "update_ledger_days", _count_now)
    made = _generate(request_report(kind="finance", period=MONTH, requested_by=make_staff()))
    rows = _read_csv(made["csv"])
    accounts = {row[0]: row for row in rows if len(row) == 8 and row[0].isdigit()}
    assert [accounts["40100"][n] for n in (3, 4, 5, 6, 7)] == ["0.00", "0.00", "0.75", "0.00", "0.75"]
    assert sum(Decimal(row[4]) for row in accounts.values()) == sum(Decimal(row[5]) for row in accounts.values()) > 0
    assert ["fee", "11100", "40100", "3", "0.75"] in rows
    assert ["asset", "11100", "Receivable from customers", "3.75"] in rows
    assert ["equity", "", "Retained earnings", "0.75"] in rows
    assert ["revenue", "40100", "Platform fees", "0.75"] in rows
    assert [str(MIDDLE.date()), "3", "0.75", "3.00"] in rows
    assert "Finance report" in _read_pdf(made["pdf"])


def _count_now(**kwargs: Any) -> None:
    """Count everything, treating the transaction of the test as ended."""
    from django.db import connection

    from analytics.services.ledger_days import update_ledger_days

    for _ in range(2):
        update_ledger_days(settle=timedelta(0))
        with connection.cursor() as cursor:
            cursor.execute("UPDATE ledger_marks SET drawn_before = 0")


def test_a_reconciliation_lists_the_differences():
    user = make_user()
    _create_purchases(user)
    staff = make_staff()
    made = _generate(request_report(kind="reconciliation", period=MONTH, requested_by=staff))
    assert made["pdf"].rows == 0
    assert "differs" not in _read_pdf(made["pdf"])
    user.holdings.update(cost_basis=Decimal("1.00"))
    made = _generate(request_report(kind="reconciliation", period=MONTH, requested_by=staff, again=True))
    assert made["csv"].rows == 1
    assert [row[:2] for row in _read_csv(made["csv"]) if row[:1] == ["holding"]] == [["holding", str(user.pk)]]
    assert "differs" in _read_pdf(made["pdf"])


# --- requests ---------------------------------------------------------------------------------------------------------
def test_two_requests_are_one_task():
    user = make_user()
    _create_purchases(user)
    first = request_report(kind="statement", period=MONTH, user=user, requested_by=user)
    assert request_report(kind="statement", period=MONTH, user=user, requested_by=user).pk == first.pk
    made = _generate(first)
    assert request_report(kind="statement", period=MONTH, user=user, requested_by=user).status == "completed"
    generate_report(task_id=str(first.pk))  # a message that is delivered twice
    assert Report.objects.count() == 2
    old = made["pdf"].file.name
    again = request_report(kind="statement", period=MONTH, user=user, requested_by=user, again=True)
    assert (again.pk, again.status) == (first.pk, "queued")
    new = _generate(again)["pdf"]
    assert (Report.objects.count(), new.pk) == (2, made["pdf"].pk)
    assert new.file.name != old
    assert default_storage.exists(new.file.name)


def test_a_request_retries_a_failed_report():
    user = make_user()
    _create_purchases(user)
    task = request_report(kind="statement", period=MONTH, user=user, requested_by=user)
    BackgroundTask.objects.filter(pk=task.pk).update(status="failed", error="x", attempts=5)
    task = request_report(kind="statement", period=MONTH, user=user, requested_by=user)
    assert (task.status, task.error, task.attempts) == ("queued", "", 0)


@pytest.mark.parametrize(
    ("kind", "months", "with_user", "message"),
    [
        ("statement", 1, True, "is not over yet"),
        ("statement", 0, False, "An account statement needs a customer"),
        ("finance", 0, True, "An account statement needs a customer"),
        ("gossip", 0, False, "Unknown report"),
        ("statement", -300, True, "There are no transactions"),
    ],
)
def test_an_invalid_request_is_refused(kind, months, with_user, message):
    user = make_user()
    make_transaction(user, date=MIDDLE)
    with pytest.raises(InvalidReportError, match=message):
        request_report(
            kind=kind, period=MONTH + relativedelta(months=months), user=user if with_user else None, requested_by=user
        )
    assert not BackgroundTask.objects.exists()


def test_the_email_about_a_report_has_no_amounts(settings):
    user = make_user("ann@example.com", name="Ann")
    _create_purchases(user)
    _generate(request_report(kind="statement", period=MONTH, user=user, requested_by=user))
    (message,) = mail.outbox
    assert message.to == ["ann@example.com"]
    assert f"Your statement for {MONTH:%B %Y} is ready" in message.subject
    assert settings.STATEMENTS_URL in message.body
    assert not re.search(r"\d+\.\d\d", message.body)
    assert Report.objects.filter(mailed_at=None).count() == 0
    assert Notification.objects.filter(user=user, type="statement").count() == 1


def test_reports_do_not_need_the_mail_server(settings):
    settings.EMAIL_BACKEND, settings.EMAIL_HOST, settings.EMAIL_PORT = (
        "django.core.mail.backends.smtp.EmailBackend",
        "127.0.0.1",
        1,
    )
    user = make_user()
    _create_purchases(user)
    _generate(request_report(kind="statement", period=MONTH, user=user, requested_by=user))
    assert Report.objects.filter(mailed_at=None).count() == 2


# --- once a month -----------------------------------------------------------------------------------------------------
@pytest.mark.as_owner
def test_statements_of_all_active_customers_are_generated_in_batches(monkeypatch):
    monkeypatch.setattr(requests, "BATCH_SIZE", 2)
    users = [make_user() for _ in range(5)]
    idle = make_user()
    make_company("SBUX")
    make_merchant("STARBUCKS", "SBUX")
    for user in users:
        make_transaction(user, date=MIDDLE)
        CustomerMonth.objects.create(month=MONTH, user=user, rows=1)
    CustomerMonth.objects.create(month=MONTH, user=idle, rows=0)
    process_pending()
    LedgerTransfer.objects.filter(user_id=users[1].pk, kind="fee").delete()  # the ledger of this one differs
    tasks = request_account_statements()
    assert {task.pk for task in request_account_statements()} == {task.pk for task in tasks}
    assert 3 <= len(tasks) <= 4
    for task in tasks:
        generate_account_statements(task_id=str(task.pk))
    for task in tasks:
        task.refresh_from_db()
        assert task.status == "completed"
    assert sorted(set(Report.objects.values_list("user_id", flat=True))) == sorted(u.pk for u in users if u != users[1])
    assert [pk for task in tasks for pk in task.result["books_differ"]] == [users[1].pk]
    assert len(mail.outbox) == 4
    # A batch that is retried generates only what is missing.
    made = dict(Report.objects.values_list("pk", "made_at"))
    BackgroundTask.objects.update(status="queued")
    for task in tasks:
        generate_account_statements(task_id=str(task.pk))
    assert dict(Report.objects.values_list("pk", "made_at")) == made


def test_statements_are_scheduled_for_the_second_of_the_month():
    row = PeriodicTask.objects.get(name="make_monthly_statements")
    assert (row.crontab.day_of_month, row.task) == ("2", "make_monthly_statements")
    assert request_account_statements(today=date(2026, 3, 2)) == []


# --- the API ----------------------------------------------------------------------------------------------------------
def test_a_customer_requests_lists_and_downloads_a_statement():
    user = make_user()
    _create_purchases(user)
    client = api_client(user)
    reply = client.post("/api/user/statements", {"period": f"{MONTH:%Y-%m}"}, format="json")
    assert reply.status_code == 202
    assert reply.json()["status"] == "queued"
    generate_report(task_id=reply.json()["task_id"])
    assert client.get(reply.json()["status_url"]).json()["status"] == "completed"
    rows = client.get("/api/family/statements").json()["data"]
    assert [(row["period"], row["format"], row["type"]) for row in rows] == [
        (f"{timezone.now():%Y-%m}", "CSV", "monthly"),
        (f"{MONTH:%Y-%m}", "PDF", "monthly"),
        (f"{MONTH:%Y-%m}", "CSV", "monthly"),
    ]
    pdf = rows[1]
    assert pdf["url"] == f"/api/family/statements/{pdf['id']}/download"
    assert re.fullmatch(r"\d+ KB", pdf["size"])
    file = client.get(f"/api/user/statements/{pdf['id']}/download", HTTP_ACCEPT="application/pdf")
    content = b"".join(file)
    assert (file.status_code, file["Content-Type"], file["Cache-Control"]) == (
        200,
        "application/pdf",
        "private, no-store",
    )
    assert content.startswith(b"%PDF-")
    assert len(content) == int(file["Content-Length"])


def test_only_the_owner_can_download_a_statement():
    user, other, staff = make_user(), make_user(), make_staff()
    _create_purchases(user)
    made = _generate(request_report(kind="statement", period=MONTH, user=user, requested_by=user))
    books = _generate(request_report(kind="reconciliation", period=MONTH, requested_by=staff))
    for report in (*made.values(), *books.values()):
        address = f"/api/user/statements/{report.pk}/download"
        assert api_client().get(address).status_code == 401
        for reader in (other, staff):
            assert api_client(reader).get(address).status_code == 404
    assert api_client(other).get("/api/user/statements").json()["data"] == []


@pytest.mark.parametrize(
    "period", ["", "2026", "2026-13", "2026-10-01", "next", None, f"{timezone.now():%Y-%m}", "1990-01"]
)
def test_an_invalid_month_is_refused(period):
    user = make_user()
    make_transaction(user, date=MIDDLE)
    assert api_client(user).post("/api/user/statements", {"period": period}, format="json").status_code == 400
    assert not BackgroundTask.objects.exists()


def test_a_missing_file_is_not_found():
    user = make_user()
    _create_purchases(user, 1)
    made = _generate(request_report(kind="statement", period=MONTH, user=user, requested_by=user))
    default_storage.delete(made["pdf"].file.name)
    assert api_client(user).get(f"/api/user/statements/{made['pdf'].pk}/download").status_code == 404


# --- the admin --------------------------------------------------------------------------------------------------------
def _staff(role: str) -> Client:
    user = make_user(f"{role}@kamioi.test", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


def test_staff_request_and_download_a_report():
    user = make_user("ann@example.com")
    _create_purchases(user)
    client = _staff("finance")
    new = reverse("admin:analytics_report_new")
    assert client.get(new).status_code == 200
    form: dict[str, Any] = {"kind": "statement", "period": f"{MONTH:%Y-%m}", "email": "unknown@example.com"}
    assert "No customer has this e-mail." in client.post(new, form).content.decode()
    assert "Write the month as" in client.post(new, form | {"period": "x"}).content.decode()
    over = client.post(new, form | {"email": "ann@example.com", "period": f"{timezone.now():%Y-%m}"})
    assert "is not over yet" in over.content.decode()
    reply = client.post(new, form | {"email": "ANN@example.com"})
    assert reply.status_code == 302
    task = BackgroundTask.objects.get()
    assert "Queued" in client.get(reply["Location"]).content.decode()
    made = _generate(task)
    assert made["pdf"].filename in client.get(reply["Location"]).content.decode()
    assert [message.to for message in mail.outbox] == [["finance@kamioi.test"]]
    page = client.get(reverse("admin:analytics_report_changelist") + "?q=ann@example.com").content.decode()
    address = reverse("admin:analytics_report_download", args=[made["csv"].pk])
    assert address in page
    file = client.get(address)
    assert file["Content-Disposition"] == f'attachment; filename="kamioi-statement-{MONTH:%Y-%m}.csv"'
    assert b"".join(file).startswith(b"\xef\xbb\xbfKamioi account statement")


def test_reports_are_for_finance_and_admins():
    addresses = [reverse(f"admin:analytics_report_{name}") for name in ("changelist", "new")]
    for role in ("finance", "admin", "reviewer", "operator", "customer"):
        client, code = _staff(role), 200 if role in {"finance", "admin"} else 403
        assert [client.get(address).status_code for address in addresses] == [code, code], role


# --- end to end -------------------------------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_a_worker_generates_the_requested_statement():
    user = make_user(name="Maya Chen", account_number="I7")
    _create_purchases(user, 40)
    client = api_client(user)
    with celery_worker(concurrency=1, queues="bulk"):
        reply = client.post("/api/user/statements", {"period": f"{MONTH:%Y-%m}"}, format="json").json()
        wait_until("the statement", lambda: client.get(reply["status_url"]).json()["status"] in {"completed", "failed"})
    task = client.get(reply["status_url"]).json()
    assert (task["status"], task["error"], task["progress"]) == ("completed", "", 42)
    report = Report.objects.get(format="pdf")
    content = b"".join(client.get(f"/api/user/statements/{report.pk}/download"))
    assert content.startswith(b"%PDF-")
    assert report.size == len(content)
    assert Path(settings.MEDIA_ROOT, report.file.name).stat().st_size == report.size
