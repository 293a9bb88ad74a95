"""`manage.py measure_confidence`."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from llm_center.catalogue import DATA
from llm_center.services.confidence_reliability import (
    Bin,
    KindFigures,
    decide_unseen,
    draw_reliability,
    figures_by_kind,
    rapidfuzz_by_kind,
    reliability,
)
from llm_center.services.confidence_training import read_all_labelled, read_labelled

_FILES = tuple(DATA / f"descriptors_{name}.csv" for name in ("train", "tune"))


class Command(BaseCommand):
    help = (
        "Decide each labelled descriptor with models that were fitted without its owner, and print the figures by kind"
        " and the reliability of the confidence. Nothing but the diagram is written. Needs a checkout."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--svg", type=Path, help="where to draw the reliability diagram")
        parser.add_argument(
            "--rapidfuzz", action="store_true", help="compare with rapidfuzz on the tune file: some minutes"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        labelled = [row for path in _FILES for row in read_labelled(path)]
        rows = [row for path in _FILES for row in read_all_labelled(path)]
        outcomes = list(decide_unseen(labelled, rows))
        self._print("kind", figures_by_kind(outcomes))
        if options["rapidfuzz"]:
            tuned = set(read_all_labelled(_FILES[-1]))
            self._print("tune", figures_by_kind(pair for pair in outcomes if pair[0] in tuned))
            self._print("tune, rapidfuzz", rapidfuzz_by_kind(tuned))
        bought = reliability(
            (float(answer.confidence), answer.ticker == row.ticker) for row, answer in outcomes if answer.ticker
        )
        closed = reliability(
            (float(answer.confidence), not row.ticker) for row, answer in outcomes if answer.listed is False
        )
        for name, bins in (("a company", bought), ("not listed", closed)):
            self.stdout.write(f"\n| {name}: confidence | answers | stated | right | interval |\n|---|---|---|---|---|")
            for each in bins:
                self.stdout.write(_line(each))
        if options["svg"]:
            options["svg"].write_text(draw_reliability({"a company": bought, "not listed": closed}), encoding="utf-8")

    def _print(self, title: str, figures: dict[str, KindFigures]) -> None:
        self.stdout.write(f"\n| {title} | rows | right | wrong purchases | closed | closed wrongly |")
        self.stdout.write("|---|---|---|---|---|---|")
        for kind, each in sorted(figures.items()):
            self.stdout.write(
                f"| {kind} | {each.rows:,} | {each.right:,} | {each.wrong:,} | {each.closed:,} |"
                f" {each.closed_wrongly:,} |"
            )


def _line(each: Bin) -> str:
    low, high = each.interval
    return (
        f"| {each.low:.2f}–{each.high:.2f} | {each.count:,} | {each.stated:.3f} | {each.right:.3f}"
        f" | {low:.3f}–{high:.3f} |"
    )
