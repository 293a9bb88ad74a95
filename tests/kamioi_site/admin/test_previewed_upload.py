"""Uploads in two steps: nothing is imported before the preview is confirmed, and a preview is confirmed once."""

import os
import re
import time
from pathlib import Path

import pytest
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from kamioi_site.admin import previewed_upload
from kamioi_site.admin.previewed_upload import PREVIEWS
from tests.factories import make_staff, make_user
from transactions.models import StatementImport

pytestmark = pytest.mark.django_db
CSV = b"Date,Description,Amount\n2026-02-13,STARBUCKS,-4.50\n2026-02-14,=1+1,-5.00\n2026-02-15,TARGET,twelve\n"
GONE = "already imported, or its preview has expired"


@pytest.fixture(autouse=True)
def media(settings, tmp_path) -> Path:
    settings.MEDIA_ROOT = tmp_path
    return tmp_path


@pytest.fixture
def client() -> Client:
    client = Client()
    client.force_login(make_staff())
    return client


def _address() -> str:
    return reverse("admin:transactions_statementimport_upload")


def _preview(client: Client, content: bytes = CSV, email: str = "") -> str:
    """Upload a file and return the page with its preview."""
    data = {"email": email or make_user().email, "file": SimpleUploadedFile("bank.csv", content)}
    return client.post(_address(), data).content.decode()


def _token(html: str) -> str:
    found = re.search(r"name=\"token\" value=\"([^\"]+)\"", html)
    assert found is not None
    return found[1]


def _confirm(client: Client, token: str) -> str:
    return client.post(_address(), {"token": token}, follow=True).content.decode()


def test_a_preview_shows_rows_and_rejects_and_imports_nothing(client):
    html = _preview(client)
    assert {"STARBUCKS", "$4.50", "Feb 13, 2026"} <= set(re.findall(r"<td[^>]*>([^<]*)</td>", html))
    assert "“twelve” is not an amount" in html
    assert not StatementImport.objects.exists()


def test_a_confirmed_preview_is_imported_once(client):
    token = _token(_preview(client))
    assert "Importing bank.csv." in _confirm(client, token)
    with StatementImport.objects.get().file.open() as file:
        assert file.read() == CSV
    assert GONE in _confirm(client, token)
    assert StatementImport.objects.count() == 1
    assert default_storage.listdir(PREVIEWS)[1] == []


@pytest.mark.parametrize("change", ["forged", "expired"])
def test_a_forged_or_expired_token_imports_nothing(client, monkeypatch, change):
    token = _token(_preview(client))
    if change == "forged":
        token = token[:-1] + ("A" if token[-1] != "A" else "B")
    else:
        monkeypatch.setattr(previewed_upload, "PREVIEW_SECONDS", -1)
    assert GONE in _confirm(client, token)
    assert not StatementImport.objects.exists()


@pytest.mark.parametrize(
    ("content", "email", "problem"),
    [(b"\x00\x01\x02", "", "errorlist|kamioi-error"), (CSV, "unknown@kamioi.test", "No customer has this e-mail.")],
)
def test_an_unreadable_file_or_unknown_customer_is_reported_and_not_stored(client, media, content, email, problem):
    html = _preview(client, content, email)
    assert re.search(problem, html)
    assert 'name="token"' not in html
    assert not (media / PREVIEWS).exists()


def test_a_preview_deletes_those_that_were_not_confirmed_in_time(client, media):
    _preview(client)
    (old,) = (media / PREVIEWS).iterdir()
    os.utime(old, (time.time() - previewed_upload.PREVIEW_SECONDS - 60,) * 2)
    _preview(client)
    (new,) = (media / PREVIEWS).iterdir()
    assert new != old


def test_staff_without_permission_cannot_upload_or_download_rejects(client):
    _confirm(client, _token(_preview(client)))
    other = Client()
    other.force_login(make_user(is_staff=True))
    rejects = reverse("admin:transactions_statementimport_rejects", args=[StatementImport.objects.get().pk])
    assert other.get(_address()).status_code == 403
    assert client.get(rejects).status_code == 200
    assert other.get(rejects).status_code == 403


def test_questions_are_answered_below_the_preview(client):
    html = _preview(client, b"Date,Description,Amount\n03.09.2026,QUILL,45.10\n05.10.2026,LANTERN,-9.25\n")
    assert re.findall(r'type="radio" name="(\w+)" value="(\w+)"', html) == [
        ("date_order", "mdy"),
        ("date_order", "dmy"),
        ("spending", "negative"),
        ("spending", "positive"),
    ]
    assert "QUILL 45.10 is spent" in html
    token = _token(html)
    assert "Which amounts are money spent?" in _confirm(client, token)
    assert not StatementImport.objects.exists()
    client.post(_address(), {"token": token, "date_order": "dmy", "spending": "positive"})
    answers = {"date_order": "dmy", "spending": "positive"}
    assert StatementImport.objects.get().answers == answers | {"confirm": "true"}  # the totals were shown
