"""Questions about a statement, from the command and the API to the import; rows that are not purchases."""

import io

import pytest
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command
from rest_framework.test import APIClient

from tests.factories import make_staff, make_user
from transactions.models import ApiToken, Transaction
from transactions.services.ingest import run_statement_import, upload_statement
from transactions.services.processing import reclassify_transactions

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)

AMBIGUOUS = "Date,Description,Amount\n03.09.2026,QUILL,45.10\n05.10.2026,LANTERN,-9.25\n"


@pytest.fixture
def user():
    return make_user("ann@example.com")


def _stored() -> list[tuple[str, str]]:
    rows = Transaction.objects.order_by("date")
    return [(f"{row.date:%Y-%m-%d}", str(row.amount)) for row in rows]


def test_the_command_asks_and_takes_the_answers_as_options(user, tmp_path):
    path = tmp_path / "may.csv"
    path.write_text(AMBIGUOUS)
    with pytest.raises(CommandError) as raised:
        call_command("ingest_statement", path, user=user.email, stdout=io.StringIO())
    assert raised.value.returncode == 2
    assert "--date-order mdy" in str(raised.value)
    assert "“QUILL 45.10”" in str(raised.value) or "QUILL 45.10 is spent" in str(raised.value)
    assert not Transaction.objects.exists()
    answers = {"date_order": "dmy", "spending": "negative"}
    call_command("ingest_statement", path, user=user.email, stdout=io.StringIO(), **answers)
    assert _stored() == [("2026-09-03", "-45.10"), ("2026-10-05", "9.25")]


def test_the_api_answers_409_with_the_questions(user):
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {ApiToken.issue(user=user)[1]}")
    response = client.post("/api/transactions/bulk", AMBIGUOUS, content_type="text/csv")
    assert response.status_code == 409
    questions = {question["key"]: question["choices"] for question in response.json()["questions"]}
    assert [choice["value"] for choice in questions["date_order"]] == ["mdy", "dmy"]
    assert questions["spending"][0]["samples"] == ["QUILL 45.10 is received", "LANTERN -9.25 is spent"]
    address = "/api/transactions/bulk?date_order=mdy&spending=positive"
    response = client.post(address, AMBIGUOUS, content_type="text/csv")
    assert response.status_code == 202
    run_statement_import(task_id=response.json()["task_id"])
    assert _stored() == [("2026-03-09", "45.10"), ("2026-05-10", "-9.25")]
    assert client.post("/api/transactions/bulk?spending=both", AMBIGUOUS, content_type="text/csv").status_code == 400


MIXED = """Date,Description,Amount
10/02/2026,PAYROLL ALPHA LLC,1200.00
10/03/2026,QUILL MARKET,-45.10
10/04/2026,CHASE CREDIT CRD AUTOPAY,-300.00
10/05/2026,ONLINE TRANSFER TO SAV ...1234,-50.00
10/06/2026,MONTHLY SERVICE FEE,-12.00
10/07/2026,ATM WITHDRAWAL 0042,-80.00
10/08/2026,REFUND QUILL MARKET,5.00
"""


def test_rows_that_are_no_purchases_are_stored_and_excluded_and_a_person_may_overrule_it(user):
    statement = upload_statement(
        user=user, filename="may.csv", content=ContentFile(MIXED.encode()), requested_by=user, send=False
    )
    run_statement_import(task_id=statement.task_id)
    found = {row.merchant: (row.status, row.row_class) for row in Transaction.objects.all()}
    assert found == {
        "PAYROLL ALPHA LLC": ("excluded", "deposit"),
        "QUILL MARKET": ("pending", ""),
        "CHASE CREDIT CRD AUTOPAY": ("excluded", "card_payment"),
        "ONLINE TRANSFER TO SAV ...1234": ("excluded", "transfer"),
        "MONTHLY SERVICE FEE": ("excluded", "fee"),
        "ATM WITHDRAWAL 0042": ("excluded", "cash"),
        "REFUND QUILL MARKET": ("pending", ""),
    }
    staff = make_staff()
    fee = Transaction.objects.get(row_class="fee")
    bought = Transaction.objects.get(merchant="QUILL MARKET")
    assert reclassify_transactions(transaction_ids=[fee.pk], row_class="", actor=staff) == 1
    assert reclassify_transactions(transaction_ids=[fee.pk], row_class="", actor=staff) == 0
    assert reclassify_transactions(transaction_ids=[bought.pk], row_class="transfer", actor=staff) == 1
    fee.refresh_from_db()
    bought.refresh_from_db()
    assert (fee.status, bought.status, bought.row_class) == ("pending", "excluded", "transfer")
