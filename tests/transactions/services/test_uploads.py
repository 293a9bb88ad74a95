"""What customers may upload, and when files, rejected rows and exports expire."""

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.files.base import ContentFile
from django.utils import timezone

from kamioi_site.imports.models import MAX_REJECTS
from llm_center.models import MappingImport
from llm_center.services.mapping_imports import upload_mapping_file
from tests.factories import api_client, make_staff, make_user
from transactions.errors import UploadQuotaError
from transactions.models import BackgroundTask, Setting, StatementImport, StatementReject, User
from transactions.services.ingest import ingest_statement_file, run_statement_import, upload_statement
from transactions.tasks import expire_uploads

pytestmark = pytest.mark.django_db

HEADER = "Date,Description,Amount\n"


def _upload(user: User, text: str = HEADER, **options: Any) -> StatementImport:
    return upload_statement(
        user=user, filename="a.csv", content=ContentFile(text.encode()), requested_by=user, send=False, **options
    )


def _set(**values: int) -> None:
    for key, value in values.items():
        assert Setting.objects.filter(key=key).update(value=str(value))


def _finish(**fields: Any) -> None:
    BackgroundTask.objects.filter(finished_at=None).update(status="completed", finished_at=timezone.now(), **fields)


def test_the_first_rejected_rows_are_kept_and_the_others_counted() -> None:
    rows = 25_000  # more than one batch
    statement = _upload(make_user(), HEADER + "01/01/2026,SHOP,lots\n" * rows)
    run_statement_import(task_id=statement.task_id)
    statement.refresh_from_db()
    assert (statement.rows_rejected, statement.rejects.count()) == (rows, MAX_REJECTS)
    assert list(statement.rejects.order_by("-row_number").values_list("row_number", flat=True)[:1]) == [MAX_REJECTS + 1]
    assert statement.task.result == {
        "rows": rows,
        "added": 0,
        "duplicates": 0,
        "rejected": rows,
        "rejects_omitted": rows - MAX_REJECTS,
    }
    lines = "".join(statement.rejects_csv()).splitlines()
    assert (len(lines), lines[-1]) == (MAX_REJECTS + 2, ',,"and 24,000 more",')


def test_a_request_with_more_than_ten_thousand_items_is_refused() -> None:
    client = api_client(make_user())
    for body in ([1] * 10_001, {"transaction_ids": [[1] * 6_000, [2] * 6_000]}):
        for path in ("/api/transactions/bulk", "/api/transactions"):
            reply = client.post(path, body, format="json")
            assert (reply.status_code, reply.json()["error"]) == (
                413,
                "A request may have at most 10,000 items. Send several.",
            )
    assert not StatementImport.objects.exists()
    assert client.post("/api/transactions/bulk", [1] * 10_000, format="json").status_code == 202


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"uploads_running": 2}, "2 uploads are still being read. Wait until one is done."),
        ({"uploads_per_day": 2}, "At most 2 files are accepted within 24 hours."),
        ({"upload_megabytes_per_day": 1}, "At most 1 MB are accepted within 24 hours."),
    ],
)
def test_a_customer_over_the_quota_is_refused_and_others_are_not(setting: dict[str, int], message: str) -> None:
    _set(**setting)
    user = make_user()
    for _ in range(2):
        _upload(user, HEADER + " " * 400_000)
    if "uploads_running" not in setting:
        _finish()
    reply = api_client(user).post("/api/transactions/bulk", " " * 300_000, content_type="text/csv")
    assert (reply.status_code, reply.json()["error"]) == (429, message)
    assert int(reply["Retry-After"]) >= 60
    assert StatementImport.objects.count() == 2
    _upload(make_user())
    _upload(user, limited=False)


def test_the_quota_is_free_again_after_the_import_and_after_a_day() -> None:
    _set(uploads_running=1, uploads_per_day=2)
    user = make_user()
    _upload(user)
    with pytest.raises(UploadQuotaError):
        _upload(user)
    _finish()
    _upload(user)
    _finish()
    with pytest.raises(UploadQuotaError):
        _upload(user)
    StatementImport.objects.update(created_at=timezone.now() - timedelta(hours=25))
    _upload(user)


def test_uploads_rejected_rows_and_exports_expire() -> None:
    user = make_user()
    old, recent, running = (_upload(user, HEADER + "01/01/2026,SHOP,lots\n") for _ in range(3))
    mappings = upload_mapping_file(filename="m.csv", content=ContentFile(b"x"), actor=make_staff(), send=False)
    for statement in (old, recent, running):
        ingest_statement_file(statement_id=statement.pk)
    BackgroundTask.objects.exclude(pk=running.task_id).update(finished_at=timezone.now())
    past = timezone.now() - timedelta(days=91)
    StatementImport.objects.exclude(pk=recent.pk).update(created_at=past)
    MappingImport.objects.update(created_at=past)
    exports = [Path(settings.MEDIA_ROOT) / "exports" / name for name in ("old.zip", "new.zip")]
    for export in exports:
        export.parent.mkdir(parents=True, exist_ok=True)
        export.touch()
    os.utime(exports[0], times=(0, time.time() - 8 * 86_400))

    assert expire_uploads() == 2
    assert expire_uploads() == 0
    stored = {row.pk: bool(row.file) for row in StatementImport.objects.all()}
    assert stored == {old.pk: False, recent.pk: True, running.pk: True}
    assert not old.file.storage.exists(old.file.name)
    assert recent.file.storage.exists(recent.file.name)
    assert not mappings.file.storage.exists(mappings.file.name)
    assert set(StatementReject.objects.values_list("statement", flat=True)) == {recent.pk, running.pk}
    old.refresh_from_db()
    assert old.rows_rejected == 1
    assert [export.exists() for export in exports] == [False, True]
