"""`manage.py amortize --month 2026-11`."""

from datetime import date, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from kamioi_site.errors import KamioiError
from llm_center.services.amortization import amortization_reference, amortize_month


def _month(text: str) -> date:
    return datetime.strptime(text, "%Y-%m").date()  # noqa: DTZ007  # a month has no zone


class Command(BaseCommand):
    """Book a month's amortization of the LLM data assets."""

    help = (
        "Book the amortization of the LLM data assets for a month, and for the months missed before it. What is booked is not"
        " booked again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Which month."""
        parser.add_argument("--month", type=_month, metavar="YYYY-MM", help="default: this month")
        parser.add_argument("--dry-run", action="store_true", help="say what would be booked; book nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Book, and say what."""
        month = options["month"] or timezone.now().date()
        try:
            done = amortize_month(month=month, dry_run=options["dry_run"])
        except KamioiError as error:
            raise CommandError(str(error)) from error
        for charge in done.charges:
            self.stdout.write(
                f"{amortization_reference(charge.period)}  {charge.asset.asset_name:<40} ${charge.amount:>14,}"
            )
        for asset, reason in done.idle:
            self.stdout.write(f"{'':<16}  {asset.asset_name:<40} {reason}")
        verb = "would be booked" if options["dry_run"] else "booked"
        self.stdout.write(f"{len(done.charges)} charges, ${done.total:,} {verb}.")
