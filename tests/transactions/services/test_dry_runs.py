"""The preview of a statement in the command, the API and the admin: accounts, totals, days, what is not invested."""

import io
import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from tests.factories import api_client, make_staff, make_user
from tests.transactions.services.statements import import_statement, ofx_file, ofx_list
from tests.transactions.statements.helpers import FILES
from transactions.models import BankAccount, StatementImport, Transaction, User
from transactions.services import statement_previews

pytestmark = pytest.mark.django_db

FILE = """Date,Description,Amount,Status
10/02/2026,PAYROLL ALPHA LLC,1200.00,Posted
10/03/2026,QUILL MARKET,-45.10,Posted
10/04/2026,CHASE CREDIT CRD AUTOPAY,-300.00,Posted
10/05/2026,LANTERN,-9.25,Pending
10/06/2026,RIDE,lots,Posted
"""


@pytest.fixture
def user() -> User:
    return make_user("ann@example.com")


def _text(response) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def test_the_api_returns_what_an_import_would_do(user):
    file = SimpleUploadedFile("checking_x1234.csv", FILE.encode())
    for address in ("/api/transactions/bulk", "/api/user/upload-bank-file"):
        file.seek(0)
        response = api_client(user).post(address, {"file": file, "dry_run": "true"})
        assert response.status_code == 200
        data = response.json()["data"]
        assert (data["accounts"], data["rows"], data["complete"], data["questions"]) == (
            ["Checking …1234"],
            5,
            True,
            [],
        )
        assert (data["money_out"], data["money_in"]) == (345.1, 1200)
        assert (data["first_day"], data["last_day"]) == ("2026-10-02", "2026-10-04")
        assert data["not_booked"] == {
            "deposit": 1,
            "card payment": 1,
            "status: …: the transaction is not posted yet": 1,
            "amount: … is not an amount": 1,
        }
    assert not StatementImport.objects.exists()
    assert not BankAccount.objects.exists(), "a preview adds no account"


def test_a_dry_run_returns_questions_and_no_totals(user):
    text = "Date,Description,Amount\n03.09.2026,QUILL,45.10\n05.10.2026,LANTERN,-9.25\n"
    response = api_client(user).post("/api/transactions/bulk?dry_run=true", text, content_type="text/csv")
    data = response.json()["data"]
    assert [question["key"] for question in data["questions"]] == ["date_order", "spending"]
    assert (data["rows"], data["first_day"]) == (0, None)


def test_a_dry_run_of_a_workbook_is_refused(user):
    file = SimpleUploadedFile("business.xlsx", (FILES / "business.xlsx").read_bytes())
    response = api_client(user).post("/api/transactions/bulk", {"file": file, "dry_run": "true"})
    assert response.status_code == 400


def test_the_command_adds_up_the_whole_file(user, tmp_path, monkeypatch):
    monkeypatch.setattr(statement_previews, "SUMMARY_ROWS", 2)
    path = tmp_path / "checking_x1234.csv"
    path.write_text(FILE)
    out = io.StringIO()
    call_command("ingest_statement", path, user=user.email, dry_run=True, stdout=out)
    text = out.getvalue()
    assert "account: Checking …1234; days: 2026-10-02 to 2026-10-04; rows: 5" in text
    assert "money out 345.10, money in 1,200.00" in text
    assert "not invested: 1 card payment" in text


def test_staff_see_account_totals_and_days_and_may_choose_the_account(user):
    import_statement(user, "Date,Description,Amount\n10/01/2026,QUILL,-1.00\n", account="Joint")
    client = Client()
    client.force_login(make_staff())
    upload = reverse("admin:transactions_statementimport_upload")
    shown = client.post(upload, {"email": user.email, "file": SimpleUploadedFile("card_x9876.csv", FILE.encode())})
    text = _text(shown)
    for part in ("Account Card …9876", "Money out $345.10", "Money in $1,200.00", "Oct 2, 2026 – Oct 4, 2026"):
        assert part in text
    assert "card payment 1" in text
    assert "Detect from the file (Card …9876) Joint" in text
    joint = BankAccount.objects.get()
    client.post(upload, {"token": shown.context["token"], "account": f"#{joint.pk}"})
    assert StatementImport.objects.latest("pk").bank_account == joint


def test_a_preview_lists_every_account_of_a_file(user):
    file = ofx_file(
        ofx_list(("20261003", "-45.10", "F1", "QUILL"), account="0001111"),
        ofx_list(("20261004", "-9.25", "F2", "LANTERN"), account="0003333", currency="EUR"),
    )
    response = api_client(user).post("/api/transactions/bulk?dry_run=true", file, content_type="application/x-ofx")
    data = response.json()["data"]
    assert data["accounts"] == ["Checking …1111", "Checking …3333 (EUR)"]
    assert data["not_booked"] == {"currency: the statement is in EUR, not US dollars": 1}


def test_a_large_preview_adds_up_the_first_rows(user, monkeypatch):
    rows = "".join(f"10/03/2026,SHOP {number},-1.00\n" for number in range(30))
    found = statement_previews.preview_statement(
        io.BytesIO(("Date,Description,Amount\n" + rows).encode()), filename="a.csv", user=user, summary_rows=25
    )
    assert (found.summary.rows, found.summary.is_complete, str(found.summary.money_out)) == (25, False, "25.00")
    assert not Transaction.objects.exists()


# --- Possible duplicates in the admin and the API ---------------------------------------------------------------------
@pytest.fixture
def held(user) -> Transaction:
    text = "Date,Description,Amount\n10/03/2026,QUILL MARKET,-45.10\n10/09/2026,OTHER,-1.00\n"
    import_statement(user, text, "checking_x1234.csv")
    import_statement(user, text.replace("Description", "Payee"), "export.csv")
    return Transaction.objects.filter(status="on_hold").earliest("date")


def test_staff_see_both_purchases_side_by_side_and_decide(user, held):
    client = Client()
    client.force_login(make_staff())
    address = reverse("admin:transactions_possibleduplicate_changelist")
    text = _text(client.get(address))
    assert "2 purchases of 1 customer wait for a decision." in text
    purchase = "Oct 3, 2026 · QUILL MARKET · $45.10"
    assert f"{purchase} from export.csv {purchase} from Checking …1234, checking_x1234.csv pending" in text
    other = Transaction.objects.exclude(pk=held.pk).get(status="on_hold")
    client.post(address, {"action": "keep_both", "_selected_action": [held.pk]})
    client.post(address, {"action": "same_purchase", "_selected_action": [other.pk]})
    held.refresh_from_db()
    other.refresh_from_db()
    assert (held.status, other.status, other.row_class) == ("pending", "excluded", "duplicate")
    assert "0 purchases of 0 customers" in _text(client.get(address))


def test_the_customer_sees_both_purchases_and_decides(user, held):
    client = api_client(user)
    first = client.get("/api/user/possible-duplicates").json()["data"][-1]
    assert (first["id"], first["source"], first["other_source"]) == (
        held.pk,
        "export.csv",
        "Checking …1234, checking_x1234.csv",
    )
    assert first["transaction"]["merchant"] == first["other"]["merchant"] == "QUILL MARKET"
    address = f"/api/user/possible-duplicates/{held.pk}"
    assert client.post(address, {"decision": "perhaps"}, format="json").status_code == 400
    assert api_client(make_user()).post(address, {"decision": "same"}, format="json").status_code == 404
    assert client.post(address, {"decision": "same"}, format="json").status_code == 200
    assert client.post(address, {"decision": "keep"}, format="json").status_code == 404, "the decision is final"
    assert len(client.get("/api/user/possible-duplicates").json()["data"]) == 1
