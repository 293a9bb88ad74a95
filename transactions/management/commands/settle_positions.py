"""`manage.py settle_positions`: exits with 1 when the broker is left with fewer shares than customers own."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from kamioi_site.errors import KamioiError
from kamioi_site.formatting import money, plural
from transactions.services.settlement import settle_positions


class Command(BaseCommand):
    help = "Buy or sell, one order a ticker, what the broker holds less or more than customers own."

    def handle(self, *args: Any, **options: Any) -> None:
        with tqdm(unit=" tickers", disable=None) as bar:

            def on_progress(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            try:
                result = settle_positions(on_progress=on_progress)
            except KamioiError as error:
                raise CommandError(str(error)) from error
        self.stdout.write(
            f"{plural(result.orders, 'order')}: {money(result.bought, 2)} bought, {money(result.sold, 2)} sold, "
            f"execution difference {money(result.difference, 2)}."
        )
        for ticker in result.without_quote:
            self.stdout.write(f"  {ticker}: no recent quote")
        for ticker, reason in result.failed.items():
            self.stdout.write(f"  {ticker}: {reason}")
        if result.short:
            raise CommandError(f"The broker holds too few shares of {', '.join(result.short)}.")
