"""`manage.py recheck_directory`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from tqdm import tqdm

from llm_center.services.directory_recheck import recheck_merchant_directory
from transactions.models import Merchant


class Command(BaseCommand):
    help = (
        "Check every approved merchant that no reviewer decided against the catalogue. Approvals that cannot be right"
        " stop investing at once and go to the review queue."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="print what would be stopped; change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        total = Merchant.objects.filter(status=Merchant.Status.APPROVED).exclude(source=Merchant.Source.ADMIN).count()
        with tqdm(total=total, unit=" merchants", unit_scale=True, disable=None) as bar:

            def on_progress(checked: int) -> None:
                bar.update(checked - bar.n)

            result = recheck_merchant_directory(dry_run=options["dry_run"], on_progress=on_progress)
        self.stdout.write(
            f"{result.checked:,} approved merchants: {result.contradicted:,} contradicted by the catalogue, "
            f"{result.unconnected:,} without any connection to their company, {result.unlisted:,} no longer listed"
        )
        for example in result.examples:
            self.stdout.write(f"  {example}")
        if result.stopped > len(result.examples):
            self.stdout.write(f"  … and {result.stopped - len(result.examples):,} more")
        self.stdout.write("Nothing was changed." if options["dry_run"] else f"{result.stopped:,} went to review.")
