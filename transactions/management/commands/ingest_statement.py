"""`manage.py ingest_statement FILE --user EMAIL`."""

from pathlib import Path
from typing import Any

from django.core.files.base import File
from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from kamioi_site.errors import KamioiError
from transactions.models import User
from transactions.services.ingest import run_statement_import, upload_statement
from transactions.statements.reader import preview


class Command(BaseCommand):
    help = "Import a bank statement (CSV, Excel, OFX, QFX). Importing the same file again adds nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--user", required=True, metavar="EMAIL", help="the customer")
        parser.add_argument(
            "--dry-run", action="store_true", help="show how the file is understood, without changing anything"
        )
        parser.add_argument("--rejects", type=Path, metavar="OUT.csv", help="write the rejected rows to this file")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        if not path.is_file():
            raise CommandError(f"there is no file {path}")
        user = User.objects.with_email(options["user"]).first()
        if user is None:
            raise CommandError(f"no user has the e-mail {options['user']}")
        try:
            if options["dry_run"]:
                self._preview(path)
            else:
                self._import(path, user, options["rejects"])
        except KamioiError as error:
            raise CommandError(f"{path}: {error}") from error

    def _preview(self, path: Path) -> None:
        with path.open("rb") as file:
            result = preview(file, filename=path.name)
        self.stdout.write(f"columns: {result.columns}; encoding {result.encoding}; {result.spending}")
        for row in result.rows:
            self.stdout.write(f"  row {row.row_number}: {row.date:%Y-%m-%d} {row.amount:>12} {row.merchant}")
        for error in result.errors:
            self.stdout.write(f"  row {error.row_number}: {error.field}: {error.reason}")
        self.stdout.write("Nothing was changed.")

    def _import(self, path: Path, user: User, rejects: Path | None) -> None:
        with path.open("rb") as file:
            statement = upload_statement(
                user=user, filename=path.name, content=File(file), requested_by=user, send=False, limited=False
            )
        with tqdm(unit=" rows", unit_scale=True, disable=None, desc=path.name) as bar:

            def on_progress(rows: int) -> None:
                bar.update(rows - bar.n)

            done = run_statement_import(task_id=statement.task_id, on_progress=on_progress)
        if done is None:
            raise CommandError("another worker runs this import; see Background tasks in the admin")
        if done.task.error:
            raise CommandError(f"{path}: {done.task.error}")
        self.stdout.write(f"{done.rows_added} added, {done.rows_duplicate} duplicates, {done.rows_rejected} rejected")
        for reject in done.rejects.order_by("row_number")[:10]:
            self.stdout.write(f"  row {reject.row_number}: {reject.field}: {reject.reason}")
        if done.rows_rejected > 10:
            self.stdout.write(f"  … and {done.rows_rejected - 10} more")
        if rejects:
            rejects.write_text("".join(done.rejects_csv()), encoding="utf-8")
            self.stdout.write(f"rejected rows: {rejects}")
