"""`manage.py recheck_directory`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from tqdm import tqdm

from llm_center.services.directory_recheck import recheck_merchant_directory
from transactions.models import Merchant


class Command(BaseCommand):
    """Hold the directory against the catalogue."""

    help = (
        "Hold every approved merchant that no person decided here against the catalogue. What cannot be right stops"
        " investing at once and goes to the review queue."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Only look."""
        parser.add_argument("--dry-run", action="store_true", help="say what would be stopped; change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Check, and name examples."""
        total = Merchant.objects.filter(status=Merchant.Status.APPROVED).exclude(source=Merchant.Source.ADMIN).count()
        with tqdm(total=total, unit=" merchants", unit_scale=True, disable=None) as bar:

            def report(seen: int) -> None:
                bar.update(seen - bar.n)

            done = recheck_merchant_directory(dry_run=options["dry_run"], on_progress=report)
        self.stdout.write(
            f"{done.checked:,} approved merchants: {done.contradicted:,} contradicted by the catalogue, "
            f"{done.unconnected:,} that nothing connects with their company, {done.unlisted:,} no longer listed"
        )
        for example in done.examples:
            self.stdout.write(f"  {example}")
        if done.stopped > len(done.examples):
            self.stdout.write(f"  … and {done.stopped - len(done.examples):,} more")
        self.stdout.write("Nothing was changed." if options["dry_run"] else f"{done.stopped:,} went to review.")
