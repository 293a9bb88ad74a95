"""`manage.py calculate_analytics [--rebuild | --verify] [--month 2026-11]`."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from analytics.services.rollups import (
    ProgressCallback,
    RollupRefreshResult,
    rebuild_rollups,
    refresh_rollups,
    verify_rollups,
)
from kamioi_site.errors import KamioiError


def _month(text: str) -> date:
    return datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC).date()


class Command(BaseCommand):
    help = (
        "Refresh the rollups and llm_analytics_summary, at the cost of what changed since the last time. "
        "--rebuild recounts them from the rows, --verify compares them with the rows and exits 1 if they differ."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        mode = parser.add_mutually_exclusive_group()
        mode.add_argument("--rebuild", action="store_true", help="recount everything from the rows")
        mode.add_argument("--verify", action="store_true", help="compare with the rows; changes nothing")
        parser.add_argument(
            "--month",
            type=_month,
            action="append",
            metavar="YYYY-MM",
            help="with --rebuild or --verify: only this month; can be repeated",
        )
        parser.add_argument(
            "--recheck",
            type=int,
            default=0,
            metavar="N",
            help="also recount the N partitions of each table that were verified longest ago",
        )
        parser.add_argument("--show", type=int, default=50, help="how many differences to print (default 50)")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["month"] and not (options["rebuild"] or options["verify"]):
            raise CommandError("--month needs --rebuild or --verify; a refresh detects changes automatically.")
        try:
            with self._progress_bars() as on_progress:
                if options["verify"]:
                    self._verify(options, on_progress)
                    return
                if options["rebuild"]:
                    result = rebuild_rollups(months=options["month"], on_progress=on_progress)
                else:
                    result = refresh_rollups(recheck=options["recheck"], on_progress=on_progress)
        except KamioiError as error:
            raise CommandError(str(error)) from error
        self._print(result)

    def _print(self, result: RollupRefreshResult) -> None:
        if result.recounted:
            more = len(result.recounted) - 12
            names = ", ".join(result.recounted[:12]) + (f" and {more} more" if more > 0 else "")
            self.stdout.write(f"Recounted {names}; {result.corrected:,} totals corrected.")
        self.stdout.write(f"{result.deltas:,} changes applied; the rollups are up to date ({result.seconds:.1f} s).")

    def _verify(self, options: dict[str, Any], on_progress: ProgressCallback) -> None:
        started, problems = time.monotonic(), 0
        for difference in verify_rollups(months=options["month"], on_progress=on_progress):
            problems += 1
            if problems <= options["show"]:
                self.stdout.write(str(difference))
        seconds = time.monotonic() - started
        if problems:
            raise CommandError(
                f"The rollups have {problems:,} differences ({seconds:.1f} s). "
                "A refresh recounts what it detects; --rebuild recounts everything."
            )
        self.stdout.write(f"The rollups match the rows ({seconds:.1f} s).")

    @contextmanager
    def _progress_bars(self) -> Iterator[ProgressCallback]:
        """Show a progress bar for each step, if the output is a terminal."""
        bars: dict[str, Any] = {}

        def on_progress(step: str, done: int, total: int) -> None:
            bar = bars.get(step)
            if bar is None:
                for other in bars.values():
                    other.close()
                bars[step] = bar = tqdm(total=total, desc=step, disable=None)
            bar.total = total
            bar.update(done - bar.n)

        try:
            yield on_progress
        finally:
            for bar in bars.values():
                bar.close()
