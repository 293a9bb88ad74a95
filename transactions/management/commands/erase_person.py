"""`manage.py erase_person EMAIL`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from kamioi_site.errors import KamioiError
from transactions.models import User
from transactions.services.privacy import erase_person_data, erasure_obstacle


class Command(BaseCommand):
    """A person is taken out, the books stay."""

    help = "Take out everything that tells who a person is. Their books stay, under a number. This cannot be undone."

    def add_arguments(self, parser: CommandParser) -> None:
        """Who, and without a question."""
        parser.add_argument("email")
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask, then erase."""
        user = User.objects.filter(email__iexact=options["email"]).first()
        if user is None:
            raise CommandError(f"no user has the e-mail {options['email']}")
        if refusal := erasure_obstacle(user):
            raise CommandError(refusal)
        if not options["yes"]:
            answer = input(f"Erase {user.email} for good? Type the e-mail again: ")
            if answer.strip().lower() != user.email.lower():
                raise CommandError("Nothing was changed.")
        try:
            done = erase_person_data(user_id=user.pk)
        except KamioiError as error:
            raise CommandError(str(error)) from error
        for table, count in sorted(done.rows.items()):
            self.stdout.write(f"{count:>10,}  {table}")
        self.stdout.write(f"User {user.pk} is erased.")
