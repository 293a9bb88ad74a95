"""`manage.py collect_round_ups`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from kamioi_site.errors import KamioiError
from kamioi_site.formatting import money, plural
from transactions.services.settlement import WAIT_SECONDS, collect_round_ups


class Command(BaseCommand):
    help = "Collect what customers owe for round-ups and fees since the last collection, one entry a customer."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--wait",
            type=float,
            default=WAIT_SECONDS,
            metavar="SECONDS",
            help="how long to wait for open transactions (default %(default)s)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            result = collect_round_ups(wait=options["wait"])
        except KamioiError as error:
            raise CommandError(str(error)) from error
        if not result.customers:
            self.stdout.write("Nothing to collect.")
            return
        self.stdout.write(
            f"{plural(result.customers, 'customer')}: {money(result.amount, 2)} collected, "
            f"{money(result.returned, 2)} returned."
        )
