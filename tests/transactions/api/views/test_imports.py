"""A customer's own imports in the API: list, undo, cancel, repeat."""

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from tests.factories import api_client, make_company, make_merchant, make_staff, make_user
from transactions.models import StatementImport, Transaction, User
from transactions.services.ingest import run_statement_import, upload_statement
from transactions.services.processing import process_pending
from transactions.services.statement_undo import run_statement_undo

pytestmark = pytest.mark.django_db
TEXT = b"Date,Description,Amount\n03/04/2026,STARBUCKS #1,-4.50\n05/06/2026,UNKNOWN SHOP LLC,-5.50\n"


@pytest.fixture
def user() -> User:
    make_company("SBUX", "95.00")
    make_merchant("STARBUCKS", "SBUX")
    return make_user()


def upload(user: User) -> int:
    answer = api_client(user).post("/api/user/upload-bank-file", {"file": SimpleUploadedFile("bank.csv", TEXT)})
    assert answer.status_code == 200
    process_pending()
    return int(answer.json()["import_id"])


def waiting(user: User) -> StatementImport:
    content: Any = SimpleUploadedFile("bank.csv", TEXT)
    return upload_statement(user=user, filename="bank.csv", content=content, requested_by=user, send=False)


def finish_undo(import_id: int) -> None:
    run_statement_undo(task_id=StatementImport.objects.get(pk=import_id).undo_task_id)


def test_an_import_shows_what_its_undo_would_do_and_then_what_it_did(user: User) -> None:
    client, number = api_client(user), upload(user)
    row = client.get(f"/api/user/imports/{number}").json()["data"]
    assert (row["status"], row["added"], row["undone_at"]) == ("completed", 2, None)
    assert row["undo"] == {"deleted": 1, "reversed": 1, "spent": 5.5, "invested": 1.0, "fees": 0.25}

    answer = client.post(f"/api/user/imports/{number}/undo")
    assert (answer.status_code, answer.json()["import_id"]) == (202, number)
    assert client.get(f"/api/user/imports/{number}").json()["data"]["status"] == "undoing"
    finish_undo(number)

    row = client.get("/api/user/imports").json()["data"][0]
    assert (row["id"], row["status"], row["deleted"], row["reversed"]) == (number, "undone", 1, 1)
    task = client.get(answer.json()["status_url"]).json()
    assert (task["status"], task["result"]) == ("completed", {"deleted": 1, "reversed": 1})
    assert [row["status"] for row in client.get("/api/user/transactions?limit=9").json()["data"]] == ["undone"]


def test_an_undo_with_the_same_idempotency_key_gets_the_same_answer(user: User) -> None:
    client, number = api_client(user), upload(user)
    first = client.post(f"/api/user/imports/{number}/undo", HTTP_IDEMPOTENCY_KEY="k")
    finish_undo(number)
    again = client.post(f"/api/user/imports/{number}/undo", HTTP_IDEMPOTENCY_KEY="k")
    assert (again.json(), again.headers["Idempotency-Replayed"]) == (first.json(), "true")


@pytest.mark.parametrize("action", ["", "/undo", "/cancel", "/repeat"])
def test_the_import_of_another_customer_does_not_exist(user: User, action: str) -> None:
    path = f"/api/user/imports/{upload(user)}{action}"
    for other in (make_user(), make_staff()):
        client = api_client(other)
        answer = client.post(path) if action else client.get(path)
        assert answer.status_code == 404
    assert Transaction.objects.count() == 2


def test_an_import_is_cancelled_before_it_has_ended_and_not_after(user: User) -> None:
    client, statement = api_client(user), waiting(user)
    answer = client.post(f"/api/user/imports/{statement.pk}/undo")
    assert (answer.status_code, answer.json()["error"]) == (409, "bank.csv is still being read. Cancel it instead.")
    assert client.post(f"/api/user/imports/{statement.pk}/cancel").status_code == 202
    finish_undo(statement.pk)
    assert client.get(f"/api/tasks/{statement.task_id}").json()["status"] == "cancelled"
    assert client.get(f"/api/user/imports/{statement.pk}").json()["data"]["status"] == "cancelled"
    answer = client.post(f"/api/user/imports/{upload(user)}/cancel")
    assert (answer.status_code, answer.json()["error"]) == (
        409,
        "The import of bank.csv has already ended. Undo it instead.",
    )


def test_an_import_is_repeated_with_other_answers(user: User) -> None:
    client, number = api_client(user), upload(user)
    answer = client.post(f"/api/user/imports/{number}/repeat", {"date_order": "dmy"}, format="json")
    assert answer.status_code == 202
    run_statement_import(task_id=answer.json()["task_id"])
    row = client.get(f"/api/user/imports/{answer.json()['import_id']}").json()["data"]
    assert (row["status"], row["repeats"], row["added"]) == ("completed", number, 2)
    assert sorted(row.date.month for row in Transaction.objects.exclude(status="undone")) == [4, 6]
    answer = client.post(f"/api/user/imports/{number}/repeat", {"date_order": "ydm"}, format="json")
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["date_order"])


def test_an_import_without_its_file_cannot_be_repeated(user: User) -> None:
    client, number = api_client(user), upload(user)
    StatementImport.objects.update(file="")
    answer = client.post(f"/api/user/imports/{number}/repeat")
    assert (answer.status_code, answer.json()["error"]) == (
        409,
        "The file of bank.csv has been deleted. Upload it again.",
    )
