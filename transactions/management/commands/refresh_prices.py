"""`manage.py refresh_prices`."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from kamioi_site.errors import KamioiError
from transactions.market.price_providers import CsvPrices, price_provider
from transactions.market.price_refresh import refresh_stock_prices


class Command(BaseCommand):
    help = "Fetch quotes for the tickers in use and process the transactions that waited for them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--csv", type=Path, metavar="FILE", help="a file of quotes (symbol,price,as_of)")
        parser.add_argument(
            "--accept-jumps",
            action="store_true",
            help="store quotes whatever their distance from the previous ones (after a split)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            provider = CsvPrices(options["csv"]) if options["csv"] else price_provider()
        except KamioiError as error:
            raise CommandError(str(error)) from error
        with tqdm(unit=" quotes", disable=None, desc=provider.name) as bar:

            def on_progress(count: int) -> None:
                bar.update(count - bar.n)

            result = refresh_stock_prices(
                provider=provider, accept_jumps=options["accept_jumps"], on_progress=on_progress
            )
        self.stdout.write(
            f"{result.stored} new quotes, {len(result.rejected)} rejected, {result.released} transactions released"
        )
        for rejected in result.rejected[:20]:
            self.stdout.write(f"  {rejected.ticker or '?'}: {rejected.reason}")
        if len(result.rejected) > 20:
            self.stdout.write(f"  … and {len(result.rejected) - 20} more")
        if result.error:
            raise CommandError(result.error)
