"""`manage.py close_period 2026-10`."""

from datetime import date, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from kamioi_site.errors import KamioiError
from kamioi_site.formatting import money, plural
from transactions.services.periods import close_period


def _month(text: str) -> date:
    return datetime.strptime(text, "%Y-%m").date()  # noqa: DTZ007  # a month has no time zone


class Command(BaseCommand):
    help = "Close a month of the books: it accepts no more postings. Two persons can reopen it in the admin."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("month", type=_month, metavar="YYYY-MM")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            closing = close_period(month=options["month"], actor=None)
        except KamioiError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{closing} is closed: {plural(closing.rows or 0, 'row')}, {money(closing.amount)}.")
