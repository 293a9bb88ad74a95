"""`manage.py ingest_statement FILE --user EMAIL`."""

import sys
from pathlib import Path
from typing import Any

from django.core.files.base import File
from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from kamioi_site.errors import KamioiError
from transactions.errors import StatementQuestionsError
from transactions.models import User
from transactions.services.ingest import run_statement_import, upload_statement
from transactions.services.large_uploads import totals_text
from transactions.services.statement_previews import preview_statement
from transactions.statements.csv import ROLES
from transactions.statements.evidence import ANSWER_KEYS, CONFIRM


class Command(BaseCommand):
    help = "Import a bank statement (CSV, Excel, OFX, QFX). Importing the same file again adds nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--user", required=True, metavar="EMAIL", help="the customer")
        parser.add_argument(
            "--dry-run", action="store_true", help="show how the file is understood, without changing anything"
        )
        parser.add_argument(
            "--account", default="", help="name or last digits of the bank account, where the file does not contain it"
        )
        parser.add_argument(
            "--date-order",
            choices=("mdy", "dmy", "ymd"),
            help="the order of day, month and year in a date such as 03/04/2026",
        )
        parser.add_argument("--spending", choices=("negative", "positive"), help="which amounts are money spent")
        parser.add_argument(
            "--columns", metavar="amount=4,…", help=f"columns by number, counted from 1; roles: {', '.join(ROLES)}"
        )
        parser.add_argument(
            "--balance", choices=("ignore",), help="import amounts that contradict the file's running balance"
        )
        parser.add_argument("--yes", action="store_true", help="import a large file without asking")
        parser.add_argument("--rejects", type=Path, metavar="OUT.csv", help="write the rejected rows to this file")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        if not path.is_file():
            raise CommandError(f"there is no file {path}")
        user = User.objects.with_email(options["user"]).first()
        if user is None:
            raise CommandError(f"no user has the e-mail {options['user']}")
        answers = {key: options[key] for key in ANSWER_KEYS if options[key]}
        if options["yes"]:
            answers[CONFIRM] = "true"
        try:
            if options["dry_run"]:
                self._preview(path, user, answers, options["account"])
            else:
                self._import_or_ask(path, user, answers, options)
        except StatementQuestionsError as error:
            raise CommandError(_as_text(error), returncode=2) from error
        except KamioiError as error:
            raise CommandError(f"{path}: {error}") from error

    def _preview(self, path: Path, user: User, answers: dict[str, str], account: str) -> None:
        with path.open("rb") as file:
            result = preview_statement(
                file, filename=path.name, user=user, answers=answers, account=account, summary_rows=None
            )
        if result.questions:
            raise StatementQuestionsError(result.questions)
        self.stdout.write(f"columns: {result.columns}; encoding {result.encoding}; {result.spending}")
        for reasons in result.evidence.values():
            self.stdout.write(f"  because: {'; '.join(reasons)}")
        summary = result.summary
        days = f"{summary.first_day} to {summary.last_day}" if summary.first_day else "none"
        self.stdout.write(f"account: {', '.join(summary.accounts) or 'unknown'}; days: {days}; rows: {summary.rows:,}")
        self.stdout.write(totals_text(summary))
        self.stdout.write(f"money out {summary.money_out:,}, money in {summary.money_in:,}")
        for reason, count in summary.not_booked.items():
            self.stdout.write(f"  not invested: {count:,} {reason}")
        for row in result.rows:
            self.stdout.write(f"  row {row.row_number}: {row.date:%Y-%m-%d} {row.amount:>12} {row.merchant}")
        for error in result.errors:
            self.stdout.write(f"  row {error.row_number}: {error.field}: {error.reason}")
        self.stdout.write("Nothing was changed.")

    def _import_or_ask(self, path: Path, user: User, answers: dict[str, str], options: dict[str, Any]) -> None:
        try:
            self._import(path, user, answers, options)
        except StatementQuestionsError as error:
            is_large = [question.key for question in error.questions] == [CONFIRM]
            if not (is_large and sys.stdin.isatty() and input(f"{error} [y/N] ").strip().lower() == "y"):
                raise
            self._import(path, user, answers | {CONFIRM: "true"}, options)

    def _import(self, path: Path, user: User, answers: dict[str, str], options: dict[str, Any]) -> None:
        rejects: Path | None = options["rejects"]
        with path.open("rb") as file:
            statement = upload_statement(
                user=user,
                filename=path.name,
                content=File(file),
                requested_by=user,
                answers=answers,
                account=options["account"],
                send=False,
                limited=False,
            )
        with tqdm(unit=" rows", unit_scale=True, disable=None, desc=path.name) as bar:

            def on_progress(rows: int) -> None:
                bar.update(rows - bar.n)

            done = run_statement_import(task_id=statement.task_id, on_progress=on_progress)
        if done is None:
            raise CommandError("another worker runs this import; see Background tasks in the admin")
        if done.task.error:
            questions = (done.task.result or {}).get("questions", [])
            hint = " Repeat with --yes." if any(question["key"] == CONFIRM for question in questions) else ""
            raise CommandError(f"{path}: {done.task.error}{hint}", returncode=2 if questions else 1)
        self.stdout.write(f"{done.rows_added} added, {done.rows_duplicate} duplicates, {done.rows_rejected} rejected")
        if done.rows_held:
            self.stdout.write(f"{done.rows_held} of them on hold: possible duplicates of purchases from another source")
        for reject in done.rejects.order_by("row_number")[:10]:
            self.stdout.write(f"  row {reject.row_number}: {reject.field}: {reject.reason}")
        if done.rows_rejected > 10:
            self.stdout.write(f"  … and {done.rows_rejected - 10} more")
        if rejects:
            rejects.write_text("".join(done.rejects_csv()), encoding="utf-8")
            self.stdout.write(f"rejected rows: {rejects}")


def _as_text(error: StatementQuestionsError) -> str:
    """Return the questions with the options that answer them."""
    lines = ["Nothing was imported: the file leaves a question open."]
    for question in error.questions:
        lines.append(question.text)
        for choice in question.choices:
            option = "--yes" if question.key == CONFIRM else f"--{question.key.replace('_', '-')} {choice.value:<10}"
            lines.append(f"  {option} {choice.label}")
            lines += [f"      {sample}" for sample in choice.samples]
    return "\n".join(lines)
