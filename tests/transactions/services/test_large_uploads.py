"""Large uploads are confirmed before anything is stored."""

import io
import re

import pytest
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from tests.factories import api_client, make_staff, make_user
from tests.transactions.services.statements import import_statement
from transactions.errors import StatementQuestionsError
from transactions.management.commands import ingest_statement
from transactions.models import ImportProfile, Setting, StatementImport, Transaction, User
from transactions.services import ingest
from transactions.services.ingest import run_statement_import, upload_statement
from transactions.services.statement_repeats import repeat_statement

pytestmark = pytest.mark.django_db

ROWS = "".join(f"10/{day:02d}/2026,SHOP {day},-10.50\n" for day in range(1, 5))
# Four purchases of $42.00, which set aside $5.00; a deposit and a bad row are no purchases.
FILE = f"Date,Description,Amount\n{ROWS}10/06/2026,PAYROLL ALPHA LLC,1200.00\n10/07/2026,BAD,lots\n"
TOTALS = "4 purchases of $42.00 in total; $5.00 would be set aside as round-ups and fees."


@pytest.fixture
def user() -> User:
    return make_user("ann@example.com")


def confirm_above(*, purchases: str = "", amount: str = "") -> None:
    for key, value in {"purchases": purchases, "amount": amount}.items():
        Setting.objects.filter(key=f"upload_confirm_{key}").update(value=value)


def upload(client, address: str = "/api/user/upload-bank-file", **fields: str):
    return client.post(address, {"file": SimpleUploadedFile("bank.csv", FILE.encode()), **fields})


@pytest.mark.parametrize("limits", [{"purchases": "3"}, {"amount": "4.99"}])
@pytest.mark.parametrize("address", ["/api/user/upload-bank-file", "/api/transactions/bulk"])
def test_the_api_asks_and_imports_with_confirm(user, limits, address) -> None:
    confirm_above(**limits)
    client = api_client(user)
    response = upload(client, address)
    assert response.status_code == 409
    assert response.json()["questions"] == [
        {
            "key": "confirm",
            "text": f"{TOTALS} Import them?",
            "choices": [{"value": "true", "label": "Import them", "samples": []}],
        }
    ]
    assert not StatementImport.objects.exists()
    assert upload(client, address, confirm="false").status_code == 409
    response = upload(client, address, confirm="true")
    assert response.status_code in {200, 202}
    run_statement_import(task_id=response.json()["task_id"])
    assert Transaction.objects.filter(status="pending").count() == 4


@pytest.mark.parametrize("limits", [{"purchases": "4"}, {"amount": "5.00"}, {}])
def test_an_upload_within_the_limits_is_imported_at_once(user, limits) -> None:
    confirm_above(**limits)
    assert upload(api_client(user)).status_code == 200


def test_the_settings_start_with_limits(user) -> None:
    Setting.objects.filter(key__startswith="upload_confirm").delete()
    rows = "".join(f"10/{1 + row % 28:02d}/2026,SHOP {row},-10.50\n" for row in range(401))
    with pytest.raises(StatementQuestionsError, match=r"401 purchases of \$4,210\.50 in total; \$501\.25 would"):
        import_statement(user, f"Date,Description,Amount\n{rows}")


def test_a_json_list_is_confirmed_in_the_query_string(user) -> None:
    confirm_above(purchases="1")
    items = [{"amount": "4.50", "merchant": f"SHOP {number}", "date": "2026-10-03"} for number in range(2)]
    client = api_client(user)
    assert client.post("/api/transactions/bulk", items, format="json").status_code == 409
    assert client.post("/api/transactions/bulk?confirm=true", items, format="json").status_code == 202


def test_a_dry_run_has_the_totals(user) -> None:
    confirm_above(purchases="1")
    data = upload(api_client(user), dry_run="true").json()["data"]
    assert (data["rows"], data["purchases"], data["spent"], data["set_aside"]) == (6, 4, 42, 5)


def test_the_command_refuses_shows_the_totals_and_imports_with_yes(user, tmp_path) -> None:
    confirm_above(purchases="3")
    path = tmp_path / "bank.csv"
    path.write_text(FILE)
    with pytest.raises(CommandError) as raised:
        call_command("ingest_statement", path, user=user.email)
    assert raised.value.returncode == 2
    assert TOTALS in str(raised.value)
    assert "--yes" in str(raised.value)
    out = io.StringIO()
    call_command("ingest_statement", path, user=user.email, dry_run=True, stdout=out)
    assert TOTALS in out.getvalue()
    assert not StatementImport.objects.exists()
    call_command("ingest_statement", path, user=user.email, yes=True, stdout=out)
    assert "5 added" in out.getvalue()


@pytest.mark.parametrize(("answer", "stored"), [("y", 5), ("", 0), ("n", 0)])
def test_a_person_at_the_terminal_is_asked(user, tmp_path, monkeypatch, answer, stored) -> None:
    confirm_above(purchases="3")
    path = tmp_path / "bank.csv"
    path.write_text(FILE)
    monkeypatch.setattr(ingest_statement.sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda _: answer)
    try:
        call_command("ingest_statement", path, user=user.email, stdout=io.StringIO())
    except CommandError:
        assert not stored
    assert Transaction.objects.count() == stored


def test_a_large_file_is_asked_about_by_the_worker(user, monkeypatch) -> None:
    confirm_above(purchases="3")
    monkeypatch.setattr(ingest, "_ASK_BYTES", 10)
    monkeypatch.setattr(ingest, "send_task", lambda **_: None)
    statement = upload_statement(user=user, filename="bank.csv", content=ContentFile(FILE.encode()), requested_by=user)
    done = run_statement_import(task_id=statement.task_id)
    assert done
    assert done.task.status == "failed"
    assert done.task.result["questions"][0]["key"] == "confirm"
    assert not Transaction.objects.exists()


def test_a_repeated_import_is_undone_only_when_it_is_confirmed(user) -> None:
    content = ContentFile(FILE.encode())
    first = upload_statement(user=user, filename="bank.csv", content=content, requested_by=user, send=False)
    run_statement_import(task_id=first.task_id)
    confirm_above(purchases="3")
    with pytest.raises(StatementQuestionsError):
        repeat_statement(statement_id=first.pk, answers={}, actor=user)
    assert Transaction.objects.count() == 5
    repeat_statement(statement_id=first.pk, answers={"confirm": "true"}, actor=user)
    assert not ImportProfile.objects.exists(), "a confirmation is about one file"


def test_the_preview_of_staff_shows_the_totals_and_confirms(user) -> None:
    confirm_above(purchases="3")
    client = Client()
    client.force_login(make_staff())
    address = reverse("admin:transactions_statementimport_upload")
    shown = client.post(address, {"email": user.email, "file": SimpleUploadedFile("bank.csv", FILE.encode())})
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", shown.content.decode()))
    assert "Purchases 4 of $42.00" in text
    assert "To be set aside $5.00 (round-ups and fees)" in text
    client.post(address, {"token": shown.context["token"]})
    assert StatementImport.objects.get().answers == {"confirm": "true"}
