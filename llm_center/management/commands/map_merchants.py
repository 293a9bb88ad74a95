"""`manage.py map_merchants INPUT.csv OUTPUT.csv`."""

import csv
import sys
from functools import partial
from pathlib import Path
from typing import IO, Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from llm_center.evaluation import mapping_rows, read_descriptors
from llm_center.services.brands import refresh_catalogue
from llm_center.services.calibration import calibrate


class Command(BaseCommand):
    """Map descriptors to tickers."""

    help = (
        "Read the column `descriptor` of a CSV file and write descriptor,ticker,confidence,method,reason for each row."
        " An empty ticker means: nobody to invest in, or nobody known; the reason says which. Nothing is stored."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """From where to where."""
        parser.add_argument(
            "input", metavar="INPUT.csv", help="a CSV file with a column `descriptor`; - for standard input"
        )
        parser.add_argument("output", metavar="OUTPUT.csv", help="the file to write; - for standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        """Map row by row; memory stays flat."""
        source, target = options["input"], options["output"]
        if source != "-" and target != "-" and Path(source).resolve() == Path(target).resolve():
            raise CommandError("INPUT and OUTPUT are the same file")
        refresh_catalogue()
        try:
            with (
                sys.stdin if source == "-" else Path(source).open(encoding="utf-8-sig", newline="") as given,
                self._target(target) as file,
                tqdm(unit=" rows", unit_scale=True, disable=None) as bar,
            ):
                writer = csv.writer(file)
                writer.writerow(["descriptor", "ticker", "confidence", "method", "reason"])
                rows = 0
                for row in mapping_rows(read_descriptors(given), partial(calibrate, calibrations={})):
                    writer.writerow(row)
                    rows += 1  # the bar does not count where nobody looks
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
