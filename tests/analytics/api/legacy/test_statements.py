"""The old pages of reports and statements show the customer's account statements and their figures."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from analytics.models import Report
from tests.factories import api_client, make_transaction, make_user
from transactions.models import BackgroundTask, User

pytestmark = pytest.mark.django_db
LAST_MONTH = datetime.now(UTC).replace(day=1) - timedelta(days=5)


@pytest.fixture
def customer() -> User:
    customer = make_user(account_type="family")
    make_transaction(
        customer,
        date=LAST_MONTH,
        status="completed",
        round_up="2.00",
        fee="0.25",
        investable="2.00",
        total_debit="6.75",
        ticker="SBUX",
        shares="0.02",
        price_per_share="95",
    )
    make_transaction(customer, date=LAST_MONTH, amount="10.00", status="not_listed")
    return customer


def make_report(user: User, kind: str) -> Report:
    name = default_storage.save(f"reports/test.{kind}", ContentFile(b"%PDF-1.4 test"))
    task = BackgroundTask.objects.create(name="make_report", user=user)
    fields = {"period": LAST_MONTH.date().replace(day=1), "file": name, "size": 13, "sha256": "0" * 64, "rows": 2}
    return Report.objects.create(kind="statement", user=user, format=kind, task=task, **fields)


def test_statements_have_the_figures_of_their_month(customer: User):
    [row] = api_client(customer).get("/api/family/statements").json()["statements"]
    assert (row["period"], row["type"], row["status"]) == (f"{LAST_MONTH:%B %Y}", "monthly", "available")
    assert (row["amount"], row["transactions"], row["roundUps"], row["investments"]) == (14.5, 2, 2.0, 2.0)


def test_reports_are_the_pdf_statements_of_the_caller(customer: User):
    pdf, _ = make_report(customer, "pdf"), make_report(customer, "csv")
    client, path = api_client(customer), "/api/business/reports"
    [row] = client.get(path).json()["reports"]
    assert (row["id"], row["status"], row["name"]) == (pdf.pk, "completed", f"Account statement {LAST_MONTH:%B %Y}")
    file = client.get(f"{path}/{pdf.pk}/download")
    assert (file["Content-Type"], file.getvalue()) == ("application/pdf", b"%PDF-1.4 test")
    other = api_client(make_user())
    assert other.get(path).json()["reports"] == []
    assert other.get(f"{path}/{pdf.pk}/download").status_code == 404


@pytest.mark.parametrize(
    ("body", "code", "sentence"),
    [
        ({"type": "financial"}, 202, ""),
        ({"type": "monthly", "period": f"{LAST_MONTH:%Y-%m}"}, 202, ""),
        ({"type": "monthly", "period": f"{datetime.now(UTC):%Y-%m}"}, 400, "not over yet"),
        ({"type": "quarterly", "period": "2026-Q1"}, 501, "account statements"),
        ([], 501, "account statements"),
    ],
)
def test_a_report_is_requested_or_refused_with_a_sentence(customer: User, body: object, code: int, sentence: str):
    reply = api_client(customer).post("/api/business/reports/generate", body, format="json")
    assert (reply.status_code, reply.json()["success"]) == (code, code == 202)
    assert sentence in reply.json()["message"]
    listed = api_client(customer).get("/api/business/reports").json()["reports"]
    assert [row["status"] for row in listed] == ["generating"] * (code == 202)
    if code != 202:
        assert reply.json()["error"] == reply.json()["message"]


def test_a_family_requests_the_statement_of_a_month_that_is_over(customer: User):
    for month, code in ((LAST_MONTH, 202), (datetime.now(UTC), 400)):
        body = {"type": "monthly", "period": f"{month:%B %Y}", "start_date": f"{month:%Y-%m}-01"}
        reply = api_client(customer).post("/api/family/statements/generate", body, format="json")
        assert (reply.status_code, reply.json()["success"]) == (code, code == 202)
