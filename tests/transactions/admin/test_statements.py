"""The admin of imports: confirmation of an undo, cancelling, importing again."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.files.base import ContentFile
from django.test import Client
from django.urls import reverse

from tests.factories import make_company, make_merchant, make_staff, make_user
from transactions.models import StatementImport, Transaction, User
from transactions.services.ingest import run_statement_import, upload_statement
from transactions.services.processing import process_pending
from transactions.services.statement_undo import run_statement_undo

pytestmark = pytest.mark.django_db
TEXT = b"Date,Description,Amount\n03/04/2026,STARBUCKS #1,-4.50\n05/06/2026,UNKNOWN SHOP LLC,-5.50\n"


def url(page: str, statement: StatementImport) -> str:
    return reverse(f"admin:transactions_statementimport_{page}", args=[statement.pk])


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def statement() -> StatementImport:
    make_company("SBUX", "95.00")
    make_merchant("STARBUCKS", "SBUX")
    return upload()


def upload(*, run: bool = True) -> StatementImport:
    user = make_user()
    statement = upload_statement(
        user=user, filename="bank.csv", content=ContentFile(TEXT), requested_by=user, send=False
    )
    if run:
        run_statement_import(task_id=statement.task_id)
        process_pending()
    return statement


def text_of(page: Any) -> str:
    return " ".join(page.content.decode().split())


def test_an_import_is_undone_after_a_page_that_shows_what_it_does(statement: StatementImport) -> None:
    staff = make_staff("olga@kamioi.test")
    client = client_of(staff)
    assert url("undo", statement) in text_of(client.get(url("change", statement)))
    page = text_of(client.get(url("undo", statement)))
    assert "Undo the import of bank.csv" in page
    for label, figure in {
        "Transactions deleted": "1",
        "Purchases deleted": "$5.50",
        "Transactions reversed": "1",
        "Invested, given back": "$1.00",
        "Fees, given back": "$0.25",
    }.items():
        assert f"<dt>{label}</dt><dd>{figure}</dd>" in page
    assert Transaction.objects.count() == 2  # a GET changes nothing

    assert client.post(url("undo", statement)).status_code == 302
    statement.refresh_from_db()
    assert "Being undone</strong>, requested by olga@kamioi.test" in text_of(client.get(url("change", statement)))
    run_statement_undo(task_id=statement.undo_task_id)

    page = text_of(client.get(url("change", statement)))
    assert "Undone</strong> on" in page
    assert "by olga@kamioi.test: 1 transaction deleted, 1 purchase of shares reversed" in page
    assert url("undo", statement) not in page
    assert "undone" in text_of(client.get(reverse("admin:transactions_statementimport_changelist")))


def test_an_import_that_waits_is_cancelled() -> None:
    statement, client = upload(run=False), client_of(make_staff())
    assert "Cancel the import …" in text_of(client.get(url("change", statement)))
    assert "Cancel the import of bank.csv" in text_of(client.get(url("undo", statement)))
    client.post(url("undo", statement))
    assert StatementImport.objects.get().task.status == "cancelled"


def test_a_file_is_imported_again_with_other_answers(statement: StatementImport) -> None:
    client = client_of(make_staff())
    assert "Undo and import again" in text_of(client.get(url("repeat", statement)))
    reply = client.post(url("repeat", statement), {"date_order": "dmy"})
    repeat = StatementImport.objects.get(repeats=statement)
    assert reply["Location"] == url("change", repeat)
    run_statement_import(task_id=repeat.task_id)
    assert sorted(row.date.month for row in Transaction.objects.exclude(status="undone")) == [4, 6]
    StatementImport.objects.update(file="")
    page = client.post(url("repeat", repeat), {"date_order": "mdy"})
    assert "The file of bank.csv has been deleted. Upload it again." in text_of(page)


@pytest.mark.parametrize(("role", "code"), [("operator", 200), ("reviewer", 403), ("finance", 403)])
def test_operators_may_undo(statement: StatementImport, role: str, code: int) -> None:
    user = make_user(is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client = client_of(user)
    assert [client.get(url(page, statement)).status_code for page in ("undo", "repeat")] == [code, code]
    assert client.post(url("undo", statement)).status_code == (302 if code == 200 else 403)
    statement.refresh_from_db()
    assert (statement.undo_task_id is None) is (code == 403)


def test_staff_who_may_only_view_imports_see_no_buttons(statement: StatementImport) -> None:
    viewer = make_user(is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_statementimport"))
    client = client_of(viewer)
    page = client.get(url("change", statement))
    assert page.status_code == 200
    assert url("undo", statement) not in text_of(page)
    assert client.post(url("undo", statement)).status_code == 403
    assert client.post(url("repeat", statement)).status_code == 403
