"""A full disk: uploads get 507, nothing is left half-written, and purchases go on."""

import asyncio
import contextlib
import resource
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from kamioi_site.http import asgi_handler
from kamioi_site.storage import StorageFullError
from tests.factories import api_client, make_staff, make_user
from transactions.models import BackgroundTask, StatementImport
from transactions.services.privacy import request_export
from transactions.tasks import export_person

pytestmark = pytest.mark.django_db

FULL = "There is no space left for files. Try again later."
SIZE = 64 * 1024
CSV = b"Date,Description,Amount\n" + b"2026-01-05,SHOP,-1.00\n" * 10_000  # 220 kB


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory that holds 64 kB: a file system, or without the right to mount a limit of the process."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode == 0:
        yield disk
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
        return
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE, before[1]))
    yield disk
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _purchases_go_on() -> None:
    reply = api_client(make_user()).post("/api/transactions", {"merchant": "SHOP", "amount": 4.5}, format="json")
    assert reply.status_code == 201


@pytest.mark.parametrize("path", ["/api/transactions/bulk", "/api/user/upload-bank-file"])
def test_an_upload_that_does_not_fit_is_refused_as_a_whole(path: str, small_disk: Path, settings: Settings) -> None:
    settings.MEDIA_ROOT = small_disk
    reply = api_client(make_user()).post(path, {"file": SimpleUploadedFile("a.csv", CSV)})
    assert (reply.status_code, reply.json()) == (507, {"success": False, "error": FULL})
    assert int(reply["Retry-After"]) > 0
    assert not StatementImport.objects.exists()
    assert not BackgroundTask.objects.exists()
    assert _files(small_disk) == []
    _purchases_go_on()


def test_a_form_and_a_page_say_that_the_disk_is_full(small_disk: Path, settings: Settings) -> None:
    settings.MEDIA_ROOT = small_disk
    client = Client()
    client.force_login(make_staff())
    form = {"email": make_user().email, "file": SimpleUploadedFile("a.csv", CSV)}
    page = client.post(reverse("admin:transactions_statementimport_upload"), form)
    assert FULL in page.content.decode()
    assert _files(small_disk) == []


def test_a_body_that_does_not_fit_on_the_disk_for_temporary_files_is_refused(
    small_disk: Path, settings: Settings
) -> None:
    settings.FILE_UPLOAD_TEMP_DIR = str(small_disk)
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 1_000
    for reply in (
        api_client(make_user()).post("/api/transactions/bulk", {"file": SimpleUploadedFile("a.csv", CSV)}),
        api_client(make_user()).post("/api/transactions/bulk", CSV, content_type="text/csv"),
    ):
        assert (reply.status_code, reply.json()) == (507, {"success": False, "error": FULL})
    client = Client(raise_request_exception=False)
    client.force_login(make_staff())
    form = {"email": "kim@example.com", "file": SimpleUploadedFile("a.csv", CSV)}
    page = client.post(reverse("admin:transactions_statementimport_upload"), form)
    assert (page.status_code, page.content.decode()) == (507, f"{FULL}\n")
    assert _files(small_disk) == []
    _purchases_go_on()


async def _send(path: str, body: bytes) -> tuple[int, bytes]:
    sent: list[dict[str, Any]] = []
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "scheme": "http",
        "headers": [(b"host", b"testserver"), (b"content-type", b"text/csv")],
        "asgi": {"version": "3.0"},
        "client": ("127.0.0.1", 1),
    }

    async def chunks() -> AsyncIterator[dict[str, Any]]:
        for start in range(0, len(body), SIZE):
            yield {"type": "http.request", "body": body[start : start + SIZE], "more_body": True}
        yield {"type": "http.request", "body": b"", "more_body": False}

    receive = chunks()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await asgi_handler.ThreadedASGIHandler()(scope, receive.__anext__, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # Django leaves its file to the collector
def test_the_server_answers_when_it_cannot_hold_a_body(
    small_disk: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 1_000
    status, body = asyncio.run(_send("/api/transactions/bulk", CSV))
    assert status == 507
    assert FULL.encode() in body


def test_an_export_that_does_not_fit_fails_with_the_reason_and_leaves_nothing(
    small_disk: Path, settings: Settings
) -> None:
    settings.MEDIA_ROOT = small_disk
    rest = small_disk / "rest"
    rest.write_bytes(bytes(SIZE - 8 * 1024))
    user = make_user()
    request_export(user=user, actor=user)
    task = BackgroundTask.objects.get()
    for number in range(SIZE // 4096):
        with contextlib.suppress(OSError):
            (small_disk / f"more{number}").write_bytes(bytes(4096))
    export_person(str(task.pk))
    task.refresh_from_db()
    if task.status == "failed":  # without the right to mount, a small export fits
        assert task.error == FULL
        assert not list((small_disk / "exports").glob("*"))


def test_a_file_is_stored_whole_and_a_name_is_not_used_twice(tmp_path: Path, settings: Settings) -> None:
    settings.MEDIA_ROOT = tmp_path
    names = {default_storage.save("statements/a.csv", ContentFile(CSV)) for _ in range(2)}
    assert len(names) == 2
    assert {default_storage.size(name) for name in names} == {len(CSV)}
    assert len(_files(tmp_path)) == 2
    assert issubclass(StorageFullError, Exception)
