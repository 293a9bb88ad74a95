"""`manage.py export_person EMAIL OUT.zip`."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from transactions.models import User
from transactions.services.privacy import write_user_export


class Command(BaseCommand):
    help = "Export all data about a user to a ZIP file: the account, one CSV file per table, and uploaded statements."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")
        parser.add_argument("output", type=Path, metavar="OUT.zip")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.with_email(options["email"]).first()
        if user is None:
            raise CommandError(f"no user has the e-mail {options['email']}")
        try:
            rows = write_user_export(user=user, path=options["output"])
        except OSError as error:
            raise CommandError(f"{options['output']} cannot be written: {error.strerror}") from error
        self.stdout.write(f"{rows:,} rows: {options['output']}")
