"""`manage.py export_person EMAIL OUT.zip`."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from transactions.models import User
from transactions.services.privacy import write_person_export


class Command(BaseCommand):
    """Everything held about a person, as a file."""

    help = "Write everything that is held about a person into a ZIP file: their account, a CSV file a table, their statements."

    def add_arguments(self, parser: CommandParser) -> None:
        """Who, and where to."""
        parser.add_argument("email")
        parser.add_argument("output", type=Path, metavar="OUT.zip")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write the file."""
        user = User.objects.filter(email__iexact=options["email"]).first()
        if user is None:
            raise CommandError(f"no user has the e-mail {options['email']}")
        try:
            rows = write_person_export(user=user, path=options["output"])
        except OSError as error:
            raise CommandError(f"{options['output']} cannot be written: {error.strerror}") from error
        self.stdout.write(f"{rows:,} rows: {options['output']}")
