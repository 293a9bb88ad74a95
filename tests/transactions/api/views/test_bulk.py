"""Many purchases at once: a background task reads lists and statements and reports invalid rows."""

import csv
import io
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings
from rest_framework.test import APIClient

from kamioi_site.imports.rows import RowError
from tests.factories import api_client, make_user
from transactions.api.parsers import csv_of_items
from transactions.models import BackgroundTask, StatementImport, StatementReject, Transaction, User
from transactions.statements.reader import parse_statement
from transactions.statements.values import StatementRow
from transactions.tasks import ingest_statement

pytestmark = pytest.mark.django_db

CSV = b"Date,Description,Amount\n2026-11-03,STARBUCKS,-4.50\n2026-11-04,TARGET,-20.00\n"


def _queued(reply: Any, user: User) -> StatementImport:
    assert reply.status_code == 202, reply.content
    task = BackgroundTask.objects.get(user=user)
    assert reply.json() == {
        "success": True,
        "task_id": str(task.pk),
        "status": "queued",
        "status_url": f"/api/tasks/{task.pk}",
        "import_id": task.statement.pk,
    }
    return task.statement


def _kept(statement: StatementImport) -> bytes:
    with statement.file.open("rb") as file:
        return bytes(file.read())


def _read(items: list[Any]) -> list[StatementRow | RowError]:
    return list(parse_statement(io.BytesIO(csv_of_items(items)), filename="transactions.json.csv"))


def test_a_form_field_file_is_stored_and_queued() -> None:
    user = make_user()
    file = SimpleUploadedFile("november.csv", CSV, "text/csv")
    statement = _queued(api_client(user).post("/api/transactions/bulk", {"file": file}), user)
    assert _kept(statement) == CSV
    assert statement.filename == "november.csv"


@pytest.mark.parametrize(
    "content_type", ["text/csv", "text/csv; charset=utf-8", "application/x-ofx", "application/vnd.intu.qfx"]
)
def test_a_raw_body_is_stored_and_queued(content_type: str) -> None:
    user = make_user()
    reply = api_client(user).post("/api/transactions/bulk", CSV, content_type=content_type)
    assert _kept(_queued(reply, user)) == CSV


def test_a_list_is_stored_as_a_statement_and_queued_unread() -> None:
    user = make_user()
    items = [{"amount": 4.5, "merchant": "STARBUCKS", "date": "2026-11-03"}] * 500
    client = api_client(user)
    with CaptureQueriesContext(connection) as queries:
        reply = client.post("/api/transactions/bulk", items, format="json")
    assert len(_kept(_queued(reply, user)).splitlines()) == 501
    assert len(queries) < 14


def test_items_of_a_list_are_read_correctly() -> None:
    rows = _read(
        [
            {
                "amount": 4.5,
                "merchant": "STARBUCKS",
                "date": "2026-11-03T12:30:00Z",
                "category": "Food",
                "description": "a, “b”\nc",
            },
            {"amount": -4.5, "merchant": "STARBUCKS", "date": "2026-11-04"},
            {"amount": "12.34", "merchant": "TARGET", "date": "2026-11-05", "reference": 77},
            {"amount": 1234567, "merchant": "CAR", "date": "2026-11-05"},
        ]
    )
    assert all(isinstance(row, StatementRow) for row in rows), rows
    shown = [(row.row_number, str(row.amount), row.merchant) for row in rows if isinstance(row, StatementRow)]
    assert shown == [
        (2, "4.50", "STARBUCKS"),
        (3, "-4.50", "STARBUCKS"),
        (4, "12.34", "TARGET"),
        (5, "1234567.00", "CAR"),
    ]
    first = rows[0]
    assert isinstance(first, StatementRow)
    assert (first.category, first.description, first.date.hour) == ("Food", "a, “b” c", 12)


@pytest.mark.parametrize(
    ("item", "field"),
    [
        (42, "date"),
        ("text", "date"),
        (None, "date"),
        ([], "date"),
        ({}, "date"),
        ({"merchant": "X", "amount": 1}, "date"),
        ({"merchant": "X", "date": "2026-11-03"}, "amount"),
        ({"merchant": "X", "date": "2026-11-03", "amount": "lots"}, "amount"),
        ({"merchant": "X", "date": "2026-11-03", "amount": 1.234}, "amount"),
        ({"merchant": "X", "date": "2026-11-03", "amount": "1.234,50"}, "amount"),
        ({"merchant": "X", "date": "2026-11-03", "amount": 0}, "amount"),
        ({"merchant": "X", "date": "2026-11-03", "amount": True}, "amount"),
        ({"merchant": "X", "date": "2026-11-03", "amount": {"usd": 1}}, "amount"),
        ({"merchant": "X", "date": "2026-11-03", "amount": 1e300}, "amount"),
        ({"amount": 1, "date": "2026-11-03"}, "merchant"),
    ],
)
@pytest.mark.parametrize("alone", [True, False])
def test_an_invalid_item_is_reported_with_its_row_and_the_others_are_stored(item: Any, field: str, alone: bool) -> None:
    good = {"amount": 4.5, "merchant": "STARBUCKS", "date": "2026-11-03"}
    rows = _read([item] if alone else [good, item, good])
    bad = rows[0 if alone else 1]
    assert isinstance(bad, RowError), bad
    assert (bad.field, bad.row_number) == (field, 2 if alone else 3)
    assert sum(isinstance(row, StatementRow) for row in rows) == (0 if alone else 2)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "text/csv"),
        (b"{}", "application/json"),
        (b'"text"', "application/json"),
        (b"[", "application/json"),
        (b"no form", "multipart/form-data; boundary=x"),
    ],
)
def test_a_body_that_is_neither_list_nor_file_is_refused(body: bytes, content_type: str) -> None:
    reply = api_client(make_user()).post("/api/transactions/bulk", body, content_type=content_type)
    assert (reply.status_code, reply.json()["success"]) == (400, False)
    assert not BackgroundTask.objects.exists()


