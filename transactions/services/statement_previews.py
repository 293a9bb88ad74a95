"""Previews of workbooks, which only a worker parses.

The uploaded file waits in the storage; the worker writes the preview beside it. Both are deleted together, so that the
purchases of a preview are stored nowhere else.
"""

import json
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import Any, BinaryIO, cast

from django.core.files.storage import default_storage
from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction

from kamioi_site.imports import previews
from kamioi_site.imports.rows import RowError
from transactions.models import BackgroundTask, User
from transactions.services.background_tasks import claim_first, create_task, heartbeat_thread, send_task
from transactions.statements.evidence import Choice, Question
from transactions.statements.reader import StatementPreview, preview
from transactions.statements.values import StatementRow


def request_preview(*, stored: str, filename: str, fields: dict[str, Any], actor: User) -> BackgroundTask:
    """Have a worker preview the stored file; `fields` are kept for the import that follows."""
    with transaction.atomic():
        task = create_task(
            name="preview_statement", user=actor, arguments={"stored": stored, "filename": filename, "fields": fields}
        )
        send_task(task=task)
    return task


@claim_first
def run_preview(task: BackgroundTask) -> None:
    """Write the preview of this background task."""
    stored, filename = task.arguments["stored"], task.arguments["filename"]
    with heartbeat_thread(task=task), default_storage.open(stored) as file:
        found = preview(cast("BinaryIO", file), filename=filename)
    previews.write_preview(stored, json.dumps(asdict(found), cls=DjangoJSONEncoder).encode())


def read_preview(task: BackgroundTask) -> StatementPreview:
    """Return the preview of a completed task. Raises FileNotFoundError when it has expired."""
    content = json.loads(previews.read_preview(task.arguments["stored"]))
    rows, errors, questions = content.pop("rows"), content.pop("errors"), content.pop("questions")
    return StatementPreview(
        **content,
        rows=[
            StatementRow(**row | {"date": datetime.fromisoformat(row["date"]), "amount": Decimal(row["amount"])})
            for row in rows
        ],
        errors=[RowError(**error) for error in errors],
        questions=[
            Question(**question | {"choices": tuple(Choice(**choice) for choice in question["choices"])})
            for question in questions
        ],
    )
