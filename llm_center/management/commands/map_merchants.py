"""`manage.py map_merchants INPUT.csv OUTPUT.csv`."""

import csv
import sys
from pathlib import Path
from typing import IO, Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from llm_center.services.evaluation import read_descriptors
from llm_center.services.matching import propose_descriptors


class Command(BaseCommand):
    help = (
        "Read the column `descriptor` of a CSV file and write descriptor,ticker,confidence,method,reason for each row."
        " An empty ticker means that nothing can be bought or the owner is unknown, as the reason explains."
        " Nothing is stored."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "input", metavar="INPUT.csv", help="a CSV file with a column `descriptor`; - for standard input"
        )
        parser.add_argument("output", metavar="OUTPUT.csv", help="the file to write; - for standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        source, target = options["input"], options["output"]
        if source != "-" and target != "-" and Path(source).resolve() == Path(target).resolve():
            raise CommandError("INPUT and OUTPUT are the same file")
        rows = 0
        try:
            with (
                sys.stdin if source == "-" else Path(source).open(encoding="utf-8-sig", newline="") as descriptors,
                self._target(target) as file,
                tqdm(unit=" rows", unit_scale=True, disable=None) as bar,
            ):
                writer = csv.writer(file)
                writer.writerow(["descriptor", "ticker", "confidence", "method", "reason"])
                for descriptor, row in propose_descriptors(read_descriptors(descriptors)):
                    writer.writerow([descriptor, row.ticker or "", row.confidence, row.method, row.reason])
                    rows += 1  # a disabled bar does not count
                    bar.update()
        except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
            raise CommandError(f"{source}: {error}") from error
        if target != "-":
            self.stdout.write(f"{rows:,} descriptors mapped to {target}")

    def _target(self, target: str) -> IO[str]:
        if target == "-":
            # A copy: leaving the block must not close the process's own output.
            return open(sys.stdout.fileno(), "w", encoding="utf-8", newline="", closefd=False)
        return Path(target).open("w", encoding="utf-8", newline="")