def test_an_unsupported_media_type_is_refused() -> None:
    reply = api_client(make_user()).post("/api/transactions/bulk", b"x", content_type="image/png")
    assert (reply.status_code, reply.json()["success"]) == (415, False)


@pytest.mark.parametrize("kind", ["form", "raw", "list"])
def test_a_body_that_is_too_large_is_refused(settings: Settings, kind: str) -> None:
    settings.STATEMENT_MAX_BYTES = settings.JSON_LIST_MAX_BYTES = 50
    client = api_client(make_user())
    reply = {
        "form": lambda: client.post("/api/transactions/bulk", {"file": SimpleUploadedFile("a.csv", CSV)}),
        "raw": lambda: client.post("/api/transactions/bulk", CSV, content_type="text/csv"),
        "list": lambda: client.post("/api/transactions/bulk", [{"merchant": "x" * 60}], format="json"),
    }[kind]()
    assert (reply.status_code, reply.json()["success"]) == (413, False)
    assert not BackgroundTask.objects.exists()


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_a_list_sent_twice_is_stored_once_and_its_invalid_rows_are_reported() -> None:
    user = make_user()
    client = api_client(user)
    items: list[Any] = [{"amount": 4.5, "merchant": "STARBUCKS", "date": "2026-11-03"}] * 2
    items += [{"amount": -4.5, "merchant": "STARBUCKS", "date": "2026-11-04"}, 42]
    results = []
    for _ in range(2):
        url = client.post("/api/transactions/bulk", items, format="json").json()["status_url"]
        ingest_statement(url.rsplit("/", 1)[-1])
        reply = client.get(url).json()
        assert (reply["status"], reply["percent"]) == ("completed", 100.0), reply
        results.append(reply["result"])
        rejects = client.get(reply["rejects_url"])
        assert rejects.getvalue().decode().splitlines()[1].startswith("5,date,")
    assert results[0] == {"rows": 4, "added": 3, "duplicates": 0, "rejected": 1}
    assert results[1] == {"rows": 4, "added": 0, "duplicates": 3, "rejected": 1}
    stored = Transaction.objects.filter(user=user).order_by("amount").values_list("amount", flat=True)
    assert list(map(str, stored)) == ["-4.50", "4.50", "4.50"]


def _import_of(user: User, **task: Any) -> StatementImport:
    row = BackgroundTask.objects.create(name="ingest_statement", user=user, **task)
    return StatementImport.objects.create(task=row, user=user, filename="a.csv", file="statements/a.csv")


def _task_json(client: APIClient, statement: StatementImport) -> dict[str, Any]:
    body: dict[str, Any] = client.get(f"/api/tasks/{statement.task_id}").json()
    return body


def test_a_task_reports_its_progress() -> None:
    user = make_user()
    statement = _import_of(user, status="running", progress=250, total=1000)
    assert _task_json(api_client(user), statement) == {
        "success": True,
        "task_id": str(statement.task_id),
        "name": "ingest_statement",
        "status": "running",
        "progress": 250,
        "total": 1000,
        "percent": 25.0,
        "result": {},
        "error": "",
        "rejects_url": f"/api/tasks/{statement.task_id}/rejects",
    }


@pytest.mark.parametrize(
    ("fields", "percent"),
    [
        ({}, None),
        ({"progress": 5}, None),
        ({"progress": 5, "total": 3, "status": "running"}, 100.0),
        ({"status": "completed"}, 100.0),
        ({"progress": 1, "total": 3, "status": "failed"}, 33.3),
    ],
)
def test_the_percentage_is_known_if_the_total_is(fields: dict[str, Any], percent: float | None) -> None:
    user = make_user()
    assert _task_json(api_client(user), _import_of(user, **fields))["percent"] == percent


def test_rejects_download_as_csv_and_run_no_formula() -> None:
    user = make_user()
    statement = _import_of(user)
    StatementReject.objects.create(
        statement=statement, row_number=7, field="amount", reason="no number", raw="=HYPERLINK(1),x"
    )
    StatementReject.objects.create(statement=statement, row_number=3, field="date", reason="no date", raw='a,"b\nc"')
    reply = api_client(user).get(f"/api/tasks/{statement.task_id}/rejects")
    assert reply["Content-Type"].startswith("text/csv")
    assert "attachment" in reply["Content-Disposition"]
    assert list(csv.reader(io.StringIO(reply.getvalue().decode()))) == [
        ["row", "field", "reason", "original"],
        ["3", "date", "no date", 'a,"b\nc"'],
        ["7", "amount", "no number", "'=HYPERLINK(1),x"],
    ]


def test_a_task_that_is_not_an_import_has_no_rejects() -> None:
    user = make_user()
    task = BackgroundTask.objects.create(name="report", user=user)
    client = api_client(user)
    assert "rejects_url" not in client.get(f"/api/tasks/{task.pk}").json()
    assert client.get(f"/api/tasks/{task.pk}/rejects").status_code == 404
