"""Long actions answer at once: 202 with a task, after a handful of statements, whatever there is to do."""

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.factories import api_client, make_merchant, make_staff, make_transaction, make_user
from transactions.models import BackgroundTask

pytestmark = pytest.mark.django_db

MOST_STATEMENTS = 12


def _csv(rows: int) -> SimpleUploadedFile:
    lines = "".join(f"2026-11-03,SHOP {number},{number}.50\n" for number in range(1, rows + 1))
    return SimpleUploadedFile("november.csv", f"date,merchant,debit\n{lines}".encode(), content_type="text/csv")


def _mappings(rows: int) -> SimpleUploadedFile:
    lines = "".join(f"SHOP {number},SBUX\n" for number in range(rows))
    return SimpleUploadedFile("mappings.csv", f"merchant,ticker\n{lines}".encode(), content_type="text/csv")


ACTIONS: dict[str, tuple[str, Any, bool]] = {
    "statement": ("/api/transactions/bulk", lambda: {"file": _csv(5_000)}, False),
    "bank file": ("/api/user/upload-bank-file", lambda: {"file": _csv(20_000)}, False),
    "what is held": ("/api/user/data-export", dict, False),
    "queue": ("/api/admin/ai/process-queue", dict, True),
    "mapping file": ("/api/admin/bulk-upload-fast", lambda: {"file": _mappings(20_000)}, True),
}


@pytest.mark.parametrize("name", ACTIONS)
def test_a_long_action_only_queues_the_work(name: str) -> None:
    path, body, for_staff = ACTIONS[name]
    user = make_staff() if for_staff else make_user()
    for number in range(20):
        make_transaction(user, f"SHOP {number}")
        make_merchant(f"SHOP {number}", None, "proposed", waiting_count=1)
    client = api_client(user)
    with CaptureQueriesContext(connection) as captured:
        reply = client.post(path, body(), format="multipart")
    assert reply.status_code == 202, reply.content
    assert BackgroundTask.objects.get(pk=reply.json()["task_id"]).status == "queued"
    assert len(captured) <= MOST_STATEMENTS
