"""`manage.py evaluate_mapping LABELLED.csv`."""

import csv
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from llm_center.evaluation import THRESHOLDS, Evaluation, evaluate, read_labels
from llm_center.services.brands import refresh_catalogue
from llm_center.services.calibration import calibrate

GOAL_THRESHOLD = Decimal("0.90")
BAR = 30


class Command(BaseCommand):
    """Measure the matcher on labelled descriptors."""

    help = (
        "Ask the matcher about the descriptors of a CSV file with the columns descriptor,ticker (empty: nobody to invest"
        " in) and print coverage, precision by threshold, a reliability diagram and the errors. Nothing is stored."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """The file, and how many errors are listed."""
        parser.add_argument("labelled", metavar="LABELLED.csv", type=Path)
        parser.add_argument("--errors", type=int, default=50, help="wrong answers to list (default 50)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Measure and print."""
        refresh_catalogue()
        try:
            with options["labelled"].open(encoding="utf-8-sig", newline="") as file:
                done = evaluate(read_labels(file), partial(calibrate, calibrations={}))
        except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
            raise CommandError(f"{options['labelled']}: {error}") from error
        if not done.rows:
            raise CommandError(f"{options['labelled']} has no rows")
        self._print(done, options["errors"])

    def _print(self, done: Evaluation, limit: int) -> None:
        say = self.stdout.write
        say(f"{done.rows:,} rows, {done.mappable:,} with a ticker ({_percent(done.mappable, done.rows)})")
        say("")
        say("at least   answers  coverage  precision  wrong of all rows")
        for threshold in THRESHOLDS:
            answers, right = done.at(threshold)
            mark = "  <- approved without a reviewer" if threshold == GOAL_THRESHOLD else ""
            say(
                f"    {threshold}  {answers:>8,}  {_percent(answers, done.rows):>8}  {_percent(right, answers):>9}"
                f"  {answers - right:>5,} = {_percent(answers - right, done.rows)}{mark}"
            )
        say("")
        say(
            f"{done.missed:,} rows with a ticker got none; {done.closed_wrongly:,} of them would be closed as not listed."
        )
        say("")
        say("reliability: said and true, by tenths of confidence")
        for low, count, said, true in done.reliability():
            bar = "#" * int(true * BAR)
            say(f"  {low:.1f}-{low + Decimal('0.1'):.1f}  {count:>6,}  said {said:.3f}  true {true:.3f}  {bar}")
        say("")
        say(f"{len(done.errors):,} wrong answers" + (":" if done.errors else ""))
        for confidence, descriptor, ticker, label, reason in done.errors[:limit]:
            say(f"  {confidence:.2f}  {descriptor} -> {ticker}, should be {label or 'none'}: {reason}")
        if len(done.errors) > limit:
            say(f"  … and {len(done.errors) - limit:,} more (--errors)")


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"
