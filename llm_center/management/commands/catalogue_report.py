"""`manage.py catalogue_report LIST`."""

import csv
from collections import Counter
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from llm_center.services.catalogue_report import CompanyChange, compare_with_list, read_sec_list

_SHOWN_BRANDS = 3


class Command(BaseCommand):
    help = (
        "Compare the company table with a newer list of the SEC (company_tickers_exchange.json, or a CSV file with the"
        " columns ticker, name, exchange, cik): companies that were delisted, renamed or have another ticker, and the"
        " brands, approved merchants and customers that this affects. Nothing is stored."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("list", metavar="LIST", type=Path)
        parser.add_argument("--all", action="store_true", help="also list changes that affect no brand or customer")
        parser.add_argument("--csv", metavar="FILE", type=Path, help="write all changes to a CSV file")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            companies = read_sec_list(options["list"])
        except (OSError, UnicodeDecodeError, ValueError) as error:
            raise CommandError(f"{options['list']}: {error}") from error
        changes = compare_with_list(companies)
        counts = Counter(change.change for change in changes)
        self.stdout.write(
            f"{len(companies):,} companies: "
            + (", ".join(f"{count:,} {change}" for change, count in counts.most_common()) or "no changes")
        )
        shown = [change for change in changes if change.affects or options["all"]]
        if shown:
            self.stdout.write("")
            self.stdout.write(f"{'ticker':8} {'change':22} {'merchants':>9} {'waiting':>8} {'customers':>9}  company")
        for change in shown:
            self._print(change)
        if options["csv"]:
            self._write(options["csv"], changes)
            self.stdout.write(f"\n{len(changes):,} changes written to {options['csv']}")

    def _print(self, change: CompanyChange) -> None:
        name = f"{change.name} → {change.new}" if change.new else change.name
        brands = ", ".join(change.brands[:_SHOWN_BRANDS])
        if len(change.brands) > _SHOWN_BRANDS:
            brands += f" and {len(change.brands) - _SHOWN_BRANDS} more"
        self.stdout.write(
            f"{change.ticker:8} {change.change:22} {change.merchants:>9,} {change.waiting:>8,} {change.customers:>9,}"
            f"  {name}" + (f" ({brands})" if brands else "")
        )

    def _write(self, path: Path, changes: list[CompanyChange]) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["change", "ticker", "name", "new", "brands", "merchants", "waiting", "customers"])
            for row in changes:
                writer.writerow(
                    [
                        row.change,
                        row.ticker,
                        row.name,
                        row.new,
                        "|".join(row.brands),
                        row.merchants,
                        row.waiting,
                        row.customers,
                    ]
                )
