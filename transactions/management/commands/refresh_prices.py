"""`manage.py refresh_prices`."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from kamioi_site.errors import KamioiError
from transactions.market.price_providers import CsvPrices, price_provider
from transactions.market.price_refresh import refresh_stock_prices


class Command(BaseCommand):
    """Fetch quotes."""

    help = "Fetch the quotes of every ticker that matters and release the transactions that waited for them."

    def add_arguments(self, parser: CommandParser) -> None:
        """Another file, and what a split needs."""
        parser.add_argument("--csv", type=Path, metavar="FILE", help="a file of quotes (symbol,price[,as_of])")
        parser.add_argument(
            "--accept-jumps", action="store_true", help="store quotes however far from the one before (after a split)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Refresh, and say what came of it."""
        try:
            provider = CsvPrices(options["csv"]) if options["csv"] else price_provider()
        except KamioiError as error:
            raise CommandError(str(error)) from error
        with tqdm(unit=" quotes", disable=None, desc=provider.name) as bar:

            def report(seen: int) -> None:
                bar.update(seen - bar.n)

            done = refresh_stock_prices(provider=provider, accept_jumps=options["accept_jumps"], on_progress=report)
        self.stdout.write(
            f"{done.stored} new quotes, {len(done.refused)} refused, {done.released} transactions released"
        )
        for refused in done.refused[:20]:
            self.stdout.write(f"  {refused.ticker or '?'}: {refused.reason}")
        if len(done.refused) > 20:
            self.stdout.write(f"  … and {len(done.refused) - 20} more")
        if done.error:
            raise CommandError(done.error)
