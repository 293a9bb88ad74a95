"""`manage.py train_confidence LABELLED.csv ...`."""

import csv
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from llm_center.catalogue import DATA
from llm_center.services.confidence_training import count_words, read_labelled, train, write_data


class Command(BaseCommand):
    help = (
        "Train the models of the matcher's confidence from labelled descriptors (columns descriptor, brand, ticker,"
        " kind) and write their weights to the data that ships with the application. Needs a checkout."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "labelled",
            metavar="LABELLED.csv",
            nargs="*",
            type=Path,
            default=[DATA / "descriptors_train.csv", DATA / "descriptors_tune.csv"],
            help="by default the files descriptors_train.csv and descriptors_tune.csv of the data",
        )
        parser.add_argument("--dry-run", action="store_true", help="print the weights and write nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            rows = [row for path in options["labelled"] for row in read_labelled(path)]
        except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
            raise CommandError(f"the labels cannot be read: {error}") from error
        if not rows:
            raise CommandError("the files have no rows")
        self.stdout.write(f"{len(rows):,} rows, {sum(bool(row.ticker) for row in rows):,} with a ticker")
        models = train(rows)
        for name, model in models.items():
            self.stdout.write(f"\n{name}: intercept {model['intercept']}")
            for feature, weight in sorted(model["weights"].items(), key=lambda item: -abs(item[1])):
                self.stdout.write(f"  {weight:>8.2f}  {feature}")
        if not options["dry_run"]:
            write_data(count_words(rows), models)
            self.stdout.write(f"\nWritten to {DATA}")
