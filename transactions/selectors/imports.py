"""A customer's imports of bank files in the form of the API."""

from datetime import datetime
from typing import Annotated, Final, TypedDict
from uuid import UUID

from django.db.models import QuerySet

from transactions.models import StatementImport, User

NEWEST: Final = 100


class ImportRow(TypedDict):
    """An import. `status` is that of its task until it is undone."""

    id: int
    filename: str
    status: Annotated[str, StatementImport.State]
    rows: Annotated[int, "Rows read, good and bad."]
    added: int
    duplicates: int
    rejected: int
    deleted: Annotated[int, "Transactions that the undo deleted."]
    reversed: Annotated[int, "Transactions whose purchase of shares the undo reversed."]
    created_at: datetime
    undone_at: datetime | None
    error: Annotated[str, "Why the import or its undo failed."]
    repeats: Annotated[int | None, "The import of the same file that this one replaces."]
    task_id: UUID
    undo_task_id: UUID | None


def newest_imports(user: User) -> list[ImportRow]:
    """Return the latest hundred."""
    return [import_row(row) for row in _own_imports(user).order_by("-id")[:NEWEST]]


def own_import(user: User, import_id: int) -> StatementImport | None:
    return _own_imports(user).filter(pk=import_id).first()


def import_row(row: StatementImport) -> ImportRow:
    return {
        "id": row.pk,
        "filename": row.filename,
        "status": row.state,
        "rows": row.rows_done,
        "added": row.rows_added,
        "duplicates": row.rows_duplicate,
        "rejected": row.rows_rejected,
        "deleted": row.rows_deleted,
        "reversed": row.rows_reversed,
        "created_at": row.created_at,
        "undone_at": row.undone_at,
        "error": (row.undo_task.error if row.undo_task else "") or row.task.error,
        "repeats": row.repeats_id,
        "task_id": row.task_id,
        "undo_task_id": row.undo_task_id,
    }


def _own_imports(user: User) -> QuerySet[StatementImport]:
    return StatementImport.objects.filter(user=user).select_related("task", "undo_task")
