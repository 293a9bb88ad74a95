"""`manage.py amortize --month 2026-11`."""

from datetime import date, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from kamioi_site.errors import KamioiError
from kamioi_site.formatting import money
from llm_center.services.amortization import amortization_reference, amortize_month


def _month(text: str) -> date:
    return datetime.strptime(text, "%Y-%m").date()  # noqa: DTZ007  # a month has no time zone


class Command(BaseCommand):
    help = (
        "Post the amortization of the LLM data assets for a month, and for any month missed before it. Each charge is"
        " posted once."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--month", type=_month, metavar="YYYY-MM", help="default: this month")
        parser.add_argument("--dry-run", action="store_true", help="print what would be posted; post nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        month = options["month"] or timezone.now().date()
        try:
            result = amortize_month(month=month, dry_run=options["dry_run"])
        except KamioiError as error:
            raise CommandError(str(error)) from error
        for charge in result.charges:
            reference = amortization_reference(charge.period)
            self.stdout.write(f"{reference}  {charge.asset.asset_name:<40} ${charge.amount:>14,}")
        for asset, reason in result.idle:
            self.stdout.write(f"{'':<16}  {asset.asset_name:<40} {reason}")
        verb = "would be posted" if options["dry_run"] else "posted"
        self.stdout.write(f"{len(result.charges)} charges, {money(result.total)} {verb}.")
