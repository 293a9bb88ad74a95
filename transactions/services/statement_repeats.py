"""Importing the stored file of an import again, with other answers to its questions."""

from collections.abc import Mapping

from django.core.files.base import File
from django.db import transaction

from transactions.errors import StatementExpiredError, StatementStateError
from transactions.models import BackgroundTask, StatementImport, User
from transactions.services.ingest import upload_statement
from transactions.services.statement_undo import check_undo, lock_statement, log_for_staff


@transaction.atomic
def repeat_statement(*, statement_id: int, answers: Mapping[str, str], actor: User) -> StatementImport:
    """Import the file again in the background, after undoing what the first import stored. Returns the new import.

    Args:
        answers: to all questions that the file leaves open; those of the first import no longer count.

    Raises:
        PermissionDenied: it is another customer's import.
        StatementStateError: the import is still being read, undone or repeated.
        StatementExpiredError: the file was deleted.
        StatementQuestionsError: questions remain open; nothing was changed.
        UndoNotPossibleError: shares have been sold since, or the import is too old.
        UploadQuotaError: the customer uploaded too much.
    """
    statement = lock_statement(statement_id, actor)
    name = statement.filename
    if statement.task.is_open:
        raise StatementStateError(f"{name} is still being read. Cancel it first.")
    if statement.state == StatementImport.State.UNDOING or _is_being_repeated(statement):
        raise StatementStateError(f"{name} is being undone or repeated. Try again when this is done.")
    if statement.undone_at is None:
        check_undo(statement)
    try:
        file = statement.file.open("rb") if statement.file else None
    except FileNotFoundError:
        file = None
    if file is None:
        raise StatementExpiredError(f"The file of {name} has been deleted. Upload it again.")
    with file:
        repeat = upload_statement(
            user=statement.user,
            filename=name,
            content=File(file, name=name),
            requested_by=actor,
            answers=answers,
            account=f"#{statement.bank_account_id}" if statement.is_account_chosen else "",
            limited=actor.pk == statement.user_id,
            repeats=statement,
        )
    log_for_staff(statement, actor, f"repeated as import {repeat.pk}")
    return repeat


def _is_being_repeated(statement: StatementImport) -> bool:
    others = StatementImport.objects.filter(user=statement.user_id, repeats=statement)
    return others.filter(task__status__in=BackgroundTask.OPEN).exists()
