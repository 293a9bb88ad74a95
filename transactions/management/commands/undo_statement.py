"""`manage.py undo_statement ID`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from kamioi_site.errors import KamioiError
from transactions.models import StatementImport
from transactions.services.statement_undo import (
    cancel_statement_import,
    request_statement_undo,
    run_statement_undo,
    undo_effect,
)


class Command(BaseCommand):
    help = "Undo an import of a bank statement: delete its transactions and reverse the purchases of shares."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", type=int, help="the number of the import; see Statements in the admin")
        parser.add_argument("--yes", action="store_true", help="undo it; without this option, only show the effect")

    def handle(self, *args: Any, **options: Any) -> None:
        statement = StatementImport.objects.select_related("task", "user").filter(pk=options["id"]).first()
        if statement is None:
            raise CommandError(f"there is no import {options['id']}")
        self.stdout.write(f"Undoing {statement.filename} of {statement.user} {undo_effect(statement).text}.")
        if not options["yes"]:
            self.stdout.write("Nothing was changed. Repeat the command with --yes.")
            return
        undo = cancel_statement_import if statement.task.is_open else request_statement_undo
        try:
            statement = undo(statement_id=statement.pk, actor=None, send=False)
        except KamioiError as error:
            raise CommandError(str(error)) from error
        run_statement_undo(task_id=statement.undo_task_id)
        statement = StatementImport.objects.select_related("undo_task").get(pk=statement.pk)
        if statement.undone_at is None:
            error_text = statement.undo_task.error if statement.undo_task else ""
            raise CommandError(error_text or "another worker undoes this import; see Background tasks in the admin")
        self.stdout.write(f"{statement.rows_deleted} deleted, {statement.rows_reversed} reversed")
