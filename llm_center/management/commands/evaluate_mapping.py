"""`manage.py evaluate_mapping LABELLED.csv`."""

import csv
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from llm_center.services.evaluation import THRESHOLDS, Evaluation, evaluate, read_labels

AUTO_APPROVAL = Decimal("0.90")
BAR_WIDTH = 30


class Command(BaseCommand):
    help = (
        "Map the descriptors of a CSV file with the columns descriptor,ticker (empty: nothing to buy) and print"
        " coverage, precision by threshold, a reliability diagram and the errors. Nothing is stored."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("labelled", metavar="LABELLED.csv", type=Path)
        parser.add_argument("--errors", type=int, default=50, help="wrong answers to list (default 50)")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with options["labelled"].open(encoding="utf-8-sig", newline="") as file:
                result = evaluate(read_labels(file))
        except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
            raise CommandError(f"{options['labelled']}: {error}") from error
        if not result.rows:
            raise CommandError(f"{options['labelled']} has no rows")
        self._print(result, options["errors"])

    def _print(self, result: Evaluation, limit: int) -> None:
        echo = self.stdout.write
        echo(f"{result.rows:,} rows, {result.mappable:,} with a ticker ({_percent(result.mappable, result.rows)})")
        echo("")
        echo("at least   answers  coverage  precision  wrong of all rows")
        for threshold in THRESHOLDS:
            answers, right = result.at(threshold)
            mark = "  <- approved without a reviewer" if threshold == AUTO_APPROVAL else ""
            echo(
                f"    {threshold}  {answers:>8,}  {_percent(answers, result.rows):>8}  {_percent(right, answers):>9}"
                f"  {answers - right:>5,} = {_percent(answers - right, result.rows)}{mark}"
            )
        echo("")
        echo(
            f"{result.missed:,} rows with a ticker got none;"
            f" {result.closed_wrongly:,} of them would be closed as not listed."
        )
        echo("")
        echo("reliability: stated and actual, by tenths of confidence")
        for low, count, stated, actual in result.reliability():
            bar = "#" * int(actual * BAR_WIDTH)
            echo(
                f"  {low:.1f}-{low + Decimal('0.1'):.1f}  {count:>6,}  stated {stated:.3f}  actual {actual:.3f}  {bar}"
            )
        echo("")
        echo(f"{len(result.errors):,} wrong answers" + (":" if result.errors else ""))
        for confidence, descriptor, ticker, label, reason in result.errors[:limit]:
            echo(f"  {confidence:.2f}  {descriptor} -> {ticker}, should be {label or 'none'}: {reason}")
        if len(result.errors) > limit:
            echo(f"  … and {len(result.errors) - limit:,} more (--errors)")


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "–"
