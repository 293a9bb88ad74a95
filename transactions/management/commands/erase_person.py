"""`manage.py erase_person EMAIL`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from kamioi_site.errors import KamioiError
from transactions.models import User
from transactions.services.privacy import erase_user_data, erasure_obstacle


class Command(BaseCommand):
    help = "Erase the personal data of a user. Their bookings stay, under an anonymous id. This cannot be undone."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.with_email(options["email"]).first()
        if user is None:
            raise CommandError(f"no user has the e-mail {options['email']}")
        if obstacle := erasure_obstacle(user):
            raise CommandError(obstacle)
        if not options["yes"]:
            answer = input(f"Erase {user.email} for good? Type the e-mail again: ")
            if answer.strip().lower() != user.email.lower():
                raise CommandError("Nothing was changed.")
        try:
            result = erase_user_data(user_id=user.pk)
        except KamioiError as error:
            raise CommandError(str(error)) from error
        for table, count in sorted(result.rows.items()):
            self.stdout.write(f"{count:>10,}  {table}")
        self.stdout.write(f"User {user.pk} is erased.")
