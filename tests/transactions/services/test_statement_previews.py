"""Workbooks are parsed by workers only: uploads return at once, and a page waits for the preview."""

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from tests.factories import api_client, make_staff, make_user
from tests.transactions.statements.helpers import FILES
from transactions.models import BackgroundTask, StatementImport
from transactions.statements import reader
from transactions.tasks import preview_statement

pytestmark = pytest.mark.django_db

UPLOAD = reverse("admin:transactions_statementimport_upload")


def _workbook(name: str = "business.xlsx") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, (FILES / name).read_bytes())


def _staff_client(**fields: Any) -> Client:
    client = Client()
    client.force_login(make_staff(**fields))
    return client


def _upload(client: Client, file: SimpleUploadedFile) -> tuple[Any, BackgroundTask]:
    reply = client.post(UPLOAD, {"email": make_user("kim@example.com").email, "file": file})
    assert reply.status_code == 302, reply.content
    return reply, BackgroundTask.objects.get(name="preview_statement")


@pytest.mark.parametrize("name", ["business.xlsx", "business.xls"])
def test_no_request_parses_a_workbook(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(*_: Any) -> None:
        raise AssertionError("a workbook is parsed within a request")

    monkeypatch.setattr(reader, "sheets_as_csv", parse)
    client = api_client(make_user())
    for path in ("/api/transactions/bulk", "/api/business/upload-bank-file"):
        assert client.post(path, {"file": _workbook(name)}).status_code == 202
    reply, task = _upload(_staff_client(), _workbook(name))
    assert (reply["Location"], task.status) == (f"{UPLOAD}{task.pk}/", "queued")


def test_staff_wait_for_the_preview_and_confirm_it() -> None:
    client = _staff_client()
    reply, task = _upload(client, _workbook())
    waiting = client.get(reply["Location"]).content.decode()
    assert f'data-task="/api/tasks/{task.pk}"' in waiting
    assert "data-task-reload" in waiting
    assert 'name="token"' not in waiting
    preview_statement(str(task.pk))
    task.refresh_from_db()
    assert task.result == {}, "rows of a preview are only in its file"
    shown: Any = client.get(reply["Location"])
    text = shown.content.decode()
    assert "Preview of business.xlsx" in text
    assert "STARBUCKS #123" in text
    assert "kim@example.com" in text
    assert "“lots” is not an amount" in text
    confirmed = client.post(UPLOAD, {"token": shown.context["token"]})
    statement = StatementImport.objects.get()
    assert confirmed["Location"] == reverse("admin:transactions_statementimport_change", args=[statement.pk])
    assert (statement.user.email, statement.filename) == ("kim@example.com", "business.xlsx")
    again = client.get(reply["Location"])
    assert again["Location"] == UPLOAD, "the preview is deleted with the file"


def test_a_workbook_that_cannot_be_read_shows_the_reason() -> None:
    client = _staff_client()
    file = SimpleUploadedFile("business.xls", (FILES / "business.xls").read_bytes()[:2000])
    reply, task = _upload(client, file)
    preview_statement(str(task.pk))
    text = client.get(reply["Location"]).content.decode()
    assert "business.xls: The workbook cannot be read. Save it again, or as CSV." in text


def test_a_preview_is_only_for_those_who_requested_it() -> None:
    reply, _ = _upload(_staff_client(), _workbook())
    assert _staff_client(email="other@example.com").get(reply["Location"]).status_code == 404
