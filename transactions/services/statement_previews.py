"""Previews of statements: what an import would do, without storing anything. Only a worker parses workbooks.

A workbook waits in the storage; the worker writes the preview beside it. Both are deleted together, so that the
purchases of a preview are stored nowhere else.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date, datetime
from decimal import Decimal
from typing import Any, BinaryIO, cast

from django.core.files.storage import default_storage
from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction

from kamioi_site.imports import previews
from kamioi_site.imports.rows import RowError
from transactions.models import BackgroundTask, Transaction, User
from transactions.services.background_tasks import claim_first, create_task, heartbeat_thread, send_task
from transactions.services.bank_accounts import account_of_file, recall_for
from transactions.services.ingest import earliest_purchase_date, reject_old_rows
from transactions.services.large_uploads import SUMMARY_ROWS, set_aside_by
from transactions.statements.evidence import Choice, Question
from transactions.statements.reader import StatementPreview, StatementSummary, preview
from transactions.statements.values import StatementRow


def preview_statement(
    file: BinaryIO,
    *,
    filename: str,
    user: User,
    answers: Mapping[str, str] | None = None,
    account: str = "",
    summary_rows: int | None = SUMMARY_ROWS,
) -> StatementPreview:
    """Return what an import of the file would do; the summary covers its first `summary_rows` rows.

    Raises:
        StatementError: the file cannot be read.
        UnknownAccountError: the account may be one of several.
    """
    with transaction.atomic():
        # An account that the file would add is not kept.
        bank_account = account_of_file(user=user, filename=filename, chosen=account)
        recall = recall_for(user=user, account=bank_account)
        transaction.set_rollback(True)
    found = preview(
        file,
        filename=filename,
        answers=answers,
        recall=recall,
        reject=lambda items: reject_old_rows(items, earliest_purchase_date(user)),
        set_aside=set_aside_by(user),
        summary_rows=summary_rows,
    )
    summary = found.summary
    if bank_account and (account or not summary.accounts):
        summary.accounts = [str(bank_account)]
    labels = dict(Transaction.RowClass.choices)
    summary.not_booked = {str(labels.get(reason, reason)): count for reason, count in summary.not_booked.items()}
    return found


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
    user = User.objects.get(pk=task.arguments["fields"]["user"])
    with heartbeat_thread(task=task), default_storage.open(stored) as file:
        found = preview_statement(cast("BinaryIO", file), filename=filename, user=user)
    previews.write_preview(stored, json.dumps(asdict(found), cls=DjangoJSONEncoder).encode())


def read_preview(task: BackgroundTask) -> StatementPreview:
    """Return the preview of a completed task. Raises FileNotFoundError when it has expired."""
    content = json.loads(previews.read_preview(task.arguments["stored"]))
    rows, errors, questions = content.pop("rows"), content.pop("errors"), content.pop("questions")
    summary = content.pop("summary")
    summary |= {name: Decimal(summary[name]) for name in ("money_out", "money_in", "spent", "set_aside")}
    summary |= {name: summary[name] and date.fromisoformat(summary[name]) for name in ("first_day", "last_day")}
    return StatementPreview(
        **content,
        summary=StatementSummary(**summary),
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
